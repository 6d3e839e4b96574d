"""The contract of a method: what it is asked, what it answers, what it is built of, and how it is trained.

A new method is a subclass of `Method` with its own settings, `loss`, `localize`, `embed` and `stages`; if it also takes
sounds apart, it is what `Separates` describes. fit(), the evaluation and the notebooks know nothing else of it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from avnb.config import Settings
from avnb.data.clips import Batch, Recipe
from avnb.data.store import Store
from avnb.networks.shapes import Features, Frames, Sound, SourceFeatures, SourceFrames, SourceSounds

Examples = Callable[[], Iterable[tuple[Any, Recipe, Batch]]]  # an epoch's mixtures, recipes and batches
Ablations = Mapping[str, Mapping[str, Mapping[str, Any]]]

# How the quick preset trains most methods, and how the released code trains DSOL and those that its tables rebuilt.
QUICK = {"batch_size": 32, "learning_rate": 2e-3, "weight_decay": 0.01, "schedule": "one_cycle"}
AS_DSOL = {"batch_size": 32, "learning_rate": 1e-4, "weight_decay": 1e-4, "schedule": "constant"}


@dataclass(frozen=True)
class Query:
    """The question to a method: where in these frames is what sounds in this mixture?

    ``frames`` are raw RGB (0..255) of any size, ``mixture`` is at the store's rate. ``classes`` has a column for each
    source that is asked for; a method whose maps have no names reads only how many there are, and None asks for all
    that the method has. ``features`` are the trunk's maps of ``frames``, where they are already known.
    """

    frames: Shaped[Tensor, "batch 3 height width"]
    mixture: Float[Tensor, "batch time"]
    classes: Int[Tensor, "batch sources"] | None = None
    features: Shaped[Tensor, "batch channels rows columns"] | None = None

    @classmethod
    def of(cls, batch: Batch) -> "Query":
        """Return the question for the sources of a batch, their true classes given."""
        return cls(batch.frames, batch.mixture, batch.source_classes, batch.features)

    @property
    def sources(self) -> int:
        """How many maps are asked for: one where no class is named."""
        return 1 if self.classes is None else self.classes.shape[1]


class Trunk(Protocol):
    """The network that looks: frames 0..255 of any size to [batch, channels, height / stride, width / stride].

    A ``frozen`` one is never trained: its maps are cached beside the store and given to the method as ``features``, and
    a run's weights leave it out.
    """

    channels: int
    stride: int
    frozen: bool

    def __call__(self, frames: Frames) -> Float[Tensor, "batch channels rows columns"]: ...


@runtime_checkable
class Separates(Protocol):
    """A method that also takes a mixture apart; asked with ``isinstance(method, Separates)``."""

    @property
    def rate(self) -> int:
        """Hz of the waveforms it returns."""

    @property
    def stft_window(self) -> tuple[int, int]:
        """Samples of a window, and from one to the next, of the STFT that its masks are applied to."""

    def resampled(self, waveforms: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch samples"]:
        """Return the store's waveforms at ``rate``."""

    def separate(self, frames: SourceFrames, mixture: Sound, features: SourceFeatures | None = None) -> SourceSounds:
        """Return what of each mixture, which is at the store's rate, belongs to each of its frames, at ``rate``."""


@dataclass(frozen=True)
class Stage:
    """A part of the training: so many epochs on examples made by ``recipes``, whose batches take turns.

    ``begin`` runs before the first epoch, with a function that yields the mixtures, recipes and batches of an epoch:
    what happens between stages (DSOL's clustering) happens there. It is not called again when a run is resumed inside
    the stage, so what it leaves behind must be buffers of the method. An epoch is judged on ``validation``, and
    ``begin`` is given examples of ``begin_with``; else both have ``recipes``. With ``anew`` the learning rate's
    schedule ends before the stage and begins again with it.
    """

    name: str
    epochs: int
    recipes: tuple[Recipe, ...]
    begin: Callable[[Examples], None] | None = None
    validation: tuple[Recipe, ...] = ()
    begin_with: tuple[Recipe, ...] = ()
    anew: bool = False


