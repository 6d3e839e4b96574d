"""Scenes in a row with every method's maps of them, judged as they are asked for: what the scrubber goes through."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from avnb.data.mixing import evenly, make_batch, sounding_classes
from avnb.data.store import Store
from avnb.errors import DataError, RunError
from avnb.evaluation.trials import Trial
from avnb.metrics.localization import ThresholdRule, average_precision, iou, upsample
from avnb.metrics.trivial import trivial_maps
from avnb.paths import shown
from avnb.training.runs import Run
from avnb.viewing.colours import Colour, class_colours, readable
from avnb.viewing.painting import Line, outlines

FLOOR = "centre"  # the row that needs no model and stands beside every score
AT_ONCE = 16  # scenes judged at once


@runtime_checkable
class Frames(Protocol):
    """Anything with a length whose places hold RGB frames: an array, a list, a reader of files."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> UInt8[np.ndarray, "height width 3"]: ...


@dataclass(frozen=True)
class Scene:
    """What one position of the slider shows: the frame, or one a source, and where each named source truly is."""

    frames: UInt8[np.ndarray, "shown height width 3"]
    names: tuple[str, ...]
    caption: str
    truth: Float[Tensor, "sources height width"] | None = None
    sound: Float[np.ndarray, " time"] | None = None

    @functools.cached_property
    def borders(self) -> list[list[Line]]:
        """The true outlines, source by source."""
        return (
            [[] for _ in self.names]
            if self.truth is None
            else [outlines(g.numpy() > 0, outer=True) for g in self.truth]
        )


class Reel:
    """Scenes in a row and the maps [scenes, sources, rows, columns] that each named method made of them.

    ``read`` returns a scene. ``seconds`` are the scenes' times where they are one video, whose whole ``sound`` is then
    given; scenes of clips have sounds of their own. Raises DataError where a map holds a NaN.
    """

    def __init__(
        self,
        label: str,
        maps: Mapping[str, Float[Tensor, "scenes sources _ _"]],
        read: Callable[[int], Scene],
        colours: Mapping[str, Colour],
        rate: int,
        seconds: Sequence[float] = (),
        sound: Float[np.ndarray, " time"] | None = None,
    ) -> None:
        self.label, self.colours, self.rate, self.seconds, self.sound = label, colours, rate, tuple(seconds), sound
        self.maps = {name: value.float() for name, value in maps.items()}
        if broken := [name for name, value in self.maps.items() if not value.isfinite().all()]:
            raise DataError(f'Maps of "{broken[0]}" ({label}) hold a NaN: the model that made them has diverged.')
        self.read = functools.lru_cache(maxsize=64)(read)
        self.ap = functools.lru_cache(maxsize=None)(self._ap)
        self.region = functools.lru_cache(maxsize=64)(self._region)

    def __len__(self) -> int:
        return len(next(iter(self.maps.values())))

    @property
    def sources(self) -> int:
        """How many maps a scene has."""
        return next(iter(self.maps.values())).shape[1]

    def large(self, method: str, place: int) -> Float[Tensor, "sources height width"]:
        """Return a scene's maps at the size of its frame; those of the floor need no model."""
        scene = self.read(place)
        if method == FLOOR:
            return trivial_maps(FLOOR, scene.truth[None])[0]
        return upsample(self.maps[method][place], scene.frames.shape[1:3])

    def _ap(self, method: str) -> Float[np.ndarray, "scenes sources"] | None:
        """Return every scene's AP in 0..1; None without ground truth."""
        if self.read(0).truth is None:
            return None
        found = []
        for start in range(0, len(self), AT_ONCE):
            places = range(start, min(start + AT_ONCE, len(self)))
            maps = torch.cat([self.large(method, place) for place in places])
            found.append(average_precision(maps, torch.cat([self.read(place).truth for place in places])))
        return torch.cat(found).reshape(len(self), -1).numpy()

    def _region(
        self, method: str, place: int, rule: ThresholdRule
    ) -> tuple[Bool[Tensor, "sources height width"], Float[np.ndarray, " sources"] | None]:
        """Return what the rule cuts from a scene's maps, and its IoU in 0..1."""
        region, truth = rule(self.large(method, place)), self.read(place).truth
        return region, None if truth is None else iou(region, truth).numpy()


