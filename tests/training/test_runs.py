"""A run's folder: whole whatever happens to the process or the disk, and never unpickled."""

import errno
import json
import os
import pickle
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from avnb.config import setting
from avnb.data.locks import locked
from avnb.errors import RunError
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.training import runs
from avnb.training.runs import Run, find_runs, load_weights, saved_state

SETTINGS = AVGNSettings(
    dataset="tiny", preset="quick", dim=16, epochs=4, batch_size=8, learning_rate=1e-3, device="cpu"
).resolve("cpu")


class Frozen(nn.Linear):
    frozen = True


def small_model(value: float = 0.0) -> nn.Module:
    """Two trained layers and a frozen one, all weights ``value``."""
    model = nn.ModuleDict({"trunk": Frozen(2, 3), "head": nn.Linear(3, 4), "norm": nn.BatchNorm1d(4)})
    for weight in model.parameters():
        nn.init.constant_(weight, value)
    return model


def optimizer_of(model: nn.Module, steps: int = 1) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(model["head"].parameters(), lr=0.1)
    for _ in range(steps):
        for weight in model["head"].parameters():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    return optimizer


def saved_epochs(run: Run, scores: list[float]) -> None:
    """Save an epoch for each score, whose weights are the epoch's number."""
    for number, score in enumerate(scores):
        model = small_model(number)
        better = run.best is None or score >= run.history[run.best]["val_ap"]
        run.save_epoch(model, optimizer_of(model, 0), {"epoch": number + 1, "val_ap": score}, better)


def tensors_on_disk(run: Run) -> list[str]:
    return sorted(path.stem for path in run.folder.glob("*.safetensors"))


# --------------------------------------------------------------------------------------------------- what a run keeps


def test_best_and_last_epoch_are_kept_and_no_other(workspace):
    run = Run.of(SETTINGS, "tiny")
    saved_epochs(run, [10.0, 30.0, 20.0, 25.0])
    assert run.best == 1
    assert tensors_on_disk(run) == ["optimizer-0003", "weights-0001", "weights-0003"]


def test_best_epoch_is_what_comes_back_for_use_and_the_last_for_training(workspace):
    saved_epochs(Run.of(SETTINGS, "tiny"), [10.0, 30.0, 20.0])
    run, model = Run.of(SETTINGS, "tiny"), small_model(-1)
    run.load_best(model)
    assert (model["head"].weight == 1).all()
    run.load_last(model, optimizer_of(model, 0))
    assert (model["head"].weight == 2).all()


def test_run_read_from_disk_is_the_run_that_wrote_it(workspace):
    written = Run.of(SETTINGS, "tiny")
    saved_epochs(written, [10.0, 30.0, 20.0])
    read = Run.of(SETTINGS, "tiny")
    assert (read.folder, read.history, read.best) == (written.folder, written.history, written.best)


def test_optimizer_goes_on_as_if_it_had_not_stopped(workspace):
    run, model = Run.of(SETTINGS, "tiny"), small_model(1)
    optimizer = optimizer_of(model, 3)
    run.save_epoch(model, optimizer, {"epoch": 1}, True)
    other = small_model(5)
    restored = optimizer_of(other, 0)
    Run.of(SETTINGS, "tiny").load_last(other, restored)
    for stepped, settled in ((model, optimizer), (other, restored)):
        for weight in stepped["head"].parameters():
            weight.grad = torch.full_like(weight, -0.5)
        settled.step()
    assert torch.equal(model["head"].weight, other["head"].weight)


def test_frozen_trunk_is_not_in_the_weights_file(workspace):
    run, model = Run.of(SETTINGS, "tiny"), small_model()
    run.save_epoch(model, optimizer_of(model), {"epoch": 1}, True)
    names = set(load_file(run.folder / "weights-0000.safetensors"))
    assert names == {name for name in model.state_dict() if not name.startswith("trunk.")}


def test_weights_of_avgn_hold_no_weight_of_its_frozen_trunk():
    method = AVGN(SETTINGS, 4)
    state = saved_state(method)
    assert not any(name.startswith("trunk.") for name in state)
    assert {name for name, _ in method.named_parameters() if not name.startswith("trunk.")} <= set(state)


