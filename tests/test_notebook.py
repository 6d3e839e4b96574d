"""Parameters cells that say what the settings are, and a notebook that begins to be written."""

import ast
import dataclasses

import nbformat
import papermill
import pytest

from avnb.config import Settings
from avnb.errors import SettingsError
from avnb.models import METHODS
from avnb.notebook import parameters_cell, skeleton, write_notebook
from avnb.paths import project_root

NOTEBOOKS = project_root() / "notebooks"
OF_A_METHOD = {path.stem[3:]: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if path.stem[3:] in METHODS}
OTHERS = [path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if path not in OF_A_METHOD.values()]


@pytest.mark.parametrize("method", OF_A_METHOD)
def test_papermill_knows_every_setting_with_its_type_default_and_meaning(method):
    there = papermill.inspect_notebook(OF_A_METHOD[method])
    entries = dataclasses.fields(METHODS[method].SETTINGS)
    assert list(there) == [entry.name for entry in entries]
    for entry in entries:
        said = there[entry.name]
        assert said["inferred_type_name"] == entry.type.__name__
        assert ast.literal_eval(said["default"]) == entry.default
        assert said["help"].split(" [")[0] == entry.metadata["doc"].split(" [")[0]


@pytest.mark.parametrize("method", OF_A_METHOD)
def test_the_parameters_cell_is_what_the_command_writes(method):
    assert parameters_of(OF_A_METHOD[method]) == parameters_cell(METHODS[method].SETTINGS), (
        f"make notebook METHOD={method} brings the cell to what the settings are"
    )


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.stem)
def test_a_setting_that_every_method_has_means_the_same_in_the_other_notebooks(path):
    common = {entry.name: entry for entry in dataclasses.fields(Settings)}
    for name, said in papermill.inspect_notebook(path).items():
        assert said["help"], f"{name} has no meaning"
        if name in common:
            assert said["inferred_type_name"] == common[name].type.__name__
            assert ast.literal_eval(said["default"]) == common[name].default


def test_the_skeleton_of_a_method_trains_judges_and_shows_it(workspace, tiny_folder, tmp_path):
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    path = write_notebook("ez_vsl", tmp_path)
    told = {"dataset": "tiny", "epochs": 1, "batch_size": 8, "limit": 8, "device": "cpu"}
    ran = papermill.execute_notebook(path, tmp_path / "ran.ipynb", told, progress_bar=False)
    code = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    assert len(list((workspace / "outputs" / "ez_vsl" / "tiny").glob("*/metrics.json"))) == 1
    assert any("image/jpeg" in output.get("data", {}) for output in code[-1].outputs)  # the scrubber


@pytest.mark.parametrize("method", METHODS)
def test_a_skeleton_names_its_own_method_and_leaves_no_word_to_replace(method):
    source = "\n".join(cell.source for cell in skeleton(method).cells)
    assert f"from {METHODS[method].__module__} import {METHODS[method].__name__}, " in source
    assert not {"MODULE", "METHOD", "SETTINGS", "PARAMETERS"} & set(source.replace("(", " ").split())


def test_a_method_that_has_a_notebook_keeps_everything_but_its_parameters_cell(tmp_path):
    path = write_notebook("avgn", tmp_path)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source = "# My finding"
    notebook.cells[1].source = "seed: int = 3"
    nbformat.write(notebook, path)
    assert write_notebook("avgn", tmp_path) == path
    again = nbformat.read(path, as_version=4)
    assert again.cells[0].source == "# My finding"
    assert again.cells[1].source == parameters_cell(METHODS["avgn"].SETTINGS)


def test_a_new_notebook_takes_the_first_number_that_is_free(tmp_path):
    for name in ("01_data.ipynb", "03_other.ipynb"):
        (tmp_path / name).touch()
    assert write_notebook("dsol", tmp_path).name == "02_dsol.ipynb"


def test_a_method_that_does_not_exist_is_told_in_a_sentence(tmp_path):
    with pytest.raises(SettingsError, match=r'There is no method "agvn"\. Did you mean "avgn"'):
        write_notebook("agvn", tmp_path)


def parameters_of(path):
    cells = nbformat.read(path, as_version=4).cells
    return next(cell.source for cell in cells if "parameters" in cell.metadata.get("tags", []))
