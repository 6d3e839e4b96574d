"""Mix-and-Localize's equations against loops in float64, its walks, its maps, and what its ablations are made of.

The two networks that look and listen are replaced by tiny ones (``TinyTrunk``, ``TinySound``): the method is what lies
behind them. 1e-9 is rounding: some hundred float64 operations on numbers of size 1 to 100.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from einops import rearrange
from tiny_methods import TinySound, TinyTrunk
from torch import Tensor, nn
from torch.nn.functional import normalize

from avnb.data.clips import Batch, Recipe, mix_waveforms
from avnb.data.mixing import draw_partners, make_batch
from avnb.evaluation.localization import evaluate
from avnb.evaluation.trials import Trial
from avnb.models import METHODS
from avnb.models.base import Query
from avnb.models.mix_and_localize import (
    WALK,
    WARM_UP,
    MixAndLocalize,
    MixAndLocalizeSettings,
    cycle_accuracy,
    cycle_loss,
    join_alike,
    log_walk,
    mixed_correspondence_loss,
    pairing_loss,
    peaks_together,
    permutation_loss,
    similarity,
)
from avnb.networks import presets
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9
DIM, TAU = 8, 0.3
OBJECTIVES = ("cycle", "image_sound_image", "correspondence", "permutation")
every_objective = pytest.mark.parametrize("objective", OBJECTIVES)
every_k = pytest.mark.parametrize("k", [2, 3])


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small model with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(**options) -> MixAndLocalize:
        torch.manual_seed(3)
        defaults = {"preset": "quick", "dim": DIM, "temperature": TAU, "window": 0.2}
        return MixAndLocalize(MixAndLocalizeSettings(**(defaults | options)).resolve("cpu"), 5)

    return make


def random_batch(graphs: int = 3, k: int = 2, height: int = 32, width: int = 48, time: int = 12_000) -> Batch:
    """Mixtures of k clips, each clip on a frame of its own."""
    generator = torch.Generator().manual_seed(10 * graphs + k)
    frames = torch.randint(256, (graphs, k, 3, height, width), generator=generator, dtype=torch.uint8)
    waveforms = 0.2 * torch.randn(graphs, k, time, generator=generator)
    return Batch(
        frames=frames.flatten(0, 1),
        mixture=waveforms.sum(dim=1).repeat_interleave(k, dim=0),
        labels=torch.ones(graphs * k, 5),
        source_classes=torch.arange(k).repeat(graphs)[:, None],
        source_frames=frames,
        source_waveforms=waveforms,
    )


def in_doubles(method: MixAndLocalize, batch: Batch) -> tuple[MixAndLocalize, Batch]:
    """Everything in float64 and in evaluation mode, so that neither batch statistics nor chance enter."""
    features = method.trunk(batch.frames).double()
    return method.double().eval(), replace(batch, source_waveforms=batch.source_waveforms.double(), features=features)


def unit(*shape: int) -> Tensor:
    """Random unit vectors along dimension 2."""
    generator = torch.Generator().manual_seed(sum(shape))
    return normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=2)


# ------------------------------------------------------------------------------------- the equations, written as loops


def plain_phi(picture: Tensor, sound: Tensor) -> float:
    """Eq. 1 for one picture [dim, rows, columns] and one sound [dim]."""
    best = -math.inf
    for row in range(picture.shape[1]):
        for column in range(picture.shape[2]):
            best = max(best, sum(f * s for f, s in zip(picture[:, row, column].tolist(), sound.tolist(), strict=True)))
    return best


def plain_softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value / TAU) for value in values]
    return [power / sum(powers) for power in powers]


def plain_image_to_sound(pictures: Tensor, sounds: Tensor) -> list[list[float]]:
    """A_IS of eq. 2: a row for each picture, which sums to 1 over the sounds."""
    return [plain_softmax([plain_phi(picture, sound) for sound in sounds]) for picture in pictures]


def plain_sound_to_image(pictures: Tensor, sounds: Tensor) -> list[list[float]]:
    """A_SI, "equivalent to normalizing columns in eq. 2, then transposing"."""
    return [plain_softmax([plain_phi(picture, sound) for picture in pictures]) for sound in sounds]


def plain_product(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    k = len(a)
    return [[sum(a[i][m] * b[m][j] for m in range(k)) for j in range(k)] for i in range(k)]


def plain_cycle(walks: list[list[list[float]]]) -> float:
    """-1/k tr(log A), the mean over the graphs."""
    return -sum(sum(math.log(walk[i][i]) for i in range(len(walk))) / len(walk) for walk in walks) / len(walks)


def plain_correspondence(pictures: Tensor, sounds: Tensor) -> float:
    """Eq. 3 over all pictures of the batch, with eq. 7's A_IS."""
    graphs, k = sounds.shape[:2]
    total = 0.0
    for g in range(graphs):
        for i in range(k):
            powers = [
                [math.exp(plain_phi(pictures[g, i], sounds[m, t]) / TAU) for t in range(k)] for m in range(graphs)
            ]
            total -= math.log(sum(powers[g]) / sum(sum(row) for row in powers))
    return total / (graphs * k)


