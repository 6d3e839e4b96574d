"""Run the notebooks on the stand-in and save them as they ran: what a reader sees in git (``make notebooks``).

Machine's paths, times and progress bars are taken out; a notebook that is larger than 500 kB, shows an error or names
a path of this machine is refused and the saved one left as it was. ``python tools/save_notebooks.py 04`` runs one.
"""

import re
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
LARGEST = 500_000  # bytes
NOISE = ("application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json")
HOME = re.compile(r"/(?:home|root|Users|work|tmp|mnt|var)/[\w.\-/]+")


def save(path: Path) -> None:
    """Run one notebook in a copy, clean what it printed, and put it in place of the saved one."""
    with tempfile.TemporaryDirectory() as folder:
        ran = Path(folder) / path.name
        papermill.execute_notebook(path, ran, cwd=FOLDER, execution_timeout=3600, progress_bar=True)
        notebook = nbformat.read(ran, as_version=4)
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.cells = [cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_without_widgets, cell.outputs) if not _is_noise(output)]
    text = nbformat.writes(notebook)
    if found := HOME.search(text):
        raise SystemExit(f"{path.name} names a path of this machine: {found.group()}")
    if len(text) > LARGEST:
        raise SystemExit(f"{path.name} has {len(text):,} bytes; {LARGEST:,} are allowed: show fewer pictures.")
    path.write_text(text + "\n", encoding="utf-8")
    print(f"{path.name}: {len(text):,} bytes")


def _without_widgets(output: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave of a widget the picture that it shows where no kernel runs, if it has one."""
    if "image/jpeg" in output.get("data", {}):
        output.data = {kind: value for kind, value in output.data.items() if kind not in NOISE and "VBox(" not in value}
    return output


def _is_noise(output: nbformat.NotebookNode) -> bool:
    if output.output_type == "error":
        raise SystemExit(f"A cell failed: {output.ename}: {output.evalue}")
    return output.get("name") == "stderr" or any(kind in output.get("data", {}) for kind in NOISE)


if __name__ == "__main__":
    chosen = sys.argv[1:] or [""]
    for notebook_path in sorted(FOLDER.glob("[0-9]*.ipynb")):
        if any(notebook_path.name.startswith(wanted) for wanted in chosen):
            save(notebook_path)
