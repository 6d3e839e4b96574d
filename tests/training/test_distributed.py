"""Two processes train as one does: the same losses and gradients of every method, and what a death leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from two_processes import gradients

from avnb.models import METHODS
from avnb.training.command import main
from avnb.training.runs import Run

HERE = Path(__file__).parent
TOLERANCE = 1e-12  # of the largest gradient of a stage: doubles, added up in another order
WITHIN = 60.0  # seconds in which a death ends the others, of which a busy machine takes a few
EPOCHS = 25
SETTINGS = {"dataset": "tiny", "preset": "quick", "epochs": EPOCHS, "batch_size": 8, "dim": 16, "device": "cpu"}
SHORT = ["ez_vsl", *(text for name, value in SETTINGS.items() for text in ("-p", name, str(value)))]


def torchrun(*what: str, cwd: Path | None = None) -> subprocess.Popen:
    """Start two processes of ``what``; each counts on one thread."""
    said = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parent}:{HERE}"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *what]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=said, cwd=cwd)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """What the processes count on: with another number of threads a convolution rounds otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, torch.Tensor]]:
    """A function that returns what two processes, started once, found to be a method's losses and gradients."""
    folder = tmp_path_factory.mktemp("two")
    started = torchrun(str(HERE / "two_processes.py"), str(folder))
    printed, _ = started.communicate(timeout=600)
    assert started.returncode == 0, printed
    return lambda name: load_file(folder / f"{name}.safetensors")


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_have_the_losses_and_gradients_of_one(name, of_two, one_thread):
    """In every stage, with dropout drawn and batch norm over the whole batch; what no loss reaches has none in both."""
    one, two = dict(gradients(name)), of_two(name)
    assert one.keys() == two.keys()
    largest: dict[str, float] = {}
    for key, value in one.items():
        stage = key.split("/")[0]
        largest[stage] = max(largest.get(stage, 0.0), value.abs().max().item())
    apart = {key: (one[key] - two[key]).abs().max().item() / largest[key.split("/")[0]] for key in one}
    assert {key: value for key, value in apart.items() if not value <= TOLERANCE} == {}


@pytest.fixture
def tiny(tiny_folder: Path, workspace: Path) -> Path:
    """The tiny benchmark as data/tiny of a workspace."""
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    return workspace


def test_a_process_that_dies_ends_the_other_with_a_sentence_and_any_number_goes_on(tiny: Path, capsys):
    started = torchrun("-m", "avnb.training", *SHORT)
    history = first_epochs(tiny, 2)
    os.kill(workers_of(started)[1], signal.SIGKILL)
    begun = time.monotonic()
    printed, _ = started.communicate(timeout=WITHIN)
    assert time.monotonic() - begun < WITHIN
    assert started.returncode != 0
    assert "RunError: Another process of this training has ended, so this one ends too." in printed
    assert "Traceback" not in printed.split("elastic")[0]
    left = Run(history.parent)
    assert 2 <= len(left.history) < EPOCHS
    assert main(SHORT) == 0
    ended = Run(history.parent)
    assert ended.history[: len(left.history)] == left.history
    assert [row["epoch"] for row in ended.history] == list(range(1, EPOCHS + 1))
    assert f"{EPOCHS} epochs, of which" in capsys.readouterr().out


def test_what_two_processes_are_asked_wrongly_is_said_once(tiny: Path):
    started = torchrun("-m", "avnb.training", *SHORT, "-p", "batch_size", "6")
    printed, _ = started.communicate(timeout=WITHIN)
    sentence = "batch_size = 6 cannot be shared among 2 processes: each takes an equal part of it, in pairs. Take a "
    assert started.returncode != 0
    assert printed.count(f"SettingsError: {sentence}multiple of 4.") == 1
    assert not list((tiny / "outputs").glob("*/*/*/history.json"))


def first_epochs(workspace: Path, count: int) -> Path:
    """Return the history of the workspace's one run as soon as it has so many epochs."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for path in (workspace / "outputs").glob("*/*/*/history.json"):
            if len(json.loads(path.read_text())["epochs"]) >= count:
                return path
        time.sleep(0.02)
    pytest.fail(f"no {count} epochs in two minutes")


def workers_of(started: subprocess.Popen) -> list[int]:
    """Return the processes that torchrun has started, by their ranks."""
    found = subprocess.run(["pgrep", "-P", str(started.pid)], capture_output=True, text=True, check=True).stdout
    environments = {int(pid): Path(f"/proc/{pid}/environ").read_bytes().decode() for pid in found.split()}
    return sorted(environments, key=lambda pid: environments[pid].split("\0RANK=")[1].split("\0")[0])
