"""The pair of networks of DSOL and of the baselines whose objectives take features that are never negative.

In the papers that is ResNet-18 with the last stage not strided, whose maps come out of a ReLU; here the quick preset's
do as well.
"""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from avnb.networks.encoders import SlimSound
from avnb.networks.presets import eyes_and_ears
from avnb.networks.spectrograms import FrontEnd

WIDTH = 256  # channels of the quick preset's pictures and sounds


class NonNegative(NamedTuple):
    """The network that looks and what is trained behind it, the one that listens, and what it listens to."""

    trunk: nn.Module
    last_stage: nn.Module
    listen: nn.Module
    spectrogram: nn.Module


def nonnegative_pair(preset: str, pretrained: bool, front: FrontEnd, *, places: bool = False) -> NonNegative:
    """Return the networks of a preset: maps of stride 16, and sounds as a vector of as many channels.

    With ``places`` a sound is the network's last map instead, [batch, channels, bins, times]. ``front`` is what the
    paper's method hears. Raises SettingsError where ImageNet weights are asked for and cannot be had.
    """
    trunk, listen, spectrogram = eyes_and_ears(preset, pretrained, front, stride=16, sound_stride=16)
    last = last_stage(trunk)
    if places:
        listen = SoundMap(listen)
    elif trunk.frozen:
        listen = SoundVector(listen)
    return NonNegative(trunk, last, listen, spectrogram)


def last_stage(trunk: nn.Module) -> nn.Module:
    """Return what is trained behind a preset's trunk to make its maps as a ResNet's: never negative."""
    return LastStage(trunk.channels) if trunk.frozen else AsItIs(trunk.channels)


class LastStage(nn.Sequential):
    """What a fine-tuned last stage of the trunk is in the paper preset: 3x3, normalised, never negative.

    With `LiteProjection` in its place DSOL's k-means finds the classes worse (NMI 0.73 for 0.89), and its eq. 4's maps
    grow.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.channels = WIDTH


class AsItIs(nn.Identity):
    """The paper preset's last stage: its trunk is trained, and nothing comes after it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels


class SoundVector(nn.Sequential):
    """A network for sound with a layer behind it that makes its vector as wide as the picture's, and never negative."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network, nn.Linear(network.channels, WIDTH), nn.ReLU())
        self.channels = WIDTH


class SoundMap(nn.Module):
    """The last map of a network for sound, where one vector is too little: never negative."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if isinstance(network, SlimSound):
            del network.statistics  # of whole bins: they have no place in a map
        self.network, self.channels = network, network.widths[-1]

    def forward(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> Float[Tensor, "batch channels rows columns"]:
        return self.network.maps(spectrogram)[-1]
