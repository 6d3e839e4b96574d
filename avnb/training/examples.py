"""The clips that a method is trained and validated on, the batches they make, and a frozen trunk's features of them."""

import hashlib
import math
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from avnb.config import Settings
from avnb.data.ahead import ahead
from avnb.data.arrays import announce, cached_array
from avnb.data.clips import Batch, RawBatch, Recipe
from avnb.data.mixing import draw_partners, feature_name, make_batch, read_batch, shrunk
from avnb.data.rows import DeviceRows, Rows
from avnb.data.store import Store
from avnb.errors import DataError, SettingsError
from avnb.models.base import Method, Stage

ANNOUNCED = 2  # batches whose rows a disk is told of before they are read
HELD_OUT = 0.1  # of the training clips, for validation where a benchmark has no such split


@dataclass(frozen=True)
class Examples:
    """The clips that a method is trained and validated on, and the frozen trunk's features of them."""

    store: Store
    train: Int[np.ndarray, " train_clips"]
    val: Int[np.ndarray, " val_clips"]
    features: np.ndarray | None
    half_features: np.ndarray | None = None  # of the frames at half their size: the tiles of a 2x2 scene
    kept: DeviceRows | None = None  # the training clips, where they lie in the GPU's memory

    def batch(self, mixture: Int[np.ndarray, "batch clips"], recipe: Recipe, truth: bool = False) -> Batch:
        """Return the batch of these mixtures, with the frozen trunk's features where they can be laid out."""
        batch = make_batch(self.store, mixture, recipe, truth, self._features(recipe))
        return replace(batch, source_frames=None)  # no loss looks at them, and they are most of the bytes

    def read(self, mixture: Int[np.ndarray, "batch clips"], recipe: Recipe, rows: Rows) -> RawBatch:
        """Return what `batch` is made of, taken by ``rows``."""
        return read_batch(self.store, mixture, recipe, rows, self._features(recipe))

    def _features(self, recipe: Recipe) -> np.ndarray | None:
        return getattr(self, feature_name(recipe))

    def mixtures(
        self, stage: Stage, settings: Settings, place: tuple[int, int]
    ) -> Iterator[tuple[Int[np.ndarray, "batch clips"], Recipe]]:
        """Yield every training clip once, in mixtures of the stage's recipes, whose batches take turns.

        ``place`` is the stage's number and the epoch's within it, of which chance is a function.
        """
        generator = np.random.default_rng([settings.seed, *place])
        order = generator.permutation(self.train)
        for number in range(len(order) // settings.batch_size):
            recipe = stage.recipes[number % len(stage.recipes)]
            anchors = order[number * settings.batch_size : (number + 1) * settings.batch_size]
            mixture = draw_partners(self.store, anchors, self.train, recipe.clips, generator, recipe.distinct_classes)
            yield mixture, recipe

    def batches(
        self, stage: Stage, settings: Settings, place: tuple[int, int]
    ) -> Iterator[tuple[Int[np.ndarray, "batch clips"], Recipe, Batch]]:
        """Yield the mixtures of an epoch with their batches, which are the caller's to keep."""
        for mixture, recipe in self.mixtures(stage, settings, place):
            yield mixture, recipe, self.batch(mixture, recipe)

    def batches_on(
        self, device: torch.device, stage: Stage, settings: Settings, place: tuple[int, int]
    ) -> Iterator[tuple[Int[np.ndarray, "batch clips"], Recipe, RawBatch]]:
        """Yield the mixtures of an epoch with what their batches are made of, on ``device``, made ahead by a thread.

        A batch is to be used before the next one is asked for; see `avnb.data.ahead.ahead`.
        """
        jobs = self._announced(self.mixtures(stage, settings, place))
        with closing(ahead(jobs, lambda job, rows: self.read(*job, rows), device, self.kept)) as batches:
            for (mixture, recipe), raw in batches:
                yield mixture, recipe, raw

    def kept_on(self, device: torch.device) -> "Examples":
        """Return the examples with the training clips in a GPU's memory, where they fit there beside a training."""
        arrays = {"frames": self.store.frames, "waveforms": self.store.waveforms}
        arrays |= {name: value for name in ("features", "half_features") if (value := getattr(self, name)) is not None}
        if not DeviceRows.fit(arrays, self.train, device):
            return self
        return replace(self, kept=DeviceRows(arrays, self.train, device))

    def _announced(self, jobs: Iterator[tuple[np.ndarray, Recipe]]) -> Iterator[tuple[np.ndarray, Recipe]]:
        """Tell the system which rows are read soon, a few batches before they are."""
        if self.kept is not None:
            yield from jobs
            return
        waiting: deque[tuple[np.ndarray, Recipe]] = deque()
        for mixture, recipe in jobs:
            for array in (self.store.frames, self.store.waveforms, self._features(recipe)):
                if array is not None:
                    announce(array, mixture)
            waiting.append((mixture, recipe))
            if len(waiting) > ANNOUNCED:
                yield waiting.popleft()
        yield from waiting

    def validation(self, stage: Stage, seed: int) -> list[tuple[Recipe, Int[np.ndarray, "mixtures clips"]]]:
        """Return the recipes a stage is judged on, with a mixture for every validation clip, the same in every epoch.

        Raises DataError where the clips cannot be mixed so.
        """
        recipes = stage.validation or stage.recipes
        generators = (np.random.default_rng([seed, number]) for number in range(len(recipes)))
        return [
            (recipe, draw_partners(self.store, self.val, self.val, recipe.clips, generator, recipe.distinct_classes))
            for recipe, generator in zip(recipes, generators, strict=True)
        ]


def gather_examples(method: Method, store: Store, progress: bool = True) -> Examples:
    """Choose the clips to train and validate on, and cache the features of a frozen trunk beside the store.

    Raises DataError where there is none to train on, and SettingsError on a batch larger than the split.
    """
    settings = method.settings
    splits = {split for split, _ in store.count()}
    train, val = (store.solos(split) if split in splits else np.empty(0, np.int64) for split in ("train", "val"))
    if not len(train):
        raise DataError(
            f'"{store.name}" has no training clips with one sounding class. Train on another data set and judge on '
            "this one: train_dataset names it."
        )
    recipes = [recipe for stage in method.stages() for recipe in stage.recipes + stage.validation]
    if not len(val):
        held = _held_out(store, train, max((recipe.clips for recipe in recipes if recipe.distinct_classes), default=1))
        train, val = train[~held], train[held]
    if settings.limit:
        train, val = (part[:: max(1, len(part) // settings.limit)][: settings.limit] for part in (train, val))
    if settings.batch_size > len(train):
        raise SettingsError(
            f'batch_size = {settings.batch_size} is larger than the training split of "{store.name}", which offers '
            f"{len(train)} solo clips{' under this limit' if settings.limit else ''}; take at most that many."
        )
    features = half = None
    if method.trunk.frozen:
        wanted = np.concatenate([train, val])
        features = cached_features(method.trunk, store, wanted, settings.device, progress)
        if any(recipe.geometry == "grid" for recipe in recipes):
            half = cached_features(method.trunk, store, wanted, settings.device, progress, shrink=2)
    return Examples(store, train, val, features, half)


def _held_out(store: Store, train: Int[np.ndarray, " clips"], classes: int) -> Bool[np.ndarray, " clips"]:
    """Return which clips are for validation: of a tenth of the videos, and of more where these have too few classes.

    Whole videos are held out, since clips of one are too much alike; ``classes`` are in a validation mixture.
    """
    videos, labels = store.clips["video"][train], store.labels[train]
    order = np.random.default_rng(0).permutation(np.unique(videos))
    few = max(1, round(HELD_OUT * len(order)))
    held = np.isin(videos, order[:few])
    for video in order[few:]:
        there, own = labels[held].any(axis=0), videos == video
        if there.sum() >= classes:
            break
        if not (labels[own].any(axis=0) & there).any():
            held |= own
    return held


def cached_features(
    trunk: torch.nn.Module,
    store: Store,
    wanted: Int[np.ndarray, " wanted"],
    device: str,
    progress: bool,
    shrink: int = 1,
) -> Float[np.ndarray, "clips channels rows columns"]:
    """Return the frozen trunk's maps of the wanted clips (half precision), computed at most once per store.

    With ``shrink`` 2, of their frames at half the size, which are the tiles of a 2x2 scene.
    """
    from tqdm.auto import tqdm

    trunk = trunk.to(device)
    rows = store.shape.size // shrink // trunk.stride

    def compute(array: np.ndarray) -> None:
        bar = tqdm(total=len(wanted), desc="features of the frozen trunk", unit="frame", disable=not progress)
        for chunk in np.array_split(wanted, math.ceil(len(wanted) / 32)):
            frames = store.read_frames(chunk).to(device)
            array[chunk] = trunk(frames if shrink == 1 else shrunk(frames)).cpu().numpy()
            bar.update(len(chunk))
        bar.close()

    mark = f"{type(trunk).__name__}-{'' if shrink == 1 else 'half-'}{hashlib.sha256(wanted.tobytes()).hexdigest()[:8]}"
    return cached_array(store.folder / f"{mark}~cache.npy", (len(store), trunk.channels, rows, rows), compute)
