"""Maps that other code has made, judged as this project's are: every protocol and rule, the floors beside them.

Pictures are gone through a few at a time, so that thousands of maps take little memory; what needs no model is sorted
once, or not at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn.functional import interpolate

from avnb.data.benchmarks import BENCHMARKS
from avnb.data.store import Store
from avnb.errors import DataError, SettingsError
from avnb.evaluation.chunks import chunks
from avnb.evaluation.map_files import BrokenMap, ClipMaps, Maps, examples, spelled
from avnb.evaluation.trials import Trial
from avnb.evaluation.truths import Truth, truth_in_store
from avnb.metrics import protocols, trivial
from avnb.metrics.localization import any_rule, best_pairing, upsample
from avnb.metrics.protocols import FRAME_WISE, MEAN_IOU, SOURCE_WISE, UNION, Rule, ranked

AT_ONCE = 32  # pictures
USUAL = ("top_half", "min_max(0.5)", "truth_area")  # threshold rules beside those of the benchmark's papers
FAILURES = "count as failures"


@dataclass
class Counts:
    """Which pictures and maps were no success to read; those of pictures count as failures, the others not at all."""

    missing: list[str] = field(default_factory=list)  # pictures
    broken: list[str] = field(default_factory=list)  # pictures, and why
    incomplete: list[str] = field(default_factory=list)  # pictures with fewer maps than sources
    unknown: list[str] = field(default_factory=list)  # maps called as no picture
    beside: int = 0  # maps of classes that their picture does not have

    def as_dict(self) -> dict[str, int]:
        """Return how many there were of each."""
        return {name: len(value) if isinstance(value, list) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class Verdict:
    """The rows of what was judged and of what needs no model, and what was counted on the way."""

    truth: Truth
    rows: list[dict[str, Any]]
    counts: Counts

    @property
    def report(self) -> list[str]:
        """What a reader must know before the numbers, a sentence each."""
        truth, counts = self.truth, self.counts
        each = "1 source" if truth.trial.sources == 1 else f"{truth.trial.sources} sources"
        lines = [f"{truth.benchmark}, {truth.trial.subset}: {len(truth):,} pictures of {each}"]
        for items, what in (
            (counts.missing, f"pictures have no map and {FAILURES}"),
            (counts.broken, f"pictures have maps that cannot be judged and {FAILURES}"),
            (counts.incomplete, f"pictures have no map for one of their sources, which {FAILURES}"),
            (counts.unknown, "maps are called as no picture of the benchmark and are not judged"),
        ):
            if items:
                lines.append(f"{len(items):,} {what}: {examples(items)}")
        if counts.beside:
            lines.append(f"{counts.beside:,} maps are of classes that do not sound in their picture and are not judged")
        return [*lines, *truth.remarks]


def judge_maps(
    maps: Path | str | Mapping[str, Any],
    truth: Truth | Store,
    trial: Trial | None = None,
    rules: Iterable[str] = (),
    name: str = "",
    progress: bool = True,
) -> Verdict:
    """Judge maps, found by their pictures' names, under every protocol and threshold rule, beside what needs no model.

    ``maps`` is a folder, a .npz, a .safetensors (see map_files.py) or a mapping from names to arrays of [height,
    width] or [maps, height, width], or to mappings from classes to arrays. ``truth`` is a store, judged on ``trial``,
    or what `truth_in_annotations` has read. ``rules`` are threshold rules, by default those of the benchmark's papers
    and `USUAL`. Maps with class names are "oracle"; nameless ones are given to the sources in the order that suits
    these best, "best_pairing"; where every picture has one map it is every source's, "none".

    Raises DataError where no map can be judged, SettingsError where there is no such rule.
    """
    from tqdm.auto import tqdm

    if isinstance(truth, Store):
        if trial is None:
            raise SettingsError("A store has many trials: give judge_maps the one that the maps were made for.")
        truth = truth_in_store(truth, trial)
    chosen = [any_rule(rule) for rule in rules or usual_rules(truth)]
    files = Maps(maps, truth.names)
    given, floors = _GivenMaps(files, truth, chosen), _WithoutModel(truth, chosen)
    bar = tqdm(total=len(truth), desc="judge", unit="picture", disable=not progress, leave=False)
    for part in chunks(len(truth), "cpu", AT_ONCE):
        places = truth.places(part)
        hard = places > 0
        places = hard if bool((places == hard).all()) else places
        given.add(part, places)
        floors.add(places)
        bar.update(len(places))
    bar.close()
    given.check()
    title = name or ("maps" if isinstance(maps, Mapping) else Path(maps).stem)
    scores = {(title, given.way): given.score} | floors.scores
    return Verdict(truth, _rows(scores, truth, chosen), given.counts)


def usual_rules(truth: Truth) -> list[str]:
    """Return the threshold rules of the benchmark's papers for the subset, and the usual ones."""
    record = BENCHMARKS.get(truth.benchmark)
    judged = [one for one in (record.protocols if record else ()) if one.subset == truth.trial.subset]
    return list(dict.fromkeys([*(rule for one in judged for rule in one.threshold_rules.values()), *USUAL]))


