"""The device a run is on, in what precision it counts there, how repeatably, and how processes share a batch.

Several processes train as one: each draws the chance of the whole batch and computes the features of its own rows.
A loss that compares rows takes all of them (`all_rows`), one that does not is the mean of the processes' losses, and
the mean of their gradients is that of the whole batch. Outside `shared_batches` a batch has no other rows.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.distributed as processes
from torch import Tensor, nn

from avnb.errors import SettingsError

P, T = ParamSpec("P"), TypeVar("T")
R = TypeVar("R", np.ndarray, Tensor)

_whole = 0  # mixtures of the batch that processes share; 0 where each has its own


def pick_device(name: str) -> str:
    """Return the device that ``name`` asks for; raise SettingsError where this machine has no such device."""
    gpus = name in ("auto", "cuda") and torch.cuda.is_available()
    if gpus and "LOCAL_RANK" in os.environ:  # under torchrun: a GPU for each process
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    elif name == "auto":
        return "cuda" if gpus else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f'device = "{name}" is no device; use "auto", "cpu", "cuda", "cuda:1" or "mps".') from None
    if device.type == "cpu":
        return "cpu"
    found = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 0)
    if (device.index or 0) >= found:
        have = f"{found} of that kind" if found else "none of that kind"
        raise SettingsError(f'device = "{name}": this machine has {have}; "auto" takes the best there is.')
    return name


def autocast(device: torch.device | str) -> torch.autocast:
    """Return the context in which networks are run: bfloat16 where the hardware is made for it, which is a GPU."""
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda")


def full_precision(device: torch.device | str) -> torch.autocast:
    """Return the context that switches `autocast` off, for what half precision would spoil.

    It converts nothing: what was computed in half precision before is the caller's to convert.
    """
    return torch.autocast(torch.device(device).type, enabled=False)


def widened(tensor: Tensor) -> Tensor:
    """Return a tensor of half precision in float32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def in_full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function of tensors count in float32 at least, whatever autocast says and whatever it is given.

    For the scores of contrastive losses: after a temperature of 0.03, bfloat16's rounding is a tenth in the logits.
    """

    @functools.wraps(function)
    def counted(*args: P.args, **kwargs: P.kwargs) -> T:
        args = tuple(widened(value) if isinstance(value, Tensor) else value for value in args)
        kwargs = {name: widened(value) if isinstance(value, Tensor) else value for name, value in kwargs.items()}
        device = next(value.device for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
        with full_precision(device):
            return function(*args, **kwargs)

    return counted


@contextmanager
def fastest(device: torch.device | str) -> Iterator[None]:
    """Let cuDNN try its kernels on the first batches and keep the fastest, which are not the same in every run."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = torch.device(device).type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def repeatable(device: torch.device | str, on_gpu: bool = False) -> Iterator[None]:
    """Make a CPU's threads add up gradients in a fixed order; else two runs of a seed differ after the first batch.

    A GPU's do so where ``on_gpu``, more slowly; torch raises RuntimeError where it knows no such way.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    if torch.device(device).type == "cpu" or on_gpu:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when a GPU first multiplies matrices
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs time and changes no result
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


# ----------------------------------------------------------------------------------------------------------- processes


def process_count() -> int:
    """Return how many processes train together: 1 where torchrun has not started several."""
    return processes.get_world_size() if processes.is_initialized() else 1


def process_number() -> int:
    """Return which of them this is, the first being 0; only that one writes files."""
    return processes.get_rank() if processes.is_initialized() else 0


def agreed(value: T) -> T:
    """Return what the first process has as ``value``; all processes call it."""
    if process_count() == 1:
        return value
    said = [value]
    processes.broadcast_object_list(said)
    return said[0]


def from_all(values: list[T]) -> list[T]:
    """Return the values of all processes, process after process; all of them call it."""
    if process_count() == 1:
        return values
    found: list[Any] = [None] * process_count()
    processes.all_gather_object(found, values)
    return [value for part in found for value in part]


def sum_of_all(values: Tensor) -> Tensor:
    """Return the sum of the processes' tensors, without gradients; all of them call it."""
    values = values.detach().clone()
    if process_count() > 1:
        processes.all_reduce(values)
    return values


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process do the block alone, and the others after it: what it left on the disk is theirs too."""
    if process_number():
        processes.barrier()
    yield
    if not process_number() and process_count() > 1:
        processes.barrier()


@contextmanager
def shared_batches(size: int) -> Iterator[None]:
    """Say that batches are each process's own part of larger ones, of ``size`` mixtures, as in a training step."""
    global _whole
    _whole = size if process_count() > 1 else 0
    try:
        yield
    finally:
        _whole = 0


def own_rows(rows: R) -> R:
    """Return this process's rows of a whole batch's: one mixture in as many as there are processes.

    In turns, and not block by block, since a method may put a batch's halves together (OneAVM): with a batch of a
    multiple of twice the processes the partner of a row is here too.
    """
    if not _whole:
        return rows
    turns = (-1, process_count(), _of_a_mixture(len(rows)), *rows.shape[1:])
    return rows.reshape(turns)[:, process_number()].reshape(-1, *rows.shape[1:])


def all_rows(*rows: Tensor) -> Any:
    """Return, of each tensor with rows of this process's, all rows of the whole batch, in its order.

    Gradients go back to the process that each row came from: exactly those of the sum of the processes' losses, which
    the mean of the gradients over the processes makes the whole batch's. One tensor is returned as it is, several as a
    tuple. All processes call it.
    """
    found = tuple(_in_order(_Gathered.apply(it)) if _whole else it for it in rows)
    return found if len(found) > 1 else found[0]


def rolled(rows: Tensor, places: int) -> Tensor:
    """Return for each row that which stands so many ``places`` before it in the whole batch, as a circle."""
    return own_rows(all_rows(rows).roll(places, dims=0))


def chance(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """Return what ``draw`` draws for ``rows`` examples: this process's rows of what it draws for the whole batch."""
    return own_rows(draw(rows * process_count())) if _whole else draw(rows)


def dropped(layer: nn.Module, features: Tensor) -> Tensor:
    """Return what a dropout layer leaves of ``features``, by the whole batch's chance."""
    if not (_whole and layer.training):
        return layer(features)
    shape = (features.shape[1], 1, 1) if isinstance(layer, nn.Dropout2d) else features.shape[1:]
    last = features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last)  # chance is drawn so too
    laid_out = torch.channels_last if last else torch.contiguous_format

    def kept(rows: int) -> Tensor:
        return layer(torch.ones(rows, *shape, dtype=features.dtype, device=features.device).to(memory_format=laid_out))

    return features * chance(kept, len(features))


def _of_a_mixture(rows: int) -> int:
    """Return how many of so many ``rows`` of a whole batch each mixture has: its frames, where it has several."""
    return max(1, rows // _whole)


def _in_order(parts: Tensor) -> Tensor:
    """Bring the rows of all processes, [process, row, ...], to the whole batch's order."""
    each = _of_a_mixture(parts.shape[0] * parts.shape[1])
    return parts.unflatten(1, (-1, each)).transpose(0, 1).flatten(0, 2)


class _Gathered(torch.autograd.Function):
    """Rows of every process, [process, row, ...]; torch's own has wrong gradients where they are channels_last."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        found = rows.new_empty(process_count(), *rows.shape)
        processes.all_gather_into_tensor(found.flatten(0, 1), rows.contiguous())
        return found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = torch.empty_like(gradient[0], memory_format=torch.contiguous_format)
        processes.reduce_scatter_tensor(own, gradient.contiguous().flatten(0, 1))
        return own
