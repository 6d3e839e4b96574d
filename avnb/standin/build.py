"""The embedded MUSIC stand-in: drawn scenes with SoundFont music, in the on-disk format of a prepared benchmark.

It lets every notebook run on any machine, with MUSIC's eleven classes and the three subsets of the papers: solos, duets
(two instruments in one frame) and synthetic scenes (2x2, two of four sound: DSOL, section 4.1). A clip depends on its
own seed alone, so neither the number of workers nor the other clips change it, and no two splits share anything drawn.
"""

import errno
import io
import math
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from avnb.data.locks import LOCK, in_turn, temporary_folder
from avnb.errors import DataError, RunError, SettingsError
from avnb.paths import shown

SPLITS = ("train", "val", "test")
SUBSETS = ("solo", "duet", "synthetic")
COUNTS = {
    ("train", "solo"): 880,
    ("train", "duet"): 110,
    ("train", "synthetic"): 0,
    ("val", "solo"): 66,
    ("val", "duet"): 44,
    ("val", "synthetic"): 22,
    ("test", "solo"): 132,
    ("test", "duet"): 132,
    ("test", "synthetic"): 110,
}
SIZE = 224  # pixels of a frame
RATE = 22_050
SECONDS = 3.0
APART = 6.0  # dB: the most that one of two sounding instruments is louder than the other
SILENT = 0.25  # share of solos and duets with a silent instrument in view
CHUNK = 16  # clips a worker draws at a time

NOTE = (
    "Stand-in for MUSIC: drawn instruments and General MIDI music from a SoundFont, rendered on this machine. It shows "
    "that a method runs and learns; numbers on it cannot be compared with published ones, which are on MUSIC's videos."
)


@dataclass(frozen=True)
class Place:
    """Which clip of the data set: the ``index``-th of a subset of a split."""

    split: str
    subset: str
    index: int

    @property
    def id(self) -> str:
        """The clip's name.

        >>> Place("train", "solo", 7).id
        'train_solo_0007'
        """
        return f"{self.split}_{self.subset}_{self.index:04d}"


@dataclass(frozen=True)
class Drawn:
    """A clip: its frame, its mask (k for the k-th of the sounding, then the silent classes) and its sound, mono."""

    frame: UInt8[np.ndarray, "size size 3"]
    mask: UInt8[np.ndarray, "size size"]
    sound: Float32[np.ndarray, " time"]
    sounding: tuple[str, ...]
    silent: tuple[str, ...]


def render(
    folder: Path,
    seed: int = 0,
    counts: Mapping[tuple[str, str], int] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> None:
    """Render the stand-in into ``folder``: dataset.json, metadata.jsonl, frames/, masks/, audio/ (FLAC).

    ``counts`` gives the clips of each (split, subset), by default ``COUNTS``; ``workers`` is the number of processes,
    by default one a core. The same seed gives the same bytes. ``folder`` appears whole or not at all; one that holds a
    data set already is kept as it is. Raises SettingsError for counts or a seed that make no sense, DataError where
    the folder cannot be written, RunError where the processes die.
    """
    from tqdm.auto import tqdm

    from avnb.data.folder import write_dataset  # imports torch, which the worker processes need not wait for
    from avnb.standin.instruments import CLASSES

    folder = Path(folder)
    places = list_places(seed, COUNTS if counts is None else counts)
    with whole_folder(folder) as temporary:
        if temporary is None:
            return
        for name in ("frames", "masks", "audio"):
            (temporary / name).mkdir(parents=True)
        rows = []
        with tqdm(total=len(places), desc="render the MUSIC stand-in", unit="clip", disable=not progress) as bar:
            for written in write_all(temporary, seed, places, cores() if workers is None else workers):
                rows += written
                bar.update(len(written))
        write_dataset(temporary, "music", CLASSES, "stand-in", NOTE, rows)


def list_places(seed: int, counts: Mapping[tuple[str, str], int]) -> list[Place]:
    """Return every clip that ``counts`` asks for; raise SettingsError where it asks for what there is not."""
    if not 0 <= seed < 2**32:
        raise SettingsError(f"The stand-in's seed must be in 0..{2**32 - 1}, not {seed}.")
    for key, count in counts.items():
        if key not in COUNTS:
            raise SettingsError(f"The stand-in has no {key}; it has (split, subset) of {SPLITS} and {SUBSETS}.")
        if count < 0:
            raise SettingsError(f"The stand-in cannot have {count} clips of {key}.")
    places = [Place(*key, i) for key in COUNTS for i in range(counts.get(key, 0))]
    if not places:
        raise SettingsError("The counts ask for a stand-in without clips.")
    return places


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path | None]:
    """Yield a temporary neighbour of ``folder`` that becomes it when the block ends, or None if it is there already.

    Whatever happens in the block, nothing half-made stays. Another process that makes the same is waited for.
    """
    if (folder / "dataset.json").exists():
        yield None
        return
    waiting = f"{shown(folder)} is being rendered by another process, which is waited for."
    try:
        with in_turn(folder, waiting):
            if (folder / "dataset.json").exists():
                yield None
                return
            with temporary_folder(folder.parent, f".{folder.name}") as temporary:
                yield temporary
                (temporary / LOCK).unlink(missing_ok=True)
                try:
                    temporary.rename(folder)
                except OSError:
                    if not (folder / "dataset.json").exists():
                        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise DataError(
            f"The stand-in cannot be written to {shown(folder)}: {error.strerror}. "
            + ("It needs 150 MB: free" if full else "Remove what is in its way, free")
            + " some space, or point AVNB_DATA to another folder."
        ) from None


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_all(folder: Path, seed: int, places: Sequence[Place], workers: int) -> Iterator[list[dict[str, Any]]]:
    """Write every clip, in ``workers`` processes if that is more than one; yield the metadata rows, in order."""
    chunks = [places[i : i + CHUNK] for i in range(0, len(places), CHUNK)]
    workers = min(workers, len(chunks))
    if workers < 2:
        for chunk in chunks:
            yield write_clips(folder, seed, chunk)
        return
    # Fresh processes: a copy (fork) of one that has run torch can hang on the locks of its threads.
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, fresh, initializer=belong_to_the_caller)
    try:
        yield from pool.map(write_clips, *zip(*((folder, seed, chunk) for chunk in chunks), strict=True))
    except BrokenProcessPool:
        raise RunError(
            "A process that renders the stand-in has died: too little memory, or a script that calls this without "
            '`if __name__ == "__main__":`. One process, render(..., workers=1), needs neither.'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def belong_to_the_caller() -> None:
    """Leave Ctrl-C to the process that is in charge, and end with it, however it ends."""
    import signal
    import threading

    def end_with_it() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_it, daemon=True).start()


