"""Every notebook through nbval, on a fresh machine that has tiny data."""

import os
import subprocess
import sys
import time

import nbformat
import pytest
from papermill_command import NOTEBOOKS, ROOT, papermill, parameters_of

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
