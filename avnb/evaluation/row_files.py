"""Rows of numbers as text, JSON, CSV and LaTeX: for a terminal, a program, a sheet and a paper."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avnb.errors import SettingsError, printable
from avnb.paths import shown, whole_file

Rows = Sequence[Mapping[str, Any]]

WORDS = ("method", "classes", "protocol", "threshold_rule")  # columns that say how a row came about
SHARED = ("benchmark", "subset", "sources", "geometry", "clips", "origin")  # of all rows alike: said once
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {char: f"\\{char}" for char in "&%$#_{}"} | {"±": r"$\pm$", "†": r"$^\dagger$", "–": "--"}


def as_text(rows: Rows) -> str:
    """Return the rows as columns for a terminal, a line of dashes between one protocol and rule and the next."""
    names, cells = _table(rows)
    widths = [max(len(line[k]) for line in (names, *cells)) for k in range(len(names))]
    lines, before = [_line(names, widths)], None
    for row, line in zip(rows, cells, strict=True):
        kind = row.get("protocol"), row.get("threshold_rule")
        if kind != before:
            lines.append("  ".join("-" * width for width in widths))
        before = kind
        lines.append(_line(line, widths))
    return "\n".join(lines)


def write_rows(path: Path, rows: Rows, about: Mapping[str, Any]) -> None:
    """Write rows to a file by its suffix: .json (with ``about`` beside them), .csv or .tex.

    Raises SettingsError for another suffix.
    """
    path = Path(path)
    writers = {
        ".json": lambda: json.dumps({**about, "rows": _without_nan(rows, None)}, indent=1, allow_nan=False),
        ".csv": lambda: _as_csv(rows),
        ".tex": lambda: _as_latex(rows, about),
    }
    check_suffix(path)
    text = writers[path.suffix]()
    with whole_file(path) as temporary:
        temporary.write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")


def check_suffix(path: Path) -> None:
    """Raise SettingsError where rows cannot be written to a file of this name."""
    if Path(path).suffix not in (".json", ".csv", ".tex"):
        raise SettingsError(f"{shown(Path(path))}: results are written as .json, .csv or .tex.")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    words = len(WORDS)
    aligned = [cell.ljust(width) if k < words else cell.rjust(width) for k, (cell, width) in enumerate(
        zip(cells, widths, strict=True))]  # fmt: skip
    return "  ".join(aligned).rstrip()


def _metrics(rows: Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row if name not in (*WORDS, *SHARED)))


def _without_nan(rows: Rows, instead: Any) -> list[dict[str, Any]]:
    """Return the rows with something else for what is no number: where nothing could be counted. JSON has no NaN."""
    return [{name: instead if value != value else value for name, value in row.items()} for row in rows]


def _table(rows: Rows) -> tuple[list[str], list[list[str]]]:
    """Return the names of the columns and the cells: the words, and the numbers with one decimal."""
    metrics = _metrics(rows)
    cells = [
        [str(row.get(name, "")) for name in WORDS] + [_number(row.get(name, "")) for name in metrics]
        for row in _without_nan(rows, "")
    ]
    return [*(name.replace("_", " ") for name in WORDS), *metrics], cells


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.1f}"


def _as_csv(rows: Rows) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, [*WORDS, *SHARED, *_metrics(rows)], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_without_nan(rows, ""))
    return file.getvalue()


def _as_latex(rows: Rows, about: Mapping[str, Any]) -> str:
    """Return a tabular that needs no package, and above it in comments what a caption has to say."""
    names, cells = _table(rows)
    lines = [f"% {' '.join(str(line).split())}" for line in about.get("report", ())]
    lines += [rf"\begin{{tabular}}{{{'l' * len(WORDS)}{'r' * (len(names) - len(WORDS))}}}", r"\hline"]
    lines.append(" & ".join(map(latex_text, names)) + r" \\")
    before = None
    for row, line in zip(rows, cells, strict=True):
        kind = row.get("protocol"), row.get("threshold_rule")
        lines += [r"\hline"] if kind != before else []
        before = kind
        lines.append(" & ".join(map(latex_text, line)) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"])


def latex_text(text: str) -> str:
    """Return text as LaTeX prints it, on one line, whatever characters it has that mean something there.

    At the beginning of a row [ and * would belong to the end of the one before.
    """
    escaped = re.sub(r"[\\~^&%$#_{}±†–]", lambda found: _LATEX[found[0]], printable(re.sub(r"\s", " ", text)))
    return re.sub(r"^ *([\[*])", r"{\1}", escaped)