def plain_pairing(pictures: Tensor, sounds: Tensor) -> float:
    """Eq. 3 over all graphs of the batch: the likelihood that their pictures find heads of their own, one each."""
    graphs, k = sounds.shape[:2]
    total = 0.0
    for g in range(graphs):
        steps = []
        for i in range(k):
            powers = [
                [math.exp(plain_phi(pictures[g, i], sounds[m, t]) / TAU) for t in range(k)] for m in range(graphs)
            ]
            steps.append([power / sum(sum(row) for row in powers) for power in powers[g]])
        pairings = itertools.permutations(range(k))
        total -= math.log(sum(math.prod(steps[i][p[i]] for i in range(k)) for p in pairings))
    return total / (graphs * k)


def plain_permutation(pictures: Tensor, sounds: Tensor) -> float:
    """Eq. 8 for any k."""
    graphs, k = sounds.shape[:2]
    total = 0.0
    for g in range(graphs):
        pairings = itertools.permutations(range(k))
        total -= max(sum(plain_phi(pictures[g, i], sounds[g, p[i]]) for i in range(k)) for p in pairings)
    return total / graphs


def plain_windows(source: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """A source's first window, and the one half a clip later, going on at the clip's start."""
    time = len(source)
    return source[:window], torch.stack([source[(time // 2 + t) % time] for t in range(window)])


def plain_loss(method: MixAndLocalize, batch: Batch) -> float:
    """The objective of ``method.settings``, from the waveforms and the trunk's features."""
    settings, k = method.settings, method.settings.sources
    window = round(settings.window * 22_050)
    pictures, mirrored, sounds, elsewhere = [], [], [], []
    for g, sources in enumerate(batch.source_waveforms):
        views = batch.features[g * k : (g + 1) * k]
        pictures.append(normalize(method.project_visual(views), dim=1))
        mirrored.append(normalize(method.project_visual(views.flip(-1)), dim=1))
        if settings.levelled:
            sources = torch.stack([0.1 * source / source.square().mean().sqrt() for source in sources])
        cut = [plain_windows(source, window) for source in sources]
        for heads, part in ((sounds, 0), (elsewhere, 1)):
            mixture = sum(windows[part] for windows in cut)
            mixture = mixture / k if settings.sound == "mean" else mixture
            heard = method.listen(method.spectrogram(mixture[None]))
            heads.append(torch.stack([normalize(head(heard)[0], dim=0) for head in method.project_audio]))
    if settings.objective == "correspondence":
        return plain_correspondence(torch.stack(pictures), torch.stack(sounds))
    if settings.objective == "permutation":
        return plain_permutation(torch.stack(pictures), torch.stack(sounds))
    walks = []
    for f, again, s, shifted in zip(pictures, mirrored, sounds, elsewhere, strict=True):
        if settings.objective == "image_sound_image":
            walks.append(plain_product(plain_image_to_sound(f, s), plain_sound_to_image(again, s)))
        else:
            first = shifted if settings.shifted == "sound_to_image" else s
            second = shifted if settings.shifted == "image_to_sound" else s
            walks.append(plain_product(plain_sound_to_image(f, first), plain_image_to_sound(f, second)))
    return plain_cycle(walks)


# ----------------------------------------------------------------------------------------------------- equations 1 to 8


@every_k
def test_similarity_is_equation_1(k):
    pictures, sounds = unit(3, k, DIM, 2, 4), unit(3, k, DIM)
    phi = similarity(pictures, sounds)
    for g, i, j in itertools.product(range(3), range(k), range(k)):
        assert phi[g, i, j].item() == pytest.approx(plain_phi(pictures[g, i], sounds[g, j]), abs=TOLERANCE)


@every_k
def test_walk_from_sound_to_sound_is_the_product_of_equation_4(k):
    pictures, sounds, shifted = unit(3, k, DIM, 2, 4), unit(3, k, DIM), unit(3, k, DIM).flip(0)
    walk = log_walk(similarity(pictures, sounds).mT, similarity(pictures, shifted), TAU).exp()
    for g in range(3):
        expected = plain_product(
            plain_sound_to_image(pictures[g], sounds[g]), plain_image_to_sound(pictures[g], shifted[g])
        )
        torch.testing.assert_close(walk[g], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=TOLERANCE)


def test_every_walk_ends_somewhere():
    walk = log_walk(torch.randn(4, 3, 3, dtype=torch.float64), torch.randn(4, 3, 3, dtype=torch.float64), TAU).exp()
    torch.testing.assert_close(walk.sum(dim=2), torch.ones(4, 3, dtype=torch.float64), rtol=0, atol=TOLERANCE)


def test_cycle_loss_of_who_knows_nothing_is_log_k():
    walk = log_walk(torch.zeros(2, 3, 3), torch.zeros(2, 3, 3), TAU)
    assert cycle_loss(walk).item() == pytest.approx(math.log(3), abs=1e-6)


def test_cycle_loss_stays_finite_where_a_return_is_as_good_as_impossible():
    step = torch.tensor([[[50.0, 0.0], [0.0, 50.0]]], requires_grad=True)  # softmax at 0.07: a probability of e^-714
    loss = cycle_loss(log_walk(step, step.flip(1), 0.07))
    loss.backward()
    assert math.isfinite(loss.item())
    assert step.grad.isfinite().all()


def test_cycle_accuracy_is_the_share_of_likeliest_returns():
    walk = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.3, 0.7]]]).log()
    assert cycle_accuracy(walk).item() == 0.5


@every_k
def test_pairing_loss_is_its_equation_written_as_loops(k):
    pictures, sounds = unit(3, k, DIM, 2, 4), unit(3, k, DIM)
    assert pairing_loss(pictures, sounds, TAU).item() == pytest.approx(plain_pairing(pictures, sounds), abs=TOLERANCE)


@every_k
def test_heads_that_are_alike_pay_in_the_pairing_and_not_in_equation_7(k):
    # Alike heads share their pictures' probability: of a pairing each picture then has a kth, of eq. 7 all of it.
    pictures, sounds = unit(3, k, DIM, 2, 4), unit(3, 1, DIM).expand(3, k, DIM)
    paid = pairing_loss(pictures, sounds, TAU) - mixed_correspondence_loss(pictures, sounds, TAU)
    assert paid.item() == pytest.approx(math.log(k) - math.log(math.factorial(k)) / k, abs=TOLERANCE)


@every_k
def test_mixed_correspondence_loss_is_equation_7_in_equation_3(k):
    pictures, sounds = unit(3, k, DIM, 2, 4), unit(3, k, DIM)
    loss = mixed_correspondence_loss(pictures, sounds, TAU).item()
    assert loss == pytest.approx(plain_correspondence(pictures, sounds), abs=TOLERANCE)


@every_k
def test_permutation_loss_is_equation_8(k):
    pictures, sounds = unit(3, k, DIM, 2, 4), unit(3, k, DIM)
    loss = permutation_loss(similarity(pictures, sounds)).item()
    assert loss == pytest.approx(plain_permutation(pictures, sounds), abs=TOLERANCE)


def test_permutation_loss_is_lowest_where_nothing_is_told_apart():
    """Why eq. 8 fails in Table 3: it has no negatives."""
    assert permutation_loss(torch.ones(2, 2, 2)).item() == -2.0


@every_k
@pytest.mark.parametrize(
    "options",
    [
        *({"objective": objective} for objective in OBJECTIVES),
        {"shifted": "sound_to_image"}, {"shifted": "none"}, {"sound": "mean"}, {"levelled": True}, {"heads": "mlp"},
    ],
    ids=str,
)  # fmt: skip
def test_loss_is_the_printed_objective(build, options, k):
    method, batch = in_doubles(build(sources=k, **options), random_batch(3, k))
    assert method.loss(batch)["total"].item() == pytest.approx(plain_loss(method, batch), abs=TOLERANCE)


@every_objective
def test_loss_of_frames_side_by_side_is_that_of_separate_frames(build, objective):
    """With a projection that sees no border."""
    method = build(objective=objective)
    method.project_visual = nn.Conv2d(3, DIM, 1)
    method, batch = in_doubles(method, random_batch())
    joined = replace(
        batch,
        mixture=batch.mixture[::2],
        labels=batch.labels[::2],
        source_classes=batch.source_classes.reshape(3, 2),
        frames=torch.cat([batch.frames[0::2], batch.frames[1::2]], dim=3),
        features=torch.cat([batch.features[0::2], batch.features[1::2]], dim=3),
    )
    assert method.loss(joined)["total"].item() == pytest.approx(method.loss(batch)["total"].item(), abs=TOLERANCE)


def test_order_of_a_graphs_pictures_does_not_matter_to_the_cycle(build):
    method, batch = in_doubles(build(), random_batch())
    swapped = replace(batch, features=batch.features.unflatten(0, (3, 2)).flip(1).flatten(0, 1))
    assert method.loss(swapped)["total"].item() == pytest.approx(method.loss(batch)["total"].item(), abs=TOLERANCE)


# ------------------------------------------------------------------------------------------------- windows and mixtures


def test_second_window_does_not_overlap_the_first_where_the_clip_is_long_enough(build):
    method, time = build(window=3000 / 22_050), 9000
    sources = torch.arange(time, dtype=torch.float32).expand(16, 1, -1)  # each sample is its own time
    first, second = method.train().mixtures(sources)
    assert torch.equal(first, sources[:, 0, :3000])
    assert (second[:, 1:] - second[:, :-1] == 1).all()
    assert ((second[:, 0] >= 3000) & (second[:, 0] <= 6000)).all()
    assert len(second[:, 0].unique()) > 1


def test_second_window_of_a_whole_clip_is_the_clip_from_its_middle(build):
    sources = torch.arange(8.0).expand(2, 1, -1)
    for method in (build(window=3.0).train(), build(window=3.0).eval()):
        first, second = method.mixtures(sources)
        assert first[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
        assert second[0].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


def test_sources_of_a_mixture_are_shifted_each_on_its_own(build):
    sources = torch.arange(9000.0, dtype=torch.float64).expand(16, 2, -1).clone()
    sources[:, 1] *= 1e4  # so that both times can be read off the sum
    _, second = build(window=2500 / 22_050).train().mixtures(sources)
    starts = torch.stack([second[:, 0] % 1e4, second[:, 0] // 1e4], dim=1)
    assert (starts[:, 0] != starts[:, 1]).any()


def test_evaluation_knows_no_chance(build):
    method, batch = build().eval(), random_batch()
    assert method.loss(batch)["total"].item() == method.loss(batch)["total"].item()


def test_levelled_sources_are_equally_loud_and_silence_stays_silent(build):
    sources = torch.randn(2, 2, 4000) * torch.tensor([1.0, 0.01])[:, None]
    sources[1, 1] = 0
    method = build(levelled=True, window=3.0)
    alone = [method.mixtures(sources[:, k : k + 1])[0] for k in (0, 1)]
    assert alone[0][0].square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-4)
    assert alone[1][0].square().mean().sqrt().item() == pytest.approx(0.1, rel=1e-4)
    assert not alone[1][1].any()


@pytest.mark.parametrize(("same_class", "distinct"), [("allowed", False), ("never", True), ("preset", True)])
def test_a_graph_never_holds_two_clips_of_a_video_nor_when_asked_two_of_a_class(
    build, tiny_store, same_class, distinct
):
    *_, stage = build(same_class=same_class).stages()
    (recipe,) = stage.recipes
    assert (recipe.geometry, recipe.clips, recipe.distinct_classes) == ("separate", 2, distinct)
    train = tiny_store.select("train")
    generator = np.random.default_rng(0)
    mixtures = np.concatenate([draw_partners(tiny_store, train, train, 2, generator, distinct) for _ in range(20)])
    videos, labels = tiny_store.clips["video"][mixtures], tiny_store.labels[mixtures]
    assert (videos[:, 0] != videos[:, 1]).all()
    assert (labels[:, 0] & labels[:, 1]).any() == (not distinct)


# --------------------------------------------------------------------------------------------------------------- maps


@every_k
@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (48, 32), (40, 56)])
def test_there_are_as_many_maps_as_sources_asked_for(build, k, sources, height, width):
    method, batch = build(sources=k).eval(), random_batch(2, 2, height, width)
    asked = torch.zeros(len(batch.frames), sources, dtype=torch.long)
    maps = method.localize(Query(batch.frames, batch.mixture, asked))
    assert maps.shape == (4, sources, math.ceil(height / 16), math.ceil(width / 16))
    assert maps.abs().max() <= 1 + 1e-6  # a cosine, rounded


def test_map_of_a_head_is_its_cosine_with_every_position(build):
    method, batch = build().eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture))
    seen = method.project_visual(method.trunk(batch.frames))
    heard = method.listen(method.spectrogram(batch.mixture))
    for h, head in enumerate(method.project_audio):
        expected = torch.cosine_similarity(head(heard)[..., None, None], seen, dim=1)
        torch.testing.assert_close(maps[:, h], expected)


