"""CoarsetoFine: name what is seen and heard first, then align class with class (Qian et al., ECCV 2020).

Coarse: two classifiers name the classes of the sound and of the picture, and a small network tells matching pairs from
mismatching ones. Fine: where a class's classifier answers on the map (its class activation map) the features are
averaged to a vector of that class; the vectors of one class in one clip's sound and picture are pulled together, all
others pushed apart. A class is shown where the picture's positions lie near the sound's vector of that class.

**It is told the classes** that sound in every training clip. The paper has pseudo-labels from networks trained on other
data (an audio tagger, an ImageNet classifier); its program's README says to use tags where a data set has them.

What differs from the released program: SGD is AdamW here; its labels of seven kinds are the data set's classes; it
hears 5 s, here 3 s. In its fine stage the same class in another clip is a mismatch, which is kept. It takes the root of
2 - 2 cos, which rounding can make negative; here a floor lies under it. A test map is the mean of the classes heard,
weighted by how surely; asked for a class, it is that class's.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize, relu

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows, in_full_precision, widened
from avnb.models.base import QUICK, Examples, Method, Query, Stage
from avnb.networks.nonnegative import nonnegative_pair
from avnb.networks.shapes import Features, Frames
from avnb.networks.spectrograms import CoarseToFineLogMel

FLOOR = 1e-8  # of a squared distance under a root, whose slope at 0 is infinite


@dataclass(frozen=True)
class CoarseToFineSettings(Settings):
    """CoarsetoFine's settings; the defaults are the released program's, 0 the preset's."""

    METHOD: ClassVar[str] = "coarse_to_fine"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 2, "fine_epochs": 3, **QUICK, "hidden": 256, "dim": 128,
        },
        "paper": {
            "epochs": 20, "fine_epochs": 20, "batch_size": 16, "learning_rate": 1e-4, "weight_decay": 5e-4,
            "schedule": "constant", "hidden": 1024, "dim": 128,
        },
    }  # fmt: skip

    epochs: int = setting(0, low=0, high=100_000, doc="of the coarse stage; 0: the preset's")
    fine_epochs: int = setting(0, low=0, high=100_000, doc="of the fine stage; 0: the preset's")
    sources: int = setting(1, low=1, high=8, doc="sources in a training example")
    hidden: int = setting(0, low=0, high=8192, doc="width between features and shared space; 0: the preset's")
    dim: int = setting(0, low=0, high=8192, doc="width of the shared space; 0: the preset's")
    active: float = setting(0.3, low=0.0, high=1.0, doc="a class counts where both classifiers are surer of it")
    margin: float = setting(1.4, low=0.0, high=2.0, doc="how far mismatching class vectors are pushed apart")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")


