"""A method of other people's code, asked and judged as this project's are: `Outside` wraps the one call it takes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from avnb.config import Settings
from avnb.devices import pick_device
from avnb.errors import DataError, SettingsError
from avnb.models.base import Method, Query

WAYS = ("oracle", "best_pairing", "none")
Localize = Callable[
    [UInt8[Tensor, "batch 3 height width"], Float[Tensor, "batch time"], Int[Tensor, "batch sources"]], Any
]


class Outside(Method):
    """A function ``localize(frames, mixture, classes)`` as a method that is never trained here.

    It is given RGB frames in 0..255, waveforms in -1..1 at the store's rate and the sources' classes (numbers in
    ``store.classes``), and returns maps [batch, sources, h, w], or [batch, h, w] for one map whatever sounds, as a
    tensor or an array. ``classes`` says how it is judged: "oracle" where it uses the classes it is told,
    "best_pairing" where its maps have no names, "none" where it has one map. ``map_range`` are the lowest and highest
    values of its maps, where these say how sure it is. evaluate() takes it, and judge() keeps its maps in a run that
    scrub() shows beside others::

        rows, maps = evaluate(Outside(their_function, "theirs"), store, trial)
        judge(Outside(their_function, "theirs"), store, Run(outputs_dir() / "theirs" / store.name / "run"), trials)

    Raises SettingsError for another way of asking, and DataError, when asked, for maps that are none.
    """

    def __init__(
        self,
        localize: Localize,
        name: str = "outside",
        classes: str = "best_pairing",
        device: str = "cpu",
        map_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        if classes not in WAYS:
            raise SettingsError(f'classes = "{classes}": a function from outside is judged as {", ".join(WAYS)}.')
        # A run's rows are named by their settings' METHOD, and a function has none of its own.
        kind = type("OutsideSettings", (Settings,), {"METHOD": name, "TRAINED": "elsewhere"})
        self.settings = kind(device=pick_device(device))
        self.function, self.CLASSES, self.MAP_RANGE = localize, (classes,), map_range
        self.trunk = _NoTrunk()

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the function's maps, a map of one source repeated for all; raise DataError where they are none."""
        classes = query.classes
        if classes is None:
            classes = torch.zeros(len(query.frames), 1, dtype=torch.int64, device=query.frames.device)
        answer = self.function(query.frames, query.mixture, classes)
        maps = answer if isinstance(answer, Tensor) else torch.from_numpy(np.asarray(answer))
        maps = maps.to(query.frames.device).float()
        if maps.dim() == 3:
            maps = maps[:, None].expand(-1, query.sources, -1, -1)
        wanted = len(query.frames), query.sources
        if maps.dim() != 4 or tuple(maps.shape[:2]) != wanted:
            raise DataError(
                f"{self.settings.METHOD} returned maps of shape {tuple(maps.shape)} for {wanted[0]} frames and "
                f"{wanted[1]} sources; they must be {wanted[0]} x {wanted[1]} x height x width."
            )
        if broken := int((~maps.isfinite()).sum()):
            raise DataError(f"{self.settings.METHOD} returned maps with {broken:,} values that are NaN or infinite.")
        return maps


class _NoTrunk(nn.Module):
    """What stands for the network that looks: nothing of a function's frames is known beforehand."""

    channels, stride, frozen = 1, 1, False

    def forward(self, frames: UInt8[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 1 1"]:
        return torch.zeros(len(frames), 1, 1, 1, device=frames.device)
