"""EZ-VSL: a sound belongs to the best-matching position of its own picture (Mo and Morgado, ECCV 2022).

https://arxiv.org/abs/2203.09324

Sound and picture are projected into one space (eq. 1). A picture is a bag of positions of which at least one shows the
source, so the sound is compared with the best position of its own picture and of every other (eqs. 2-5); no region is
ever called sounding or silent. To locate (eq. 6), the cosine at each position is shown, and joined with a prior that
hears nothing: where an ImageNet network, never trained further, sees an object at all (eqs. 7-9).

The method makes one map of a picture and a sound. It cannot be asked for one source of a mixture.

The paper leaves open, and the released code settles, the temperature (0.03) and how the sound network pools over time
(a maximum). The released code lacks the prior of eq. 7, scales maps to 0..1 after they are enlarged to the frame, not
before, and keeps the epoch that does best on the test clips.
"""

import copy
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.data.store import Store
from avnb.devices import all_rows, in_full_precision
from avnb.errors import SettingsError
from avnb.models.base import QUICK, Method, Query, Stage
from avnb.networks.encoders import FrozenLite, LiteObjects, ResNetObjects
from avnb.networks.losses import all_cosines, cosine_maps, pair_cosines
from avnb.networks.presets import EARS, eyes_and_ears, projection
from avnb.networks.shapes import Features, Frames, Sound
from avnb.networks.spectrograms import LinearLogSpectrogram


@dataclass(frozen=True)
class EZVSLSettings(Settings):
    """EZ-VSL's settings; the defaults are the paper's, 0 the preset's. Introduced in notebooks/02_ez_vsl.ipynb."""

    METHOD: ClassVar[str] = "ez_vsl"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 10, **QUICK,
            "dim": 128, "temperature": 0.15,
        },
        "paper": {
            "epochs": 100, "batch_size": 128, "learning_rate": 1e-4, "weight_decay": 0.0, "schedule": "constant",
            "dim": 512, "temperature": 0.03,
        },
    }  # fmt: skip

    dim: int = setting(0, low=0, high=8192, doc="width of the shared space (Fig. 4); 0: the preset's")
    temperature: float = setting(0.0, low=0.0, high=10.0, doc="tau of eqs. 3 and 4; 0: the preset's")
    matching: str = setting(
        "max", among=("max", "mean", "max_pooled"), doc="how a sound is matched with a picture's positions (Table 6)"
    )
    alpha: float = setting(0.4, low=0.0, high=1.0, doc="eq. 9: 1 is the audio-visual map alone, 0 the object prior")
    object_prior: str = setting(
        "activation", among=("activation", "class_posterior"), doc="eq. 8, the paper's default, or eq. 7"
    )
    heard: int = setting(0, low=0, doc="open set (Table 3): train on so many classes, drawn by the seed; 0: on all")
    sweep: str = setting(
        "none", among=("none", "alpha", "dim", "matching", "all"), doc="trains the variants of Fig. 3, Fig. 4, Table 6"
    )
    pretrained: bool = setting(
        True, doc="ImageNet weights for the paper preset's ResNet-18; false: the prior is EfficientNet-Lite0's"
    )
    audio_encoder: str = setting("slim", among=EARS, doc='of the quick preset; others than "slim" are frozen')


