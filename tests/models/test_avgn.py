"""AVGN's equations against loops in float64, its maps and its ablations.

The two networks that look and listen are replaced by tiny ones (``TinyTrunk``, ``TinySound``): the method is what lies
behind them. 1e-9 is rounding: some hundred float64 operations on numbers of size 1 to 100.
"""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, TinySound, TinyTrunk, cosine, dot, in_doubles, random_mixtures, softmax
from torch import Tensor, nn

import avnb.models.avgn as avgn
from avnb.data.clips import Batch
from avnb.models.avgn import AVGN, AVGNSettings, SelfAttention
from avnb.models.base import Query
from avnb.networks import presets
from avnb.networks.losses import multiple_instance_contrastive

TOLERANCE = 1e-9
DIM = 8
GATES = ("anchor_class", "own_class", "none")
ABLATIONS = list(itertools.product([True, False], [True, False]))  # class_tokens, grouping
every_ablation = pytest.mark.parametrize(("class_tokens", "grouping"), ABLATIONS)


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small AVGN with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(**options) -> AVGN:
        torch.manual_seed(3)
        defaults = {"preset": "quick", "dim": DIM, "depth": 2, "temperature": 0.3}
        return AVGN(AVGNSettings(**(defaults | options)).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 3, sources: int = 2, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


# ------------------------------------------------------------------------------------- the equations, written as loops


def standardised(vector: list[float]) -> list[float]:
    """Mean 0 and length sqrt(D); 1e-5 keeps a constant vector finite."""
    mean = sum(vector) / len(vector)
    variance = sum((x - mean) ** 2 for x in vector) / len(vector)
    return [(x - mean) / math.sqrt(variance + 1e-5) for x in vector]


def times(layer: nn.Linear, vector: list[float]) -> list[float]:
    bias = [0.0] * layer.out_features if layer.bias is None else layer.bias.tolist()
    return [dot(row, vector) + b for row, b in zip(layer.weight.tolist(), bias, strict=True)]


def plain_attention(x: list[list[float]], depth: int) -> list[list[float]]:
    """Eqs. 4-5, ``depth`` times."""
    for _ in range(depth):
        weights = [softmax([dot(query, key) / math.sqrt(len(query)) for key in x]) for query in x]
        x = [[dot(row, [key[d] for key in x]) for d in range(len(x[0]))] for row in weights]
    return x


def plain_assignment(block: avgn.Grouping, features: list, tokens: list) -> list[list[float]]:
    """Eq. 7: a row per position, a column per class; products over sqrt(D) as in eqs. 4-5."""
    keys = [times(block.key, token) for token in tokens]
    queries = [times(block.query, feature) for feature in features]
    return [softmax([dot(query, key) / math.sqrt(len(key)) for key in keys]) for query in queries]


def plain_grouping(block: avgn.Grouping, normaliser: str, features: list, tokens: list) -> list[list[float]]:
    """Eq. 8, for either modality: sound has one position."""
    share = plain_assignment(block, features, tokens)
    values = [times(block.value, feature) for feature in features]
    grouped = []
    for i, token in enumerate(tokens):
        total = sum(row[i] for row in share)
        below = {"none": 1.0, "printed": total, "plus_one": total + 1}[normaliser]
        weights = [row[i] / below for row in share]
        gathered = [dot(weights, [value[d] for value in values]) for d in range(DIM)]
        grouped.append([c + o for c, o in zip(token, times(block.out, gathered), strict=True)])
    return grouped


def plain_forward(method: AVGN, batch: Batch) -> tuple[list, list, list, list]:
    """f^a [b], f_p^v [b][p], g_i^a [b][i] and g_i^v [b][i] of eqs. 2-8, as lists of vectors."""
    settings = method.settings
    heard = method.project_audio(method.listen(method.spectrogram(batch.mixture)))
    seen = method.project_visual(batch.features).flatten(2).transpose(1, 2)
    audio = [standardised(vector) for vector in heard.tolist()]
    visual = [[standardised(vector) for vector in positions] for positions in seen.tolist()]
    tokens = [standardised(token) for token in method.tokens.tolist()]
    g_a, g_v = [], []
    for f_a, f_v in zip(audio, visual, strict=True):
        hat_v, c_a, c_v = f_v, tokens, tokens
        if settings.class_tokens:
            c_a = plain_attention([f_a, *tokens], settings.depth)[1:]
            attended = plain_attention([*f_v, *tokens], settings.depth)
            hat_v, c_v = attended[: len(f_v)], attended[len(f_v) :]
        if settings.grouping:
            c_a = plain_grouping(method.group_audio, settings.audio_normaliser, [f_a], c_a)
            c_v = plain_grouping(method.group_visual, "printed", hat_v, c_v)
        g_a.append(c_a)
        g_v.append(c_v)
    return audio, visual, g_a, g_v


def plain_localization(method: AVGN, batch: Batch, visual: list, g_a: list, g_v: list) -> float:
    """Eq. 10 with each reading of its gate."""
    gate, tau, chosen = method.settings.gate, method.settings.temperature, batch.source_classes.tolist()
    size, sources = len(chosen), len(chosen[0])

    def sim(b: int, m: int, n: int) -> float:
        """The sound of sample b's n-th source with image m."""
        sound = g_a[b][chosen[b][n]]
        factor = {
            "anchor_class": g_v[m][chosen[b][n]], "own_class": g_v[m][chosen[m][n]], "none": [1.0] * DIM,
        }[gate]  # fmt: skip
        return max(cosine(sound, [f * g for f, g in zip(position, factor, strict=True)]) for position in visual[m])

    total = 0.0
    for b in range(size):
        for n in range(sources):
            total -= math.log(softmax([sim(b, m, n) / tau for m in range(size)])[b])
            if method.settings.both_directions:
                total -= math.log(softmax([sim(m, b, n) / tau for m in range(size)])[b])
    return total / (size * sources)


def plain_group_terms(method: AVGN, batch: Batch, g_a: list, g_v: list) -> dict[str, float]:
    """Eq. 9: CE over the tokens, BCE of what sounds and of what is seen; the batch's mean."""

    def cross_entropy(probability: float, target: float) -> float:
        return -target * math.log(probability) - (1 - target) * math.log(1 - probability)

    size = len(batch)
    terms = {"audio": 0.0, "visual": 0.0}
    for b in range(size):
        for i in range(CLASSES):
            p_a = 1 / (1 + math.exp(-times(method.audio_present, g_a[b][i])[0]))
            p_v = 1 / (1 + math.exp(-times(method.visual_present, g_v[b][i])[0]))
            terms["audio"] += cross_entropy(p_a, batch.labels[b, i].item()) / size
            terms["visual"] += cross_entropy(p_v, float(i in batch.source_classes[b].tolist())) / size
    if method.settings.class_tokens:
        e = [softmax(times(method.token_class, standardised(token))) for token in method.tokens.tolist()]
        terms["token"] = sum(-math.log(e[i][i]) for i in range(CLASSES))
    if method.settings.reduction == "mean":
        terms = {name: value / CLASSES for name, value in terms.items()}
    return terms


# ---------------------------------------------------------------------------------------------------- equations 1 to 11


@pytest.mark.parametrize("depth", [1, 3])
def test_self_attention_is_equations_4_and_5(depth):
    settings = AVGNSettings(preset="quick", dim=DIM, depth=depth).resolve("cpu")
    features, tokens = torch.randn(2, 6, DIM, dtype=torch.float64), torch.randn(2, 4, DIM, dtype=torch.float64)
    attended, attended_tokens = SelfAttention(settings)(features, tokens)
    for b in range(2):
        expected = plain_attention([*features[b].tolist(), *tokens[b].tolist()], depth)
        actual = torch.cat([attended[b], attended_tokens[b]])
        torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=TOLERANCE)


