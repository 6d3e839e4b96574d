"""What a localized film comes to: which source sounds from when to when, and in which part of the picture."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, groupby, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any

from avnb.video.boxes import Box
from avnb.viewing.colours import readable

COLUMNS = ("time", "class", "x0", "y0", "x1", "y1", "score", "sounds", "heard", "shot")
Span = tuple[float, float]  # seconds, from the first moment to the last


@dataclass(frozen=True, slots=True)
class Row:
    """A source at a moment: where it is, how likely it sounds, whether it does, and whether there is any sound."""

    seconds: float
    name: str
    box: Box
    score: float
    sounds: bool
    heard: bool
    shot: int

    def cells(self) -> list[str | int]:
        """Return the row as it stands in the CSV, under COLUMNS."""
        marks = int(self.sounds), int(self.heard), self.shot
        return [f"{self.seconds:.3f}", self.name, *self.box, f"{self.score:.4f}", *marks]


@dataclass(frozen=True)
class Source:
    """A source of a film: its highest score, the ``spans`` (seconds) in which it sounds, and its mean box then."""

    name: str
    score: float
    spans: tuple[Span, ...]
    box: Box

    def sentence(self, width: int, height: int) -> str:
        """Return what is said of it: "violin sounds from 0.0 to 6.2 s, at the left"."""
        if not self.spans:
            return f"{readable(self.name)} is not heard"
        down = _third((self.box[1] + self.box[3]) / 2 / height, "top", "bottom")
        across = _third((self.box[0] + self.box[2]) / 2 / width, "left", "right")
        place = " ".join(word for word in (down, across) if word)
        return f"{readable(self.name)} sounds {_when(self.spans)}, {f'at the {place}' if place else 'in the middle'}"


def read_rows(table: Path) -> list[Row]:
    """Return the rows of a CSV that `avnb.video.localize.localize_video` wrote."""
    with open(table, newline="", encoding="utf-8") as file:
        said = list(csv.DictReader(file))
    return [
        Row(
            float(row["time"]),
            row["class"],
            (int(row["x0"]), int(row["y0"]), int(row["x1"]), int(row["y1"])),
            float(row["score"]),
            row["sounds"] == "1",
            row["heard"] == "1",
            int(row["shot"]),
        )
        for row in said
    ]


def sources_of(rows: Iterable[Row]) -> list[Source]:
    """Return the sources, in the order of the rows; a span lasts as long as every moment in it says that they sound.

    The box is the mean over those moments, or over all where there is none.
    """
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.name, []).append(row)
    sources = []
    for name, own in found.items():
        parts = [list(part) for on, part in groupby(own, attrgetter("sounds")) if on]
        every = list(chain.from_iterable(parts)) or own
        box = tuple(round(sum(row.box[side] for row in every) / len(every)) for side in range(4))
        spans = tuple((part[0].seconds, part[-1].seconds) for part in parts)
        sources.append(Source(name, max(row.score for row in own), spans, box))
    return sources


def unknown_spans(rows: Sequence[Row]) -> tuple[Span, ...]:
    """Return when there is sound and none of the sources is sure to make it."""
    moments = [list(part) for _, part in groupby(rows, attrgetter("seconds"))]
    marked = [(part[0].heard and not any(row.sounds for row in part), part[0].seconds) for part in moments]
    parts = [[seconds for _, seconds in part] for on, part in groupby(marked, itemgetter(0)) if on]
    return tuple((part[0], part[-1]) for part in parts)


def cuts_of(rows: Sequence[Row]) -> tuple[float, ...]:
    """Return the times of the first moments of all shots but the first."""
    return tuple(row.seconds for before, row in pairwise(rows) if row.shot != before.shot)


def sentence(rows: Sequence[Row], width: int, height: int) -> str:
    """Return in one line what was heard where, and when something sounded that is none of the classes."""
    said = [source.sentence(width, height) for source in sources_of(rows)]
    if unknown := unknown_spans(rows):
        said.append(f"something that is none of these sounds {_when(unknown)}")
    if cuts := cuts_of(rows):
        said.append(f"{len(cuts) + 1} shots")
    return "; ".join(said) + "."


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the same as JSON has it."""
    sources = [asdict(source) for source in sources_of(rows)]
    return {"sources": sources, "none_of_these": unknown_spans(rows), "cuts": cuts_of(rows)}


def _when(spans: Sequence[Span]) -> str:
    return " and ".join(f"from {begin:.1f} to {end:.1f} s" for begin, end in spans)


def _third(share: float, low: str, high: str) -> str:
    return low if share < 1 / 3 else high if share > 2 / 3 else ""
