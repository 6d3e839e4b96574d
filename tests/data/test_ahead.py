"""Rows on their way to a device, and batches made ahead by a thread: the same batches, sooner."""

import os
import threading
from contextlib import closing, nullcontext
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

import avnb.data.ahead as module
from avnb.data.ahead import BUFFERS, ahead
from avnb.data.arrays import announce
from avnb.data.clips import Batch, RawBatch, Recipe
from avnb.data.mixing import draw_partners, make_batch, mixed, read_batch
from avnb.data.rows import BufferedRows, DeviceRows, FreshRows
from avnb.data.store import Store
from avnb.errors import DataError

CPU = torch.device("cpu")
RECIPES = [Recipe(), Recipe(2, "first"), Recipe(2, "side_by_side"), Recipe(2, "separate", "mean"), Recipe(2, "grid")]


def mixtures_of(store: Store, recipe: Recipe, count: int = 3) -> list[np.ndarray]:
    pool, generator = store.select("train"), np.random.default_rng(0)
    anchors = (pool[5 * k : 5 * k + 5] for k in range(count))
    return [draw_partners(store, some, pool, recipe.clips, generator) for some in anchors]


def assert_same_batch(one: Batch, other: Batch) -> None:
    for name in ("frames", "mixture", "labels", "source_classes", "source_waveforms", "features"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or torch.equal(a, b), name


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.geometry)
def test_batches_made_ahead_are_to_the_bit_those_made_at_once(tiny_store, recipe):
    """From buffers that are kept, from rows that all lie on the device, and with the features of a frozen trunk."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(len(tiny_store), 6, 4, 4)).astype(np.float16)
    name = "half_features" if recipe.geometry == "grid" else "features"
    arrays = {"frames": tiny_store.frames, "waveforms": tiny_store.waveforms, name: features}
    there = DeviceRows(arrays, tiny_store.select("train"), CPU)
    mixtures = mixtures_of(tiny_store, recipe)

    def make(mixture, rows):
        return read_batch(tiny_store, mixture, recipe, rows, features)

    for rows in (None, there, FreshRows()):
        met = []
        for mixture, raw in ahead(mixtures, make, CPU, rows):
            assert_same_batch(mixed(raw, recipe), make_batch(tiny_store, mixture, recipe, features=features))
            met.append(mixture)
        assert np.array_equal(met, mixtures)


def test_training_batches_are_the_clips_bytes_and_nothing_else(tiny_store):
    """A pair that travels to a GPU is a frame and its 16-bit samples: no frames of sources, no second waveform."""
    recipe = Recipe(2, "first")
    raw = read_batch(tiny_store, mixtures_of(tiny_store, recipe)[0], recipe)
    size = 64 * 64 * 3 + 2 * 2 * 8000
    assert sum(value.nbytes for value in raw.tensors()) <= 5 * (size + 100)
    assert mixed(raw, recipe).source_frames is None


def test_buffers_are_kept(tiny_store):
    rows = BufferedRows()
    first = rows.take("frames", tiny_store.frames, np.arange(8).reshape(4, 2))
    assert torch.equal(first, tiny_store.read_frames(np.arange(8).reshape(4, 2)))
    second = rows.take("frames", tiny_store.frames, np.array([9, 3]))
    assert torch.equal(second, tiny_store.read_frames(np.array([9, 3])))
    assert second.data_ptr() == first.data_ptr()


def test_no_more_than_a_few_batches_are_made_ahead(tiny_store):
    made = []

    def make(job, rows):
        made.append(job)
        return read_batch(tiny_store, np.array([[job]]), Recipe(), rows)

    with closing(ahead(range(20), make, CPU)) as batches:
        next(batches)
        for _ in range(50):
            threading.Event().wait(0.01)
        assert len(made) <= BUFFERS


def test_thread_ends_when_nobody_asks_any_more(tiny_store):
    batches = ahead(range(20), lambda job, rows: read_batch(tiny_store, np.array([[job]]), Recipe(), rows), CPU)
    next(batches)
    batches.close()
    assert not any(thread.name == "batches made ahead" for thread in threading.enumerate())


def test_error_of_the_thread_is_raised_where_its_batch_is_asked_for(tiny_store):
    def make(job, rows):
        if job == 2:
            raise DataError("the third batch cannot be made")
        return read_batch(tiny_store, np.array([[job]]), Recipe(), rows)

    batches = ahead(range(5), make, CPU)
    assert [next(batches)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(DataError, match="the third batch"):
        next(batches)


class LateCopies:
    """Stands in for torch.cuda: a copy is done as late as its event allows, when it is waited for or computed with."""

    def __init__(self) -> None:
        self.lock, self.ordered = threading.Lock(), []

    def to(self, raw: RawBatch, _: torch.device) -> RawBatch:
        there = RawBatch(**{name: None if value is None else value.clone() * 0 for name, value in vars(raw).items()})
        self.ordered.append((there, raw))
        return there

    def Event(self) -> SimpleNamespace:
        mine: list[tuple[RawBatch, RawBatch]] = []

        def record(_) -> None:
            mine[:] = self.ordered
            self.ordered.clear()

        return SimpleNamespace(record=record, synchronize=lambda: self.copy(mine))

    def copy(self, copies: list[tuple[RawBatch, RawBatch]]) -> None:
        with self.lock:
            for there, raw in copies:
                for value, source in zip(there.tensors(), raw.tensors(), strict=True):
                    value.copy_(source)
            copies.clear()

    def current_stream(self, _: torch.device) -> SimpleNamespace:
        return SimpleNamespace(wait_event=lambda event: self.waited.append(event))

    waited: ClassVar[list] = []
    Stream = staticmethod(lambda _: None)
    device = stream = staticmethod(lambda _: nullcontext())


def test_buffer_is_filled_again_only_when_its_copy_to_a_gpu_is_over(tiny_store, monkeypatch):
    """The step may compute with a batch long after the thread has gone on: it must not find a later one's bytes."""
    recipe, gpu = Recipe(2, "side_by_side"), LateCopies()
    monkeypatch.setattr(module.torch, "cuda", gpu)
    monkeypatch.setattr(module, "BufferedRows", lambda pinned: BufferedRows())
    monkeypatch.setattr(RawBatch, "to", lambda raw, device: gpu.to(raw, device))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: None)
    mixtures = mixtures_of(tiny_store, recipe, 4) * 3
    met = 0
    made = ahead(mixtures, lambda job, rows: read_batch(tiny_store, job, recipe, rows), torch.device("cuda", 0))
    for mixture, raw in made:
        threading.Event().wait(0.05)  # the thread goes on as far as it may
        gpu.waited.pop().synchronize()
        assert_same_batch(mixed(raw, recipe), make_batch(tiny_store, mixture, recipe))
        met += 1
    assert met == len(mixtures)


