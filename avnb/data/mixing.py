"""Mixtures made from single clips: which clips meet, how their sounds add up, and how their frames are laid out.

Everything is drawn from a numpy generator, so that the same seed gives the same mixtures, and laid out by tensor
operations without a loop over the batch. Introduced in notebooks/01_data_mixing.ipynb.
"""

from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from avnb.data.clips import Batch, RawBatch, Recipe, mix_waveforms
from avnb.data.rows import FreshRows, Rows
from avnb.data.store import Store
from avnb.errors import DataError

ROUNDS = 20  # of redrawing partners that may not meet, before looking which may


def evenly(clips: Int[np.ndarray, " clips"], most: int) -> Int[np.ndarray, " _"]:
    """Return at most ``most`` of the clips (0: all) at even steps, the first and the last among them.

    So that what lies together, the clips of a class or of a video, is not left out together.
    """
    if not most:
        return clips
    return clips[np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int)]


def draw_partners(
    store: Store,
    anchors: Int[np.ndarray, " examples"],
    pool: Int[np.ndarray, " pool"],
    clips: int,
    generator: np.random.Generator,
    distinct_classes: bool = True,
) -> Int[np.ndarray, "examples clips"]:
    """Give each anchor ``clips - 1`` partners from ``pool``: never of one video, nor (by default) of one class.

    Raises DataError where the pool cannot provide them.
    """
    mixture = np.empty((len(anchors), clips), np.int64)
    mixture[:, 0] = anchors
    rows = np.arange(len(anchors))
    for _ in range(ROUNDS):  # whose first partners leave no other may be lucky with others
        rows = _draw_rows(store, mixture, rows, pool, generator, distinct_classes)
        if len(rows) == 0:
            return mixture
    raise _too_few(store, pool, clips, distinct_classes)


def _draw_rows(
    store: Store,
    mixture: Int[np.ndarray, "examples clips"],
    rows: Int[np.ndarray, " rows"],
    pool: Int[np.ndarray, " pool"],
    generator: np.random.Generator,
    distinct_classes: bool,
) -> Int[np.ndarray, " stuck"]:
    """Draw the partners of ``rows``; return those that found none, and raise DataError where one has none at all."""
    videos, labels, stuck = store.clips["video"], store.labels, []

    def draw(rows: np.ndarray, place: int, pool: np.ndarray) -> np.ndarray:
        """Draw the rows' partners for ``place`` until they may meet those before; return the rows where they do not."""
        for _ in range(ROUNDS if len(pool) else 0):
            partner = generator.choice(pool, len(rows))
            mixture[rows, place] = partner
            before = mixture[rows, :place]
            clash = (videos[before] == videos[partner][:, None]).any(axis=1)
            if distinct_classes:
                clash |= (labels[before] & labels[partner][:, None]).any(axis=(1, 2))
            rows = rows[clash]
            if len(rows) == 0:
                break
        return rows

    for place in range(1, mixture.shape[1]):
        unlucky = draw(rows, place, pool)
        # Where one class fills most of the pool: draw among the clips of the other classes alone.
        taken = labels[mixture[unlucky, :place]].any(axis=1) & distinct_classes
        kinds, kind_of = np.unique(taken, axis=0, return_inverse=True)
        for kind, classes in enumerate(kinds):
            allowed = pool[~(labels[pool] & classes).any(axis=1)]
            for row in draw(unlucky[kind_of == kind], place, allowed):
                others = allowed[~np.isin(videos[allowed], videos[mixture[row, :place]])]
                if len(others):
                    mixture[row, place] = generator.choice(others)
                elif place == 1:
                    raise _too_few(store, pool, mixture.shape[1], distinct_classes)
                else:
                    stuck.append(row)
        if stuck:
            rows = np.setdiff1d(rows, stuck)
    return np.array(stuck, np.int64)