@every_k
def test_map_of_a_single_source_is_the_mean_of_the_heads(build, k):
    method, batch = build(sources=k).eval(), random_batch()
    one = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    torch.testing.assert_close(one[:, 0], method.localize(Query(batch.frames, batch.mixture)).mean(dim=1))


def test_sources_beyond_the_heads_get_the_mean_of_all(build):
    method, batch = build().eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture, torch.zeros(6, 4, dtype=torch.long)))
    heads = method.localize(Query(batch.frames, batch.mixture))
    torch.testing.assert_close(maps[:, :2], heads)
    for extra in (2, 3):
        torch.testing.assert_close(maps[:, extra], heads.mean(dim=1))


def test_heads_that_hear_alike_are_joined_first():
    sounds = normalize(
        torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]], [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]]), dim=2
    )
    maps = torch.arange(3.0).view(1, 3, 1, 1).expand(2, -1, 2, 2)
    joined = join_alike(maps, sounds, 2)[:, :, 0, 0]
    assert joined.tolist() == [[0.0, 1.5], [1.0, 1.0]]  # heads 1 and 2; heads 0 and 2


def test_all_heads_joined_weigh_the_same_whatever_the_order():
    maps, sounds = torch.randn(5, 4, 3, 2), normalize(torch.randn(5, 4, DIM), dim=2)
    torch.testing.assert_close(join_alike(maps, sounds, 1)[:, 0], maps.mean(dim=1))


