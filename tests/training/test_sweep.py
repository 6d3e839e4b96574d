"""avnb-sweep: every combination once, whatever happened before, and a table that says what became of each."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
import torch

submitit = pytest.importorskip("submitit")

from avnb.config import read_parameters  # noqa: E402
from avnb.data.locks import locked  # noqa: E402
from avnb.datasets import open_data  # noqa: E402
from avnb.errors import SettingsError  # noqa: E402
from avnb.models.ots import OTSSettings  # noqa: E402
from avnb.training import command, launch, sweep  # noqa: E402
from avnb.training.command import read_values  # noqa: E402
from avnb.training.runs import Run  # noqa: E402

TINY = ["-p", "dataset", "tiny", "-p", "epochs", "1", "-p", "batch_size", "8", "-p", "dim", "16", "-p", "device", "cpu"]


@pytest.fixture
def here(monkeypatch):
    """Jobs are done in this process, one after the other."""

    def executor(said, folder, devices):
        return submitit.DebugExecutor(folder="outputs/.sweeps")

    monkeypatch.setattr(sweep, "_executor", executor)


def histories(folder):
    return {path: (path.stat().st_mtime_ns, json.loads(path.read_text())) for path in folder.rglob("history.json")}


def test_methods_and_values_are_combined():
    found = sweep.trainings(["avgn", "ots"], [("seed", "0,1"), ("dim", "16,32"), ("dataset", "music")])
    assert len(found) == 8
    assert len(set(found)) == 8
    assert found[-1] == sweep.Training("ots", (("seed", "1"), ("dim", "32"), ("dataset", "music")))


@pytest.mark.parametrize(
    ("methods", "parameters", "sentence"),
    [
        (["avng"], [], "There is no method"),
        (["avgn"], [("seed", "0,x")], "seed"),
        (["avgn", "ots"], [("gate", "none")], "gate"),  # which one of the two does not have
        (["avgn"], [("seed", "0"), ("seed", "1")], "-p seed is given twice"),
    ],
)
def test_what_a_method_does_not_have_is_refused_before_anything_is_trained(methods, parameters, sentence):
    with pytest.raises(SettingsError, match=sentence):
        sweep.trainings(methods, parameters)


def test_nothing_is_trained_twice_and_the_table_names_each(tiny, here, capsys):
    asked = ["ez_vsl,ots", *TINY, "-p", "seed", "0,1"]
    assert sweep.main(asked) == 0
    printed, first = capsys.readouterr().out, histories(tiny / "outputs")
    assert len(first) == 4
    assert printed.count("done") == 9  # as each ended, in the table, and in the last line
    assert sweep.main(asked) == 0
    assert histories(tiny / "outputs") == first


def test_a_training_that_fails_is_named_with_its_reason_and_the_others_are_done(tiny, here, capsys):
    asked = ["ez_vsl", "-p", "dataset", "tiny", "-p", "epochs", "1", "-p", "dim", "16", "-p", "device", "cpu"]
    assert sweep.main([*asked, "-p", "batch_size", "8,60000"]) == 1
    said = capsys.readouterr()
    [failed] = {line[6:] for line in said.out.splitlines() if "FAILED" in line and line.startswith("FAILED")}
    assert "batch_size=60000" in failed
    assert "SettingsError: " in failed
    assert "1 of 2 trainings failed" in said.err
    assert len(histories(tiny / "outputs")) == 1


def test_a_job_of_its_own_process_waits_for_the_process_that_trains_the_run(tiny, capsys):
    """And trains in the folder that avnb-train takes."""
    pairs = list(zip(TINY[1::3], TINY[2::3], strict=True))
    settings, store = open_data(read_parameters(OTSSettings, read_values(OTSSettings, pairs)), progress=False)
    run, held, logs = Run.of(settings, store.name, store.digest), ExitStack(), tiny / "outputs" / ".sweeps"

    def let_go_when_waited_for():
        until = time.monotonic() + 120
        while time.monotonic() < until and not any("is waited for" in it.read_text() for it in logs.rglob("*.out")):
            time.sleep(0.1)
        waited_for.append(time.monotonic() < until)
        held.close()

    waited_for = []
    held.enter_context(locked(run.folder / "lock"))
    (watcher := threading.Thread(target=let_go_when_waited_for)).start()
    assert sweep.main(["ots", *TINY]) == 0
    watcher.join()
    assert waited_for == [True]
    assert f"1 epochs, of which 1 is kept: outputs/ots/tiny/{run.folder.name}" in capsys.readouterr().out
    assert list(histories(tiny / "outputs")) == [run.folder / "history.json"]


KILLED = """
import os, signal, sys
import submitit, torch
from avnb.data.locks import locked
from avnb.metrics.localization import average_precision
from avnb.training import runs, sweep