def test_assignment_is_equation_7():
    block = avgn.Grouping(DIM, "softmax", "printed").double()
    features, tokens = torch.randn(2, 6, DIM, dtype=torch.float64), torch.randn(2, 4, DIM, dtype=torch.float64)
    share = block.assign(features, tokens)
    for b in range(2):
        expected = plain_assignment(block, features[b].tolist(), tokens[b].tolist())
        torch.testing.assert_close(share[b], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("training", [True, False])
def test_hard_assignment_gives_every_position_to_one_class(training):
    block = avgn.Grouping(DIM, "hard", "printed").train(training)
    share = block.assign(torch.randn(2, 6, DIM), torch.randn(2, 4, DIM))
    assert ((share == 0) | (share == 1)).all()
    assert (share.sum(dim=2) == 1).all()


def test_hard_assignment_is_the_most_likely_class_when_judged():
    soft, hard = avgn.Grouping(DIM, "softmax", "printed"), avgn.Grouping(DIM, "hard", "printed")
    hard.load_state_dict(soft.state_dict())
    features, tokens = torch.randn(2, 6, DIM), torch.randn(2, 4, DIM)
    chosen = hard.eval().assign(features, tokens).argmax(dim=2)
    assert torch.equal(chosen, soft.assign(features, tokens).argmax(dim=2))


def test_class_that_is_assigned_nothing_keeps_its_token():
    block = avgn.Grouping(DIM, "hard", "printed").eval()
    features, tokens = torch.randn(1, 2, DIM), torch.randn(1, 4, DIM)
    idle = block.assign(features, tokens)[0].sum(dim=0) == 0
    assert idle.any()
    assert torch.equal(block(features, tokens)[0, idle], tokens[0, idle])


@pytest.mark.parametrize("normaliser", ["none", "printed", "plus_one"])
@pytest.mark.parametrize("positions", [1, 6])
def test_grouping_is_equation_8(positions, normaliser):
    block = avgn.Grouping(DIM, "softmax", normaliser).double()
    features, tokens = torch.randn(2, positions, DIM, dtype=torch.float64), torch.randn(2, 4, DIM, dtype=torch.float64)
    grouped = block(features, tokens)
    for b in range(2):
        expected = plain_grouping(block, normaliser, features[b].tolist(), tokens[b].tolist())
        torch.testing.assert_close(grouped[b], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=TOLERANCE)


def test_printed_equation_8_cancels_the_attention_of_the_sound(build):
    method, batch = in_doubles(build(audio_normaliser="printed"), random_batch())
    _, _, g_a, _ = method(batch.frames, batch.mixture, batch.features)
    with torch.no_grad():
        method.group_audio.query.weight.mul_(-3)
    _, _, again, _ = method(batch.frames, batch.mixture, batch.features)
    torch.testing.assert_close(again, g_a, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("class_tokens", "grouping"), ABLATIONS[:3])  # the last, eq. 1, has no tokens
@pytest.mark.parametrize("normaliser", ["none", "printed", "plus_one"])
def test_forward_is_equations_2_to_8(build, class_tokens, grouping, normaliser):
    method = build(class_tokens=class_tokens, grouping=grouping, audio_normaliser=normaliser)
    method, batch = in_doubles(method, random_batch())
    audio, visual, g_a, g_v = method(batch.frames, batch.mixture, batch.features)
    actual = (audio, visual.flatten(2).transpose(1, 2), g_a, g_v)
    for tensor, expected in zip(actual, plain_forward(method, batch), strict=True):
        torch.testing.assert_close(tensor, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize("both_directions", [False, True])
@pytest.mark.parametrize("gate", GATES)
def test_localization_loss_is_equation_10(build, gate, both_directions, sources):
    method, batch = in_doubles(build(gate=gate, both_directions=both_directions), random_batch(4, sources))
    _, visual, g_a, g_v = plain_forward(method, batch)
    expected = plain_localization(method, batch, visual, g_a, g_v)
    assert method.loss(batch)["loc"].item() == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("sources", [1, 2])
def test_group_loss_is_equation_9(build, reduction, sources):
    method, batch = in_doubles(build(reduction=reduction), random_batch(4, sources))
    _, _, g_a, g_v = plain_forward(method, batch)
    terms = method.loss(batch)
    for name, expected in plain_group_terms(method, batch, g_a, g_v).items():
        assert terms[name].item() == pytest.approx(expected, abs=TOLERANCE), name


def test_class_that_sounds_out_of_sight_is_asked_of_the_sound_alone(build):
    """A training mixture of which the first frame is seen: two classes sound, one is visible."""
    method, batch = in_doubles(build(), random_batch(4, 2))
    batch = replace(batch, source_classes=batch.source_classes[:, :1])
    _, _, g_a, g_v = plain_forward(method, batch)
    terms = method.loss(batch)
    assert batch.labels.sum() == 8
    for name, expected in plain_group_terms(method, batch, g_a, g_v).items():
        assert terms[name].item() == pytest.approx(expected, abs=TOLERANCE), name


@every_ablation
def test_total_is_equation_11(build, class_tokens, grouping):
    terms = build(class_tokens=class_tokens, grouping=grouping).loss(random_batch())
    total = terms.pop("total")
    expected = {"loc"} | ({"audio", "visual"} if class_tokens or grouping else set())
    assert set(terms) == expected | ({"token"} if class_tokens else set())
    assert total.item() == pytest.approx(sum(value.item() for value in terms.values()), rel=1e-6)


@pytest.mark.parametrize("both_directions", [False, True])
def test_without_tokens_and_grouping_the_loss_is_equation_1(build, both_directions):
    method = build(class_tokens=False, grouping=False, both_directions=both_directions)
    method, batch = in_doubles(method, random_batch(4, 2))
    audio, visual, *_ = method(batch.frames, batch.mixture, batch.features)
    expected = multiple_instance_contrastive(audio[:, None], visual[:, None], 0.3, both_directions)
    assert method.loss(batch)["total"].item() == pytest.approx(expected.item(), abs=TOLERANCE)


def test_map_is_the_cosine_of_the_class_with_every_gated_position(build):
    method, batch = in_doubles(build(), random_batch())
    _, visual, g_a, g_v = plain_forward(method, batch)
    maps = method.localize(Query.of(batch))
    for b, classes in enumerate(batch.source_classes.tolist()):
        for n, c in enumerate(classes):
            expected = [
                cosine(g_a[b][c], [f * g for f, g in zip(position, g_v[b][c], strict=True)]) for position in visual[b]
            ]
            torch.testing.assert_close(maps[b, n].flatten().tolist(), expected, rtol=0, atol=TOLERANCE)


# ----------------------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(224, 448), (64, 64), (97, 203)])
def test_there_is_a_map_for_each_asked_class(build, height, width, sources):
    batch = random_batch(2, sources, height, width)
    maps = build().eval().localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert maps.shape == (2, sources, math.ceil(height / 16), math.ceil(width / 16))
    assert maps.abs().max() <= 1 + 1e-6  # a cosine, rounded


@every_ablation
def test_without_asked_classes_there_is_a_map_for_every_class(build, class_tokens, grouping):
    method, batch = build(class_tokens=class_tokens, grouping=grouping).eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture))
    chosen = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert maps.shape[:2] == (3, CLASSES)
    torch.testing.assert_close(maps.gather(1, batch.source_classes[..., None, None].expand_as(chosen)), chosen)


