"""Localization metrics against scikit-learn, plain loops, cases drawn by hand, and numbers measured on real boxes."""

import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score

from avnb.errors import DataError, SettingsError
from avnb.metrics import ranking
from avnb.metrics.localization import (
    Absolute,
    FractionOfMax,
    MinMax,
    TopHalf,
    area_under_curve,
    average_precision,
    best_pairing,
    class_mean,
    confidence,
    f1_at,
    iou,
    max_f1,
    nsa,
    piap,
    precision_at,
    success_rate,
    threshold_rule,
    upsample,
)

ANNOTATIONS = Path(__file__).parents[3] / "shared" / "annotations"
NAN = float("nan")


@pytest.fixture(autouse=True)
def _same_draws_every_time():
    torch.manual_seed(0)


def by_sorting(maps, truth):
    """The path of other devices, as a function of the same arguments."""
    return ranking.sorted_average_precision(maps.flatten(1), truth.flatten(1))


either_path = pytest.mark.parametrize("score", [average_precision, by_sorting], ids=["compiled", "sorted"])


def by_scikit_learn(maps, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns, and returns 0, where the truth is empty
        pairs = zip(maps.flatten(1).numpy(), (truth.flatten(1) > 0).numpy(), strict=True)
        values = [average_precision_score(positive, scores) for scores, positive in pairs]
    return torch.tensor(values, dtype=torch.float64)


def maps_and_truth(draw_scores):
    """Strategy: one to four maps of up to 8x8 with the truth of each, at least one pixel of it positive."""

    def of_shape(shape):
        truth = arrays(bool, shape).map(lambda t: np.logical_or(t, np.arange(t[0].size).reshape(shape[1:]) == 0))
        return st.tuples(arrays(np.float32, shape, elements=draw_scores), truth).map(
            lambda pair: (torch.from_numpy(pair[0]), torch.from_numpy(pair[1]).float())
        )

    return st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8)).flatmap(of_shape)


any_score = st.floats(-1e6, 1e6, width=32)
few_scores = st.sampled_from([-1.0, -0.0, 0.0, 0.25, 1.0])
quick = settings(deadline=None, max_examples=60)


# ---------------------------------------------------------------------------------------------------- average precision


@either_path
def test_average_precision_of_a_hand_drawn_map(score):
    # Ranks 1..16 row by row, four positives at ranks 1, 2, 5 and 10: (1/1 + 2/2 + 3/5 + 4/10) / 4 = 0.75.
    maps = torch.arange(16, 0, -1.0).reshape(1, 4, 4)
    truth = torch.tensor([[[1, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0.0]]])
    assert score(maps, truth).item() == pytest.approx(0.75)


@either_path
def test_pixels_of_equal_score_enter_together(score):
    # Threshold 2 takes 4 pixels, 2 of them right: recall 2/3, precision 1/2. Threshold 1 takes all: 3 of 16.
    maps = torch.ones(1, 4, 4)
    maps[0, 0] = 2
    truth = torch.tensor([[[1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0.0]]])
    assert score(maps, truth).item() == pytest.approx(2 / 3 * 1 / 2 + 1 / 3 * 3 / 16)


@either_path
@pytest.mark.parametrize("levels", [None, 256, 5, 2], ids=lambda n: f"{n or 'all'} levels")
def test_average_precision_is_scikit_learns(score, levels):
    generator = torch.Generator().manual_seed(7)
    maps = upsample(torch.randn(6, 7, 7, generator=generator), (112, 112))
    if levels:
        maps = (maps * levels / 4).round() * 4 / levels
    truth = (torch.rand(6, 112, 112, generator=generator) < torch.linspace(0.001, 0.9, 6)[:, None, None]).float()
    # float32 results of sums over 12,544 pixels
    torch.testing.assert_close(score(maps, truth).double(), by_scikit_learn(maps, truth), atol=1e-6, rtol=0)


