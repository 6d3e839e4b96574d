"""``devices`` above 1, in a notebook and in avnb-train: torch's launcher, its progress, and a process that dies."""

import os
import time
from pathlib import Path

import pytest

from avnb.config import read_parameters
from avnb.datasets import open_data
from avnb.errors import RunError, SettingsError
from avnb.models.ez_vsl import EZVSLSettings
from avnb.training import launch
from avnb.training.trained import train

ASKED = {"dataset": "tiny", "preset": "quick", "epochs": 1, "batch_size": 8, "dim": 16, "device": "cpu", "devices": 2}
DIES = "import os, signal, time; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)"
SAYS = "import sys; print('half an epoch\\nRunError: Process 1 of 2 was killed.\\n'); sys.exit(1)"


def opened() -> tuple:
    return open_data(read_parameters(EZVSLSettings, ASKED), progress=False)


def test_a_notebook_shows_two_processes_at_work_and_loads_their_run(tiny: Path, capfd):
    method, run = train(*opened())
    assert "ez_vsl: 100%" in capfd.readouterr().err
    assert (len(run.history), method.training) == (1, False)
    assert [path.name for path in (tiny / "outputs/ez_vsl/tiny").iterdir()] == [run.folder.name]
    assert (run.folder / "weights-0000.safetensors").exists()


def test_processes_that_end_early_are_a_sentence_in_the_notebook(tiny: Path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "PROGRAM", ("-c", SAYS))
    with pytest.raises(RunError) as caught:
        train(*opened())
    assert str(caught.value) == "The 2 processes that train have ended early: Process 1 of 2 was killed."
    assert "half an epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("DataError: No clips.\nRunError: Process 1 of 2 has failed, as it says above; the others", "No clips."),
        ("EndedError: Another process of this training has ended\nRunError: Process 2 of 2 was killed (signal 9); the",
         "Process 2 of 2 was killed (signal 9); the"),
        ("EndedError: This process was told to end", "This process was told to end"),
        ("Segmentation fault", "what they said stands above."),
    ],
)  # fmt: skip
def test_the_cause_is_named_and_not_what_followed_from_it(said: str, why: str):
    assert launch._why(said) == why


def test_clips_that_were_chosen_in_a_notebook_are_refused(tiny: Path):
    settings, store = opened()
    with pytest.raises(SettingsError, match=r"chosen here, and other processes open it by its name\. Train on one"):
        train(settings, store.part(store.clips["line"] > 1))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_that_is_killed_ends_the_others_and_is_named(monkeypatch):
    monkeypatch.setattr(launch, "PROGRAM", ("-c", DIES))
    begun = time.monotonic()
    with pytest.raises(RunError, match=r"Process 2 of 2 was killed \(signal 9\); the others have been ended\."):
        launch.run_processes(["ez_vsl"], 2)
    assert time.monotonic() - begun < 60
