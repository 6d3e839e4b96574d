"""Clip and Batch, the two shapes of data that travel everywhere, and Recipe, the way from one to the other."""

from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32, Int, Int16, UInt8
from torch import Tensor

from avnb.data.scene import SceneObject

B = TypeVar("B", "Batch", "RawBatch")

SILENCE = 1e-4  # peak of a waveform in -1..1 below which nothing is heard

Geometry = Literal["single", "one_frame", "first", "side_by_side", "separate", "grid"]


@dataclass(frozen=True)
class Clip:
    """A frame, the sound around it, and the objects in it.

    ``frame`` is RGB, 0..255. ``waveform`` is mono, in -1..1, at ``rate`` Hz. ``mask`` is 0 for background and k for
    the k-th of ``objects``; None where only boxes are known. ``labels`` are the classes that sound.
    """

    id: str
    frame: UInt8[np.ndarray, "height width 3"]
    waveform: Float32[np.ndarray, " time"]
    rate: int
    objects: tuple[SceneObject, ...] = ()
    mask: UInt8[np.ndarray, "height width"] | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """What a method is trained and judged on; all tensors on one device.

    ``frames`` are raw RGB (each model normalises as its paper does). ``source_classes`` holds the class of each of the
    N sources of a mixture that its frame shows, ``labels`` all that sound as a multi-hot vector over all classes.
    ``features`` are the frozen trunk's maps of ``frames`` where they were cached, so that the trunk need not run again.
    ``truth`` is the ground truth of each source at the frame's size, in 0..1 (soft where annotators disagree);
    it is loaded for evaluation only. ``source_frames`` and ``source_waveforms`` are the clips that were put together;
    they have a row a mixture, the rest has a row a frame, which in the geometry "separate" are N a mixture.
    """

    frames: UInt8[Tensor, "batch 3 height width"]
    mixture: Float[Tensor, "batch time"]
    labels: Float[Tensor, "batch classes"]
    source_classes: Int[Tensor, "batch sources"]
    source_frames: UInt8[Tensor, "mixtures clips 3 tile_height tile_width"] | None = None
    source_waveforms: Float[Tensor, "mixtures heard time"] | None = None
    features: Float[Tensor, "batch channels rows columns"] | None = None
    truth: Float[Tensor, "batch sources height width"] | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device | str) -> "Batch":
        """Return the batch on ``device``."""
        return _moved(self, device)


@dataclass(frozen=True)
class RawBatch:
    """What a batch is made of, as it lies in the store: a third of the batch's bytes, so it is this that travels.

    ``tiles`` are the frames that are put together, ``sounds`` the samples in whole numbers, ``features`` the frozen
    trunk's maps of the tiles in half precision, where they were cached; all have a row a mixture. ``order`` is which
    tile lies where in a 2x2 scene. `avnb.data.mixing.mixed` makes the batch, on any device.
    """

    tiles: UInt8[Tensor, "mixtures tiles 3 tile_height tile_width"]
    sounds: Int16[Tensor, "mixtures heard time"]
    labels: Float[Tensor, "mixtures classes"]
    source_classes: Int[Tensor, "mixtures sources"]
    features: Float16[Tensor, "mixtures tiles channels rows columns"] | None = None
    order: Int[Tensor, "mixtures 4"] | None = None

    def tensors(self) -> list[Tensor]:
        """Return the tensors there are."""
        return [value for field in fields(self) if (value := getattr(self, field.name)) is not None]

    def to(self, device: torch.device | str) -> "RawBatch":
        """Return the batch on ``device``."""
        return _moved(self, device)


@dataclass(frozen=True)
class Recipe:
    """How examples are made from clips: how many sounding sources, how the frames lie, how the sounds add.

    ``geometry``: "single" and "one_frame" are a clip as it is, with one or more sounding objects; "first" shows
    the first source's frame alone (AVGN's released training); "side_by_side" joins the frames (N of 224 x 224 become
    224 x N*224); "separate" keeps each source on its own frame; "grid" is DSOL's 2x2 scene with two of four sounding.
    ``sound``: "sum" of the waveforms (AVGN) or "mean" (Mix-and-Localize).
    Introduced in notebooks/01_data_mixing.ipynb.
    """

    sources: int = 1
    geometry: Geometry = "single"
    sound: Literal["sum", "mean"] = "sum"
    distinct_classes: bool = True

    @property
    def clips(self) -> int:
        """How many clips an example is made of."""
        return {"single": 1, "one_frame": 1, "grid": 4}.get(self.geometry, self.sources)


def mix_waveforms(
    sources: Float[Tensor, "batch sources time"], sound: Literal["sum", "mean"] = "sum"
) -> Float[Tensor, "batch time"]:
    """Add the waveforms of each mixture, or average them.

    >>> mix_waveforms(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), "mean")
    tensor([[2., 3.]])
    """
    return sources.sum(dim=1) if sound == "sum" else sources.mean(dim=1)


def _moved(batch: B, device: torch.device | str) -> B:
    moved = {
        field.name: value.to(device, non_blocking=True)
        for field in fields(batch)
        if (value := getattr(batch, field.name)) is not None
    }
    return replace(batch, **moved)
