"""HardPos: clips of the same kind are positives too (Senocak et al., WACV 2022). Our reading of the abstract.

Contrastive learning calls every other clip of the batch a mismatch, also one that shows and plays the same thing. Here
a network trained beforehand finds, for each picture, the clip that looks most like it and, for each sound, the clip
that sounds most like it; the scores with these neighbours join the clip's own score as positives, and the neighbour's
sound is no longer a negative. All else is LVS.

No code was released and no more than the abstract and the introduction could be read, so the objective is **our
reading**: the four pairs of (own picture, neighbour's picture) and (own sound, neighbour's sound) are averaged, and the
tri-map, its constants and the negatives are LVS's, whose class the same authors' later program loads this model into.
The network trained beforehand is LVS itself, the first stage. The authors are said to draw one of about 1000 neighbours
among 144,000 clips; here neighbours are found in the batch, where one of the same class is nearly always present
(95 % of batches of 32 clips of 11 classes). What is called a neighbour never depends on a label.
"""

import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from avnb.config import setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows
from avnb.models.base import Examples, Stage
from avnb.models.baselines.lvs import LVS, LVSSettings, contrast
from avnb.networks.losses import all_cosines, pair_cosines


@dataclass(frozen=True)
class HardPosSettings(LVSSettings):
    """HardPos's settings, by our reading; 0: the preset's."""

    METHOD: ClassVar[str] = "hard_pos"
    PRESETS: ClassVar = {
        name: {**preset, "epochs": preset["epochs"] // 2, "positive_epochs": preset["epochs"] // 2}
        for name, preset in LVSSettings.PRESETS.items()
    }

    epochs: int = setting(0, low=0, high=100_000, doc="of LVS, which finds the neighbours; 0: the preset's")
    positive_epochs: int = setting(0, low=0, high=100_000, doc="with neighbours as positives; 0: the preset's")


class HardPos(LVS):
    """LVS whose positives are four.

    ``teacher`` is the network as stage one left it; its features say which clips are neighbours.
    """

    SETTINGS: ClassVar = HardPosSettings
    KEEPS: ClassVar = "last"
    PARTS: ClassVar = ("trunk", "last_stage", "listen")

    def __init__(self, settings: HardPosSettings, classes: int) -> None:
        super().__init__(settings, classes)
        trained = self.PARTS[self.trunk.frozen :]  # the trunk is the first
        self.teacher = nn.ModuleDict({name: copy.deepcopy(getattr(self, name)) for name in trained})
        self.teacher.requires_grad_(False)
        self.taught = False
        self.register_buffer("has_teacher", torch.tensor(False))  # what a run keeps of `taught`

    def train(self, mode: bool = True) -> "HardPos":
        """Train the network; its teacher stays as it is."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """LVS's contrast; in the second stage each positive is the mean of four pairs."""
        if not self.taught:
            return super().loss(batch)
        audio, visual = all_rows(*self(batch.frames, batch.mixture, batch.features))
        looks, sounds = self.neighbours(batch)
        sounding, easy, background = self.scores(all_cosines(audio, visual))
        same = one_hot(sounds, len(sounds)).bool()
        matched = positives(sounding, looks, sounds)
        total = contrast(matched, easy, background, self.settings.temperature, left_out=same)
        return {"total": total, "contrast": total}

    @torch.no_grad()
    def neighbours(self, batch: Batch) -> tuple[Int[Tensor, " clips"], Int[Tensor, " clips"]]:
        """Return which other clip of the whole batch looks, and which sounds, most like each, to the teacher."""
        maps = batch.features
        if maps is None:
            maps = getattr(self.teacher, "trunk", self.trunk)(batch.frames)
        looks = self.teacher.last_stage(maps).mean(dim=(2, 3))
        looks, sounds = all_rows(looks, self.teacher.listen(self.spectrogram(batch.mixture)))
        return nearest(looks), nearest(sounds)

    def stages(self) -> list[Stage]:
        """LVS, then the same with neighbours."""
        settings, solos = self.settings, (Recipe(),)
        return [
            Stage("lvs", settings.epochs, solos),
            Stage("hard positives", settings.positive_epochs, solos, self.begin_positives),
        ]

    @torch.no_grad()
    def begin_positives(self, batches: Examples) -> None:
        """Make the network, as it is, the teacher."""
        for name, part in self.teacher.items():
            part.load_state_dict(getattr(self, name).state_dict())
        self.taught = True
        self.has_teacher.fill_(True)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        if f"{prefix}has_teacher" in state_dict:
            self.taught = bool(state_dict[f"{prefix}has_teacher"])
        super()._load_from_state_dict(state_dict, prefix, *others)


def nearest(vectors: Float[Tensor, "clips dim"]) -> Int[Tensor, " clips"]:
    """Return which other vector has the largest cosine with each; a clip that is alone is its own neighbour.

    >>> nearest(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]]))
    tensor([2, 2, 1])
    """
    return pair_cosines(vectors, vectors).fill_diagonal_(-2.0).argmax(dim=1)


def positives(
    scores: Float[Tensor, "pictures sounds"], looks: Int[Tensor, " clips"], sounds: Int[Tensor, " clips"]
) -> Float[Tensor, " clips"]:
    """Return the mean score of own and neighbouring picture with own and neighbouring sound."""
    own = torch.arange(len(scores), device=scores.device)
    return (scores[own, own] + scores[own, sounds] + scores[looks, own] + scores[looks, sounds]) / 4
