"""LVS: what sounds, what does not, and a zone between that is left alone (Chen et al., CVPR 2021).

Picture and sound are compared at every position by their cosine. Positions that match well are the picture's sounding
part, positions that match badly are its background, and those between are in neither, so that no border need be known
(the tri-map, eqs. 3-5). A picture's sounding part is to match its sound better than it matches the sounds of the batch
and better than its own background does: the background is the hard negative that earlier methods lack.

It makes one map of a picture and a sound and is told nothing.

Where the two borders lie decides what is learnt. The paper's, cosines of 0.65 and 0.4, are for ResNet-18's features. On
the quick preset's, which are less alike, 93 of 100 positions end below them, the instrument's among them, and the map
shrinks to a spot (AP on the stand-in's validation split 62, less than the centre square's); its own are 0.3 and 0.2.

The released network weighs easy negatives as it does the sounding part (``easy`` "weighted"). The paper averages them
over the whole picture ("mean"), which leaves a way out: one position of every picture that matches any sound beats all
means, and nothing need be heard (on the stand-in the loss is 0.02 in the second epoch, and after the third the solo AP
is 22.0, the centre's 23.6). Asked, the author allows both; the default is the released network's.

The loss and its temperature of 0.07 are in no released file: they are those of a fork that trains. The released network
masks a clip's own column by multiplying its cosine by -99, which works while no cosine is negative; here the column is
the positive itself. The released file starts from random weights, papers that cite it say ImageNet's; it hears 10 s,
here 3 s at 11,025 Hz; it takes the half of the pixels above the median as the region (``top_half``).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows, in_full_precision
from avnb.models.base import QUICK, Method, Query, Stage
from avnb.networks.losses import all_cosines, own_cosines, tri_map_scores
from avnb.networks.nonnegative import nonnegative_pair
from avnb.networks.shapes import Features, Frames, Sound
from avnb.networks.spectrograms import LinearLogSpectrogram


@dataclass(frozen=True)
class LVSSettings(Settings):
    """LVS's settings; the defaults are the paper's, 0 the preset's."""

    METHOD: ClassVar[str] = "lvs"
    PRESETS: ClassVar = {
        "quick": {"epochs": 4, **QUICK, "above": 0.3, "below": 0.2},
        "paper": {
            "epochs": 100,
            "batch_size": 128,
            "learning_rate": 1e-4,
            "weight_decay": 1e-4,
            "schedule": "constant",
            "above": 0.65,
            "below": 0.4,
        },
    }

    above: float = setting(-1.0, low=0.0, high=1.0, doc="a cosine above it sounds (eq. 3); -1: the preset's")
    below: float = setting(-1.0, low=0.0, high=1.0, doc="a cosine below it is background (eq. 4); -1: the preset's")
    softness: float = setting(0.03, low=1e-4, high=10.0, doc="tau, the width of the two borders")
    temperature: float = setting(0.07, low=1e-4, high=10.0, doc="of the contrast; the paper names none")
    easy: str = setting(
        "weighted",
        among=("weighted", "mean"),
        doc="scores with other sounds, as released; the paper: over all positions",
    )
    pretrained: bool = setting(
        True, doc="ImageNet weights for the paper preset's ResNet-18; the released code has none"
    )


class LVS(Method):
    """Localizing visual sounds the hard way."""

    SETTINGS: ClassVar[type[Settings]] = LVSSettings
    CLASSES: ClassVar = ("none",)
    TAKES_SCENES: ClassVar = True
    MAP_RANGE: ClassVar = (0.0, 1.0)

    def __init__(self, settings: LVSSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.trunk, self.last_stage, self.listen, self.spectrogram = nonnegative_pair(
            settings.preset, settings.pretrained, LinearLogSpectrogram(11_025)
        )

    def forward(
        self, frames: Frames, mixture: Sound, features: Features | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim rows columns"]]:
        """Return the sound's vector and the vector of each of the picture's positions, never negative."""
        maps = self.trunk_maps(frames, features)
        return self.listen(self.spectrogram(mixture)), self.last_stage(maps)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 5's contrast of each picture's sounding part with other sounds and with its own background."""
        audio, visual = all_rows(*self(batch.frames, batch.mixture, batch.features))
        sounding, easy, background = self.scores(all_cosines(audio, visual))
        total = contrast(sounding.diagonal(), easy, background, self.settings.temperature)
        return {"total": total, "contrast": total}

    def scores(
        self, similarity: Float[Tensor, "sounds pictures rows columns"]
    ) -> tuple[Float[Tensor, "pictures sounds"], Float[Tensor, "pictures sounds"], Float[Tensor, " pictures"]]:
        """Return how well each picture's sounding part matches each sound, how well it does as an easy negative, and
        how well its background matches its own sound."""
        settings, similarity = self.settings, rearrange(similarity, "j i h w -> i j (h w)")
        sounding, silent = tri_map_scores(similarity, settings.above, settings.below, settings.softness)
        easy = similarity.mean(dim=2) if settings.easy == "mean" else sounding
        return sounding, easy, silent.diagonal()

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the cosine map, in 0..1, which stands for every source: the method makes one of a mixture."""
        audio, visual = self(query.frames, query.mixture, query.features)
        return own_cosines(audio, visual)[:, None].expand(-1, query.sources, -1, -1)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the "audio" vector and the "visual" one, the mean of what sounds, [batch, 1, dim]."""
        audio, visual = self(batch.frames, batch.mixture, batch.features)
        similarity = own_cosines(audio, visual)[:, None]
        sounding = torch.sigmoid((similarity - self.settings.above) / self.settings.softness)
        seen = (sounding * normalize(visual, dim=1)).sum(dim=(2, 3)) / sounding.sum(dim=(2, 3)).clamp_min(1e-12)
        return {"audio": audio[:, None], "visual": seen[:, None]}

    def stages(self) -> list[Stage]:
        """One stage, on single clips."""
        return [Stage("train", self.settings.epochs, (Recipe(),))]


@in_full_precision
def contrast(
    matched: Float[Tensor, " pictures"],
    easy: Float[Tensor, "pictures sounds"],
    background: Float[Tensor, " pictures"],
    temperature: float,
    left_out: Bool[Tensor, "pictures sounds"] | None = None,
) -> Float[Tensor, ""]:
    """Return LVS's loss: how surely each picture's score with its own sound, ``matched``, beats all others.

    The others are ``easy`` off the diagonal, but for those ``left_out``, and the picture's own ``background``.
    """
    own = torch.eye(len(easy), dtype=torch.bool, device=easy.device)
    logits = torch.where(own, matched[:, None], easy)
    if left_out is not None:
        logits = logits.masked_fill(left_out & ~own, -torch.inf)
    logits = torch.cat([logits, background[:, None]], dim=1) / temperature
    return cross_entropy(logits, torch.arange(len(easy), device=easy.device))
