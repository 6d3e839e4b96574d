"""Two processes train as one does: the same losses and gradients of every method, and what is stopped goes on."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from two_processes import gradients

from avnb.data.store import Store
from avnb.models import METHODS

HERE = Path(__file__).parent
TOLERANCE = 1e-12  # of the largest gradient of a stage: doubles, added up in another order


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
def of_two(tmp_path_factory: pytest.TempPathFactory, tiny_store: Store) -> Path:
    """The folder of what two processes, started once, found of every method."""
    folder = tmp_path_factory.mktemp("two")
    started = torchrun(str(HERE / "two_processes.py"), str(folder), str(tiny_store.info.folder))
    printed, _ = started.communicate(timeout=600)
    assert started.returncode == 0, printed
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_have_the_losses_and_gradients_of_one(name, of_two, one_thread):
    """In every stage, with dropout drawn and batch norm over the whole batch; what no loss reaches has none in both."""
    one, two = dict(gradients(name)), load_file(of_two / f"{name}.safetensors")
    assert one.keys() == two.keys()
    largest: dict[str, float] = {}
    for key, value in one.items():
        stage = key.split("/")[0]
        largest[stage] = max(largest.get(stage, 0.0), value.abs().max().item())
    apart = {key: (one[key] - two[key]).abs().max().item() / largest[key.split("/")[0]] for key in one}
    assert {key: value for key, value in apart.items() if not value <= TOLERANCE} == {}


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_train_a_method_and_go_on_from_its_first_epoch_to_the_bit(name, of_two):
    """Through all its stages; what is chosen between them is chosen by the first."""
    facts = json.loads((of_two / "trained.json").read_text())[name]
    whole, again = facts["losses"]
    assert facts["stages"] == []
    assert len(whole) >= 2
    assert all(math.isfinite(loss) for loss in whole)
    assert (again, facts["files"]) == (whole, [])
