"""The papers' tables rebuilt: each published row, this project's own where a run exists, and what needs no model.

Reads metrics.json files and nothing else. A run's number stands in a published table only for the same benchmark,
subset and metric, and how it was judged is written beside it; it is coloured, and marked with a dagger, where the
published order of two methods is not the order found here. Introduced in notebooks/12_paper_tables.ipynb.
"""

import json
import re
import statistics
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from pathlib import Path
from typing import Any

from avnb.config import Settings
from avnb.data.benchmarks import BENCHMARKS, Protocol, printed_as
from avnb.evaluation.rows import ASKED, DECIBELS, IDEAL, needs_a_rule, training_of
from avnb.metrics import trivial
from avnb.models import METHODS
from avnb.papers import PAPERS, Row, Table, tables_of
from avnb.paths import outputs_dir, shown
from avnb.training.trained import is_usual

Cell = tuple[str, str]  # a benchmark as the paper names it, and a metric

PUBLISHED, OWN, NO_MODEL = "published", "this project", "needs no model"
DAGGER = "†"
TEXTS, COUNTS = (
    ("method", "benchmark", "subset", "geometry", "classes", "threshold_rule", "origin"),
    ("sources", "clips"),
)
MORE_TEXTS = ("protocol", "truth", "trained")  # that a row may do without

# Methods of print that are one of ours with other settings.
ALSO: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "OTS-mix": ("ots", {"sources": 2}),
    "Sound-of-Pixels + matching": ("sound_of_pixels", {"matching": True}),
}


@dataclass(frozen=True)
class Judged:
    """A row of a run's metrics.json, and the settings of the run (None where they are no method's of this package).

    ``kept`` says that the run is gone, and the row one of those that docs/results holds.
    """

    row: Mapping[str, Any]
    settings: Settings | None
    run: str
    kept: bool = False

    @property
    def trained(self) -> str:
        """How long the row's method was trained; nothing where it is none of METHODS."""
        return training_of(self.settings) if self.settings and self.row["method"] in METHODS else ""


@dataclass
class Line:
    """A line of a rebuilt table. ``judged`` says for each benchmark how; ``spreads`` are deviations over seeds.

    ``printed`` are the published values with the paper's digits; ``daggers`` are the cells whose order with another
    method's is not the published one.
    """

    group: str
    name: str
    values: dict[Cell, float] = field(default_factory=dict)
    printed: dict[Cell, str] = field(default_factory=dict)
    spreads: dict[Cell, float] = field(default_factory=dict)
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    daggers: set[Cell] = field(default_factory=set)


