"""The device a run is on: which one, in what precision it counts there, and whether it counts the same every time."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from avnb.errors import SettingsError

P, T = ParamSpec("P"), TypeVar("T")


def pick_device(name: str) -> str:
    """Return the device that ``name`` asks for; raise SettingsError where this machine has no such device."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
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