class EZVSL(Method):
    """Multiple-instance contrast and object-guided localization. Introduced in notebooks/02_ez_vsl.ipynb."""

    SETTINGS = EZVSLSettings
    CLASSES = ("none",)
    TAKES_SCENES = True
    ABLATIONS: ClassVar = {
        "fig4": {f"dim {dim}": {"dim": dim} for dim in (32, 64, 128, 256, 512, 1024, 2048, 4096)},
        "table5": {  # what is shown, and not what is trained: `showing` does the same to a trained network
            "AVL": {"alpha": 1.0},
            "L1-OGL": {"alpha": 0.0},
            "CLS-OGL": {"alpha": 0.0, "object_prior": "class_posterior"},
            "AVL and CLS-OGL": {"object_prior": "class_posterior"},
            "AVL and L1-OGL": {},
        },
        "table6": {
            "similarity of the maximum": {"matching": "max_pooled", "alpha": 1.0},
            "mean of the similarities": {"matching": "mean", "alpha": 1.0},
            "maximum of the similarities": {"alpha": 1.0},
        },
    }

    def __init__(self, settings: Settings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.trunk, self.listen, self.spectrogram = eyes_and_ears(
            settings.preset,
            settings.pretrained,
            LinearLogSpectrogram(11_025),
            audio_encoder=getattr(settings, "audio_encoder", "slim"),  # those that are built on this one have no other
        )
        self.project_visual = projection(self.trunk, settings.dim)  # U_v, b_v
        if settings.preset == "quick":
            self.objects = LiteObjects()  # f_obj, from the trunk's maps on
        else:
            self.objects = ResNetObjects() if settings.pretrained else nn.Sequential(FrozenLite(), LiteObjects())
        self.project_audio = nn.Linear(self.listen.channels, settings.dim)  # U_a, b_a

    def forward(
        self, frames: Frames, mixture: Sound, features: Features | None = None
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim rows columns"]]:
        """Return the projected sound and the projected positions of the picture (eq. 1)."""
        maps = self.trunk_maps(frames, features)
        return self.project_audio(self.listen(self.spectrogram(mixture))), self.project_visual(maps)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 5: "audio_to_visual" (eq. 3) plus "visual_to_audio" (eq. 4)."""
        audio, visual = all_rows(*self(batch.frames, batch.mixture, batch.features))
        score = matching_scores(audio, visual, self.settings.matching) / self.settings.temperature
        own = torch.arange(len(score), device=score.device)
        terms = {"audio_to_visual": cross_entropy(score, own), "visual_to_audio": cross_entropy(score.T, own)}
        return {"total": sum(terms.values()), **terms}

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the map of eq. 9, in 0..1, which stands for every source: the method makes one of a mixture."""
        audio, visual = self(query.frames, query.mixture, query.features)
        heard = cosine_maps(audio[:, None], visual[:, None])  # eq. 6
        seen = torch.zeros_like(heard)
        if self.settings.alpha < 1:
            seen = self.object_maps(query.frames, query.features, heard.shape[-2:])[self.settings.object_prior][:, None]
        return fuse(heard, seen, self.settings.alpha).expand(-1, query.sources, -1, -1)

    def object_maps(
        self, frames: Frames, features: Features | None, size: tuple[int, int]
    ) -> dict[str, Float[Tensor, "batch rows columns"]]:
        """Return both object priors, enlarged to ``size``: "activation" (eq. 8) and "class_posterior" (eq. 7)."""
        seen = frames
        if self.settings.preset == "quick":
            seen = self.trunk_maps(frames, features)
        v, logits = self.objects(seen)
        priors = {"activation": activation(v), "class_posterior": logits.softmax(dim=1).amax(dim=1)}
        return {
            name: interpolate(prior[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
            for name, prior in priors.items()
        }

    def showing(self, alpha: float, object_prior: str = "activation") -> "EZVSL":
        """Return the same network, with the same weights, whose localize() joins its maps in another way."""
        shown = copy.copy(self)
        shown.settings = replace(self.settings, alpha=alpha, object_prior=object_prior)
        return shown

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the "audio" vector and the mean of the "visual" ones, [batch, 1, dim]."""
        audio, visual = self(batch.frames, batch.mixture, batch.features)
        return {"audio": audio[:, None], "visual": visual.mean(dim=(2, 3))[:, None]}

    def lessons(self, store: Store) -> Store:
        """Return the store without the clips of an unheard class; raise what `draw_heard` raises."""
        wanted = getattr(self.settings, "heard", 0)  # those that are built on this one hear all
        heard = draw_heard(len(store.classes), wanted, self.settings.seed)
        return store.part(~store.labels[:, ~heard].any(axis=1))

    def stages(self) -> list[Stage]:
        """One stage, on single clips."""
        return [Stage("train", self.settings.epochs, (Recipe(),))]


@in_full_precision
def matching_scores(
    audio: Float[Tensor, "sounds dim"], visual: Float[Tensor, "pictures dim rows columns"], matching: str = "max"
) -> Float[Tensor, "sounds pictures"]:
    """Return how well each sound matches each picture, in -1..1: Table 6's strategies.

    "max" is the cosine at the picture's best position (eqs. 3 and 4), "mean" that of all positions on average,
    "max_pooled" the cosine with the maximum of the positions' vectors, which lies at no position.
    """
    if matching == "max_pooled":
        return pair_cosines(audio, visual.amax(dim=(2, 3)))
    similarity = all_cosines(audio, visual)
    return similarity.amax(dim=(2, 3)) if matching == "max" else similarity.mean(dim=(2, 3))


def activation(v: Float[Tensor, "batch dim rows columns"]) -> Float[Tensor, "batch rows columns"]:
    """Return eq. 8's object prior: how active the positions of an ImageNet network's last map are."""
    return v.abs().sum(dim=1)


def fuse(
    heard: Float[Tensor, "*batch rows columns"], seen: Float[Tensor, "*batch rows columns"], alpha: float
) -> Float[Tensor, "*batch rows columns"]:
    """Return ``alpha`` times what was heard plus the rest of what was seen, each scaled to 0..1 first: eq. 9.

    A constant map becomes 0 everywhere. Introduced in notebooks/02_ez_vsl.ipynb.

    >>> fuse(torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 1.0]]), alpha=0.4)
    tensor([[0.6000, 0.4000]])
    """
    return alpha * _unit_range(heard) + (1 - alpha) * _unit_range(seen)


def draw_heard(classes: int, heard: int, seed: int) -> Bool[np.ndarray, " classes"]:
    """Return which classes an open-set run is trained on (section 4.3), ``heard`` of them drawn by the seed; 0: all.

    Raises SettingsError where no class is left unheard. Introduced in notebooks/02_ez_vsl.ipynb.
    """
    if heard >= classes:
        raise SettingsError(f"heard = {heard} leaves none of the {classes} classes unheard; 0 trains on all.")
    chosen = np.random.default_rng(seed).permutation(classes)[: heard or classes]
    return np.isin(np.arange(classes), chosen)


def _unit_range(maps: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch rows columns"]:
    low, high = maps.amin(dim=(-2, -1), keepdim=True), maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
