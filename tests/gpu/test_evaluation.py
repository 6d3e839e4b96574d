"""Judging on the GPU: the same rows as on the CPU, and how fast."""

import time

import pytest
import torch
from gpu_cases import DEVICE, DRY, SIZE, build, seconds_of, synchronize

from avnb.evaluation.localization import evaluate
from avnb.evaluation.trials import trials_of
from avnb.metrics.localization import average_precision
from avnb.metrics.retrieval import chance, retrieval

CLOSE = 1.0  # percentage points, of the mean over 24 clips: bf16 maps tie where float32's do not


@pytest.mark.parametrize("name", ["ez_vsl", "avgn"])
def test_rows(name, standin, findings):
    on_cpu, on_gpu = build(name, "quick", "cpu"), build(name, "quick")
    on_gpu.load_state_dict(on_cpu.state_dict())
    largest = 0.0
    for trial in trials_of(standin, 12 if DRY else 24)[:2]:
        asked = on_cpu.CLASSES[0]  # its own classes are near a tie while it is untrained
        rows = [evaluate(method, standin, trial, asked, progress=False)[0] for method in (on_gpu, on_cpu)]
        for there, here in zip(*rows, strict=True):
            assert there["method"] == here["method"]
            apart = [abs(there[key] - here[key]) for key in ("AP", "CAP", "PIAP", "AUC") if key in here]
            largest = max(largest, *apart)
    trial = trials_of(standin)[0]
    began = time.perf_counter()
    [first, *_], _ = evaluate(on_gpu, standin, trial, progress=False)
    synchronize()
    rate = first["clips"] / (time.perf_counter() - began)
    findings.add("evaluate", case=name, largest_difference=largest, clips_per_second=rate)
    assert largest < CLOSE


def test_average_precision_and_neighbours_at_scale(findings):
    maps, clips = (32, 500) if DRY else (1000, 100_000)
    chance_maps = torch.rand(maps, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    truth = (chance_maps.roll(3, dims=0) < 0.3).float()
    there, target = chance_maps.to(DEVICE), truth.to(DEVICE)
    gap = float(
        (average_precision(there[:32], target[:32]).cpu() - average_precision(chance_maps[:32], truth[:32])).abs().max()
    )
    seconds = seconds_of(lambda: average_precision(there, target), times=3, warm=1)
    vectors = torch.randn(clips, 128, device=DEVICE)
    classes = torch.arange(clips, device=DEVICE) % 11
    began = time.perf_counter()
    rows = retrieval(vectors, vectors, classes)
    by_chance = chance(classes)
    synchronize()
    findings.add(
        "metrics",
        maps=maps,
        ap_seconds=seconds,
        ap_apart=gap,
        gallery=clips,
        retrieval_seconds=time.perf_counter() - began,
    )
    assert gap < 1e-5
    assert rows.keys() >= by_chance.keys()
