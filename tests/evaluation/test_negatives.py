"""A method that ignores its sound is found out; one that hears is told apart from it by the same numbers."""

import copy

import numpy as np
import pytest
import torch

from avnb.errors import DataError, SettingsError
from avnb.evaluation import Outside, Trial, evaluate
from avnb.evaluation.negatives import PROTOCOL, negative_rows

SOLO = Trial("solo")
KINDS = ("silence", "noise", "offscreen")


def deaf(frames, mixture, classes):
    return frames.float().mean(1) / 255


def hearing(frames, mixture, classes):
    """As bright as the class's pitch is loud: its clips are plain tones, which noise and silence are not."""
    tone = torch.fft.rfft(mixture).abs()
    pure = tone.amax(1) / tone.sum(1).clamp(min=1e-9)
    return (frames.float().std(1) / 128) * pure[:, None, None]


@pytest.fixture(scope="module")
def rows(tiny_store):
    return {
        name: negative_rows(Outside(function, name, "none"), tiny_store, SOLO, progress=False)
        for name, function in (("deaf", deaf), ("hearing", hearing))
    }


def test_who_ignores_sound_has_the_same_region_under_every_sound(rows):
    (row, centre, oracle) = rows["deaf"]
    assert (row["method"], centre["method"], oracle["method"]) == ("deaf", "centre", "oracle")
    assert [row[f"same {kind}"] for kind in KINDS] == [100, 100, 100]
    assert row["pIA silence"] == row["pIA noise"] == row["pIA offscreen"]
    assert row["protocol"] == PROTOCOL
    assert row["threshold_rule"].startswith("universal(")


def test_who_hears_is_darker_under_silence_and_noise(rows):
    row = rows["hearing"][0]
    assert row["pIA silence"] == 0
    assert row["AUC_N silence"] == 100
    assert row["same silence"] == 0
    assert row["pIA noise"] < row["pIA offscreen"]


def test_the_centre_hears_nothing_and_the_oracle_everything(rows):
    _, centre, oracle = rows["hearing"]
    assert centre["F_LOC"] == 0
    assert (oracle["cIoU"], oracle["pIA"], oracle["F_LOC"], oracle["F_AUC"]) == (100, 0, 100, 100)


def test_numbers_are_those_of_a_plain_loop(tiny_store, rows):
    """Of the deaf function: the threshold on validation pictures, then what lies above it on the test pictures."""

    def maps(clips):
        return deaf(tiny_store.read_frames(clips), None, None)

    threshold = np.quantile(maps(tiny_store.solos("val")).flatten(1).amax(1).double().numpy(), 0.75)
    clips = SOLO.mixtures(tiny_store)[:, 0]
    row = rows["deaf"][0]
    assert row["threshold_rule"] == f"universal({threshold:.4g})"
    shares = [(one > threshold).float().mean().item() for one in maps(clips)]
    assert row["pIA"] == pytest.approx(100 * np.mean(shares), abs=0.006)


def test_evaluate_appends_the_rows_that_are_asked_for(tiny_store):
    found, _ = evaluate(Outside(deaf, "deaf", "none"), tiny_store, SOLO, progress=False, negatives=("silence",))
    own = [row for row in found if row["method"] == "deaf"]
    assert [row["protocol"] for row in own] == ["frame-wise", PROTOCOL]
    assert "pIA noise" not in own[1]


def test_what_cannot_be_judged_is_a_sentence(tiny_store):
    method = Outside(deaf, "deaf", "none")
    with pytest.raises(SettingsError, match="silence, noise, offscreen"):
        negative_rows(method, tiny_store, SOLO, ("thunder",), progress=False)
    with pytest.raises(SettingsError, match="one source a picture"):
        negative_rows(method, tiny_store, Trial("duet", 2, "side_by_side"), progress=False)
    without = copy.copy(tiny_store).part(tiny_store.clips["split"] != 1)
    with pytest.raises(DataError, match="no validation clips"):
        negative_rows(method, without, SOLO, progress=False)