def test_device_rows_are_only_those_wanted(tiny_store):
    wanted = np.array([7, 3, 3, 11])
    rows = DeviceRows({"frames": tiny_store.frames}, wanted, CPU)
    assert len(rows.arrays["frames"]) == 3
    taken = rows.take("frames", tiny_store.frames, np.array([[11, 3], [7, 7]]))
    assert torch.equal(taken, tiny_store.read_frames(np.array([[11, 3], [7, 7]])))


def test_rows_are_kept_on_a_gpu_only_where_they_fit(tiny_store, monkeypatch):
    arrays, wanted = {"frames": tiny_store.frames}, np.arange(10)
    size = 10 * 3 * 64 * 64
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2 * size, 4 * size))
    assert DeviceRows.fit(arrays, wanted, torch.device("cuda", 0))
    assert not DeviceRows.fit(arrays, np.arange(12), torch.device("cuda", 0))
    assert not DeviceRows.fit(arrays, wanted, CPU)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system has no such call")
def test_disk_is_told_which_rows_are_read_next(tiny_store, monkeypatch):
    told = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: told.append((start, length, advice)))
    announce(tiny_store.waveforms, np.array([[4, 2], [2, 9]]))
    size = tiny_store.waveforms[0].nbytes
    begins = tiny_store.waveforms.offset
    assert told == [(begins + row * size, size, os.POSIX_FADV_WILLNEED) for row in (2, 4, 9)]


def test_systems_without_such_a_call_read_rows_when_they_are_asked_for(tiny_store, monkeypatch):
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    announce(tiny_store.waveforms, np.array([4, 2]))
    announce(np.zeros((3, 2)), np.array([1]))  # an array in memory
