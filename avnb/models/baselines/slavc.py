"""SLAVC: one head tells clips apart, one says where to look, slow copies train both (Mo and Morgado, NeurIPS 2022).

EZ-VSL overfits: it finds the objects it was trained on and calls them sounding whatever is heard. SLAVC changes three
things. Each modality has two heads: at each position the first says which of the batch's sounds fits it, the second
where in the picture each sound fits, and both must agree for a match (the sum over positions of the product of two
softmaxes). The contrast is with copies of the networks that follow slowly (an exponential moving average). And most of
the picture's features are dropped before the heads. The map is the mean of the two heads' cosines, joined with
EZ-VSL's object prior.

It makes one map of a picture and a sound and is told nothing.

The paper's formulas could not be read: what is here is the released code's. Both terms of its loss contrast sounds, the
one a picture with all slow sounds, the other a slow picture with all sounds; ``both_directions`` makes the second term
contrast pictures. Maps are scaled to 0..1 by fixed ranges, so that one that is low everywhere stays low; EZ-VSL
stretches each map. The prior's range is 2.5 a channel for ResNet-18's 512 (``prior_range``); EfficientNet-Lite0's, 1 a
channel for 1280, is the same. The result is the last epoch: choosing one by the test clips is what the paper warns of.
"""

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from avnb.config import Settings, setting
from avnb.data.clips import Batch
from avnb.devices import all_rows, dropped
from avnb.models.base import QUICK, Query
from avnb.models.ez_vsl import EZVSL
from avnb.networks.losses import all_cosines, own_cosines
from avnb.networks.presets import projection
from avnb.networks.shapes import Features, Frames, Sound

Heads = tuple[Tensor, Tensor]  # the vectors of the first and of the second head


@dataclass(frozen=True)
class SLAVCSettings(Settings):
    """SLAVC's settings; the defaults are the released code's, 0 the preset's."""

    METHOD: ClassVar[str] = "slavc"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 6, **QUICK,
            "dim": 128, "temperature": 0.15, "dropout": 0.5, "momentum": 0.97,
        },
        "paper": {
            "epochs": 20, "batch_size": 128, "learning_rate": 1e-4, "weight_decay": 0.0, "schedule": "constant",
            "dim": 512, "temperature": 0.03, "dropout": 0.9, "momentum": 0.999,
        },
    }  # fmt: skip

    dim: int = setting(0, low=0, high=8192, doc="width of the two shared spaces; 0: the preset's")
    temperature: float = setting(0.0, low=0.0, high=10.0, doc="tau of all four softmaxes; 0: the preset's")
    dropout: float = setting(-1.0, low=0.0, high=0.99, doc="share of the picture's features dropped; -1: the preset's")
    momentum: float = setting(-1.0, low=0.0, high=1.0, doc="of the slow networks, a step; -1: the preset's")
    both_directions: bool = setting(False, doc="the second term contrasts pictures; the released code: sounds again")
    alpha: float = setting(0.9, low=0.0, high=1.0, doc="1 is the audio-visual map alone, 0 the object prior")
    object_prior: str = setting("activation", among=("activation", "class_posterior"), doc="EZ-VSL's eq. 8 or eq. 7")
    prior_range: float = setting(1280.0, low=1.0, high=1e6, doc="an activation, summed over channels, that counts as 1")
    pretrained: bool = setting(
        True, doc="ImageNet weights for the paper preset's ResNet-18; false: the prior is EfficientNet-Lite0's"
    )