# -------------------------------------------------------------------------------------------------------------- scores


class _Score:
    """The values of one row's pictures, some pictures at a time."""

    def __init__(self, truth: Truth, rules: Sequence[Rule]) -> None:
        self.truth, self.rules = truth, rules
        self.parts: list[dict[str, Tensor]] = []

    def add(
        self,
        places: Shaped[Tensor, "pictures sources H W"],
        ap: Float[Tensor, "pictures sources"],
        overlap: Float[Tensor, "pictures sources rules"],
        maps: Float[Tensor, "_ sources H W"],
        given: Bool[Tensor, "pictures sources"],
    ) -> None:
        """Add pictures: the AP and IoU of each source's map, the maps themselves (of one picture: the same for all)."""
        part = {"ap": _or_failed(ap, given), FRAME_WISE: _or_failed(overlap, given[..., None])}
        if self.truth.trial.in_one_picture:
            together, any_given = places.amax(1), given.any(1)
            shown = maps if len(maps) == 1 else maps * given[..., None, None]
            part["piap"] = _or_failed(ranked(shown.sum(1), together, [])[0], any_given)
            part[UNION] = torch.stack([protocols.union(maps, places, rule, given) for rule in self.rules], dim=1)
            if self.truth.tiles == (1, 1):
                part[SOURCE_WISE] = part[FRAME_WISE]
            else:
                tiles = self.truth.tiles
                found = [protocols.source_wise(maps, places, rule, tiles, given) for rule in self.rules]
                part[SOURCE_WISE] = torch.stack(found, dim=2)
        self.parts.append(part)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the protocol, the rule and the numbers, in percent, of every row."""
        values = {name: torch.cat([part[name] for part in self.parts]).double() for name in self.parts[0]}
        several = self.truth.trial.sources > 1
        ranking = {"CAP" if several else "AP": float(values["ap"].nanmean(1).nanmean())}
        if "piap" in values:
            ranking["PIAP"] = float(values["piap"].nanmean())
        for protocol in protocols.PROTOCOLS:
            overlaps = values.get(FRAME_WISE if protocol == MEAN_IOU else protocol)
            for number, rule in enumerate(self.rules if overlaps is not None else ()):
                found = protocols.numbers(protocol, overlaps[..., number])
                found = ranking | found if protocol == FRAME_WISE else found
                percent = {name: round(100 * value, 2) for name, value in found.items()}
                yield {"protocol": protocol, "threshold_rule": rule.name} | percent


def _or_failed(values: Float[Tensor, "*shape"], given: Bool[Tensor, "..."]) -> Float[Tensor, "*shape"]:
    """Return 0 where there is a truth and no map was given."""
    return torch.where(given | values.isnan(), values, 0.0)


def _rows(scores: Mapping[tuple[str, str], _Score], truth: Truth, rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Return the rows by protocol and rule, the maps first and what needs no model below them."""
    trial = truth.trial
    rows = [
        {
            "method": method, "benchmark": truth.benchmark, "subset": trial.subset, "sources": trial.sources,
            "geometry": trial.geometry, "classes": way, "clips": len(truth), "origin": truth.origin,
        } | row
        for (method, way), score in scores.items()
        for row in score.rows()
    ]  # fmt: skip
    names = [rule.name for rule in rules]
    order = protocols.PROTOCOLS
    return sorted(rows, key=lambda row: (order.index(row["protocol"]), names.index(row["threshold_rule"])))