def write_clips(folder: Path, seed: int, places: Sequence[Place]) -> list[dict[str, Any]]:
    """Draw and write clips; return their rows of metadata.jsonl."""
    return [write_clip(folder, place, draw(seed, place)) for place in places]


def write_clip(folder: Path, place: Place, clip: Drawn) -> dict[str, Any]:
    """Write a clip's three files into ``folder``; return its row of metadata.jsonl."""
    import soundfile
    from PIL import Image

    row = {
        "id": place.id,
        "split": place.split,
        "subset": place.subset,
        "file_name": f"frames/{place.id}.jpg",
        "audio": f"audio/{place.id}.flac",
        "start": 0.0,
        "mask": f"masks/{place.id}.png",
        "objects": [
            {"label": label, "xyxy": box_of(clip.mask == k), "sounding": k <= len(clip.sounding)}
            for k, label in enumerate((*clip.sounding, *clip.silent), 1)
        ],
    }
    # Encoded in memory, so that a full disk is an OSError whatever the library. FLAC, since Vorbis streams carry a
    # random number and take ten times as long.
    frame, mask, sound = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(clip.frame).save(frame, "JPEG", quality=92)
    Image.fromarray(clip.mask).save(mask, "PNG")
    soundfile.write(sound, clip.sound, RATE, "PCM_16", format="FLAC")
    for name, data in ((row["file_name"], frame), (row["mask"], mask), (row["audio"], sound)):
        (folder / name).write_bytes(data.getvalue())
    return row


def box_of(pixels: np.ndarray) -> list[float]:
    """Return the extent of the pixels that are set: x0, y0, x1, y1 in 0..1, the upper edges exclusive.

    Six digits, rounded up, so that the whole pixels of the box (`avnb.data.store.box_pixels`) are again these.

    >>> box_of(np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool))
    [0.25, 0.25, 0.75, 0.75]
    """
    (y,), (x,) = np.nonzero(pixels.any(1)), np.nonzero(pixels.any(0))
    height, width = pixels.shape
    edges = (x[0] / width, y[0] / height, (x[-1] + 1) / width, (y[-1] + 1) / height)
    return [math.ceil(round(float(edge) * 1e6, 3)) / 1e6 for edge in edges]


# One clip


def clip_seed(seed: int, split: str, subset: str, index: int) -> list[int]:
    """Return what a clip's generator is seeded with; no two clips have the same.

    >>> clip_seed(0, "val", "duet", 3)
    [0, 1, 1, 3]
    """
    return [seed, SPLITS.index(split), SUBSETS.index(subset), index]


