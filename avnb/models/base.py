"""What every method offers: its objective, its maps, its features, and the stages in which it is trained."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from avnb.config import Settings
from avnb.data.clips import Batch, Recipe


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
    begin: Callable[[Callable[[], Iterable[tuple[Any, Recipe, Batch]]]], None] | None = None
    validation: tuple[Recipe, ...] = ()
    begin_with: tuple[Recipe, ...] = ()
    anew: bool = False


class Method(nn.Module):
    """A method of the papers. ``trunk`` is the network that looks at frames; a frozen one's features are cached.

    ``CLASSES`` is how it can be asked for its sources: "oracle" and "predicted" where it knows classes, "best_pairing"
    where its maps have no names, "none" where it has one map whatever is asked. ``FASTER`` names its parts that learn
    at a multiple of the learning rate. ``KEEPS`` is which epoch is the result: the "best" on the validation split, or
    the "last" where several tasks have no score in common.
    """

    SETTINGS: ClassVar[type[Settings]] = Settings
    CLASSES: ClassVar[tuple[str, ...]] = ("oracle", "predicted")
    KEEPS: ClassVar[str] = "best"
    FASTER: ClassVar[Mapping[str, float]] = {}
    settings: Settings
    trunk: nn.Module

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return "total" and each of its terms by the paper's name, as scalars."""
        raise NotImplementedError

    def localize(
        self,
        frames: Shaped[Tensor, "batch 3 height width"],
        mixture: Float[Tensor, "batch time"],
        classes: Int[Tensor, "batch sources"] | None = None,
        features: Float[Tensor, "batch channels rows columns"] | None = None,
    ) -> Float[Tensor, "batch sources rows columns"]:
        """Return a similarity map per source: of the given classes where the method knows classes.

        A method that does not returns as many maps as ``classes`` has columns. ``features`` are the frozen trunk's
        maps of ``frames``, where they are already known.
        """
        raise NotImplementedError

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"] | None:
        """Return the probability that each class sounds; None where the method knows no classes."""
        return None

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the features that t-SNE and retrieval look at."""
        raise NotImplementedError

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Return the features that embed() makes class-aware, as they were before; none where it leaves them be."""
        return {}

    def stages(self) -> list[Stage]:
        """Return how the method is trained; most have one stage."""
        raise NotImplementedError
