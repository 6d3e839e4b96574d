"""The papers' tables rebuilt: each published row, this project's own where a run exists, and what needs no model.

Reads metrics.json files and nothing else. A run's number stands in a published table only for the same benchmark,
subset and metric, and how it was judged is written beside it; it is coloured, and marked with a dagger, where the
published order of two methods is not the order found here. Introduced in notebooks/12_paper_tables.ipynb.
"""

import csv
import html
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

from avnb.config import Settings, setting
from avnb.data.benchmarks import BENCHMARKS, Benchmark, Protocol
from avnb.errors import RunError
from avnb.metrics import trivial
from avnb.models import METHODS
from avnb.papers import PAPERS, Row, Table
from avnb.paths import outputs_dir, shown, whole_file
from avnb.training.trained import is_usual

Cell = tuple[str, str]  # a benchmark as the paper names it, and a metric

PUBLISHED, OWN, NO_MODEL = "published", "this project", "needs no model"
DAGGER = "†"
HEARD = ("SDR", "SIR", "SAR")  # in decibels; of separation, which is judged on sums of two clips
SEPARATED_ON = {"MUSIC": "music", "VGGSound-Music": "vggsound-music"}  # as OneAVM's Table 2 names them
WAYS = ("oracle", "best_pairing", "none", "predicted")  # in which a method is asked; the first it has is ranked
ASKED = {
    "oracle": "true classes given", "best_pairing": "maps matched to the truth", "none": "",
    "predicted": "its own classes",
}  # fmt: skip

# Methods of print that are one of ours with other settings.
ALSO: Mapping[str, tuple[str, Mapping[str, Any]]] = {"OTS-mix": ("ots", {"sources": 2})}

# What the rows of an ablation are called in print, and the settings of a run that is one.
VARIANTS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "avgn": {
        "neither": {"class_tokens": False, "grouping": False},
        "AVCT": {"grouping": False},
        "AVG": {"class_tokens": False},
        "AVCT and AVG": {},
        "1 layer, softmax": {"depth": 1},
        "3 layers, softmax": {"depth": 3},
        "6 layers, softmax": {"depth": 6},
        "12 layers, softmax": {"depth": 12},
        "3 layers, hard softmax": {"depth": 3, "assignment": "hard"},
    },
    "dsol": {
        **{f"lambda {value}": {"localization_weight": value} for value in (0.3, 0.5, 0.8, 1.0, 1.5)},
        "alternating": {},
        "without alternating": {"alternate": False},
        **{f"mask {value}, 11 clusters": {"mask_threshold": value} for value in (0.03, 0.05, 0.07)},
        **{f"mask 0.05, {count} clusters": {"clusters": count} for count in (13, 20)},
        "Lc": {"localization_weight": 0.0, "product": False},
        "L1 and Lc": {"product": False},
        "L1 and Prod": {"consistency": False},
        "L1, Prod and Lc": {},
        "from scratch": {"pretrained": False},
        "ImageNet": {},
    },
    "ez_vsl": {
        "AVL": {"alpha": 1.0},
        "L1-OGL": {"alpha": 0.0},
        "CLS-OGL": {"alpha": 0.0, "object_prior": "class_posterior"},
        "AVL and CLS-OGL": {"object_prior": "class_posterior"},
        "AVL and L1-OGL": {},
        "similarity of the maximum": {"matching": "max_pooled", "alpha": 1.0},
        "mean of the similarities": {"matching": "mean", "alpha": 1.0},
        "maximum of the similarities": {"alpha": 1.0},
    },
    "mix_and_localize": {
        "mixed correspondence": {"objective": "correspondence"},
        "image-sound-image": {"objective": "image_sound_image"},
        "permutation-invariant": {"objective": "permutation"},
    },
    "one_avm": {
        "CL": {"separation": False, "alignment": False},
        "MAS": {"correspondence": False, "alignment": False},
        "CL and MAS": {"alignment": False},
        "CL and MVA": {"separation": False},
        "MAS and MVA": {"correspondence": False},
        "CL, MAS and MVA": {},
    },
}


@dataclass(frozen=True)
class TablesSettings(Settings):
    """The settings of notebooks/12_paper_tables.ipynb."""

    METHOD: ClassVar[str] = "tables"

    exported: bool = setting(True, doc="write the tables as CSV and LaTeX into outputs/tables")


@dataclass(frozen=True)
class Judged:
    """A row of a run's metrics.json, and the settings of the run (None where they are no method's of this package)."""

    row: Mapping[str, Any]
    settings: Settings | None
    run: str


@dataclass
class Line:
    """A line of a rebuilt table. ``judged`` says for each benchmark how; ``spreads`` are deviations over seeds.

    ``daggers`` are the cells whose order with another method's is not the published one.
    """

    group: str
    name: str
    values: dict[Cell, float] = field(default_factory=dict)
    spreads: dict[Cell, float] = field(default_factory=dict)
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    daggers: set[Cell] = field(default_factory=set)