def read_runs(folder: Path | None = None) -> list[Judged]:
    """Return every row of every run's metrics.json under ``folder``, by default outputs/.

    One that is damaged is passed over, with a warning that names it.
    """
    found = []
    for path in sorted((folder or outputs_dir()).glob("*/*/*/metrics.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            method = METHODS.get(path.parts[-4])
            settings = None if method is None else method.SETTINGS.from_dict(said["settings"])
            found += [Judged(_checked(row), settings, path.parent.name) for row in said["rows"] if row["method"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            why = f"{shown(path)} is damaged ({error!r}) and passed over; judge the run again, or delete it."
            warnings.warn(why, stacklevel=2)
    return found


def _checked(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row that says how it was judged and holds numbers; raise ValueError where it is none."""
    for name in (*TEXTS, *COUNTS, *row):
        value = row.get(name)
        kind = str if name in (*TEXTS, *MORE_TEXTS) else int if name in COUNTS else (int, float, type(None))
        if not isinstance(value, kind) or (isinstance(value, int) and abs(value) > sys.maxsize):
            raise ValueError(f"{name} = {value!r}"[:100])
    return row


# ---------------------------------------------------------------------------------------------------------- rebuilding


@dataclass(frozen=True)
class Rebuilt:
    """A published table with this project's lines: a notebook shows it, and ``latex`` carries it elsewhere."""

    table: Table
    lines: tuple[Line, ...]

    @property
    def columns(self) -> dict[str, list[str]]:
        """The metrics of each benchmark, as printed."""
        return {label: list(rows[0].values) for label, rows in self.table.benchmarks.items()}

    @property
    def own(self) -> list[Line]:
        """This project's lines."""
        return [line for line in self.lines if line.group == OWN]

    @property
    def comparison(self) -> str:
        """What a reader must know before comparing this project's lines with the published."""
        labels = list(dict.fromkeys(label for line in self.own for label in line.judged))
        if not labels:
            return "This project has no run on these benchmarks: the published numbers stand alone."
        origins = {line.judged[label]["origin"] for line in self.own for label in line.judged}
        missing = [label for label in self.columns if label not in labels]
        said = "This project's numbers are on real clips; whether they can be compared hangs on what is said here."
        if origins != {"real"}:
            said = (
                f"This project's numbers are on the {' and '.join(sorted(origins))}, the published ones on real "
                "videos: the two cannot be compared, only the order of methods can."
            )
        daggers = any(line.daggers for line in self.own)
        said += f" {DAGGER} and colour: the published order of two methods is not the order here." if daggers else ""
        return said + (f" No run on {', '.join(missing)}." if missing else "")

    def records(self) -> list[dict[str, Any]]:
        """Return a record for every number: what it is, how it was judged, and whether the published order holds."""
        return [
            {
                "paper": self.table.paper, "table": self.table.number, "benchmark": label, "metric": metric,
                "group": line.group, "method": line.name, "value": line.printed.get((label, metric), value),
                "deviation": line.spreads.get((label, metric), ""),
                "published_order_holds": "" if line.group != OWN else (label, metric) not in line.daggers,
                **{name: line.judged.get(label, {}).get(name, "") for name in JUDGED_BY},
            }
            for line in self.lines
            for (label, metric), value in line.values.items()
        ]  # fmt: skip


JUDGED_BY = ("origin", "geometry", "threshold_rule", "classes", "clips", "trained", "runs")


def rebuild(table: Table, runs: Sequence[Judged]) -> Rebuilt:
    """Return ``table`` with a line for each of its methods that has been run, and for what needs no model."""
    published = _published(table)
    own, ranked = [], []
    for (method, wanted), line in published.items():
        key, variant = ALSO.get(method, (_key(method), {}))
        if key is None:
            continue
        rows = _ablation(table, key)
        name = ", ".join(filter(None, (method, wanted)))
        if wanted and wanted in rows:
            lengths = _lengths(key, rows[wanted], runs)
            variant = rows[wanted]
        elif wanted and rows:
            continue
        else:
            lengths = ("",)
            if wanted:  # the row says what was trained on, which here is the benchmark itself
                name = method
                if any(found.name == method for found in own):
                    continue
        for trained in lengths:
            ways = [_own_line(name, key, variant, way, table, runs, trained) for way in ASKED]
            asked = [found for found in ways if found is not None]
            own += asked
            if asked and (rows or not wanted):
                ranked.append((line, asked[0], trained))
    _mark(ranked)
    return Rebuilt(table, (*published.values(), *own, *_lines_without_model(table, runs, own)))


def _ablation(table: Table, key: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the settings of each row of a table in which a method is taken apart; none where it is no such table."""
    if key not in METHODS or key != _key(table.paper):
        return {}
    return METHODS[key].ABLATIONS.get(table.number.lower().replace(" ", ""), {})


def _lengths(key: str, variant: Mapping[str, Any], runs: Sequence[Judged]) -> list[str]:
    """Return for how long the runs of an ablation's row were trained, each length once: each has a line of its own."""
    own = [judged for judged in runs if judged.row["method"] == key]
    return sorted({judged.trained for judged in own if _is_variant(judged, variant, judged.trained)})


def rebuild_all(runs: Sequence[Judged]) -> dict[str, list[Rebuilt]]:
    """Return the rebuilt tables of each paper, by its title, oldest paper first."""
    return {paper.title: [rebuild(found, runs) for found in tables_of(paper)] for paper in PAPERS}


def in_words(judged: Mapping[str, Any] | None) -> str:
    """Return how a number was judged, e.g. ``one frame, top_half, true classes given, stand-in, 132 clips``."""
    if not judged:
        return ""
    runs = judged.get("runs", 1)
    parts = [
        str(judged["geometry"]).replace("_", " "),
        judged["threshold_rule"] if judged["threshold_rule"] != "none" else "",
        ASKED.get(judged["classes"], judged["classes"]),
        judged["origin"],
        f"{judged['clips']} clips" if isinstance(judged["clips"], int) else judged["clips"],
        f"trained for {judged['trained']}" if judged.get("trained") else "",
        f"mean of {runs} seeds" if runs > 1 else "",
        "of docs/results" if judged.get("kept") else "",
    ]
    return ", ".join(filter(None, parts))


# ------------------------------------------------------------------------------------------------- one line of a table


def _published(table: Table) -> dict[tuple[str, str], Line]:
    """Return the published lines: a row of each benchmark where the paper has it."""
    lines: dict[tuple[str, str], Line] = {}
    for label, rows in table.benchmarks.items():
        for row in rows:
            line = lines.setdefault((row.method, row.setting), Line(PUBLISHED, _name_of(row)))
            line.name = _name_of(row) if row.starred else line.name
            line.values |= {(label, metric): value for metric, value in row.values.items() if value is not None}
            line.printed |= {(label, metric): text for metric, text in row.printed.items()}
            if protocol := next((protocol for _, protocol in printed_as(label)), None):
                line.judged[label] = {
                    "origin": "real", "geometry": protocol.geometry, "classes": "",
                    "clips": table.tested_on.get(label, protocol.clips or ""),
                    "threshold_rule": protocol.threshold_rules.get(_key(table.paper) or "", "none"),
                }  # fmt: skip
    return lines


def _own_line(
    name: str,
    key: str,
    variant: Mapping[str, Any],
    way: str,
    table: Table,
    runs: Sequence[Judged],
    trained: str,
) -> Line | None:
    """Return the line of a method's runs with these settings, asked in this way; None without such a run.

    ``trained`` is how long they were trained; "" stands for the preset's own length.
    """
    line = Line(OWN, name + (", its own classes" if way == "predicted" else ""))
    own = [judged for judged in runs if judged.row["method"] == key and judged.row.get("classes", "none") == way]
    candidates = [judged for judged in own if _is_variant(judged, variant, trained)]
    for label, rows in table.benchmarks.items():
        for metric in rows[0].values:
            found = closest(candidates, label, metric, _key(table.paper) or "")
            if not found:
                continue
            values = [value for _, value in found]
            line.values[label, metric] = statistics.fmean(values)
            if len(values) > 1:
                line.spreads[label, metric] = statistics.stdev(values)
            _say_how(line, label, metric, [judged for judged, _ in found])
    return line if line.values else None


def _lines_without_model(table: Table, runs: Sequence[Judged], own: Sequence[Line]) -> list[Line]:
    """Return what needs no model, as it was judged beside this project's lines."""
    names = [*trivial.NAMES, *trivial.TILED, "mixture", *IDEAL]
    lines = []
    for name in names:
        line = Line(NO_MODEL, name.replace("_", " "))
        for label, rows in table.benchmarks.items():
            beside = [found.judged[label] for found in own if label in found.judged]
            if not beside:
                continue
            for metric in rows[0].values:
                candidates = [judged for judged in runs if judged.row["method"] == name]
                for judged, value in closest(candidates, label, metric, _key(table.paper) or "")[:1]:
                    line.values[label, metric] = value
                    _say_how(line, label, metric, [judged])
        if line.values:
            lines.append(line)
    return lines


def _say_how(line: Line, label: str, metric: str, found: Sequence[Judged]) -> None:
    """Note how a benchmark's numbers were judged: as those that need a threshold were, if any do."""
    row = found[0].row
    if label not in line.judged or needs_a_rule(metric):
        how = {name: row.get(name, "") for name in JUDGED_BY}
        line.judged[label] = how | {"trained": found[0].trained, "runs": len(found), "kept": found[0].kept}


def closest(candidates: Sequence[Judged], label: str, metric: str, paper: str) -> list[tuple[Judged, float]]:
    """Return one row a run for a cell, and its number: judged as the paper did where there is such a row.

    Real clips come before a stand-in, a benchmark's own mixtures before those that are made of another's clips, then
    the paper's geometry and threshold rule.
    """
    separated = {record.name for record in BENCHMARKS.values() if record.separated_as == label}
    places = {(record.name, one.subset, one.sources): one for record, one in printed_as(label) if metric in one.metrics}
    found: list[tuple[Judged, Protocol | None, float]] = []
    for judged in candidates:
        row = judged.row
        place = places.get((row["benchmark"], row["subset"], row["sources"]))
        if metric in DECIBELS and row["benchmark"] in separated and row["geometry"] == "separate":
            place = None
        elif metric in DECIBELS or place is None:
            continue
        value = row.get(f"{metric}@{place.iou_at}" if place and metric in ("Precision", "F1") else metric)
        if value is not None:
            found.append((judged, place, value))
    wanted = {
        "origin": lambda row, _: row["origin"] == "real",
        "benchmark": lambda _, place: place is not None and place.composed,
        "geometry": lambda row, place: place is None or row["geometry"] == place.asked_in,
        "threshold_rule": lambda row, place: (
            place is None or row["threshold_rule"] == place.threshold_rules.get(paper, "top_half")
        ),
    }
    for name, is_wanted in wanted.items():
        found = [one for one in found if is_wanted(one[0].row, one[1])] or found
        found = [one for one in found if one[0].row[name] == found[0][0].row[name]]
    return list({judged.run: (judged, value) for judged, _, value in found}.values())


def _mark(ranked: Sequence[tuple[Line, Line, str]]) -> None:
    """Give both cells of every two methods a dagger whose published order is not the order here.

    Only numbers that were judged in the same way have an order: those of other threshold rules are left out, and so
    are rows of an ablation that were trained for another time.
    """
    for (printed, own, trained), (other_printed, other_own, other_trained) in combinations(ranked, 2):
        if trained != other_trained:
            continue
        cells = own.values.keys() & other_own.values.keys() & printed.values.keys() & other_printed.values.keys()
        for cell in cells:
            if not _judged_alike(own, other_own, cell):
                continue
            claimed = printed.values[cell] - other_printed.values[cell]
            if claimed * (own.values[cell] - other_own.values[cell]) < 0:
                own.daggers.add(cell)
                other_own.daggers.add(cell)


def _judged_alike(line: Line, other: Line, cell: Cell) -> bool:
    """Tell whether two lines' numbers were judged on the same geometry and, if they need one, by the same rule."""
    label, metric = cell
    told = ("geometry", "threshold_rule") if needs_a_rule(metric) else ("geometry",)
    return all(line.judged[label][name] == other.judged[label][name] for name in told)


def _is_variant(judged: Judged, variant: Mapping[str, Any], trained: str) -> bool:
    """Tell whether a row is of a run that is its preset's but for ``variant``; what needs no training always is.

    With ``trained`` the run may be of another length than the preset's, but must be of that one.
    """
    settings = judged.settings
    if settings is None or judged.row["method"] not in METHODS:
        return True
    if settings.limit or any(getattr(settings, name, value) != value for name, value in variant.items()):
        return False
    if trained and judged.trained != trained:
        return False
    lengths = {entry.name for entry in fields(settings) if entry.name.endswith("epochs")} if trained else set()
    return is_usual(settings, dict(variant) | {name: getattr(settings, name) for name in lengths})


def _key(method: str) -> str | None:
    """Return our name of a method that is printed otherwise; None where this package has none.

    >>> _key("Mix-and-Localize"), _key("HardPos"), _key("AVObject")
    ('mix_and_localize', 'hard_pos', None)
    """
    plain = re.sub(r"[^a-z0-9]", "", method.lower())
    return next((name for name in (*METHODS, "nmf", "rpca") if name.replace("_", "") == plain), None)


def _name_of(row: Row) -> str:
    return ", ".join(filter(None, (row.method, row.setting))) + (" (* best pairing)" if row.starred else "")
