"""Another trained ear for the quick preset: the frozen audio encoder of CLAP, by Hugging Face's transformers.

CLAP is "Large-Scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption Augmentation" by
Y. Wu and others (ICASSP 2023, https://arxiv.org/abs/2211.06687): HTSAT, a transformer on the spectrogram of ten
seconds, trained beside captions. ``pip install 'avnb[ears]'`` installs transformers, which fetches the weights from the
Hub the first time; only files of tensors (safetensors) are read.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from avnb.errors import SettingsError
from avnb.networks.frozen import Frozen
from avnb.networks.frozen_ear import FrozenEar
from avnb.networks.spectrograms import LogMel, at_rate, mel_filterbank

CHECKPOINT = "laion/clap-htsat-unfused"
RATE = 22_050  # Hz, of the project's waveforms
SECONDS = 10  # that CLAP hears at once
COMMAND = "pip install 'avnb[ears]'"


class ClapLogMel(LogMel):
    """CLAP's 64-band log-mel of ten seconds at 48 kHz: 10 log10 of the power of 50 to 14,000 Hz, 64x1001.

    What is shorter is repeated as often as it fits whole, and silence follows; of what is longer the first ten seconds
    are heard (the released code takes ten at random). As `transformers.ClapFeatureExtractor` for this checkpoint.
    """

    def __init__(self) -> None:
        super().__init__(rate=48_000, n_fft=1024, hop=480, bins=64, padding="reflect")
        bands = mel_filterbank(self.rate, self.n_fft, 64, "slaney", 50.0, 14_000.0)
        self.filterbank = torch.from_numpy(bands).float()

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 64 1001"]:
        samples = SECONDS * self.rate
        whole = waveform.repeat(1, max(1, samples // waveform.shape[-1]))[:, :samples]
        return super().spectrogram(pad(whole, (0, samples - whole.shape[-1])))

    def compress(self, mel: Float[Tensor, "batch 64 frames"]) -> Float[Tensor, "batch 64 frames"]:
        return 10 * mel.clamp(min=1e-10).log10()


class ClapSound(Frozen):
    """CLAP's audio encoder, frozen: a spectrogram to the vector that its captions were trained beside.

    Raises SettingsError where transformers is not installed, or the weights cannot be had.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder()
        self.channels = self.encoder.config.projection_dim
        self.freeze()

    @torch.no_grad()
    def forward(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> Float[Tensor, "batch channels"]:
        return self.encoder(input_features=spectrogram.mT.float()).audio_embeds


class ClapEar(FrozenEar):
    """A waveform at 22,050 Hz to what `ClapSound` hears in it, and a small head that is trained."""

    def __init__(self) -> None:
        super().__init__(at_rate(ClapLogMel(), RATE), ClapSound(), "clap-htsat-unfused")


def _encoder() -> Any:
    try:
        from transformers import ClapAudioModelWithProjection
    except ImportError:
        raise SettingsError(
            f'audio_encoder = "clap" needs the package transformers. Run {COMMAND}, or set audio_encoder = "slim".'
        ) from None
    try:
        return ClapAudioModelWithProjection.from_pretrained(CHECKPOINT, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"The weights of {CHECKPOINT} cannot be had: {str(error).splitlines()[0]} Where there is no network, fetch "
            "them elsewhere and bring the Hub's cache along (HF_HOME), or set audio_encoder to slim or aisfx."
        ) from None