def read_runs(folder: Path | None = None) -> list[Judged]:
    """Return every row of every run's metrics.json under ``folder``, by default outputs/.

    Raises RunError, naming the file, where one is damaged.
    """
    found = []
    for path in sorted((folder or outputs_dir()).glob("*/*/*/metrics.json")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            method = METHODS.get(path.parts[-4])
            settings = None if method is None else method.SETTINGS.from_dict(said["settings"])
            found += [Judged(row, settings, path.parent.name) for row in said["rows"] if row["method"]]
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{shown(path)} is damaged ({error!r}); judge the run again, or delete it.") from None
    return found


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

    def _repr_html_(self) -> str:
        """Return the table for a notebook; what colour says a dagger says too, for readers without styles."""
        shown_labels = {label for line in self.lines if line.group == OWN for label in line.judged}
        head = "".join(
            f'<th colspan="{len(metrics) + (label in shown_labels)}">{html.escape(label)}</th>'
            for label, metrics in self.columns.items()
        )
        below = "".join(
            "".join(f"<th>{html.escape(metric)}</th>" for metric in metrics)
            + ("<th>judged by</th>" if label in shown_labels else "")
            for label, metrics in self.columns.items()
        )
        body, group = "", ""
        for line in self.lines:
            if line.group != group:
                group, span = line.group, 1 + sum(len(m) for m in self.columns.values()) + len(shown_labels)
                body += f'<tr><th colspan="{span}" style="text-align:left">{html.escape(group)}</th></tr>'
            body += f'<tr><td style="text-align:left">{html.escape(line.name)}</td>'
            for label, metrics in self.columns.items():
                for metric in metrics:
                    colour = ' style="background:#f6cfb5;color:#222"' if (label, metric) in line.daggers else ""
                    body += f"<td{colour}>{self._text(line, (label, metric))}</td>"
                if label in shown_labels:
                    body += f"<td>{html.escape(in_words(line.judged.get(label)))}</td>"
            body += "</tr>"
        title = f"<b>{html.escape(self.table.source)}: {html.escape(self.table.title)}</b>"
        notes = html.escape(f"{self.comparison} {self.table.note}")
        return f"<p>{title}<br>{notes}</p><table><tr><th></th>{head}</tr><tr><th></th>{below}</tr>{body}</table>"

    def _text(self, line: Line, cell: Cell) -> str:
        if cell not in line.values:
            return "–"
        digits = 2 if cell[1] == "NMI" or cell[1] in HEARD else 1
        text = f"{line.values[cell]:.{digits}f}"
        if cell in line.spreads:
            text += f" ± {line.spreads[cell]:.{digits}f}"
        return text + (DAGGER if cell in line.daggers else "")

    def latex(self) -> str:
        """Return the table for a paper (booktabs; colortbl for the cells whose order is not the published one)."""
        columns = [(label, metric) for label, metrics in self.columns.items() for metric in metrics]
        heads = " & ".join(
            rf"\multicolumn{{{len(metrics)}}}{{c}}{{{_escaped(label)}}}" for label, metrics in self.columns.items()
        )
        rows, group = [], ""
        for line in self.lines:
            if line.group != group:
                group = line.group
                rows.append(rf"\midrule \multicolumn{{{1 + len(columns)}}}{{l}}{{\emph{{{_escaped(group)}}}}} \\")
            cells = [
                (r"\cellcolor{orange!30}" if cell in line.daggers else "") + _escaped(self._text(line, cell))
                for cell in columns
            ]
            rows.append(f"{_escaped(line.name)} & {' & '.join(cells)} \\\\")
        ways = [
            f"{line.name} on {label}: {in_words(judged)}." for line in self.own for label, judged in line.judged.items()
        ]
        notes = _escaped(" ".join([self.comparison, *ways, self.table.note]))
        return "\n".join(
            [
                r"\begin{table}", rf"\caption{{{_escaped(f'{self.table.source}: {self.table.title}.')} {notes}}}",
                rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", rf" & {heads} \\",
                " & ".join(["", *(_escaped(metric) for _, metric in columns)]) + r" \\", *rows,
                r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
            ]
        )  # fmt: skip

    def records(self) -> list[dict[str, Any]]:
        """Return a record for every number: what it is, how it was judged, and whether the published order holds."""
        return [
            {
                "paper": self.table.paper, "table": self.table.number, "benchmark": label, "metric": metric,
                "group": line.group, "method": line.name, "value": value,
                "deviation": line.spreads.get((label, metric), ""),
                "published_order_holds": "" if line.group != OWN else (label, metric) not in line.daggers,
                **{name: line.judged.get(label, {}).get(name, "") for name in JUDGED_BY},
            }
            for line in self.lines
            for (label, metric), value in line.values.items()
        ]  # fmt: skip


JUDGED_BY = ("origin", "geometry", "threshold_rule", "classes", "clips", "runs")


def rebuild(table: Table, runs: Sequence[Judged]) -> Rebuilt:
    """Return ``table`` with a line for each of its methods that has been run, and for what needs no model."""
    labels = {label: _protocol(label) for label in table.benchmarks}
    published = _published(table, labels)
    own, ranked = [], []
    for (method, wanted), line in published.items():
        key, variant = ALSO.get(method, (_key(method), {}))
        if key is None:
            continue
        variant = VARIANTS.get(key, {}).get(wanted) if wanted else variant
        of_training_sets = variant is None and wanted and not VARIANTS.get(key, {}).keys() & _settings_in(table, method)
        if of_training_sets:  # the row says what was trained on, which here is the benchmark itself
            if any(found.name == method for found in own):
                continue
            variant, wanted = {}, ""
        if variant is None:
            continue
        first = True
        for way in WAYS:
            found = _own_line(", ".join(filter(None, (method, wanted))), key, variant, way, table, labels, runs)
            if found is None:
                continue
            own.append(found)
            if first and not of_training_sets:
                ranked.append((line, found))
            first = False
    _mark(ranked)
    return Rebuilt(table, (*published.values(), *own, *_lines_without_model(table, labels, runs, own)))


def rebuild_all(runs: Sequence[Judged]) -> dict[str, list[Rebuilt]]:
    """Return the rebuilt tables of each paper, by its title, oldest paper first."""
    return {
        paper.title: [rebuild(found, runs) for found in vars(paper).values() if isinstance(found, Table)]
        for paper in PAPERS
    }


def export(tables: Iterable[Rebuilt], folder: Path | None = None) -> list[Path]:
    """Write tables.csv, a line for every number, and a .tex file for every table; return their paths."""
    folder = folder or outputs_dir() / "tables"
    tables, paths = list(tables), []
    records = [record for table in tables for record in table.records()]
    with whole_file(folder / "tables.csv") as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    paths.append(folder / "tables.csv")
    for table in tables:
        name = re.sub(r"[^a-z0-9]+", "-", table.table.source.lower()).strip("-")
        with whole_file(folder / f"{name}.tex") as temporary:
            temporary.write_text(table.latex(), encoding="utf-8")
        paths.append(folder / f"{name}.tex")
    return paths


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
        f"{judged['clips']} clips" if judged["clips"] else "",
        f"mean of {runs} seeds" if runs > 1 else "",
    ]
    return ", ".join(filter(None, parts))