def _too_few(store: Store, pool: Int[np.ndarray, " pool"], clips: int, distinct_classes: bool) -> DataError:
    return DataError(
        f'"{store.name}" cannot provide mixtures of {clips} clips that differ in video'
        f"{' and class' if distinct_classes else ''}: the split offers {len(pool)} clips of "
        f"{int(store.labels[pool].any(axis=0).sum())} classes. Use fewer sources or more data."
    )


def side_by_side(
    tiles: Shaped[Tensor, "batch sources channels height width"],
) -> Shaped[Tensor, "batch channels height sources*width"]:
    """Join the sources' frames (or their feature maps) from left to right."""
    return rearrange(tiles, "b n c h w -> b c h (n w)")


def grid(tiles: Shaped[Tensor, "batch 4 channels height width"]) -> Shaped[Tensor, "batch channels height width"]:
    """Lay four frames out as 2x2 at half their size: the mean of every 2x2 pixels, so that nothing aliases."""
    return shrunk(rearrange(tiles, "b (r q) c h w -> b c (r h) (q w)", r=2))


def shrunk(
    images: Shaped[Tensor, "batch channels height width"],
) -> Shaped[Tensor, "batch channels height//2 width//2"]:
    """Return images of half the size: the mean of every 2x2 pixels."""
    whole = not images.is_floating_point()
    sums = images.to(torch.int16) if whole else images  # in whole numbers five times as fast as avg_pool2d
    sums = sums[..., 0::2, :] + sums[..., 1::2, :]
    sums = sums[..., 0::2] + sums[..., 1::2]
    return ((sums + 2) // 4).to(images.dtype) if whole else sums / 4


def grid_features(
    tiles: Float[Tensor, "batch 4 channels rows columns"], order: Int[Tensor, "batch 4"]
) -> Float[Tensor, "batch channels 2*rows 2*columns"]:
    """Lay out a trunk's maps of four frames at half their size as the map of their 2x2 scene.

    It differs from the trunk's map of the whole scene by what a cell sees of the neighbouring tiles.
    """
    return rearrange(_reorder(tiles, order), "b (r q) c h w -> b c (r h) (q w)", r=2)


def grid_truth(store: Store, mixture: Int[np.ndarray, "batch 4"]) -> Float[Tensor, "batch 4 height width"]:
    """Return where the object of each of the four clips of a 2x2 scene lies in it, whether it sounds there or not."""
    return _lay_out_truth(store, mixture, Recipe(4, "grid"), sounding_classes(store, mixture))


def truth_of(store: Store, mixture: Int[np.ndarray, "batch clips"], recipe: Recipe) -> Float[Tensor, "_ _ _ _"]:
    """Return the ``truth`` that `make_batch` would give the mixtures, without reading their frames and sounds."""
    sounding = mixture[:, : min(recipe.sources, recipe.clips)]
    return _lay_out_truth(store, mixture, recipe, sounding_classes(store, sounding))


def grid_order(mixture: Int[np.ndarray, "batch 4"]) -> Int[Tensor, "batch 4"]:
    """Return which clip of each mixture lies in each tile of its 2x2 scene: any order, the same for the same mixture.

    Were it the mixture's own order, what sounds would always lie in the upper row.
    """
    # Knuth's multiplicative hash of the clip in its company: as good as drawn, but repeatable.
    mixed = (mixture + 7919 * mixture.sum(axis=1, keepdims=True)) * 2_654_435_761 % 2**32
    return torch.from_numpy(np.argsort(mixed, axis=1))


def make_batch(
    store: Store,
    mixture: Int[np.ndarray, "batch clips"],
    recipe: Recipe,
    truth: bool = False,
    features: np.ndarray | None = None,
) -> Batch:
    """Read the clips of each mixture from the store and put them together as ``recipe`` says.

    ``features`` are the frozen trunk's maps of all clips, of their frames at half the size for 2x2 scenes. With
    ``truth`` the ground truth of every source is laid out the same way. In "separate", the batch has a row per
    source, in the order of the mixtures: the same sound, that source's own frame.
    """
    raw = read_batch(store, mixture, recipe, features=features)
    places = _lay_out_truth(store, mixture, recipe, raw.source_classes.numpy()) if truth else None
    return replace(mixed(raw, recipe), source_frames=raw.tiles, truth=places)


def read_batch(
    store: Store,
    mixture: Int[np.ndarray, "batch clips"],
    recipe: Recipe,
    rows: Rows | None = None,
    features: np.ndarray | None = None,
) -> RawBatch:
    """Read the clips of each mixture from the store as they lie there, ``features`` with them; see `mixed`."""
    rows = rows or FreshRows()
    sounding = mixture[:, : min(recipe.sources, recipe.clips)]
    shown = mixture[:, :1] if recipe.geometry == "first" else mixture
    return RawBatch(
        tiles=rows.take("frames", store.frames, shown),
        sounds=rows.take("waveforms", store.waveforms, sounding),
        labels=torch.from_numpy(store.labels[sounding].any(axis=1)).float(),
        source_classes=torch.from_numpy(sounding_classes(store, sounding)),
        features=None if features is None else rows.take(feature_name(recipe), features, shown),
        order=grid_order(mixture) if recipe.geometry == "grid" else None,
    )


def feature_name(recipe: Recipe) -> str:
    """Return by which name `Rows` know the frozen trunk's maps that a recipe needs: of whole frames or of half ones."""
    return "half_features" if recipe.geometry == "grid" else "features"


def mixed(raw: RawBatch, recipe: Recipe) -> Batch:
    """Put the clips of each mixture together as ``recipe`` says, on the device they are on."""
    waveforms = raw.sounds.float().div_(32767)
    sound, labels, classes = mix_waveforms(waveforms, recipe.sound), raw.labels, raw.source_classes
    if recipe.geometry == "first":
        classes = classes[:, :1]
    if recipe.geometry == "separate":
        sound, labels = (value.repeat_interleave(recipe.sources, dim=0) for value in (sound, labels))
        classes = classes.reshape(-1, 1)
    features = None
    if raw.features is not None and recipe.geometry == "grid":  # of frames at half their size
        features = grid_features(raw.features.float(), raw.order)
    elif raw.features is not None:
        features = _laid_out(raw.features.float(), recipe, None)
    frames = _laid_out(raw.tiles, recipe, raw.order)
    return Batch(frames, sound, labels, classes, source_waveforms=waveforms, features=features)


def _laid_out(
    tiles: Shaped[Tensor, "mixtures tiles channels height width"], recipe: Recipe, order: Tensor | None
) -> Shaped[Tensor, "batch channels rows columns"]:
    if recipe.geometry == "side_by_side":
        return side_by_side(tiles)
    if recipe.geometry == "separate":
        return rearrange(tiles, "b n c h w -> (b n) c h w")
    if recipe.geometry == "grid":
        return grid(_reorder(tiles, order))
    return tiles[:, 0]


def sounding_classes(store: Store, mixture: Int[np.ndarray, "batch clips"]) -> Int[np.ndarray, "batch sources"]:
    """Return the classes that sound, clip after clip.

    Raises DataError where a batch would have no one number of sources: a single clip may have any number, the same
    throughout the batch; clips that are mixed have one each.
    """
    heard = store.labels[mixture]  # [batch, clips, classes]
    counts = set(heard.sum(axis=2).ravel().tolist())
    if len(counts) > 1 or counts == {0} or (mixture.shape[1] > 1 and counts != {1}):
        wanted = "exactly one each" if mixture.shape[1] > 1 else "equally many, at least one"
        raise DataError(f'"{store.name}": a batch has clips with {sorted(counts)} sounding classes; take {wanted}.')
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
    if recipe.geometry == "grid":
        order = grid_order(mixture).repeat_interleave(recipe.sources, dim=0)
        joined = (grid(_reorder(tiles, order)) >= 0.5).float()
    else:
        joined = side_by_side(tiles)
    return rearrange(joined, "(b n) 1 h w -> b n h w", b=batch)


def _reorder(tiles: Shaped[Tensor, "batch tiles *shape"], order: Int[Tensor, "batch tiles"]) -> Tensor:
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]
