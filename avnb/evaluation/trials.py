"""What a method is asked: which clips, how many sources, how their frames lie, and when a pixel counts as found.

Introduced in notebooks/04_avgn.ipynb.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from avnb.data.benchmarks import BENCHMARKS, Protocol
from avnb.data.clips import Recipe
from avnb.data.mixing import draw_partners, evenly
from avnb.data.store import Store
from avnb.errors import DataError
from avnb.metrics.protocols import FRAME_WISE, MEAN_IOU, PROTOCOLS, check_protocol
from avnb.papers import Row, Table


@dataclass(frozen=True)
class Trial:
    """One question that is put to every method alike.

    ``subset`` names the clips; ``limit`` (0: all) how many mixtures at most, drawn evenly. With ``silence`` the maps of
    the classes that do not sound are judged as well, where the sources are in one picture. With the threshold rule
    "none" no region is judged, and clips without ground truth do as well. ``parts`` are the subsets whose clips are
    taken, where they are not of the trial's own name, and ``boxes`` how many sounding objects a clip has, at least and
    at most (0: any number). ``protocol`` is what is made of the IoUs of several sources (avnb/metrics/protocols.py).
    """

    subset: str
    sources: int = 1
    geometry: str = "single"
    threshold_rule: str = "top_half"
    split: str = "test"
    limit: int = 0
    silence: bool = False
    parts: tuple[str, ...] = ()
    boxes: tuple[int, int] = (1, 0)
    protocol: str = FRAME_WISE

    def __post_init__(self) -> None:
        check_protocol(self.protocol)

    @property
    def key(self) -> str:
        """The name of its maps among a run's: ``duet-side_by_side``."""
        return f"{self.subset}-{self.geometry}"

    @classmethod
    def of_key(cls, key: str, sources: int) -> "Trial":
        """Return the trial whose maps are called ``key``; a subset's name may hold hyphens, a geometry's has none.

        >>> Trial.of_key("my-own-duets-side_by_side", 2).subset
        'my-own-duets'
        """
        subset, _, geometry = key.rpartition("-")
        return cls(subset, sources, geometry)

    def mixtures(self, store: Store) -> Int[np.ndarray, "mixtures clips"]:
        """Return the test mixtures: the same for every method and seed."""
        recipe = self.recipe
        chosen = pool = self.clips(store)  # partners, too, have ground truth and one class
        if len(chosen) == 0:
            raise DataError(self._nothing(store))
        chosen = evenly(chosen, self.limit)
        generator = np.random.default_rng([2023, self.sources])
        # Where nobody has named what sounds, as on Flickr-SoundNet, two clips are taken for two sources.
        named = bool(store.labels[pool].any(axis=0).sum() > 1)
        return draw_partners(store, chosen, pool, recipe.clips, generator, named and recipe.distinct_classes)

    def clips(self, store: Store) -> Int[np.ndarray, " clips"]:
        """Return the clips that can be asked about: with as many sounding classes, and with truth if it is judged.

        Where clips are mixed they show nothing silent, which the sound of another could seem to come from.
        """
        mixed = self.recipe.clips > 1
        if mixed and not self.parts:
            chosen = store.solos(self.split)
        else:
            there = [part for part in self.parts or (self.subset,) if (self.split, part) in store.count()]
            found = [store.select(self.split, part) for part in there]
            chosen = np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)
        if mixed:
            chosen = chosen[~store.has_silent(chosen)]
        if self.judged:
            chosen = chosen[store.has_truth(chosen)]
        if self.boxes != (1, 0):
            boxes, (least, most) = store.sounding_objects(chosen), self.boxes
            chosen = chosen[(boxes >= least) & (boxes <= (most or boxes))]
        return chosen[store.labels[chosen].sum(axis=1) == (1 if mixed else self.sources)]

    def _nothing(self, store: Store) -> str:
        truth = " with a box or a mask" if self.judged else ""
        what = "one class" if self.sources == 1 or self.recipe.clips > 1 else f"{self.sources} classes"
        there = ", ".join(f"{n} {split} {subset}" for (split, subset), n in sorted(store.count().items()))
        return f'"{store.name}" has no {self.split} clips of {what}{truth} for "{self.subset}"; it has {there}.'

    @property
    def judged(self) -> bool:
        """Whether its maps are scored."""
        return self.threshold_rule != "none"

    @property
    def in_one_picture(self) -> bool:
        """Whether several sources are seen together, so that their maps can be joined (PIAP)."""
        return self.sources > 1 and self.geometry != "separate"

    @property
    def tiles(self) -> tuple[int, int]:
        """How many frames are joined to the picture, (rows, columns): (1, 1) where it is one frame."""
        return {"side_by_side": (1, self.sources), "grid": (2, 2)}.get(self.geometry, (1, 1))

    @property
    def counts_silence(self) -> bool:
        """Whether there is NSA."""
        return self.geometry == "grid" or (self.silence and self.in_one_picture)

    @property
    def recipe(self) -> Recipe:
        """How the mixtures are made."""
        return Recipe(self.sources, self.geometry)