class Method(nn.Module):
    """A method of the papers: its networks, its objective and its maps, built from settings and a number of classes.

    - ``SETTINGS`` is its dataclass of settings, whose ``METHOD`` is its name in METHODS.
    - ``CLASSES`` is how it can be asked for its sources: "oracle" and "predicted" where it knows classes,
      "best_pairing" where its maps have no names, "none" where it has one map whatever is asked.
    - ``KEEPS`` is which epoch is the result: the "best" on the validation split, or the "last" where several tasks have
      no score in common.
    - ``MAP_RANGE`` is the lowest and the highest value that its maps can have, where a value says the same in every
      picture, so that it is how sure the method is; None where each map is scaled to itself.
    - ``TAKES_SCENES`` is whether clips of several sounding classes can be all that it learns from: it asks for nothing
      but the frame and the sound of a clip.
    - ``FASTER`` names its attributes that learn at a multiple of the learning rate.
    - ``ABLATIONS`` holds, by table (the name it has in avnb/papers, or "ours") and by row (the words after the
      method's name in that table), the settings in which the row differs from the method's own.
    """

    SETTINGS: ClassVar[type[Settings]] = Settings
    CLASSES: ClassVar[tuple[str, ...]] = ("oracle", "predicted")
    KEEPS: ClassVar[str] = "best"
    MAP_RANGE: ClassVar[tuple[float, float] | None] = None
    TAKES_SCENES: ClassVar[bool] = False
    FASTER: ClassVar[Mapping[str, float]] = {}
    ABLATIONS: ClassVar[Ablations] = {}
    settings: Settings
    trunk: Trunk
    class_names: tuple[str, ...] = ()  # of the clips that it was trained on, in the order of its outputs

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return "total", which is minimised, and each of its terms by the paper's name, as scalars.

        A term whose name ends in "accuracy" is none of the total's but a share in 0..1 that is watched: validation
        reports it in percent. Truth is never read, and labels only where the docstring of the method says so.
        """
        raise NotImplementedError

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return a similarity map per source that is asked for, on the trunk's grid: the higher, the likelier there.

        A method that knows no classes returns as many maps as are asked for.
        """
        raise NotImplementedError

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"] | None:
        """Return the probability that each class sounds; None where the method knows no classes."""
        return None

    def presence(self, batch: Batch) -> dict[str, Float[Tensor, "batch classes"]]:
        """Return how likely each class sounds ("audio", as `recognize` says it) and is seen ("visual"), in 0..1.

        Validation counts those over a half (AVGN, Fig. 5); none where the method names no classes in both.
        """
        return {}

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the features that t-SNE and retrieval look at: "audio" and "visual", [batch, vectors, dim]."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Return the features that embed() makes class-aware, as they were before; none where it leaves them be."""
        return {}

    def learnt(self) -> dict[str, float]:
        """Return the numbers that training leaves and tables print beside what is judged, by their metrics' names."""
        return {}

    def lessons(self, store: Store) -> Store:
        """Return the part of a store whose clips the method learns from: all of them, unless a setting says less."""
        return store

    def stages(self) -> list[Stage]:
        """Return how the method is trained; most have one stage."""
        raise NotImplementedError

    def trunk_maps(
        self, frames: Frames, features: Features | None = None
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Return the trunk's maps of ``frames``: ``features`` where they are already known."""
        return self.trunk(frames) if features is None else features


RATES = ("precision", "recall", "F1")  # of the classes that a method says are there


def is_rate(name: str) -> bool:
    """Tell whether an entry of a run's history is one of `RATES`, "val_audio_recall" for one."""
    return name.rpartition("_")[2] in RATES


def is_accuracy(term: str) -> bool:
    """Tell whether a term of a loss is a share that is watched, and not a part of the total."""
    return term.endswith("accuracy")


class Phased(nn.Module):
    """What a method is whose stages differ in what is done: the phase it is in, kept in a run's weights.

    ``doing`` is the same as a plain number, since to ask a buffer is to wait for the GPU.
    """

    doing: int
    phase: Tensor

    def enter(self, phase: int) -> None:
        """Go on with another phase of the training; also called when the method is built."""
        self.doing = phase
        if "phase" in self._buffers:
            self.phase.fill_(phase)
        else:
            self.register_buffer("phase", torch.tensor(phase))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if f"{prefix}phase" in state_dict:
            self.doing = int(state_dict[f"{prefix}phase"])
