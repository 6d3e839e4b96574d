"""The published tables, as data: ``papers.avgn.table2["MUSIC-Duet"]`` are the rows of AVGN's Table 2 on MUSIC-Duet.

Each paper is a module with ``title``, ``authors``, ``venue``, ``year``, ``arxiv`` and its results tables as
``table1``, ``table2``, ... in the notation of ``tables.table`` (tables without results, such as DSOL's Table 3, are
left out). Methods have one name in all of them.
Metrics have our names: what EZ-VSL prints as "CIoU" is "IoU@0.5" (one source, soft consensus truth), DSOL's "CIoU" is
"CIoU@0.3". Benchmarks have the name that is printed, with "-Multi" where a paper uses one name for single clips and for
mixtures of two.

Most of these numbers cannot be compared with each other, let alone with ours: read ``note`` before a row is quoted.
"""

from importlib import import_module
from types import ModuleType

from avnb.papers.tables import Row, Table

NAMES = (  # oldest first
    "dsol",
    "mix_and_localize",
    "ez_vsl",
    "avgn",
    "one_avm",
)
PAPERS = tuple(import_module(f"avnb.papers.{name}") for name in NAMES)


def tables_of(paper: ModuleType) -> tuple[Table, ...]:
    """Return every table of one of the ``PAPERS``."""
    return tuple(found for found in vars(paper).values() if isinstance(found, Table))


def all_tables() -> tuple[Table, ...]:
    """Return every table of the papers, oldest paper first."""
    return tuple(found for paper in PAPERS for found in tables_of(paper))


__all__ = ["NAMES", "PAPERS", "Row", "Table", "all_tables", "tables_of"]
