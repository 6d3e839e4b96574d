"""Memory-mapped arrays with a row a clip: made whole, kept, and read from a disk before they are asked for."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from numpy.typing import DTypeLike

from avnb.errors import DataError
from avnb.paths import shown


def cached_array(path: Path, shape: Sequence[int], compute: Callable[[np.memmap], None]) -> np.ndarray:
    """Return the float16 array of ``path``, filling it once by ``compute(array)``; raise DataError on a full disk."""
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            array = new_array(temporary, np.float16, shape)
            compute(array)
            array.flush()
            os.replace(temporary, path)
        except OSError as error:
            raise DataError(f"Cannot write {shown(path)}: {error.strerror}. Free some space and run again.") from None
        finally:
            temporary.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def new_array(path: Path, dtype: DTypeLike, shape: Sequence[int]) -> np.memmap:
    """Create a memory-mapped array whose space on the disk is its own; raise OSError where there is too little.

    Without that, writing to the map of a full disk kills the process by a signal (macOS has no such call).
    """
    array = np.lib.format.open_memmap(path, "w+", dtype, tuple(shape))
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
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
