"""The dress rehearsal: from what a user holds of a benchmark, through every notebook, to the papers' tables.

``make rehearsal`` runs every notebook on every miniature; ``make test``, and pytest where REHEARSAL is not set, a part
of that grid, the diagonal, in which each of both comes at least twice; REHEARSAL=none leaves it out. A table of what
became of each pair is printed at the end.
"""

import json
import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from miniatures import MINIATURES
from rehearsal import NOTEBOOKS, OUTCOMES, TABLES, Outcome, rehearse

from avnb.data.benchmarks import BENCHMARKS, printed_as
from avnb.evaluation.paper_tables import read_runs, rebuild
from avnb.papers import NAMES, PAPERS, Table

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(4 * 3600)]

DIAGONAL = {
    "music": ("04", "12"),
    "music-synthetic": ("03", "05"),
    "vggsound-single": ("02", "12"),
    "vggsound-heard": ("02", "10"),
    "vggsound-music": ("06", "08"),
    "vggsound-instruments": ("04", "11"),
    "vggsound-duet": ("04", "01", "08"),
    "vggsound-extended": ("02", "12"),
    "flickr-soundnet": ("07", "11"),
    "flickr-extended": ("02", "09"),
    "is3": ("02", "14"),
    "avsbench-s4": ("03", "13"),
    "avsbench-ms3": ("02", "07"),
    "voxceleb2": ("03", "13"),
    "audioset-instrument": ("05", "10"),
    "kinetics400": ("06", "14"),
    "mine": ("01", "09"),
}
FULL = {name: tuple(sorted(NOTEBOOKS, key=lambda number: (number == TABLES, number))) for name in MINIATURES}
GRID = {"full": FULL, "diagonal": DIAGONAL, "none": {}}[os.environ.get("REHEARSAL") or "diagonal"]
CELLS = [(name, number) for name, numbers in GRID.items() for number in numbers]
METHODS = {"02": "ez_vsl", "03": "mix_and_localize", "04": "avgn", "05": "dsol", "06": "one_avm"}

MIXTURES = "every one is a mixture"
ONE_CLASS = "a mixture takes clips of two classes"
NAMELESS = ("flickr-soundnet", "flickr-extended", "avsbench-ms3")
UNJUDGED = {"kinetics400", "mine"}  # there are no boxes: maps are shown, and nothing is judged
IMPOSSIBLE = {
    **{(name, "14"): "with a box or a mask" for name in UNJUDGED},
    **{(name, number): ONE_CLASS for name in NAMELESS for number in ("03", "04")},
    **{(name, number): "learns from mixtures of 2 classes" for name in NAMELESS for number in ("09", "13", "14")},
    **{("is3", number): "is of the classes that are trained on" for number in ("04", "05")},
    ("is3", "10"): "There is no run to show",  # it trains AVGN where nothing is trained, and AVGN cannot be asked here
    **{(name, "08"): "ccol learns from mixtures of 4 classes" for name in NAMELESS},
    **{(name, "05"): "they take clips of four classes" for name in (*NAMELESS, "vggsound-duet")},
    **{
        (name, number): MIXTURES
        for name in ("music-synthetic", "vggsound-duet")
        for number in ("01", "06", "07", "08", "09", "11", "14")
    },
}

