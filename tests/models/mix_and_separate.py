"""What the tests of Sound of Pixels, MP-Net and CCoL share: tiny networks in place of theirs, and batches of chance."""

import math
from dataclasses import replace
from typing import TypeVar

import torch
from tiny_methods import TinyTrunk
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from avnb.data.clips import Batch
from avnb.models.baselines import ccol, sound_of_pixels
from avnb.models.baselines.sound_of_pixels import MixAndSeparate

CLASSES = 4
M = TypeVar("M", bound=MixAndSeparate)


class TinyUNet(nn.Module):
    """Stands in for SlimUNet: one convolution."""

    step = 4

    def __init__(self, outputs: int, inputs: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1)

    def start_near_zero(self) -> None:
        for weight in self.parameters():
            nn.init.normal_(weight, std=1e-7)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(image)


class TinyLook(nn.Module):
    """Stands in for LiteProjection, without its chance and its surroundings."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, dim, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return 4 * self.layer(maps)  # and what the maps say is doubled (PEAK)


class TinyGroundingSound(nn.Module):
    """Stands in for SlimSound where CCoL grounds."""

    channels = 5

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, self.channels)

    def forward(self, image: Tensor) -> Tensor:
        return self.layer(adaptive_avg_pool2d(image, (4, 3)).flatten(1))


def make_tiny(monkeypatch) -> None:
    """Replace the networks of the quick preset."""
    monkeypatch.setattr(sound_of_pixels, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(sound_of_pixels, "LiteProjection", TinyLook)
    monkeypatch.setattr(sound_of_pixels, "SlimUNet", TinyUNet)
    monkeypatch.setattr(ccol, "SlimSound", TinyGroundingSound)


def random_rooms(mixtures: int = 3, sources: int = 2, time: int = 2_400, size: int = 48) -> Batch:
    """Mixtures of noise of unequal loudness, each source with a frame of its own."""
    generator = torch.Generator().manual_seed(10 * mixtures + sources)
    waveforms = torch.randn(mixtures, sources, time, generator=generator)
    waveforms = waveforms * torch.rand(mixtures, sources, 1, generator=generator)
    classes = torch.arange(mixtures * sources) % CLASSES
    return Batch(
        frames=torch.randint(256, (mixtures * sources, 3, size, size), generator=generator, dtype=torch.uint8),
        mixture=waveforms.sum(dim=1).repeat_interleave(sources, dim=0),
        labels=torch.eye(CLASSES)[classes],
        source_classes=classes[:, None],
        source_waveforms=waveforms,
    )


def in_doubles(method: M, batch: Batch) -> tuple[M, Batch]:
    """Everything in float64 and in evaluation mode, so that batch statistics do not enter."""
    features = method.trunk(batch.frames).double()
    sounds = {"mixture": batch.mixture.double(), "source_waveforms": batch.source_waveforms.double()}
    return method.double().eval(), replace(batch, **sounds, features=features)


def loudness(x: float) -> float:
    """How much a bin of this magnitude counts."""
    return min(max(math.log(1 + x), 1e-3), 10)
