"""avnb-train: the same run as the notebook's, from a shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avnb.config import read_parameters
from avnb.datasets import open_data
from avnb.models.avgn import AVGNSettings
from avnb.training.command import main, read_values
from avnb.training.trained import train

PARAMETERS = {"dataset": "tiny", "preset": "quick", "epochs": 1, "batch_size": 8, "dim": 16}
SHORT = [text for name, value in PARAMETERS.items() for text in ("-p", name, str(value))]


def test_command_trains_what_the_notebook_then_loads(tiny: Path, capsys, monkeypatch):
    assert main(["avgn", *SHORT]) == 0
    printed = capsys.readouterr().out
    (folder,) = (tiny / "outputs" / "avgn" / "tiny").iterdir()
    assert f"1 epochs, of which 1 is kept: outputs/avgn/tiny/{folder.name}" in printed
    settings, store = open_data(read_parameters(AVGNSettings, PARAMETERS), progress=False)
    monkeypatch.setattr("avnb.training.fit._train", lambda *_: pytest.fail("it was trained again"))
    _, run = train(settings, store, progress=False)
    assert run.folder == folder


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["avng"], 'There is no method "avng". Did you mean "avgn"?'),
        (["avgn", "-p", "epoch", "3"], 'There is no setting "epoch" in avgn. Did you mean "epochs"?'),
        (["avgn", "-p", "epochs", "three"], "epochs = 'three' is text, but epochs is a whole number"),
        (["avgn", "-p", "dataset", "nothing"], 'There is no data set "nothing".'),
    ],
)
def test_what_is_asked_wrongly_is_a_sentence(workspace: Path, capsys, arguments: list[str], said: str):
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
    assert not list((workspace / "outputs").iterdir())


def test_values_are_of_their_settings_types():
    said = [("epochs", "3"), ("learning_rate", "1e-4"), ("crop", "False"), ("dataset", "12"), ("resume", "no")]
    values = read_values(AVGNSettings, said)
    assert values == {"epochs": 3, "learning_rate": 1e-4, "crop": False, "dataset": "12", "resume": "no"}


@pytest.mark.parametrize("given", [None, "7"])
def test_threads_that_wait_are_told_to_sleep_before_torch_is_loaded(given: str | None):
    """By the import of avnb, unless the user has said otherwise."""
    said = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    if given:
        said["GOMP_SPINCOUNT"] = given
    script = "import sys, os, avnb; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=said, check=True)
    assert done.stdout.split() == [given or "3000", "False"]