@quick
@given(maps_and_truth(any_score) | maps_and_truth(few_scores))
def test_both_paths_are_scikit_learn_on_small_maps(pair):
    maps, truth = pair
    expected = by_scikit_learn(maps, truth).float()
    torch.testing.assert_close(average_precision(maps, truth), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(by_sorting(maps, truth), expected, atol=1e-6, rtol=0)


@quick
@given(maps_and_truth(st.integers(-1000, 1000).map(float)))
def test_average_precision_sees_only_the_order_of_scores(pair):
    maps, truth = pair
    assert torch.equal(average_precision(maps, truth), average_precision(3 * maps - 7, truth))
    assert torch.equal(average_precision(maps, truth), average_precision(maps**3 + maps, truth))


@quick
@given(maps_and_truth(any_score), st.randoms(use_true_random=False))
def test_average_precision_does_not_see_where_the_pixels_are(pair, shuffler):
    maps, truth = pair
    order = list(range(maps[0].numel()))
    shuffler.shuffle(order)
    moved = [pixels.flatten(1)[:, order].reshape(maps.shape) for pixels in (maps, truth)]
    assert torch.equal(average_precision(*moved), average_precision(maps, truth))


@quick
@given(maps_and_truth(any_score))
def test_average_precision_of_the_truth_is_one_and_of_a_constant_is_chance(pair):
    maps, truth = pair
    assert (average_precision(truth, truth) == 1).all()
    chance = truth.mean((1, 2))
    torch.testing.assert_close(average_precision(torch.full_like(maps, -3.0), truth), chance)


@quick
@given(maps_and_truth(any_score))
def test_a_batch_scores_what_its_maps_score_alone(pair):
    maps, truth = pair
    alone = [average_precision(m[None], t[None]) for m, t in zip(maps, truth, strict=True)]
    assert torch.equal(average_precision(maps, truth), torch.cat(alone))


@either_path
def test_minus_zero_equals_zero(score):
    maps = torch.tensor([[[0.0, -0.0], [-0.0, 0.0]]])
    assert score(maps, torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])).item() == 0.25  # all four enter together


@either_path
def test_average_precision_without_truth_is_unknown(score):
    maps = torch.rand(2, 4, 4)
    truth = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    assert score(maps, truth).isnan().tolist() == [True, False]


def test_average_precision_counts_soft_truth_from_above_zero():
    maps, truth = torch.rand(3, 8, 8), (torch.rand(3, 8, 8) - 0.5).clamp(min=0)
    assert torch.equal(average_precision(maps, truth), average_precision(maps, truth > 0))


def test_average_precision_takes_views_half_floats_and_no_maps():
    maps, truth = torch.rand(1, 8, 8), torch.rand(5, 8, 8).round()
    whole = average_precision(maps.expand(5, 8, 8).contiguous(), truth)
    assert torch.equal(average_precision(maps.expand(5, 8, 8), truth), whole)
    assert torch.equal(average_precision(maps.expand(5, 8, 8).mT, truth.mT), whole)
    assert torch.equal(average_precision(maps.half(), truth[:1]), average_precision(maps.half().float(), truth[:1]))
    assert average_precision(torch.rand(0, 8, 8), torch.rand(0, 8, 8)).shape == (0,)


def test_a_map_with_a_nan_is_named():
    maps = torch.rand(3, 4, 4)
    maps[1, 2, 3] = NAN
    with pytest.raises(DataError, match="Map 1 of 3 holds a NaN"):
        average_precision(maps, torch.ones(3, 4, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_scores_what_the_cpu_scores():
    maps, truth = torch.randn(400, 224, 224), torch.rand(400, 224, 224).round()  # more than one part
    on_gpu = average_precision(maps.cuda(), truth.cuda())
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), average_precision(maps, truth), atol=1e-6, rtol=0)


def test_piap_is_the_mean_map_against_the_union():
    maps = torch.randint(1000, (3, 2, 16, 16)) / 1024  # their sums and means are exact
    truth = (torch.rand(3, 2, 16, 16) < 0.3).float()
    expected = by_scikit_learn(maps.mean(1), truth.amax(1))
    torch.testing.assert_close(piap(maps, truth).double(), expected, atol=1e-6, rtol=0)


def test_piap_does_not_see_the_order_or_the_padding_of_sources():
    maps = torch.rand(3, 2, 16, 16)
    truth = (torch.rand(3, 2, 16, 16) < 0.3).float()
    absent = torch.zeros(3, 1, 16, 16)
    assert torch.equal(piap(maps.flip(1), truth), piap(maps, truth))
    assert torch.equal(piap(torch.cat([maps, absent], 1), torch.cat([truth, absent], 1)), piap(maps, truth))


# ----------------------------------------------------------------------------------------------------- region and truth


