"""LVS against loops in float64, its limits, its maps and its gradients.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 20.
"""

import math

import pytest
import torch
from einops import rearrange
from tiny_methods import CLASSES, TinySound, TinyTrunk, cosine, in_doubles, random_mixtures, tri_map_means
from torch import Tensor

from avnb.data.clips import Batch, Recipe
from avnb.models.base import Query
from avnb.models.baselines.lvs import LVS, LVSSettings, contrast
from avnb.networks import presets
from avnb.networks.losses import all_cosines, tri_map_scores
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9
T = 0.07


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small LVS with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(**options) -> LVS:
        torch.manual_seed(3)
        options = {"above": 0.65, "below": 0.4, **options}  # the paper's
        return LVS(LVSSettings(preset="quick", device="cpu", **options).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 4, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


def random_cosines(pictures: int = 5, positions: int = 12) -> Tensor:
    return torch.rand(pictures, pictures, positions, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loss_of(similarity: Tensor, easy: str = "weighted") -> float:
    """The loss of given cosines [pictures, sounds, positions]."""
    method = LVS.__new__(LVS)
    torch.nn.Module.__init__(method)
    method.settings = LVSSettings(preset="paper", easy=easy).resolve("cpu")
    sounding, others, background = method.scores(rearrange(similarity, "i j x -> j i 1 x"))
    return contrast(sounding.diagonal(), others, background, T).item()


def plain_loss(similarity: list[list[list[float]]], easy: str) -> float:
    total = 0.0
    for i, row in enumerate(similarity):
        scores = [tri_map_means(values) for values in row]
        positive, _, hard = (math.exp(score / T) for score in scores[i])
        others = [math.exp(score[0 if easy == "weighted" else 1] / T) for j, score in enumerate(scores) if j != i]
        total -= math.log(positive / (positive + sum(others) + hard))
    return total / len(similarity)


@pytest.mark.parametrize("easy", ["mean", "weighted"])
def test_the_loss_is_its_equation_written_as_loops(build, easy):
    method, batch = in_doubles(build(easy=easy), random_batch())
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    pictures = [picture.flatten(1).T.tolist() for picture in visual]
    cosines = [[[cosine(v, a) for v in picture] for a in audio.tolist()] for picture in pictures]
    terms = method.loss(batch)
    assert terms["total"].item() == terms["contrast"].item() == pytest.approx(plain_loss(cosines, easy), abs=TOLERANCE)


@pytest.mark.parametrize("easy", ["mean", "weighted"])
@pytest.mark.parametrize("value", [-0.1, 0.0, 0.5, 1.0])
def test_cosines_that_are_all_the_same_make_nine_candidates_of_eight_clips(easy, value):
    assert loss_of(torch.full((8, 8, 6), value, dtype=torch.float64), easy) == pytest.approx(2.197225, abs=1e-6)


def test_the_released_mask_of_the_own_column_is_right_only_while_no_cosine_is_negative():
    """The code keeps the own column among the others, times -99: at 0 it is one candidate more, below 0 it is all."""

    def released(value: float, batch: int = 8) -> float:
        logits = torch.full((batch + 2,), value, dtype=torch.float64)
        logits[1] *= -99
        return -(logits / T).log_softmax(dim=0)[0].item()

    assert released(0.0) == pytest.approx(2.302585, abs=1e-6)
    assert released(-0.1) == pytest.approx(142.857, abs=1e-3)


def test_without_a_background_and_borders_it_is_contrast_of_mean_cosines():
    similarity = random_cosines()
    mean = similarity.mean(dim=2)
    sounding, _ = tri_map_scores(similarity, above=-50.0)
    torch.testing.assert_close(sounding, mean, rtol=0, atol=1e-12)
    nothing = torch.full((5,), -math.inf, dtype=torch.float64)
    own = torch.arange(5)
    expected = torch.nn.functional.cross_entropy(mean / T, own).item()
    assert contrast(sounding.diagonal(), mean, nothing, T).item() == pytest.approx(expected, abs=1e-12)


def test_the_order_of_the_batch_says_nothing():
    similarity, order = random_cosines(), torch.tensor([3, 1, 4, 0, 2])
    assert loss_of(similarity[order][:, order]) == pytest.approx(loss_of(similarity), abs=1e-12)


def test_a_position_between_the_borders_hardly_changes_the_loss():
    similarity = random_cosines()
    similarity[0, 0] = torch.tensor([0.1] * 5 + [0.52] + [0.8] * 6)
    change = []
    for position in (5, 6):
        moved = similarity.clone()
        moved[0, 0, position] += 1e-4
        change.append(abs(loss_of(moved) - loss_of(similarity)))
    assert change[0] < change[1] / 5


def test_features_and_cosines_are_never_negative(build):
    method, batch = build().train(), random_batch()
    audio, visual = method(batch.frames, batch.mixture)
    assert all_cosines(audio, visual).min() >= 0


def test_the_map_is_the_cosine_and_the_same_for_every_source(build):
    method, batch = in_doubles(build(), random_batch(3, 2))
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes, batch.features))
    assert maps.shape == (3, 2, *visual.shape[2:])
    assert (maps[:, 0] == maps[:, 1]).all()
    for clip in range(3):
        expected = [cosine(v, audio[clip].tolist()) for v in visual[clip].flatten(1).T.tolist()]
        torch.testing.assert_close(maps[clip, 0].flatten().tolist(), expected, rtol=0, atol=TOLERANCE)


def test_gradients_reach_every_trained_parameter(build):
    method = build().train()
    method.loss(random_batch(6))["total"].backward()
    weights = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.any()] == []


def test_training_on_the_tiny_benchmark_brings_the_loss_down(build, tiny_store, tmp_path):
    method = build(epochs=6, batch_size=8, seed=1)
    assert method.stages()[0].recipes == (Recipe(),)
    history = fit(method, tiny_store, Run(tmp_path / "lvs" / "tiny" / "run"), progress=False)
    assert history[-1]["contrast"] < history[0]["contrast"]


def test_the_paper_preset_is_a_pair_of_resnets_and_nothing_else():
    method = LVS(LVSSettings(preset="paper", pretrained=False).resolve("cpu"), CLASSES).eval()
    assert sum(weight.numel() for weight in method.parameters()) == 22_346_752
    with torch.no_grad():
        batch = random_batch(1, 1, 224, 224)
        assert method.localize(Query(batch.frames, batch.mixture)).shape == (1, 1, 14, 14)
    assert (method.settings.above, method.settings.below, method.settings.softness) == (0.65, 0.4, 0.03)