def test_maps_come_back_in_half_precision_with_what_they_belong_to(workspace):
    run = Run.of(SETTINGS, "tiny")
    maps = {"maps": torch.rand(3, 2, 4, 4), "classes": torch.tensor([[0, 1], [2, 3], [1, 0]])}
    run.save_maps(maps)
    read = run.load_maps()
    assert torch.equal(read["classes"], maps["classes"])
    assert torch.equal(read["maps"], maps["maps"].half())


@pytest.mark.parametrize("scale", [1e-7, 1e6])
def test_maps_that_half_precision_cannot_hold_come_back_as_they_were(workspace, scale):
    run = Run.of(SETTINGS, "tiny")
    maps = scale * torch.rand(3, 1, 4, 4)  # energies are sums over thousands of bins
    run.save_maps({"maps": maps})
    assert torch.equal(run.load_maps()["maps"], maps)


def test_finished_runs_are_found_newest_first(workspace):
    for seed, finished in ((1, True), (2, False), (3, True)):
        run = Run.of(replace(SETTINGS, seed=seed), "tiny")
        if finished:
            run.write_json("metrics.json", [])
            os.utime(run.folder / "metrics.json", (seed, seed))
    assert [run.folder.name.split("-")[1] for run in find_runs("avgn", "tiny")] == ["seed3", "seed1"]
    assert find_runs("ez_vsl") == []


# ------------------------------------------------------------------------------------------------------ which folder


def test_same_settings_are_the_same_folder(workspace):
    assert Run.of(SETTINGS, "tiny").folder == Run.of(replace(SETTINGS), "tiny").folder


@pytest.mark.parametrize(
    "change", [{"epochs": 5}, {"seed": 1}, {"learning_rate": 2e-3}, {"gate": "none"}, {"limit": 9}, {"crop": False}]
)
def test_other_settings_are_another_folder(workspace, change):
    assert Run.of(SETTINGS, "tiny").folder != Run.of(replace(SETTINGS, **change), "tiny").folder


@dataclass(frozen=True)
class LaterSettings(AVGNSettings):
    """AVGN's settings as a later version may have them: an option more."""

    option: bool = setting(False, doc="new")
    width: int = setting(0, low=0, doc="new too; 0: the preset's")


def test_option_that_comes_later_leaves_the_runs_of_before_found(workspace):
    saved_epochs(Run.of(SETTINGS, "tiny", "data"), [10.0])
    later = LaterSettings(**SETTINGS.as_dict())
    assert len(Run.of(later, "tiny", "data").history) == 1
    assert Run.of(replace(later, option=True), "tiny", "data").history == []


def test_run_is_not_found_for_a_preset_that_has_changed_since(workspace, monkeypatch):
    """What differs from the preset is the same, but not what was trained."""
    usual = AVGNSettings(preset="quick").resolve("cpu")
    saved_epochs(Run.of(usual, "tiny"), [10.0])
    presets = AVGNSettings.PRESETS
    monkeypatch.setattr(AVGNSettings, "PRESETS", presets | {"quick": {**presets["quick"], "epochs": usual.epochs + 1}})
    changed = AVGNSettings(preset="quick").resolve("cpu")
    assert Run.of(changed, "tiny").history == []
    assert Run.of(changed, "tiny").folder == Run.of(changed, "tiny").folder
    monkeypatch.setattr(AVGNSettings, "PRESETS", presets)
    assert len(Run.of(usual, "tiny").history) == 1


@pytest.mark.parametrize("change", [{"dataset": "tiny-linked"}, {"origin": "real"}])
def test_what_the_data_are_called_is_not_what_they_are(workspace, change):
    assert Run.of(replace(SETTINGS, **change), "tiny", "data").folder == Run.of(SETTINGS, "tiny", "data").folder


def test_other_data_of_the_same_name_are_another_folder(workspace):
    assert Run.of(SETTINGS, "tiny", "one").folder != Run.of(SETTINGS, "tiny", "another").folder