def test_iou_of_a_hand_drawn_region():
    # 6 predicted, 4 true, 2 shared: 2 / (4 + 4 beside).
    prediction = torch.tensor([[[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]).bool()
    truth = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0.0]]])
    assert iou(prediction, truth).item() == pytest.approx(2 / 8)


def test_iou_weighs_by_how_far_annotators_agree():
    # Agreed pixel 1 and disputed pixel 0.5 found, disputed pixel missed, one beside: 1.5 / (2 + 1).
    prediction = torch.tensor([[[True, True], [False, True]]])
    truth = torch.tensor([[[1.0, 0.5], [0.5, 0.0]]])
    assert iou(prediction, truth).item() == pytest.approx(1.5 / 3)


@quick
@given(maps_and_truth(st.floats(0, 1, width=32)))
def test_iou_is_in_0_to_1_and_is_the_released_formula(pair):
    soft, region = pair
    ratios = iou(region.bool(), soft)
    for ratio, p, g in zip(ratios.tolist(), region.double().numpy(), soft.double().numpy(), strict=True):
        if g.sum() == 0:
            assert math.isnan(ratio)
        else:
            assert ratio == pytest.approx((p * g).sum() / (g.sum() + (p * (g == 0)).sum()), abs=1e-5)
            assert 0 <= ratio <= 1 + 1e-6


def test_success_leaves_out_what_cannot_be_judged():
    values = torch.tensor([0.1, 0.3, 0.5, NAN])
    assert success_rate(values, 0.3) == pytest.approx(2 / 3)
    assert math.isnan(success_rate(torch.tensor([NAN]), 0.3))


def test_an_iou_equal_to_the_threshold_succeeds_in_float32():
    for tenths in range(11):
        assert success_rate(torch.tensor([tenths]) / 10, tenths / 10) == 1
        assert area_under_curve(torch.tensor([tenths]) / 10) == pytest.approx(tenths / 10 + 0.025 * (tenths < 10))


def test_area_under_curve_is_a_trapezoid_over_21_thresholds():
    values = torch.rand(50, generator=torch.Generator().manual_seed(3)).double()
    rates = [np.mean([v >= 0.05 * i for v in values.tolist()]) for i in range(21)]
    expected = sum(0.05 * (a + b) / 2 for a, b in itertools.pairwise(rates))
    assert area_under_curve(torch.cat([values, torch.tensor([NAN])])) == pytest.approx(expected)


def test_area_under_curve_has_a_floor():
    assert area_under_curve(torch.zeros(4)) == pytest.approx(0.025)


def test_class_mean_is_over_the_classes_that_sound():
    assert class_mean(torch.tensor([[0.2, 0.6], [0.4, NAN]])).tolist() == pytest.approx([0.4, 0.4])
    assert class_mean(torch.tensor([[NAN, NAN]])).isnan().all()


def test_nsa_counts_the_quiet_pixels_of_silent_classes():
    maps = torch.zeros(2, 3, 4, 4)
    maps[0, 1, 0] = 0.5  # a silent class heard in 4 of 16 pixels
    maps[0, 2] = 0.2  # at the threshold is quiet
    silent = torch.tensor([[False, True, True], [False, False, False]])
    values = nsa(maps, silent)
    assert values[0].item() == pytest.approx((12 / 16 + 1) / 2)
    assert values[1].isnan()


def test_nsa_rewards_a_map_that_knows_nothing():
    flat = torch.zeros(1, 11, 4, 4).softmax(1)
    assert nsa(flat, torch.arange(11)[None] > 1).item() == 1


# ------------------------------------------------------------------------------------------------------ threshold rules


RAMP = torch.arange(16.0).reshape(1, 4, 4) / 15


def test_top_half_takes_half():
    assert TopHalf()(RAMP).flatten().tolist() == [False] * 8 + [True] * 8