# ---------------------------------------------------------------------------------------------------------- given maps


class _GivenMaps:
    """The maps of files, read and scored some pictures at a time."""

    def __init__(self, files: Maps, truth: Truth, rules: Sequence[Rule]) -> None:
        self.files, self.truth, self.rules = files, truth, rules
        self.way = "oracle" if files.named else "none" if files.most == 1 else "best_pairing"
        self.counts, self.score = Counts(unknown=files.unknown), _Score(truth, rules)

    def add(self, part: slice, places: Shaped[Tensor, "pictures sources H W"]) -> None:
        """Read and score the maps of some pictures."""
        names, size = self.truth.names[part], (places.shape[2], places.shape[3])
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            read = list(pool.map(self._read, names))
        rows = [self._row(*one) for one in zip(names, self.truth.classes[part], read, strict=True)]
        maps, given = _stacked(rows, size)
        if self.way == "best_pairing":
            self.score.add(places, *_paired(maps, given, places, self.rules))
            return
        ap, overlap = ranked(maps.flatten(0, 1), places.flatten(0, 1), self.rules)
        shape = places.shape[:2]
        self.score.add(places, ap.reshape(shape), overlap.reshape(*shape, -1), maps, given)

    def check(self) -> None:
        """Raise DataError where not one map could be judged."""
        if len(self.counts.missing) + len(self.counts.broken) == len(self.truth):
            raise DataError(f"Not one map of {self.files.title} can be judged, such as {self.counts.broken[0]}.")

    def _read(self, name: str) -> ClipMaps | str | None:
        """Return a picture's maps, or why they are none, or None where there are none."""
        if name not in self.files:
            return None
        try:
            return self.files.read(name)
        except BrokenMap as error:
            return str(error)

    def _row(self, name: str, classes: tuple[str, ...], read: ClipMaps | str | None) -> list[Tensor | None]:
        """Return the maps of a picture's sources, None for each that there is none of; nameless maps as they come."""
        nothing: list[Tensor | None] = [None] * len(classes)
        if read is None:
            self.counts.missing.append(name)
            return nothing
        if isinstance(read, str):
            self.counts.broken.append(f"{name} ({read})")
            return nothing
        if self.way == "none":
            return [read.maps[0]] * len(classes)
        row: list[Tensor | None] = list(read.maps)
        if self.way == "oracle":
            named = dict(zip(read.labels, read.maps, strict=True))
            row = [named.get(spelled(label)) for label in classes]
            self.counts.beside += len(named.keys() - {spelled(label) for label in classes})
        if len([one for one in row if one is not None]) < len(classes):
            self.counts.incomplete.append(name)
        return row


def _stacked(
    rows: Sequence[Sequence[Tensor | None]], size: tuple[int, int]
) -> tuple[Float[Tensor, "pictures maps H W"], Bool[Tensor, "pictures maps"]]:
    """Return maps of any sizes at one, and which of them there are; the others are 0."""
    most = max(map(len, rows))
    stacked, given = torch.zeros(len(rows), most, *size), torch.zeros(len(rows), most, dtype=torch.bool)
    fitted: dict[int, Tensor] = {}  # one map may be that of all sources
    for picture, row in enumerate(rows):
        for number, one in enumerate(row):
            if one is not None:
                if id(one) not in fitted:
                    fitted = {id(one): resized(one, size)}
                stacked[picture, number], given[picture, number] = fitted[id(one)], True
    return stacked, given


