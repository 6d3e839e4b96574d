"""What all networks share that take a mixture apart by masks, told by pictures what to look for.

The network sees and masks a spectrogram's bands; a bin of the STFT takes its mask from the bands around it, and the
masked STFT goes back to a waveform with the mixture's own phase.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from avnb.config import Settings
from avnb.devices import full_precision
from avnb.errors import DataError
from avnb.networks.separation_masks import apply_masks
from avnb.networks.shapes import (
    Features,
    Frames,
    Sound,
    SourceFeatures,
    SourceFrames,
    SourceMasks,
    SourceSounds,
    SourceVectors,
)
from avnb.networks.spectrograms import LogFrequency, LogMel, Resampled, stft


class Separator(nn.Module):
    """A network that separates by masks over the bands of its ``spectrogram``, one for each visual vector.

    A method gives it `see` and `masks`; its settings' ``sharing`` says whether the sources share a bin ("softmax").
    """

    settings: Settings
    spectrogram: LogMel | LogFrequency
    step: int  # the sides of the image that the network hears are multiples of it

    def hear_through(self, front: Resampled, step: int) -> None:
        """Choose the front end, when the network is built; sounds are added and masked at its own rate."""
        self.resample, self.spectrogram, self.step = front.resample, front.front, step
        self.silence = self.spectrogram(torch.zeros(1, 1)).amin().item()
        self.register_buffer("spread", self.spectrogram.spread(), persistent=False)

    @property
    def rate(self) -> int:
        """Hz of what it hears, masks and returns as separated sound."""
        return self.spectrogram.rate

    @property
    def stft_window(self) -> tuple[int, int]:
        """Samples of a window, and from one to the next, of the STFT that is masked."""
        return self.spectrogram.n_fft, self.spectrogram.hop

    def resampled(self, waveforms: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch samples"]:
        """Return the store's waveforms at ``rate``."""
        return self.resample(waveforms)

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch seen rows columns"]:
        """Return the map of visual vectors."""
        raise NotImplementedError

    def masks(
        self, wanted: SourceVectors, waveform: Float[Tensor, "batch samples"], shared: bool = False
    ) -> SourceMasks:
        """Return the predicted masks over the bands, in 0..1, of a mixture at the network's own rate.

        With ``shared`` the sources share each bin (they add up to 1), if there are several.
        """
        raise NotImplementedError

    def filled(self, image: Float[Tensor, "batch inputs bands frames"]) -> Float[Tensor, "batch inputs longer wider"]:
        """Return a spectrogram filled up with silence until ``step`` divides its sides."""
        down, across = (-side % self.step for side in image.shape[-2:])
        return pad(image, (0, across, 0, down), value=self.silence)

    @torch.no_grad()
    def bands(
        self, sources: Float[Tensor, "mixtures sources samples"]
    ) -> tuple[Float[Tensor, "mixtures sources bands frames"], Float[Tensor, "mixtures bands frames"]]:
        """Return the magnitudes of the bands of the sources and of their sum."""
        front = self.spectrogram
        with full_precision(sources.device):
            spectra = stft(sources, front.n_fft, front.hop, front.padding)
            found = front.magnitudes(torch.cat([spectra, spectra.sum(dim=1, keepdim=True)], dim=1))
        return found[:, :-1], found[:, -1]

    def wanted(
        self, frames: SourceFrames, features: SourceFeatures | None = None
    ) -> Float[Tensor, "batch sources seen"]:
        """Return the visual vector of each frame: the maximum over its positions."""
        flat = None if features is None else features.flatten(0, 1)
        pooled = self.see(frames.flatten(0, 1), flat).amax(dim=(2, 3))
        return rearrange(pooled, "(b n) c -> b n c", n=frames.shape[1])

    def separate(self, frames: SourceFrames, mixture: Sound, features: SourceFeatures | None = None) -> SourceSounds:
        """Return what of each mixture belongs to each of its frames, at ``rate``.

        Raises DataError where the mixture is not mono.
        """
        return self.separate_by(self.wanted(frames, features), mixture, self.settings.sharing == "softmax")

    def separate_by(self, wanted: SourceVectors, mixture: Sound, shared: bool = False) -> SourceSounds:
        """Return what of each mixture belongs to each visual vector: a frame's, or a part's of it (`of_place`)."""
        waveform = self.mono(mixture)
        return self.masked(waveform, self.masks(wanted, waveform, shared))

    def mono(self, mixture: Float[Tensor, "*axes time"]) -> Float[Tensor, "batch samples"]:
        """Return a mixture at ``rate``; raise DataError where it is not mono."""
        if mixture.ndim != 2:
            raise DataError(
                f"A mixture to be separated has the shape [batch, time]; this one has {mixture.ndim} axes. Average "
                "the channels of stereo sound first."
            )
        return self.resampled(mixture)

    def masked(self, waveform: Float[Tensor, "batch samples"], masks: SourceMasks) -> SourceSounds:
        """Return what masks over the bands leave of a mixture at ``rate``."""
        with full_precision(waveform.device):
            return apply_masks(waveform, self.over_bins(masks.float()), *self.stft_window)

    def over_bins(
        self, masks: Float[Tensor, "batch sources bands frames"]
    ) -> Float[Tensor, "batch sources bins frames"]:
        """Carry masks over the bands to the bins of the STFT; a mask of ones stays one."""
        return self.spread.to(masks.dtype) @ masks

    def of_place(
        self, visual: Float[Tensor, "batch seen rows columns"], row: int, column: int, reach: int = 2
    ) -> Float[Tensor, "batch seen"]:
        """Return the visual vector of a part of the picture: the maximum over the positions around one."""
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        return visual[:, :, rows, columns].amax(dim=(2, 3))


def shared_out(
    logits: Float[Tensor, "batch sources bands frames"], shared: bool
) -> Float[Tensor, "batch sources bands frames"]:
    """Return the masks of these logits: each alone, or, ``shared`` by several, the odds of each over the sum of all."""
    return logits.softmax(dim=1) if shared and logits.shape[1] > 1 else logits.sigmoid()
