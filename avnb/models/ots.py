"""OTS: where a picture and a sound match best, there the sound comes from (Arandjelovic and Zisserman, ECCV 2018).

A sound vector is compared with every position of the picture; a learned scale and a sigmoid make each cosine a
probability, the best position stands for the whole pair, and binary cross-entropy asks whether sound and picture belong
together. There is one map for everything that is heard, so several sources are found but not told apart.

This is OTS as DSOL and Mix-and-Localize rebuilt it for their tables, and the first branch of DSOL (its eq. 1; Table 3
of its appendix); the original had two VGG-like networks. OTS-mix (``sources`` 2) is the same trained on mixtures:
frames side by side, sounds added. Eq. 1 calls every other picture a mismatch (``negatives`` "all"); DSOL's released
code draws one for each sound ("one"), of another video, where two clips of one video may meet in a batch here. In both
readings matches and mismatches weigh the same.

The paper hears 1 s at 16 kHz; here it is the store's clip, brought to 16 kHz.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows
from avnb.errors import SettingsError
from avnb.models.base import AS_DSOL, QUICK, Method, Query, Stage
from avnb.networks.losses import all_cosines, own_cosines
from avnb.networks.nonnegative import last_stage
from avnb.networks.presets import eyes_and_ears
from avnb.networks.shapes import Features, Frames
from avnb.networks.spectrograms import DsolLogMel


@dataclass(frozen=True)
class OTSSettings(Settings):
    """OTS's settings; the defaults are the papers', 0 means the preset's. Introduced in notebooks/05_dsol.ipynb."""

    METHOD: ClassVar[str] = "ots"
    PRESETS: ClassVar = {
        "quick": {"epochs": 8, **QUICK},
        "paper": {"epochs": 15, **AS_DSOL},
    }

    dim: int = setting(128, low=1, high=4096, doc="width of the shared space")
    sources: int = setting(1, low=1, high=8, doc="sources in a training example; 2 is OTS-mix")
    negatives: str = setting("all", among=("all", "one"), doc="mismatched pictures of a sound: the batch's, or one")
    scale: float = setting(5.0, low=0.0, high=100.0, doc="what the learned scale before the sigmoid starts from")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")


class OTS(Method):
    """Objects that Sound, on DSOL's networks. Introduced in notebooks/05_dsol.ipynb."""

    SETTINGS: ClassVar[type[Settings]] = OTSSettings
    CLASSES: ClassVar = ("none",)
    MAP_RANGE: ClassVar = (0.0, 1.0)
    TAKES_SCENES: ClassVar = True

    def __init__(self, settings: Settings, classes: int) -> None:
        super().__init__()
        self.settings, self.classes = settings, classes
        dim = settings.dim
        self.trunk, self.listen, self.spectrogram = eyes_and_ears(
            settings.preset, settings.pretrained, DsolLogMel(), stride=16, sound_stride=16
        )
        self.last_stage = last_stage(self.trunk)
        self.channels = self.last_stage.channels
        # Table 3 of DSOL's appendix; the released code has a ReLU between the two layers.
        self.project_visual = nn.Sequential(nn.Conv2d(self.channels, dim, 1), nn.ReLU(), nn.Conv2d(dim, dim, 1))
        self.project_audio = nn.Sequential(nn.Linear(self.listen.channels, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.scale = nn.Parameter(torch.tensor(settings.scale))

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch seen rows columns"]:
        """Return f(v), the map of the picture before the projection into the shared space."""
        return self.last_stage(self.trunk_maps(frames, features))

    def hear(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch heard"]:
        """Return g(a), the vector of the sound before the projection into the shared space."""
        return self.listen(self.spectrogram(mixture))

    def match(
        self, heard: Float[Tensor, "batch heard"], seen: Float[Tensor, "batch seen rows columns"]
    ) -> Float[Tensor, "batch rows columns"]:
        """Return the logits of l(g(a), f(v)): each sound against its own picture."""
        return self.scale * own_cosines(self.project_audio(heard), self.project_visual(seen))

    def match_all(
        self, heard: Float[Tensor, "batch heard"], seen: Float[Tensor, "batch seen rows columns"]
    ) -> Float[Tensor, "sounds pictures rows columns"]:
        """Return the logits of l(g(a_i), f(v_j)): each sound against every picture of the whole batch."""
        return self.scale * all_cosines(*all_rows(self.project_audio(heard), self.project_visual(seen)))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """DSOL's eq. 1, "loc"."""
        pairs = self.match_all(self.hear(batch.mixture), self.see(batch.frames, batch.features))
        loc = matching_loss(pairs.amax(dim=(2, 3))[..., None], self.settings.negatives)
        return {"total": loc, "loc": loc}

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the sounding area l in 0..1: the same map for every source that is asked for."""
        area = torch.sigmoid(self.match(self.hear(query.mixture), self.see(query.frames, query.features)))
        return area[:, None].expand(-1, query.sources, -1, -1)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return "audio", the mixture's vector, and "visual", the picture's mean one, [batch, 1, dim]."""
        visual = self.project_visual(self.see(batch.frames, batch.features)).mean(dim=(2, 3))
        return {"audio": self.project_audio(self.hear(batch.mixture))[:, None], "visual": visual[:, None]}

    def stages(self) -> list[Stage]:
        """One stage, on solos or, for OTS-mix, on mixtures side by side."""
        sources = self.settings.sources
        recipe = Recipe() if sources == 1 else Recipe(sources, "side_by_side")
        return [Stage("train", self.settings.epochs, (recipe,))]


def matching_loss(logits: Float[Tensor, "sounds pictures parts"], negatives: str = "all") -> Float[Tensor, ""]:
    """Return eq. 1 of DSOL for the best logit of each pair: 1 where sound and picture are of one clip, else 0.

    A picture may be in several parts, each of which is a mismatch by itself (the quadrants of a 2x2 scene); it matches
    where one of them does. ``negatives`` "all" are the batch's other pictures, "one" the next picture of the batch.
    Raises SettingsError for a batch of one clip.
    """
    if len(logits) < 2:
        raise SettingsError("A mismatch takes a second clip: batch_size must be at least 2.")
    matched = logits.amax(dim=2).diagonal()
    mismatched = logits.roll(1, dims=0).diagonal() if negatives == "one" else _off_diagonal(logits)
    return (softplus(-matched).mean() + softplus(mismatched).mean()) / 2  # BCE of a logit for y = 1 and y = 0


def _off_diagonal(pairs: Float[Tensor, "rows rows parts"]) -> Float[Tensor, "others parts"]:
    """Return all but the pairs of a row with itself, row after row.

    A boolean mask would do the same, but its length is a value that a GPU has to be waited for.
    """
    count, _, parts = pairs.shape  # the diagonal's places are count + 1 apart: cut there, every row ends with one
    return pairs.reshape(-1, parts)[1:].view(count - 1, count + 1, parts)[:, :-1].reshape(-1, parts)
