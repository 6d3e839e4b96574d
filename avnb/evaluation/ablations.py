"""The rows of the methods' ablations that are kept in git: docs/results/ablations.json, written by ``make ablations``.

All of them, and each method as it is, were trained for the same share of the preset's epochs, so that they can be
compared with one another; the file says for how long, with how many seeds, on what data and on which processor.
Introduced in notebooks/12_paper_tables.ipynb.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from avnb.config import Settings
from avnb.evaluation.paper_tables import Judged
from avnb.models import METHODS
from avnb.paths import project_root
from avnb.training.runs import NOT_PART_OF_THE_RESULT, Run, find_runs
from avnb.training.trained import settings_of

T = TypeVar("T", bound=Settings)

ABLATED = "docs/results/ablations.json"  # in the project; written by tools/ablations.py
AS_IT_IS = "as it is"  # the method that the rows are compared with
DIVISOR = 3  # of the preset's epochs
NOT_TRAINED = {  # tables whose rows make no training of the quick preset's
    ("ez_vsl", "table5"): "its rows are ways to show what one training has made, all of them in notebook 02",
    ("dsol", "table8"): "the quick preset's frozen trunk has ImageNet's weights always",
}


@dataclass(frozen=True)
class Kept:
    """A row that is kept: its ``change`` of the method's settings, how long it was trained, and what its seeds reach.

    ``judged`` are rows as evaluation writes them, without a method and with the "values" of each metric: one a seed,
    None where it has none.
    """

    names: tuple[str, ...]
    change: Mapping[str, Any]
    trained: str
    seeds: tuple[int, ...]
    judged: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Kept":
        """Return what the file says of a row."""
        return cls(tuple(said["rows"]), said["change"], said["trained"], tuple(said["seeds"]), tuple(said["judged"]))

    def called(self, table: str, row: str) -> bool:
        """Tell whether it is this row of this table; the method as it is, is in all of them."""
        return (row == AS_IT_IS and AS_IT_IS in self.names) or f"{table}: {row}" in self.names


def read_ablations(path: Path | None = None) -> dict[str, Any]:
    """Return what the file says: the data, the processor and each method's `Kept` rows; no methods without a file."""
    path = path or project_root() / ABLATED
    if not path.exists():
        return {"methods": {}}
    said = json.loads(path.read_text(encoding="utf-8"))
    return said | {"methods": {name: tuple(map(Kept.of, rows)) for name, rows in said["methods"].items()}}


def shortened(settings: T, divisor: int = DIVISOR) -> T:
    """Return the settings with all their numbers of epochs divided by ``divisor`` and rounded up.

    >>> from avnb.models.dsol import DSOLSettings
    >>> short = shortened(DSOLSettings(epochs=3, class_epochs=7, match_epochs=9))
    >>> short.epochs, short.class_epochs, short.match_epochs
    (1, 3, 3)
    """
    lengths = [entry.name for entry in fields(settings) if entry.name.endswith("epochs")]
    return replace(settings, **{name: math.ceil(getattr(settings, name) / divisor) for name in lengths})


def kept_rows(said: Mapping[str, Any], method: str, *tables: str) -> dict[str, Kept]:
    """Return the kept rows of these tables of a method's ABLATIONS, in their order, the method as it is first.

    A row that stands in them under several names has all of these.
    """
    ablations, known = METHODS[method].ABLATIONS, said["methods"].get(method, ())
    found: list[tuple[Kept, list[str]]] = []
    wanted = [(key, row) for key in tables for row in ablations.get(key, ())]
    for table, row in [("", AS_IT_IS), *wanted]:
        for kept in (kept for kept in known if kept.called(table, row)):
            own = next((names for other, names in found if other is kept), None)
            if own is None:
                found.append((kept, own := []))
            own.append(row)
    return {"; ".join(dict.fromkeys(own[1:] if own[0] == AS_IT_IS else own)) or AS_IT_IS: kept for kept, own in found}


def runs_of_rows(settings: Settings, benchmark: str, *tables: str) -> dict[str, Run]:
    """Return the judged runs under outputs/ of the rows of these tables, the method as it is first.

    They are of the length of ``make ablations``, of which ``settings`` are the preset's; the lowest seed of each.
    Introduced in notebooks/03_mix_and_localize.ipynb.
    """
    rows = {AS_IT_IS: {}} | {
        row: change for key in tables for row, change in METHODS[settings.METHOD].ABLATIONS.get(key, {}).items()
    }
    there = [(settings_of(run), run) for run in find_runs(settings.METHOD, benchmark) if run.best is not None]
    found = {}
    for row, change in rows.items():
        wanted = _known_by(replace(shortened(settings), **change))
        runs = [(its.seed, run) for its, run in there if _known_by(its) == wanted]
        if runs:
            found[row] = min(runs, key=lambda seeded: seeded[0])[1]
    return found


def kept_runs(runs: Sequence[Judged] = (), path: Path | None = None) -> list[Judged]:
    """Return the kept rows as those of runs, a run a seed, without those that ``runs`` have of a row's settings.

    Introduced in notebooks/12_paper_tables.ipynb.
    """
    said = read_ablations(path)
    there = {_known_by(judged.settings) for judged in runs if judged.settings}
    return [judged for judged in _as_runs(said) if _known_by(judged.settings) not in there]


def _as_runs(said: Mapping[str, Any]) -> Iterator[Judged]:
    for method, kept in ((method, kept) for method, rows in said["methods"].items() for kept in rows):
        told = {"preset": said["preset"], "limit": said["limit"], "dataset": said["dataset"]}
        own = METHODS[method].SETTINGS(**told).resolve("cpu", said["origin"])
        own = replace(shortened(own, said["divisor"]), **kept.change)
        for number, seed in enumerate(kept.seeds):
            for row in kept.judged:
                about = {name: value for name, value in row.items() if name != "values"}
                about |= {"method": method, "benchmark": said["dataset"], "origin": said["origin"]}
                values = {name: value[number] for name, value in row["values"].items() if value[number] is not None}
                yield Judged(about | values, replace(own, seed=seed), f"kept, seed {seed}", kept=True)


def _known_by(settings: Settings) -> tuple[tuple[str, Any], ...]:
    """Return what tells a row's settings from another's: whatever the seed, and where and how it is trained."""
    apart = {*NOT_PART_OF_THE_RESULT, "seed", "origin"}
    return (("method", settings.METHOD), *((k, v) for k, v in settings.as_dict().items() if k not in apart))


def spread(values: Iterable[float | None], digits: int = 1) -> str:
    """Return the mean of the seeds with the lowest and the highest, or the one value there is; "" without any.

    >>> spread([60.0, 62.0, 67.0]), spread([7.25], digits=2), spread([None])
    ('63.0 (60.0-67.0)', '7.25', '')
    """
    found = [value for value in values if value is not None]
    if not found:
        return ""
    mean = f"{sum(found) / len(found):.{digits}f}"
    return f"{mean} ({min(found):.{digits}f}-{max(found):.{digits}f})" if len(found) > 1 else mean
