"""Mixtures made from single clips: which clips meet, how their sounds add up, and how their frames are laid out.

Everything is drawn from a numpy generator, so that the same seed gives the same mixtures, and laid out by tensor
operations without a loop over the batch. Introduced in notebooks/01_data_mixing.ipynb.
"""

from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import avg_pool2d

from avnb.data.clips import Batch, Recipe
from avnb.data.store import Store
from avnb.errors import DataError

ROUNDS = 200  # of redrawing partners that may not meet, before giving up


def draw_partners(
    store: Store,
    anchors: Int[np.ndarray, " examples"],
    pool: Int[np.ndarray, " clips"],
    clips: int,
    generator: np.random.Generator,
    distinct_classes: bool = True,
) -> Int[np.ndarray, "examples clips"]:
    """Give each anchor ``clips - 1`` partners from ``pool``: never of one video, nor (by default) of one class.

    Raises DataError where the pool cannot provide them.
    """
    mixture = np.empty((len(anchors), clips), np.int64)
    mixture[:, 0] = anchors
    videos, labels = store.clips["video"], store.labels
    for place in range(1, clips):
        open_rows = np.arange(len(anchors))
        for _ in range(ROUNDS):
            partner = generator.choice(pool, len(open_rows))
            before = mixture[open_rows, :place]
            clash = (videos[before] == videos[partner][:, None]).any(axis=1)
            if distinct_classes:
                clash |= (labels[before] & labels[partner][:, None]).any(axis=(1, 2))
            mixture[open_rows, place] = partner
            open_rows = open_rows[clash]
            if len(open_rows) == 0:
                break
        else:
            kind = "video and class" if distinct_classes else "video"
            raise DataError(
                f'"{store.name}" cannot provide mixtures of {clips} clips that differ in {kind}: the split offers '
                f"{len(pool)} clips of {int(labels[pool].any(axis=0).sum())} classes. Use fewer sources or more data."
            )
    return mixture


def mix_waveforms(
    sources: Float[Tensor, "batch sources time"], sound: Literal["sum", "mean"] = "sum"
) -> Float[Tensor, "batch time"]:
    """Add the waveforms of each mixture, or average them.

    >>> mix_waveforms(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), "mean")
    tensor([[2., 3.]])
    """
    return sources.sum(dim=1) if sound == "sum" else sources.mean(dim=1)


def side_by_side(
    tiles: Shaped[Tensor, "batch sources channels height width"],
) -> Shaped[Tensor, "batch channels height sources*width"]:
    """Join the sources' frames (or their feature maps) from left to right."""
    return rearrange(tiles, "b n c h w -> b c h (n w)")


def grid(tiles: Shaped[Tensor, "batch 4 channels height width"]) -> Shaped[Tensor, "batch channels height width"]:
    """Lay four frames out as 2x2 at half their size: the mean of every 2x2 pixels, so that nothing aliases."""
    joined = rearrange(tiles, "b (r q) c h w -> b c (r h) (q w)", r=2)
    halved = avg_pool2d(joined.float(), 2)
    return halved.round().to(tiles.dtype) if not tiles.dtype.is_floating_point else halved.to(tiles.dtype)


def make_batch(store: Store, mixture: Int[np.ndarray, "batch clips"], recipe: Recipe, truth: bool = False) -> Batch:
    """Read the clips of each mixture from the store and put them together as ``recipe`` says.

    With ``truth`` the ground truth of every source is laid out the same way. In "separate", the batch has a row per
    source, in the order of the mixtures: the same sound, that source's own frame.
    """
    sounding = mixture[:, : min(recipe.sources, recipe.clips)]
    classes = sounding_classes(store, sounding)
    waveforms = store.read_waveforms(sounding)
    tiles = store.read_frames(mixture[:, :1] if recipe.geometry == "first" else mixture)
    frames = {
        "single": lambda: tiles[:, 0],
        "one_frame": lambda: tiles[:, 0],
        "first": lambda: tiles[:, 0],
        "side_by_side": lambda: side_by_side(tiles),
        "separate": lambda: rearrange(tiles, "b n c h w -> (b n) c h w"),
        "grid": lambda: grid(tiles),
    }[recipe.geometry]()
    labels = store.read_labels(sounding).amax(dim=1)
    sound = mix_waveforms(waveforms, recipe.sound)
    places = _lay_out_truth(store, mixture, recipe, classes) if truth else None
    if recipe.geometry == "first":
        classes = classes[:, :1]
    if recipe.geometry == "separate":
        sound, labels = (value.repeat_interleave(recipe.sources, dim=0) for value in (sound, labels))
        classes = classes.reshape(-1, 1)
    return Batch(frames, sound, labels, torch.from_numpy(classes), tiles, waveforms, truth=places)


def sounding_classes(store: Store, mixture: Int[np.ndarray, "batch clips"]) -> Int[np.ndarray, "batch sources"]:
    """Return the classes that sound, clip after clip; every mixture must have equally many.

    Raises DataError otherwise: a batch has one number of sources.
    """
    heard = store.labels[mixture]  # [batch, clips, classes]
    counts = heard.sum(axis=(1, 2))
    if (counts != counts[0]).any() or counts[0] == 0:
        raise DataError(
            f'"{store.name}" mixes clips with {sorted(set(counts.tolist()))} sounding classes in one batch; '
            "take clips with equally many, at least one."
        )
    return np.nonzero(heard)[2].reshape(len(mixture), -1)


def _lay_out_truth(
    store: Store, mixture: np.ndarray, recipe: Recipe, classes: np.ndarray
) -> Float[Tensor, "batch sources height width"]:
    batch, clips = mixture.shape
    if recipe.clips == 1 or recipe.geometry == "first":
        classes = classes if recipe.clips == 1 else classes[:, :1]
        return store.read_truth(mixture[:, 0], classes)
    # The place of each source is on its own tile; on the others its class is only ever a look-alike.
    own = store.read_truth(mixture[:, : recipe.sources].reshape(-1), classes.reshape(-1, 1))[:, 0]
    if recipe.geometry == "separate":
        return own[:, None]
    size = store.shape.size
    tiles = torch.zeros(batch, recipe.sources, clips, size, size)
    source = torch.arange(recipe.sources)
    tiles[:, source, source] = own.reshape(batch, recipe.sources, size, size)
    tiles = rearrange(tiles, "b n k h w -> (b n) k 1 h w")
    joined = side_by_side(tiles) if recipe.geometry == "side_by_side" else (grid(tiles) >= 0.5).float()
    return rearrange(joined, "(b n) 1 h w -> b n h w", b=batch)
