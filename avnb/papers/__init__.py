"""The published tables, as data: ``papers.avgn.table2["MUSIC-Duet"]`` are the rows of AVGN's Table 2 on MUSIC-Duet.

Each of the five papers is a module with ``title``, ``authors``, ``venue``, ``year`` and its results tables as
``table1``, ``table2``, ... in the notation of ``tables.table`` (tables without results, such as DSOL's Table 3, are
left out). Methods have one name in all of them.
Metrics have our names: what EZ-VSL prints as "CIoU" is "IoU@0.5" (one source, soft consensus truth), DSOL's "CIoU" is
"CIoU@0.3". Benchmarks have the name that is printed, with "-Multi" where a paper uses one name for single clips and for
mixtures of two.

Most of these numbers cannot be compared with each other, let alone with ours: read ``note`` before a row is quoted.
"""

from avnb.papers import avgn, dsol, ez_vsl, mix_and_localize, one_avm
from avnb.papers.tables import Row, Table

PAPERS = (dsol, mix_and_localize, ez_vsl, avgn, one_avm)


def all_tables() -> tuple[Table, ...]:
    """Return every table of the five papers, oldest paper first. Introduced in notebooks/12_paper_tables.ipynb."""
    return tuple(found for paper in PAPERS for found in vars(paper).values() if isinstance(found, Table))


__all__ = ["PAPERS", "Row", "Table", "all_tables", "avgn", "dsol", "ez_vsl", "mix_and_localize", "one_avm"]
