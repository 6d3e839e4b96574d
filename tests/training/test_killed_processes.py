"""One of the processes that train together dies: the others end, and any number goes on from the last epoch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
KILLED, ENDED = -9, 1
WHOLE, HALF = {"epochs": 4, "free": True, "hidden": []}, {"epochs": 2, "free": True, "hidden": []}
OF_THE_LOSS = 1e-3  # by which floats that are added up in another order move it in an epoch or two

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks what it kills")


@pytest.fixture(scope="module")
def found(tiny_store) -> dict[str, Any]:
    """What killed_processes.py has found."""
    said = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{HERE.parent}:{HERE}"}
    command = [sys.executable, str(HERE / "killed_processes.py"), str(tiny_store.info.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=said)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_first_of_two_dies_and_two_end_bit_equal_to_two_that_were_left_alone(found):
    assert found["whole"] == [0, 0]
    assert found["first"] == [[KILLED, ENDED], HALF]
    assert found["goes on"] == [[0, 0], WHOLE, True]


def test_two_wait_together_for_another_process_that_trains_the_run(found):
    assert found["waits"] == [[0, 0], WHOLE, True]


def test_the_second_of_two_dies_and_the_first_writes_the_epochs_that_it_holds(found):
    assert found["second"] == [[ENDED, KILLED], HALF]


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_processes_goes_on_as_two_would(found, count: int):
    codes, left, losses = found[f"by {count}"]
    assert (codes, left) == ([0] * count, WHOLE)
    assert losses[:2] == found["losses"][:2]
    for own, undisturbed in zip(losses[2:], found["losses"][2:], strict=True):
        assert own == pytest.approx(undisturbed, rel=OF_THE_LOSS)
