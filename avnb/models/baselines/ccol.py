"""CCoL: learning what sounds and what it sounds like from each other (Tian, Hu and Xu, CVPR 2021).

A picture may show an instrument that is silent, and a network that separates by pictures then invents a sound for it.
CCoL trains two networks, in three phases. Grounding says whether a picture's object sounds in a sound. Separation is
Sound of Pixels'. Two rooms of two objects each are made of four clips, of which one a room is heard: first grounding is
trained alone, then its judgement (rounded) switches the masks of separation on and off, and in the cyclic phase
separation pays back: the companion whose mask comes nearer to its room's sound is the one that sounds.

- ``released`` True has two slips of the released code: in co-learning it chooses the companion that is heard once for
  the whole batch, and in the cyclic phase it multiplies a column with a row, so that one clip's choice is applied to
  all clips. By default the choice is each mixture's own.
- Each of the two rooms is the first in turn; the released code compares the sound of one of them alone with objects.
- Objects are whole frames, where the released code cuts out what co-separation's detector found.
- The masks are Sound of Pixels' ratio masks, and the U-Net hears ln(1 + magnitude) of the bands.
- Tested as the released code tests for the paper's table: by the masks of all pictures. ``gated`` switches off those
  that grounding calls silent, at test too.
- In the quick preset the objects that are switched on share each bin (``sharing``), in training as at test. Each with a
  sigmoid of its own, masks learn more slowly what is whose: after five epochs with the companions that truly sound 60
  duets of the stand-in had gained 4.0 dB (shared at test), with shares 5.3, and with every mask on 3.3 and 3.8.
- One learning rate for all; the released code's grounding learns at a tenth of it in co-learning.
- One trunk sees for both networks and is trained by separation alone. The released code has two: grounding's is frozen,
  and separation's, for which the script has a learning rate, is left out of the optimizer.
- OneAVM's Table 6 does not say how CCoL localizes. Ours: grounding is asked at each position of the picture.
- Where only two clips are mixed (the validation), each room has one object.
- In the quick preset's time grounding learns little: at the end the companion that sounds is the likelier one in 59 to
  60 % of the mixtures (three seeds), and its mask the nearer one in 68 to 73 %. In co-learning nearly all are on.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from avnb.config import setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows
from avnb.models.base import Examples, Phased, Query, Stage
from avnb.models.baselines.sound_of_pixels import MixAndSeparate, MixAndSeparateSettings
from avnb.networks.encoders import SlimSound, VggSound
from avnb.networks.separation_masks import loudness_weights, ratio_to_mixture
from avnb.networks.shapes import Sound, SourceFeatures, SourceFrames, SourceSounds
from avnb.networks.spectrograms import LogFrequency, LogMel

GROUNDING, CO_LEARNING, CYCLIC = range(3)
ROOMS = 2
OPEN = 0.5  # the first of grounding's two logits at the start: every mask is switched on until it has learnt which
MISSED = 0.1  # the distance of a companion's mask from its room's above which it is taught to be silent


@dataclass(frozen=True)
class CCoLSettings(MixAndSeparateSettings):
    """CCoL's settings; the defaults are the paper's."""

    METHOD: ClassVar[str] = "ccol"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 2, "co_epochs": 3, "cyclic_epochs": 3, "batch_size": 8, "learning_rate": 2e-3,
            "weight_decay": 0.01, "schedule": "one_cycle", "channels": 16, "cut": "soft", "sharing": "softmax",
        },
        "paper": {
            "epochs": 40, "co_epochs": 60, "cyclic_epochs": 60, "batch_size": 48, "learning_rate": 1e-4,
            "weight_decay": 0.0, "schedule": "constant", "channels": 32, "cut": "soft", "sharing": "none",
        },
    }  # fmt: skip

    co_epochs: int = setting(-1, low=0, high=100_000, doc="of co-learning, after the epochs of grounding; -1: preset's")
    cyclic_epochs: int = setting(-1, low=0, high=100_000, doc="of the cyclic phase, after those; -1: the preset's")
    gated: bool = setting(False, doc="at test, pictures that grounding calls silent return silence")
    released: bool = setting(False, doc="the released code's choice of companions, one for the whole batch")


class CCoL(Phased, MixAndSeparate):
    """Cyclic co-learning of grounding and separation."""

    SETTINGS = CCoLSettings
    MAP_RANGE = (0.0, 1.0)
    settings: CCoLSettings

    def __init__(self, settings: CCoLSettings, classes: int) -> None:
        super().__init__(settings, settings.channels, narrow_start=False)
        if settings.preset == "quick":
            self.ground_sound: nn.Module = SlimSound()
            wide, narrow = 256, 64
        else:
            self.ground_sound = VggSound()
            wide, narrow = 512, 128
        both = self.trunk.channels + self.ground_sound.channels
        self.ground = nn.Sequential(
            nn.Linear(both, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU(), nn.Linear(narrow, 2)
        )
        if settings.preset == "paper":
            for layer in self.ground[::2]:
                nn.init.normal_(layer.weight, std=1e-4)
        with torch.no_grad():
            self.ground[-1].bias.copy_(torch.tensor([OPEN, 0.0]))
        self.enter(GROUNDING)

    def front_end(self) -> LogMel | LogFrequency:
        """Return what both networks hear."""
        return super().front_end() if self.settings.preset == "quick" else LogFrequency(offset=1.0)

    def train(self, mode: bool = True) -> "CCoL":
        """Leave the trunk's statistics as they are where it is not trained."""
        super().train(mode)
        if self.doing == GROUNDING:
            self.trunk.eval()
        return self

    # ------------------------------------------------------------------------------------------------------- grounding

    def sounds(
        self, heard: Float[Tensor, "*batch heard"], seen: Float[Tensor, "*batch seen"]
    ) -> Float[Tensor, "*batch"]:
        """Return the logit of "what is seen sounds in what is heard": the first of two logits less the second."""
        two = 2 * self.ground(torch.cat([seen, heard], dim=-1))
        apart = two[..., 0] - two[..., 1]
        return apart.to(torch.promote_types(apart.dtype, torch.float32))

    def heard(self, waveforms: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch heard"]:
        """Return grounding's vectors of waveforms at ``rate``."""
        image = self.filled(self.spectrogram(waveforms.flatten(0, -2)))
        return self.ground_sound(image).unflatten(0, waveforms.shape[:-1])

    def heard_bands(self, magnitudes: Float[Tensor, "*batch bands frames"]) -> Float[Tensor, "*batch heard"]:
        """Return grounding's vectors of sounds whose bands are known."""
        image = self.filled(self.spectrogram.image_of(magnitudes.flatten(0, -3))[:, None])
        return self.ground_sound(image).unflatten(0, magnitudes.shape[:-2])

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return at each position the probability that what is there sounds, which stands for every source."""
        seen = rearrange(self.trunk_maps(query.frames, query.features), "b c h w -> b h w c")
        heard = self.heard(self.resampled(query.mixture))[:, None, None].expand(*seen.shape[:3], -1)
        return self.sounds(heard, seen).sigmoid()[:, None].expand(-1, query.sources, -1, -1)

    # -------------------------------------------------------------------------------------------------------- training

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the phase: "grounding" alone, then "separation" with "co-learning", then with "cyclic".

        The clips of a mixture are its rooms' objects, room after room; of each room the first sounds.
        """
        sources = self.resampled(batch.source_waveforms.unflatten(1, (ROOMS, -1))[:, :, 0])
        magnitudes, mixture = self.bands(sources)
        maps = self.trunk_maps(batch.frames, batch.features)
        seen = rearrange(maps.detach().mean(dim=(2, 3)), "(b r c) d -> b r c d", b=len(mixture), r=ROOMS)
        both = () if self.doing == GROUNDING else (mixture[:, None],)
        heard = self.heard_bands(torch.cat([magnitudes, *both], dim=1))
        alone = self.sounds(heard[:, :ROOMS, None].expand(*seen.shape[:3], -1), seen)  # a room's sound, its objects
        other = self.sounds(heard[:, :ROOMS].flip(1), seen[:, :, 0])  # the other room's sound with the first of them
        if self.doing == GROUNDING:
            value = grounding_loss(alone, other)
            return {"total": value, "grounding": value}
        mixed = self.sounds(heard[:, ROOMS, None, None].expand(*seen.shape[:3], -1), seen)  # a_m with every object
        wanted = rearrange(self.peaks(maps), "(b n) k -> b n k", b=len(mixture))
        logits = self.logits(wanted, self.hear_bands(mixture)).unflatten(1, (ROOMS, -1))
        targets, weights = ratio_to_mixture(magnitudes, mixture), loudness_weights(mixture)
        gates, shared = (mixed.detach() > 0).to(logits.dtype), self.settings.sharing == "softmax"
        terms = {"separation": separation_loss(masks_of(logits, gates, shared), targets, weights)}
        if self.settings.released:  # what is chosen once for a batch is chosen for all of its rows
            alone, other, mixed = all_rows(alone, other, mixed)
        if self.doing == CO_LEARNING:
            terms["co-learning"] = co_learning_loss(alone, other, mixed, self.settings.released) / 4
        else:
            apart = distances(masks_of(logits.detach(), torch.ones_like(gates), shared), targets, weights)
            apart = all_rows(apart) if self.settings.released else apart
            terms["cyclic"] = cyclic_loss(alone, other, mixed, apart, self.settings.released)
        return {"total": sum(terms.values()), **terms}

    def stages(self) -> list[Stage]:
        """Grounding, co-learning, cyclic, each on two rooms of two objects and with a schedule of its own."""
        settings, rooms, pairs = self.settings, (Recipe(2 * ROOMS, "separate"),), (Recipe(ROOMS, "separate"),)
        return [
            Stage("grounding", settings.epochs, rooms, validation=pairs),
            Stage("co-learning", settings.co_epochs, rooms, self.begin_co_learning, validation=pairs, anew=True),
            Stage("cyclic", settings.cyclic_epochs, rooms, self.begin_cyclic, validation=pairs, anew=True),
        ]

    def begin_co_learning(self, batches: Examples) -> None:
        """Let grounding switch the masks on and off."""
        self.enter(CO_LEARNING)

    def begin_cyclic(self, batches: Examples) -> None:
        """Let the masks tell grounding which companion sounds."""
        self.enter(CYCLIC)

    # ------------------------------------------------------------------------------------------------------ separation

    def separate(self, frames: SourceFrames, mixture: Sound, features: SourceFeatures | None = None) -> SourceSounds:
        """Return what of each mixture belongs to each of its frames, at ``rate``; ``gated``, silence for the silent.

        Raises DataError where the mixture is not mono.
        """
        if not self.settings.gated:
            return super().separate(frames, mixture, features)
        waveform = self.mono(mixture)
        logits = self.logits(self.wanted(frames, features), self.hear(waveform))
        gates = self.gates(frames, mixture, features)
        masks = masks_of(logits[:, None], gates[:, None], self.settings.sharing == "softmax")
        return self.masked(waveform, masks[:, 0])

    def gates(
        self, frames: SourceFrames, mixture: Sound, features: SourceFeatures | None = None
    ) -> Float[Tensor, "batch sources"]:
        """Return 1 for each frame whose object sounds in the mixture by the judgement of grounding, else 0."""
        flat = None if features is None else features.flatten(0, 1)
        seen = self.trunk_maps(frames.flatten(0, 1), flat).mean(dim=(2, 3)).unflatten(0, frames.shape[:2])
        heard = self.heard(self.resampled(mixture))[:, None].expand(-1, frames.shape[1], -1)
        return (self.sounds(heard, seen) > 0).to(seen.dtype)


def sounding(logits: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return p, the cross-entropy of grounding's logits with "sounding"."""
    return -logsigmoid(logits)


def silent(logits: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return q, the cross-entropy of grounding's logits with "silent"."""
    return -logsigmoid(-logits)


def grounding_loss(
    alone: Float[Tensor, "mixtures rooms objects"], other: Float[Tensor, "mixtures rooms"]
) -> Float[Tensor, ""]:
    """Return mean_br min_c p(a_r, v_rc) + mean_br q(a_s, v_r0): one of a room's objects sounds, not in another's sound.

    ``alone`` are grounding's logits of each room's sound with its own objects, ``other`` of the other room's sound
    with the first of them.
    """
    return sounding(alone).amin(dim=2).mean() + silent(other).mean()


def co_learning_loss(
    alone: Float[Tensor, "mixtures rooms objects"],
    other: Float[Tensor, "mixtures rooms"],
    mixed: Float[Tensor, "mixtures rooms objects"],
    released: bool = False,
) -> Float[Tensor, ""]:
    """Return the grounding loss + sum over the rooms of mean_b min_c p(a_m, v_c): in the mixture, one of each room.

    ``released``: min_c mean_b, one choice for the whole batch.
    """
    p = sounding(mixed)
    in_mixture = p.mean(dim=0).amin(dim=1) if released else p.amin(dim=2).mean(dim=0)
    return grounding_loss(alone, other) + in_mixture.sum()


def masks_of(
    logits: Float[Tensor, "mixtures rooms objects bands frames"],
    gates: Float[Tensor, "mixtures rooms objects"],
    shared: bool = False,
) -> Float[Tensor, "mixtures rooms objects bands frames"]:
    """Return the masks of the objects that grounding switches on, and 0 for the others.

    Each alone or, ``shared``, the odds of each over the sum of those that are switched on: they add up to 1.
    """
    gates = gates[..., None, None]
    if not shared:
        return gates * logits.sigmoid()
    off = logits.masked_fill(gates == 0, torch.finfo(logits.dtype).min)
    return gates * off.flatten(1, 2).softmax(dim=1).unflatten(1, logits.shape[1:3])


def distances(
    masks: Float[Tensor, "mixtures rooms objects bands frames"],
    targets: Float[Tensor, "mixtures rooms bands frames"],
    weights: Float[Tensor, "mixtures bands frames"],
) -> Float[Tensor, "mixtures rooms objects"]:
    """Return d, the mean over the bins of the weighted distance of each object's mask from its room's target."""
    return (weights[:, None, None] * (masks - targets[:, :, None]).abs()).mean(dim=(3, 4))


def separation_loss(
    masks: Float[Tensor, "mixtures rooms objects bands frames"],
    targets: Float[Tensor, "mixtures rooms bands frames"],
    weights: Float[Tensor, "mixtures bands frames"],
) -> Float[Tensor, ""]:
    """Return the mean over the rooms of L1w(sum_c r_c m_c, M): the masks that grounding switches on make the room's."""
    return distances(masks.sum(dim=2, keepdim=True), targets, weights).mean()


def cyclic_loss(
    alone: Float[Tensor, "mixtures rooms objects"],
    other: Float[Tensor, "mixtures rooms"],
    mixed: Float[Tensor, "mixtures rooms objects"],
    apart: Float[Tensor, "mixtures rooms objects"],
    released: bool = False,
) -> Float[Tensor, ""]:
    """Return 1/4 (pos + neg) + 1/2 L_g: in each room the object whose mask is nearest is the one that sounds.

    pos is p of it in the mixture, neg is q of the others in the mixture, where their masks are further than 0.1 away,
    L_g is p of it in its room's own sound and q in the other room's. ``released``: in L_g, every choice of the batch
    is applied to every clip.
    """
    chosen = torch.zeros_like(apart).scatter_(2, apart.argmin(dim=2, keepdim=True), 1.0)
    positive = (chosen * sounding(mixed)).sum(dim=(1, 2)).mean()
    negative = ((1 - chosen) * (apart > MISSED) * silent(mixed)).sum(dim=(1, 2)).mean()
    p = sounding(alone)
    own = (p.mean(dim=0) * chosen.mean(dim=0) if released else (p * chosen).mean(dim=0)).sum(dim=1).mean()
    return (positive + negative) / 4 + (own + silent(other).mean()) / 2