def test_order_of_the_asked_classes_is_the_order_of_the_maps(build):
    method, batch = build().eval(), random_batch(3, 3)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    turned = method.localize(Query(batch.frames, batch.mixture, batch.source_classes[:, [2, 0, 1]]))
    torch.testing.assert_close(turned, maps[:, [2, 0, 1]])


def test_exchanged_frames_exchange_the_halves_of_the_map(build):
    """Attention and grouping do not know where a position is; the projection that sees a border is set aside."""
    method, batch = build().eval(), random_batch(2, 2, 32, 64)
    method.project_visual = nn.Conv2d(3, DIM, 1)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    exchanged = torch.cat([batch.frames[..., 32:], batch.frames[..., :32]], dim=-1)
    turned = method.localize(Query(exchanged, batch.mixture, batch.source_classes))
    torch.testing.assert_close(turned, torch.cat([maps[..., 2:], maps[..., :2]], dim=-1))


def test_known_features_give_the_maps_of_their_frames(build):
    method, batch = build().eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    features = method.trunk(batch.frames)
    black = torch.zeros_like(batch.frames)
    torch.testing.assert_close(method.localize(Query(black, batch.mixture, batch.source_classes, features)), maps)


def test_without_tokens_every_source_has_the_one_map(build):
    method, batch = build(class_tokens=False, grouping=False).eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert torch.equal(maps[:, 0], maps[:, 1])