class CoarseToFine(Method):
    """Multiple sound sources localization from coarse to fine."""

    SETTINGS: ClassVar = CoarseToFineSettings
    CLASSES: ClassVar = ("oracle", "predicted")
    KEEPS: ClassVar = "last"
    MAP_RANGE: ClassVar = (0.0, 1.0)

    def __init__(self, settings: CoarseToFineSettings, classes: int) -> None:
        super().__init__()
        self.settings, self.classes = settings, classes
        self.trunk, self.last_stage, self.listen, self.spectrogram = nonnegative_pair(
            settings.preset, settings.pretrained, CoarseToFineLogMel(), places=True
        )
        seen, heard = self.last_stage.channels, self.listen.channels
        self.match = nn.Sequential(nn.Linear(heard + seen, 128), nn.ReLU(), nn.Linear(128, 2))
        self.audio_class, self.visual_class = (nn.Linear(width, classes, bias=False) for width in (heard, seen))
        self.project_audio, self.project_visual = (
            nn.Sequential(
                nn.Linear(width, settings.hidden, bias=False),
                nn.ReLU(),
                nn.Linear(settings.hidden, settings.dim, bias=False),
            )
            for width in (heard, seen)
        )
        self.aligning = False
        self.register_buffer("fine", torch.tensor(False))  # what a run keeps of `aligning`

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch rows columns seen"]:
        """Return the features of the picture's positions, never negative."""
        return self.last_stage(self.trunk_maps(frames, features)).movedim(1, -1)

    def hear(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch bins times heard"]:
        """Return the features of the places of the sound's map, never negative."""
        return self.listen(self.spectrogram(mixture)).movedim(1, -1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """ "class_audio", "class_visual" and "match"; in the fine stage "align" too."""
        heard, seen = self.hear(batch.mixture).flatten(1, 2), self.see(batch.frames, batch.features).flatten(1, 2)
        visible = torch.zeros_like(batch.labels).scatter_(1, batch.source_classes, 1.0)
        audio, visual = self.audio_class(heard.mean(dim=1)), self.visual_class(seen.mean(dim=1))
        terms = {
            "class_audio": binary_cross_entropy_with_logits(audio, batch.labels),
            "class_visual": binary_cross_entropy_with_logits(visual, visible),
            "match": matching_loss(self.pairs(*all_rows(heard.mean(dim=1), seen.mean(dim=1)))),
        }
        if self.aligning:
            vectors = self.project_audio(class_vectors(heard, self.audio_class.weight))
            others = self.project_visual(class_vectors(seen, self.visual_class.weight))
            active = (p.sigmoid() > self.settings.active for p in (audio, visual))
            terms["align"] = alignment_loss(*all_rows(vectors, others, *active), margin=self.settings.margin)
        return {"total": sum(terms.values()), **terms}

    def pairs(
        self, heard: Float[Tensor, "batch heard"], seen: Float[Tensor, "batch seen"]
    ) -> Float[Tensor, "sounds pictures 2"]:
        """Return for every sound with every picture the logits of being a mismatch and a match."""
        first, last = self.match[0], self.match[1:]
        # The first layer of [sound; picture] is a sum of one layer of each: no pair need be put together.
        audio, visual = first.weight.split([heard.shape[1], seen.shape[1]], dim=1)
        return last((heard @ audio.T)[:, None] + (seen @ visual.T)[None] + first.bias)

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the map of each asked class, in 0..1; asked for none, one of what is heard, by how surely."""
        heard = self.hear(query.mixture).flatten(1, 2)
        vectors = normalize(self.project_audio(class_vectors(heard, self.audio_class.weight)), dim=2)
        positions = normalize(self.project_visual(self.see(query.frames, query.features)), dim=3)
        if query.classes is not None:
            vectors = vectors.gather(1, query.classes[:, :, None].expand(-1, -1, vectors.shape[2]))
        maps = relu(einsum(vectors, positions, "b n d, b h w d -> b n h w"))
        if query.classes is not None:
            return maps
        sure = torch.sigmoid(self.audio_class(heard.mean(dim=1)))
        sure = sure * ((sure > self.settings.active) | (sure == sure.amax(dim=1, keepdim=True)))
        return einsum(sure / sure.sum(dim=1, keepdim=True), maps, "b n, b n h w -> b h w")[:, None]

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"]:
        """Return how surely each class is heard."""
        return torch.sigmoid(widened(self.audio_class(self.hear(mixture).mean(dim=(1, 2)))))  # as AVGN

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the "audio" and "visual" vectors of the sounding classes, [batch, sources, dim]."""
        heard, seen = self.hear(batch.mixture).flatten(1, 2), self.see(batch.frames, batch.features).flatten(1, 2)
        vectors = {
            "audio": self.project_audio(class_vectors(heard, self.audio_class.weight)),
            "visual": self.project_visual(class_vectors(seen, self.visual_class.weight)),
        }
        wanted = batch.source_classes[:, :, None].expand(-1, -1, self.settings.dim)
        return {name: value.gather(1, wanted) for name, value in vectors.items()}

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Return the means over the whole sound and the whole picture, which know no class."""
        heard, seen = self.hear(batch.mixture), self.see(batch.frames, batch.features)
        return {"audio": heard.mean(dim=(1, 2)), "visual": seen.mean(dim=(1, 2))}

    def stages(self) -> list[Stage]:
        """Coarse, then fine."""
        settings, sources = self.settings, self.settings.sources
        recipes = (Recipe() if sources == 1 else Recipe(sources, "side_by_side"),)
        return [
            Stage("coarse", settings.epochs, recipes),
            Stage("fine", settings.fine_epochs, recipes, self.begin_fine),
        ]

    @torch.no_grad()
    def begin_fine(self, batches: Examples) -> None:
        """Align from here on."""
        self.aligning = True
        self.fine.fill_(True)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        if f"{prefix}fine" in state_dict:
            self.aligning = bool(state_dict[f"{prefix}fine"])
        super()._load_from_state_dict(state_dict, prefix, *others)


def matching_loss(logits: Float[Tensor, "sounds pictures 2"]) -> Float[Tensor, ""]:
    """Return the cross-entropy of matching, on the diagonal, and mismatching pairs, each worth half."""
    size = len(logits)
    own = torch.eye(size, dtype=torch.int64, device=logits.device)
    each = cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none").unflatten(0, own.shape)
    mismatched = (each * (1 - own)).sum() / max(1, size * (size - 1))
    return (each.diagonal().mean() + mismatched) / 2


def class_vectors(
    features: Float[Tensor, "batch positions channels"], weight: Float[Tensor, "classes channels"]
) -> Float[Tensor, "batch classes channels"]:
    """Return the mean of the features where each class's classifier answers: 0 where it does nowhere.

    The class activation maps, its weights, are not trained by it.
    """
    maps = relu(einsum(features, weight, "b p c, k c -> b k p")).detach()
    shares = maps / maps.sum(dim=2, keepdim=True).clamp_min(1e-12)
    return einsum(shares, features, "b k p, b p c -> b k c")


@in_full_precision
def alignment_loss(
    audio: Float[Tensor, "batch classes dim"],
    visual: Float[Tensor, "batch classes dim"],
    audible: Bool[Tensor, "batch classes"],
    visible: Bool[Tensor, "batch classes"],
    margin: float,
) -> Float[Tensor, ""]:
    """Pull a class's sound to the same class of its own picture, and ``margin`` away from everything else.

    Distances are those of unit vectors; only classes that are ``audible`` and ``visible`` count.
    """
    audio, visual = normalize(audio, dim=2).flatten(0, 1), normalize(visual, dim=2).flatten(0, 1)
    squared = 2 - 2 * audio @ visual.T
    counted = audible.flatten()[:, None] & visible.flatten()[None]
    own = torch.eye(len(squared), dtype=torch.bool, device=squared.device)
    hinge = relu(margin - squared.clamp_min(FLOOR).sqrt()).square()
    terms = ((squared, counted & own), (hinge, counted & ~own))
    return sum((value * where).sum() / where.sum().clamp_min(1) for value, where in terms)
