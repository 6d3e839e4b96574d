"""The clips that a method is trained and validated on, the batches they make, and a frozen trunk's features of them."""

import hashlib
import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from avnb.config import Settings
from avnb.data.ahead import ahead
from avnb.data.arrays import announce, cached_array
from avnb.data.clips import Batch, RawBatch, Recipe
from avnb.data.mixing import draw_partners, evenly, feature_name, make_batch, read_batch, shrunk
from avnb.data.rows import DeviceRows, Rows
from avnb.data.store import Store
from avnb.devices import own_rows
from avnb.errors import DataError, SettingsError
from avnb.models.base import Method, Stage
from avnb.networks.frozen_ear import FrozenEar

ANNOUNCED = 2  # batches whose rows a disk is told of before they are read
HELD_OUT = 0.1  # of the training clips, for validation where a benchmark has no such split


@dataclass(frozen=True)
class Examples:
    """The clips that a method is trained and validated on, and the frozen trunk's features of them.

    ``several`` are, by split, the clips of several sounding classes, for recipes that take them as they are. With
    ``scenes`` the clips to train on are such ones themselves, of so many classes, and no other mixtures are made. A
    ``pool`` is in how many mixtures a clip is met (0: in a new one every epoch), where what hears them is frozen.
    """

    store: Store
    train: Int[np.ndarray, " train_clips"]
    val: Int[np.ndarray, " val_clips"]
    features: np.ndarray | None
    half_features: np.ndarray | None = None  # of the frames at half their size: the tiles of a 2x2 scene
    kept: DeviceRows | None = None  # the training clips, where they lie in the GPU's memory
    several: Mapping[str, Int[np.ndarray, " _"]] = field(default_factory=dict)
    scenes: int = 0
    pool: int = 0

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

        Clips of several sources take the turn of a recipe that asks for them. ``place`` is the stage's number and the
        epoch's within it, of which chance is a function.
        """
        generator, recipes = np.random.default_rng([settings.seed, *place]), self._recipes(stage.recipes)
        order = generator.permutation(self.train)
        whole = {recipe: generator.permutation(self._whole("train", recipe)) for recipe in recipes if _is_whole(recipe)}
        mixing = [recipe for recipe in recipes if recipe.clips > 1] if self.pool else []
        pooled = {recipe: self._pooled(recipe, settings.seed, place[1]) for recipe in mixing}
        for number in range(len(order) // settings.batch_size):
            recipe = recipes[number % len(recipes)]
            if recipe in whole:
                turn = number // len(recipes) * settings.batch_size + np.arange(settings.batch_size)
                yield whole[recipe][turn % len(whole[recipe]), None], recipe
                continue
            anchors = order[number * settings.batch_size : (number + 1) * settings.batch_size]
            if recipe in pooled:
                yield pooled[recipe][np.searchsorted(self.train, anchors)], recipe
                continue
            mixture = draw_partners(self.store, anchors, self.train, recipe.clips, generator, recipe.distinct_classes)
            yield mixture, recipe

    def _pooled(self, recipe: Recipe, seed: int, epoch: int) -> Int[np.ndarray, "train clips"]:
        """Return the mixture that each training clip, in their order, is in: one of the pool's, which take turns."""
        generator = np.random.default_rng([seed, self.pool, epoch % self.pool])
        return draw_partners(self.store, self.train, self.train, recipe.clips, generator, recipe.distinct_classes)

    def _recipes(self, recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
        """Return a stage's recipes, or what stands for all of them where the clips are mixtures already."""
        return (Recipe(self.scenes, "one_frame"),) if self.scenes else recipes

    def _whole(self, split: str, recipe: Recipe) -> Int[np.ndarray, " _"]:
        """Return the split's clips of as many sounding classes as ``recipe`` takes as they are."""
        clips = self.several.get(split, np.empty(0, np.int64))
        return clips[self.store.labels[clips].sum(axis=1) == recipe.sources]

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

        A batch is to be used before the next one is asked for; see `avnb.data.ahead.ahead`. Of mixtures that processes
        share, this one's own are read.
        """
        whole = self.mixtures(stage, settings, place)
        jobs = self._announced((own_rows(mixture), recipe) for mixture, recipe in whole)
        with closing(ahead(jobs, lambda job, rows: self.read(*job, rows), device, self.kept)) as batches:
            for (mixture, recipe), raw in batches:
                yield mixture, recipe, raw

    def kept_on(self, device: torch.device) -> "Examples":
        """Return the examples with the training clips in a GPU's memory, where they fit there beside a training."""
        arrays = {"frames": self.store.frames, "waveforms": self.store.waveforms}
        arrays |= {name: value for name in ("features", "half_features") if (value := getattr(self, name)) is not None}
        wanted = np.union1d(self.train, self.several.get("train", self.train))
        if not DeviceRows.fit(arrays, wanted, device):
            return self
        return replace(self, kept=DeviceRows(arrays, wanted, device))

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
        found = []
        for number, recipe in enumerate(self._recipes(stage.validation or stage.recipes)):
            clips = self._whole("val", recipe) if _is_whole(recipe) else self.val
            generator = np.random.default_rng([seed, number])
            if len(clips):
                drawn = draw_partners(self.store, clips, self.val, recipe.clips, generator, recipe.distinct_classes)
                found.append((recipe, drawn))
        return found


def _is_whole(recipe: Recipe) -> bool:
    return recipe.geometry == "one_frame"


def gather_examples(method: Method, store: Store, progress: bool = True) -> Examples:
    """Choose the clips to train and validate on, and cache the features of a frozen trunk beside the store.

    Raises DataError where there is none to train on, and SettingsError on a batch larger than the split.
    """
    settings = method.settings
    splits = [split for split in ("train", "val") if any(split == one for one, _ in store.count())]
    chosen, scenes = {split: store.solos(split) for split in splits}, 0
    several = {
        split: clips[store.labels[clips].sum(axis=1) > 1] for split in splits if len(clips := store.select(split))
    }
    if not len(chosen.get("train", ())) and method.TAKES_SCENES and len(several.get("train", ())):
        counts = store.labels[several["train"]].sum(axis=1)
        scenes = int(np.bincount(counts).argmax())
        chosen = {split: clips[store.labels[clips].sum(axis=1) == scenes] for split, clips in several.items()}
    train, val = (chosen.get(split, np.empty(0, np.int64)) for split in ("train", "val"))
    if not len(train):
        raise DataError(
            f'"{store.name}" has no training clips with one sounding class. Train on another data set and judge on '
            "this one: train_dataset names it."
        )
    mixed = 1 if scenes else _mixed_classes(method, store, train)
    train, val = _divided(store, train, val, settings.limit, mixed)
    if settings.batch_size > len(train):
        raise SettingsError(
            f'batch_size = {settings.batch_size} is larger than the training split of "{store.name}", which offers '
            f"{len(train)} solo clips{' under this limit' if settings.limit else ''}; take at most that many."
        )
    several = {"train": train, "val": val} if scenes else _asked_for(method, store, several)
    features = half = None
    if method.trunk.frozen:
        wanted = np.concatenate([train, val, *([] if scenes else several.values())])
        features = cached_features(method.trunk, store, wanted, settings.device, progress)
        if any(recipe.geometry == "grid" for stage in method.stages() for recipe in stage.recipes + stage.validation):
            half = cached_features(method.trunk, store, wanted, settings.device, progress, shrink=2)
    pool, listen = 0, getattr(method, "listen", None)
    if isinstance(listen, FrozenEar):
        pool = listen.POOL
        listen.remember(store.folder)
    return Examples(store, train, val, features, half, several=several, scenes=scenes, pool=pool)


def _mixed_classes(method: Method, store: Store, train: Int[np.ndarray, " _"]) -> int:
    """Return how many classes a mixture takes; raise DataError, saying how to go on, where the clips have fewer."""
    recipes = [recipe for stage in method.stages() for recipe in stage.recipes + stage.validation]
    wanted = max((recipe.clips for recipe in recipes if recipe.distinct_classes), default=1)
    there = int(store.labels[train].any(axis=0).sum())
    if there < wanted:
        raise DataError(
            f"{method.settings.METHOD} learns from mixtures of {wanted} classes, and the training clips of "
            f'"{store.name}" are of {there}. Train on a data set with more (train_dataset), or on single clips where '
            'the method has the setting "sources": 1.'
        )
    return wanted


def _divided(
    store: Store, train: Int[np.ndarray, " _"], val: Int[np.ndarray, " _"], limit: int, classes: int = 1
) -> tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]:
    """Return the clips to train and to validate on, at most ``limit`` of each, some held out where ``val`` has none."""
    if not len(val):
        held = _held_out(store, train, classes)
        train, val = train[~held], train[held]
    return evenly(train, limit), evenly(val, limit)


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


def _asked_for(
    method: Method, store: Store, several: dict[str, Int[np.ndarray, " _"]]
) -> dict[str, Int[np.ndarray, " _"]]:
    """Return the clips of several sources where a stage takes such ones; raise DataError where it finds none."""
    found: dict[str, list[Int[np.ndarray, " _"]]] = {"train": [], "val": []}
    for recipe in dict.fromkeys(recipe for stage in method.stages() for recipe in stage.recipes if _is_whole(recipe)):
        clips = (several.get(split, np.empty(0, np.int64)) for split in ("train", "val"))
        train, val = (part[store.labels[part].sum(axis=1) == recipe.sources] for part in clips)
        train, val = _divided(store, train, val, method.settings.limit)
        if not len(train):
            raise DataError(
                f'"{store.name}" has no training clips in which {recipe.sources} classes sound, and '
                f"{method.settings.METHOD} is to learn from such ones."
            )
        found["train"].append(train)
        found["val"].append(val)
    return {split: np.concatenate(parts) for split, parts in found.items() if parts}


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
