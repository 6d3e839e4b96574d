"""The table of what was measured: every number with its protocol, and beside the rows that need no model.

Introduced in notebooks/04_avgn.ipynb.
"""

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from avnb.evaluation.ablations import spread
from avnb.evaluation.rows import ASKED, DECIBELS, FROM_ZERO_TO_ONE, NO_MODEL, NO_TRAINING, PROTOCOL
from avnb.papers import Row
from avnb.paths import project_root, shown
from avnb.viewing.colours import readable

if TYPE_CHECKING:
    import pandas
    import pandas.io.formats.style

RESULTS = "docs/results/seeds.json"  # in the project; written by tools/seeds.py
NOTHING = "Nothing of this kind can be judged here: it takes test clips with boxes or masks (data/README.md shows how)."
CEILING = {"oracle": "oracle (the ceiling)"}  # so that it is not taken for classes: oracle


def results_table(
    rows: Sequence[Mapping[str, Any]], beside: Sequence[Row] = (), origin: str = ""
) -> "pandas.io.formats.style.Styler":
    """Return a table of evaluate()'s rows: the methods, the rows that need no model, and published rows beside them.

    The caption carries the protocol that all rows share; what differs between rows is a column. ``origin`` is by
    default the rows' own; unless it is "real", published rows are marked as not comparable. The groups are words in
    the first column, so that they can be told apart where styles are stripped (GitHub) and in a terminal, where
    ``print`` shows the same table. Without rows the caption says that there is nothing to show. Introduced in
    notebooks/04_avgn.ipynb.
    """
    import pandas as pd

    if not rows:
        return grouped_table(pd.DataFrame(index=pd.MultiIndex.from_tuples([], names=["", "method"])), NOTHING)
    origins = {origin} if origin else {row["origin"] for row in rows if "origin" in row}
    untouched = [row for row in rows if row["method"] == "mixture"]  # what separation starts from
    own = [row for row in rows if row["method"] not in (*NO_MODEL, *NO_TRAINING, "mixture")]
    ready = [row for row in rows if row["method"] in NO_TRAINING]
    floor = [row for row in rows if row["method"] in NO_MODEL]
    differs = [key for key in PROTOCOL if len({row.get(key) for row in rows if key != "trained" or key in row}) > 1]
    asked = ["classes"] if any(row.get("classes", "none") != "none" for row in rows) else []
    kept = [*asked, *differs]
    published = "published" if origins <= {"real"} else f"published (not comparable: {' and '.join(sorted(origins))})"
    lines = [("not separated", row["method"], row) for row in untouched]
    lines += [("this project", row["method"], row) for row in own]
    lines += [("needs no training", row["method"], row) for row in ready]
    lines += [("needs no model", CEILING.get(row["method"], row["method"]), row) for row in floor]
    lines += [(published, ", ".join(filter(None, (row.method, row.setting))), row.printed) for row in beside]
    metrics = dict.fromkeys(name for *_, row in lines for name in row if name not in {"method", "classes", *PROTOCOL})
    cells = [
        [_plain(key, row.get(key)) for key in kept] + [_number(name, row.get(name)) for name in metrics]
        for *_, row in lines
    ]
    index = pd.MultiIndex.from_tuples([(group, readable(name)) for group, name, _ in lines], names=["", "method"])
    table = pd.DataFrame(cells, index=index, columns=[*map(readable, kept), *metrics])
    return grouped_table(table, _caption(rows, [key for key in PROTOCOL if key not in differs], bool(asked), metrics))


def seeds_table(method: str) -> "pandas.io.formats.style.Styler | None":
    """Return what a method reached with each seed, as ``make seeds`` wrote it; None, and a line that says so, without.

    Introduced in notebooks/04_avgn.ipynb.
    """
    import pandas as pd

    said = _kept_seeds(method)
    if not (lines := said["methods"].get(method)):
        return None
    index = [
        (", ".join(filter(None, map(readable, (one["subset"], one["geometry"], ASKED[one["classes"]])))), one["metric"])
        for one in lines
    ]
    count = max(len(one["seeds"]) for one in lines)
    cells = [[f"{value:.1f}" for value in one["seeds"]] + ["–"] * (count - len(one["seeds"])) for one in lines]
    columns = [f"seed {seed}" for seed in range(count)]
    table = pd.DataFrame(cells, index=pd.MultiIndex.from_tuples(index, names=["", "metric"]), columns=columns)
    return grouped_table(table, _about_seeds(said))


def spreads_table(*methods: str) -> "pandas.io.formats.style.Styler | None":
    """Return a line for each method and way of asking: the mean of its seeds (lowest-highest), by ``make seeds``.

    None, and a line for each method that has none, where nothing is kept. Introduced in
    notebooks/07_localization_baselines.ipynb.
    """
    import pandas as pd

    said = _kept_seeds(*methods)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for method in methods:
        for one in said["methods"].get(method, ()):
            if one["metric"] == "PIAP" and one["geometry"] == "single":
                continue  # the same as AP
            head = f"{readable(one['subset'])}, {readable(one['geometry'])}: {one['metric']}"
            lines.setdefault((readable(method), ASKED[one["classes"]]), {})[head] = spread(one["seeds"])
    if not lines:
        return None
    index = pd.MultiIndex.from_tuples(lines, names=["", "asked"])
    table = pd.DataFrame(list(lines.values()), index=index).fillna("–")
    return grouped_table(table, f"mean of the seeds (lowest-highest); {_about_seeds(said)}")


