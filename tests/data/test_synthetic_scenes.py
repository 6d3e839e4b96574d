"""2x2 scenes of which two instruments sound and two are silent: their truth, their features and how they are judged."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from avnb.data.clips import Recipe
from avnb.data.mixing import grid_features, grid_order, grid_truth, make_batch, shrunk, sounding_classes
from avnb.data.store import Store
from avnb.errors import DataError
from avnb.evaluation.localization import evaluate
from avnb.evaluation.trials import Trial, synthetic_trial
from avnb.models.base import Method, Query, Stage
from avnb.models.dsol import DSOLSettings
from avnb.training.examples import gather_examples

SETTINGS = DSOLSettings(preset="quick", device="cpu", batch_size=8).resolve("cpu")


class Trunk(nn.Module):
    """The mean colour of every 16 x 16 pixels."""

    channels, stride, frozen = 3, 16, True

    def forward(self, frames: Tensor) -> Tensor:
        return avg_pool2d(frames.float(), 16)


class Double(Method):
    """Shows, for class c, the level c / 10 + 0.05 everywhere; or noise; it knows classes as it is told to."""

    def __init__(self, classes: tuple[str, ...] = ("oracle", "predicted"), noise: bool = False) -> None:
        super().__init__()
        self.settings, self.trunk = SETTINGS, Trunk()
        self.CLASSES, self.noise = classes, noise

    def localize(self, query: Query) -> Tensor:
        if self.noise:
            generator = torch.Generator().manual_seed(int(query.frames.sum()) % 1000)
            every = torch.rand(len(query.frames), 4, 8, 8, generator=generator)
            return every.gather(1, query.classes[:, :, None, None].expand(-1, -1, 8, 8))
        return (query.classes / 10 + 0.05)[:, :, None, None].expand(-1, -1, 4, 4)

    def stages(self) -> list[Stage]:
        return [Stage("only", 1, (Recipe(2, "grid"),))]


@pytest.fixture
def trial(tiny_store):
    return synthetic_trial(tiny_store)


def rows_of(method: Method, store: Store) -> dict[tuple[str, str], dict[str, Any]]:
    rows, _ = evaluate(method, store, synthetic_trial(store), progress=False)
    return {(row["method"], row["classes"]): row for row in rows}


def test_a_scene_is_of_four_classes_of_which_two_sound(tiny_store, trial):
    mixtures = trial.mixtures(tiny_store)
    batch = make_batch(tiny_store, mixtures, trial.recipe)
    assert mixtures.shape == (8, 4)
    assert all(len(set(row)) == 4 for row in sounding_classes(tiny_store, mixtures).tolist())
    assert (batch.labels.sum(dim=1) == 2).all()


def test_every_object_lies_in_its_tile_at_half_its_size(tiny_store, trial):
    mixtures = trial.mixtures(tiny_store)
    places, order = grid_truth(tiny_store, mixtures), grid_order(mixtures)
    classes = sounding_classes(tiny_store, mixtures)
    for scene, row in enumerate(mixtures):
        for number, clip in enumerate(row):
            own = tiny_store.read_truth(row[number : number + 1], classes[scene, number : number + 1][None])[0, 0]
            tile = order[scene].tolist().index(number)
            expected = torch.zeros(64, 64)
            for y in range(32):
                for x in range(32):
                    inside = own[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() >= 0.5
                    expected[32 * (tile // 2) + y, 32 * (tile % 2) + x] = float(inside)
            assert torch.equal(places[scene, number], expected), clip


def test_truth_of_what_sounds_is_the_batchs(tiny_store, trial):
    mixtures = trial.mixtures(tiny_store)
    batch = make_batch(tiny_store, mixtures, trial.recipe, truth=True)
    assert torch.equal(grid_truth(tiny_store, mixtures)[:, :2], batch.truth)


def test_shrunk_images_are_the_means_of_four_pixels():
    images = torch.randint(256, (2, 3, 6, 8), dtype=torch.uint8)
    expected = (avg_pool2d(images.float(), 2) + 0.5).floor().to(torch.uint8)
    assert torch.equal(shrunk(images), expected)
    torch.testing.assert_close(shrunk(images.float()), avg_pool2d(images.float(), 2))


def test_features_of_half_frames_are_laid_out_as_the_scenes_own(tiny_store, trial):
    mixtures, trunk = trial.mixtures(tiny_store), Trunk()
    tiles = trunk(shrunk(tiny_store.read_frames(mixtures).flatten(0, 1))).unflatten(0, mixtures.shape)
    scene = make_batch(tiny_store, mixtures, trial.recipe).frames
    torch.testing.assert_close(grid_features(tiles, grid_order(mixtures)), trunk(scene))


def test_training_scenes_come_with_cached_features_of_half_frames(tiny_store):
    method = Double()
    examples = gather_examples(method, tiny_store, progress=False)
    mixtures = examples.train[:8].reshape(2, 4)
    batch = examples.batch(mixtures, Recipe(2, "grid"))
    torch.testing.assert_close(batch.features, method.trunk(batch.frames), rtol=1e-3, atol=0.1)  # half precision


def test_rows_tell_the_mean_value_on_sounding_and_on_silent_instruments_and_nsa(tiny_store, trial):
    mixtures = trial.mixtures(tiny_store)
    classes = sounding_classes(tiny_store, mixtures)
    row = rows_of(Double(), tiny_store)["dsol", "oracle"]
    assert row["on sounding"] == pytest.approx(100 * (classes[:, :2] / 10 + 0.05).mean(), abs=0.01)
    assert row["on silent"] == pytest.approx(100 * (classes[:, 2:] / 10 + 0.05).mean(), abs=0.01)
    quiet = [[k < 2 for k in range(4) if k not in scene[:2]] for scene in classes.tolist()]  # 0.05, 0.15, 0.25, 0.35
    assert row["NSA"] == pytest.approx(100 * np.mean([np.mean(scene) for scene in quiet]), abs=0.01)


def test_values_are_what_plain_loops_find(tiny_store, trial):
    method = Double(noise=True)
    mixtures = trial.mixtures(tiny_store)
    batch, places = make_batch(tiny_store, mixtures, trial.recipe), grid_truth(tiny_store, mixtures)
    classes = torch.from_numpy(sounding_classes(tiny_store, mixtures))
    maps = method.localize(Query(batch.frames, batch.mixture, classes))
    large = torch.nn.functional.interpolate(maps, (64, 64), mode="bilinear", align_corners=False)
    levels = [[float(large[s, k][places[s, k] > 0].mean()) for k in range(4)] for s in range(8)]
    row = rows_of(method, tiny_store)["dsol", "oracle"]
    assert row["on sounding"] == pytest.approx(100 * np.mean([level[:2] for level in levels]), abs=0.01)
    assert row["on silent"] == pytest.approx(100 * np.mean([level[2:] for level in levels]), abs=0.01)


def test_flat_maps_have_all_of_nsa_and_the_same_value_on_all(tiny_store):
    rows = rows_of(Double(), tiny_store)
    flat, whole, oracle = (rows[name, "none"] for name in ("flat", "whole_image", "oracle"))
    assert (flat["NSA"], flat["on sounding"], flat["on silent"]) == (0.0, 25.0, 25.0)  # 1 / 4 is over 0.2
    assert (whole["NSA"], whole["on sounding"], whole["on silent"]) == (0.0, 100.0, 100.0)
    assert (oracle["NSA"], oracle["on silent"]) == (100.0, 0.0)
    assert oracle["on sounding"] > 99


def test_duets_have_nsa_where_it_is_asked_for(tiny_store):
    duet = Trial("duet", 2, "side_by_side", silence=True)
    sounding = sounding_classes(tiny_store, duet.mixtures(tiny_store)).tolist()
    found, _ = evaluate(Double(), tiny_store, duet, progress=False)
    rows = {(row["method"], row["classes"]): row for row in found}
    quiet = [[k < 2 for k in range(4) if k not in pair] for pair in sounding]  # 0.05, 0.15, 0.25, 0.35
    assert rows["dsol", "oracle"]["NSA"] == pytest.approx(100 * np.mean([np.mean(pair) for pair in quiet]), abs=0.01)
    assert rows["oracle", "none"]["NSA"] == 100
    assert ("flat", "none") in rows
    assert not any("on silent" in row for row in found)  # nobody says where what is silent lies


@pytest.mark.parametrize("way", ["best_pairing", "none"])
def test_nameless_maps_are_judged_on_silent_objects_too(tiny_store, way):
    row = rows_of(Double((way,), noise=True), tiny_store)["dsol", way]
    assert 0 < row["on silent"] < 100
    assert ("NSA" in row) == (way == "none")


def test_rows_of_the_models_own_classes_have_no_silence(tiny_store):
    method = Double(noise=True)
    method.recognize = lambda mixture: torch.rand(len(mixture), 4)
    assert "on silent" not in rows_of(method, tiny_store)["dsol", "predicted"]


def test_too_few_classes_for_a_scene_end_in_a_sentence(tiny_store):
    store = copy.copy(tiny_store)
    store.labels = np.array(tiny_store.labels)
    store.labels[store.labels[:, 3], 2:] = [True, False]  # whistles become horns
    with pytest.raises(DataError, match="cannot provide 2x2 scenes"):
        synthetic_trial(store)