def reels_of(store: Store, runs: Run | Sequence[Run] | Mapping[str, Run], clips: int) -> list[Reel]:
    """Return a reel for each kind of test mixture that all runs were judged on, of at most ``clips`` at even steps.

    Runs are named by their method, those of one method by their folder, or by the keys of a mapping. Raises RunError
    for a run without maps or with maps of other data, and for runs that share no mixture.
    """
    named = _by_name(runs)
    if not named:
        raise RunError("There is no run to show: a method's notebook, 02 to 08, trains and judges one.")
    saved = {name: _maps_of(run, store) for name, run in named.items()}
    keys = [key for key in next(iter(saved.values())) if all(key in maps for maps in saved.values())]
    keys.sort(key=lambda key: next(iter(saved.values()))[key]["classes"].shape[1])  # by the number of sources
    reels = [reel for key in keys if (reel := _reel_of_clips(store, key, saved, clips)) is not None]
    if not reels:
        raise RunError(f"{', '.join(named)} were judged on no mixture in common; judge them with the same trials.")
    return reels


def _by_name(runs: Run | Sequence[Run] | Mapping[str, Run]) -> dict[str, Run]:
    if isinstance(runs, Mapping):
        return dict(runs)
    listed = [runs] if isinstance(runs, Run) else list(runs)
    if not listed:
        raise RunError("There are no runs to look at: train and judge a method first.")
    methods = [run.folder.parents[1].name for run in listed]
    return {
        readable(method) if methods.count(method) == 1 else f"{readable(method)} {run.folder.name}": run
        for method, run in zip(methods, listed, strict=True)
    }


def _maps_of(run: Run, store: Store) -> dict[str, dict[str, Tensor]]:
    """Return a run's maps by their trial's key; raise RunError where there are none or they are of other data."""
    if not (run.folder / "maps.safetensors").exists():
        raise RunError(f"{shown(run.folder)} has no maps to look at: judge it with avnb.evaluation.judge first.")
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in run.load_maps().items():
        key, _, part = name.rpartition("/")
        found.setdefault(key, {})[part] = value
    for key, parts in found.items():
        mixtures = parts["mixtures"].numpy()
        sources = parts["classes"].shape[1]
        heard = mixtures[:, :sources] if mixtures.shape[1] > 1 else mixtures
        if mixtures.max() >= len(store) or (sounding_classes(store, heard) != parts["classes"].numpy()).any():
            raise RunError(f'{shown(run.folder)} ({key}) was judged on other clips than those of "{store.name}" here.')
    return found


def _reel_of_clips(
    store: Store, key: str, saved: Mapping[str, Mapping[str, Mapping[str, Tensor]]], clips: int
) -> Reel | None:
    """Return the mixtures of one kind that all runs were judged on; None where there are none."""
    places = {
        name: {tuple(mixture): place for place, mixture in enumerate(of[key]["mixtures"].tolist())}
        for name, of in saved.items()
    }
    first = next(iter(places.values()))
    common = [mixture for mixture in first if all(mixture in there for there in places.values())]
    if not common:
        return None
    common = [common[k] for k in evenly(np.arange(len(common)), clips)]
    sources = next(iter(saved.values()))[key]["classes"].shape[1]
    maps = {}
    for name, of in saved.items():
        chosen = of[key]["maps"][[places[name][mixture] for mixture in common]]
        maps[name] = chosen.expand(-1, sources, -1, -1) if chosen.shape[1] == 1 else chosen
    trial = Trial.of_key(key, sources)
    known = bool(store.has_truth(np.unique(common)).any())

    def read(place: int) -> Scene:
        batch = make_batch(store, np.array([common[place]]), trial.recipe, truth=known)
        truth = batch.truth
        if known:
            truth = truth.flatten(0, 1) if trial.geometry == "separate" else truth[0]
        return Scene(
            batch.frames.numpy().transpose(0, 2, 3, 1),
            tuple(store.classes[k] for k in batch.source_classes.flatten()),
            " + ".join(store.ids[k].decode() for k in common[place]),
            truth,
            batch.mixture[0].numpy(),
        )

    label = ", ".join(map(readable, [trial.subset, trial.geometry][: 1 if trial.geometry == "single" else 2]))
    return Reel(label, maps, read, class_colours(store.classes), store.shape.rate)
