"""A trained ear for the quick preset: the frozen network of aiSFX, which has heard libraries of sound effects.

aiSFX is "Representation Learning for the Automatic Indexing of Sound Effects Libraries" by A. B. Ma and A. Lerch
(ISMIR 2022). Its weights are under the Creative Commons licence CC BY 4.0 (© 2022 A. B. Ma and A. Lerch); they are used
as they are and lie in the package aisfx, version 0.1.2, which ``make ear`` installs. Nothing else of that package is
needed, and nothing in its checkpoint is executed.
"""

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu
from torch.nn.utils.fusion import fuse_conv_bn_eval

from avnb.errors import SettingsError
from avnb.networks.frozen import Frozen
from avnb.networks.frozen_ear import FrozenEar
from avnb.networks.spectrograms import LogMel, mel_filterbank
from avnb.paths import shown

CHECKPOINT = "models/checkpoint.pth"  # in the package
DIGEST = "499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5"  # SHA-256 of version 0.1.2's
COMMAND = "pip install --no-deps aisfx==0.1.2"
LOUDEST = 9.457798957824707  # of the authors' spectrograms: what 1 is
WIDTHS = (64, 128, 256, 512)
PREFIX = "embedding_net."  # of the weights that hear; the others name sound effects
SHORTEST = 8  # columns: three halvings leave one


class AisfxLogMel(LogMel):
    """aiSFX's 96-band log-mel of 44.1 kHz, made at half that rate: log10(1 + 10,000 mel power) / 9.46, 0 to about 1.

    As in the package's code: the waveform is brought to a peak of 1, windows of 2,048 samples are 1,024 apart, bands
    (htk) reach to 22,050 Hz and each one's weights add up to 1. Half the samples in windows of half the length have
    the same bins at half the magnitude, and above 11,025 Hz there is nothing: so no waveform is resampled. 3 s give
    96x130.
    """

    def __init__(self) -> None:
        super().__init__(rate=22_050, n_fft=1024, hop=512, bins=96)
        weights = torch.from_numpy(mel_filterbank(44_100, 2048, 96, "htk"))
        weights = 4 * weights / weights.sum(dim=1, keepdim=True)  # 4: twice the samples, squared
        self.filterbank = weights[:, : self.n_fft // 2 + 1].float().contiguous()

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 96 frames"]:
        peak = waveform.abs().amax(dim=-1, keepdim=True)
        return super().spectrogram(waveform / torch.where(peak > 0, peak, 1))

    def compress(self, mel: Float[Tensor, "batch 96 frames"]) -> Float[Tensor, "batch 96 frames"]:
        return (10_000 * mel + 1).log10() / LOUDEST


class AisfxSound(Frozen):
    """aiSFX's X-Sequential-CE, frozen: a spectrogram of any length to one vector of 512.

    Eight 3x3 convolutions, halved three times; the mean over the bands, then the maximum over time. The package hears
    blocks of 100 columns (2.3 s), this one whatever it is given. Raises SettingsError where the weights are not there.
    """

    channels = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        state, inputs = checkpoint(), 1
        self.convolutions = nn.ModuleList()
        for number, width in enumerate(WIDTHS, 1):
            for place, wide in ((1, inputs), (2, width)):
                self.convolutions.append(_folded(state, f"{PREFIX}conv_block{number}", place, wide, width))
            inputs = width
        self.freeze()

    @torch.no_grad()
    def forward(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> Float[Tensor, "batch channels"]:
        x = spectrogram.mT
        if x.shape[2] < SHORTEST:
            x = nn.functional.pad(x, (0, 0, 0, SHORTEST - x.shape[2]))
        for number, convolution in enumerate(self.convolutions):
            x = relu(convolution(x), inplace=True)
            if number in (1, 3, 5):
                x = max_pool2d(x, 2)
        return x.mean(dim=3).amax(dim=2)


class AisfxEar(FrozenEar):
    """A waveform at 22,050 Hz to what `AisfxSound` hears in it, and a small head that is trained.

    AVGN's head for sounds, trained on this ear alone as AVGN trains it (solos and mixtures of SoundFont sound), named
    30 % of 720 real recordings of nine instruments with 0.8 of the numbers dropped, 43 % with 0.3 and 46 % with the
    layer as well; a linear probe on the same vectors 42 to 47 %. Room responses, noise, bands and random equalization
    of half of the solos gave the probe 45 for 47 and a larger head 43 for 42, so that none are added.
    """

    def __init__(self) -> None:
        super().__init__(AisfxLogMel(), AisfxSound().to(memory_format=torch.channels_last), f"aisfx-{DIGEST[:8]}")

    def evened(self, vectors: Float[Tensor, "batch heard"]) -> Float[Tensor, "batch heard"]:
        """Return the logarithms: none is below 0, and few are large."""
        return vectors.log1p()


def checkpoint() -> dict[str, Tensor]:
    """Return the weights in the installed package; nothing but tensors and numbers is read from its file.

    Raises SettingsError where the package is not installed, or its file is another one.
    """
    found = find_spec("aisfx")  # which imports nothing
    if found is None or not found.submodule_search_locations:
        raise SettingsError(
            'audio_encoder = "aisfx" needs weights that are not installed. Run make ear, or '
            f'{COMMAND}, or set audio_encoder = "slim".'
        )
    path = Path(found.submodule_search_locations[0]) / CHECKPOINT
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        digest = str(error.strerror)
    if digest != DIGEST:
        raise SettingsError(
            f"{shown(path)} is not the checkpoint of aisfx 0.1.2 ({digest[:40]}). Install it anew: "
            f"{COMMAND} --force-reinstall"
        )
    return _read(path)


def _read(path: Path) -> dict[str, Tensor]:
    import codecs

    import numpy as np

    # The file was written by numpy 1: three names that it builds numbers by, under the names that they had.
    scalar = (np._core.multiarray.scalar, "numpy.core.multiarray.scalar")
    with torch.serialization.safe_globals([np.dtype, np.dtypes.Int64DType, codecs.encode, scalar]):
        state, _ = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _folded(state: Mapping[str, Tensor], block: str, place: int, inputs: int, outputs: int) -> nn.Conv2d:
    """Return a convolution of the checkpoint, joined with the normalisation behind it."""
    convolution = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
    norm = nn.BatchNorm2d(outputs)
    for module, name in ((convolution, "conv"), (norm, "bn")):
        prefix = f"{block}.{name}{place}."
        own = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        module.load_state_dict(own)
    return fuse_conv_bn_eval(convolution.eval(), norm.eval())
