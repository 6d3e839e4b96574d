"""Attention10k: the sound attends to the picture, and what it attends to should be the sound (Senocak, CVPR 2018).

The cosine of the sound with every position of the picture, softmaxed, is an attention map; the attended mean of the
picture's features is brought into the sound's space, where it should lie nearer to its own sound than to another's.
This is the first learned sound localization, named after the 10,000 Flickr clips it was shown on.

It makes one map of a picture and a sound and is told nothing.

Two objectives are in use. ``objective`` "contrastive" is what DSOL rebuilt for its tables, which Mix-and-Localize took
over: matches are pulled together and one mismatch a sound is pushed ``margin`` apart, on DSOL's networks; the sound's
own features are the target and are trained along, so that both sides may shrink. "ranked" is the authors': the square
of the softmaxed distance, with features that are not normalised and a target that is not trained. The authors' networks
(VGG-16 and SoundNet, frozen) and their semi-supervised term are left out; both objectives run on DSOL's networks.

The attention's logits lie in 0..1, for all features come out of a ReLU: no position is ever given more than 2.7 times
an even share, so that the attended mean is close to the plain mean. ``temperature`` sharpens it; 1 is as published. An
attention map never falls below 0.37 of its maximum, so what is shown is scaled to 0..1, as DSOL's program does.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import rolled
from avnb.errors import SettingsError
from avnb.models.base import AS_DSOL, QUICK, Method, Query, Stage
from avnb.networks.losses import FLOOR, own_cosines, pair_contrast
from avnb.networks.nonnegative import nonnegative_pair
from avnb.networks.shapes import Features, Frames
from avnb.networks.spectrograms import DsolLogMel


@dataclass(frozen=True)
class Attention10kSettings(Settings):
    """Attention10k's settings; the defaults are DSOL's version, 0 the preset's."""

    METHOD: ClassVar[str] = "attention10k"
    PRESETS: ClassVar = {
        "quick": {"epochs": 5, **QUICK},
        "paper": {"epochs": 25, **AS_DSOL},
    }

    objective: str = setting("contrastive", among=("contrastive", "ranked"), doc="DSOL's, or the authors'")
    margin: float = setting(10.0, low=0.0, high=1e4, doc="how far a mismatch is pushed apart (contrastive)")
    temperature: float = setting(1.0, low=1e-3, high=100.0, doc="of the attention; 1 is as published")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")


class Attention10k(Method):
    """Learning to localize sound source."""

    SETTINGS: ClassVar = Attention10kSettings
    CLASSES: ClassVar = ("none",)
    TAKES_SCENES: ClassVar = True

    def __init__(self, settings: Attention10kSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.trunk, self.last_stage, self.listen, self.spectrogram = nonnegative_pair(
            settings.preset, settings.pretrained, DsolLogMel()
        )
        dim = self.listen.channels
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.answer = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch dim rows columns"]:
        """Return the picture's features, never negative."""
        return self.last_stage(self.trunk_maps(frames, features))

    def hear(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch dim"]:
        """Return g, the sound's features, never negative."""
        return self.listen(self.spectrogram(mixture))

    def attend(
        self, heard: Float[Tensor, "batch dim"], seen: Float[Tensor, "batch dim rows columns"]
    ) -> Float[Tensor, "batch rows columns"]:
        """Return the attention of each sound on the picture beside it; it sums to 1 over the positions."""
        cosines = own_cosines(self.query(heard), seen)
        return (cosines / self.settings.temperature).flatten(1).softmax(dim=1).unflatten(1, cosines.shape[1:])

    def distance(
        self, heard: Float[Tensor, "batch dim"], seen: Float[Tensor, "batch dim rows columns"]
    ) -> Float[Tensor, " batch"]:
        """Return the squared distance of what each sound attends to in the picture beside it to the sound itself."""
        ranked = self.settings.objective == "ranked"
        cells = seen if ranked else normalize(seen, dim=1)
        attended = einsum(self.attend(heard, seen), cells, "b h w, b d h w -> b d")  # z
        return (self.answer(attended) - (heard.detach() if ranked else heard)).square().sum(dim=1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Each sound and its own picture against the sound and the batch's next picture."""
        if len(batch) < 2:
            raise SettingsError("A mismatch takes a second clip: batch_size must be at least 2.")
        heard, seen = self.hear(batch.mixture), self.see(batch.frames, batch.features)
        matched, mismatched = self.distance(heard, seen), self.distance(heard, rolled(seen, -1))
        if self.settings.objective == "ranked":
            total = ranking(matched, mismatched)
        else:
            total = pair_contrast(matched, mismatched, self.settings.margin)
        return {"total": total, self.settings.objective: total}

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the attention, scaled to 0..1 (0 where it is even), which stands for every source."""
        maps = self.attend(self.hear(query.mixture), self.see(query.frames, query.features))
        low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        scaled = ((maps - low) / (high - low).clamp_min(1e-12))[:, None]
        return scaled.expand(-1, query.sources, -1, -1)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sound's query as "audio" and what it attends to as "visual", [batch, 1, dim]."""
        heard, seen = self.hear(batch.mixture), self.see(batch.frames, batch.features)
        attended = einsum(self.attend(heard, seen), normalize(seen, dim=1), "b h w, b d h w -> b d")
        return {"audio": normalize(self.query(heard), dim=1)[:, None], "visual": attended[:, None]}

    def stages(self) -> list[Stage]:
        """One stage, on single clips."""
        return [Stage("train", self.settings.epochs, (Recipe(),))]


def ranking(matched: Float[Tensor, " pairs"], mismatched: Float[Tensor, " pairs"]) -> Float[Tensor, ""]:
    """Return the mean squared share that the matching distance has in a softmax over both; squared distances go in."""
    near, far = (matched + FLOOR).sqrt(), (mismatched + FLOOR).sqrt()
    return torch.sigmoid(near - far).square().mean()
