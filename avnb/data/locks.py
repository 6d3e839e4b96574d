"""Files and folders that one process at a time may write, and those that a process left behind when it was killed.

A lock is the system's, which takes it back when its process ends, however that ends: none is ever stale. POSIX systems
have flock, Windows has its own; where a disk has neither it is said.
"""

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avnb.errors import DataError
from avnb.paths import shown

LOCK = "lock"  # the file in a temporary folder that its process holds
ASKED_EVERY = 0.5  # seconds after which a lock that another process holds is asked for again
ABANDONED = 24 * 3600  # seconds after which a temporary folder without a lock counts as left behind
_OWN = re.compile(r"\..+\.(\d+)\.tmp")  # what whole_file() writes
_TURN = re.compile(r"\..+\.lock")  # empty, what in_turn() holds


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock ``path`` in the block; yield False where another process holds it, or has just deleted it.

    What stands at ``path`` is neither followed, where it is a link, nor emptied. Raises DataError where it is a link or
    the disk has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | careful, 0o666)
    except OSError as error:
        if path.is_symlink():
            raise DataError(f"{shown(path)} is a link, which a lock never is; remove it.") from None
        raise DataError(f"{shown(path)} cannot be written: {error.strerror}.") from None
    try:
        yield _take(handle, path)
    finally:
        os.close(handle)  # gives the lock back


def _take(handle: int, path: Path) -> bool:
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK):
            return False
        raise DataError(
            f"{shown(path)} cannot be locked ({error.strerror}), so that a second process could write the same; use a "
            "disk that has locks."
        ) from None
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


@contextmanager
def in_turn(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold the lock beside ``path`` in the block, after the process that holds it now; ``waiting`` is printed then.

    For work that others find done and need not do again. The lock's file is deleted at the end, and by
    `remove_abandoned` where the process was killed.
    """
    path = path.with_name(f".{path.name}.lock")
    while True:
        with locked(path) as free:
            if free:
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        path.unlink()
                return
        if waiting:
            print(waiting, flush=True)
            waiting = ""
        time.sleep(ASKED_EVERY)


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new, locked folder in ``parent`` that is removed at the block's end, if it is still there.

    Those of processes that are no more are removed first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(parent)
    folder = parent / f"{name}.{os.getpid()}-{time.monotonic_ns() % 10**9}.tmp"
    folder.mkdir()
    try:
        with locked(folder / LOCK):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders and files in ``parent`` whose process is no more, and locks that nobody holds."""
    with contextlib.suppress(FileNotFoundError), os.scandir(parent) as entries:
        for entry in entries:
            path = parent / entry.name
            if _TURN.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError, DataError), locked(path) as free:
                    if free and not path.stat().st_size:
                        path.unlink()
            elif not entry.name.endswith(".tmp"):
                continue
            elif entry.is_dir(follow_symlinks=False) and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)
            elif (match := _OWN.fullmatch(entry.name)) and not _runs(int(match[1])):
                with contextlib.suppress(OSError):
                    path.unlink()


def _is_abandoned(folder: Path) -> bool:
    with contextlib.suppress(OSError, DataError):
        if not (folder / LOCK).exists():
            return time.time() - folder.stat().st_mtime > ABANDONED
        with locked(folder / LOCK) as free:
            return free
    return False


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system that cannot tell
        return True
    return True
