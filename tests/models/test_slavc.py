"""SLAVC against loops in float64, its slow networks and its maps.

The networks that look, listen and know objects are replaced by tiny ones. 1e-9 is rounding: some hundred float64
operations on numbers of size 1 to 30.
"""

import math

import pytest
import torch
from tiny_methods import CLASSES, TinyObjects, TinySound, TinyTrunk, dot, in_doubles, random_mixtures, softmax
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

import avnb.models.ez_vsl as ez_vsl
from avnb.data.clips import Batch
from avnb.models.base import Query
from avnb.models.baselines.slavc import SLAVC, SLAVCSettings, two_head_scores
from avnb.networks import presets
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9
TAU = 0.3


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small SLAVC with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)
    monkeypatch.setattr(ez_vsl, "LiteObjects", TinyObjects)

    def make(**options) -> SLAVC:
        torch.manual_seed(3)
        defaults = {"preset": "quick", "device": "cpu", "dim": 8, "temperature": TAU}
        return SLAVC(SLAVCSettings(**(defaults | options)).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 4, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


def random_heads(batch: int = 4, dim: int = 6, rows: int = 2, columns: int = 3):
    generator = torch.Generator().manual_seed(batch + dim)
    options = {"generator": generator, "dtype": torch.float64}
    audio = tuple(normalize(torch.randn(batch, dim, **options), dim=1) for _ in range(2))
    return audio, tuple(normalize(torch.randn(batch, dim, rows, columns, **options), dim=1) for _ in range(2))


def plain_scores(visual, audio, tau: float, over: str = "sounds") -> list[list[float]]:
    """s(v, a), an anchor, a candidate and a position at a time."""
    pictures = [[picture.flatten(1).T.tolist() for picture in head] for head in visual]  # [head][picture][position]
    sounds = [head.tolist() for head in audio]
    size, positions = range(len(sounds[0])), range(len(pictures[0][0]))
    scores = []
    for anchor in size:
        row = []
        for candidate in size:
            i, j = (anchor, candidate) if over == "sounds" else (candidate, anchor)
            where = softmax([dot(pictures[1][i][x], sounds[1][j]) / tau for x in positions])
            total = 0.0
            for x in positions:
                if over == "sounds":
                    apart = softmax([dot(pictures[0][i][x], sound) / tau for sound in sounds[0]])
                else:
                    apart = softmax([dot(pictures[0][k][x], sounds[0][j]) / tau for k in size])
                total += apart[candidate] * where[x]
            row.append(math.log(total))
        scores.append(row)
    return scores


def plain_cross_entropy(scores: list[list[float]]) -> float:
    return -sum(math.log(softmax(row)[i]) for i, row in enumerate(scores)) / len(scores)


@pytest.mark.parametrize("both", [False, True])
def test_the_loss_is_the_released_one_written_as_loops(build, both):
    method, batch = in_doubles(build(both_directions=both), random_batch())
    with torch.no_grad():  # slow networks that are not the fast ones
        for weight in method.slow.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    slow_audio, slow_visual = method.slow_vectors(batch)
    first = plain_cross_entropy(plain_scores(visual, slow_audio, TAU))
    second = plain_cross_entropy(plain_scores(slow_visual, audio, TAU, "pictures" if both else "sounds"))
    terms = method.loss(batch)
    assert terms["picture_to_slow_sounds"].item() == pytest.approx(first, abs=TOLERANCE)
    assert terms["total"].item() == pytest.approx(first + second, abs=TOLERANCE)
    assert ("sound_to_slow_pictures" in terms) == both


def test_one_position_leaves_the_contrast_of_the_first_heads():
    audio, visual = random_heads(rows=1, columns=1)
    scores = two_head_scores(visual, audio, 0.03)
    logits = visual[0][..., 0, 0] @ audio[0].T / 0.03
    torch.testing.assert_close(scores, logits.log_softmax(dim=1), rtol=0, atol=1e-12)
    own = torch.arange(4)
    assert cross_entropy(scores, own).item() == pytest.approx(cross_entropy(logits, own).item(), abs=1e-12)


def test_freshly_built_both_terms_are_the_same_contrast(build):
    method, batch = in_doubles(build(), random_batch())
    terms = method.loss(batch)
    assert terms["total"].item() == pytest.approx(2 * terms["picture_to_slow_sounds"].item(), abs=1e-12)


def test_a_second_head_that_looks_nowhere_leaves_probabilities():
    audio, visual = random_heads()
    visual = (visual[0], visual[1][:, :, :1, :1].expand_as(visual[1]))
    sums = two_head_scores(visual, audio, 0.03).exp().sum(dim=1)
    torch.testing.assert_close(sums, torch.ones(4, dtype=torch.float64))


def test_vectors_that_are_all_the_same_cost_the_size_of_the_batch():
    same = torch.ones(4, 1, dtype=torch.float64)
    audio, visual = (same, same), (same[:, :, None, None].expand(-1, -1, 2, 3),) * 2
    score = two_head_scores(visual, audio, 0.03)
    assert 2 * cross_entropy(score, torch.arange(4)).item() == pytest.approx(2 * math.log(4), abs=1e-12)


def test_products_that_underflow_are_finite_in_single_precision():
    audio, visual = random_heads(dim=2)
    score = two_head_scores(tuple(v.float() for v in visual), tuple(a.float() for a in audio), 1e-3)
    assert torch.isfinite(score).all()


def slow_weights(method: SLAVC) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in method.slow.named_parameters()}


