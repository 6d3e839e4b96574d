"""The notebooks as they are saved: what a reader sees who runs nothing."""

import nbformat
import pytest
from papermill_command import NOTEBOOKS, ROOT


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_with_a_title_and_one_parameters_cell_of_annotated_literals(name):
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert all(":" in line.split("=")[0] for line in tagged[0].source.splitlines())
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell not in tagged]  # a setting, a line
    sizes = sorted(len(cell.source.splitlines()) for cell in code)
    assert sizes[len(sizes) // 2] <= 15
    assert sizes[-1] <= 40


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_saved_notebook_has_run_and_is_small(name):
    path = ROOT / "notebooks" / name
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert path.stat().st_size < 500_000
    assert sum(bool(cell.outputs) for cell in code) >= len(code) / 2
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
