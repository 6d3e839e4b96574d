"""A function of other people's code is evaluated, kept and scrubbed as a method of ours is."""

import numpy as np
import pytest
import torch

from avnb.data.mixing import truth_of
from avnb.errors import DataError, SettingsError
from avnb.evaluation import Outside, Trial, evaluate, judge, trials_of
from avnb.training.runs import Run
from avnb.viewing.scenes import reels_of

DUET = Trial("duet", 2, "side_by_side")


def test_a_function_is_asked_for_the_sources_and_judged(tiny_store):
    """One that is told the truth, mixture after mixture, scores what the truth scores."""
    places = list(truth_of(tiny_store, DUET.mixtures(tiny_store), DUET.recipe))
    asked = []

    def theirs(frames, mixture, classes):
        asked.append((tuple(frames.shape[1:]), frames.dtype, tuple(classes.shape[1:]), mixture.dim()))
        return np.stack([places.pop(0).numpy() for _ in range(len(frames))])

    rows, maps = evaluate(Outside(theirs, "theirs", "oracle"), tiny_store, DUET, progress=False)
    assert asked[0] == ((3, 64, 128), torch.uint8, (2,), 2)
    assert rows[0]["method"] == "theirs"
    assert (rows[0]["CAP"], rows[0]["classes"], rows[0]["trained"]) == (100, "oracle", "elsewhere")
    assert {row["method"] for row in rows[1:]} >= {"centre", "tile_centre", "tile_each", "oracle"}
    assert maps["maps"].shape[:2] == (8, 2)


def test_one_map_is_every_sources(tiny_store):
    rows, maps = evaluate(
        Outside(lambda frames, *_: frames.float().mean(1), classes="none"), tiny_store, DUET, progress=False
    )
    torch.testing.assert_close(maps["maps"][:, 0], maps["maps"][:, 1])
    assert rows[0]["classes"] == "none"


def test_its_maps_are_kept_and_shown_beside_ours(tiny_store, judged_run, tmp_path):
    run = Run(tmp_path / "theirs" / tiny_store.name / "run")
    run.folder.mkdir(parents=True)
    theirs = Outside(lambda frames, _, classes: torch.rand(*classes.shape, 5, 5), "theirs")
    rows = judge(theirs, tiny_store, run, trials_of(tiny_store), progress=False)
    assert any(row["method"] == "theirs" for row in rows)
    reels = reels_of(tiny_store, [run, judged_run(tiny_store, tmp_path)], clips=4)
    assert all(len(reel.maps) == 2 for reel in reels)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda frames, _, classes: torch.rand(len(frames), 3, 4, 4), r"returned maps of shape \(\d+, 3, 4, 4\) for"),
        (lambda frames, _, classes: torch.full((*classes.shape, 4, 4), torch.nan), "values that are NaN"),
    ],
)
def test_what_is_no_map_is_a_sentence(tiny_store, answer, said):
    with pytest.raises(DataError, match=said):
        evaluate(Outside(answer), tiny_store, DUET, progress=False)


def test_another_way_of_asking_is_refused():
    with pytest.raises(SettingsError, match="oracle, best_pairing, none"):
        Outside(lambda *_: None, classes="predicted")
