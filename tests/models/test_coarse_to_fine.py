"""CoarsetoFine against loops in float64, its limits, its maps and its two stages.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 10.
"""

import math

import pytest
import torch
from tiny_methods import CLASSES, TinySoundMaps, TinyTrunk, cosine, dot, in_doubles, random_mixtures, sigmoid, softmax
from torch import Tensor

from avnb.data.clips import Batch, Recipe
from avnb.models.base import Query
from avnb.models.baselines.coarse_to_fine import (
    FLOOR,
    CoarseToFine,
    CoarseToFineSettings,
    alignment_loss,
    class_vectors,
    matching_loss,
)
from avnb.networks import presets
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small CoarsetoFine with the given settings, in its fine stage or before."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySoundMaps)

    def make(fine: bool = True, classes: int = CLASSES, **options) -> CoarseToFine:
        torch.manual_seed(3)
        defaults = {"preset": "quick", "device": "cpu", "dim": 6, "hidden": 7}
        method = CoarseToFine(CoarseToFineSettings(**(defaults | options)).resolve("cpu"), classes)
        if fine:
            method.begin_fine(list)
        return method

    return make


def random_batch(batch: int = 4, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


def alike(a: list[float], b: list[float]) -> float:
    """The cosine, 0 where a ReLU has left nothing of a vector."""
    return cosine(a, b) if any(a) and any(b) else 0.0


def mean(rows: list[list[float]]) -> list[float]:
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]


def plain_class_vectors(positions: list[list[float]], weight: list[list[float]]) -> list[list[float]]:
    """f_k: the mean of the features, weighted by where class k's classifier answers."""
    vectors = []
    for row in weight:
        answers = [max(0.0, dot(row, position)) for position in positions]
        total = sum(answers)
        weighted = [[a * x / total if total else 0.0 for x in p] for a, p in zip(answers, positions, strict=True)]
        vectors.append([sum(column) for column in zip(*weighted, strict=True)])
    return vectors


def plain_alignment(audio: list, visual: list, audible: list, visible: list, margin: float) -> float:
    """The mean over positive slots and the mean over negative ones, slot by slot."""
    near, far = [], []
    for i, sounds in enumerate(audio):
        for k, a in enumerate(sounds):
            for j, pictures in enumerate(visual):
                for c, v in enumerate(pictures):
                    if not (audible[i][k] and visible[j][c]):
                        continue
                    squared = 2 - 2 * alike(a, v)
                    if (i, k) == (j, c):
                        near.append(squared)
                    else:
                        far.append(max(0.0, margin - math.sqrt(max(squared, FLOOR))) ** 2)
    return sum(sum(terms) / len(terms) for terms in (near, far) if terms)


@pytest.mark.parametrize("sources", [1, 2])
def test_the_loss_is_its_equations_written_as_loops(build, sources):
    method, batch = in_doubles(build(active=0.4), random_batch(4, sources))
    heard = method.hear(batch.mixture).flatten(1, 2)
    seen = method.see(batch.frames, batch.features).flatten(1, 2)
    means = [[mean(clip) for clip in features.tolist()] for features in (heard, seen)]
    weights = [layer.weight.tolist() for layer in (method.audio_class, method.visual_class)]
    chances = [
        [[sigmoid(dot(row, clip)) for row in weight] for clip in of] for of, weight in zip(means, weights, strict=True)
    ]
    labels = batch.labels.tolist()
    terms = method.loss(batch)
    for name, chance in zip(("class_audio", "class_visual"), chances, strict=True):
        costs = [
            -math.log(p if y else 1 - p)
            for ps, ys in zip(chance, labels, strict=True)
            for p, y in zip(ps, ys, strict=True)
        ]
        assert terms[name].item() == pytest.approx(sum(costs) / len(costs), abs=TOLERANCE)
    size = range(len(batch))
    logits = [
        [method.match(torch.tensor(means[0][i] + means[1][j], dtype=torch.float64)).tolist() for j in size]
        for i in size
    ]
    costs = [[-math.log(softmax(logits[i][j])[int(i == j)]) for j in size] for i in size]
    own, others = [costs[i][i] for i in size], [costs[i][j] for i in size for j in size if i != j]
    expected = sum(own) / len(own) / 2 + sum(others) / len(others) / 2
    assert terms["match"].item() == pytest.approx(expected, abs=TOLERANCE)
    vectors = [
        project(
            torch.tensor([plain_class_vectors(clip, weight) for clip in features.tolist()], dtype=torch.float64)
        ).tolist()
        for project, features, weight in (
            (method.project_audio, heard, weights[0]), (method.project_visual, seen, weights[1])
        )
    ]  # fmt: skip
    counted = [[[p > 0.4 for p in clip] for clip in chance] for chance in chances]
    assert any(map(any, counted[0]))
    assert any(map(any, counted[1]))
    expected = plain_alignment(*vectors, *counted, margin=1.4)
    assert terms["align"].item() == pytest.approx(expected, abs=TOLERANCE)
    parts = [terms[name].item() for name in ("class_audio", "class_visual", "match", "align")]
    assert terms["total"].item() == pytest.approx(sum(parts), abs=TOLERANCE)


def test_the_coarse_stage_aligns_nothing(build):
    assert set(build(fine=False).loss(random_batch())) == {"total", "class_audio", "class_visual", "match"}


def test_weights_of_zero_know_nothing_and_align_nothing(build):
    method = build(active=0.51).double()
    with torch.no_grad():
        for part in (method.match, method.audio_class, method.visual_class):
            for weight in part.parameters():
                weight.zero_()
    method, batch = in_doubles(method, random_batch())
    terms = method.loss(batch)
    for name in ("class_audio", "class_visual", "match"):
        assert terms[name].item() == pytest.approx(math.log(2), abs=1e-12)
    assert terms["align"].item() == 0