class SLAVC(EZVSL):
    """Two heads and slow copies of the networks.

    ``project_visual`` and ``project_audio`` are the first heads, ``attend_visual`` and ``attend_audio`` the second;
    ``slow`` holds the copies of all that is trained.
    """

    SETTINGS: ClassVar = SLAVCSettings
    KEEPS: ClassVar = "last"
    MAP_RANGE: ClassVar = (0.0, 1.0)
    ABLATIONS: ClassVar = {}
    PARTS: ClassVar = ("trunk", "listen", "project_visual", "project_audio", "attend_visual", "attend_audio")

    def __init__(self, settings: SLAVCSettings, classes: int) -> None:
        super().__init__(settings, classes)
        self.attend_visual = projection(self.trunk, settings.dim)
        self.attend_audio = nn.Linear(self.listen.channels, settings.dim)
        self.drop = nn.Dropout(settings.dropout)
        trained = self.PARTS[self.trunk.frozen :]  # the trunk is the first
        self.slow = nn.ModuleDict({name: copy.deepcopy(getattr(self, name)) for name in trained})
        self.slow.requires_grad_(False)

    def forward(self, frames: Frames, mixture: Sound, features: Features | None = None) -> tuple[Heads, Heads]:
        """Return the unit vectors of sound and picture from both heads."""
        maps = self.trunk_maps(frames, features)
        return self.vectors(self, maps, self.spectrogram(mixture))

    def vectors(
        self,
        parts: nn.Module,
        maps: Float[Tensor, "batch channels rows columns"],
        spectrogram: Float[Tensor, "batch 1 bins time"],
    ) -> tuple[Heads, Heads]:
        """Return what these networks, the trained or the slow ones, make of a picture's features and a spectrogram."""
        seen, heard = dropped(self.drop, maps), parts.listen(spectrogram)
        audio = (parts.project_audio(heard), parts.attend_audio(heard))
        visual = (parts.project_visual(seen), parts.attend_visual(seen))
        return tuple(normalize(head, dim=1) for head in audio), tuple(normalize(head, dim=1) for head in visual)

    @torch.no_grad()
    def slow_vectors(self, batch: Batch) -> tuple[Heads, Heads]:
        """Return the slow networks' vectors of a batch."""
        trunk = getattr(self.slow, "trunk", self.trunk)
        maps = trunk(batch.frames) if batch.features is None else batch.features
        return self.vectors(self.slow, maps, self.spectrogram(batch.mixture))

    @torch.no_grad()
    def follow(self) -> None:
        """Let the slow networks follow by one step."""
        for name, part in self.slow.items():
            for slow, fast in zip(part.parameters(), getattr(self, name).parameters(), strict=True):
                slow.lerp_(fast.to(slow.dtype), 1 - self.settings.momentum)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Contrast "picture_to_slow_sounds" and "slow_picture_to_sounds" (or the sounds to the slow pictures)."""
        if self.training:
            self.follow()
        audio, visual = (all_rows(*heads) for heads in self(batch.frames, batch.mixture, batch.features))
        slow_audio, slow_visual = (all_rows(*heads) for heads in self.slow_vectors(batch))
        tau, both = self.settings.temperature, self.settings.both_directions
        own = torch.arange(len(audio[0]), device=batch.frames.device)
        second = two_head_scores(slow_visual, audio, tau, over="pictures" if both else "sounds")
        terms = {
            "picture_to_slow_sounds": cross_entropy(two_head_scores(visual, slow_audio, tau), own),
            "sound_to_slow_pictures" if both else "slow_picture_to_sounds": cross_entropy(second, own),
        }
        return {"total": sum(terms.values()), **terms}

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the joined map, in 0..1, which stands for every source: the method makes one of a mixture."""
        audio, visual = self(query.frames, query.mixture, query.features)
        cosines = [own_cosines(a, v) for a, v in zip(audio, visual, strict=True)]
        heard = (1 + (cosines[0] + cosines[1])[:, None] / 2) / 2
        joined = self.settings.alpha * heard
        if self.settings.alpha < 1:
            seen = self.object_maps(query.frames, query.features, heard.shape[-2:])[self.settings.object_prior][:, None]
            if self.settings.object_prior == "activation":
                seen = (seen / self.settings.prior_range).clamp(max=1)
            joined = joined + (1 - self.settings.alpha) * seen
        return joined.expand(-1, query.sources, -1, -1)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the first head's "audio" and its "visual", the mean of where the second looks, [batch, 1, dim]."""
        audio, visual = self(batch.frames, batch.mixture, batch.features)
        looks = einsum(visual[1], audio[1], "b d h w, b d -> b h w") / self.settings.temperature
        share = looks.flatten(1).softmax(dim=1).unflatten(1, looks.shape[1:])
        return {"audio": audio[0][:, None], "visual": einsum(visual[0], share, "b d h w, b h w -> b d")[:, None]}


def two_head_scores(
    visual: Heads, audio: Heads, temperature: float, over: str = "sounds"
) -> Float[Tensor, "anchors candidates"]:
    """Return ln sum_x p(x) q(x) for all pairs; p chooses among the candidates, q among the picture's positions.

    The candidates are the batch's sounds for each picture, or with ``over`` "pictures" its pictures for each sound.
    """
    apart, where = (all_cosines(a, v).flatten(2) / temperature for a, v in zip(audio, visual, strict=True))
    chosen = apart.log_softmax(dim=0 if over == "sounds" else 1)  # [sounds, pictures, positions]
    scores = (chosen + where.log_softmax(dim=2)).logsumexp(dim=2)  # p * q underflows at tau 0.03
    return scores.T if over == "sounds" else scores