def test_known_features_give_the_maps_of_their_frames(build):
    method, batch = build().eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    features = method.trunk(batch.frames)
    black = torch.zeros_like(batch.frames)
    torch.testing.assert_close(method.localize(Query(black, batch.mixture, batch.source_classes, features)), maps)


def test_peaks_are_together_at_most_one_cell_apart():
    maps = torch.zeros(3, 2, 4, 6)
    for image, (first, second) in enumerate((((0, 0), (1, 1)), ((0, 0), (0, 2)), ((3, 5), (3, 5)))):
        maps[image, 0, *first] = maps[image, 1, *second] = 1
    assert peaks_together(maps).tolist() == [True, False, True]
    assert peaks_together(maps, within=0).tolist() == [False, False, True]


def test_two_of_three_heads_in_one_place_are_reported():
    maps = torch.zeros(1, 3, 4, 6)
    maps[0, 0, 0, 0] = maps[0, 1, 3, 5] = maps[0, 2, 3, 5] = 1
    assert peaks_together(maps).tolist() == [True]


def test_embedding_is_the_heads_and_the_pictures_where_they_peak(build):
    method, batch = build().eval(), random_batch()
    vectors = method.embed(batch)
    maps = method.localize(Query(batch.frames, batch.mixture))
    assert vectors["audio"].shape == vectors["visual"].shape == (6, 2, DIM)
    cosine = (vectors["audio"] * vectors["visual"]).sum(dim=2)
    torch.testing.assert_close(cosine, maps.amax(dim=(2, 3)))