def draw(seed: int, place: Place) -> Drawn:
    """Draw a clip: who is in it, the picture, the sound, each from a generator of its own."""
    from avnb.standin.pictures import scene
    from avnb.standin.sounds import melody

    root = np.random.default_rng(clip_seed(seed, place.split, place.subset, place.index))
    casting, picture, music = root.spawn(3)
    sounding, silent, areas = cast(place, casting)
    if place.subset == "synthetic":
        frame, mask = grid(sounding, silent, areas, picture)
    else:
        frame, mask = scene(sounding, silent, picture, SIZE, areas)
    melodies = [melody(label, music, SECONDS, RATE) for label in sounding]
    return Drawn(frame, mask, melodies[0] if len(melodies) == 1 else mixed(*melodies, music), sounding, silent)


def cast(place: Place, rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[str, ...], list[float]]:
    """Return the classes that sound in a clip, those that are seen but silent, and the areas of all their boxes.

    Within a subset the sounding classes are as equally many as its size allows, and so are the pairs of a duet. The
    areas are shares of the frame, or in a synthetic scene of each quarter.
    """
    from avnb.standin.geometry import DUET, ROOM, SOLO
    from avnb.standin.instruments import CLASSES

    if place.subset == "solo":
        sounding = (place.index % len(CLASSES),)
    else:
        # The splits start at different pairs, since a split need not hold a multiple of all.
        turn = place.index + len(CLASSES) * SPLITS.index(place.split)
        sounding, distance = pair(turn, len(CLASSES))
    boxes = SOLO if place.subset in ("solo", "synthetic") else DUET
    levels = rng.uniform(size=len(sounding)).tolist()
    others = [k for k in range(len(CLASSES)) if k not in sounding]
    if place.subset == "synthetic":
        # The silent two are the sounding two moved along the circle of classes, so that they too are equally many.
        steps = [step for step in range(1, len(CLASSES)) if step not in (distance, len(CLASSES) - distance)]
        step = steps[turn // len(CLASSES) % len(steps)]
        silent = tuple((k + step) % len(CLASSES) for k in sounding)
    elif place.subset == "solo":  # who fills the frame leaves no room for a silent neighbour
        silent = (int(rng.choice(others)),) if levels[0] < ROOM and rng.uniform() < SILENT / ROOM else ()
    else:
        silent = (int(rng.choice(others)),) if rng.uniform() < SILENT else ()
    beside = SOLO if place.subset == "synthetic" else DUET
    areas = [boxes.area_at(level) for level in levels] + [beside.area_at(rng.uniform()) for _ in silent]
    return tuple(CLASSES[k] for k in sounding), tuple(CLASSES[k] for k in silent), areas


def pair(turn: int, count: int) -> tuple[tuple[int, int], int]:
    """Return the ``turn``-th pair of different numbers below ``count``, an odd prime, and their distance on a circle.

    The multiples of a distance, two at a time, visit every number before any comes again: ``count`` turns hold each
    number twice, and (count - 1) / 2 times as many hold each pair once.

    >>> [pair(turn, 5)[0] for turn in range(10)]
    [(0, 1), (2, 3), (4, 0), (1, 2), (3, 4), (0, 2), (4, 1), (3, 0), (2, 4), (1, 3)]
    """
    distance = turn // count % ((count - 1) // 2) + 1
    first = 2 * (turn % count) * distance % count
    return (first, (first + distance) % count), distance


def grid(
    sounding: Sequence[str], silent: Sequence[str], areas: Sequence[float], rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
    """Return a frame and a mask of four scenes in 2x2, one instrument each, in random places."""
    from avnb.standin.pictures import scene

    half = SIZE // 2
    frame, mask = np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((SIZE, SIZE), np.uint8)
    tiles = zip((*sounding, *silent), areas, rng.permutation(4), strict=True)
    for k, (label, area, corner) in enumerate(tiles, 1):
        tile = np.s_[corner // 2 * half : corner // 2 * half + half, corner % 2 * half : corner % 2 * half + half]
        frame[tile], alone = scene([label], [], rng, half, [area])
        mask[tile] = alone * k
    return frame, mask


def mixed(
    a: Float32[np.ndarray, " time"], b: Float32[np.ndarray, " time"], rng: np.random.Generator
) -> Float32[np.ndarray, " time"]:
    """Return the sum of two melodies, one up to ``APART`` dB louder than the other."""
    from avnb.standin.sounds import LOUDNESS, levelled

    gain = 10 ** (rng.uniform(-APART, APART) / 20) * np.sqrt(np.mean(a**2) / np.mean(b**2))
    return levelled(a + gain * b, rng.uniform(*LOUDNESS))