@pytest.mark.parametrize(
    ("momentum", "training", "moves"), [(0.5, False, False), (1.0, True, False), (0.5, True, True)]
)
def test_slow_networks_follow_only_in_training(build, momentum, training, moves):
    method, batch = build(momentum=momentum), random_batch()
    with torch.no_grad():
        for weight in method.project_audio.parameters():
            weight.add_(1.0)
    before = slow_weights(method)
    method.train(training).loss(batch)
    after = slow_weights(method)
    assert any(not torch.equal(before[name], after[name]) for name in before) == moves


def test_without_momentum_the_slow_networks_are_the_fast_ones(build):
    method = build(momentum=0.0).train()
    with torch.no_grad():
        for weight in method.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    method.loss(random_batch())
    for name, part in method.slow.items():
        for slow, fast in zip(part.parameters(), getattr(method, name).parameters(), strict=True):
            torch.testing.assert_close(slow, fast)


def test_gradients_reach_what_is_trained_and_no_slow_network(build):
    method = build().train()
    method.loss(random_batch(6))["total"].backward()
    assert all(weight.grad is None for weight in method.slow.parameters())
    weights = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize("alpha", [0.0, 0.9, 1.0])
def test_the_map_is_the_mean_of_two_cosines_joined_with_the_prior_by_fixed_ranges(build, alpha):
    method, batch = in_doubles(build(alpha=alpha, prior_range=7.0), random_batch(3, 2))
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes, batch.features))
    assert (maps[:, 0] == maps[:, 1]).all()
    v, _ = method.objects(batch.features)
    for clip in range(3):
        heads = [(a[clip].tolist(), b[clip].flatten(1).T.tolist()) for a, b in zip(audio, visual, strict=True)]
        seen = [sum(abs(x) for x in position) / 7 for position in v[clip].flatten(1).T.tolist()]
        for x, prior in enumerate(seen):
            heard = sum(dot(sound, picture[x]) for sound, picture in heads) / 2
            expected = alpha * (heard + 1) / 2 + (1 - alpha) * prior
            assert maps[clip, 0].flatten()[x].item() == pytest.approx(expected, abs=TOLERANCE)


def test_training_on_the_tiny_benchmark_brings_the_loss_down(build, tiny_store, tmp_path):
    method = build(epochs=12, batch_size=8, momentum=0.5, dropout=0.0)
    history = fit(method, tiny_store, Run(tmp_path / "slavc" / "tiny" / "run"), progress=False)
    assert history[-1]["total"] < history[0]["total"]


def test_the_paper_preset_trains_two_resnets_with_two_heads_each_and_copies_all_of_it():
    method = SLAVC(SLAVCSettings(preset="paper", pretrained=False).resolve("cpu"), CLASSES)
    trained = sum(weight.numel() for weight in method.parameters() if weight.requires_grad)
    assert trained == sum(weight.numel() for weight in method.slow.parameters()) == 23_397_376
    settings = method.settings
    assert (settings.dropout, settings.momentum, settings.alpha, settings.temperature) == (0.9, 0.999, 0.9, 0.03)
