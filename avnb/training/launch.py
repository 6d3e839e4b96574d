"""``devices`` above 1: so many processes of avnb-train, started by torch's own launcher, whose run is then loaded."""

import codecs
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from avnb.config import Settings
from avnb.data.store import Store
from avnb.datasets import open_data
from avnb.errors import RunError, SettingsError
from avnb.training.processes import check_parts, started_count

PROGRAM = ("-u", "-m", "avnb.training")  # what Python runs in every process
LAST_WORDS = 10_000  # letters in which their sentence is looked for
SENTENCE = re.compile(r"^(\w+Error): (.+)$", re.MULTILINE)
SAID_ABOVE = "has failed, as it says above"


def check_count(settings: Settings) -> None:
    """Raise SettingsError where ``devices`` contradicts how many processes torchrun has started, or the machine."""
    if settings.devices > 1 and started_count() not in (1, settings.devices):
        raise SettingsError(
            f"devices = {settings.devices}, and torchrun has started {started_count()} processes; leave devices out."
        )
    if settings.devices > 1:
        check_parts(settings.batch_size, settings.devices, "devices")


def is_to_be_launched(settings: Settings) -> bool:
    """Tell whether the settings ask for processes that are yet to be started."""
    return settings.devices > 1 and started_count() == 1


def launch(settings: Settings, store: Store) -> None:
    """Train in ``settings.devices`` processes of avnb-train, and show here what the first of them says.

    Raises RunError where one of them fails, with its sentence, and SettingsError where ``store`` is not what the data
    set's name opens: clips that were chosen in a notebook are not known to other processes.
    """
    _, named = open_data(settings, progress=False)
    if named.classes != store.classes or not np.array_equal(named.kept, store.kept):
        raise SettingsError(
            f'devices = {settings.devices}: these are some of the clips of "{store.name}", chosen here, and other '
            "processes open it by its name. Train on one device."
        )
    asked = {entry.name: getattr(settings, entry.name) for entry in fields(settings)}
    usual = {entry.name: entry.default for entry in fields(settings)}
    told = [text for name, value in asked.items() if value != usual[name] for text in ("-p", name, str(value))]
    run_command([settings.METHOD, *told], settings.devices)


def run_command(arguments: Sequence[str], count: int) -> str:
    """Run avnb-train, which is to start ``count`` processes, and show here what they say; return the last line of it.

    Raises RunError where they fail, with their sentence.
    """
    started = subprocess.Popen([sys.executable, *PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text, said = codecs.getincrementaldecoder("utf-8")(errors="replace"), ""  # a letter may come in two pieces
    try:
        while piece := os.read(started.stdout.fileno(), 4096):
            sys.stderr.write(now := text.decode(piece))
            sys.stderr.flush()
            said = (said + now)[-LAST_WORDS:]
        code = started.wait()
    except BaseException:  # a notebook that is stopped stops them too; they keep their finished epochs
        started.terminate()
        started.wait()
        raise
    if code:
        raise RunError(f"The {count} processes that train have ended early: {_why(said)}")
    return said.strip().rpartition("\n")[2]


def _why(said: str) -> str:
    """Return the sentence that tells why processes have ended: not that of one which ended since another had."""
    sentences = SENTENCE.findall(said)
    causes = [sentence for kind, sentence in sentences if kind != "EndedError" and SAID_ABOVE not in sentence]
    return (causes or [sentence for _, sentence in sentences] or ["what they said stands above."])[-1]


def run_processes(arguments: Sequence[str], count: int) -> None:
    """Start ``count`` processes of ``avnb-train`` with these arguments on this machine, and wait until they end.

    Raises RunError where one of them fails or is killed, which ends the others.
    """
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=count, rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        run_id=f"avnb-{os.getpid()}", max_restarts=0, logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
    )  # fmt: skip
    try:
        elastic_launch(config, sys.executable)(*PROGRAM, *arguments)
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        ended = f"was killed (signal {-failure.exitcode})" if failure.exitcode < 0 else SAID_ABOVE
        raise RunError(
            f"Process {number + 1} of {count} {ended}; the others have been ended. The epochs that are written are "
            "kept: run again, with any number of devices, to go on."
        ) from None
