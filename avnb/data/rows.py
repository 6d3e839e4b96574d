"""Rows of a store's arrays, on their way to a device: read anew, into buffers that are kept, or from a GPU's memory.

A fresh array of 34 MB costs more to be given out by the system than to be filled; a kept one does not.
"""

import math
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from avnb.data.arrays import announce

GPU_SHARE = 0.55  # of a GPU's free memory that clips may take; the rest is the training's
AT_ONCE = 512  # rows copied to a GPU's memory together


@runtime_checkable
class Rows(Protocol):
    """What rows of an array are taken by: ``name`` says which array it is."""

    def take(self, name: str, array: np.ndarray, index: Int[np.ndarray, "..."]) -> Tensor:
        """Return the rows at ``index``, of any shape."""
        ...


class FreshRows:
    """Rows in memory of their own."""

    def take(self, name: str, array: np.ndarray, index: Int[np.ndarray, "..."]) -> Tensor:
        """Return the rows at ``index``, of any shape."""
        return torch.from_numpy(array[index])


class BufferedRows:
    """Rows in buffers that the next ones overwrite; ``pinned`` memory is what a GPU copies from while it computes."""

    def __init__(self, pinned: bool = False) -> None:
        self.pinned = pinned
        self.buffers: dict[str, Tensor] = {}

    def take(self, name: str, array: np.ndarray, index: Int[np.ndarray, "..."]) -> Tensor:
        """Return the rows at ``index``, of any shape, until the next rows of this name are taken."""
        shape = (*index.shape, *array.shape[1:])
        wanted = math.prod(shape)
        if name not in self.buffers or len(self.buffers[name]) < wanted:
            kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
            self.buffers[name] = torch.empty(wanted, dtype=kind, pin_memory=self.pinned)
        rows = self.buffers[name][:wanted].view(shape)
        np.take(array, index, axis=0, out=rows.numpy(), mode="clip")  # other modes go through a copy
        return rows


class DeviceRows:
    """Rows of the ``wanted`` clips of some arrays, all of them on ``device``, from where they are taken."""

    def __init__(
        self, arrays: Mapping[str, np.ndarray], wanted: Int[np.ndarray, " wanted"], device: torch.device
    ) -> None:
        wanted = np.unique(wanted)
        self.device = device
        self.places = np.zeros(int(wanted[-1]) + 1, np.int64)
        self.places[wanted] = np.arange(len(wanted))
        self.arrays = {name: _copied(array, wanted, device) for name, array in arrays.items()}

    def take(self, name: str, array: np.ndarray, index: Int[np.ndarray, "..."]) -> Tensor:
        """Return the rows at ``index``, of any shape."""
        places = torch.from_numpy(self.places[index]).to(self.device, non_blocking=True)
        return self.arrays[name][places]

    @staticmethod
    def fit(arrays: Mapping[str, np.ndarray], wanted: Int[np.ndarray, " wanted"], device: torch.device) -> bool:
        """Tell whether the rows fit beside a training in the memory of ``device``; only a CUDA GPU's is asked."""
        if device.type != "cuda":
            return False
        size = len(np.unique(wanted)) * sum(array[0].nbytes for array in arrays.values())
        return size <= GPU_SHARE * torch.cuda.mem_get_info(device)[0]


def _copied(array: np.ndarray, wanted: np.ndarray, device: torch.device) -> Tensor:
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    rows = torch.empty((len(wanted), *array.shape[1:]), dtype=kind, device=device)
    for start in range(0, len(wanted), AT_ONCE):
        announce(array, wanted[start + AT_ONCE : start + 2 * AT_ONCE])
        rows[start : start + AT_ONCE] = torch.from_numpy(array[wanted[start : start + AT_ONCE]])
    return rows
