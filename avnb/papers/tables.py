"""Row and Table, and the notation in which a printed table is written down."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from avnb.config import did_you_mean
from avnb.errors import SettingsError


@dataclass(frozen=True)
class Row:
    """One method's numbers on one benchmark.

    ``values`` maps the metric's name to the number as printed: percent, dB for SDR and SAR, 0..1 for NMI, None where
    the table has none. ``setting`` says what sets the row apart from others of its method (training set, ablation).
    ``printed`` is the same with the digits that the paper prints, "–" where there is none.
    ``starred`` names the values that Mix-and-Localize marks with *: the better of two ways to pair maps and sources.
    """

    method: str
    values: Mapping[str, float | None]
    setting: str = ""
    starred: frozenset[str] = frozenset()
    printed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A published table: ``table["MUSIC-Duet"]`` is a tuple of Rows. Introduced in notebooks/04_avgn.ipynb.

    ``title`` is in our words. ``tested_on`` says of a benchmark what the paper tests on where others take more or
    less of it, e.g. "24 videos". ``note`` says what keeps its numbers from being compared with ours or with other
    papers'.
    """

    paper: str
    number: str
    title: str
    benchmarks: Mapping[str, tuple[Row, ...]]
    note: str = ""
    tested_on: Mapping[str, str] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Return where the numbers stand, e.g. ``AVGN, Table 2``."""
        return f"{self.paper}, {self.number}"

    def __getitem__(self, benchmark: str) -> tuple[Row, ...]:
        """Return the rows of one benchmark; raise SettingsError naming those the table has."""
        if benchmark not in self.benchmarks:
            hint, names = did_you_mean(benchmark, self.benchmarks), ", ".join(self.benchmarks)
            raise SettingsError(f'{self.source} has no rows for "{benchmark}".{hint} It has: {names}.')
        return self.benchmarks[benchmark]


def table(
    paper: str,
    number: str,
    title: str,
    text: str,
    note: str = "",
    tested_on: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """Read a table written as aligned text, the way it is printed; raise ValueError naming a line that does not fit.

    The first line names the benchmarks, the second the metrics of each, then comes a line for each method. A bar
    divides the benchmarks, a comma the method from its setting; ``-`` is a number that is not there, ``*`` a star.
    After a blank line another block may follow, with its own two header lines; its rows join those of the benchmarks
    named before.

    >>> printed = table("AVGN", "Table 0", "an example", '''
    ...                    | MUSIC-Solo   | MUSIC-Duet
    ...                    | AP  IoU@0.5  | CAP   PIAP
    ...     OTS            | 69.3  26.1   | 11.6  17.7
    ...     AVGN, 6 layers | -     57.5   | 50.1  56.9
    ... ''')
    >>> printed["MUSIC-Solo"][1].setting, dict(printed["MUSIC-Solo"][1].values)
    ('6 layers', {'AP': None, 'IoU@0.5': 57.5})
    """
    found: dict[str, list[Row]] = {}
    for block in inspect.cleandoc(text).split("\n\n"):
        (_, *names), (_, *metrics), *lines = ([cell.strip() for cell in line.split("|")] for line in block.splitlines())
        for label, *groups in lines:
            method, _, setting = label.partition(", ")
            if len(groups) != len(names):
                raise ValueError(f"{paper}, {number}, {label!r}: {len(groups)} groups for {len(names)} benchmarks")
            for name, columns, group in zip(names, metrics, groups, strict=True):
                if len(columns.split()) != len(group.split()):
                    raise ValueError(f"{paper}, {number}, {label!r}, {name}: {group!r} does not fit {columns!r}")
                cells = dict(zip(columns.split(), group.split(), strict=True))
                values = {metric: None if cell == "-" else float(cell.rstrip("*")) for metric, cell in cells.items()}
                starred = frozenset(metric for metric, cell in cells.items() if cell.endswith("*"))
                printed = {metric: "–" if cell == "-" else cell.rstrip("*") for metric, cell in cells.items()}
                row = Row(method, MappingProxyType(values), setting, starred, MappingProxyType(printed))
                found.setdefault(name, []).append(row)
    benchmarks = MappingProxyType({name: tuple(rows) for name, rows in found.items()})
    return Table(paper, number, title, benchmarks, " ".join(note.split()), tested_on)
