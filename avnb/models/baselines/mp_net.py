"""MP-Net: take the loudest sound away first, then look again (Xu, Dai and Lin, ICCV 2019).

In one glance, loud sounds hide soft ones. MP-Net takes a mixture apart in rounds: a U-Net as Sound of Pixels' makes a
mask for every picture, the one whose sound is loudest is kept, and what it masks is taken out of the spectrogram before
the next round (Minus). Each source then learns, by a second U-Net, what it lost to those that went before it (Plus). At
test there are as many rounds as pictures, also more than it was trained with.

- The released Plus cannot run: it takes the logarithm of a magnitude that a binary mask has set to 0, adds an unbounded
  residual to a mask, and its account of what is gone stays 0; the training script stops at Minus. Here Plus hears the
  share of each bin that is gone and the source's own spectrogram, and corrects the mask's logit; its corrections start
  next to zero, so that it starts as Minus (``plus_epochs`` 0 leaves it out, ``joint_epochs`` trains both in the end).
- Each round hears what is left, but targets, final masks and loudness are the mixture's own. No gradient flows from a
  round to the one before. The released code's share of a bin is soft when it is taken away, and a bin counts as the
  picture's, when loudness is compared, where the mask is above one half; so here.
- The released loss has a term for what nobody takes, which has no gradient there, and is of the mixture before the last
  removal; ``rest`` gives it a weight, with gradient and of what is left at the end.
- ``loss_weights`` "index" is an option of the released script: half as much for each picture that is listed earlier,
  whatever the order of removal. ``order`` "given" takes the pictures as they are listed.
- The released code scales each waveform to -0.8..0.8, which adds a constant to it, and now and then replaces a source
  by silence and a picture of ADE20K; neither is done here. It hears 16 kHz in windows of 1,500 samples; here all three
  separation baselines hear alike, see `avnb.models.baselines.sound_of_pixels`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from avnb.config import setting
from avnb.data.clips import Batch
from avnb.devices import full_precision
from avnb.models.base import Examples, Phased, Stage
from avnb.models.baselines.sound_of_pixels import PAIRS, MixAndSeparate, MixAndSeparateSettings
from avnb.networks.separation_masks import loudness_weights, source_masks
from avnb.networks.separator import Separator, shared_out
from avnb.networks.shapes import SourceMasks, SourceVectors
from avnb.networks.spectrograms import stft
from avnb.networks.unet import SlimUNet, UNet

MINUS, PLUS, JOINT = range(3)
NOTHING = 1e-10  # is left of a bin that was taken away
SOFT = 0.01  # what may be left without being counted


@dataclass(frozen=True)
class MPNetSettings(MixAndSeparateSettings):
    """MP-Net's settings; the defaults are the paper's."""

    METHOD: ClassVar[str] = "mp_net"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 5, "plus_epochs": 1, "batch_size": 8, "learning_rate": 4e-4, "weight_decay": 0.01,
            "schedule": "one_cycle", "channels": 16, "cut": "soft", "sharing": "softmax",
        },
        "paper": {
            "epochs": 100, "plus_epochs": 100, "batch_size": 80, "learning_rate": 1e-4, "weight_decay": 1e-4,
            "schedule": "constant", "channels": 16, "cut": "hard", "sharing": "none",
        },
    }  # fmt: skip

    plus_epochs: int = setting(-1, low=0, high=100_000, doc="of Plus, Minus as it is, after epochs; -1: the preset's")
    joint_epochs: int = setting(0, low=0, high=100_000, doc="of Minus and Plus together, after those")
    order: str = setting("energy", among=("energy", "given"), doc="of removal: the loudest first, or as they are asked")
    loss_weights: str = setting("equal", among=("equal", "index"), doc="of the sources in the loss")
    rest: float = setting(0.0, low=0.0, high=1000.0, doc="weight of what nobody takes; 0: as the released code acts")


class MPNet(Phased, MixAndSeparate):
    """Minus-Plus."""

    SETTINGS = MPNetSettings
    FASTER: ClassVar[Mapping[str, float]] = dict.fromkeys(("look", "unet", "plus"), 10.0)  # than the pictures' trunk
    WEIGHTED = False
    settings: MPNetSettings

    def __init__(self, settings: MPNetSettings, classes: int) -> None:
        super().__init__(settings, settings.channels)
        self.plus = SlimUNet(1, inputs=2) if settings.preset == "quick" else UNet(1, inputs=2)
        self.plus.start_near_zero()
        self.enter(MINUS)

    def train(self, mode: bool = True) -> "MPNet":
        """Leave Minus as it is while Plus alone is trained."""
        super().train(mode)
        if self.doing == PLUS:
            for network in (self.trunk, self.look, self.unet, *filter(None, [self.peak_norm])):
                network.eval()
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The cross-entropy of the masks of "minus" and of "plus", in their phases, and the "rest" of Minus."""
        sources, settings = self.resampled(batch.source_waveforms), self.settings
        magnitudes, mixture = self.bands(sources)
        targets, weights = source_masks(magnitudes, mixture, "half_mixture"), loudness_weights(mixture)[:, None]
        terms = {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.doing != PLUS):
            logits, before = self.minus(self.wanted_by(batch), sources.sum(dim=1))
        if self.doing != PLUS:
            terms["minus"] = sources_loss(logits, targets, weights, settings.loss_weights)
            if settings.rest:
                terms["rest"] = settings.rest * rest_loss(logits.sigmoid(), mixture)
        if self.doing != MINUS:
            corrected = self.with_plus(logits.detach(), before, mixture)
            terms["plus"] = sources_loss(corrected, targets, weights, settings.loss_weights)
        return {"total": sum(terms.values()), **terms}

    def minus(
        self, wanted: Float[Tensor, "batch sources k"], waveform: Float[Tensor, "batch samples"]
    ) -> tuple[Float[Tensor, "batch sources bands frames"], Float[Tensor, "batch sources bands frames"]]:
        """Return each picture's logits in the round in which it was taken, and what of the mixture was left before."""
        with full_precision(waveform.device):
            spectrum = stft(waveform, *self.stft_window)
            left = mixture = self.spectrogram.magnitudes(spectrum)
        logits = before = torch.zeros_like(mixture)[:, None].expand(-1, wanted.shape[1], -1, -1)
        taken = torch.zeros(wanted.shape[:2], dtype=torch.bool, device=wanted.device)
        for place in range(wanted.shape[1]):
            found = self.logits(wanted, self.hear_bands(left))
            masks = found.detach().sigmoid()
            chosen = torch.full_like(taken[:, :1], place, dtype=torch.int64)
            if self.settings.order == "energy":
                chosen = loudest(self.loudness(masks, spectrum.abs()), taken)[:, None]
            mine = torch.zeros_like(taken).scatter_(1, chosen, True)
            taken = taken | mine
            mine = mine[..., None, None]
            logits, before = torch.where(mine, found, logits), torch.where(mine, left[:, None], before)
            left = without(left, torch.where(mine, masks, 0).sum(dim=1))
        return logits, before

    def loudness(
        self, masks: Float[Tensor, "batch sources bands frames"], magnitudes: Float[Tensor, "batch bins frames"]
    ) -> Float[Tensor, "batch sources"]:
        """Return the mean magnitude of the mixture's bins that each mask claims, above one half."""
        return ((Separator.over_bins(self, masks) > 0.5) * magnitudes[:, None]).mean(dim=(2, 3))

    def with_plus(
        self,
        logits: Float[Tensor, "batch sources bands frames"],
        before: Float[Tensor, "batch sources bands frames"],
        mixture: Float[Tensor, "batch bands frames"],
    ) -> Float[Tensor, "batch sources bands frames"]:
        """Return the logits corrected by Plus, which hears each source as Minus has it, and what was gone before it."""
        mixture = mixture[:, None]
        gone = (1 - before / mixture.clamp(min=NOTHING)).clamp(0, 1)
        own = self.spectrogram.image_of((logits.sigmoid() * mixture).flatten(0, 1))
        images = self.filled(torch.stack([gone.flatten(0, 1), own], dim=1))
        residual = self.plus(images)[:, 0, : logits.shape[2], : logits.shape[3]]
        return logits + residual.unflatten(0, logits.shape[:2])

    def masks(
        self, wanted: SourceVectors, waveform: Float[Tensor, "batch samples"], shared: bool = False
    ) -> SourceMasks:
        """Return the masks over the bands, in 0..1, one round a picture; ``shared`` they add up to 1."""
        logits, before = self.minus(wanted, waveform)
        if self.doing != MINUS:
            logits = self.with_plus(logits, before, self.bands(waveform[:, None])[1])
        return shared_out(logits, shared)

    def stages(self) -> list[Stage]:
        """Minus, then Plus, then both, each on sums of two clips and with a schedule of its own."""
        settings = self.settings
        return [
            Stage("minus", settings.epochs, PAIRS),
            Stage("plus", settings.plus_epochs, PAIRS, self.begin_plus, anew=True),
            Stage("joint", settings.joint_epochs, PAIRS, self.begin_joint, anew=True),
        ]

    def begin_plus(self, batches: Examples) -> None:
        """Leave Minus as it is, and train Plus."""
        self.enter(PLUS)

    def begin_joint(self, batches: Examples) -> None:
        """Train both; no gradient flows from Plus to Minus, each has its own masks to answer for."""
        self.enter(JOINT)


