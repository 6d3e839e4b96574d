"""docs/add_a_method.md, done in a copy of the project: four files, three lines, and the method is everywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "add_a_method.md").read_text(encoding="utf-8")
SEEN = """
import json
from avnb import papers
from avnb.config import Settings
from avnb.evaluation import trials_of
from avnb.evaluation.features import embed_clips
from avnb.evaluation.paper_tables import read_runs, rebuild_all
from avnb.models import METHODS
from avnb.notebook import start
from avnb.training.trained import trained_methods, usual_run
from avnb.viewing.scrubber import scrub

settings, store = start(Settings, {"dataset": "music", "device": "cpu"})
networks = trained_methods(METHODS, store, settings)  # notebook 09
clips = trials_of(store)[0].mixtures(store)[:, 0]
features = {name: sorted(embed_clips(network, store, clips)) for name, network in networks.items()}
runs = {name: usual_run(name, store) for name in METHODS}  # notebook 10
scrubber = scrub(store, {name: run for name, run in runs.items() if run is not None})
tables = rebuild_all(read_runs())  # notebook 12
lines = {table.table.source: [line.name for line in table.own] for of in tables.values() for table in of}
print(json.dumps({"features": features, "maps": sorted(scrubber.reel.maps), "lines": lines}))
"""


@pytest.mark.notebook
@pytest.mark.timeout(900)
def test_the_page_adds_a_method_that_trains_is_judged_scrubs_and_is_shown(tmp_path, tiny_folder):
    project = tmp_path / "project"
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("avnb", "notebooks", "tests"):
        shutil.copytree(ROOT / folder, project / folder, ignore=skipped)
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    shutil.copytree(tiny_folder, project / "data" / "music")
    info = json.loads((project / "data" / "music" / "dataset.json").read_text())
    (project / "data" / "music" / "dataset.json").write_text(json.dumps(info | {"name": "music"}))
    (project / ".gitignore").write_text("__pycache__\n.pytest_cache\ndata\noutputs\n*.egg-info\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AVNB_")}
    environment |= {"PYTHONPATH": str(project), "AVNB_ROOT": str(project), "OMP_NUM_THREADS": "1"}

    def run(*command, python=True):
        words = [sys.executable, *command] if python else list(command)
        done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def git(*words):
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        return run("git", *who, *words, python=False)

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "before")
    for name, text in re.findall(r"^## \d\. .+?: `(.+?)`\n(?:(?!^## ).)*?^```python\n(.*?)^```", PAGE, re.S | re.M):
        (project / name).write_text(text, encoding="utf-8")
    for name, before, added in re.findall(r"^```diff\n--- (\S+)\n (.+)\n\+(.+)\n```", PAGE, re.M):
        text = (project / name).read_text(encoding="utf-8")
        [line] = [line for line in text.splitlines() if line.startswith(before)]
        (project / name).write_text(text.replace(f"{line}\n", f"{line}\n{added}\n"), encoding="utf-8")
    run("-m", "avnb.notebook", "centre_square")
    taken = {path.name[:2] for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}
    free = next(number for number in range(1, 100) if f"{number:02d}" not in taken)
    notebook = f"notebooks/{free:02d}_centre_square.ipynb"
    git("add", "-A")
    status = dict(line.split("\t")[::-1] for line in git("diff", "--cached", "--name-status").splitlines())
    counts = {line.split("\t")[2]: line.split("\t")[:2] for line in git("diff", "--cached", "--numstat").splitlines()}
    assert sorted(name for name, kind in status.items() if kind == "A") == [
        "avnb/models/centre_square.py",
        "avnb/papers/centre_square.py",
        notebook,
        "tests/models/test_centre_square.py",
    ]
    changed = {name: counts[name] for name, kind in status.items() if kind != "A"}
    assert changed == {name: ["1", "0"] for name in ("README.md", "avnb/models/__init__.py", "avnb/papers/__init__.py")}

    run("-m", "ruff", "check", *status)
    run("-m", "ruff", "format", "--check", *(name for name in status if not name.endswith(".md")))
    run("-m", "pytest", "tests/models/test_centre_square.py", "-p", "no:cacheprovider")
    told = [word for pair in ("dataset music", "device cpu") for word in ("-p", *pair.split())]
    run("-m", "papermill", notebook, "out.ipynb", *told, "--no-progress-bar")
    seen = json.loads(run("-c", SEEN).splitlines()[-1])
    assert seen["features"] == {"centre_square": ["audio", "visual"]}
    assert seen["maps"] == ["centre_square"]
    assert any("centre_square" in line.lower().replace(" ", "_") for line in seen["lines"]["CentreSquare, Table 1"])