def resized(one: Float[Tensor, "_ _"], size: tuple[int, int]) -> Float[Tensor, "_ _"]:
    """Return a map at the truth's size: enlarged as every map is, or made smaller by means of what falls together."""
    if tuple(one.shape) == size:
        return one
    if one.shape[0] <= size[0] and one.shape[1] <= size[1]:
        return upsample(one, size)
    return interpolate(one[None, None], size=size, mode="bilinear", align_corners=False, antialias=True)[0, 0]


def _paired(
    maps: Float[Tensor, "_ maps H W"],
    given: Bool[Tensor, "_ maps"],
    places: Shaped[Tensor, "pictures sources H W"],
    rules: Sequence[Rule],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return AP, IoUs, maps and which are given, a map a source: the assignment with the highest mean AP.

    Maps of one picture may stand for all.
    """
    sources = places.shape[1]
    if blank := max(0, sources - maps.shape[1]):
        maps = torch.cat([maps, maps.new_zeros(len(maps), blank, *maps.shape[2:])], dim=1)
        given = torch.cat([given, given.new_zeros(len(given), blank)], dim=1)
    count, given = maps.shape[1], given.expand(len(places), -1)
    every = [ranked(maps[:, number], places[:, source], rules) for number in range(count) for source in range(sources)]
    ap = torch.stack([one for one, _ in every], dim=1).reshape(-1, count, sources)
    overlap = torch.stack([one for _, one in every], dim=1).reshape(-1, count, sources, len(rules))
    order = best_pairing(torch.where(given[..., None] | ap.isnan(), ap, -1.0))
    picture, source = torch.arange(len(places))[:, None], torch.arange(sources)
    ordered = maps if len(maps) == 1 and count == sources else maps.expand(len(places), -1, -1, -1)[picture, order]
    return ap[picture, order, source], overlap[picture, order, source], ordered, given[picture, order]


# ----------------------------------------------------------------------------------------------- what needs no model


class _WithoutModel:
    """The rows beside the maps: a map that is the same for every picture is sorted once, and the oracle not at all."""

    def __init__(self, truth: Truth, rules: Sequence[Rule]) -> None:
        self.truth, self.rules = truth, rules
        tiled = truth.tiles != (1, 1)
        names = ("centre", "whole_image", *(trivial.TILED if tiled else ()), "oracle")
        ways = {"tile_each": "best_pairing"}
        self.scores = {(name, ways.get(name, "none")): _Score(truth, rules) for name in names}

    def add(self, places: Shaped[Tensor, "pictures sources H W"]) -> None:
        """Score the rows on some pictures."""
        for (name, _), score in self.scores.items():
            score.add(places, *self._judged(name, places))

    def _judged(
        self, name: str, places: Shaped[Tensor, "pictures sources H W"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        size, shape = (places.shape[2], places.shape[3]), places.shape[:2]
        given = torch.ones(shape, dtype=torch.bool)
        if name == "tile_each":
            every = trivial.tile_each(size, self.truth.tiles)[None]
            return _paired(every, torch.ones(1, every.shape[1], dtype=torch.bool), places, self.rules)
        if name == "oracle":
            flat = places.flatten(0, 1)
            maps = trivial.oracle(flat)
            order = np.argsort(-flat.flatten(1).float().numpy(), axis=1, kind="stable")  # rows from top to bottom
            ap, overlap = ranked(maps, flat, self.rules, torch.from_numpy(order))
            return ap.reshape(shape), overlap.reshape(*shape, -1), maps.reshape(places.shape), given
        one = {
            "centre": lambda: trivial.centre(size),
            "tile_centre": lambda: trivial.tile_centre(size, self.truth.tiles),
            "whole_image": lambda: trivial.whole_image(size),
        }[name]()
        found = [ranked(one[None], places[:, source], self.rules) for source in range(shape[1])]
        ap, overlap = (torch.stack(values, dim=1) for values in zip(*found, strict=True))
        return ap, overlap, one.expand(1, shape[1], *size), given
