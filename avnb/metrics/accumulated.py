"""Our definitions as classes with torchmetrics' update, compute, reset and forward, to train and test against.

A class keeps sums and nothing else, so that its memory does not grow with the set, and what several processes have
seen is the sum of their states: `synchronize` adds them up, `merge_state` adds another's. torchmetrics is not needed.

>>> metric = LocalizationIoU("min_max(0.5)")
>>> maps = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])  # one picture, one source
>>> metric.update(maps, torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]]))
>>> round(metric.compute()["mean IoU"].item(), 3)
0.667
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from avnb.metrics import protocols
from avnb.metrics.localization import threshold_rule
from avnb.metrics.masks import THRESHOLDS as F_THRESHOLDS
from avnb.metrics.masks import f_curves, mask_iou
from avnb.metrics.negative_audio import lit_share
from avnb.metrics.protocols import FRAME_WISE, SOURCE_WISE, UNION, ranked, source_wise, union

STEPS = 21  # thresholds of an area under a curve, 0, 0.05 ... 1


class Accumulated(nn.Module):
    """A metric whose state is buffers of sums: a subclass names their lengths, adds to them, and divides."""

    STATE: ClassVar[dict[str, int]] = {}
    higher_is_better: ClassVar[bool] = True
    full_state_update: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        for name, length in self.STATE.items():
            self.register_buffer(name, torch.zeros(length, dtype=torch.float64))

    def update(self, *values: Tensor) -> None:
        """Add pictures to the state."""
        raise NotImplementedError

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        """Return the numbers of all that was added, in 0..1; NaN where nothing was."""
        raise NotImplementedError

    def forward(self, *values: Tensor) -> dict[str, Float[Tensor, ""]]:
        """Add pictures, and return the numbers of these alone."""
        before = {name: getattr(self, name).clone() for name in self.STATE}
        self.reset()
        self.update(*values)
        found = self.compute()
        for name, value in before.items():
            getattr(self, name).add_(value)
        return found

    def reset(self) -> None:
        """Forget all pictures."""
        for name in self.STATE:
            getattr(self, name).zero_()

    def merge_state(self, other: "Accumulated") -> None:
        """Add what another metric of the same kind has seen."""
        for name in self.STATE:
            getattr(self, name).add_(getattr(other, name).to(getattr(self, name).device))

    def synchronize(self, group: Any = None) -> "Accumulated":
        """Add up the states of all processes, each of which then has the whole; nothing where there is one."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            for name in self.STATE:
                torch.distributed.all_reduce(getattr(self, name), group=group)
        return self


class LocalizationAP(Accumulated):
    """ "AP" of one source a picture or "CAP", the class mean, of several: `average_precision` of every map."""

    STATE: ClassVar[dict[str, int]] = {"total": 1, "count": 1}

    def update(self, maps: Float[Tensor, "pictures sources H W"], truth: Float[Tensor, "pictures sources H W"]) -> None:
        precision = ranked(maps.flatten(0, 1), truth.flatten(0, 1), [])[0].reshape(maps.shape[:2])
        values = precision.double().nanmean(1)
        self.total += values.nansum()
        self.count += (~values.isnan()).sum()

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        return {"AP": (self.total / self.count)[0]}


class LocalizationIoU(Accumulated):
    """IoU under a threshold rule and a protocol: the success rates, the area under them and the mean.

    ``rule`` is what `threshold_rule` reads, ``tiles`` the frames (rows, columns) of which a picture is joined, for the
    source-wise protocol. Raises SettingsError where there is no such rule or protocol.
    """

    STATE: ClassVar[dict[str, int]] = {"successes": len(protocols.THRESHOLDS), "curve": STEPS, "total": 1, "count": 1}

    def __init__(self, rule: str = "top_half", protocol: str = FRAME_WISE, tiles: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.rule, self.protocol, self.tiles = threshold_rule(rule), protocols.check_protocol(protocol), tiles

    def update(self, maps: Float[Tensor, "pictures sources H W"], truth: Float[Tensor, "pictures sources H W"]) -> None:
        if self.protocol == UNION:
            values = union(maps, truth, self.rule)
        elif self.protocol == SOURCE_WISE:
            values = source_wise(maps, truth, self.rule, self.tiles).flatten()
        else:
            overlap = ranked(maps.flatten(0, 1), truth.flatten(0, 1), [self.rule])[1].reshape(maps.shape[:2])
            values = overlap.double().nanmean(1) if self.protocol == FRAME_WISE else overlap.flatten()
        known = values[~values.isnan()]
        at = torch.tensor(protocols.THRESHOLDS, dtype=known.dtype, device=known.device)
        steps = torch.arange(STEPS, dtype=known.dtype, device=known.device) / (STEPS - 1)
        self.successes += (known >= at[:, None]).sum(1)
        self.curve += (known >= steps[:, None]).sum(1)
        self.total += known.double().sum()
        self.count += len(known)

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        rates = self.successes / self.count
        found = {f"IoU@{at}": rate for at, rate in zip(protocols.THRESHOLDS, rates, strict=True)}
        area = torch.trapezoid(self.curve / self.count, dx=1 / (STEPS - 1))
        return found | {"AUC": area, "mean IoU": (self.total / self.count)[0]}


class LitShare(Accumulated):
    """ "pIA" and "AUC_N" of maps under negative audio, at one threshold for all pictures."""

    STATE: ClassVar[dict[str, int]] = {"curve": STEPS, "total": 1, "count": 1}
    higher_is_better: ClassVar[bool] = False

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def update(self, maps: Float[Tensor, "maps H W"]) -> None:
        shares = lit_share(maps, self.threshold)
        steps = torch.arange(STEPS, dtype=shares.dtype, device=shares.device) / (STEPS - 1)
        self.curve += (shares <= steps[:, None]).sum(1)
        self.total += shares.double().sum()
        self.count += len(shares)

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        area = torch.trapezoid(self.curve / self.count, dx=1 / (STEPS - 1))
        return {"pIA": (self.total / self.count)[0], "AUC_N": area}


class MaskScores(Accumulated):
    """AVSBench's "mIoU" (regions where a score is over 0.5) and "F", over all pictures that were added."""

    STATE: ClassVar[dict[str, int]] = {"total": 1, "count": 1, "curve": F_THRESHOLDS, "seen": 1}

    def update(self, maps: Float[Tensor, "maps H W"], truth: Bool[Tensor, "maps H W"]) -> None:
        overlap, curves = mask_iou(maps > 0.5, truth), f_curves(maps, truth)
        self.total += overlap.double().sum()
        self.count += len(overlap)
        self.curve += curves.nansum(0)
        self.seen += (~curves.isnan().any(1)).sum()

    def compute(self) -> dict[str, Float[Tensor, ""]]:
        return {"mIoU": (self.total / self.count)[0], "F": (self.curve / self.seen).max()}
