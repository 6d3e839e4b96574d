"""What test_killed_processes.py has done in a process of its own: python killed_processes.py FOLDER, in an empty one.

It imports everything once and forks the processes that train together, which takes a tenth of what starting them does.
"""

import json
import os
import shutil
import signal
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from time import sleep

import torch
from safetensors.torch import load_file

import avnb.training.runs
from avnb.data.build import open_store
from avnb.data.locks import locked
from avnb.data.store import ClipShape
from avnb.errors import EndedError
from avnb.metrics.localization import average_precision
from avnb.models.ez_vsl import EZVSL, EZVSLSettings
from avnb.training.fit import fit
from avnb.training.processes import joined
from avnb.training.runs import Run

EPOCHS, AFTER = 4, 2  # of which a process is killed after so many
NOT_ANSWERED = 3  # a process that lost the others ends at once, with 1, and not as Python ends, with this
SETTINGS = EZVSLSettings(
    dataset="tiny", preset="quick", dim=16, epochs=EPOCHS, batch_size=12, learning_rate=1e-3, device="cpu",
    shared_statistics=True,
).resolve("cpu")  # fmt: skip


def together(name: str, count: int, killed: int | None = None, in_use: bool = False) -> list[int]:
    """Train the run ``name`` in so many processes, of which one may be ``killed``; return what they answer, by rank.

    One that is ``in_use`` is held by somebody else until the first process waits for it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in range(count):
        if (child := os.fork()) == 0:
            os.environ.update(said, RANK=str(rank), LOCAL_RANK=str(rank))
            sys.exit(one_of(name, rank == killed, in_use))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def one_of(name: str, is_killed: bool, in_use: bool) -> int:
    """Train as one of the processes, and be killed after an epoch; return 0, or what is not answered at the end."""
    if is_killed:
        save = Run.save_epoch

        def save_epoch(run, *rest, **how):
            save(run, *rest, **how)
            if len(run.history) == AFTER:
                os.kill(os.getpid(), signal.SIGKILL)

        Run.save_epoch = save_epoch
    held, waits = ExitStack(), []
    if in_use:
        time.sleep = lambda _: (waits.append(held.close()), sleep(0.01))
    if in_use and os.environ["RANK"] == "0":
        held.enter_context(locked(run_of(name).folder / "lock"))
    try:
        with joined():
            fit(METHOD, STORE, run_of(name), False, wait=in_use)
    except EndedError:
        return NOT_ANSWERED
    return 0 if bool(waits) == in_use else NOT_ANSWERED


def run_of(name: str) -> Run:
    return Run.of(SETTINGS, "tiny", name)


def losses(name: str) -> list[list[float]]:
    """Return the losses of every epoch."""
    return [[value for key, value in row.items() if "loss" in key or key == "total"] for row in run_of(name).history]


def left(name: str) -> dict[str, object]:
    """Return how many epochs a run has, what is left of the processes beside them, and whether its lock is free."""
    run = run_of(name)
    with locked(run.folder / "lock") as free:
        return {"epochs": len(run.history), "free": free, "hidden": [path.name for path in run.folder.glob(".*")]}


def is_equal(name: str, other: str) -> bool:
    """Tell whether two runs have the same files, to the bit but for the seconds that they took."""
    one, two = run_of(name), run_of(other)
    if sorted(path.name for path in one.folder.iterdir()) != sorted(path.name for path in two.folder.iterdir()):
        return False
    tensors = [
        {
            f"{path.name}/{key}": value
            for path in run.folder.glob("*.safetensors")
            for key, value in load_file(path).items()
        }
        for run in (one, two)
    ]
    return losses(name) == losses(other) and all(
        torch.equal(tensors[1][key], value) for key, value in tensors[0].items()
    )


def main() -> dict[str, object]:
    """Let two wait; kill the first of two and go on with two, the second and go on with one and with three.

    Returns the facts.
    """
    found: dict[str, object] = {"whole": together("whole", 2)}
    found["waits"] = together("waits", 2, in_use=True), left("waits"), is_equal("waits", "whole")
    avnb.training.runs.WRITTEN_SHARE = 0  # every epoch is written when it ends
    found["first"] = together("first", 2, killed=0), left("first")
    found["goes on"] = together("first", 2), left("first"), is_equal("first", "whole")
    avnb.training.runs.WRITTEN_SHARE = 1e9  # no epoch but the first is written before the end
    found["second"] = together("second", 2, killed=1), left("second")
    for count in (1, 3):
        name = f"by {count}"
        shutil.copytree(run_of("second").folder, run_of(name).folder, dirs_exist_ok=True)
        found[name] = together(name, count), left(name), losses(name)
    return found | {"losses": losses("whole")}


if __name__ == "__main__":
    torch.set_num_threads(1)
    average_precision(torch.rand(1, 4, 4), torch.ones(1, 4, 4))  # compiled once, for all children
    STORE = open_store(Path(sys.argv[1]), ClipShape(size=64, rate=8000, seconds=1.0), False)
    METHOD = EZVSL(SETTINGS, len(STORE.classes))
    torch.optim.AdamW(METHOD.parameters())  # imports half of torch
    print(json.dumps(main()))
