"""Negative audio, statements and masks against loops as plain as the released code, and cases drawn by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from avnb.errors import DataError
from avnb.metrics.masks import f_curves, f_measure, mask_iou
from avnb.metrics.negative_audio import (
    KINDS,
    darkness_area,
    harmonic_mean,
    lit_share,
    negative_audio,
    same_region,
    universal_threshold,
)
from avnb.metrics.statements import precision_and_recall, statement_ap, statements

quick = settings(deadline=None, max_examples=30)
grid = st.sampled_from([0.0, 0.05, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1, width=32)


# negative audio


@quick
@given(arrays(np.float32, (6, 3, 4), elements=grid), st.sampled_from([0.0, 0.25, 0.5]))
def test_lit_share_and_its_area_are_plain_loops(values, threshold):
    maps = torch.from_numpy(values)
    shares = [sum(score > threshold for score in one.flatten()) / 12 for one in values]
    np.testing.assert_allclose(lit_share(maps, threshold), shares, atol=1e-6)
    exact = torch.tensor(shares, dtype=torch.float64)
    rates = [np.mean([share <= k / 20 for share in shares]) for k in range(21)]
    assert darkness_area(exact) == pytest.approx(np.trapezoid(rates, dx=0.05))


def test_the_universal_threshold_is_where_three_quarters_of_the_maxima_lie():
    maps = torch.zeros(5, 2, 2)
    maps[:, 0, 0] = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9])
    assert universal_threshold(maps) == pytest.approx(0.4)
    assert universal_threshold(maps[:2]) == pytest.approx(0.175)  # between two of them by proportion
    with pytest.raises(DataError, match="needs maps under negative audio"):
        universal_threshold(torch.empty(0, 2, 2))


def test_who_ignores_sound_is_found_out():
    """Its regions are the same under every sound, and what it gains in IoU it loses in pIA."""
    maps = torch.zeros(3, 4, 4)
    maps[:, :2] = 1
    truth = maps.clone()
    deaf = negative_audio(maps, truth, dict.fromkeys(KINDS, maps), 0.5)
    hearing = negative_audio(maps, truth, dict.fromkeys(KINDS, torch.zeros_like(maps)), 0.5)
    assert (deaf["cIoU"], deaf["pIA"], deaf["same noise"]) == (1, 0.5, 1)
    assert deaf["F_LOC"] == pytest.approx(2 / 3)
    assert (hearing["cIoU"], hearing["pIA"], hearing["same noise"], hearing["F_LOC"], hearing["AUC_N"]) == (
        1,
        0,
        0,
        1,
        1,
    )


def test_a_negative_each_has_its_own_numbers():
    maps, truth = torch.ones(2, 2, 2), torch.ones(2, 2, 2)
    half = maps.clone()
    half[:, 0] = 0
    found = negative_audio(maps, truth, {"silence": maps * 0, "noise": half, "offscreen": maps}, 0.5)
    assert [found[f"pIA {kind}"] for kind in KINDS] == [0, 0.5, 1]
    assert found["pIA"] == pytest.approx(0.5)
    assert found["F_LOC"] == pytest.approx(harmonic_mean(1, 0.5)) == pytest.approx(2 / 3)
    assert [found[f"same {kind}"] for kind in KINDS] == [0, 0.5, 1]
    assert found["AUC_N silence"] == 1
    assert found["AUC_N offscreen"] == pytest.approx(0.025)  # only at t = 1


def test_two_empty_regions_agree_in_nothing_that_can_be_told():
    empty = torch.zeros(1, 2, 2, dtype=torch.bool)
    assert same_region(empty, empty).isnan().all()
    assert harmonic_mean(0, 0) == 0


# statements


def as_released(iou, confidence, sounding, t=0.5):
    """SLAVC's calc_precision_recall and calc_ap, line by line."""

    def at(threshold):
        right = wrong = missed = 0
        for overlap, sure, sounds in zip(iou, confidence, sounding, strict=True):
            if not sounds:
                wrong += sure >= threshold
            elif sure >= threshold:
                right += overlap >= t
                wrong += overlap < t
            else:
                missed += 1
        precision = 1.0 if right + wrong == 0 else right / (right + wrong)
        return precision, 1.0 if right + missed == 0 else right / (right + missed)

    pairs = [at(threshold) for threshold in np.sort(np.array(confidence))[:-1][:: -max(1, len(iou) // 200)]]
    highest = [max(p for p, _ in pairs[i:]) for i in range(len(pairs))]
    ap = sum(highest[i] * (pairs[i + 1][1] - pairs[i][1]) for i in range(len(pairs) - 1))
    scores = [at(threshold) for threshold in sorted(confidence)[:: max(1, len(iou) // 10)]]
    return ap, max(2 * r * p / (r + p) if r + p > 0 else 0.0 for p, r in scores)


@quick
@given(st.integers(2, 30), st.integers(0, 10_000))
def test_ap_and_max_f1_are_the_released_loops(count, seed):
    rng = np.random.default_rng(seed)
    iou, confidence = rng.random(count).astype(np.float32), rng.integers(0, 9, count).astype(np.float32)
    sounding = rng.random(count) < 0.6
    sounding[0] = True
    found = statements(torch.from_numpy(iou), torch.from_numpy(confidence), torch.from_numpy(sounding))
    ap, f1 = as_released(iou, confidence, sounding)
    assert found["AP"] == pytest.approx(ap, abs=1e-6)
    assert found["max-F1"] == pytest.approx(f1, abs=1e-6)
    assert found["LocAcc"] == pytest.approx(np.mean(iou[sounding] > 0.5))


def test_ap_of_many_clips_takes_every_so_manieth_threshold():
    rng = np.random.default_rng(1)
    iou, confidence = rng.random(700).astype(np.float32), rng.random(700).astype(np.float32)
    sounding = rng.random(700) < 0.5
    found = statement_ap(*(torch.from_numpy(value) for value in (iou, confidence, sounding)))
    assert found == pytest.approx(as_released(iou, confidence, sounding)[0], abs=1e-6)


def test_ap_does_not_see_the_scale_of_confidence_nor_the_order_of_clips():
    torch.manual_seed(0)
    iou, confidence, sounding = torch.rand(40), torch.rand(40), torch.rand(40) < 0.5
    wanted = statements(iou, confidence, sounding)
    order = torch.randperm(40)
    assert statements(iou[order], 3 * confidence[order] - 2, sounding[order]) == pytest.approx(wanted)


def test_who_always_speaks_recalls_everything():
    precision, recall = precision_and_recall(
        torch.tensor([0.9, 0.1, 0.9]), torch.ones(3), torch.tensor([True, True, False]), torch.tensor([0.5, 2.0])
    )
    assert precision.tolist() == pytest.approx([1 / 3, 1])
    assert recall.tolist() == [1, 0]


# masks


@quick
@given(arrays(np.float32, (4, 3, 3), elements=grid), arrays(bool, (4, 3, 3)))
def test_masks_are_judged_as_plain_loops_judge_them(values, places):
    places[0] = False
    maps, truth = torch.from_numpy(values), torch.from_numpy(places)
    wanted, curves = [], []
    thresholds = torch.linspace(0, 1 - 1e-10, 255).numpy()
    for one, place in zip(values, places, strict=True):
        region = one > 0.5
        if place.any():
            wanted.append((region & place).sum() / (region | place).sum())
            curve = []
            for threshold in thresholds:
                chosen = one >= threshold
                hit = (chosen & place).sum()
                precision, recall = hit / (chosen.sum() + 1e-20), hit / (place.sum() + 1e-20)
                curve.append(1.3 * precision * recall / (0.3 * precision + recall) if hit else 0.0)
            curves.append(curve)
        else:
            wanted.append((~region).mean())
    np.testing.assert_allclose(mask_iou(maps > 0.5, truth), wanted, atol=1e-6)
    found = f_curves(maps, truth)
    assert found[0].isnan().all()
    if curves:
        assert f_measure(found) == pytest.approx(max(np.mean(curves, axis=0)), abs=1e-6)


def test_f_of_the_set_is_below_the_mean_of_batches_maxima():
    """Why the released number depends on the batch size: each batch has its own best threshold."""
    truth = torch.zeros(2, 1, 4, dtype=torch.bool)
    truth[:, 0, 0] = True
    maps = torch.tensor([[[0.9, 0.8, 0.8, 0.8]], [[0.2, 0.1, 0.1, 0.1]]])
    curves = f_curves(maps, truth)
    apart = np.mean([f_measure(curves[k : k + 1]) for k in range(2)])
    assert apart == pytest.approx(1)
    assert f_measure(curves) < 0.8
    assert not math.isnan(f_measure(curves))