def test_top_half_is_the_released_median_of_a_loop():
    maps = torch.randn(5, 13, 9)  # an odd number of pixels
    for region, pixels in zip(TopHalf()(maps), maps, strict=True):
        assert torch.equal(region, pixels >= pixels.flatten().sort().values[pixels.numel() // 2])


def test_top_half_takes_ties_at_the_threshold_too():
    assert TopHalf()(torch.zeros(1, 4, 4)).all()


def test_fraction_of_max_is_strict_and_takes_maps_as_given():
    assert FractionOfMax(0.2)(RAMP).sum() == 12  # above 3/15
    assert not FractionOfMax(0.2)(RAMP - 2).any()
    assert not FractionOfMax(0.2)(torch.zeros(1, 4, 4)).any()


def test_min_max_scales_each_map():
    assert MinMax(0.4)(RAMP).sum() == 10  # 6/15 and above
    assert MinMax(0.4)(8 * RAMP - 2).sum() == 10
    assert MinMax(0.4)(torch.zeros(1, 4, 4)).all()


def test_absolute_is_at_or_above():
    assert Absolute(1.0)(RAMP).sum() == 1


def test_rules_keep_the_shape_of_a_batch():
    maps = torch.rand(2, 3, 4, 6)
    for rule in (TopHalf(), FractionOfMax(0.1), MinMax(0.4), Absolute(0.2)):
        assert rule(maps).shape == maps.shape
        assert torch.equal(rule(maps)[1, 2], rule(maps[1, 2]))


@pytest.mark.parametrize("rule", [TopHalf(), FractionOfMax(0.1), MinMax(0.4), Absolute(-0.5), Absolute(1.0)])
def test_a_rule_is_found_by_the_name_it_writes(rule):
    assert threshold_rule(rule.name) == rule


@pytest.mark.parametrize("name", ["tophalf", "top_half(0.5)", "min_max", "absolute(a)", "absolute(0.2", ""])
def test_a_misspelt_rule_is_answered_with_the_list(name):
    with pytest.raises(SettingsError, match="top_half, fraction_of_max"):
        threshold_rule(name)


def test_a_fraction_is_in_0_to_1():
    with pytest.raises(SettingsError, match=r"fraction_of_max\(20.0\) must be in 0..1"):
        threshold_rule("fraction_of_max(20)")


# ----------------------------------------------------------------------------------------------------------------- maps


def test_upsampling_keeps_a_cell_in_the_middle_of_its_patch():
    cell = torch.zeros(1, 7, 7)
    cell[0, 0, 3] = 1
    peak = upsample(cell, (224, 224))[0].flatten().argmax().item()
    assert peak // 224 <= 16
    assert peak % 224 in (111, 112)


def test_upsampling_takes_any_batch():
    maps = torch.rand(2, 3, 7, 14)
    large = upsample(maps, (224, 448))
    assert large.shape == (2, 3, 224, 448)
    assert torch.equal(large[1, 2], upsample(maps[1, 2], (224, 448)))


def test_confidence_is_the_mean_of_the_top_quarter():
    assert confidence(RAMP).item() == pytest.approx((12 + 13 + 14 + 15) / 4 / 15)


# --------------------------------------------------------------------------------------------------------- best pairing


@quick
@given(st.integers(1, 5).flatmap(lambda maps: st.tuples(st.just(maps), st.integers(1, maps), st.integers(0, 10**6))))
def test_best_pairing_is_the_best_of_all_pairings(case):
    maps, truths, seed = case
    scores = torch.rand(3, maps, truths, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for image, pairing in zip(scores.tolist(), best_pairing(scores).tolist(), strict=True):
        totals = {p: sum(image[m][t] for t, m in enumerate(p)) for p in itertools.permutations(range(maps), truths)}
        assert len(set(pairing)) == truths
        assert totals[tuple(pairing)] == pytest.approx(max(totals.values()))


def test_best_pairing_ignores_truths_that_are_not_there():
    scores = torch.tensor([[[0.1, NAN], [0.9, NAN]]])
    assert best_pairing(scores)[0, 0] == 1


def test_too_few_maps_cannot_be_paired():
    with pytest.raises(SettingsError, match="2 maps cannot be paired with 3 truths"):
        best_pairing(torch.rand(4, 2, 3))


# -------------------------------------------------------------------------------------------------------- precision, F1


def f1_by_counting(ious, confidences, t, sounding, at):
    """The published count, clip by clip."""
    right = wrong = missed = 0
    for overlap, sure, sounds in zip(ious.tolist(), confidences.tolist(), sounding.tolist(), strict=True):
        if sure >= at:
            right += sounds and overlap >= t
            wrong += not (sounds and overlap >= t)
        elif sounds:
            missed += 1
    precision = right / (right + wrong) if right + wrong else 1
    recall = right / (right + missed) if right + missed else 1
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


@pytest.mark.parametrize("seed", range(10))
def test_f1_is_the_published_count(seed):
    generator = torch.Generator().manual_seed(seed)
    sounding = torch.rand(37, generator=generator) < seed / 9
    overlap = torch.where(sounding, torch.rand(37, generator=generator), NAN)
    sure = torch.rand(37, generator=generator)
    for at in (0.0, 0.5, 2.0):
        assert f1_at(overlap, sure, 0.3, sounding, at) == pytest.approx(
            f1_by_counting(overlap, sure, 0.3, sounding, at)
        )
    deciles = sure.sort().values[::3].tolist()
    best = max(f1_by_counting(overlap, sure, 0.3, sounding, at) for at in deciles)
    assert max_f1(overlap, sure, 0.3, sounding) == pytest.approx(best)


def test_a_wrong_place_lowers_precision_and_not_recall():
    overlap, sounding = torch.tensor([0.9, 0.1]), torch.tensor([True, True])
    p = precision_at(overlap, 0.3)
    assert p == 0.5
    assert f1_at(overlap, torch.ones(2), 0.3, sounding) == pytest.approx(2 * p / (1 + p))  # recall is 1


def test_precision_is_strict_and_leaves_silent_clips_out():
    assert precision_at(torch.tensor([0.3, 0.31, NAN], dtype=torch.float64), 0.3) == 0.5


# --------------------------------------------------------------------------------------------------------- DSOL's boxes


def boxed_frames(name):
    """Every third annotated frame of a DSOL file, as lists of (class, x0, y0, x1, y1) in pixels of 224."""
    file = ANNOTATIONS / "dsol" / name
    if not file.exists():
        pytest.skip(f"shared/annotations/dsol/{name} is not here")
    frames = [frame["bbox"] for frame in json.loads(file.read_text()).values() if frame["bbox"]]
    corners = lambda x, y, w, h: [int(224 * v) for v in (x, y, x + w, y + h)]  # noqa: E731
    return [[(box["category_id"], *corners(*box["normbox"])) for box in boxes] for boxes in frames[::3]]


def in_parts(items, prediction, rasterise):
    """IoU of one prediction with the truths of all items, a few hundred maps in memory at a time."""
    values = []
    for start in range(0, len(items), 256):
        truth = torch.from_numpy(np.stack([rasterise(item) for item in items[start : start + 256]])).float()
        values.append(
            iou(prediction.expand(truth.flatten(0, -3).shape), truth.flatten(0, -3)).reshape(truth.shape[:-2])
        )
    return torch.cat(values)


def centred_disc(area):
    y, x = torch.meshgrid(torch.arange(224) - 111.5, torch.arange(224) - 111.5, indexing="ij")
    return x**2 + y**2 <= area * 224**2 / math.pi


def test_dsols_solo_boxes_give_a_centred_disc_what_was_measured():
    frames = boxed_frames("solotest.json")

    def filled(boxes):
        truth = np.zeros((224, 224), bool)
        for _, x0, y0, x1, y1 in boxes:
            truth[y0:y1, x0:x1] = True
        return truth

    disc = in_parts(frames, centred_disc(0.5), filled)
    assert 100 * success_rate(disc, 0.5) == pytest.approx(24.3, abs=0.05)  # printed to one decimal
    assert 100 * area_under_curve(disc) == pytest.approx(38.8, abs=0.05)
    full = in_parts(frames, torch.ones(224, 224, dtype=torch.bool), filled)
    assert 100 * success_rate(full, 0.5) == pytest.approx(14.6, abs=0.05)
    assert 100 * area_under_curve(full) == pytest.approx(32.8, abs=0.05)


def test_dsols_duet_boxes_give_a_centred_disc_what_was_measured():
    frames = boxed_frames("duettest.json")

    def filled_by_class(boxes):
        truth = np.zeros((2, 224, 224), bool)  # an absent second class stays empty: NaN, outside the class mean
        for source, label in enumerate(sorted({label for label, *_ in boxes})):
            for _, x0, y0, x1, y1 in (box for box in boxes if box[0] == label):
                truth[source, y0:y1, x0:x1] = True
        return truth

    ciou = class_mean(in_parts(frames, centred_disc(0.25), filled_by_class))
    assert 100 * success_rate(ciou, 0.3) == pytest.approx(19.0, abs=0.05)
    assert 100 * area_under_curve(ciou) == pytest.approx(21.8, abs=0.05)
