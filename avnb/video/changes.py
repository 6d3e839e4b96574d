"""The change test: whether the place that is shown follows the sound when another source begins, or all fall silent.

A method that looks for objects and hardly listens passes every benchmark of single pictures with one sounding object;
on a film it goes on showing the object after its sound has stopped. Needs to be told what sounds when, and where.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from avnb.errors import DataError
from avnb.video.boxes import GRID, Box
from avnb.video.summary import Row

COLUMNS = ("class", "start", "stop", "x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Sounding:
    """What truly sounds from ``start`` to ``stop`` (seconds), and where it is seen then; several follow what moves."""

    name: str
    start: float
    stop: float
    box: Box


@dataclass(frozen=True)
class Changes:
    """Percent: the mean IoU within a window ``before`` and ``after`` the changes, and over all moments with a sound.

    ``lit`` is the mean share of the picture that is shown to sound while nothing does. None where there is no such
    moment.
    """

    before: float | None
    after: float | None
    throughout: float | None
    lit: float | None

    def sentence(self) -> str:
        """Return the figures in words, and what there was nothing of."""
        change = "a change of who sounds"
        overlaps = {
            f"before {change}": self.before,
            f"after {change if self.before is None else 'it'}": self.after,
            "throughout": self.throughout,
        }
        told = ", ".join(f"{value:.1f} % {when}" for when, value in overlaps.items() if value is not None)
        lit = "nothing is silent" if self.lit is None else f"{self.lit:.1f} % of the picture lit in silence"
        return f"IoU {told}; {lit}" if told else f"nothing sounds; {lit}"


def read_soundings(path: Path) -> list[Sounding]:
    """Return the rows of a CSV with the columns class, start, stop (seconds), x0, y0, x1, y1 (pixels).

    Raises DataError, naming the line, for a file without these, or with a number that cannot be.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            said = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table of what sounds when: {error}.") from error
    if not said or not set(COLUMNS) <= said[0].keys():
        raise DataError(
            f"{path} has no rows with the columns {', '.join(COLUMNS)}; give one for each stretch of sound."
        )
    return [_sounding(row, f"{path}, line {number}") for number, row in enumerate(said, 2)]


def _sounding(row: dict[str, str], where: str) -> Sounding:
    try:
        start, stop = float(row["start"]), float(row["stop"])
        x0, y0, x1, y1 = (round(float(row[name])) for name in COLUMNS[3:])
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: start, stop and the box must be numbers ({error}).") from error
    if not 0 <= start < stop < np.inf or x0 >= x1 or y0 >= y1:
        raise DataError(f"{where}: 0 <= start < stop, x0 < x1 and y0 < y1 must hold.")
    return Sounding(row["class"], start, stop, (x0, y0, x1, y1))


def change_test(
    rows: Sequence[Row], size: tuple[int, int], truth: Sequence[Sounding], window: float = 1.0
) -> dict[str, Changes]:
    """Return the figures of a film's ``rows`` and of the "centre", a box in the middle that never listens.

    ``size`` is the picture's (height, width). What is compared is the union of the boxes of all that is said to sound
    with the union of the boxes of all that does, whatever it is called. A change is where another set of names begins
    to sound; ``window`` is how many seconds around it count. Raises DataError where nothing is said to sound.
    """
    if not rows or not truth:
        raise DataError(
            "A change test needs a film's rows, and what truly sounds when and where: one of them is empty."
        )
    moments = [(seconds, list(own)) for seconds, own in groupby(rows, attrgetter("seconds"))]
    seconds = np.array([moment for moment, _ in moments])
    real = [[it for it in truth if it.start <= moment < it.stop] for moment in seconds]
    true = np.stack([_union([it.box for it in now], size) for now in real])
    shown = np.stack([_union([row.box for row in own if row.sounds], size) for _, own in moments])
    height, width = size
    margin = (1 - np.sqrt(0.5)) / 2  # of the half of the picture that lies in its middle
    middle = tuple(round(side * share) for share in (margin, 1 - margin) for side in (width, height))
    changes = [at for at in _changes(truth) if at <= seconds[-1]]  # the film's end changes nothing
    return {
        name: _figures(regions, true, seconds, changes, window)
        for name, regions in (("shown", shown), ("centre", np.broadcast_to(_union([middle], size), true.shape)))
    }


def _changes(truth: Sequence[Sounding]) -> list[float]:
    """Return when the set of names that sound becomes another one."""
    edges = sorted({0.0, *(edge for it in truth for edge in (it.start, it.stop))})
    playing = [frozenset(it.name for it in truth if it.start <= edge < it.stop) for edge in edges]
    return [edge for (before, now), edge in zip(pairwise(playing), edges[1:], strict=True) if before != now]


def _union(boxes: Sequence[Box], size: tuple[int, int]) -> Bool[np.ndarray, "grid grid"]:
    """Return the cells of a grid over the picture whose middles lie in one of the boxes."""
    down, across = (((np.arange(GRID) + 0.5) / GRID * side) for side in size)
    found = np.zeros((GRID, GRID), bool)
    for x0, y0, x1, y1 in boxes:
        found |= ((down >= y0) & (down < y1))[:, None] & ((across >= x0) & (across < x1))
    return found


def _figures(
    shown: Bool[np.ndarray, "moments grid grid"],
    true: Bool[np.ndarray, "moments grid grid"],
    seconds: np.ndarray,
    changes: Sequence[float],
    window: float,
) -> Changes:
    union, common = (shown | true).sum(axis=(1, 2)), (shown & true).sum(axis=(1, 2))
    overlap = common / np.maximum(union, 1)
    sounds, at = true.any(axis=(1, 2)), np.array(changes)
    before, after = (
        ((seconds[:, None] >= at + begin) & (seconds[:, None] < at + end)).any(axis=1)
        for begin, end in ((-window, 0.0), (0.0, window))
    )
    return Changes(
        *(_percent(overlap[chosen & sounds]) for chosen in (before, after, np.ones_like(sounds))),
        _percent(shown[~sounds].mean(axis=(1, 2))),
    )


def _percent(values: np.ndarray) -> float | None:
    return 100 * float(values.mean()) if len(values) else None
