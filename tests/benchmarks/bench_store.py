"""The store of 224 x 224 pixels and 3 s of sound: pairs a second into a batch of the papers' size, and what 100,000
clips cost to open.

"pairs a second" are of wall time; "pairs a core and second" of the process's own time, whoever else is busy.

Run with ``pytest tests/benchmarks/bench_store.py -o addopts=""``.
"""

import json
import mmap
import os
import statistics
import subprocess
import sys
import time
from itertools import cycle

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avnb.data.arrays import announce
from avnb.data.augment import augment
from avnb.data.build import open_store
from avnb.data.clips import Recipe
from avnb.data.folder import write_dataset
from avnb.data.mixing import draw_partners, make_batch, mixed, read_batch
from avnb.data.rows import BufferedRows
from avnb.data.store import ClipShape

CLIPS, BATCH = 512, 128
CLASSES = [f"class {k}" for k in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Noise as pictures and sounds: nothing compresses worse, so nothing decodes more slowly."""
    folder = tmp_path_factory.mktemp("bench") / "noise"
    rng = np.random.default_rng(0)
    for part in ("frames", "audio", "masks"):
        (folder / part).mkdir(parents=True)
    rows = []
    for k in range(CLIPS):
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(folder / f"frames/{k}.jpg")
        Image.fromarray(np.pad(np.ones((100, 100), np.uint8), 40)).save(folder / f"masks/{k}.png")
        soundfile.write(folder / f"audio/{k}.ogg", rng.normal(0, 0.1, 66_150).astype(np.float32), 22_050)
        thing = {"label": CLASSES[k % 8], "xyxy": [0.2, 0.2, 0.8, 0.8]}
        mask = f"masks/{k}.png" if k % 2 else None
        rows.append(
            {
                "id": str(k), "split": "train", "subset": "solo", "file_name": f"frames/{k}.jpg",
                "audio": f"audio/{k}.ogg", "mask": mask, "objects": [thing],
            }
        )  # fmt: skip
    write_dataset(folder, "noise", CLASSES, "real", "", rows)
    return folder


@pytest.fixture(scope="module")
def store(folder):
    return open_store(folder, ClipShape(), progress=False)


@pytest.mark.parametrize("geometry", ["single", "side_by_side", "grid"])
@pytest.mark.parametrize("truth", [False, True], ids=["training", "with truth"])
def test_store_to_batch(benchmark, store, geometry, truth):
    recipe = Recipe(1 if geometry == "single" else 2, geometry)
    mixtures = cycle(drawn(store, recipe))
    measured(benchmark, lambda: make_batch(store, next(mixtures), recipe, truth))


@pytest.mark.parametrize("geometry", ["single", "first", "side_by_side", "grid"])
def test_store_to_device(benchmark, store, geometry):
    """What training does on the CPU for a GPU: rows into kept buffers, as they lie in the store."""
    recipe = Recipe(1 if geometry == "single" else 2, geometry)
    mixtures, rows = cycle(drawn(store, recipe)), BufferedRows(pinned=torch.cuda.is_available())
    measured(benchmark, lambda: read_batch(store, next(mixtures), recipe, rows))


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system has no such call")
@pytest.mark.parametrize("told", ["never", "just before", "a batch before"])
def test_cold_rows(benchmark, store, told):
    """Frames and sounds of clips that are on the disk alone; "a batch before" is what training does.

    Two cores of an AMD EPYC, two runs, pairs a second: 850 and 1,100, 3,000 and 3,600, 9,500 and 10,700. Batch after
    batch out of frames of 3 GB: 890, 4,200, and 7,500, which is that disk's 1.1 GB a second.
    """
    mixtures, rows = cycle(drawn(store, Recipe())), BufferedRows()

    def forget():
        for array in (store.frames, store.waveforms):
            with open(array.filename, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            array._mmap.madvise(mmap.MADV_DONTNEED)
        mixture = next(mixtures)
        if told == "a batch before":
            tell(mixture)
            time.sleep(0.05)  # a step on one GPU, at the 2,500 pairs a second that are wanted
        return (mixture,), {}

    def tell(mixture):
        announce(store.frames, mixture)
        announce(store.waveforms, mixture)

    def read(mixture):
        if told == "just before":
            tell(mixture)
        read_batch(store, mixture, Recipe(), rows)

    benchmark.pedantic(read, setup=forget, rounds=8)
    benchmark.extra_info["pairs a second"] = round(BATCH / benchmark.stats.stats.median)


def drawn(store, recipe):
    """Mixtures of other clips each time, since the same rows again are in the processor's cache."""
    pool, rng = store.select("train"), np.random.default_rng(0)
    return [draw_partners(store, rng.permutation(pool)[:BATCH], pool, recipe.clips, rng) for _ in range(16)]


def measured(benchmark, call):
    used = []

    def timed():
        started = time.process_time()
        call()
        used.append(time.process_time() - started)

    benchmark(timed)
    benchmark.extra_info["pairs a second"] = round(BATCH / benchmark.stats.stats.median)
    benchmark.extra_info["pairs a core and second"] = round(BATCH / statistics.median(used))


def test_store_to_augmented_batch(benchmark, store):
    recipe = Recipe(2, "side_by_side")
    mixtures = cycle(drawn(store, recipe))
    measured(benchmark, lambda: augment(mixed(read_batch(store, next(mixtures), recipe), recipe), recipe, crop=True))


def test_decoding(benchmark, folder, monkeypatch, tmp_path_factory):
    def fresh():
        monkeypatch.setenv("AVNB_DATA", str(tmp_path_factory.mktemp("fresh")))

    def build():
        open_store(folder, ClipShape(), progress=False)

    benchmark.pedantic(build, setup=fresh, rounds=3)
    benchmark.extra_info["clips a second"] = round(CLIPS / benchmark.stats.stats.median)


# In a process of its own, where no annotation is checked and the memory is its own. Frames of 8 x 8 pixels and 1 ms:
# what is measured is the format and the tables, not decoding.
MANY = """
import json, re, sys, time
from pathlib import Path
import numpy as np
from avnb.data import build as module
from avnb.data.folder import read_rows, write_dataset
from avnb.data.clips import Recipe
from avnb.data.mixing import draw_partners, make_batch, mixed, read_batch
from avnb.data.rows import BufferedRows
from avnb.data.store import ClipShape

count, folder = int(sys.argv[1]), Path(sys.argv[2])
thing = {"label": "bell", "xyxy": [0.1, 0.2, 0.5, 0.6], "sounding": True}
rows = [{"id": f"clip{k:07d}", "split": "train", "subset": "solo", "file_name": f"frames/{k}.jpg",
         "audio": f"audio/{k}.ogg", "mask": None, "objects": [thing | {"label": "bell" if k % 2 else "drum"}]}
        for k in range(count)]
write_dataset(folder, "many", ["bell", "drum"], "real", "", rows)
del rows
said, shape = {}, ClipShape(8, 8000, 0.001)

def timed(name, function):
    started = time.perf_counter()
    value = function()
    said[name] = round(time.perf_counter() - started, 4)
    return value

timed("read metadata", lambda: sum(1 for _ in read_rows(folder, ["bell", "drum"])))
picture, sound = np.zeros((3, 8, 8), np.uint8), np.ones(8, np.float32)
module.read_frame, module.read_waveform = (lambda *_: picture), (lambda *_: sound)
timed("build", lambda: module.open_store(folder, shape, progress=False))
store = timed("open", lambda: module.open_store(folder, shape, progress=False))
timed("count", store.count)
pool = timed("select", lambda: store.select("train", "solo"))
timed("draw partners of all", lambda: draw_partners(store, pool, pool, 2, np.random.default_rng(0)))
batch = make_batch(store, draw_partners(store, pool[:32], pool, 2, np.random.default_rng(0)), Recipe(2, "side_by_side"))
said["peak MB"] = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
print(json.dumps(said))
"""


@pytest.mark.parametrize("count", [1000, 100_000])
def test_many_clips_open_as_fast_as_few(benchmark, tmp_path, monkeypatch, count):
    monkeypatch.setenv("AVNB_DATA", str(tmp_path))

    def measure():
        arguments = [sys.executable, "-c", MANY, str(count), str(tmp_path / "many")]
        return json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)

    said = benchmark.pedantic(measure, rounds=1)
    benchmark.extra_info |= said
    assert said["open"] < 0.1, "opening reads a page of JSON and maps the arrays"
    assert said["read metadata"] < 10
