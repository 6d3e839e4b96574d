"""Sound of Pixels: pictures choose which of a mixture's parts to keep (Zhao et al., ECCV 2018).

A U-Net takes the mixture's spectrogram apart into K maps, whatever they may be. A picture says how much of each map is
its own, by K numbers, and their weighted sum is the mask of its sound. Two clips are added, each picture must mask its
own sound again, and so sounds name parts of pictures: asked pixel by pixel instead of picture by picture, the same
network says how loud each pixel is, which is where the sound comes from.

- One map stands for all that sounds: the energy of each pixel's sound. The released code has the function for it and
  never calls it; how DSOL's and Mix-and-Localize's tables made its maps is not published. Their "+ matching"
  (``matching``) is read as: as many maps as classes, each given to the class whose clips excite it, by the labels of
  the training clips, and shown where it is both seen and heard.
- A bin is a source's where it has more than half of the mixture's magnitude. At test the mask is cut at one half too
  (``cut`` "hard"), after it was carried to the STFT's bins. The quick preset lets the sources share each bin instead
  (``sharing``, as OneAVM's) and does not cut.
- The paper's ratio masks (``mask`` "ratio") are the source's magnitude over the mixture's, learnt by L1.
- Partners are drawn as in the released code, of any class, but never of the same video. Waveforms are added, not
  averaged; loudness changes as in the project's other methods; a clip is one frame and three seconds, not three frames
  and six. A clip that cannot be read is an error here, there a picture and a sound of zeros.
- The released code trains by SGD, at 0.001 for all but the pictures' trunk; here AdamW at the same tenfold distance.
- The spectrogram is warped by a matrix; see `avnb.networks.spectrograms.LogFrequency`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, binary_cross_entropy_with_logits

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import full_precision
from avnb.models.base import Examples, Method, Query, Stage
from avnb.networks.encoders import FrozenLite, LiteProjection, ResNetFrames
from avnb.networks.presets import RATE
from avnb.networks.separation_masks import loudness_weights, ratio_to_mixture, source_masks
from avnb.networks.separator import Separator, shared_out
from avnb.networks.shapes import Features, Frames, SourceMasks, SourceVectors
from avnb.networks.spectrograms import LogFrequency, LogMel, Resampled
from avnb.networks.unet import SlimUNet, UNet

AT_ONCE = 2**25  # numbers in the pixels' masks that are held at once: 128 MB
PEAK = 2.0  # deviation of what it says of pictures
PAIRS = (Recipe(2, "separate", distinct_classes=False),)  # two clips of any classes, each with its own frame


@dataclass(frozen=True)
class MixAndSeparateSettings(Settings):
    """What Sound of Pixels, MP-Net and CCoL have in common; 0 and "" stand for the preset's."""

    channels: int = setting(0, low=0, high=1024, doc="K, the maps that a mixture is taken apart into; 0: the preset's")
    cut: str = setting("", among=("hard", "soft"), doc='masks at test: cut at one half, or not; "": the preset\'s')
    sharing: str = setting("", among=("none", "softmax"), doc="of a bin by the sources; empty: the preset's")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")


@dataclass(frozen=True)
class SoundOfPixelsSettings(MixAndSeparateSettings):
    """Sound of Pixels' settings; the paper's by default."""

    METHOD: ClassVar[str] = "sound_of_pixels"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 8, "batch_size": 8, "learning_rate": 4e-4, "weight_decay": 0.01, "schedule": "one_cycle",
            "channels": 16, "cut": "soft", "sharing": "softmax",
        },
        "paper": {
            "epochs": 100, "batch_size": 80, "learning_rate": 1e-4, "weight_decay": 1e-4, "schedule": "constant",
            "channels": 32, "cut": "hard", "sharing": "none",
        },
    }  # fmt: skip

    mask: str = setting("binary", among=("binary", "ratio"), doc="what is learnt: whose a bin is, or how much of it")
    matching: bool = setting(False, doc="a map a class, named by the training labels (Mix-and-Localize, Table 1)")


