"""The notebooks by papermill's command, as README has it: from both folders, and with what cannot be meant."""

import json
from pathlib import Path

import pytest
from papermill_command import QUICK, ROOT, TRAINED, papermill

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(1200)]


def test_the_main_command_trains_evaluates_and_writes_its_metrics(folders, tmp_path):
    done = papermill("notebooks/04_avgn.ipynb", tmp_path / "out.ipynb", QUICK | TRAINED, folders)
    assert done.returncode == 0, done.stderr[-3000:]
    [metrics] = Path(folders["AVNB_OUTPUTS"]).glob("avgn/tiny/*/metrics.json")
    said = json.loads(metrics.read_text())
    assert said["origin"] == "real"
    assert said["settings"]["epochs"] == 1
    methods = {(row["method"], row["classes"]) for row in said["rows"]}
    assert {("avgn", "oracle"), ("avgn", "predicted"), ("centre", "none"), ("oracle", "none")} <= methods
    assert all(0 <= row["AUC"] <= 100 for row in said["rows"])


def test_a_second_run_from_the_notebooks_folder_loads_the_first(folders, tmp_path):
    first = papermill("notebooks/04_avgn.ipynb", tmp_path / "a.ipynb", QUICK | TRAINED, folders)
    before = {path: path.stat().st_mtime_ns for path in Path(folders["AVNB_OUTPUTS"]).rglob("weights-*")}
    again = papermill("04_avgn.ipynb", tmp_path / "b.ipynb", QUICK | TRAINED, folders, ROOT / "notebooks")
    assert (first.returncode, again.returncode) == (0, 0), again.stderr[-3000:]
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in Path(folders["AVNB_OUTPUTS"]).rglob("weights-*")}


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"dataset": "musci"}, 'SettingsError: There is no data set "musci". Did you mean "music"?'),
        ({"epoch": "3"}, 'SettingsError: There is no setting "epoch" in avgn. Did you mean "epochs"?'),
        ({"epochs": "many"}, "SettingsError: epochs = 'many' is text, but epochs is a whole number"),
        ({"batch_size": "5000"}, "SettingsError: batch_size = 5000 is larger than the training split"),
        ({"dataset": "music", "origin": "real"}, "DataError: MUSIC is not prepared"),
        ({"device": "cuda:9"}, 'SettingsError: device = "cuda:9": this machine has'),
    ],
)
def test_bad_input_to_the_real_command_ends_in_a_sentence(parameters, sentence, folders, tmp_path):
    done = papermill("notebooks/04_avgn.ipynb", tmp_path / "out.ipynb", {"dataset": "tiny"} | parameters, folders)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert not list(tmp_path.glob("**/history.json"))