def trials_of(store: Store, limit: int = 0) -> list[Trial]:
    """Return what can be asked on a data set: its benchmark's subsets and those of its own, and mixtures side by side.

    First come single sources, then two and three clips side by side, then several sources in one picture. Where no
    test clip has ground truth, or none is for testing, the trials are there all the same, but nothing in them is
    judged. Raises DataError where no clip has a class.
    """
    split, judged = _asked_about(store)
    as_they_are = list(_as_they_are(store, split, judged))
    mixed = [Trial(name, n, "side_by_side") for name, n in (("duet", 2), ("trio", 3))]
    ordered = [
        *(trial for trial in as_they_are if trial.sources == 1), *mixed,
        *(trial for trial in as_they_are if trial.sources > 1),
    ]  # fmt: skip

    def allowed(trial: Trial) -> bool:
        heard = int(store.labels[trial.clips(store)].any(axis=0).sum())  # classes; none without ground truth
        return heard >= (trial.sources if trial.recipe.clips > 1 else 1)

    rule = "top_half" if judged else "none"
    asked = [replace(trial, split=split, limit=limit, threshold_rule=rule) for trial in ordered]
    found = [trial for trial in asked if allowed(trial)]
    if not found:
        raise DataError(
            f'None of the {split} clips of "{store.name}" has a class that sounds, so that no method can be asked '
            'anything; a row of metadata.jsonl names them in "objects" or "labels".'
        )
    return found


def _asked_about(store: Store) -> tuple[str, bool]:
    """Return the split whose clips methods are asked about, test where there is one, and whether maps can be judged."""
    split = next(one for one in ("test", "val", "train") if any(there == one for there, _ in store.count()))
    return split, split == "test" and bool(store.has_truth(store.select(split)).any())


def _as_they_are(store: Store, split: str, judged: bool) -> Iterator[Trial]:
    """Yield the trials whose clips are the folder's own, single or of several sources in one picture.

    The benchmark's protocols come first, then what else the folder holds: subsets of other names, and clips of more
    sources than the protocol of their subset has.
    """
    record = BENCHMARKS.get(store.name)
    protocols = record.protocols if record else ()
    sources = {protocol.subset: protocol.sources for protocol in protocols if protocol.clip_by_clip}
    for protocol in protocols:
        if protocol.clip_by_clip:
            about = {"parts": protocol.parts, "boxes": protocol.boxes}
            yield Trial(protocol.subset, protocol.sources, protocol.asked_in, **about)
    made_here = {protocol.subset for protocol in protocols} - sources.keys()
    for subset in sorted(subset for there, subset in store.count() if there == split and subset not in made_here):
        clips = store.select(split, subset)
        counts = Counter(store.labels[clips[store.has_truth(clips)] if judged else clips].sum(axis=1).tolist())
        for n, _ in counts.most_common():
            if n > sources.get(subset, 0):
                name, parts = (f"{subset} of {n}", (subset,)) if subset in sources else (subset, ())
                yield Trial(name, n, "single" if n == 1 else "one_frame", parts=parts)
                sources.setdefault(subset, 0)


def under_every_protocol(trial: Trial, rules: Sequence[str] = ()) -> list[Trial]:
    """Return the trial's mixtures under every protocol and each of the threshold rules (by default its own).

    Of one source a picture only the mean IoU is another protocol. `evaluate` judges them all from one asking.
    """
    protocols = PROTOCOLS if trial.in_one_picture else (FRAME_WISE, MEAN_IOU)
    return [
        replace(trial, protocol=protocol, threshold_rule=rule)
        for protocol in protocols
        for rule in (rules or (trial.threshold_rule,))
    ]


