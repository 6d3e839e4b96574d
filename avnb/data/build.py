"""From a prepared folder to its store: every clip decoded once, whole or not at all.

A store lies in data/.store, beside the prepared folders and not in them, so that a folder may be read-only or a link.
"""

import hashlib
import json
import os
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from avnb.data.arrays import new_array, sealed
from avnb.data.clips import SILENCE
from avnb.data.folder import SPLITS, DatasetInfo, Row, read_info, read_rows
from avnb.data.locks import LOCK, in_turn, temporary_folder
from avnb.data.media_files import read_mask_picture, read_picture, why_unusable
from avnb.data.store import CLIP, OBJECT, ClipShape, DamagedStore, Store, box_pixels
from avnb.errors import DataError
from avnb.paths import data_dir, shown, sync_folder, whole_file

BROKEN_SHARE = 0.05  # more than this many undecodable clips stop the run
SMALLEST_SIDE = 8  # pixels; below it a picture shows nothing
AT_ONCE = 4096  # clips handed to the threads, so that a queue of a million takes no memory
LOOKED_THROUGH = 1 << 19  # bytes of a metadata.jsonl (2,000 clips) up to which a replaced picture or sound is noticed
FORMAT = 4  # of the arrays on disk; another number rebuilds them


def open_store(folder: Path, shape: ClipShape, progress: bool = True) -> Store:
    """Open the store of a prepared folder, decoding it first where that has not been done.

    One process decodes and others wait for it; where it dies, the next of them does. Raises DataError where the folder
    is not of the format, or more than 5 % of its clips cannot be decoded.
    """
    info = read_info(folder)
    path = data_dir() / ".store" / f"{Path(folder).resolve().name}-{_fingerprint(folder, shape)}"
    store, _ = _opened(info, path, shape)
    if store is not None:
        return store
    waiting = f'"{info.name}" is being decoded by another process, which is waited for.' if progress else ""
    with in_turn(path, waiting):
        store, damage = _opened(info, path, shape)
        if store is None:
            if damage:
                shutil.rmtree(path, ignore_errors=True)
            _build(info, path, shape, progress)
            store = Store(info, path, shape)
            store.rebuilt = damage
    return store


def _opened(info: DatasetInfo, path: Path, shape: ClipShape) -> tuple[Store | None, str]:
    """Return the store if it is there and whole, and what is damaged where it is not whole."""
    if not (path / "store.json").exists():
        return None, ""
    try:
        return Store(info, path, shape), ""
    except DamagedStore as error:
        return None, str(error)


def _fingerprint(folder: Path, shape: ClipShape) -> str:
    """Name what the arrays depend on: the two files of the format as they stand on disk, and the shape."""
    parts = [FORMAT, shape]
    for name in ("dataset.json", "metadata.jsonl"):
        path = Path(folder) / name
        stat = path.stat() if path.exists() else None
        parts.append((str(path.resolve()), stat and (stat.st_size, stat.st_mtime_ns)))
    if stat and stat.st_size <= LOOKED_THROUGH:
        parts += [
            (kind, entry.name, entry.stat().st_size, entry.stat().st_mtime_ns)
            for kind in ("frames", "audio", "masks")
            for entry in _files_of(Path(folder) / kind)
        ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def _files_of(folder: Path) -> list[os.DirEntry]:
    """Return the files of a folder by their names; none where there is no such folder."""
    try:
        return sorted((entry for entry in os.scandir(folder) if entry.is_file()), key=lambda entry: entry.name)
    except OSError:
        return []


def _build(info: DatasetInfo, store: Path, shape: ClipShape, progress: bool) -> None:
    """Decode every clip into a temporary folder, which becomes ``store`` when it is whole and vanishes otherwise.

    metadata.jsonl is read twice, once to check all of it and once to decode, so that its rows are never all in memory.
    """
    tables, subsets = _read_tables(info)
    clips = len(tables["ids"])
    try:
        with temporary_folder(store.parent, store.name) as temporary:
            broken, silent = _decode(info, tables, temporary, shape, progress)
            for name, array in tables.items():
                np.save(temporary / f"{name}.npy", array)
            source = [str(info.folder.resolve()), shape.size, shape.rate, shape.seconds]
            said = {"source": source, "subsets": subsets, "broken": broken, "silent": silent}
            files = sorted(temporary.glob("*.npy"))
            with ThreadPoolExecutor(len(files)) as pool:  # the disk writes one while another's checksums are made
                said["files"] = dict(zip((path.name for path in files), pool.map(sealed, files), strict=True))
            said["check"] = zlib.crc32(json.dumps(said).encode())
            with whole_file(temporary / "store.json") as index:
                index.write_text(json.dumps(said), encoding="utf-8")
            _put_in_place(temporary, store)
            _remove_superseded(store, source)
    except OSError as error:
        masks = int(tables["clips"]["has_mask"].sum())
        size = (clips * (3 * shape.size**2 + 2 * shape.samples) + masks * shape.size**2) / 1e9
        raise DataError(
            f'Cannot write the decoded clips of "{info.name}" to {shown(store.parent)}: {error.strerror}. They take '
            f"{size:.1f} GB: free some space, or point AVNB_DATA to a larger disk."
        ) from None


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
) -> tuple[list[dict], int]:
    """Decode the clips into the large arrays, and note in ``tables`` which objects are seen.

    Returns what failed, which keeps its place, and how many are silent; raises DataError as soon as too many fail.
    """
    from tqdm.auto import tqdm

    size, clips, offsets = shape.size, len(tables["ids"]), tables["offsets"]
    number = {label: k for k, label in enumerate(info.classes)}
    frames = new_array(folder / "frames.npy", np.uint8, (clips, 3, size, size))
    sounds = new_array(folder / "waveforms.npy", np.int16, (clips, shape.samples))
    masks = new_array(folder / "masks.npy", np.uint8, (clips, size, size), tables["clips"]["has_mask"])
    labels = new_array(folder / "labels.npy", bool, (clips, len(info.classes)))

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

    broken: list[dict] = []
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
                broken.append({"place": place, "id": row.id, "line": row.line, "why": why})
            if len(broken) > BROKEN_SHARE * clips:
                raise _too_many(broken, place + 1, clips, info.name)
        else:
            if next(places, None) is None:
                return broken, silent
        raise DataError(f"{shown(info.folder)}/metadata.jsonl was changed while it was being read; run again.")
    finally:
        pool.shutdown(cancel_futures=True)


