"""Batches made ahead by a thread, while the device computes: the step neither reads nor waits for a copy."""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from avnb.data.clips import RawBatch
from avnb.data.rows import BufferedRows, Rows

T = TypeVar("T")

BUFFERS = 3  # one that is computed with, one that is copied, one that is filled


def ahead(
    jobs: Iterable[T], make: Callable[[T, Rows], RawBatch], device: torch.device, rows: Rows | None = None
) -> Iterator[tuple[T, RawBatch]]:
    """Yield each of ``jobs`` with the batch that ``make`` makes of it, on ``device``, made in a thread in their order.

    ``make`` takes rows from buffers, of pinned memory for a GPU, or from ``rows`` where they are given; a batch lies in
    them until the next one is asked for. What ``jobs`` or ``make`` raise is raised here. Close the iterator (with
    `contextlib.closing`) where it may not be exhausted: the thread ends then.
    """
    cuda = device.type == "cuda"
    side = torch.cuda.Stream(device) if cuda else None
    left = threading.Event()  # nobody asks any more
    free: SimpleQueue[_Slot | None] = SimpleQueue()
    full: SimpleQueue[tuple[T, RawBatch, _Slot] | BaseException | None] = SimpleQueue()
    for _ in range(BUFFERS):
        free.put(_Slot(rows or BufferedRows(pinned=cuda), torch.cuda.Event() if cuda else None))

    def work() -> None:
        try:
            for job in jobs:
                slot = free.get()
                if slot is None or left.is_set():
                    return
                full.put((job, slot.fill(make, job, device, side), slot))
            full.put(None)
        except BaseException as error:  # whatever it is, the one who asks must hear of it
            full.put(error)

    thread = threading.Thread(target=work, name="batches made ahead", daemon=True)
    thread.start()
    try:
        while (item := full.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            job, batch, slot = item
            slot.hand_over(batch, device)
            if cuda:
                free.put(slot)  # its copy has been ordered; fill() waits until it is over
            yield job, batch
            if not cuda:
                free.put(slot)
    finally:
        left.set()
        free.put(None)
        thread.join()


class _Slot:
    """Rows that a batch is made in, and the event that its copy to a GPU is over."""

    def __init__(self, rows: Rows, copied: Any) -> None:
        self.rows, self.copied = rows, copied

    def fill(self, make: Callable[[Any, Rows], RawBatch], job: Any, device: torch.device, side: Any) -> RawBatch:
        if self.copied is None:
            return make(job, self.rows).to(device)
        self.copied.synchronize()
        with torch.cuda.device(device), torch.cuda.stream(side):
            batch = make(job, self.rows).to(device)
            self.copied.record(side)
        return batch

    def hand_over(self, batch: RawBatch, device: torch.device) -> None:
        """Let the stream that computes wait for the copy, and keep the memory until it has computed."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(device)
            stream.wait_event(self.copied)
            for value in batch.tensors():
                value.record_stream(stream)
