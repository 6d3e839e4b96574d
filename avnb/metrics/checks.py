"""What every metric asks of its arguments before it counts: numbers of the right shape and range, or a sentence.

What is not checked becomes a number that looks like a result: maps and truths of different sizes are compared pixel
by pixel in the memory beside them, a truth of 0 and 255 weighs 255 times as much as it should, and a map of NaN is an
empty region.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from avnb.errors import DataError

_NAMES = {1: "[images]", 2: "[images, sources]", 3: "[maps, height, width]", 4: "[images, sources, height, width]"}


def check_maps(maps: Any, dimensions: int, what: str = "maps") -> None:
    """Raise DataError unless ``maps`` is a tensor of so many dimensions without NaN."""
    _check_tensor(maps, dimensions, what)
    flat = maps.detach().flatten(1) if maps.numel() else maps.detach().reshape(len(maps), 0)
    broken = flat.sum(1).isnan() & flat.isnan().any(1) if flat.is_floating_point() else torch.zeros(0)
    if broken.any():
        raise DataError(
            f"Map {int(broken.int().argmax())} of {len(maps)} holds a NaN and ranks nothing ({int(broken.sum())} such "
            "maps): the model that made it has diverged, or its input held a NaN."
        )


def check_numbers(maps: Tensor) -> None:
    """Raise DataError where a map holds a NaN: a region cut from it would be empty, which is no answer."""
    check_maps(maps.reshape(-1, *maps.shape[-2:]), 3)


def check_truth(truth: Any, shape: Sequence[int], what: str = "truth") -> None:
    """Raise DataError unless the truth has the maps' ``shape`` and lies in 0..1."""
    _check_tensor(truth, len(shape), what)
    if tuple(truth.shape) != tuple(shape):
        raise DataError(
            f"The {what} has shape {_shape(truth.shape)}, the maps {_shape(shape)}: they must be the same "
            "(avnb.metrics.localization.upsample enlarges maps to the truth's size)."
        )
    _check_range(truth, what, "Divide a mask of 0 and 255 by 255, or compare it with 0.")


def check_region(region: Any, dimensions: int) -> None:
    """Raise DataError unless ``region`` is a boolean tensor: a map must be cut by a threshold rule first."""
    _check_tensor(region, dimensions, "region")
    if region.dtype != torch.bool:
        raise DataError(f"A region is True or False, not {region.dtype}: cut maps by a threshold rule first.")


def check_values(values: Any, dimensions: int, what: str, low: float = 0.0, high: float = 1.0) -> None:
    """Raise DataError unless ``values`` (IoUs, say) is a tensor of so many dimensions in a range; NaN may be there."""
    _check_tensor(values, dimensions, what)
    known = values[~values.isnan()] if values.is_floating_point() else values
    if known.numel() and not (low - 1e-6 <= float(known.min()) and float(known.max()) <= high + 1e-6):
        raise DataError(
            f"The {what} are from {float(known.min()):g} to {float(known.max()):g}; they must be in {low:g}..{high:g} "
            "(divide percentages by 100)."
        )


def check_alike(what: str, *values: Any) -> None:
    """Raise DataError unless all are as long as the first."""
    lengths = [len(value) for value in values]
    if len(set(lengths)) > 1:
        raise DataError(f"The {what} belong together, but there are {', '.join(map(str, lengths))} of them.")


def _check_tensor(value: Any, dimensions: int, what: str) -> None:
    if not isinstance(value, Tensor) or value.is_complex():
        raise DataError(f"The {what} must be a tensor of numbers, not {getattr(value, 'dtype', type(value).__name__)}.")
    if value.ndim != dimensions:
        wanted = _NAMES[dimensions]
        raise DataError(f"The {what} must be {wanted}, {dimensions} dimensions, and have shape {_shape(value.shape)}.")


def _check_range(value: Tensor, what: str, advice: str) -> None:
    if not value.numel() or value.dtype == torch.bool:
        return
    low, high = (float(edge) for edge in value.detach().aminmax())
    if not (low >= 0 and high <= 1 + 1e-6):  # NaN is neither
        raise DataError(f"The {what} is from {low:g} to {high:g}; it must be in 0..1. {advice}")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "()"
