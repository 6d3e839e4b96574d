"""Prepares the miniatures, and runs notebooks on them as a user would, each data set with outputs/ of its own."""

import atexit
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from miniatures import MINIATURES

from avnb.errors import AvnbError
from avnb.prepare import command as prepare

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = {path.name[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))}
TABLES = "12"
SENTENCES = {cls.__name__ for cls in AvnbError.__subclasses__()}
TINY = {"device": "cpu", "preset": "quick", "epochs": 1, "class_epochs": 1, "match_epochs": 1, "batch_size": 8}


@dataclass(frozen=True)
class Outcome:
    """How a notebook ended: ``stopped`` is the sentence that ended it early, "" where it ran to its end.

    ``traceback`` is what was raised that is no sentence of this package's; ``printed`` is all text of its outputs;
    ``seconds`` are the processor's.
    """

    printed: str
    stopped: str = ""
    traceback: str = ""
    seconds: float = 0.0

    @property
    def word(self) -> str:
        """What became of it, for the table at the end."""
        return "TRACEBACK" if self.traceback else "says why" if self.stopped else "ran"


OUTCOMES: dict[tuple[str, str], Outcome] = {}  # by data set and notebook


def rehearse(root: Path, troupe: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Outcome]:
    """Prepare each miniature of the troupe and run its notebooks in their order."""
    found = {}
    for name, numbers in troupe.items():
        prepare_miniature(name, root)
        for number in numbers:
            found[name, number] = _kernel(root).run(number, name)
    return found


@functools.cache
def _kernel(root: Path) -> "Kernel":
    kernel = Kernel(root)
    atexit.register(kernel.close)
    return kernel


def prepare_miniature(name: str, root: Path) -> Path:
    """Write a miniature's files and prepare it by the command, once; return ``root``/data/NAME."""
    out = root / "data" / name
    if (out / "dataset.json").exists():
        return out
    miniature = MINIATURES[name]
    held = root / "held" / name
    held.mkdir(parents=True)
    arguments = [miniature.importer, *miniature.write(held), "--out", out, "--workers", 1]
    if miniature.needs:
        before = prepare_miniature(miniature.needs, root)
        arguments += ["--videos", before] if miniature.composed_of else []
    code = prepare.main([str(part) for part in arguments])
    assert code == 0, f"avnb-prepare {miniature.importer} ended with {code}"
    return out


class Kernel:
    """A Python kernel in which one notebook after the other is run by papermill, as in "Restart and run all".

    The kernel's names are forgotten in between and its modules are not: importing torch and its like takes longer than
    what is rehearsed here. ``data/`` holds all prepared miniatures, ``outputs/`` is each data set's own.
    """

    def __init__(self, root: Path) -> None:
        from jupyter_client import KernelManager

        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "JUPYTER_PLATFORM_DIRS": "1"}
        self.root = root
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(ROOT), env=environment)

    def close(self) -> None:
        """End the kernel's process."""
        self.manager.shutdown_kernel(now=True)

    def run(self, number: str, name: str) -> Outcome:
        """Run a notebook through papermill on a prepared miniature, with tiny parameters."""
        from papermill import execute_notebook
        from papermill.engines import papermill_engines
        from papermill.exceptions import PapermillExecutionError

        source, ran = NOTEBOOKS[number], self.root / "ran" / name / NOTEBOOKS[number].name
        ran.parent.mkdir(parents=True, exist_ok=True)
        cell = next(c for c in nbformat.read(source, as_version=4).cells if "parameters" in c.metadata.get("tags", []))
        wanted = TINY | {"dataset": name}
        known = {key: value for key, value in wanted.items() if f"\n{key}:" in f"\n{cell.source}"}
        papermill_engines.register("here", self._engine())
        told = {"engine_name": "here", "kernel_name": "python3", "progress_bar": False}
        told["request_save_on_cell_execute"] = False  # else it is written before and after each cell
        started = self._begin(name)
        stopped = traceback = ""
        try:
            execute_notebook(source, ran, known, **told)
        except PapermillExecutionError as error:
            if error.ename in SENTENCES:
                stopped = str(error.evalue)
            else:
                traceback = f"{error.ename}: {error.evalue}, in cell {error.exec_count}:\n{error.source}"
        return Outcome(_text_of(ran), stopped, traceback, self._processor_time() - started)

    def _engine(self) -> type:
        from papermill.clientwrap import PapermillNotebookClient
        from papermill.engines import Engine

        manager = self.manager

        class Here(Engine):
            @classmethod
            def execute_managed_notebook(cls, notebook: Any, kernel_name: str, **_: Any) -> Any:
                return PapermillNotebookClient(notebook, km=manager, kernel_name=kernel_name, timeout=600).execute()

        return Here

    def _begin(self, name: str) -> float:
        """Forget what the notebook before has named and point to the data set's folders; return processor seconds."""
        folders = {"AVNB_DATA": str(self.root / "data"), "AVNB_OUTPUTS": str(self.root / "outputs" / name)}
        self._execute(
            f"%reset -f\nimport os\nos.environ.update({folders!r})\nos.chdir({str(ROOT)!r})\n"
            "from matplotlib import pyplot\npyplot.close('all')"
        )
        return self._processor_time()

    def _processor_time(self) -> float:
        return float(self._execute("import time; print(time.process_time())"))

    def _execute(self, code: str) -> str:
        said: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            said.append(message["content"].get("text", ""))

        client = self.manager.client()  # a new one each time: two that are open take each other's answers
        client.start_channels()
        try:
            client.wait_for_ready(timeout=120)
            reply = client.execute_interactive(code, output_hook=keep, timeout=120)
        finally:
            client.stop_channels()
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(said)


def _text_of(path: Path) -> str:
    """Return the text that a notebook's cells printed and showed."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            found.append(output.get("text", "") or data.get("text/html", "") or data.get("text/plain", ""))
    return "\n".join(found)
