"""Memory-mapped arrays with a row a clip: made whole, kept, and read from a disk before they are asked for."""

import json
import os
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import DTypeLike

from avnb.data.locks import remove_abandoned
from avnb.errors import DataError
from avnb.paths import shown, sync_folder, whole_file

PART = 1 << 26  # bytes of a file that a checksum is of


def cached_array(path: Path, shape: Sequence[int], compute: Callable[[np.memmap], None]) -> np.ndarray:
    """Return the float16 array of ``path``, filling it once by ``compute(array)``; raise DataError on a full disk.

    One that is damaged, or of another shape, is filled anew; what a process that was killed has filled is deleted.
    """
    seal = path.with_suffix(".seal")
    if not _holds(path, seal, shape):
        remove_abandoned(path.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            array = new_array(temporary, np.float16, shape)
            compute(array)
            array.flush()
            with whole_file(seal) as file:
                file.write_text(json.dumps(sealed(temporary)), encoding="utf-8")
            os.replace(temporary, path)
            sync_folder(path.parent)
        except OSError as error:
            raise DataError(f"Cannot write {shown(path)}: {error.strerror}. Free some space and run again.") from None
        finally:
            temporary.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _holds(path: Path, seal: Path, shape: Sequence[int]) -> bool:
    """Tell whether a cached array is there, whole, and of the shape."""
    try:
        if not path.exists() or not is_intact(path, json.loads(seal.read_text(encoding="utf-8"))):
            return False
        return np.load(path, mmap_mode="r").shape == tuple(shape)
    except (OSError, ValueError):
        return False


def sealed(path: Path) -> dict[str, Any]:
    """Have the system write a file to its disk; return what tells that it is still what it is now: its length, when it
    was written, and checksums of PARTs.

    A file that was neither touched nor cut needs no reading to be known; one that was copied is known by its content.
    """
    with open(path, "rb+") as file:
        os.fsync(file.fileno())
    about = os.stat(path)
    return {"size": about.st_size, "mtime": about.st_mtime_ns, "checks": checksums(path)}


def is_intact(path: Path, seal: Any) -> bool:
    """Tell whether a file is what it was when it was `sealed`."""
    try:
        about = os.stat(path)
        if about.st_size != seal["size"]:
            return False
        return about.st_mtime_ns == seal["mtime"] or checksums(path) == seal["checks"]
    except (OSError, KeyError, TypeError):
        return False


def checksums(path: Path) -> list[int]:
    """Return the checksums of a file's PARTs."""

    def check(begin: int) -> int:
        with open(path, "rb") as file:
            file.seek(begin)
            value, left = 0, PART
            while left and (piece := file.read(min(left, 1 << 20))):
                value, left = zlib.crc32(piece, value), left - len(piece)
            return value

    begins = range(0, os.stat(path).st_size, PART)
    if len(begins) < 2:
        return [check(begin) for begin in begins]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # zlib lets go of the interpreter
        return list(pool.map(check, begins))


def new_array(
    path: Path, dtype: DTypeLike, shape: Sequence[int], written: Bool[np.ndarray, " rows"] | None = None
) -> np.memmap:
    """Create a memory-mapped array whose space on the disk is its own; raise OSError where there is too little.

    Without that, writing to the map of a full disk kills the process by a signal (macOS has no such call). Where only
    some rows are ``written``, the others are zeros that take no space.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, tuple(shape))
    if not hasattr(os, "posix_fallocate"):
        return array
    edges = (
        [0, len(array)] if written is None else np.flatnonzero(np.diff(written, prepend=False, append=False)).tolist()
    )
    row = array.nbytes // max(1, len(array))
    with open(path, "rb+") as file:
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            if last > first:
                os.posix_fallocate(file.fileno(), array.offset + first * row, (last - first) * row)
    return array


def announce(array: np.ndarray, rows: Int[np.ndarray, "..."]) -> None:
    """Tell the system which rows of a memory-mapped array will be asked for, so that it reads them together.

    Rows of a store that is larger than memory, read one by one as they are touched, come at a twentieth of the disk's
    rate. Where the system has no such call (macOS, Windows) they are read so, in the thread that makes batches ahead.
    """
    if not hasattr(os, "posix_fadvise") or not isinstance(array, np.memmap) or array.filename is None:
        return
    length = array.strides[0]
    with open(array.filename, "rb") as file:
        for row in np.unique(rows).tolist():
            os.posix_fadvise(file.fileno(), array.offset + row * length, length, os.POSIX_FADV_WILLNEED)