# -------------------------------------------------------------------------------------- recognition, embedding, stages


@every_ablation
@pytest.mark.parametrize("attention", ["plain", "blocks"])
def test_recognition_is_the_audio_head_of_the_forward_pass(build, attention, class_tokens, grouping):
    method = build(class_tokens=class_tokens, grouping=grouping, attention=attention).eval()
    batch = random_batch()
    probabilities, present = method.recognize(batch.mixture), method.presence(batch)
    if not (class_tokens or grouping):
        assert probabilities is None
        assert present == {}
        return
    _, _, g_a, g_v = method(batch.frames, batch.mixture)
    torch.testing.assert_close(probabilities, torch.sigmoid(method.audio_present(g_a)[..., 0]))
    torch.testing.assert_close(present["audio"], probabilities)
    torch.testing.assert_close(present["visual"], torch.sigmoid(method.visual_present(g_v)[..., 0]))


@every_ablation
def test_embedding_has_a_vector_for_each_source(build, class_tokens, grouping):
    method, batch = build(class_tokens=class_tokens, grouping=grouping).eval(), random_batch()
    vectors = method.embed(batch)
    sources = 2 if class_tokens or grouping else 1
    assert {name: tuple(value.shape) for name, value in vectors.items()} == {
        "audio": (3, sources, DIM), "visual": (3, sources, DIM),
    }  # fmt: skip


@pytest.mark.parametrize(("sources", "recipes"), [(1, [(1, "single")]), (3, [(1, "single"), (3, "side_by_side")])])
def test_batches_of_solos_take_turns_with_batches_of_mixtures(build, sources, recipes):
    (stage,) = build(sources=sources, train_geometry="side_by_side", epochs=7).stages()
    assert stage.epochs == 7
    assert [(recipe.sources, recipe.geometry) for recipe in stage.recipes] == recipes


