"""What the tests of the methods share: tiny networks, batches of chance, and the arithmetic of their loops."""

import math
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d

from avnb.data.clips import Batch
from avnb.models.base import Method

CLASSES = 5

M = TypeVar("M", bound=Method)


class TinyTrunk(nn.Module):
    """Stands in for FrozenLite: the mean colour of every 16 x 16 pixels."""

    channels, stride, frozen = 3, 16, True

    def forward(self, frames: Tensor) -> Tensor:
        return avg_pool2d(frames.float() / 255, 16, ceil_mode=True)


class TinySound(nn.Module):
    """Stands in for SlimSound: a few averages of the spectrogram and a trained layer."""

    channels = 7

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(24, self.channels)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.layer(adaptive_avg_pool2d(spectrogram.to(self.layer.weight.dtype), (6, 4)).flatten(1))


def random_mixtures(batch: int, sources: int, height: int, width: int) -> Batch:
    """A batch whose sources are of distinct classes; only the first source is visible where there is one."""
    generator = torch.Generator().manual_seed(10 * batch + sources)
    chosen = torch.stack([torch.randperm(CLASSES, generator=generator)[:sources] for _ in range(batch)])
    return Batch(
        frames=torch.randint(256, (batch, 3, height, width), generator=generator, dtype=torch.uint8),
        mixture=0.2 * torch.randn(batch, 8000, generator=generator),
        labels=torch.zeros(batch, CLASSES).scatter_(1, chosen, 1.0),
        source_classes=chosen,
    )


def in_doubles(method: M, batch: Batch) -> tuple[M, Batch]:
    """Everything in float64 and in evaluation mode, so that batch statistics do not enter."""
    features = method.trunk(batch.frames).double()
    batch = replace(batch, mixture=batch.mixture.double(), labels=batch.labels.double(), features=features)
    return method.double().eval(), batch


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def cosine(a: list[float], b: list[float]) -> float:
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def tri_map_means(values: list[float]) -> tuple[float, float, float]:
    """How a picture's sounding part, its whole and its background match a sound (LVS), position by position."""
    above = [sigmoid((value - 0.65) / 0.03) for value in values]
    below = [1 - sigmoid((value - 0.4) / 0.03) for value in values]
    means = [dot(weights, values) / sum(weights) for weights in (above, [1.0] * len(values), below)]
    return means[0], means[1], means[2]


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]


class TinySoundMaps(TinySound):
    """Stands in for SlimSound where its last map is asked for: 4 x 3 places of five features, never negative."""

    widths = (5,)

    def __init__(self) -> None:
        super().__init__()
        self.statistics, self.mix = nn.Identity(), nn.Conv2d(1, 5, 1)
        del self.layer

    def maps(self, spectrogram: Tensor) -> list[Tensor]:
        return [torch.relu(self.mix(adaptive_avg_pool2d(spectrogram.to(self.mix.weight.dtype), (4, 3))))]


class TinyObjects(nn.Module):
    """Stands in for LiteObjects, on the trunk's own grid: five features and ten classes at every position."""

    frozen = True

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.classifier = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 10, 1)
        self.requires_grad_(False)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        v = self.layer(maps)
        return v, self.classifier(v)
