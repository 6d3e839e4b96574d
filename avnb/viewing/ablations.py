"""The kept rows of a method's ablations as a notebook shows them, beside what its paper prints.

Introduced in notebooks/04_avgn.ipynb.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from avnb import papers
from avnb.evaluation.ablations import ABLATED, AS_IT_IS, Kept, kept_rows, read_ablations, spread
from avnb.evaluation.rows import ASKED, DECIBELS, FROM_ZERO_TO_ONE
from avnb.evaluation.trials import published_rows
from avnb.papers import Row
from avnb.viewing.colours import readable
from avnb.viewing.results import CEILING, grouped_table

if TYPE_CHECKING:
    import pandas.io.formats.style

Column = tuple[str, str]  # a subset and a metric


def ablations_table(
    method: str,
    *tables: str,
    metrics: Sequence[str] = (),
    beside: Mapping[str, Sequence[Row]] | None = None,
    apart: str = "",
) -> "pandas.io.formats.style.Styler | None":
    """Return the kept rows of ``tables`` of a method's ABLATIONS: the mean of their seeds (lowest-highest), by subset.

    Beside them stands what the paper prints of the same subsets, or the rows that ``beside`` names for a subset, which
    ``apart`` says they are not of; ``metrics`` are by default the paper's there. None, and a line that says so, where
    nothing is kept. Introduced in notebooks/04_avgn.ipynb.
    """
    import pandas as pd

    said = read_ablations()
    found = kept_rows(said, method, *tables)
    if set(found) <= {AS_IT_IS}:
        print(f"{ABLATED} has none of these rows: make ablations trains and judges them.")
        return None
    shown = _Shown(said, found)
    printed = {subset: _printed(method, tables, said["dataset"], subset) for subset in shown.subsets}
    printed |= {subset: list(rows) for subset, rows in (beside or {}).items()}
    columns = shown.columns(metrics, printed)
    lines = [*shown.own(columns), *shown.without_model(columns)]
    comparable = said["origin"] == "real" and not apart
    group = "published" if comparable else f"published (not comparable: {apart or said['origin']})"
    lines += _published(group, printed, columns)
    index = pd.MultiIndex.from_tuples([names for names, _ in lines], names=["", "method"])
    heads = [f"{readable(subset)} {metric}" for subset, metric in columns]
    return grouped_table(pd.DataFrame([cells for _, cells in lines], index=index, columns=heads), shown.caption)


Shown = tuple[tuple[str, str], list[str]]  # a row's group and name, and its cells


@dataclass(frozen=True)
class _Shown:
    """The rows that are shown, and what the file says of all."""

    said: Mapping[str, Any]
    found: Mapping[str, Kept]

    @cached_property
    def judged(self) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
        """How each row was judged, by subset; its own classes are left out, where it was given the true ones."""
        judged: dict[str, dict[str, list[Mapping[str, Any]]]] = {name: {} for name in self.found}
        for name, kept in self.found.items():
            for one in kept.judged:
                if one["classes"] != "predicted":
                    judged[name].setdefault(one["subset"], []).append(one)
        return judged

    @cached_property
    def subsets(self) -> list[str]:
        return list(dict.fromkeys(subset for by_subset in self.judged.values() for subset in by_subset))

    def of_subset(self, subset: str) -> list[Mapping[str, Any]]:
        """Return how all the rows were judged on a subset."""
        return [one for by_subset in self.judged.values() for one in by_subset.get(subset, ())]

    def columns(self, metrics: Sequence[str], printed: Mapping[str, Sequence[Row]]) -> list[Column]:
        """Return what is shown of each subset: ``metrics``, else what needs no threshold and what the paper prints.

        The PIAP of single sources is their AP, and stands beside it nowhere.
        """
        columns = []
        for subset in self.subsets:
            there = {metric for one in self.of_subset(subset) for metric in one["values"]}
            usual = ("CAP", "PIAP") if "CAP" in there else ("AP",)
            wanted = metrics or (*usual, *(metric for row in printed.get(subset, ()) for metric in row.values))
            again = "PIAP" if "AP" in there and "AP" in wanted else ""
            columns += [(subset, metric) for metric in dict.fromkeys(wanted) if metric in there and metric != again]
        return columns

    def own(self, columns: Sequence[Column]) -> list[Shown]:
        """Return this project's lines; one of fewer seeds than the others says so."""
        lines = []
        for name, kept in self.found.items():
            count = len(kept.seeds)
            fewer = f" ({count} seed{'s' * (count > 1)})" if count < self.seeds else ""
            lines.append((("this project", name + fewer), _cells(self.judged[name], columns)))
        return lines

    def without_model(self, columns: Sequence[Column]) -> list[Shown]:
        """Return what needs no model, judged on the same clips and by the same rule."""
        alike = ("subset", "geometry", "threshold_rule")
        asked = {tuple(one[key] for key in alike) for subset in self.subsets for one in self.of_subset(subset)}
        by_name: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
        for one in self.said["without a model"]:
            if tuple(one[key] for key in alike) in asked:
                once = {**one, "values": {metric: [value] for metric, value in one["values"].items()}}
                by_name.setdefault(one["method"], {}).setdefault(one["subset"], []).append(once)
        lines = [(("needs no model", CEILING.get(name, name)), _cells(ones, columns)) for name, ones in by_name.items()]
        return [line for line in lines if any(line[1])]

    @property
    def seeds(self) -> int:
        return max(len(kept.seeds) for kept in self.found.values())

    @property
    def caption(self) -> str:
        """Say of what data, how long trained and how judged the rows are."""
        said = self.said
        times = ", ".join(dict.fromkeys(kept.trained for kept in self.found.values()))
        parts = [
            f"{said['dataset']} ({said['origin']}), preset {said['preset']}",
            f"every row trained for {times}, 1/{said['divisor']} of the preset's",
            f"mean of {self.seeds} seeds (lowest-highest)" if self.seeds > 1 else "one seed",
        ]
        for subset in self.subsets:
            ones = self.of_subset(subset)
            rules = dict.fromkeys(f"regions by {one['threshold_rule']}" for one in ones)
            asked = " or ".join(dict.fromkeys(filter(None, (ASKED[one["classes"]] for one in ones))))
            words = (readable(ones[0]["geometry"]), *rules, asked, f"{ones[0]['clips']} clips")
            parts.append(f"{readable(subset)}: {', '.join(word for word in words if word not in ('', NO_REGIONS))}")
        return "; ".join([*parts, f"on {said['processor']}; written by make ablations"])