class MixAndSeparate(Separator, Method):
    """What Sound of Pixels, MP-Net and CCoL have in common: K maps of a mixture, and K numbers of a picture.

    The mask of picture n is the sigmoid of z_n = sum_k s_k i_nk a_k + b, with a_k the sound's maps and i_n the sigmoid
    of the maximum over the picture's positions; s and b are trained where ``WEIGHTED``.

    In the quick preset that maximum is normalised over the pictures, without weights. Else all pictures say nearly the
    same at the start, whatever they show, and nothing tells the masks of two of them apart for most of a short
    training: after six epochs duets gained 2.5 dB, with a wider head alone 3.4, with both 4.0.
    """

    CLASSES = ("none",)
    KEEPS = "last"
    WEIGHTED: ClassVar[bool] = True
    settings: MixAndSeparateSettings

    def __init__(self, settings: MixAndSeparateSettings, channels: int, narrow_start: bool = True) -> None:
        super().__init__()
        self.settings = settings
        if settings.preset == "quick":
            self.trunk, self.unet = FrozenLite(), SlimUNet(channels)
            self.look = LiteProjection(self.trunk.channels, channels)
            self.peak_norm = nn.BatchNorm1d(channels, affine=False)
        else:
            self.peak_norm = None
            self.trunk, self.unet = ResNetFrames(16, settings.pretrained), UNet(channels, narrow_start=narrow_start)
            self.look = nn.Conv2d(self.trunk.channels, channels, 3, padding=1)
        self.hear_through(Resampled(self.front_end(), RATE), self.unet.step)
        if self.WEIGHTED:
            self.scale, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(1))
        else:
            self.register_buffer("scale", torch.ones(channels), persistent=False)
            self.register_buffer("bias", torch.zeros(1), persistent=False)

    def front_end(self) -> LogMel | LogFrequency:
        """Return what the U-Net hears."""
        quick = self.settings.preset == "quick"
        return LogMel(rate=11_025, n_fft=1024, hop=260, bins=64, scale="htk") if quick else LogFrequency()

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch k rows columns"]:
        """Return the picture's K maps, before the sigmoid."""
        maps = self.look(self.trunk_maps(frames, features))
        if (norm := self.peak_norm) is not None:
            maps = PEAK * batch_norm(maps, norm.running_mean, norm.running_var, eps=norm.eps)
        return maps

    def peaks(self, trunk_maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch k"]:
        """Return the maximum over the positions of each picture's K maps, before the sigmoid, as it is trained."""
        found = self.look(trunk_maps).amax(dim=(2, 3))
        return found if self.peak_norm is None else PEAK * self.peak_norm(found)

    def wanted_by(self, batch: Batch) -> Float[Tensor, "mixtures sources k"]:
        """Return the `peaks` of each picture of a batch."""
        found = self.peaks(self.trunk_maps(batch.frames, batch.features))
        return rearrange(found, "(b n) k -> b n k", n=batch.source_waveforms.shape[1])

    def hear(self, waveform: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch k bands frames"]:
        """Return the K maps a_k of a mixture at ``rate``."""
        return self.maps_of(self.spectrogram(waveform))

    def hear_bands(self, magnitudes: Float[Tensor, "batch bands frames"]) -> Float[Tensor, "batch k bands frames"]:
        """Return the K maps a_k of a mixture whose bands are known."""
        return self.maps_of(self.spectrogram.image_of(magnitudes)[:, None])

    def maps_of(self, image: Float[Tensor, "batch 1 bands frames"]) -> Float[Tensor, "batch k bands frames"]:
        """Return the K maps a_k of a spectrogram."""
        return self.unet(self.filled(image))[..., : image.shape[-2], : image.shape[-1]]

    def logits(
        self, wanted: Float[Tensor, "batch sources k"], heard: Float[Tensor, "batch k bands frames"]
    ) -> Float[Tensor, "batch sources bands frames"]:
        """Return z_n of each picture."""
        return combine(self.scale * wanted.sigmoid(), heard) + self.bias

    def masks(
        self, wanted: SourceVectors, waveform: Float[Tensor, "batch samples"], shared: bool = False
    ) -> SourceMasks:
        """Return the predicted masks over the bands, in 0..1, of a mixture at ``rate``; ``shared`` they add up to 1."""
        return shared_out(self.logits(wanted, self.hear(waveform)), shared)

    def over_bins(
        self, masks: Float[Tensor, "batch sources bands frames"]
    ) -> Float[Tensor, "batch sources bins frames"]:
        """Carry masks over the bands to the bins of the STFT, and cut them at one half where ``cut`` is "hard"."""
        masks = super().over_bins(masks)
        return (masks > 0.5).to(masks.dtype) if self.settings.cut == "hard" else masks

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the energy of each pixel's sound, which stands for every source."""
        waveform = self.resampled(query.mixture)
        _, magnitudes = self.bands(waveform[:, None])
        seen = self.scale.view(-1, 1, 1) * self.see(query.frames, query.features).sigmoid()
        energy = pixel_energy(seen, self.hear_bands(magnitudes), self.bias, magnitudes)
        return energy[:, None].expand(-1, query.sources, -1, -1)

    def loud_mean(
        self, heard: Float[Tensor, "batch k bands frames"], magnitudes: Float[Tensor, "batch bands frames"]
    ) -> Float[Tensor, "batch k"]:
        """Return the mean of each a_k over the bins, the loud ones above all."""
        weights = loudness_weights(magnitudes)
        return einsum(heard, weights / weights.sum(dim=(1, 2), keepdim=True), "b k f t, b f t -> b k")

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return "visual" s i and "audio", the mean of a over the bins, whose product is the mask's mean logit.

        Ours: OneAVM's Table 3 does not say how it retrieved with these networks.
        """
        waveform = self.resampled(batch.mixture)
        _, magnitudes = self.bands(waveform[:, None])
        audio = self.loud_mean(self.hear(waveform), magnitudes)
        visual = self.scale * self.see(batch.frames, batch.features).amax(dim=(2, 3)).sigmoid()
        return {"audio": audio[:, None], "visual": visual[:, None]}


class SoundOfPixels(MixAndSeparate):
    """Mix and separate."""

    SETTINGS = SoundOfPixelsSettings
    FASTER: ClassVar[Mapping[str, float]] = dict.fromkeys(("look", "unet", "scale", "bias"), 10.0)  # than the trunk
    settings: SoundOfPixelsSettings

    def __init__(self, settings: SoundOfPixelsSettings, classes: int) -> None:
        super().__init__(settings, classes if settings.matching else settings.channels)
        if settings.matching:
            self.CLASSES = ("oracle",)
            self.register_buffer("named", torch.arange(classes))  # the map of each class

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The masks' cross-entropy (or L1, of ratio masks), over the sources and bins, the loud ones above all."""
        sources = self.resampled(batch.source_waveforms)
        magnitudes, mixture = self.bands(sources)
        logits = self.logits(self.wanted_by(batch), self.hear_bands(mixture))
        return {"total": mask_loss(logits, magnitudes, mixture, self.settings.mask)}

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the energy of each pixel's sound, which stands for every source; with ``matching``, a map a class."""
        if not self.settings.matching:
            return super().localize(query)
        waveform = self.resampled(query.mixture)
        _, magnitudes = self.bands(waveform[:, None])
        loud = (self.scale * self.loud_mean(self.hear_bands(magnitudes), magnitudes)).clamp(min=0)
        maps = self.see(query.frames, query.features).sigmoid() * loud[..., None, None]
        asked = self.named.expand(len(maps), -1) if query.classes is None else self.named[query.classes]
        return maps.gather(1, asked[..., None, None].expand(-1, -1, *maps.shape[2:]))

    def stages(self) -> list[Stage]:
        """One stage, on sums of two clips; with ``matching``, the maps are named before the last epoch."""
        if not self.settings.matching:
            return [Stage("train", self.settings.epochs, PAIRS)]
        last = Stage("named", 1, PAIRS, self.begin_named, begin_with=(Recipe(),))
        return [Stage("train", self.settings.epochs - 1, PAIRS), last]

    @torch.no_grad()
    def begin_named(self, batches: Examples) -> None:
        """Give each class the map that its clips' pictures excite most, one to one, by the training labels."""
        from scipy.optimize import linear_sum_assignment

        self.eval()
        excited = torch.zeros(len(self.named), len(self.named))
        for _, _, batch in batches():
            batch = batch.to(self.scale.device)
            most = (self.scale * self.see(batch.frames, batch.features).amax(dim=(2, 3)).sigmoid()).argmax(dim=1)
            excited.index_put_((batch.labels.argmax(dim=1).cpu(), most.cpu()), torch.ones(len(most)), accumulate=True)
        _, maps = linear_sum_assignment(excited.numpy(), maximize=True)
        self.named.copy_(torch.from_numpy(maps))


def combine(
    shares: Float[Tensor, "batch sources k"], heard: Float[Tensor, "batch k bands frames"]
) -> Float[Tensor, "batch sources bands frames"]:
    """Return the sums of a mixture's maps that each source's shares make."""
    return (shares @ heard.flatten(2)).unflatten(2, heard.shape[2:])


def mask_loss(
    logits: Float[Tensor, "batch sources bands frames"],
    magnitudes: Float[Tensor, "batch sources bands frames"],
    mixture: Float[Tensor, "batch bands frames"],
    mask: str = "binary",
) -> Float[Tensor, ""]:
    """Return the mean over sources and bins of ln(1 + X) times the predicted masks' error.

    "binary": the cross-entropy with whether the source has more than half of the mixture's magnitude; "ratio": the
    distance to its share of it.
    """
    weights = loudness_weights(mixture)[:, None]
    if mask == "ratio":
        return (weights * (logits.sigmoid() - ratio_to_mixture(magnitudes, mixture)).abs()).mean()
    return binary_cross_entropy_with_logits(logits, source_masks(magnitudes, mixture, "half_mixture"), weights)


def pixel_energy(
    seen: Float[Tensor, "batch k rows columns"],
    heard: Float[Tensor, "batch k bands frames"],
    bias: Float[Tensor, "1"],
    magnitudes: Float[Tensor, "batch bands frames"],
) -> Float[Tensor, "batch rows columns"]:
    """Return the energy of the sound of each pixel: the sum over the bins of (mask of the pixel times mixture)^2."""
    shares = rearrange(seen, "b k h w -> b (h w) k").to(magnitudes.dtype)
    heard, loud = heard.to(magnitudes.dtype), magnitudes.square()
    with full_precision(seen.device):
        energies = [
            (torch.baddbmm(bias, part, heard.flatten(2)).sigmoid().square() @ loud.flatten(1)[..., None])[..., 0]
            for part in shares.split(max(1, AT_ONCE // magnitudes.numel()), dim=1)
        ]
    return torch.cat(energies, dim=1).unflatten(1, seen.shape[2:])
