"""A benchmark decoded once into memory-mapped arrays, from which batches come without worker processes.

Opening a store reads a page of JSON and maps the arrays: the same work for 1,000 clips and for 1,000,000. A store
lies in data/.store, beside the prepared folders and not in them, so that a folder may be read-only or a link.
Introduced in notebooks/01_data_mixing.ipynb.
"""

import copy
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy.typing import DTypeLike
from torch import Tensor

from avnb.data.clips import Clip, SceneObject
from avnb.data.folder import SPLITS, DatasetInfo, Row, read_info, read_rows
from avnb.errors import DataError
from avnb.paths import data_dir, shown

BROKEN_SHARE = 0.05  # more than this many undecodable clips stop the run
SMALLEST_SIDE = 8  # pixels; below it a picture shows nothing
SILENCE = 1e-4  # peak of a waveform in -1..1 below which nothing is heard
AT_ONCE = 4096  # clips handed to the threads, so that a queue of a million takes no memory
ABANDONED = 24 * 3600  # seconds after which an unfinished build counts as killed
FORMAT = 2  # of the arrays on disk; another number rebuilds them

CLIP = np.dtype([("split", "u1"), ("subset", "u2"), ("line", "u4"), ("has_mask", "?"), ("video", "u4")])
# "seen": at least one pixel is the object's, so that a map can be judged by it.
OBJECT = np.dtype([("class", "u2"), ("sounding", "?"), ("seen", "?"), ("xyxy", "f8", 4)])


@dataclass(frozen=True)
class ClipShape:
    """The shape of a store's clips: frames of ``size`` x ``size`` pixels, ``seconds`` of sound at ``rate`` Hz."""

    size: int = 224
    rate: int = 22050
    seconds: float = 3.0

    @property
    def samples(self) -> int:
        return round(self.rate * self.seconds)