# ------------------------------------------------------------------------------------------------- one line of a table


def _published(table: Table, labels: Mapping[str, Any]) -> dict[tuple[str, str], Line]:
    """Return the published lines: a row of each benchmark where the paper has it."""
    lines: dict[tuple[str, str], Line] = {}
    for label, rows in table.benchmarks.items():
        for row in rows:
            line = lines.setdefault((row.method, row.setting), Line(PUBLISHED, _name_of(row)))
            line.name = _name_of(row) if row.starred else line.name
            line.values |= {(label, metric): value for metric, value in row.values.items() if value is not None}
            if labels[label]:
                _, protocol = labels[label]
                line.judged[label] = {
                    "origin": "real", "geometry": protocol.geometry, "classes": "", "clips": protocol.clips or "",
                    "threshold_rule": protocol.threshold_rules.get(_key(table.paper) or "", "none"),
                }  # fmt: skip
    return lines


def _own_line(
    name: str,
    key: str,
    variant: Mapping[str, Any],
    way: str,
    table: Table,
    labels: Mapping[str, Any],
    runs: Sequence[Judged],
) -> Line | None:
    """Return the line of a method's runs with these settings, asked in this way; None without such a run."""
    line = Line(OWN, name + (", its own classes" if way == "predicted" else ""))
    candidates = [
        judged
        for judged in runs
        if judged.row["method"] == key and judged.row.get("classes", "none") == way and _is_variant(judged, variant)
    ]
    for label, rows in table.benchmarks.items():
        for metric in rows[0].values:
            found = _closest(candidates, label, metric, labels[label], _key(table.paper) or "")
            values = [judged.row[metric] for judged in found]
            if not values:
                continue
            line.values[label, metric] = statistics.fmean(values)
            if len(values) > 1:
                line.spreads[label, metric] = statistics.stdev(values)
            _say_how(line, label, metric, found)
    return line if line.values else None