# Which subsets of a miniature have to be judged, and by which metrics at least.
ONE, SEVERAL = ("AP", "AUC"), ("CAP", "PIAP", "AUC")
JUDGED = {
    "music": {"solo": (*ONE, "IoU@0.5"), "duet": (*SEVERAL, "CIoU@0.3"), "trio": SEVERAL},
    "music-synthetic": {"synthetic": (*SEVERAL, "CIoU@0.3")},
    "vggsound-single": {"test": (*ONE, "IoU@0.5", "Precision@0.5", "F1@0.5"), "one box": ONE, "two boxes": ONE,
                        "three boxes or more": ONE, "duet": (*SEVERAL, "CIoU@0.3"), "trio": SEVERAL},
    "vggsound-heard": {"test": ONE, "heard": (*ONE, "IoU@0.5"), "unheard": (*ONE, "IoU@0.5")},
    "vggsound-music": {"test": (*ONE, "IoU@0.3", "Precision@0.3", "F1@0.3")},
    "vggsound-instruments": {"solo": (*ONE, "IoU@0.3", "Precision@0.3", "F1@0.3"), "duet": (*SEVERAL, "CIoU@0.1")},
    "vggsound-duet": {"duet": (*SEVERAL, "CIoU@0.3")},
    "vggsound-extended": {"test": (*ONE, "IoU@0.5")},
    "flickr-soundnet": {"test": (*ONE, "IoU@0.5")},
    "flickr-extended": {"test": (*ONE, "IoU@0.5")},
    "is3": {"test": (*ONE, "IoU@0.5", "IIoU", "IAUC")},
    "avsbench-s4": {"solo": (*ONE, "IoU@0.5"), "duet": SEVERAL},
    "avsbench-ms3": {"test": (*ONE, "IoU@0.5")},
    "voxceleb2": {"solo": (*ONE, "IoU@0.3"), "duet": (*SEVERAL, "CIoU@0.1")},
    "audioset-instrument": {"solo": (*ONE, "IoU@0.5"), "multi": (*SEVERAL, "CIoU@0.3")},
}  # fmt: skip
# Tables of the papers whose rows a plain run does not fill, and why.
VARIANTS = {
    ("DSOL", "Table 4"): "every row has a lambda of its own: -p ablation table4 trains them",
    ("DSOL", "Table 6"): "every row has a threshold or a K of its own: -p ablation table6 trains them",
    ("EZ-VSL", "Table 6"): "every row matches in a way of its own: -p sweep matching trains them",
}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepare the miniatures and run the grid; return the folder of data/ and outputs/.

    In two processes, and in one where xdist has a second one for the other tests.
    """
    root = tmp_path_factory.mktemp("rehearsal")
    troupes: dict[str, dict[str, tuple[str, ...]]] = {}  # what is composed of a miniature is rehearsed after it
    for name, numbers in GRID.items():
        troupes.setdefault(MINIATURES[name].needs or name, {})[name] = numbers
    processes = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(rehearse, [root] * len(troupes), troupes.values()):
            OUTCOMES.update(found)
    return root


@pytest.fixture
def outcome(stage: Path, name: str, number: str) -> Outcome:
    """How the notebook ended on the miniature."""
    return OUTCOMES[name, number]


def test_the_diagonal_has_every_miniature_and_every_notebook_twice():
    numbers = Counter(number for numbers in DIAGONAL.values() for number in numbers)
    assert DIAGONAL.keys() == MINIATURES.keys()
    assert numbers.keys() == NOTEBOOKS.keys()
    assert min(len(numbers) for numbers in DIAGONAL.values()) >= 2
    assert min(numbers.values()) >= 2


def test_every_benchmark_has_a_miniature():
    assert {miniature.importer for miniature in MINIATURES.values()} == {*BENCHMARKS, "folder"}


@pytest.mark.parametrize(("name", "number"), CELLS)
def test_a_notebook_runs_to_its_end_or_says_why_not(outcome, name, number, record_property):
    record_property("rehearsed", (name, number, outcome.word, outcome.seconds))
    assert outcome.traceback == ""
    if sentence := IMPOSSIBLE.get((name, number)):
        assert sentence in outcome.stopped
        return
    assert outcome.stopped == ""
    if name in UNJUDGED and number in METHODS:
        assert "Nothing of this kind can be judged here" in outcome.printed


@pytest.mark.parametrize(
    ("name", "number"), [cell for cell in CELLS if cell[1] in METHODS and cell not in IMPOSSIBLE]
)  # fmt: skip
def test_rows_name_the_benchmarks_own_subsets_and_metrics(stage, name, number):
    called = MINIATURES[name].importer if name not in UNJUDGED else name
    paths = list((stage / "outputs" / name / METHODS[number]).glob("*/*/metrics.json"))
    assert {path.parents[1].name for path in paths} >= {called}
    rows = [row for path in paths for row in json.loads(path.read_text())["rows"] if row["method"] == METHODS[number]]
    judged = [row for row in rows if row["threshold_rule"] != "none"]
    if name in UNJUDGED:
        assert judged == []
    for subset, metrics in JUDGED.get(name, {}).items():
        found = [row for row in judged if (row["benchmark"], row["subset"]) == (called, subset)]
        assert found, f"{subset} is not judged; {sorted({row['subset'] for row in judged})} are"
        assert set(metrics) <= found[0].keys()
        assert found[0]["origin"] == "real"


@pytest.mark.parametrize("name", [name for name in GRID if name not in UNJUDGED])
def test_no_column_of_the_papers_tables_is_without_a_row(stage, name):
    ran = {METHODS[number] for number in GRID[name] if number in METHODS and (name, number) not in IMPOSSIBLE}
    # A table shows runs of a preset's own length: these rows are taken for such.
    runs = [
        replace(judged, settings=judged.settings and type(judged.settings)().resolve("cpu"))
        for judged in read_runs(stage / "outputs" / name)
    ]
    missing = []
    for key, paper in zip(NAMES, PAPERS, strict=True):
        for table in vars(paper).values() if key in ran else ():
            if isinstance(table, Table):
                filled = {cell for line in rebuild(table, runs).own for cell in line.values}
                missing += [
                    (table.paper, table.number, label, metric)
                    for label, rows in table.benchmarks.items()
                    for metric in rows[0].values
                    if _is_of(name, label) and (label, metric) not in filled
                ]
    assert [column for column in missing if column[:2] not in VARIANTS] == []


def _is_of(name: str, label: str) -> bool:
    """Tell whether a paper's label is of what the miniature holds: of its benchmark, and of a subset that is there."""
    called = MINIATURES[name].importer
    subsets = {protocol.subset for record, protocol in printed_as(label) if record.name == called}
    return bool(subsets & JUDGED[name].keys()) or label == BENCHMARKS[called].separated_as
