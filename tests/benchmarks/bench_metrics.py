"""Localization metrics on 1,000 maps of 224x224, as a method with 14x14 cells makes them.

Run with ``pytest tests/benchmarks/bench_metrics.py -o addopts=""``.
"""

import time

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from avnb.metrics.localization import TopHalf, area_under_curve, average_precision, iou, success_rate, upsample

MAPS = 1000


@pytest.fixture(scope="module")
def maps_and_truth():
    generator = torch.Generator().manual_seed(0)
    maps = upsample(torch.randn(MAPS, 14, 14, generator=generator), (224, 224))
    truth = torch.zeros(MAPS, 224, 224)
    corners = torch.randint(0, 160, (MAPS, 2), generator=generator)
    sides = torch.randint(32, 224, (MAPS, 2), generator=generator)
    for box, (y, x), (height, width) in zip(truth, corners.tolist(), sides.tolist(), strict=True):
        box[y : y + height, x : x + width] = 1
    return maps, truth


def test_average_precision_is_20_times_faster_than_a_loop_over_scikit_learn(benchmark, maps_and_truth):
    maps, truth = maps_and_truth
    scores, positive = maps.flatten(1).numpy(), truth.flatten(1).numpy() > 0
    start = time.perf_counter()
    expected = [average_precision_score(p, s) for p, s in zip(positive, scores, strict=True)]
    loop = time.perf_counter() - start
    found = benchmark.pedantic(average_precision, (maps, truth), rounds=5, warmup_rounds=1)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    ratio = loop / benchmark.stats.stats.min
    benchmark.extra_info["times faster than scikit-learn"] = round(ratio, 1)
    assert ratio >= 20, f"a loop over scikit-learn took {loop:.2f} s, only {ratio:.1f} times as long"


def test_ciou_and_auc_of_the_top_half(benchmark, maps_and_truth):
    maps, truth = maps_and_truth

    def ciou_and_auc():
        ratios = iou(TopHalf()(maps), truth)
        return success_rate(ratios, 0.5), area_under_curve(ratios)

    success, area = benchmark.pedantic(ciou_and_auc, rounds=3, warmup_rounds=1)
    assert 0 <= success <= 1
    assert 0.025 <= area <= 1