# ------------------------------------------------------------------------------------------------- gradients, ablations


def trained_step(method: AVGN, batch: Batch) -> list[str]:
    """Take a step and return the names of the trainable parameters that no gradient reached."""
    weights = {name: value for name, value in method.named_parameters() if value.requires_grad}
    terms = method.train().loss(batch)
    assert math.isfinite(terms["total"].item())
    terms["total"].backward()
    dead = [name for name, value in weights.items() if value.grad is None or not value.grad.any()]
    torch.optim.AdamW(weights.values(), lr=1e-3).step()
    assert math.isfinite(method.loss(batch)["total"].item())
    return dead


@every_ablation
@pytest.mark.parametrize("gate", GATES)
def test_gradients_reach_every_trained_weight(build, gate, class_tokens, grouping):
    dead = trained_step(build(class_tokens=class_tokens, grouping=grouping, gate=gate), random_batch(6, 2))
    assert dead == []


@pytest.mark.parametrize("assignment", ["softmax", "hard"])
@pytest.mark.parametrize("attention", ["plain", "blocks"])
@pytest.mark.parametrize("train_geometry", ["first", "side_by_side"])
def test_every_choice_trains_and_localizes(build, attention, assignment, train_geometry):
    method = build(attention=attention, assignment=assignment, train_geometry=train_geometry)
    batch = random_batch(6, 1 if train_geometry == "first" else 2)
    assert trained_step(method, batch) == []
    maps = method.eval().localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert torch.isfinite(maps).all()


def test_printed_normaliser_leaves_the_query_and_the_key_of_the_sound_untrained(build):
    """The gradient of what cancels is rounding, 1e-6 of the others': why "none" is the default."""
    method = build(audio_normaliser="printed").double()
    method.loss(in_doubles(method, random_batch(6))[1])["total"].backward()
    for layer in (method.group_audio.query, method.group_audio.key):
        assert layer.weight.grad.abs().max() < 1e-6 * method.group_audio.value.weight.grad.abs().max()


def test_no_gradient_reaches_the_frozen_trunk():
    method = AVGN(AVGNSettings(preset="quick", dim=16).resolve("cpu"), CLASSES)
    batch = random_batch(4, 1, 64, 64)
    before = {name: value.clone() for name, value in method.trunk.state_dict().items()}
    assert trained_step(method, batch) == []
    assert all(value.grad is None for value in method.trunk.parameters())
    assert all(torch.equal(value, before[name]) for name, value in method.trunk.state_dict().items())


@pytest.mark.parametrize("both", [False, True])
def test_a_loss_in_parts_is_the_loss_at_once(build, monkeypatch, both):
    """Eq. 10's products grow with the square of the batch; in parts they are computed anew in the backward pass."""
    found = []
    for held in (avgn.HELD, 100):
        monkeypatch.setattr(avgn, "HELD", held)
        method, batch = in_doubles(build(both_directions=both), random_batch())
        method.loss(batch)["loc"].backward()
        found.append({name: value.grad for name, value in method.named_parameters() if value.grad is not None})
        assert len(found[-1]) > 10
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=1e-12)


def test_a_loss_in_parts_keeps_less_for_the_backward_pass(build, monkeypatch):
    def numbers(held: int) -> int:
        monkeypatch.setattr(avgn, "HELD", held)
        method, batch = in_doubles(build(), random_batch(batch=48))
        _, visual, g_a, g_v = method(batch.frames, batch.mixture, batch.features)
        kept: dict[int, Tensor] = {}  # by place in memory: what is kept twice takes no more
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.setdefault(x.data_ptr(), x), lambda x: x):
            method.localization_loss(visual, g_a, g_v, batch.source_classes)
        return sum(value.numel() for value in kept.values())

    at_once = numbers(avgn.HELD)
    assert numbers(2_000) < at_once / 2


def test_maps_of_many_classes_in_parts_are_the_maps_at_once(build, monkeypatch):
    batch, method = random_batch(), build().eval()
    at_once = method.localize(Query(batch.frames, batch.mixture))
    monkeypatch.setattr(avgn, "HELD", 100)
    torch.testing.assert_close(method.localize(Query(batch.frames, batch.mixture)), at_once)


def test_a_probability_is_below_one_where_half_precision_has_no_other(build):
    method = build().eval()
    nn.init.zeros_(method.audio_present.weight), nn.init.constant_(method.audio_present.bias, 7.0)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        heard = method.recognize(random_batch().mixture)
    assert (heard < 1).all()