class Store:
    """The clips of one benchmark as memory-mapped arrays. Introduced in notebooks/01_data_mixing.ipynb.

    ``frames`` uint8 [clips, 3, size, size], ``waveforms`` int16 [clips, samples], ``masks`` uint8 [clips, size, size]
    (k for the k-th object), ``labels`` bool [clips, classes] (the sounding ones).
    """

    kept: bool | np.ndarray = True  # which clips select() and count() offer: all, but in a part
    shares: np.ndarray | None = None  # of the truth, each object's, where one is not 1

    def __init__(self, info: DatasetInfo, folder: Path, shape: ClipShape) -> None:
        said = json.loads((folder / "store.json").read_text(encoding="utf-8"))
        self.info, self.folder, self.shape = info, folder, shape
        self.name, self.classes, self.origin = info.name, info.classes, info.origin
        self.subsets: list[str] = said["subsets"]
        self.broken: list[dict] = said["broken"]
        self.silent: int = said["silent"]
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy") if "~" not in path.stem}
        self.ids, self.clips, self.frames, self.waveforms = (
            arrays[name] for name in ("ids", "clips", "frames", "waveforms")
        )
        self.masks, self.labels, self.objects, self.offsets = (
            arrays[name] for name in ("masks", "labels", "objects", "offsets")
        )
        self.shares = arrays.get("shares")

    def __len__(self) -> int:
        return len(self.clips)

    def part(self, keep: Bool[np.ndarray, " clips"]) -> "Store":
        """Return a store with the same arrays that offers only the clips to ``keep``; their indices stay what they are.

        Introduced in notebooks/02_ez_vsl.ipynb.
        """
        part = copy.copy(self)
        part.kept = self.kept & keep
        part.__dict__.pop("report", None)
        return part

    def select(self, split: str, subset: str | None = None) -> Int[np.ndarray, " chosen"]:
        """Return the indices of a split's clips (of one subset); raise DataError naming what there is where none is."""
        chosen = self.kept & (self.clips["split"] == SPLITS.index(split))
        if subset is not None:
            code = self.subsets.index(subset) if subset in self.subsets else -1
            chosen = chosen & (self.clips["subset"] == code)
        if not chosen.any():
            counted = ", ".join(f"{a} {b}: {n}" for (a, b), n in sorted(self.count().items()))
            wanted = f"{split} {subset}" if subset else split
            raise DataError(f'"{self.name}" has no clips in {wanted}. It has {counted}.')
        return np.flatnonzero(chosen)

    def count(self) -> dict[tuple[str, str], int]:
        """Return the number of clips of each (split, subset)."""
        kinds = len(self.subsets)
        kind = self.clips["split"].astype(np.int64) * kinds + self.clips["subset"]
        counts = np.bincount(kind, weights=np.broadcast_to(self.kept, kind.shape))
        return {(SPLITS[k // kinds], self.subsets[k % kinds]): int(counts[k]) for k in np.flatnonzero(counts)}

    def clip(self, index: int | np.integer) -> Clip:
        """Return one clip with its objects, to look at and listen to."""
        things = self.objects[self.offsets[index] : self.offsets[index + 1]]
        return Clip(
            id=self.ids[index].decode(),
            frame=np.array(self.frames[index]).transpose(1, 2, 0),
            waveform=np.array(self.waveforms[index], np.float32) / 32767,
            rate=self.shape.rate,
            objects=tuple(
                SceneObject(self.classes[thing["class"]], tuple(thing["xyxy"].tolist()), bool(thing["sounding"]))
                for thing in things
            ),
            mask=np.array(self.masks[index]) if self.clips[index]["has_mask"] else None,
            labels=tuple(self.classes[k] for k in np.flatnonzero(self.labels[index])),
        )

    def read_frames(self, index: Int[np.ndarray, "..."]) -> UInt8[Tensor, "... 3 size size"]:
        """Return the frames at ``index``, of any shape."""
        return torch.from_numpy(self.frames[index])

    def read_waveforms(self, index: Int[np.ndarray, "..."]) -> Float[Tensor, "... time"]:
        """Return the waveforms at ``index`` in -1..1, of any shape of index."""
        return torch.from_numpy(self.waveforms[index]).float().div_(32767)

    def read_labels(self, index: Int[np.ndarray, "..."]) -> Float[Tensor, "... classes"]:
        """Return the sounding classes at ``index`` as multi-hot vectors."""
        return torch.from_numpy(self.labels[index]).float()

    def read_truth(
        self, index: Int[np.ndarray, " batch"], classes: Int[np.ndarray, "batch sources"]
    ) -> Float[Tensor, "batch sources size size"]:
        """Return where the sounding objects of each asked class are: their mask, else their filled boxes.

        It is 0 or 1, but in between where boxes have a share of less than 1 (annotators who disagree).
        """
        clip, thing = self._objects_of(index)
        size, (batch, sources) = self.shape.size, classes.shape
        objects, number = self.objects[thing], thing - self.offsets[index][clip] + 1
        asked = (objects["class"][:, None] == classes[clip]) & objects["sounding"][:, None]  # [objects, sources]
        # k-th object of its clip -> is it of the asked source? Then the masks are looked up in that table.
        table = np.zeros((batch, sources, max(256, number.max(initial=0) + 1)), bool)
        table[clip, :, number] = asked
        has_mask = self.clips["has_mask"][index]
        truth = np.zeros((batch, sources, size, size), np.float32)
        masks = self.masks[index[has_mask]]
        truth[has_mask] = np.take_along_axis(
            table[has_mask], masks.reshape(len(masks), 1, size * size).astype(np.int64), axis=2
        ).reshape(len(masks), sources, size, size)
        for k, source in np.argwhere(asked & ~has_mask[clip][:, None]):
            x0, y0, x1, y1 = box_pixels(objects["xyxy"][k], size)
            place = truth[clip[k], source, y0:y1, x0:x1]
            np.minimum(place + (1 if self.shares is None else self.shares[thing[k]]), 1, out=place)
        return torch.from_numpy(truth)

    def has_truth(self, index: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Return which clips have a sounding object that fills at least one pixel, so that a map can be judged."""
        clip, thing = self._objects_of(index)
        objects = self.objects[thing]
        found = np.zeros(len(index), bool)
        found[clip[objects["sounding"] & objects["seen"]]] = True
        return found

    def _objects_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for every object of the clips at ``index``, the clip's place in ``index`` and the object's number."""
        counts = self.offsets[index + 1] - self.offsets[index]
        clip = np.repeat(np.arange(len(index)), counts)
        within = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
        return clip, self.offsets[index][clip] + within

    @cached_property
    def report(self) -> str:
        """What a reader should know before trusting the clips: how many there are, and which were left out and why."""
        lines = [f"{self.name} ({self.origin}): {sum(self.count().values()):,} clips, {len(self.classes)} classes"]
        lines += [f"  {split} {subset}: {n:,}" for (split, subset), n in sorted(self.count().items())]
        if self.silent:
            lines.append(f"  {self.silent:,} clips are silent (kept, but nothing can be learnt from them)")
        lines += [f"  left out: {clip['id']} (line {clip['line']}): {clip['why']}" for clip in self.broken]
        if self.broken:
            lines.append("  (left out until metadata.jsonl changes: save it anew when the files are mended)")
        return "\n".join(lines)


def open_store(folder: Path, shape: ClipShape, progress: bool = True) -> Store:
    """Open the store of a prepared folder, decoding it first where that has not been done.

    Raises DataError where the folder is not of the format, or more than 5 % of its clips cannot be decoded.
    """
    info = read_info(folder)
    store = data_dir() / ".store" / f"{Path(folder).resolve().name}-{_fingerprint(folder, shape)}"
    if not (store / "store.json").exists():
        _build(info, store, shape, progress)
    return Store(info, store, shape)


def cached_array(
    store: Store, name: str, shape: Sequence[int], compute: Callable[[np.memmap], None]
) -> Float[np.ndarray, "clips *shape"]:
    """Return a float16 array with a row a clip that lies beside the store, filling it once by ``compute(array)``."""
    path = store.folder / f"{name}~cache.npy"
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            array = _new_array(temporary, np.float16, (len(store), *shape))
            compute(array)
            array.flush()
            os.replace(temporary, path)
        except OSError as error:
            raise DataError(f"Cannot write {shown(path)}: {error.strerror}. Free some space and run again.") from None
        finally:
            temporary.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def box_pixels(xyxy: Sequence[float] | np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Return the box's first column and row and those after its last, in a frame of ``size`` x ``size`` pixels.

    Corners are cut to whole pixels, as the papers' evaluations do.

    >>> box_pixels((0.1, 0.5, 0.99, 1.0), 10)
    (1, 5, 9, 10)
    """
    x0, y0, x1, y1 = (int(corner * size) for corner in xyxy)
    return x0, y0, x1, y1


def _fingerprint(folder: Path, shape: ClipShape) -> str:
    """Name what the arrays depend on: the two files of the format as they stand on disk, and the shape."""
    parts = [FORMAT, shape]
    for name in ("dataset.json", "metadata.jsonl"):
        path = Path(folder) / name
        stat = path.stat() if path.exists() else None
        parts.append((str(path.resolve()), stat and (stat.st_size, stat.st_mtime_ns)))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _build(info: DatasetInfo, store: Path, shape: ClipShape, progress: bool) -> None:
    """Decode every clip into a temporary folder, which becomes ``store`` when it is whole and vanishes otherwise.

    metadata.jsonl is read twice, once to check all of it and once to decode, so that its rows are never all in memory.
    """
    tables, subsets = _read_tables(info)
    clips = len(tables["ids"])
    temporary = store.with_name(f"{store.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        broken, silent = _decode(info, tables, temporary, shape, progress)
        if broken:
            tables = _close_gaps(temporary, tables, list(broken))
        for name, array in tables.items():
            np.save(temporary / f"{name}.npy", array)
        source = [str(info.folder.resolve()), shape.size, shape.rate, shape.seconds]
        said = {"source": source, "subsets": subsets, "broken": list(broken.values()), "silent": silent}
        (temporary / "store.json").write_text(json.dumps(said), encoding="utf-8")
        _put_in_place(temporary, store)
        _remove_superseded(store, source)
    except OSError as error:
        size = clips * (4 * shape.size**2 + 2 * shape.samples) / 1e9
        raise DataError(
            f'Cannot write the decoded clips of "{info.name}" to {shown(store.parent)}: {error.strerror}. They take '
            f"{size:.1f} GB: free some space, or point AVNB_DATA to a larger disk."
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_tables(info: DatasetInfo) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the small arrays that metadata.jsonl gives, 100 bytes a clip, and the names of the subsets."""
    number = {label: k for k, label in enumerate(info.classes)}
    parts: dict[str, list[np.ndarray]] = {}
    rows = read_rows(info.folder, info.classes)
    while some := list(islice(rows, AT_ONCE)):
        things = [thing for row in some for thing in row.objects]
        for name, values, kind in (
            ("ids", [row.id.encode() for row in some], None),
            ("video", [row.video.encode() for row in some], None),
            ("subset", [row.subset.encode() for row in some], None),
            ("clips", [(SPLITS.index(row.split), 0, row.line, row.mask is not None, 0) for row in some], CLIP),
            ("counts", [len(row.objects) for row in some], np.int64),
            ("objects", [(number[t.label], t.sounding, False, t.xyxy) for t in things], OBJECT),
            ("shares", [thing.share for thing in things], np.float32),
        ):
            parts.setdefault(name, []).append(np.array(values, kind))
    tables = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    tables["clips"]["video"] = np.unique(tables.pop("video"), return_inverse=True)[1]
    subsets, tables["clips"]["subset"] = np.unique(tables.pop("subset"), return_inverse=True)
    tables["offsets"] = np.concatenate([[0], np.cumsum(tables.pop("counts"))])
    if (tables["shares"] == 1).all():
        del tables["shares"]
    return tables, [name.decode() for name in subsets.tolist()]


def _decode(
    info: DatasetInfo, tables: dict[str, np.ndarray], folder: Path, shape: ClipShape, progress: bool
) -> tuple[dict[int, dict], int]:
    """Decode the clips into the large arrays, and note in ``tables`` which objects are seen.

    Returns what failed, by its place, and how many are silent; raises DataError as soon as too many fail.
    """
    from tqdm.auto import tqdm

    size, clips, offsets = shape.size, len(tables["ids"]), tables["offsets"]
    number = {label: k for k, label in enumerate(info.classes)}
    frames = _new_array(folder / "frames.npy", np.uint8, (clips, 3, size, size))
    sounds = _new_array(folder / "waveforms.npy", np.int16, (clips, shape.samples))
    masks = _new_array(folder / "masks.npy", np.uint8, (clips, size, size))
    labels = _new_array(folder / "labels.npy", bool, (clips, len(info.classes)))

    def decode(place: int, row: Row) -> tuple[Row, str | None, bool]:
        """Return the row, why it cannot be decoded, and whether it is silent."""
        try:
            frames[place] = read_frame(info.folder / row.frame, size)
            sounds[place] = sound = np.round(read_waveform(info.folder / row.audio, row.start, shape) * 32767)
            labels[place, [number[label] for label in row.labels]] = True
            if row.mask is None:
                boxes = [box_pixels(thing.xyxy, size) for thing in row.objects]
                seen = [x1 > x0 and y1 > y0 for x0, y0, x1, y1 in boxes]
            else:
                masks[place] = mask = read_mask(info.folder / row.mask, size, len(row.objects))
                seen = np.isin(np.arange(len(row.objects)) + 1, mask)
            tables["objects"]["seen"][offsets[place] : offsets[place + 1]] = seen
        except DataError as error:
            return row, str(error), False
        return row, None, bool(np.abs(sound).max() < SILENCE * 32767)

    broken: dict[int, dict] = {}
    silent = 0
    rows = read_rows(info.folder, info.classes)
    # Pillow, libsndfile and soxr let go of the interpreter while they work: threads use every core.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        parts = (list(islice(rows, AT_ONCE)) for _ in range(0, clips, AT_ONCE))
        places = iter(range(clips))
        found = chain.from_iterable(pool.map(decode, islice(places, len(part)), part) for part in parts)
        for place, (row, why, is_silent) in enumerate(tqdm(found, f"decode {info.name}", clips, disable=not progress)):
            if row.id.encode() != tables["ids"][place]:
                break
            silent += is_silent
            if why is not None:
                broken[place] = {"id": row.id, "line": row.line, "why": why}
            if len(broken) > BROKEN_SHARE * clips:
                said = "; ".join(
                    f"{clip['id']} (line {clip['line']}): {clip['why']}" for clip in [*broken.values()][:3]
                )
                raise DataError(
                    f'{len(broken):,} of the first {place + 1:,} clips of "{info.name}" cannot be decoded, more '
                    f"than {BROKEN_SHARE:.0%} of all {clips:,}: {said}. "
                    "Mend these files, or remove their rows from metadata.jsonl."
                )
        else:
            if next(places, None) is None:
                return broken, silent
        raise DataError(f"{shown(info.folder)}/metadata.jsonl was changed while it was being read; run again.")
    finally:
        pool.shutdown(cancel_futures=True)


def _new_array(path: Path, dtype: DTypeLike, shape: Sequence[int]) -> np.memmap:
    """Create a memory-mapped array whose space on the disk is its own; raise OSError where there is too little.

    Without that, writing to the map of a full disk kills the process by a signal (macOS has no such call).
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, tuple(shape))
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _close_gaps(folder: Path, tables: dict[str, np.ndarray], broken: list[int]) -> dict[str, np.ndarray]:
    """Take the ``broken`` clips out of the large arrays, and return the small ones without them."""
    good = np.delete(np.arange(len(tables["ids"])), broken)
    for name in ("frames", "waveforms", "masks", "labels"):
        array = np.load(folder / f"{name}.npy", mmap_mode="r")
        kept = _new_array(folder / f"{name}~", array.dtype, (len(good), *array.shape[1:]))
        for to, place in enumerate(good):
            kept[to] = array[place]
        os.replace(folder / f"{name}~", folder / f"{name}.npy")
    counts = np.diff(tables["offsets"])
    objects = np.isin(np.repeat(np.arange(len(counts)), counts), good)
    of_objects = {name: tables[name][objects] for name in ("objects", "shares") if name in tables}
    offsets = np.concatenate([[0], np.cumsum(counts[good])])
    return {"ids": tables["ids"][good], "clips": tables["clips"][good], "offsets": offsets} | of_objects


def _put_in_place(temporary: Path, store: Path) -> None:
    if not (store / "store.json").exists():
        shutil.rmtree(store, ignore_errors=True)  # a store without its index was taken apart by hand
    try:
        temporary.rename(store)
    except OSError:
        if not (store / "store.json").exists():  # else another process has just finished the same
            raise


def _remove_superseded(store: Path, source: list) -> None:
    """Delete the stores of the same folder and shape as they were before it changed, and what killed builds left."""
    for index in store.parent.glob("*/store.json"):
        if index.parent != store and json.loads(index.read_text(encoding="utf-8")).get("source") == source:
            shutil.rmtree(index.parent, ignore_errors=True)
    for left in store.parent.glob("*.tmp"):
        if time.time() - left.stat().st_mtime > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def read_frame(path: Path, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Decode a picture and resize it to ``size`` x ``size`` (bicubic, aspect ratio not kept, as the papers' tests do).

    Raises DataError where it cannot be decoded or is too small to show anything.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            if min(image.size) < SMALLEST_SIDE:
                raise DataError(f"{shown(path)} is {image.width} x {image.height} pixels; {SMALLEST_SIDE} are needed")
            rgb = image.convert("RGB")
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{shown(path)} is missing") from None
    except Exception as error:  # Pillow raises many types on damaged files
        raise DataError(f"{shown(path)} is not a picture that can be decoded ({type(error).__name__})") from None
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(rgb).transpose(2, 0, 1)


def read_mask(path: Path, size: int, objects: int) -> UInt8[np.ndarray, "size size"]:
    """Decode an 8-bit mask of object numbers, resized to the nearest pixel; raise DataError where that fails."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "P"):
                raise DataError(f"{shown(path)} has mode {image.mode}; a mask is one 8-bit channel of object numbers")
            numbers = np.asarray(image.resize((size, size), Image.Resampling.NEAREST)).astype(np.uint8)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{shown(path)} is missing") from None
    except Exception as error:
        raise DataError(f"{shown(path)} is not a mask that can be decoded ({type(error).__name__})") from None
    if numbers.max() > objects:
        raise DataError(f"{shown(path)} numbers an object {numbers.max()}, but its row lists {objects}")
    return numbers


def read_waveform(path: Path, start: float, shape: ClipShape) -> Float[np.ndarray, " time"]:
    """Decode ``seconds`` of sound from ``start`` as mono at the store's rate; a shorter sound is repeated to fill it.

    Any depth and any number of channels that libsndfile reads; raises DataError where there is no sound at all.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            file.seek(min(round(start * file.samplerate), file.frames))
            wanted = int(np.ceil(shape.seconds * file.samplerate)) + 1
            heard, rate = file.read(wanted, dtype="float32", always_2d=True), file.samplerate
    except (RuntimeError, OSError) as error:  # libsndfile's errors are RuntimeErrors
        reason = "is missing" if not path.exists() else f"is not a sound that can be decoded ({type(error).__name__})"
        raise DataError(f"{shown(path)} {reason}") from None
    if len(heard) == 0:
        raise DataError(f"{shown(path)} holds no sound from {start:g} s on")
    mono = heard.mean(axis=1)
    if not np.isfinite(mono).all():
        raise DataError(f"{shown(path)} holds samples that are not numbers")
    if rate != shape.rate:
        import soxr  # what librosa.resample calls; importing librosa itself takes seconds

        mono = soxr.resample(mono, rate, shape.rate)
        if len(mono) == 0:
            raise DataError(f"{shown(path)} holds only {len(heard)} samples at {rate} Hz from {start:g} s on")
    return np.clip(np.resize(mono, shape.samples), -1, 1)  # np.resize repeats what is too short
