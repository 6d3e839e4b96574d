"""What the presets are built of: the pair of networks that look and listen, and the front end that the latter hears by.

``quick`` looks with a frozen network and listens with a slim one, ``paper`` has the papers' two ResNet-18.
"""

from typing import NamedTuple

from torch import nn

from avnb.errors import SettingsError
from avnb.networks.aisfx import AisfxEar
from avnb.networks.clap import ClapEar
from avnb.networks.encoders import FrozenLite, LiteProjection, ResNetFrames, ResNetSound, SlimSound
from avnb.networks.spectrograms import FrontEnd, LogMel, at_rate

FROZEN_EARS = {"aisfx": AisfxEar, "clap": ClapEar}
EARS = ("slim", *FROZEN_EARS)  # what the quick preset can listen by
RATE = 22_050  # Hz, of the waveforms that travel through the project


class EyesAndEars(NamedTuple):
    """The network that looks, the one that listens, and what turns the project's waveforms into what it listens to."""

    trunk: nn.Module
    listen: nn.Module
    spectrogram: nn.Module


def eyes_and_ears(
    preset: str,
    pretrained: bool,
    front: FrontEnd,
    *,
    quick_front: FrontEnd | None = None,
    stride: int = 32,
    sound_stride: int = 32,
    audio_encoder: str = "slim",
) -> EyesAndEars:
    """Return the networks of a preset; ``front`` is what the paper's method hears, `LogMel` by default the quick run's.

    The strides, and whether the frames' network has ImageNet weights, are the paper preset's; the quick preset's trunk
    has a stride of 16, and what listens in it is a slim network that learns or, with another ``audio_encoder``, a
    trained one that is frozen. Raises SettingsError where the weights are asked for and cannot be had.
    """
    if audio_encoder != "slim":
        if preset != "quick":
            raise SettingsError(f'audio_encoder = "{audio_encoder}" is of the quick preset; set preset = "quick".')
        return EyesAndEars(FrozenLite(), FROZEN_EARS[audio_encoder](), nn.Identity())
    if preset == "quick":
        return EyesAndEars(FrozenLite(), SlimSound(), at_rate(quick_front or LogMel(), RATE))
    return EyesAndEars(ResNetFrames(stride, pretrained), ResNetSound(sound_stride), at_rate(front, RATE))


def projection(trunk: nn.Module, dim: int) -> nn.Module:
    """Return what is trained on the trunk's maps: a head that sees a position's surroundings if the trunk is frozen.

    On a trained trunk it is a 1x1 convolution, as in EZ-VSL, AVGN and those after them.
    """
    return LiteProjection(trunk.channels, dim) if trunk.frozen else nn.Conv2d(trunk.channels, dim, 1)
