"""Clips of several sources as training clips: real duets, and composed scenes where there is nothing else."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from avnb.data.clips import Recipe
from avnb.data.store import Store
from avnb.datasets import training_set
from avnb.errors import DataError
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.models.dsol import DSOL, DSOLSettings
from avnb.models.ots import OTS, OTSSettings
from avnb.training.examples import gather_examples
from avnb.training.fit import fit
from avnb.training.runs import Run

AVGN_SETTINGS = AVGNSettings(preset="quick", dim=16, epochs=1, batch_size=4, device="cpu", duets=True).resolve("cpu")
OTS_SETTINGS = OTSSettings(preset="quick", epochs=1, batch_size=4, device="cpu").resolve("cpu")
DUETS = Recipe(2, "one_frame")


def moved(store: Store, wanted: np.ndarray, name: str = "tiny") -> Store:
    """The store with the wanted clips in the training split."""
    other = copy.copy(store)
    other.name, other.clips = name, np.array(store.clips)
    other.clips["split"][wanted] = 0
    return other


@pytest.fixture
def with_duets(tiny_store) -> Store:
    """The tiny benchmark whose eight duets are training clips."""
    return moved(tiny_store, tiny_store.select("test", "duet"))


@pytest.fixture
def scenes(tiny_store) -> Store:
    """Nothing but duets: six to train on, two to validate on."""
    duets = tiny_store.select("test", "duet")
    store = moved(tiny_store.part(tiny_store.labels.sum(axis=1) == 2), duets[:6], "music-synthetic")
    store.clips["split"][duets[6:]] = 1
    return store


def test_real_duets_take_turns_with_solos_and_with_made_mixtures(with_duets):
    method = AVGN(AVGN_SETTINGS, 4)
    examples = gather_examples(method, with_duets, progress=False)
    turns = list(examples.mixtures(method.stages()[0], AVGN_SETTINGS, (0, 0)))
    assert [recipe.geometry for _, recipe in turns] == ["single", "first", "one_frame"] * 2
    for mixture, recipe in turns:
        assert (with_duets.labels[mixture[:, 0]].sum(axis=1) == (2 if recipe == DUETS else 1)).all()
    seen = np.concatenate([mixture for mixture, recipe in turns if recipe == DUETS])
    assert len(np.unique(seen[:7])) == 7 == len(np.unique(seen))  # a duet comes again when all have been
    assert not set(examples.several["train"]) & set(examples.several["val"])


def test_a_duet_is_learnt_from_without_which_sound_is_whose(with_duets):
    examples = gather_examples(AVGN(AVGN_SETTINGS, 4), with_duets, progress=False)
    batch = examples.batch(examples.several["train"][:3, None], DUETS)
    assert batch.source_waveforms.shape[1] == 1  # the mixture
    assert batch.truth is None
    assert (batch.source_classes[:, 0] < batch.source_classes[:, 1]).all()  # in the order of the classes


def test_without_duets_the_epochs_are_what_they_were(tiny_store, with_duets):
    plain = replace(AVGN_SETTINGS, duets=False)
    method = AVGN(plain, 4)
    before, after = (gather_examples(method, store, progress=False) for store in (tiny_store, with_duets))
    assert after.several == {}
    for (a, _), (b, _) in zip(*(it.mixtures(method.stages()[0], plain, (0, 1)) for it in (before, after)), strict=True):
        assert np.array_equal(a, b)


def test_stage_two_of_dsol_can_be_on_real_duets(with_duets):
    method = DSOL(DSOLSettings(preset="quick", scenes="duets", batch_size=4, device="cpu").resolve("cpu"), 4)
    examples = gather_examples(method, with_duets, progress=False)
    match = method.stages()[-1]
    assert {recipe for _, recipe in examples.mixtures(match, method.settings, (2, 0))} == {DUETS}
    assert [recipe for recipe, _ in examples.validation(match, 0)] == [DUETS]


def test_without_a_duet_to_train_on_the_sentence_says_so(tiny_store):
    with pytest.raises(DataError, match="no training clips in which 2 classes sound, and avgn is to learn from such"):
        gather_examples(AVGN(AVGN_SETTINGS, 4), tiny_store, progress=False)


@pytest.mark.parametrize("sources", [1, 2])
def test_scenes_are_trained_on_as_they_are_where_there_is_nothing_else(scenes, workspace, sources):
    settings = replace(OTS_SETTINGS, sources=sources)
    run = Run.of(settings, "music-synthetic")
    (row,) = fit(OTS(settings, 4), scenes, run, progress=False)
    assert np.isfinite(row["val_loss"])
    assert 0 <= row["val_ap"] <= 100


def test_what_needs_solos_says_that_there_are_none(scenes):
    method = DSOL(DSOLSettings(preset="quick", batch_size=4, device="cpu").resolve("cpu"), 4)
    with pytest.raises(DataError, match="no training clips with one sounding class"):
        gather_examples(method, scenes, progress=False)


def test_what_learns_from_mixtures_of_classes_says_that_one_class_is_too_few(tiny_store):
    store = copy.copy(tiny_store.part(tiny_store.labels[:, 0] & (tiny_store.labels.sum(axis=1) == 1)))
    store.name = "flickr-soundnet"
    plain = replace(AVGN_SETTINGS, duets=False)
    with pytest.raises(DataError, match=r"avgn learns from mixtures of 2 classes, .* are of 1.*train_dataset"):
        gather_examples(AVGN(plain, 4), store, progress=False)
    assert len(gather_examples(AVGN(replace(plain, sources=1), 4), store, progress=False).train) == 6


def test_what_a_method_is_trained_on_where_its_benchmark_has_scenes_alone(scenes):
    assert training_set(replace(OTS_SETTINGS, dataset="music-synthetic"), scenes) == ""
    assert training_set(replace(AVGN_SETTINGS, dataset="music-synthetic"), scenes) == "music"
    assert training_set(replace(OTS_SETTINGS, dataset="music-synthetic", train_dataset="own"), scenes) == "own"
