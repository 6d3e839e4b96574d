"""avnb-sweep: methods x settings, each a training of its own, here or by SLURM, and a table of what became of each.

Every training is that of avnb-train, in the same folder: what is finished is loaded, what was stopped goes on, and so a
sweep that was killed and is called again trains nothing twice.
"""

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avnb.errors import AvnbError, RunError, SettingsError, answer, printable

if TYPE_CHECKING:
    import submitit

ASKED_EVERY = 0.5  # seconds after which jobs are asked whether they have ended
MINUTES = 60


@dataclass(frozen=True)
class Training:
    """A method with the settings in which it differs from another of the sweep, and those that all have."""

    method: str
    parameters: tuple[tuple[str, str], ...]

    @property
    def devices(self) -> int:
        """How many processes, each with a GPU if there is one, train together."""
        return int(dict(self.parameters).get("devices", 1))

    def told(self, names: Iterable[str]) -> str:
        """Return the values of the settings of these names, as the table shows them."""
        values = dict(self.parameters)
        return " ".join(f"{name}={values[name]}" for name in names)


@dataclass(frozen=True)
class Ended:
    """How a training ended: ``done`` or not, in how many seconds, and its sentence."""

    done: bool
    seconds: float
    sentence: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 where a training failed, or after a sentence that says what is wrong."""
    return answer(_parser(), arguments, _sweep)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="avnb-sweep",
        description="Train methods with every combination of settings. Called again it goes on: what is finished is "
        "left as it is, and nothing is trained twice.",
    )
    parser.add_argument("methods", help="divided by commas: avgn,ez_vsl")
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], dest="parameters", metavar=("NAME", "VALUES"),
        help="a setting and its values, divided by commas: -p seed 0,1,2 -p dataset music",
    )  # fmt: skip
    parser.add_argument("--on", choices=("local", "slurm"), default="local", help="this machine, or its SLURM cluster")
    parser.add_argument("--at-once", type=int, default=1, help="trainings beside each other; local: a GPU each, if any")
    parser.add_argument("--hours", type=float, default=24.0, help="that a training may take")
    parser.add_argument("--slurm", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"),
                        help="a setting of a job: --slurm partition gpu --slurm cpus_per_task 16")  # fmt: skip
    return parser


def trainings(methods: Iterable[str], parameters: Iterable[Sequence[str]]) -> list[Training]:
    """Return every method with every combination of the settings' values, which are divided by commas.

    Raises SettingsError for a name or a value that a method does not have, before anything is trained.

    >>> [training.parameters for training in trainings(["avgn"], [("seed", "0,1"), ("epochs", "2")])]
    [(('seed', '0'), ('epochs', '2')), (('seed', '1'), ('epochs', '2'))]
    """
    from avnb.config import read_parameters
    from avnb.models import METHODS
    from avnb.training.command import read_values
    from avnb.training.trained import check_names

    methods, parameters = list(methods), list(parameters)
    check_names(methods)
    if twice := {name for name, _ in parameters if [key for key, _ in parameters].count(name) > 1}:
        raise SettingsError(f"-p {min(twice)} is given twice; write its values in one, divided by commas.")
    choices = [[(name, value) for value in values.split(",")] for name, values in parameters]
    found = [Training(method, chosen) for method in methods for chosen in itertools.product(*choices)]
    for training in found:
        kind = METHODS[training.method].SETTINGS
        read_parameters(kind, read_values(kind, training.parameters))
    return found


def train_one(training: Training, gpus: str = "") -> Ended:
    """Train as avnb-train does, on the ``gpus`` where they are named; what is wrong comes back as its sentence.

    A run that another process trains is waited for: by a job of a sweep that was killed, say.
    """
    if gpus:  # read when a GPU is first asked for
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    from avnb.training.command import train_by_name
    from avnb.training.launch import run_command

    begun = time.monotonic()
    try:
        if training.devices > 1:  # whose launcher says little of why a process has failed
            told = [text for pair in training.parameters for text in ("-p", *pair)]
            sentence = run_command([training.method, *told, "--wait"], training.devices)
        else:
            sentence = train_by_name(training.method, training.parameters, wait=True)
    except (AvnbError, OSError) as error:
        return Ended(False, time.monotonic() - begun, f"{type(error).__name__}: {error}")
    return Ended(True, time.monotonic() - begun, sentence)


def _sweep(said: argparse.Namespace) -> str:
    """Train all, print the table, and raise RunError where one failed."""
    if said.at_once < 1:
        raise SettingsError(f"--at-once must be 1 or more, not {said.at_once}.")
    wanted = trainings([name.strip() for name in said.methods.split(",")], said.parameters)
    varied = [name for name, values in said.parameters if "," in values]
    print(f"{len(wanted)} trainings, {said.at_once} at once")
    ended: list[Ended | None] = [None] * len(wanted)
    for number, how in _ended(wanted, said):
        ended[number] = how
        print(f"{sum(it is not None for it in ended)}/{len(wanted)}: {_line(wanted[number], varied, how)}", flush=True)
    print("\n".join(["", *(_line(training, varied, how) for training, how in zip(wanted, ended, strict=True) if how)]))
    if failed := sum(not how.done for how in ended if how):
        raise RunError(f"{failed} of {len(wanted)} trainings failed, as the table says; called again, they go on.")
    return f"All {len(wanted)} trainings are done."


def _line(training: Training, varied: Sequence[str], how: Ended) -> str:
    state = "done  " if how.done else "FAILED"
    return printable(f"{state}  {training.method:18}{training.told(varied):24}  {how.seconds:7.0f} s  {how.sentence}")


def _ended(wanted: Sequence[Training], said: argparse.Namespace) -> Iterator[tuple[int, Ended]]:
    """Yield each training's number and its end as it ends; never more than ``at_once`` are on the way."""
    from avnb.paths import outputs_dir

    # New in every call: submitit calls a job by its process, whose number may be one of a call before.
    folder = outputs_dir() / ".sweeps" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    waiting, running = list(range(len(wanted)))[::-1], {}
    try:
        while waiting or running:
            while waiting and len(running) < said.at_once:
                slot = min(set(range(said.at_once)) - {slot for slot, _ in running.values()})
                number = waiting[-1]
                executor = _executor(said, folder / str(number), wanted[number].devices)
                gpus = _gpus(slot, wanted[number].devices) if said.on == "local" else ""
                running[number] = slot, executor.submit(train_one, wanted[number], gpus)
                waiting.pop()
            for number, (_, job) in list(running.items()):
                if job.done():
                    del running[number]
                    yield number, _how(job)
            time.sleep(ASKED_EVERY)
    finally:  # stopped: the trainings are stopped too, and keep their finished epochs
        for _, job in running.values():
            job.cancel()


