"""Many rules at once are each rule by itself; a threshold is fitted on validation clips and on nothing else."""

import numpy as np
import pytest
import torch

from avnb.data.mixing import truth_of
from avnb.errors import DataError, SettingsError
from avnb.evaluation import Outside, Trial, evaluate
from avnb.evaluation.overlaps import CANDIDATES, best_rule, overlaps, overlaps_without_model
from avnb.evaluation.with_other_sound import WithOtherSound
from avnb.metrics.localization import any_rule, area_under_curve, class_mean, iou, region_of, upsample

SOLO, DUET = Trial("solo"), Trial("duet", 2, "side_by_side")
RULES = ("top_half", "min_max(0.3)", "truth_area")


def bright(frames, mixture, classes):
    """A map of one source whatever sounds."""
    return frames.float().mean(1) / 255


def by_hand(maps, truth, rule):
    flat, places = upsample(maps, truth.shape[-2:]).flatten(0, 1), truth.flatten(0, 1)
    return iou(region_of(any_rule(rule), flat, places), places).reshape(truth.shape[:2])


@pytest.mark.parametrize("trial", [SOLO, DUET], ids=["solo", "duet"])
def test_every_rule_at_once_is_each_rule_by_itself(tiny_store, trial):
    truth = truth_of(tiny_store, trial.mixtures(tiny_store), trial.recipe)
    maps = torch.rand(*truth.shape[:2], 5, 7, generator=torch.Generator().manual_seed(1))
    found = overlaps(maps, tiny_store, trial, RULES)
    for number, rule in enumerate(RULES):
        torch.testing.assert_close(found[..., number], by_hand(maps, truth, rule), atol=1e-6, rtol=0)


def test_what_needs_no_model_has_the_numbers_of_its_rows(tiny_store):
    rows, _ = evaluate(Outside(bright, "bright", "none"), tiny_store, DUET, progress=False)
    found = overlaps_without_model(tiny_store, DUET, ("top_half",))
    for row in rows[1:]:
        area = area_under_curve(class_mean(found[row["method"]][..., 0]))
        assert row["AUC"] == pytest.approx(100 * area, abs=0.006), row["method"]


def test_fitted_is_the_best_threshold_on_validation_clips(tiny_store):
    held_out = Trial("solo", split="val")
    truth = truth_of(tiny_store, held_out.mixtures(tiny_store), held_out.recipe)
    frames = tiny_store.read_frames(held_out.mixtures(tiny_store)[:, 0])
    areas = [area_under_curve(by_hand(bright(frames, None, None)[:, None], truth, rule)[:, 0]) for rule in CANDIDATES]
    best = CANDIDATES[int(np.argmax(areas))]
    method = Outside(bright, "bright", "none")
    rows, _ = evaluate(method, tiny_store, Trial("solo", threshold_rule="fitted"), progress=False)
    assert rows[0]["threshold_rule"] == f"fitted: {best}"
    plain, _ = evaluate(method, tiny_store, Trial("solo", threshold_rule=best), progress=False)
    assert {name: rows[0][name] for name in ("AP", "IoU@0.5", "AUC")} == {
        name: plain[0][name] for name in ("AP", "IoU@0.5", "AUC")
    }
    assert all(row["threshold_rule"].startswith("fitted: min_max(") for row in rows)


def test_without_validation_clips_nothing_is_fitted(tiny_store):
    test = tiny_store.part(tiny_store.clips["split"] != 1)
    with pytest.raises(DataError, match="no val clips"):
        evaluate(Outside(bright), test, Trial("solo", threshold_rule="fitted"), progress=False)


def test_the_first_of_equal_rules_is_taken():
    assert best_rule(torch.ones(3, 1, 2), ("a", "b")) == "a"


def test_adaptive_regions_are_a_rule_of_a_trial(tiny_store):
    rows, _ = evaluate(Outside(bright, "b", "none"), tiny_store, Trial("solo", threshold_rule="truth_area"),
                       progress=False)  # fmt: skip
    oracle = next(row for row in rows if row["method"] == "oracle")
    assert (rows[0]["threshold_rule"], oracle["IoU@0.5"]) == ("truth_area", 100)


def test_with_another_sound_only_who_listens_answers_otherwise(tiny_store):
    def loud(frames, mixture, classes):
        return frames.float().mean(1) * mixture.abs().amax(1)[:, None, None]

    answers = {}
    for name, function in (("deaf", bright), ("loud", loud)):
        method = Outside(function, name, "none")
        for sound in ("silence", "another"):
            other = WithOtherSound(method, sound)
            answers[name, sound] = evaluate(other, tiny_store, SOLO, progress=False)[1]["maps"]
        answers[name, "own"] = evaluate(method, tiny_store, SOLO, progress=False)[1]["maps"]
    assert torch.equal(answers["deaf", "own"], answers["deaf", "another"])
    assert torch.equal(answers["deaf", "own"], answers["deaf", "silence"])
    assert not torch.equal(answers["loud", "own"], answers["loud", "another"])
    assert answers["loud", "silence"].abs().max() == 0
    with pytest.raises(SettingsError, match="silence, another"):
        WithOtherSound(Outside(bright), "thunder")