def _lines_without_model(
    table: Table, labels: Mapping[str, Any], runs: Sequence[Judged], own: Sequence[Line]
) -> list[Line]:
    """Return what needs no model, as it was judged beside this project's lines."""
    names = [*trivial.NAMES, "mixture", *(name for name in _methods_in(runs) if name.startswith("ideal_"))]
    lines = []
    for name in names:
        line = Line(NO_MODEL, name.replace("_", " "))
        for label, rows in table.benchmarks.items():
            beside = [found.judged[label] for found in own if label in found.judged]
            if not beside:
                continue
            for metric in rows[0].values:
                candidates = [judged for judged in runs if judged.row["method"] == name]
                found = _closest(candidates, label, metric, labels[label], _key(table.paper) or "")
                if found:
                    line.values[label, metric] = found[0].row[metric]
                    _say_how(line, label, metric, found[:1])
        if line.values:
            lines.append(line)
    return lines


def _say_how(line: Line, label: str, metric: str, found: Sequence[Judged]) -> None:
    """Note how a benchmark's numbers were judged: as those that need a threshold were, if any do."""
    row = found[0].row
    if label not in line.judged or _needs_a_rule(metric):
        line.judged[label] = {name: row.get(name, "") for name in JUDGED_BY} | {"runs": len(found)}


def _closest(
    candidates: Sequence[Judged], label: str, metric: str, place: tuple[Benchmark, Protocol] | None, paper: str
) -> list[Judged]:
    """Return one row a run for a cell: the paper's geometry and threshold rule where they were judged, else another."""
    if metric in HEARD:
        wanted = [
            judged
            for judged in candidates
            if judged.row["benchmark"] == SEPARATED_ON.get(label) and judged.row["geometry"] == "separate"
        ]
        geometry, rule = "separate", "none"
    elif place is None:
        return []
    else:
        record, protocol = place
        geometry, rule = protocol.geometry, protocol.threshold_rules.get(paper, "top_half")
        wanted = [
            judged
            for judged in candidates
            if (judged.row["benchmark"], judged.row["subset"], judged.row["sources"])
            == (record.name, protocol.subset, protocol.sources)
        ]
    wanted = [judged for judged in wanted if judged.row.get(metric) is not None]
    for key, value in (("origin", "real"), ("geometry", geometry), ("threshold_rule", rule)):
        wanted = [judged for judged in wanted if judged.row[key] == value] or [
            judged for judged in wanted if judged.row[key] == wanted[0].row[key]
        ]
    return list({judged.run: judged for judged in wanted}.values())


def _mark(ranked: Sequence[tuple[Line, Line]]) -> None:
    """Give both cells of every two methods a dagger whose published order is not the order here.

    Only numbers that were judged in the same way have an order: those of other threshold rules are left out.
    """
    for (printed, own), (other_printed, other_own) in combinations(ranked, 2):
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
    told = ("geometry", "threshold_rule") if _needs_a_rule(metric) else ("geometry",)
    return all(line.judged[label][name] == other.judged[label][name] for name in told)


def _needs_a_rule(metric: str) -> bool:
    return metric.partition("@")[0] in ("IoU", "CIoU", "AUC")


def _is_variant(judged: Judged, variant: Mapping[str, Any]) -> bool:
    """Tell whether a row is of a run that is its preset's but for ``variant``; what needs no training always is."""
    settings = judged.settings
    if settings is None or judged.row["method"] not in METHODS:
        return True
    if settings.limit or any(getattr(settings, name, value) != value for name, value in variant.items()):
        return False
    return is_usual(settings, variant)


def _protocol(label: str) -> tuple[Benchmark, Protocol] | None:
    """Return the benchmark and the protocol that a paper calls by this name; None where no record has it."""
    return next(
        (
            (record, protocol)
            for record in BENCHMARKS.values()
            for protocol in record.protocols
            if label in protocol.published_as
        ),
        None,
    )


def _key(method: str) -> str | None:
    """Return our name of a method that is printed otherwise; None where this package has none.

    >>> _key("Mix-and-Localize"), _key("OneAVM"), _key("HardPos")
    ('mix_and_localize', 'one_avm', None)
    """
    plain = re.sub(r"[^a-z0-9]", "", method.lower())
    return next((name for name in (*METHODS, "nmf", "rpca") if name.replace("_", "") == plain), None)


def _name_of(row: Row) -> str:
    return ", ".join(filter(None, (row.method, row.setting))) + (" (* best pairing)" if row.starred else "")


def _settings_in(table: Table, method: str) -> set[str]:
    return {row.setting for rows in table.benchmarks.values() for row in rows if row.method == method}


def _methods_in(runs: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(judged.row["method"] for judged in runs))


def _escaped(text: str) -> str:
    """Return text as LaTeX prints it."""
    for plain, written in (
        ("\\", r"\textbackslash "), ("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("#", r"\#"), ("$", r"\$"),
        ("±", r"$\pm$"), (DAGGER, r"$^\dagger$"), ("–", "--"),
    ):  # fmt: skip
        text = text.replace(plain, written)
    return text