def _gpus(slot: int, count: int) -> str:
    """Return which GPUs of this machine the trainings in a slot take, as CUDA_VISIBLE_DEVICES names them, if any."""
    import torch

    there = torch.cuda.device_count()
    names = [*filter(None, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))] or [str(k) for k in range(there)]
    return ",".join(names[(slot * count + k) % there] for k in range(min(count, there)))


def _executor(said: argparse.Namespace, folder: Path, devices: int) -> "submitit.Executor":
    """Return what starts a job of ``devices`` GPUs, whose log is in ``folder``: on this machine or through SLURM."""
    try:
        import submitit
    except ModuleNotFoundError:
        raise SettingsError("avnb-sweep needs submitit: pip install submitit.") from None
    if said.on == "local":
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=said.hours * MINUTES)
        return executor
    try:
        executor = submitit.SlurmExecutor(folder)
        executor.update_parameters(time=round(said.hours * MINUTES), **{"gpus_per_node": devices, **dict(said.slurm)})
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"SLURM does not take the jobs: {error}") from None
    return executor


def _how(job: "submitit.Job[Any]") -> Ended:
    """Return how a job ended; one that was killed, or could not begin, says what is known of it."""
    error = job.exception()
    if error is None:
        return job.result()
    last = (str(error).strip().splitlines() or ["it ended without a word"])[-1]
    return Ended(False, 0.0, f"the job ended early: {last} (its output: {job.paths.stderr})")


if __name__ == "__main__":
    sys.exit(main())