NO_REGIONS = "regions by none"


def _cells(judged: Mapping[str, Sequence[Mapping[str, Any]]], columns: Sequence[Column]) -> list[str]:
    cells = []
    for subset, metric in columns:
        values = next((one["values"][metric] for one in judged.get(subset, ()) if metric in one["values"]), ())
        cells.append(spread(values, 2 if metric in (*FROM_ZERO_TO_ONE, *DECIBELS) else 1))
    return cells


def _printed(method: str, tables: Iterable[str], dataset: str, subset: str) -> list[Row]:
    """Return what the method's paper prints in these tables of a subset."""
    paper = getattr(papers, method, None)
    there = [getattr(paper, table) for table in tables if hasattr(paper, table)]
    return [row for table in there for row in published_rows(table, dataset, subset)]


def _published(group: str, printed: Mapping[str, Sequence[Row]], columns: Sequence[Column]) -> list[Shown]:
    """Return a line for each of the paper's rows, on whatever subsets it is; "Precision" stands at "Precision@0.5"."""
    by_name: dict[str, dict[str, Row]] = {}
    for subset, rows in printed.items():
        for row in rows:
            by_name.setdefault(row.setting or row.method, {})[subset] = row
    lines = []
    for name, rows in by_name.items():
        known = {subset: row.printed for subset, row in rows.items()}
        cells = [(known.get(subset, {}), metric) for subset, metric in columns]
        there = [numbers.get(metric, numbers.get(metric.partition("@")[0], "")) for numbers, metric in cells]
        lines.append(((group, name), there))
    return lines
