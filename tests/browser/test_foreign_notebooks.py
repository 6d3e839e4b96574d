"""What the cells of a notebook show of a data set whose names would run scripts and ask for files, in Chromium."""

import sys
from pathlib import Path

import nbformat
import pytest
from foreign_names import HOSTILE
from tiny_classes import CLASSES

sys.path.append(str(Path(__file__).parents[1] / "notebooks"))
from papermill_command import NOTEBOOKS, ROOT, environment_of, papermill, parameters_of

# Those whose cells make tables of their own, with classes for headings.
SHOWN = ["06_one_avm.ipynb", "08_separation_baselines.ipynb", "10_heatmaps.ipynb", "11_separation.ipynb"]
CLASSES_OF_IT = HOSTILE[: len(CLASSES)]
pytestmark = [pytest.mark.notebook, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def environment(hostile_folder, tmp_path_factory):
    return environment_of(hostile_folder.parent, tmp_path_factory.mktemp("hostile-outputs"))


@pytest.mark.parametrize("name", SHOWN)
def test_a_name_is_text_in_a_notebook(name, hostile_folder, environment, opened, tmp_path):
    from nbconvert import HTMLExporter

    done = papermill(
        ROOT / "notebooks" / name, tmp_path / name, parameters_of(name) | {"dataset": hostile_folder.name}, environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    notebook = nbformat.read(tmp_path / name, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    words = opened(shown)
    assert [label for label in CLASSES_OF_IT if label in words]  # as text


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_cell_styles_a_table_by_itself(name):
    """pandas' own styled tables take a heading for HTML; `plain_table` and pandas' plain ones do not."""
    cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
    assert not [cell.source for cell in cells if cell.cell_type == "code" and ".style" in cell.source]