@pytest.mark.parametrize("change", [{"device": "cuda:1"}, {"resume": False}, {"ablation": True}])
def test_device_resume_and_ablation_are_no_part_of_the_result(workspace, change):
    assert Run.of(replace(SETTINGS, **change), "tiny").folder == Run.of(SETTINGS, "tiny").folder


def test_starting_anew_leaves_the_earlier_runs_alone(workspace):
    first = Run.of(SETTINGS, "tiny")
    saved_epochs(first, [10.0])
    anew = [Run.of(replace(SETTINGS, resume=False), "tiny") for _ in range(2)]
    assert len({first.folder, *(run.folder for run in anew)}) == 3
    assert all(run.history == [] for run in anew)
    assert Run(first.folder).history == first.history


def test_settings_are_written_beside_the_weights(workspace):
    said = json.loads((Run.of(SETTINGS, "tiny").folder / "settings.json").read_text())
    assert said == {"method": "avgn", "benchmark": "tiny", **SETTINGS.as_dict()}


# --------------------------------------------------------------------------------------------------- broken checkpoints


@pytest.fixture
def finished(workspace) -> Run:
    run = Run.of(SETTINGS, "tiny")
    saved_epochs(run, [10.0])
    return run


def test_weights_of_another_method_are_refused(finished):
    with pytest.raises(RunError, match='holds weights of "avgn", not of "ez_vsl"'):
        load_weights(small_model(), finished.folder / "weights-0000.safetensors", "ez_vsl")


def test_weights_of_another_architecture_are_refused(finished):
    with pytest.raises(RunError, match=r'does not fit this model: "bias" and \d+ others.*other settings'):
        load_weights(nn.Linear(3, 4), finished.folder / "weights-0000.safetensors", "avgn")


@pytest.mark.parametrize("kept", [0, 4, 8, 60, -1])
@pytest.mark.parametrize("kind", ["weights", "optimizer"])
def test_truncated_checkpoint_is_refused(workspace, kind, kept):
    run, model = Run.of(SETTINGS, "tiny"), small_model()
    run.save_epoch(model, optimizer_of(model), {"epoch": 1}, True)
    path = run.folder / f"{kind}-0000.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RunError, match=rf"{kind}-0000\.safetensors is truncated"):
        run.load_last(model, optimizer_of(model))


def test_missing_checkpoint_is_a_sentence(finished):
    (finished.folder / "weights-0000.safetensors").unlink()
    with pytest.raises(RunError, match=r"weights-0000\.safetensors is missing; delete its folder to train anew"):
        finished.load_best(small_model())


def test_run_without_an_epoch_has_nothing_to_load(workspace):
    with pytest.raises(RunError, match="no finished epoch; train it first"):
        Run.of(SETTINGS, "tiny").load_best(small_model())


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("dump", [pickle.dump, torch.save])
def test_pickle_in_place_of_the_weights_is_never_opened(finished, workspace, dump):
    trap, path = workspace / "sprung", finished.folder / "weights-0000.safetensors"
    with open(path, "wb") as file:
        dump({"head.weight": Trap(trap)}, file)
    with pytest.raises(RunError, match=r"Pickled checkpoints .* are never opened"):
        finished.load_best(small_model())
    assert not trap.exists()
    torch.load(path, weights_only=False) if dump is torch.save else pickle.loads(path.read_bytes())
    assert trap.exists()  # the trap was a trap