# ----------------------------------------------------------------------------------------------- gradients and training


@every_objective
@every_k
@pytest.mark.parametrize("heads", ["linear", "mlp"])
def test_gradients_reach_every_trained_weight(build, objective, k, heads):
    # 32: of 8 hidden units all may be off for the few things that the tiny sound network tells apart
    method, batch = build(objective=objective, sources=k, heads=heads, dim=32).train(), random_batch(4, k)
    terms = method.loss(batch)
    terms["total"].backward()
    weights = {name: value for name, value in method.named_parameters() if value.requires_grad}
    assert [name for name, value in weights.items() if value.grad is None or not value.grad.any()] == []
    assert 0 <= terms["cycle_accuracy"].item() <= 1


def test_no_gradient_reaches_the_frozen_trunk():
    method = MixAndLocalize(MixAndLocalizeSettings(preset="quick", dim=16).resolve("cpu"), 5).train()
    method.loss(random_batch(2, 2, 64, 64))["total"].backward()
    assert all(value.grad is None for value in method.trunk.parameters())
    assert all(value.grad is not None for value in method.project_visual.parameters())


def test_paper_preset_has_no_dead_weight_and_maps_of_stride_16():
    settings = MixAndLocalizeSettings(preset="paper", pretrained=False).resolve("cpu")
    method, batch = MixAndLocalize(settings, 5), random_batch(2, 2, 64, 96, time=40_000)
    method.train().loss(batch)["total"].backward()
    dead = [name for name, value in method.named_parameters() if value.grad is None or not value.grad.any()]
    assert dead == []
    assert method.eval().localize(Query(batch.frames, batch.mixture)).shape == (4, 2, 4, 6)


