"""The notebooks as users run them: through papermill's own command, from both folders, and through nbval."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
QUICK = {"dataset": "tiny", "limit": "12", "device": "cpu", "preset": "quick"}
TRAINED = {"epochs": "1", "batch_size": "8"}
OWN = {  # 2x2 scenes, and two rooms of two objects, take four classes
    "05_dsol.ipynb": {"limit": "0", "class_epochs": "1", "match_epochs": "1"},
    "08_separation_baselines.ipynb": {"limit": "0"},
    "14_honest_evaluation.ipynb": {"mixtures": "4"},
}
SMOKE = dict.fromkeys(["04_avgn.ipynb", "13_your_own_video.ipynb"], pytest.mark.smoke)
# Runs a command and says how much memory its largest process took. A process counts its parent's memory as its own
# until it is another program, hence this small one between pytest and what is measured.
WITH_PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory, tiny_folder):
    """Return the environment of a fresh machine whose data/ holds the tiny data set, shared by the module's runs."""
    base = tmp_path_factory.mktemp("notebooks")
    (base / "data").mkdir()
    (base / "data" / "tiny").symlink_to(tiny_folder)
    own = {"AVNB_DATA": str(base / "data"), "AVNB_OUTPUTS": str(base / "outputs"), "PYTHONPATH": str(ROOT)}
    one_thread = {"OMP_NUM_THREADS": "1"}  # on data this small a second thread only waits
    return {**os.environ, **own, **one_thread, "JUPYTER_PLATFORM_DIRS": "1"}


def papermill(notebook, output, parameters, environment, cwd=ROOT, *flags):
    """Run papermill's command as the README has it, with this Python's kernel."""
    pairs = [word for name, value in parameters.items() for word in ("-p", name, value)]
    command = [sys.executable, "-m", "papermill", str(notebook), str(output), *pairs, *flags, "--no-progress-bar"]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=600)


def parameters_of(name):
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    wanted = QUICK | TRAINED | OWN.get(name, {})
    return {key: value for key, value in wanted.items() if f"\n{key}:" in f"\n{cell.source}"}


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


@pytest.mark.parametrize("name", [pytest.param(name, marks=SMOKE.get(name, ())) for name in NOTEBOOKS])
def test_nbval_runs_every_cell(name, folders, tmp_path, record_property):
    prepared = tmp_path / name
    ready = papermill(ROOT / "notebooks" / name, prepared, parameters_of(name), folders, ROOT, "--prepare-only")
    assert ready.returncode == 0, ready.stderr[-3000:]
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-cell-timeout=300", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=", "-c", os.devnull, f"--rootdir={tmp_path}", str(prepared)]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WITH_PEAK, *command],
        env=folders,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    kilobyte = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss
    peak = int(done.stderr.split()[-1]) * kilobyte / 1e6
    record_property("notebook", (name, time.perf_counter() - started, peak))
    cells = sum(cell.cell_type == "code" for cell in nbformat.read(prepared, as_version=4).cells)
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"{cells} passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "switches"),
    [
        ("02_ez_vsl.ipynb", {"sweep": "all", "heard": "2"}),
        ("03_mix_and_localize.ipynb", {"ablation": "True"}),
        ("04_avgn.ipynb", {"ablation": "True"}),
        ("05_dsol.ipynb", {"ablation": "table7"}),
        ("06_one_avm.ipynb", {"ablation": "True", "sweep": "all"}),
    ],
)
def test_the_switches_that_are_off_by_default_run(name, switches, folders, tmp_path):
    parameters = parameters_of(name) | switches
    done = papermill(ROOT / "notebooks" / name, tmp_path / name, parameters, folders)
    assert done.returncode == 0, done.stderr[-3000:]


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