@pytest.mark.parametrize("text", ["", '{"epochs": [{"epo', "[]", "{}", "3", '{"epochs": 3, "best": 0}', "\xff"])
def test_damaged_history_is_a_sentence(finished, text):
    (finished.folder / "history.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"history\.json is damaged.*delete its folder"):
        Run.of(SETTINGS, "tiny")


# ---------------------------------------------------------------------------------------------------------- full disks


def whole_epochs(folder: Path) -> tuple[int, float]:
    """The number of epochs a run says it has, and the one value that all the weights of the last one have."""
    run, model = Run(folder), small_model(-1)
    run.load_last(model, optimizer_of(model, 0))
    values = {value for weight in model["head"].parameters() for value in weight.flatten().tolist()}
    assert len(values) == 1
    return len(run.history), values.pop()


@pytest.mark.parametrize("write", [1, 3, 5])
def test_epoch_before_survives_a_disk_that_fills_up(workspace, monkeypatch, write):
    """At the weights, at the optimizer's state, at the history; between two files their folder is synced."""
    run = Run.of(SETTINGS, "tiny")
    saved_epochs(run, [10.0, 20.0])
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = small_model(2)
    with monkeypatch.context() as patch:
        patch.setattr("avnb.paths.os.fsync", full)
        with pytest.raises(RunError, match=r"no space is left.*Kept: epoch 2.*Free some space and run again"):
            run.save_epoch(model, optimizer_of(model, 0), {"epoch": 3, "val_ap": 30.0}, True)
    assert whole_epochs(run.folder) == (2, 1.0)
    run.save_epoch(model, optimizer_of(model, 0), {"epoch": 3, "val_ap": 30.0}, True)
    assert whole_epochs(run.folder) == (3, 2.0)
    assert not list(run.folder.glob(".*"))


def test_safetensors_own_error_of_a_full_disk_is_the_same_sentence(workspace, monkeypatch):
    def full(*_) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("avnb.training.runs.save_file", full)
    run, model = Run.of(SETTINGS, "tiny"), small_model()
    with pytest.raises(RunError, match=r"no space is left on the device\. Kept: nothing yet"):
        run.save_epoch(model, optimizer_of(model), {"epoch": 1}, True)


def test_maps_on_a_full_disk_are_a_sentence(finished, monkeypatch):
    def full(*_) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("avnb.training.runs.save_file", full)
    with pytest.raises(RunError, match=r"maps\.safetensors cannot be written.*no space is left"):
        finished.save_maps({"maps": torch.zeros(1)})


def test_outputs_that_cannot_be_written_are_a_sentence(workspace, monkeypatch):
    (workspace / "blocked").write_text("a file where a folder should be")
    monkeypatch.setenv("AVNB_OUTPUTS", str(workspace / "blocked"))
    with pytest.raises(RunError, match=r"settings\.json cannot be written"):
        Run.of(SETTINGS, "tiny")


# ------------------------------------------------------------------------------------------------ one run, one process


HOLD = """
import sys, time
from pathlib import Path
from avnb.training.runs import Run

with Run(Path(sys.argv[1])).alone():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="the system has no such lock")
def test_run_is_trained_by_one_process_and_a_killed_one_leaves_no_lock(workspace):
    run = Run.of(SETTINGS, "tiny")
    with subprocess.Popen([sys.executable, "-c", HOLD, run.folder], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(RunError, match=r"is being trained by another process\. Wait for it to end, or"),
            run.alone(),
        ):
            pytest.fail("two at a time")
        holder.kill()
    with run.alone():
        assert (run.folder / "lock").exists()


def test_who_is_to_wait_trains_when_the_other_has_ended_and_says_so_once(workspace, monkeypatch, capsys):
    run, held, waits = Run.of(SETTINGS, "tiny"), ExitStack(), []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            held.close()

    held.enter_context(locked(run.folder / "lock"))
    monkeypatch.setattr(time, "sleep", sleep)
    with run.alone(wait=True), locked(run.folder / "lock") as free:
        assert not free
    assert len(waits) == 3
    assert capsys.readouterr().out.count("is being trained by another process, which is waited for.") == 1


def test_history_is_read_again_before_training_goes_on(workspace):
    run, other = Run.of(SETTINGS, "tiny"), Run.of(SETTINGS, "tiny")
    saved_epochs(other, [10.0])
    run.reload()
    assert run.history == other.history


# ------------------------------------------------------------------------------------------ epochs shorter than a write


@pytest.fixture
def slow_disk(monkeypatch):
    """A clock of its own, and writes that take three seconds each."""
    clock, writes = [0.0], []

    def save(path, *_):
        writes.append(path.stem)
        clock[0] += 1.5
        written(path, *_)

    written = runs._save
    monkeypatch.setattr(runs, "_save", save)
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock, writes


def short_epochs(run: Run, scores: list[float], clock: list[float]) -> None:
    for number, score in enumerate(scores):
        clock[0] += 1.0  # seconds of training
        model = small_model(number)
        better = run.best is None or score >= run.history[run.best]["val_ap"]
        run.save_epoch(model, optimizer_of(model, 0), {"epoch": number + 1, "val_ap": score}, better, at_once=False)
        for weight in model.parameters():
            nn.init.constant_(weight, -1)  # training goes on in the same memory


def test_writing_takes_at_most_a_tenth_of_the_time_and_loses_nothing_in_the_end(workspace, slow_disk):
    """Forty epochs of a second, three seconds a write: a few are written, and at the end the last and the best."""
    clock, writes = slow_disk
    run = Run.of(SETTINGS, "tiny")
    short_epochs(run, [*range(30), 99.0, *range(9)], clock)
    assert 0 < sum(name.startswith("optimizer") for name in writes) <= 3
    assert len(Run(run.folder).history) < 40 == len(run.history)
    run.write_epochs()
    assert tensors_on_disk(run) == ["optimizer-0039", "weights-0030", "weights-0039"]
    read = Run(run.folder)
    assert (read.history, read.best) == (run.history, 30)
    assert whole_epochs(run.folder) == (40, 39.0)
    model = small_model(-1)
    read.load_best(model)
    assert (model["head"].weight == 30).all()


def test_epochs_longer_than_ten_writes_are_all_written(workspace, slow_disk):
    clock, _ = slow_disk
    run = Run.of(SETTINGS, "tiny")
    for number in range(3):
        clock[0] += 30.0
        short_epochs(run, [float(number)], clock)
        assert len(Run(run.folder).history) == number + 1


def test_full_disk_names_the_epoch_that_is_on_it(workspace, slow_disk, monkeypatch):
    clock, _ = slow_disk
    run = Run.of(SETTINGS, "tiny")
    short_epochs(run, [1.0, 2.0, 3.0], clock)
    monkeypatch.setattr(runs, "save_file", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(RunError, match=r"Epoch 3 cannot be written.*Kept: epoch 1\. Free some space"):
        run.write_epochs()
    assert len(run.history) == 3


# ------------------------------------------------------------------------------------------- what the weights lie like


@pytest.mark.parametrize("fused", [False, True])
def test_optimizer_s_state_lies_in_memory_as_its_weights_do(workspace, fused):
    """A fused step takes the state for laid out so: after a resume it went wrong by as much as the learning rate."""

    def built() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3)).to(memory_format=torch.channels_last)
        return model, torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        torch.manual_seed(1)
        optimizer.zero_grad()
        model(torch.randn(2, 3, 6, 6)).square().sum().backward()
        optimizer.step()

    run, (model, optimizer) = Run.of(SETTINGS, "tiny"), built()
    step(model, optimizer)
    run.save_epoch(model, optimizer, {"epoch": 1}, True)
    other, resumed = built()
    Run(run.folder).load_last(other, resumed)
    for weight in other.parameters():
        assert resumed.state[weight]["exp_avg"].stride() == weight.stride()
    step(model, optimizer)
    step(other, resumed)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


# ------------------------------------------------------------------------------------------------------------- kill -9


def run_script(script: str, *arguments: str | Path, timeout: float = 300) -> str:
    """Run a script of its own process on one core and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


KILL_WRITERS = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from avnb.training.runs import Run

torch.set_num_threads(1)
folder = Path(sys.argv[1])
model = torch.nn.Linear(512, 512)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

def fill(value):
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)
            optimizer.state[weight]["momentum_buffer"] = torch.full_like(weight, value)