def test_paper_preset_hears_the_printed_spectrogram():
    settings = MixAndLocalizeSettings(preset="paper", pretrained=False).resolve("cpu")
    method = MixAndLocalize(settings, 5)
    (first, _) = method.mixtures(torch.randn(1, 2, 3 * 22_050))
    assert method.spectrogram(first).shape == (1, 1, 64, 193)  # printed 193 x 64: time first


@every_objective
def test_fit_and_evaluate_take_the_method_as_it_is(build, workspace, tiny_store, objective):
    method = build(objective=objective, epochs=2, batch_size=8)
    run = Run.of(method.settings, tiny_store.name)
    history = fit(method, tiny_store, run, progress=False)
    assert {"total", "cycle_accuracy", "val_loss", "val_ap", "val_cycle_accuracy"} <= set(history[-1])
    assert 0 <= history[-1]["val_cycle_accuracy"] <= 100
    rows, shown = evaluate(method, tiny_store, Trial("duet", 2, "one_frame"), progress=False)
    assert {row["classes"] for row in rows if row["method"] == "mix_and_localize"} == {"best_pairing"}
    assert shown["maps"].shape[1] == 2


def test_a_walk_begins_with_the_pairing_and_what_is_none_with_itself(build):
    named = [(stage.name, stage.epochs) for stage in build(objective="cycle", epochs=10).stages()]
    assert named == [("warm up", 4), ("train", 6)]
    assert [stage.name for stage in build(objective="permutation", epochs=10).stages()] == ["train"]
    assert [stage.epochs for stage in build(objective="cycle", epochs=10, warm_up=0.0).stages()] == [10]


def test_loss_of_the_warm_up_is_the_pairings(build, tiny_store):
    method = build(objective="cycle").eval()
    batch = make_batch(tiny_store, tiny_store.select("train")[:6].reshape(3, 2), Recipe(2, "separate"))
    method.enter(WARM_UP)
    pictures = rearrange(method.see(batch.frames, batch.features), "(g k) d h w -> g k d h w", k=2)
    sounds = method.hear(torch.cat(method.mixtures(batch.source_waveforms))).chunk(2)[0]
    warm = method.loss(batch)["total"]
    assert warm == pairing_loss(pictures, sounds, method.settings.temperature)
    method.enter(WALK)
    assert method.loss(batch)["total"] != warm


def test_method_is_registered():
    assert METHODS["mix_and_localize"] is MixAndLocalize


def test_separate_batches_of_the_store_are_understood(build, tiny_store):
    method = build(objective="cycle").eval()
    mixture = tiny_store.select("train")[:6].reshape(3, 2)
    apart = make_batch(tiny_store, mixture, Recipe(2, "separate", distinct_classes=False))
    assert len(apart.frames) == 6
    assert torch.equal(apart.mixture[0], mix_waveforms(apart.source_waveforms)[0])
    assert math.isfinite(method.loss(apart)["total"].item())


def test_windows_are_drawn_on_the_cpu_whatever_the_device(build):
    """A seed hears the same windows on a GPU; "meta" stands for one."""
    method, before = build().train(), torch.get_rng_state()
    method.mixtures(torch.zeros(2, 2, 12_000, device="meta"))
    assert not torch.equal(torch.get_rng_state(), before)
