"""avnb-train: a training from the command line, of the same settings and in the same folder as its notebook's."""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from avnb.config import Settings, read_parameters
from avnb.errors import AvnbError, EndedError, answer

STOPPED = 130  # what a shell is answered where Ctrl-C was pressed
LAST_WORD = 5.0  # seconds that the first of several processes has to say a sentence before the others say the same


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after a sentence on standard error that says what is wrong and what to do."""
    if "RANK" in os.environ:  # what torch's processes warn each other of; read when torch is loaded
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    return answer(_parser(), arguments, lambda said: _train_together(said.method, said.parameters, said.wait))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="avnb-train",
        description="Train a method as its notebook does, which then loads the finished run. "
        "A run that was stopped goes on; a finished one is left as it is.",
    )
    parser.add_argument("method", help="avgn, ez_vsl, ...: the names that a wrong one is answered with")
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], dest="parameters", metavar=("NAME", "VALUE"),
        help="a setting, as papermill takes it for the notebook: -p dataset music -p epochs 3 -p devices 2",
    )  # fmt: skip
    parser.add_argument(
        "--wait", action="store_true", help="for a process that trains the run now, to load what it made"
    )
    return parser


def _train_together(name: str, parameters: Iterable[Sequence[str]], wait: bool) -> str:
    """Train, as one of the processes that torchrun has started, or alone; return what the first of them says."""
    try:
        return train_by_name(name, parameters, wait)
    except KeyboardInterrupt:
        if "RANK" not in os.environ:
            raise
        sys.exit(STOPPED)  # the launcher says it
    except EndedError:
        raise
    except AvnbError:
        if os.environ.get("RANK", "0") != "0":  # what all of them refuse is said once: the first one's end is theirs
            time.sleep(LAST_WORD)
        raise


def train_by_name(name: str, parameters: Iterable[Sequence[str]], wait: bool = False) -> str:
    """Train, and return what there is now; a run that another process trains is an error, unless it is to ``wait``."""
    from avnb.datasets import open_data
    from avnb.devices import first_before_others, process_number
    from avnb.models import METHODS
    from avnb.paths import shown
    from avnb.training.launch import check_count, is_to_be_launched, run_processes
    from avnb.training.processes import joined
    from avnb.training.trained import check_names, train

    check_names([name])
    kind = METHODS[name].SETTINGS
    asked = read_parameters(kind, read_values(kind, parameters))
    check_count(asked)
    if is_to_be_launched(asked):
        told = [text for pair in parameters for text in ("-p", *pair)]
        run_processes([name, *told, *(["--wait"] if wait else [])], asked.devices)
        return ""
    with joined():
        first = process_number() == 0
        with first_before_others():
            settings, store = open_data(asked, progress=first)
        if first:
            print(store.report)
            print(f"device {settings.device}, preset {settings.preset}")
        _, run = train(settings, store, first, wait)
    return f"{len(run.history)} epochs, of which {run.best + 1} is kept: {shown(run.folder)}" if first else ""


def read_values(cls: type[Settings], parameters: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Return the values that were written for settings of ``cls``, each of its setting's type where it can be.

    What cannot be, and names that are no settings, are left for `read_parameters` to refuse in a sentence.

    >>> from avnb.config import Settings
    >>> read_values(Settings, [("epochs", "3"), ("crop", "false"), ("dataset", "7"), ("seed", "x")])
    {'epochs': 3, 'crop': False, 'dataset': '7', 'seed': 'x'}
    """
    types = {entry.name: entry.type for entry in fields(cls)}
    return {name: _value(types.get(name, str), text) for name, text in parameters}


def _value(kind: type, text: str) -> Any:
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text)
    except ValueError:
        return text