def write_for_ever():
    run = Run(folder)
    while True:
        number = len(run.history)
        fill(number)
        run.save_epoch(model, optimizer, {"epoch": number + 1}, number % 3 == 0)

chance = random.Random(0)
for moment in range(25):
    before = len(Run(folder).history)
    child = os.fork()
    if child == 0:
        write_for_ever()
    while len(Run(folder).history) == before:  # however busy the machine is, it has begun to write
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    run = Run(folder)
    fill(-1)
    run.load_last(model, optimizer)
    values = {*model.weight.unique().tolist(), *optimizer.state[model.weight]["momentum_buffer"].unique().tolist()}
    assert values == {len(run.history) - 1}, (values, len(run.history))
    run.load_best(model)
    assert model.weight.unique().tolist() == [run.best], run.best
print(len(run.history))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks its writers")
def test_writer_killed_at_any_moment_leaves_its_last_whole_epoch(tmp_path):
    """25 kills of a process that does nothing but write; every time all weights are of one epoch, the last."""
    folder = tmp_path / "avgn" / "tiny" / "run"
    assert int(run_script(KILL_WRITERS, folder)) >= 25


def test_what_a_killed_writer_left_half_written_is_cleared_away(finished):
    """By whoever trains next: it takes the space of a checkpoint. The number of a process may be another's by then."""
    for name in (f".weights-0001.safetensors.{os.getpid()}.tmp", f".settings.json.{1 << 30}.tmp"):
        (finished.folder / name).write_bytes(b"half")
    with finished.alone():
        assert not list(finished.folder.glob(".*"))


