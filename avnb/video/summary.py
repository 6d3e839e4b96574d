"""What a localized film comes to: which source sounds from when to when, and in which part of the picture."""

import csv
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from avnb.video.boxes import Box

SOUNDS = 0.5  # of a source's highest score: where it reaches that, it is said to sound


@dataclass(frozen=True)
class Source:
    """A source of a film: its highest score, the ``spans`` (seconds) in which it sounds, and its mean box then."""

    name: str
    score: float
    spans: tuple[tuple[float, float], ...]
    box: Box

    def sentence(self, width: int, height: int) -> str:
        """Return what is said of it: "violin sounds from 0.0 to 6.2 s, at the left"."""
        when = " and ".join(f"from {begin:.1f} to {end:.1f} s" for begin, end in self.spans)
        down = _third((self.box[1] + self.box[3]) / 2 / height, "top", "bottom")
        across = _third((self.box[0] + self.box[2]) / 2 / width, "left", "right")
        place = " ".join(word for word in (down, across) if word)
        return f"{self.name.replace('_', ' ')} sounds {when}, {f'at the {place}' if place else 'in the middle'}"


def sources_of(table: Path) -> list[Source]:
    """Return the sources in a CSV that `avnb.video.localize.localize_video` wrote, in its order.

    A source sounds at the moments at which its score is at least half of its highest; a span lasts from the first such
    moment to the last before one at which it does not.
    """
    with open(table, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = []
    for name in dict.fromkeys(row["class"] for row in rows):
        own = [row for row in rows if row["class"] == name]
        scores = [float(row["score"]) for row in own]
        highest = max(scores)
        marked = [(score >= SOUNDS * highest, row) for score, row in zip(scores, own, strict=True)]
        heard = [[row for _, row in part] for on, part in groupby(marked, itemgetter(0)) if on]
        every = list(chain.from_iterable(heard))
        box = tuple(round(sum(float(row[side]) for row in every) / len(every)) for side in ("x0", "y0", "x1", "y1"))
        spans = tuple((float(part[0]["time"]), float(part[-1]["time"])) for part in heard)
        found.append(Source(name, highest, spans, box))
    return found


def as_json(sources: list[Source]) -> list[dict[str, Any]]:
    """Return the sources as JSON has them."""
    return [asdict(source) for source in sources]


def _third(share: float, low: str, high: str) -> str:
    return low if share < 1 / 3 else high if share > 2 / 3 else ""