def slot(vector: list[float]) -> Tensor:
    return torch.tensor([[vector]], dtype=torch.float64)


def test_a_mismatch_costs_nothing_from_a_cosine_of_0_02_down():
    def cost(cos: float) -> float:
        audio = torch.cat([slot([1.0, 0.0]), slot([0.0, 1.0])])
        visual = torch.cat([slot([1.0, 0.0]), slot([cos, math.sqrt(1 - cos * cos)])])
        on, off = torch.ones(2, 1, dtype=torch.bool), torch.tensor([[False], [True]])
        return alignment_loss(audio, visual, on & ~off, on & off, 1.4).item()  # sound 0 on picture 1 alone

    assert cost(0.02 - 1e-6) == 0
    assert cost(0.02 + 1e-3) > 0


def test_scaling_class_maps_or_features_changes_no_direction():
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(2, 9, 4, dtype=torch.float64, generator=generator)
    weight = torch.randn(3, 4, dtype=torch.float64, generator=generator)
    vectors = class_vectors(features, weight)
    torch.testing.assert_close(class_vectors(features, 5 * weight), vectors)
    torch.testing.assert_close(class_vectors(5 * features, weight), 5 * vectors)


def test_a_class_that_is_nowhere_is_a_zero_vector_at_distance_2():
    features = torch.rand(1, 5, 3, requires_grad=True)
    vectors = class_vectors(features, torch.full((1, 3), -1.0))
    assert not vectors.any()
    on = torch.ones(1, 1, dtype=torch.bool)
    loss = alignment_loss(vectors, torch.ones(1, 1, 3), on, on, 1.4)
    loss.backward()
    assert loss.item() == 2
    assert torch.isfinite(features.grad).all()


def test_vectors_that_coincide_have_finite_gradients():
    audio = torch.ones(2, 1, 4, requires_grad=True)
    on = torch.ones(2, 1, dtype=torch.bool)
    alignment_loss(audio, torch.ones(2, 1, 4), on, on, 1.4).backward()
    assert torch.isfinite(audio.grad).all()


def test_class_maps_are_not_trained_by_what_they_weigh():
    weight = torch.randn(3, 4, requires_grad=True)
    vectors = class_vectors(torch.rand(2, 9, 4, requires_grad=True), weight)
    vectors.sum().backward()
    assert weight.grad is None


def test_one_pair_alone_is_only_a_match():
    logits = torch.tensor([[[0.0, 0.0]]])
    assert matching_loss(logits).item() == pytest.approx(math.log(2) / 2)


def test_the_map_of_a_class_is_the_cosine_with_the_sounds_vector_of_it(build):
    method, batch = in_doubles(build(), random_batch(3, 2))
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes, batch.features))
    heard = method.hear(batch.mixture).flatten(1, 2)
    vectors = method.project_audio(class_vectors(heard, method.audio_class.weight)).tolist()
    positions = method.project_visual(method.see(batch.frames, batch.features)).flatten(1, 2).tolist()
    for clip in range(3):
        for place, asked in enumerate(batch.source_classes[clip].tolist()):
            expected = [max(0.0, alike(vectors[clip][asked], position)) for position in positions[clip]]
            torch.testing.assert_close(maps[clip, place].flatten().tolist(), expected, rtol=0, atol=TOLERANCE)


def test_asked_for_nothing_it_shows_what_it_hears_by_how_surely(build):
    method, batch = in_doubles(build(active=0.5), random_batch())
    every = torch.arange(CLASSES).expand(len(batch), -1)
    maps = method.localize(Query(batch.frames, batch.mixture, every, batch.features))
    whole = method.localize(Query(batch.frames, batch.mixture, None, batch.features))
    assert whole.shape == (4, 1, 2, 3)
    for clip, chances in enumerate(method.recognize(batch.mixture).tolist()):
        sure = [p if p > 0.5 or p == max(chances) else 0.0 for p in chances]
        expected = sum(p * layer for p, layer in zip(sure, maps[clip], strict=True)) / sum(sure)
        torch.testing.assert_close(whole[clip, 0], expected)


def test_gradients_reach_every_trained_parameter(build):
    method = build(active=0.0).train()
    method.loss(random_batch(6))["total"].backward()
    weights = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.any()] == []


def test_coarse_comes_before_fine(build, tiny_store, tmp_path):
    method = build(fine=False, classes=4, epochs=3, fine_epochs=3, batch_size=8)
    assert method.stages()[0].recipes == (Recipe(),)
    history = fit(method, tiny_store, Run(tmp_path / "coarse_to_fine" / "tiny" / "run"), progress=False)
    assert [row["stage"] for row in history] == ["coarse"] * 3 + ["fine"] * 3
    assert history[2]["class_visual"] < history[0]["class_visual"]
    assert "align" in history[-1]


@torch.no_grad()
def test_the_paper_preset_is_the_released_network():
    settings = CoarseToFineSettings(preset="paper", pretrained=False).resolve("cpu")
    method = CoarseToFine(settings, 7).eval()
    assert sum(weight.numel() for weight in method.parameters()) == 23_796_098
    assert method.spectrogram(torch.zeros(1, 5 * 22_050)).shape == (1, 1, 64, 251)
    assert method.spectrogram(torch.zeros(1, 22_050)).max().item() == pytest.approx(-36, abs=0.1)
    assert method.see(torch.zeros(1, 3, 256, 256, dtype=torch.uint8)).shape == (1, 16, 16, 512)