TRAIN = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from avnb.data.build import open_store
from avnb.data.store import ClipShape
from avnb.config import setting
from avnb.errors import RunError
from avnb.metrics.localization import average_precision
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.training.runs import Run
from avnb.training.fit import fit

torch.set_num_threads(1)
average_precision(torch.rand(1, 4, 4), torch.ones(1, 4, 4))  # compiled once, for all children
store = open_store(Path(sys.argv[1]), ClipShape(size=64, rate=8000, seconds=1.0), False)
settings = AVGNSettings(
    dataset="tiny", preset="quick", dim=16, epochs=4, batch_size=8, learning_rate=1e-3, device="cpu"
).resolve("cpu")

def train(data, seed=0):
    torch.manual_seed(seed)
    run = Run.of(settings, "tiny", data)
    fit(AVGN(settings, len(store.classes)), store, run, False)
    return run

def equal(a, b):
    from safetensors.torch import load_file
    assert sorted(p.name for p in a.folder.iterdir()) == sorted(p.name for p in b.folder.iterdir())
    for path in a.folder.glob("*.safetensors"):
        one, other = load_file(path), load_file(b.folder / path.name)
        assert one.keys() == other.keys()
        for name in one:
            assert torch.equal(one[name], other[name]), name
"""

KILL_TRAINING = (
    TRAIN
    + """
whole = train("whole")
chance = random.Random(1)
kills = 0
while len(Run.of(settings, "tiny", "killed").history) < 3:
    before = len(Run.of(settings, "tiny", "killed").history)
    child = os.fork()
    if child == 0:
        train("killed")
        os._exit(0)
    history = Run.of(settings, "tiny", "killed").folder / "history.json"
    while len(Run(history.parent).history) == before:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
killed = train("killed")
assert [row["epoch"] for row in killed.history] == [1, 2, 3, 4]
equal(whole, killed)
print(kills)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the test forks what it kills")
def test_killed_training_ends_bit_equal_to_one_left_alone(tiny_store):
    assert int(run_script(KILL_TRAINING, tiny_store.info.folder)) >= 1


LIMIT_FILES = (
    TRAIN
    + """
import resource
import avnb.training.runs

avnb.training.runs.WRITTEN_SHARE = 0  # every epoch is written when it ends

whole = train("whole")
save, saved = Run.save_epoch, []

def save_epoch(run, *rest, **how):
    saved.append(run)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    if len(saved) == 3:  # the kernel refuses to let any file grow past 20 kB
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, most))
    try:
        save(run, *rest, **how)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

Run.save_epoch = save_epoch
try:
    train("limited")
except RunError as error:
    print(error)
assert len(Run.of(settings, "tiny", "limited").history) == 2
limited = train("limited")
assert [row["epoch"] for row in limited.history] == [1, 2, 3, 4]
equal(whole, limited)
"""
)


def test_training_goes_on_after_the_kernel_refused_to_write(tiny_store):
    pytest.importorskip("resource")
    said = run_script(LIMIT_FILES, tiny_store.info.folder)
    assert "Epoch 3 cannot be written" in said
    assert "Kept: epoch 2" in said
