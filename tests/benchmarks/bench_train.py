"""Pairs per second of a training step (augmentation, objective, gradients, update) of each preset.

Run with ``pytest tests/benchmarks/bench_train.py -o addopts= --benchmark-columns=median``: the time of a step.
``--benchmark-json`` also holds ``pairs_per_second``. The quick preset starts from the frozen trunk's cached features,
as fit() does; its other row is the trunk itself, which sees every frame once in a run. The paper's batch of 128 is cut
to 8 on a CPU.
"""

import pytest
import torch

from avnb.data.augment import augment
from avnb.data.clips import Batch, Recipe
from avnb.devices import autocast
from avnb.models.avgn import AVGN, AVGNSettings

CLASSES, SIZE, SAMPLES = 11, 224, 66_150  # MUSIC's classes; frames of 224 x 224; 3 s at 22,050 Hz
devices = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def method_on(device: str, preset: str) -> AVGN:
    settings = AVGNSettings(preset=preset, pretrained=False).resolve(device)
    channels_last = torch.channels_last if device == "cuda" else torch.preserve_format
    return AVGN(settings, CLASSES).to(device, memory_format=channels_last)


def random_batch(method: AVGN, device: str, size: int, sources: int) -> Batch:
    classes = torch.rand(size, CLASSES).topk(sources).indices
    waveforms = 0.2 * torch.randn(size, sources, SAMPLES)
    frames = torch.randint(256, (size, 3, SIZE, SIZE), dtype=torch.uint8)
    batch = Batch(
        frames, waveforms.sum(dim=1), torch.zeros(size, CLASSES).scatter_(1, classes, 1.0), classes[:, :1],
        source_waveforms=waveforms,
    ).to(device)  # fmt: skip
    if not method.trunk.frozen:
        return batch
    features = torch.randn(size, method.trunk.channels, SIZE // 16, SIZE // 16, device=device)
    return Batch(**(vars(batch) | {"features": features}))


@pytest.mark.parametrize("sources", [1, 2])
@pytest.mark.parametrize("device", devices)
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_step(benchmark, preset, device, sources):
    benchmark.group = f"{preset} step"
    method = method_on(device, preset).train()
    size = 8 if (preset, device) == ("paper", "cpu") else method.settings.batch_size
    recipe = Recipe(sources, "single" if sources == 1 else "first")
    batch = random_batch(method, device, size, sources)
    optimizer = torch.optim.AdamW([weight for weight in method.parameters() if weight.requires_grad], lr=1e-4)

    def step():
        examples = augment(batch, recipe, crop=True)
        with autocast(device):
            loss = method.loss(examples)["total"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(step, rounds=3 if (preset, device) == ("paper", "cpu") else 10, warmup_rounds=2)
    benchmark.extra_info["pairs_per_second"] = size / benchmark.stats.stats.median


@pytest.mark.parametrize("device", devices)
def test_frozen_trunk(benchmark, device):
    benchmark.group = "quick trunk, 32 frames"
    trunk = method_on(device, "quick").trunk
    frames = torch.randint(256, (32, 3, SIZE, SIZE), dtype=torch.uint8, device=device)

    def look():
        trunk(frames)
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(look, rounds=5, warmup_rounds=1)
    benchmark.extra_info["pairs_per_second"] = 32 / benchmark.stats.stats.median
