"""What is asked on a data set: its benchmark's protocols, and what a folder of one's own holds."""

import copy
import json
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from avnb.data.benchmarks import BENCHMARKS
from avnb.data.build import open_store
from avnb.data.mixing import sounding_classes
from avnb.data.store import ClipShape, Store
from avnb.errors import AvnbError, DataError
from avnb.evaluation.overlaps import has_validation
from avnb.evaluation.trials import Trial, duet_trial, several_trial, single_trial, synthetic_trial, trials_of

Change = Callable[[dict[str, Any]], dict[str, Any] | None]


@pytest.fixture
def renamed(tiny_folder, tmp_path) -> Callable[[str, Change], Store]:
    """A function that opens the tiny benchmark under another name, with its rows changed (None: left out)."""

    def opened(name: str, change: Change) -> Store:
        folder = tmp_path / name
        shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns(".avnb*", "store*"))
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        kept = [row for row in map(change, rows) if row is not None]
        (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
        info = json.loads((folder / "dataset.json").read_text()) | {"name": name}
        (folder / "dataset.json").write_text(json.dumps(info))
        return open_store(folder, ClipShape(size=64, rate=8000, seconds=1.0), progress=False)

    return opened


def solos_as(**named: str) -> Change:
    """Leave the duets out and give the solos of a split another subset."""

    def change(row: dict[str, Any]) -> dict[str, Any] | None:
        return None if row["subset"] == "duet" else row | {"subset": named.get(row["split"], row["subset"])}

    return change


def asked(store: Store) -> list[tuple[str, int, str, int]]:
    """Return the name, the sources, the geometry and the number of mixtures of each trial."""
    return [(one.subset, one.sources, one.geometry, len(one.mixtures(store))) for one in trials_of(store)]


MIXED = [("duet", 2, "side_by_side", 8), ("trio", 3, "side_by_side", 8)]


@pytest.mark.parametrize("name", ["vggsound-music", "my-own"])
def test_a_test_subset_of_any_name_is_judged_and_mixed(renamed, name):
    store = renamed(name, solos_as(test="test"))
    assert asked(store) == [("test", 1, "single", 8), *MIXED]
    assert duet_trial(store).mixtures(store).shape == (8, 2)
    assert synthetic_trial(store).mixtures(store).shape == (8, 4)
    assert single_trial(store).subset == "test"


def test_heard_and_unheard_classes_are_parts_of_vgg_ss(renamed):
    def lists(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["subset"] == "duet":
            return None
        number = int(row["id"][-2:]) % 4
        return row | ({"subset": "heard" if number < 2 else "unheard"} if row["split"] == "test" else {})

    store = renamed("vggsound-single", lists)
    assert asked(store) == [
        ("test", 1, "single", 8), ("heard", 1, "single", 4), ("unheard", 1, "single", 4), ("one box", 1, "single", 8),
        *MIXED,
    ]  # fmt: skip
    own = renamed("own", lists)
    assert asked(own) == [("heard", 1, "single", 4), ("unheard", 1, "single", 4), *MIXED]


def test_vgg_ss_is_judged_by_the_number_of_boxes(renamed):
    def boxes(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["subset"] == "duet":
            return None
        count = 1 + int(row["id"][-2:]) % 4  # 1, 2, 3 and 4 boxes, each twice
        things = [{**row["objects"][0], "xyxy": [0.2 * k, 0.1, 0.2 * k + 0.15, 0.6]} for k in range(count)]
        return row | {"mask": None, "objects": things, "subset": "test" if row["split"] == "test" else row["subset"]}

    store = renamed("vggsound-single", boxes)
    assert [(name, count) for name, sources, _, count in asked(store) if sources == 1] == [
        ("test", 8), ("one box", 2), ("two boxes", 2), ("three boxes or more", 4),
    ]  # fmt: skip


def test_audiosets_frames_of_several_classes_are_judged_by_how_many(renamed):
    def multi(row: dict[str, Any]) -> dict[str, Any]:
        if row["subset"] != "duet":
            return row
        three = row["id"].endswith(("00", "01"))
        labels = sorted({thing["label"] for thing in row["objects"]})
        third = next(name for name in ("bell", "drum", "horn", "whistle") if name not in labels)
        more = [{"label": third, "xyxy": [0.4, 0.4, 0.6, 0.6], "sounding": True}]
        return row | {"subset": "multi", "mask": None} | ({"objects": row["objects"] + more} if three else {})

    store = renamed("own-name", multi)
    names = [one for one in asked(store) if one[2] == "one_frame"]
    assert names == [("multi", 2, "one_frame", 6), ("multi of 3", 3, "one_frame", 2)]


def test_composed_pairs_are_judged_as_they_are(renamed):
    store = renamed("vggsound-duet", lambda row: row if row["subset"] == "duet" else None)
    assert asked(store) == [("duet", 2, "one_frame", 8)]
    assert several_trial(store).subset == "duet"
    with pytest.raises(DataError, match="no clips with one sounding class"):
        single_trial(store)


def test_composed_scenes_are_judged_as_they_are_with_what_is_silent(renamed):
    store = renamed("music-synthetic", lambda row: row | {"subset": "synthetic"} if row["subset"] == "duet" else None)
    trial = synthetic_trial(store)
    assert (trial.key, trial.counts_silence, len(trial.mixtures(store))) == ("synthetic-one_frame", True, 8)
    assert asked(store) == [("synthetic", 2, "one_frame", 8)]


def test_one_class_makes_no_mixture_and_the_sentence_says_why(renamed):
    def only_bells(row: dict[str, Any]) -> dict[str, Any] | None:
        return row if row["subset"] == "solo" and row["objects"][0]["label"] == "bell" else None

    store = renamed("flickr-soundnet", only_bells)
    assert asked(store) == [("solo", 1, "single", 2)]
    with pytest.raises(DataError, match="a mixture takes clips of two classes"):
        several_trial(store)


def test_a_folder_without_boxes_is_asked_and_nothing_in_it_is_judged(renamed):
    def bare(row: dict[str, Any]) -> dict[str, Any] | None:
        if row["subset"] == "duet":
            return None
        labels = [thing["label"] for thing in row["objects"] if thing["sounding"]]
        return row | {"objects": [], "mask": None, "labels": labels}

    store = renamed("own", bare)
    assert asked(store) == [("solo", 1, "single", 8), *MIXED]
    assert not any(trial.judged for trial in trials_of(store))


def test_where_nothing_is_for_testing_the_validation_clips_are_looked_at(renamed):
    store = renamed("kinetics400", lambda row: None if row["split"] == "test" else row)
    assert {(trial.split, trial.judged) for trial in trials_of(store)} == {("val", False)}


def test_clips_without_any_class_are_a_sentence(tiny_store):
    store = copy.copy(tiny_store)
    store.labels = np.zeros_like(tiny_store.labels)
    with pytest.raises(DataError, match='"tiny" has a class that sounds'):
        trials_of(store)


def test_what_is_judged_on_the_stand_in_of_music_stays_what_it_was(tiny_store):
    store = copy.copy(tiny_store)
    store.name = "music"
    assert trials_of(store, 5) == [
        Trial("solo", limit=5), Trial("duet", 2, "side_by_side", limit=5), Trial("trio", 3, "side_by_side", limit=5),
        Trial("duet", 2, "one_frame", limit=5),
    ]  # fmt: skip


def said(ask: Callable[[Store], Any], store: Store) -> Any:
    """Return what is answered; None for a sentence that names the data set."""
    try:
        return ask(store)
    except AvnbError as error:
        return None if f'"{store.name}"' in str(error) else pytest.fail(str(error))


@pytest.mark.parametrize("name", ["my-own", *BENCHMARKS])
def test_whatever_a_folder_holds_is_asked_or_a_sentence(tiny_store, name):
    """Random splits, subsets, classes and places: every trial that is offered has its mixtures, all else is said."""
    rng, offered = np.random.default_rng(len(name)), 0
    for _ in range(6):
        store = copy.copy(tiny_store)
        store.name, store.truth = name, str(rng.choice(["box", "mask"]))
        store.subsets = list(rng.choice(["solo", "duet", "test", "heard", "multi", "synthetic", "my set-2"], 3, False))
        store.clips, store.objects = np.array(tiny_store.clips), np.array(tiny_store.objects)
        store.clips["subset"] = rng.integers(0, 3, len(store))
        store.clips["split"] = rng.choice(rng.choice(3, rng.integers(1, 4), False), len(store))
        store.labels = rng.random(tiny_store.labels.shape) < rng.choice([0.0, 0.2, 0.5])
        store.objects["sounding"] = rng.random(len(store.objects)) < rng.choice([0.0, 0.5, 1.0])
        for ask in (trials_of, single_trial, several_trial, synthetic_trial, duet_trial):
            found = said(ask, store)
            trials = found if isinstance(found, list) else [found] if found else []
            assert len({trial.key for trial in trials}) == len(trials)
            for trial in trials:
                mixtures = said(trial.mixtures, store)
                assert mixtures is not None or ask in (synthetic_trial, duet_trial)  # these look no further
                if mixtures is not None:
                    sounding_classes(store, mixtures[:, : 1 if trial.recipe.clips == 1 else trial.sources])
                    offered += 1
    assert offered > 10


def test_without_a_validation_split_no_threshold_is_chosen_on_it(renamed, tiny_store):
    store = renamed("my-own", lambda row: None if row["split"] == "val" else row)
    assert has_validation(tiny_store, several_trial(tiny_store))
    assert not has_validation(store, several_trial(store))
