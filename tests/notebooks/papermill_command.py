"""Papermill's own command with the parameters that make a notebook short."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
QUICK = {"dataset": "tiny", "limit": "12", "device": "cpu", "preset": "quick"}
TRAINED = {"epochs": "1", "batch_size": "8"}
OWN = {  # 2x2 scenes, and two rooms of two objects, take four classes
    "05_dsol.ipynb": {"limit": "0", "class_epochs": "1", "match_epochs": "1"},
    "08_separation_baselines.ipynb": {"limit": "0"},
    "09_tsne.ipynb": {"points": "6"},  # of 8 clips
    "14_honest_evaluation.ipynb": {"mixtures": "4"},
}


def environment_of(data, outputs):
    """Return the environment of a fresh machine with these folders."""
    own = {"AVNB_DATA": str(data), "AVNB_OUTPUTS": str(outputs), "PYTHONPATH": str(ROOT)}
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