def _kept_seeds(*methods: str) -> dict[str, Any]:
    """Return what ``make seeds`` has kept, and print of which methods it has nothing."""
    path = project_root() / RESULTS
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"methods": {}}
    for method in methods:
        if not said["methods"].get(method):
            print(f"{shown(path)} has no seeds of {method} yet: make seeds trains and judges three of every method.")
    return said


def _about_seeds(said: Mapping[str, Any]) -> str:
    return (
        f"{said['dataset']} ({said['origin']}), preset {said['preset']}, on {said['processor']}; written by make seeds"
    )


def _caption(rows: Sequence[Mapping[str, Any]], shared: Sequence[str], asked: bool, metrics: Mapping[str, Any]) -> str:
    """Say in words what all rows have in common."""
    first = {key: row[key] for row in reversed(rows) for key in PROTOCOL if key in row}
    wording = {
        "benchmark": "{}", "origin": "{} data", "subset": "{}", "sources": "{} sounding", "geometry": "{}",
        "protocol": "judged {}", "threshold_rule": "regions by {}", "truth": "truth: each object's {}",
        "clips": "{} clips", "dropped": "{} dropped", "gallery": "gallery of {}", "trained": "trained for {}",
    }  # fmt: skip
    order = sorted((key for key in shared if first.get(key) not in (None, "none")), key=list(wording).index)
    said = [", ".join(wording[key].format(_plain(key, first[key])) for key in order)] if order else []
    ways = {row.get("classes") for row in rows} & {way for way, words in ASKED.items() if words}
    if asked and ways:
        said.append("classes: " + ", ".join(f"{way} = {ASKED[way]}" for way in ASKED if way in ways))
    units = {"in dB": DECIBELS, "in 0..1": FROM_ZERO_TO_ONE}
    others = {unit: [name for name in metrics if name in kinds] for unit, kinds in units.items()}
    if sum(map(len, others.values())) < len(metrics):
        said.append("in %")
    said += [f"{', '.join(names)} {unit}" for unit, names in others.items() if names]
    return "; ".join(said) + "."


def plain_table(
    table: "pandas.DataFrame", caption: str = "", digits: int = 1, empty: str = "–"
) -> "pandas.io.formats.style.Styler":
    """Return a table of numbers for a notebook; names, headings and the caption are text, whatever is in them.

    Numbers that are no integers have so many ``digits``; ``empty`` stands for those that are missing.
    """
    from pandas.io.formats.style import Styler

    class Table(Styler):
        """A styled table that a terminal can read."""

        def __repr__(self) -> str:
            return "\n".join(filter(None, (caption, table.to_string() if len(table) else "")))

    mark = hashlib.sha256(f"{caption}{table.to_csv()}".encode()).hexdigest()[:8]  # the same HTML in every run
    escaped = table.copy()
    for axis in (escaped.index, escaped.columns):
        axis.names = [name if name is None else html.escape(str(name)) for name in axis.names]  # pandas does not
    style = Table(escaped, uuid=mark, cell_ids=False).format(precision=digits, na_rep=empty, escape="html")
    if caption:
        style.set_caption(html.escape(caption))
    for axis in ("index", "columns"):
        style.format_index(escape="html", axis=axis)
    return style


def grouped_table(table: Any, caption: str) -> "pandas.io.formats.style.Styler":
    """Return a table whose first index says what a row is: "this project", "needs no model", or what is published."""
    groups = [group for group, _ in table.index]
    styles = [
        {"selector": "caption", "props": "caption-side: top; text-align: left; padding-bottom: .5em"},
        {"selector": "th.row_heading", "props": "text-align: left; vertical-align: top"},
        {"selector": "th.level0", "props": "font-weight: normal; max-width: 11em; white-space: normal"},
        {"selector": "td", "props": "text-align: right; font-variant-numeric: tabular-nums"},
    ]
    for number, group in enumerate(groups):
        if group != "this project":
            look = (
                "font-style: italic; font-weight: normal; opacity: .65" if group == "needs no model" else "opacity: .8"
            )
            styles.append({"selector": f".row{number}:not(.level0)", "props": look})
        if number and groups[number - 1] != group:
            styles.append({"selector": f".row{number}", "props": "border-top: 1px solid #999"})
    return plain_table(table, caption).set_table_styles(styles)


def _plain(key: str, value: Any) -> str:
    if value in (None, "none"):
        return "–"
    return readable(value) if key == "geometry" else str(value)


def _number(metric: str, value: float | str | None) -> str:
    if isinstance(value, str):
        return value  # as a paper prints it
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.2f}" if metric in FROM_ZERO_TO_ONE else f"{value:.1f}"
