"""Processes that train one run together, as torchrun starts them: how they meet, what they share, and how they end.

Every process makes the same mixtures, draws the same chance and takes its own rows (avnb/devices.py); the first alone
writes. Batch norm takes the statistics of its own process's rows, as the released codes do, unless `shared_statistics`
is set; what it has seen is averaged at the end of an epoch, so that all go on from one network.
"""

import atexit
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as processes
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from avnb.config import Settings
from avnb.data.clips import Batch
from avnb.devices import agreed, process_count, process_number, sum_of_all
from avnb.errors import EndedError, SettingsError
from avnb.models.base import Method
from avnb.networks.statistics import share_statistics
from avnb.training.runs import saved_state

PATIENCE = timedelta(hours=12)  # that processes wait for the first, which may decode a whole data set
WATCHED_EVERY = 1.0  # seconds after which a process looks whether what has started it is still there
GRACE = 20.0  # seconds in which a process ends that was told to; after 30 the launcher ends it without a word
KEPT = "The epochs that are written are kept: run again, with any number of processes, to go on."
TOLD = f"This process was told to end, as all are when one of them has ended. {KEPT}"


def started_count() -> int:
    """Return how many processes torchrun has started for this training; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def joined() -> Iterator[None]:
    """Let the processes that torchrun has started meet for the block; nothing where it has started one, or none.

    Raises EndedError in each of them where another one ends, where the launcher says so, and where the launcher itself
    is no more.
    """
    if started_count() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    processes.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    atexit.register(_leave)
    with _ended_by_the_launcher():
        try:
            yield
            together()
        except RuntimeError as error:
            if not _tells_of_a_loss(error):
                raise
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is on its way, and a sentence is yet to be said
            raise EndedError(f"Another process of this training has ended, so this one ends too. {KEPT}") from None
    processes.destroy_process_group()


def _leave() -> None:
    """End at once where `joined` was left by an error: Python's end would wait for what others have not answered.

    They wait for this one, and the launcher for any that ends.
    """
    if processes.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


@contextmanager
def _ended_by_the_launcher() -> Iterator[None]:
    """Raise EndedError in the block when the launcher says so, once, and when it is no more."""
    heard, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_watch, args=(os.getppid(), heard), name="the launcher is watched", daemon=True).start()
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _end:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        wakes.close()


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what is written at the end is written
    raise EndedError(TOLD)


def _watch(launcher: int, heard: socket.socket) -> None:
    """Tell this process to end when its ``launcher`` is no more, and end it when it was told and cannot.

    Python hears of a signal (``heard``) at once, and obeys it when what it waits for has come: from a GPU, perhaps,
    which waits for one that is lost.
    """
    while not select.select([heard], [], [], WATCHED_EVERY)[0]:
        if os.getppid() != launcher:
            os.kill(os.getpid(), signal.SIGTERM)
    if heard.recv(1):
        time.sleep(GRACE)
        print(f"EndedError: {TOLD}", file=sys.stderr, flush=True)
        os._exit(1)


def done_though_told_to_end(work: Callable[[], None]) -> None:
    """Do ``work``, which may be done twice, to its end; raise the EndedError that came in its midst after it."""
    try:
        work()
    except EndedError:
        work()
        raise


def together() -> None:
    """Wait for all processes to come here."""
    sum_of_all(torch.zeros(1))


def check_parts(batch_size: int, count: int, takers: str) -> None:
    """Raise SettingsError where a batch has no equal parts, in pairs, for so many ``takers``."""
    if batch_size % (2 * count):
        raise SettingsError(
            f"batch_size = {batch_size} cannot be shared among {count} {takers}: each takes an equal part of it, in "
            f"pairs. Take a multiple of {2 * count}."
        )


def check_shares(settings: Settings) -> None:
    """Raise SettingsError where the batches of ``settings`` cannot be shared among the processes there are."""
    count = process_count()
    check_parts(settings.batch_size, count, "processes")
    if torch.device(settings.device).type == "cuda" and settings.device != f"cuda:{os.environ['LOCAL_RANK']}":
        raise SettingsError(f'device = "{settings.device}" is one, and {count} processes take one each; leave it out.')


def whole_loss(method: Method) -> Callable[[Batch], dict[str, Tensor]]:
    """Return the method's loss, whose gradients are, with several processes, those of the whole batch in each of them.

    Its terms are then the process's own: their mean over the processes is the whole batch's.
    """
    if process_count() == 1:
        return method.loss
    if method.settings.shared_statistics:
        share_statistics(method)
    # Networks that a phase leaves alone have no gradients. The statistics are averaged in `average_statistics`.
    return DistributedDataParallel(_Loss(method), broadcast_buffers=False, find_unused_parameters=True)


class _Loss(nn.Module):
    """A method whose forward pass is its loss: what DistributedDataParallel listens to."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        terms = self.method.loss(batch)
        return {name: value if name == "total" else value.detach() for name, value in terms.items()}


def done_by_the_first(method: Method, work: Callable[[], None]) -> None:
    """Do in the first process what changes a method between its stages, and give the others what it has made of it.

    Clustering and naming are of all clips, and not shared: the others wait. Chance goes on as the first left it.
    """
    if process_number() == 0:
        work()
    if process_count() > 1:
        state = saved_state(method)
        for name, value in state.items():
            state[name] = value.detach().clone(memory_format=torch.contiguous_format)
            processes.broadcast(state[name], 0)
        method.load_state_dict(state, strict=False)
        torch.set_rng_state(agreed(torch.get_rng_state()))


def _tells_of_a_loss(error: RuntimeError) -> bool:
    """Tell whether a collective failed since another process is no more."""
    said = str(error)
    return isinstance(error, processes.DistError) or any(word in said for word in ("gloo", "NCCL", "Connection"))