def _too_many(broken: list[dict], tried: int, clips: int, name: str) -> DataError:
    """Return the error that says which clips, among the first ``tried``, cannot be decoded and why."""
    first = "; ".join(f"{clip['id']} (line {clip['line']}): {clip['why']}" for clip in broken[:3])
    return DataError(
        f'{len(broken):,} of the first {tried:,} clips of "{name}" cannot be decoded, more than {BROKEN_SHARE:.0%} of '
        f"all {clips:,}: {first}. Mend these files, or remove their rows from metadata.jsonl."
    )


def _put_in_place(temporary: Path, store: Path) -> None:
    if not (store / "store.json").exists():
        shutil.rmtree(store, ignore_errors=True)  # a store without its index was taken apart by hand
    (temporary / LOCK).unlink(missing_ok=True)
    try:
        temporary.rename(store)
        sync_folder(store.parent)
    except OSError:
        if not (store / "store.json").exists():  # else another process has just finished the same
            raise


def _remove_superseded(store: Path, source: list) -> None:
    """Delete the stores of the same folder and shape as they were before it changed."""
    for index in store.parent.glob("*/store.json"):
        try:
            said = json.loads(index.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # another set's, damaged: it is built anew when it is asked for
            continue
        if index.parent != store and isinstance(said, dict) and said.get("source") == source:
            shutil.rmtree(index.parent, ignore_errors=True)


def read_frame(path: Path, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Decode a picture and resize it to ``size`` x ``size`` (bicubic, aspect ratio not kept, as the papers' tests do).

    Raises DataError where it cannot be decoded or is too small to show anything.
    """
    from PIL import Image

    try:
        rgb = read_picture(path, smallest=SMALLEST_SIDE)
    except DataError as error:
        raise DataError(f"{shown(path)} {error}") from None
    if rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(rgb).transpose(2, 0, 1)


def read_mask(path: Path, size: int, objects: int) -> UInt8[np.ndarray, "size size"]:
    """Decode an 8-bit mask of object numbers, resized to the nearest pixel; raise DataError where that fails."""
    from PIL import Image

    try:
        image = read_mask_picture(path)
        if image.mode not in ("1", "L", "P"):
            raise DataError(f"has mode {image.mode}; a mask is one 8-bit channel of object numbers")
        if image.info["lossy"]:
            raise DataError("is compressed with loss, which changes the numbers of a mask; save it as PNG")
    except DataError as error:
        raise DataError(f"{shown(path)} {error}") from None
    numbers = np.asarray(image.resize((size, size), Image.Resampling.NEAREST)).astype(np.uint8)
    if numbers.max() > objects:
        raise DataError(f"{shown(path)} numbers an object {numbers.max()}, but its row lists {objects}")
    return numbers


def read_waveform(path: Path, start: float, shape: ClipShape) -> Float[np.ndarray, " time"]:
    """Decode ``seconds`` of sound from ``start`` as mono at the store's rate; a shorter sound is repeated to fill it.

    Any depth and any number of channels that libsndfile reads; raises DataError where there is no sound at all.
    """
    import soundfile

    if why := why_unusable(path):
        raise DataError(f"{shown(path)} {'is missing' if why == 'does not exist' else why}")
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(min(round(start * file.samplerate), file.frames))
            wanted = int(np.ceil(shape.seconds * file.samplerate)) + 1
            heard, rate = file.read(wanted, dtype="float32", always_2d=True), file.samplerate
    except (RuntimeError, OSError) as error:  # libsndfile's errors are RuntimeErrors
        raise DataError(f"{shown(path)} is not a sound that can be decoded ({type(error).__name__})") from None
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