torch.set_num_threads(1)
average_precision(torch.rand(1, 4, 4), torch.ones(1, 4, 4))  # compiled once, for all children
runs.WRITTEN_SHARE = 0  # every epoch is written when it ends
sweep._executor = lambda said, folder, devices: submitit.DebugExecutor(folder)
save, trained = runs.Run.save_epoch, []

def save_epoch(run, *rest, **how):
    save(run, *rest, **how)
    trained.append(run)
    print("trained:", run.folder, len(run.history), flush=True)
    if len(trained) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

runs.Run.save_epoch = save_epoch
while True:
    if (child := os.fork()) == 0:
        sys.exit(sweep.main(sys.argv[1:]))
    print("ended:", code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    if code != -signal.SIGKILL:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks what it kills")
def test_a_sweep_that_is_killed_and_called_again_trains_no_epoch_twice(tiny):
    """After every third epoch, which is in the midst of a run, and at its end, before it is known to be finished."""
    asked = [value if value != "1" else "2" for value in TINY]
    command = [sys.executable, "-c", KILLED, "ez_vsl,ots", *asked, "-p", "seed", "0,1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = [line.split() for line in done.stdout.splitlines() if line.startswith(("trained:", "ended:"))]
    epochs = [tuple(rest) for kind, *rest in said if kind == "trained:"]
    assert [code for kind, code, *_ in said if kind == "ended:"] == ["-9", "-9", "0"]
    assert len(epochs) == len(set(epochs)) == 2 * 2 * 2
    kept = histories(tiny / "outputs")
    assert [len(history["epochs"]) for _, history in kept.values()] == [2, 2, 2, 2]
    for folder in (path.parent for path in kept):
        assert not list(folder.glob(".*"))
        with locked(folder / "lock") as free:
            assert free


def test_processes_that_train_together_are_told_to_wait_and_answer_with_their_last_line(monkeypatch):
    monkeypatch.setattr(launch, "PROGRAM", ("-c", "import sys; print('a bar'); print(*sys.argv[1:])"))
    how = sweep.train_one(sweep.Training("ots", (("seed", "1"), ("devices", "2"))))
    assert (how.done, how.sentence) == (True, "ots -p seed 1 -p devices 2 --wait")
    started = []
    monkeypatch.setattr(launch, "run_processes", lambda arguments, count: started.append((arguments, count)))
    assert command.main(["ots", "-p", "devices", "2", "--wait"]) == 0
    assert started == [(["ots", "-p", "devices", "2", "--wait"], 2)]


def test_slurm_is_asked_for_what_the_sweep_and_its_user_say(tmp_path, monkeypatch):
    """By the job's script, as submitit writes it; there is no SLURM here."""
    (tmp_path / "srun").touch(mode=0o755)  # by which submitit knows the system
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    asked = ["ots", "-p", "devices", "8", "--on", "slurm", "--hours", "1.5"]
    said = sweep._parser().parse_args([*asked, "--slurm", "partition", "gpu", "--slurm", "cpus_per_task", "64"])
    script = sweep._executor(said, tmp_path / "3", 8)._make_submission_file_text("train", "uid")
    wanted = {"gpus-per-node=8", "time=90", "partition=gpu", "cpus-per-task=64"}
    assert wanted <= {line.removeprefix("#SBATCH --") for line in script.splitlines()}
    said.slurm = [("partitoin", "gpu")]
    with pytest.raises(SettingsError, match=r"SLURM does not take the jobs: .*partitoin"):
        sweep._executor(said, tmp_path / "3", 8)


def test_a_machine_without_slurm_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = sweep._parser().parse_args(["ots", "--on", "slurm"])
    with pytest.raises(SettingsError, match="SLURM does not take the jobs: "):
        sweep._executor(said, tmp_path, 1)


def test_trainings_beside_each_other_have_gpus_of_their_own(monkeypatch):
    """Among those that the user has left the command, whose names need not be numbers."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [sweep._gpus(slot, 1) for slot in range(5)] == ["0", "1", "2", "3", "0"]
    assert [sweep._gpus(slot, 2) for slot in range(3)] == ["0,1", "2,3", "0,1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [sweep._gpus(slot, 1) for slot in range(3)] == ["GPU-a", "GPU-b", "GPU-a"]
    assert sweep._gpus(1, 8) == "GPU-a,GPU-b"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert sweep._gpus(1, 2) == ""