def single_trial(store: Store, limit: int = 0) -> Trial:
    """Return the trial of single sources by which a method is known; raise DataError where no clip has one source."""
    found = next((trial for trial in trials_of(store, limit) if trial.sources == 1), None)
    if found is None:
        raise DataError(_all_mixtures(store))
    return found


def _all_mixtures(store: Store) -> str:
    record = BENCHMARKS.get(store.name)
    instead = f" Its sources are the clips of {record.trained_on}: ask there." if record and record.trained_on else ""
    return f'"{store.name}" has no clips with one sounding class: every one is a mixture.{instead}'


def several_trial(store: Store, limit: int = 0) -> Trial:
    """Return the trial of several sources by which a method is known: two side by side, where clips can be mixed.

    Raises DataError where there are none and none can be made.
    """
    found = next((trial for trial in trials_of(store, limit) if trial.sources > 1), None)
    if found is None:
        raise DataError(
            f'"{store.name}" has no clips in which two classes sound, and none can be made: a mixture takes '
            "clips of two classes."
        )
    return found


def synthetic_trial(store: Store, limit: int = 0) -> Trial:
    """Return the trial of 2x2 scenes, of which two sound and two are silent (DSOL, 4.1): the folder's, else made here.

    Scenes that are made of the test solos cost more than other mixtures (a map of every class is judged) and are
    therefore none of ``trials_of``. Raises DataError where the solos have fewer than the four classes that a scene
    takes.
    """
    record = BENCHMARKS.get(store.name)
    composed = record is not None and any(one.composed and one.geometry == "grid" for one in record.protocols)
    rule = published_rule(store.name, "synthetic", "dsol")
    split, judged = _asked_about(store)
    told = rule if judged else "none", split, limit
    if composed:
        return Trial("synthetic", 2, "one_frame", *told, silence=judged)
    trial = Trial("synthetic", 2, "grid", *told)
    heard = int(store.labels[trial.clips(store)].any(axis=0).sum())
    if heard < trial.recipe.clips:
        raise DataError(
            f'"{store.name}" cannot provide 2x2 scenes: they take clips of four classes to be asked about, and it '
            f"has {heard}."
        )
    return trial


def duet_trial(store: Store, limit: int = 0, sources: int = 2) -> Trial:
    """Return the trial that separation is judged on: sums of single clips, each source on its own frame.

    Raises DataError where every clip is a mixture already.
    """
    trial = Trial("duet", sources, "separate", "none", _asked_about(store)[0], limit)
    if not len(trial.clips(store)):
        raise DataError(_all_mixtures(store))
    return trial


def published_rule(benchmark: str, subset: str, paper: str) -> str:
    """Return the threshold rule with which ``paper`` judged the subset; "top_half" where it names none."""
    found = _protocol(benchmark, subset)
    return found.threshold_rules.get(paper, "top_half") if found else "top_half"


def published_rows(table: Table, benchmark: str, subset: str = "") -> tuple[Row, ...]:
    """Return a table's rows on a subset of a benchmark, or without ``subset`` on its separation; () where it has none.

    Introduced in notebooks/04_avgn.ipynb.
    """
    found = _protocol(benchmark, subset)
    labels = found.published_as if found else (BENCHMARKS[benchmark].separated_as,) if benchmark in BENCHMARKS else ()
    return next((table[label] for label in labels if label in table.benchmarks), ())


def printed_metrics(benchmark: str, subset: str) -> tuple[str, ...]:
    """Return what papers print of the subset; nothing where none judged it."""
    found = _protocol(benchmark, subset)
    return found.metrics if found else ()


def judged_together(benchmark: str, subset: str) -> bool:
    """Return whether the clips of a picture, each with a sound of its own, are judged together as well."""
    found = _protocol(benchmark, subset)
    return found is not None and found.together


def headline_iou(benchmark: str, subset: str) -> float:
    """Return the IoU at which the papers count a clip of the subset as found; 0.5 where no paper judged it."""
    found = _protocol(benchmark, subset)
    return found.iou_at if found else 0.5


def _protocol(benchmark: str, subset: str) -> Protocol | None:
    protocols = BENCHMARKS[benchmark].protocols if benchmark in BENCHMARKS else ()
    return next((protocol for protocol in protocols if protocol.subset == subset), None)
