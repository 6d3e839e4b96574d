"""The papers' tables rebuilt, as a notebook shows them, as LaTeX and as a file of numbers.

Introduced in notebooks/12_paper_tables.ipynb.
"""

import csv
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from avnb.config import Settings, setting
from avnb.evaluation.paper_tables import DAGGER, OWN, Cell, Line, Rebuilt, in_words
from avnb.evaluation.row_files import latex_text
from avnb.evaluation.rows import DECIBELS, FROM_ZERO_TO_ONE
from avnb.paths import outputs_dir, whole_file


@dataclass(frozen=True)
class TablesSettings(Settings):
    """The settings of notebooks/12_paper_tables.ipynb."""

    METHOD: ClassVar[str] = "tables"

    exported: bool = setting(True, doc="write the tables as CSV and LaTeX into outputs/tables")


def as_html(rebuilt: Rebuilt) -> str:
    """Return the table for a notebook; what colour says a dagger says too, for readers without styles."""
    shown_labels = {label for line in rebuilt.lines if line.group == OWN for label in line.judged}
    head = "".join(
        f'<th colspan="{len(metrics) + (label in shown_labels)}">{html.escape(label)}</th>'
        for label, metrics in rebuilt.columns.items()
    )
    below = "".join(
        "".join(f"<th>{html.escape(metric)}</th>" for metric in metrics)
        + ("<th>judged by</th>" if label in shown_labels else "")
        for label, metrics in rebuilt.columns.items()
    )
    body, group = "", ""
    for line in rebuilt.lines:
        if line.group != group:
            group, span = line.group, 1 + sum(len(m) for m in rebuilt.columns.values()) + len(shown_labels)
            body += f'<tr><th colspan="{span}" style="text-align:left">{html.escape(group)}</th></tr>'
        body += f'<tr><td style="text-align:left">{html.escape(line.name)}</td>'
        for label, metrics in rebuilt.columns.items():
            for metric in metrics:
                colour = ' style="background:#f6cfb5;color:#222"' if (label, metric) in line.daggers else ""
                body += f"<td{colour}>{_text(line, (label, metric))}</td>"
            if label in shown_labels:
                body += f"<td>{html.escape(in_words(line.judged.get(label)))}</td>"
        body += "</tr>"
    title = f"<b>{html.escape(rebuilt.table.source)}: {html.escape(rebuilt.table.title)}</b>"
    notes = html.escape(f"{rebuilt.comparison} {rebuilt.table.note}")
    return f"<p>{title}<br>{notes}</p><table><tr><th></th>{head}</tr><tr><th></th>{below}</tr>{body}</table>"


def _text(line: Line, cell: Cell) -> str:
    if cell not in line.values:
        return "–"
    digits = 2 if cell[1] in (*FROM_ZERO_TO_ONE, *DECIBELS) else 1
    text = line.printed.get(cell) or f"{line.values[cell]:.{digits}f}"
    if cell in line.spreads:
        text += f" ± {line.spreads[cell]:.{digits}f}"
    return text + (DAGGER if cell in line.daggers else "")


def as_latex(rebuilt: Rebuilt) -> str:
    """Return the table for a paper (booktabs; colortbl for the cells whose order is not the published one)."""
    columns = [(label, metric) for label, metrics in rebuilt.columns.items() for metric in metrics]
    heads = " & ".join(
        rf"\multicolumn{{{len(metrics)}}}{{c}}{{{latex_text(label)}}}" for label, metrics in rebuilt.columns.items()
    )
    rows, group = [], ""
    for line in rebuilt.lines:
        if line.group != group:
            group = line.group
            rows.append(rf"\midrule \multicolumn{{{1 + len(columns)}}}{{l}}{{\emph{{{latex_text(group)}}}}} \\")
        cells = [
            (r"\cellcolor{orange!30}" if cell in line.daggers else "") + latex_text(_text(line, cell))
            for cell in columns
        ]
        rows.append(f"{latex_text(line.name)} & {' & '.join(cells)} \\\\")
    ways = [
        f"{line.name} on {label}: {in_words(judged)}." for line in rebuilt.own for label, judged in line.judged.items()
    ]
    notes = latex_text(" ".join([rebuilt.comparison, *ways, rebuilt.table.note]))
    return "\n".join(
        [
            r"\begin{table}", rf"\caption{{{latex_text(f'{rebuilt.table.source}: {rebuilt.table.title}.')} {notes}}}",
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", rf" & {heads} \\",
            " & ".join(["", *(latex_text(metric) for _, metric in columns)]) + r" \\", *rows,
            r"\bottomrule", r"\end{tabular}", r"\end{table}", "",
        ]
    )  # fmt: skip


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
            temporary.write_text(as_latex(table), encoding="utf-8")
        paths.append(folder / f"{name}.tex")
    return paths