def loudest(loudness: Float[Tensor, "batch sources"], taken: Bool[Tensor, "batch sources"]) -> Int[Tensor, " batch"]:
    """Return the loudest source of each mixture that is not yet taken: n_r."""
    return loudness.masked_fill(taken, -1).argmax(dim=1)


def without(
    left: Float[Tensor, "batch bands frames"], mask: Float[Tensor, "batch bands frames"]
) -> Float[Tensor, "batch bands frames"]:
    """Return R_{r+1} = R_r (1 - M) + 1e-10, what is left of a mixture."""
    return left * (1 - mask) + NOTHING


def sources_loss(
    logits: Float[Tensor, "batch sources bands frames"],
    targets: Float[Tensor, "batch sources bands frames"],
    weights: Float[Tensor, "batch 1 bands frames"],
    loss_weights: str = "equal",
) -> Float[Tensor, ""]:
    """Return (1/N) sum_n g_n mean(w BCE(M_n, T_n)), g_n = 1, or, "index", 2^(n-1) for n = 0, 1, ..."""
    terms = binary_cross_entropy_with_logits(logits, targets, weights, reduction="none").mean(dim=(0, 2, 3))
    if loss_weights == "index":
        terms = terms * 2.0 ** (torch.arange(len(terms), device=terms.device) - 1)
    return terms.mean()


def rest_loss(
    masks: Float[Tensor, "batch sources bands frames"], mixture: Float[Tensor, "batch bands frames"]
) -> Float[Tensor, ""]:
    """Return mean(w max(0, R - 0.01)) of R = X prod_n (1 - M_n), what no source took."""
    rest = mixture * (1 - masks).prod(dim=1)
    return (loudness_weights(mixture) * (rest - SOFT).clamp(min=0)).mean()
