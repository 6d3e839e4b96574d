"""DMC against loops in float64, its maps, its gradients and the simplified program's network.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 10. The soft k-means itself is tested where it stands.
"""

import math

import pytest
import torch
from tiny_methods import CLASSES, TinySoundMaps, TinyTrunk, in_doubles, random_mixtures
from torch import Tensor

from avnb.data.clips import Batch, Recipe
from avnb.errors import SettingsError
from avnb.models.base import Query
from avnb.models.baselines.dmc import DMC, DMCSettings, SmallStem
from avnb.networks import presets
from avnb.networks.losses import FLOOR
from avnb.networks.soft_kmeans import soft_kmeans
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small DMC with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySoundMaps)

    def make(**options) -> DMC:
        torch.manual_seed(3)
        return DMC(DMCSettings(preset="quick", device="cpu", dim=8, **options).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 4, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


def clusters_of(method: DMC, batch: Batch, sources: int) -> tuple[list, list, Tensor]:
    """The centres of every sound and picture of the batch, and the positions' shares in the pictures'."""
    seen = method.see(batch.frames, batch.features).flatten(1, 2)
    heard, _ = soft_kmeans(method.hear(batch.mixture), sources)
    centres, shares = soft_kmeans(seen, sources + 1)
    return heard.tolist(), centres.tolist(), shares


def squared(a: list[float], b: list[float]) -> float:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("sources", [1, 2])
def test_the_loss_is_its_equation_written_as_loops(build, sources):
    method, batch = in_doubles(build(sources=sources, margin=0.5), random_batch())
    heard, seen, _ = clusters_of(method, batch, sources)
    size, total = len(batch), 0.0
    for i in range(size):
        near, far = (
            sum(min(squared(centre, sound) for centre in seen[j]) for sound in heard[i]) for j in (i, (i + 1) % size)
        )
        total += (near + max(0.0, 0.5 - math.sqrt(far + FLOOR)) ** 2) / (4 * size)
    terms = method.loss(batch)
    assert terms["total"].item() == terms["contrast"].item() == pytest.approx(total, abs=TOLERANCE)


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_a_map_is_the_share_in_the_cluster_nearest_to_each_cluster_of_the_sound(build, sources):
    method, batch = in_doubles(build(), random_batch(3, sources))
    heard, seen, shares = clusters_of(method, batch, sources)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes, batch.features))
    assert maps.shape == (3, sources, 2, 3)
    assert (maps.min() >= 0, maps.max() <= 1) == (True, True)
    for clip in range(3):
        for source, sound in enumerate(heard[clip]):
            nearest = min(range(sources + 1), key=lambda k, clip=clip, sound=sound: squared(seen[clip][k], sound))
            torch.testing.assert_close(maps[clip, source].flatten(), shares[clip, nearest], rtol=0, atol=TOLERANCE)


def test_the_classes_that_are_asked_for_say_only_how_many(build):
    method, batch = build().eval(), random_batch(3, 2)
    asked = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert torch.equal(asked, method.localize(Query(batch.frames, batch.mixture, batch.source_classes.flip(1))))
    assert method.localize(Query(batch.frames, batch.mixture)).shape[1] == 1


def test_embeddings_have_a_row_a_source(build):
    vectors = build().eval().embed(random_batch(3, 2))
    assert {name: tuple(value.shape) for name, value in vectors.items()} == {"audio": (3, 2, 8), "visual": (3, 2, 8)}


@pytest.mark.parametrize("sources", [1, 2])
def test_gradients_reach_every_trained_parameter(build, sources):
    method = build(sources=sources).train()
    method.loss(random_batch(6, sources))["total"].backward()
    weights = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.any()] == []


def test_a_batch_of_one_clip_has_no_mismatch_and_ends_in_a_sentence(build):
    with pytest.raises(SettingsError, match="batch_size must be at least 2"):
        build().loss(random_batch(1))


def test_mixtures_lie_side_by_side(build):
    assert build().stages()[0].recipes == (Recipe(),)
    assert build(sources=2).stages()[0].recipes == (Recipe(2, "side_by_side"),)


@pytest.mark.parametrize("sources", [1, 2])
def test_training_on_the_tiny_benchmark_brings_the_loss_down(build, tiny_store, tmp_path, sources):
    method = build(sources=sources, epochs=6, batch_size=8, seed=1)
    history = fit(method, tiny_store, Run(tmp_path / "dmc" / "tiny" / "run"), progress=False)
    assert history[-1]["contrast"] < history[0]["contrast"]


@torch.no_grad()
def test_the_paper_preset_is_the_simplified_programs_network():
    method = DMC(DMCSettings(preset="paper").resolve("cpu"), CLASSES).eval()
    assert sum(weight.numel() for weight in method.parameters()) == 22_870_272
    batch = random_batch(1, 2, 224, 224)
    assert method.localize(Query(batch.frames, batch.mixture, batch.source_classes)).shape == (1, 2, 14, 14)


@torch.no_grad()
def test_padded_as_released_the_network_makes_a_row_and_a_column_more():
    assert SmallStem(3, padding=3)(torch.zeros(1, 3, 224, 224, dtype=torch.uint8)).shape == (1, 512, 15, 15)
    assert SmallStem(1, padding=3)(torch.zeros(1, 1, 64, 201)).shape == (1, 512, 5, 13)
