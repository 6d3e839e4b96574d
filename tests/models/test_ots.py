"""OTS against loops in float64, its maps, its gradients and OTS-mix.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 10.
"""

import math

import pytest
import torch
from tiny_methods import CLASSES, TinySound, TinyTrunk, cosine, in_doubles, random_mixtures, sigmoid

from avnb.data.clips import Batch, Recipe
from avnb.errors import SettingsError
from avnb.models.base import Query
from avnb.models.ots import OTS, OTSSettings, _off_diagonal, matching_loss
from avnb.networks import presets
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9
DIM = 6


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small OTS with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(**options) -> OTS:
        torch.manual_seed(3)
        return OTS(OTSSettings(preset="quick", device="cpu", dim=DIM, **options).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 4, sources: int = 2, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


def plain_map(method: OTS, batch: Batch, sound: int, picture: int) -> list[float]:
    """l(g(a), f(v)) of one sound and one picture, position by position (Table 3 of DSOL's appendix)."""
    audio = method.project_audio(method.hear(batch.mixture))[sound].tolist()
    visual = method.project_visual(method.see(batch.frames, batch.features))[picture].flatten(1).T.tolist()
    return [sigmoid(method.scale.item() * cosine(audio, position)) for position in visual]


@pytest.mark.parametrize("negatives", ["all", "one"])
def test_the_loss_is_eq_1_written_as_loops(build, negatives):
    method, batch = in_doubles(build(negatives=negatives), random_batch())
    size = len(batch)
    matched = [-math.log(max(plain_map(method, batch, i, i))) for i in range(size)]
    mismatched = [
        -math.log(1 - max(plain_map(method, batch, i, j)))
        for i in range(size)
        for j in range(size)
        if (j == (i + 1) % size if negatives == "one" else i != j)
    ]
    expected = (sum(matched) / len(matched) + sum(mismatched) / len(mismatched)) / 2
    terms = method.loss(batch)
    assert terms["total"].item() == terms["loc"].item() == pytest.approx(expected, abs=TOLERANCE)


def test_parts_of_a_mismatched_picture_are_mismatches_of_their_own_and_one_part_is_a_match():
    logits = torch.randn(3, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values = logits.tolist()
    matched = [-math.log(sigmoid(max(values[i][i]))) for i in range(3)]
    mismatched = [-math.log(1 - sigmoid(x)) for i in range(3) for j in range(3) if i != j for x in values[i][j]]
    expected = (sum(matched) / 3 + sum(mismatched) / len(mismatched)) / 2
    assert matching_loss(logits).item() == pytest.approx(expected, abs=TOLERANCE)


def test_a_batch_of_one_clip_has_no_mismatch_and_ends_in_a_sentence():
    with pytest.raises(SettingsError, match="batch_size must be at least 2"):
        matching_loss(torch.zeros(1, 1, 1))


def test_the_map_is_the_sigmoid_of_the_scaled_cosine(build):
    method, batch = in_doubles(build(), random_batch())
    maps = method.localize(Query.of(batch))
    for number in range(len(batch)):
        expected = plain_map(method, batch, number, number)
        assert maps[number, 0].flatten().tolist() == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (48, 40)])
def test_every_source_gets_the_same_map_whatever_the_frame(build, sources, height, width):
    method, batch = build().eval(), random_batch(2, sources, height, width)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert maps.shape == (2, sources, *method.trunk(batch.frames).shape[2:])
    assert (maps == maps[:, :1]).all()
    assert method.localize(Query(batch.frames, batch.mixture)).shape[1] == 1
    assert ((maps > 0) & (maps < 1)).all()


def test_gradients_reach_every_trained_parameter(build):
    method = build().train()
    method.loss(random_batch())["total"].backward()
    dead = [name for name, weight in method.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert dead == []


def test_embeddings_have_a_row_a_clip(build):
    method, batch = build().eval(), random_batch()
    assert {name: tuple(value.shape) for name, value in method.embed(batch).items()} == {
        "audio": (4, 1, DIM),
        "visual": (4, 1, DIM),
    }


def test_ots_mix_is_trained_on_mixtures_side_by_side(build):
    assert [stage.recipes for stage in build().stages()] == [(Recipe(),)]
    assert [stage.recipes for stage in build(sources=2).stages()] == [(Recipe(2, "side_by_side"),)]


@pytest.mark.parametrize("sources", [1, 2])
def test_training_on_the_tiny_benchmark_brings_the_loss_down(build, tiny_store, tmp_path, sources):
    method = build(sources=sources, epochs=6, batch_size=8, seed=1)
    history = fit(method, tiny_store, Run(tmp_path / "ots" / "tiny" / "run"), progress=False)
    assert history[-1]["loc"] < history[0]["loc"]


def test_the_paper_preset_hears_16_kilohertz_and_sees_at_stride_16():
    settings = OTSSettings(preset="paper", device="cpu", pretrained=False).resolve("cpu")
    torch.manual_seed(0)
    method = OTS(settings, CLASSES).eval()
    with torch.no_grad():
        image = method.spectrogram(torch.randn(1, presets.RATE))
        maps = method.localize(Query(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), torch.randn(1, presets.RATE)))
    assert image.shape == (1, 1, 64, 201)  # DSOL: 201 x 64 of one second
    assert maps.shape == (1, 1, 4, 6)


def test_pairs_of_two_clips_are_all_but_the_diagonal_row_after_row():
    pairs = torch.randn(5, 5, 3)
    assert torch.equal(_off_diagonal(pairs), pairs[~torch.eye(5, dtype=torch.bool)])
