"""What avnb-prepare has made so far, so that a run that was stopped, in whatever way, goes on where it was.

A folder in the making holds ``.prepare/``: ``command.json`` with the command that continues it, ``journal.jsonl`` with
a line a finished job, written once its files stand, and ``tmp/`` for files in the making. A folder is a benchmark from
the moment dataset.json stands in it, which is written last and removed first.
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avnb.data.locks import locked
from avnb.data.scratch import Names, new_database
from avnb.errors import DataError
from avnb.paths import inside, is_inside, shown, whole_file
from avnb.prepare.plan import Job

FORMAT = 2  # of what is written for a job; another number makes everything anew


_BEGIN = b'{"key": "'  # of a line, before the 32 digits of the key
_CHECK = b'"check": '  # before the digits of a line's checksum, which stand last


class Journal:
    """The finished jobs of a folder in the making."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.state = self.folder / ".prepare"
        self.path = self.state / "journal.jsonl"
        self.scratch = self.state / "tmp"
        self.index = new_database()
        self.index.execute("CREATE TABLE lines (key BLOB PRIMARY KEY, place INTEGER) WITHOUT ROWID")
        for folder in (self.state, self.scratch, *(self.folder / kind for kind in ("frames", "audio", "masks"))):
            no_link(folder)
        self.state.mkdir(parents=True, exist_ok=True)
        self.file = _open(self.path)
        self._read()

    def _read(self) -> None:
        """Index the lines; one that a kill has cut short, and whatever follows it, is cut off."""

        def lines() -> Iterator[tuple[bytes, int]]:
            nonlocal end
            for line in self.file:
                try:
                    key = bytes.fromhex(line[len(_BEGIN) : len(_BEGIN) + 32].decode())
                except ValueError:
                    return
                if not (line.startswith(_BEGIN) and line.endswith(b"}\n") and len(key) == 16):
                    return
                yield key, end
                end += len(line)

        end = 0
        self.file.seek(0)
        self.index.execute("BEGIN")
        self.index.executemany("REPLACE INTO lines VALUES (?, ?)", lines())
        self.index.execute("COMMIT")
        self.file.truncate(end)
        self.file.seek(end)

    def clear(self) -> None:
        """Remove what a killed run left half-written."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        for left in (*self.folder.glob(".*.tmp"), *self.state.glob(".*.tmp")):
            left.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        self.index.close()

    def add(self, key: bytes, entry: dict[str, Any]) -> None:
        """Write down that a job is done: one write, so that a kill leaves the line out or whole or last."""
        line = _checked(json.dumps({"key": key.hex()} | entry).encode())
        self.index.execute("REPLACE INTO lines VALUES (?, ?)", (key, self.file.seek(0, os.SEEK_END)))
        self.file.write(line)
        self.file.flush()

    def entry(self, key: bytes) -> dict[str, Any] | None:
        """Return what was written down for a job, None where there is nothing or what there is has been damaged."""
        line = self._line(key)
        place = line.rfind(_CHECK)
        if place < 0 or line != _checked(line[:place].rstrip(b", ") + b"}"):
            return None
        entry = json.loads(line)
        entry.pop("check")
        if not {"rows", "files", "dropped"} <= entry.keys() or not all(map(is_inside, entry["files"])):
            return None
        return entry

    def _line(self, key: bytes) -> bytes:
        """Return a job's line as it stands in the file, nothing where there is none."""
        found = self.index.execute("SELECT place FROM lines WHERE key = ?", (key,)).fetchone()
        if found is None:
            return b""
        self.file.seek(found[0])
        return self.file.readline()

    def stands(self, key: bytes) -> bool:
        """Tell whether a job is done and its files are there in full; what failed by our own mistake is not done."""
        entry = self.entry(key)
        try:
            return (entry is not None and "failed" not in entry and "again" not in entry) and all(
                os.stat(self.folder / name).st_size == size for name, size in entry["files"].items()
            )
        except OSError:
            return False

    def close_up(self, keys: Callable[[], Iterable[bytes]]) -> None:
        """Keep the lines of ``keys``, in that order, and delete the files of all others that no kept job has."""
        self.index.execute("CREATE TABLE kept (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self.index.executemany("INSERT INTO kept VALUES (?)", ((key,) for key in keys()))
        others = "SELECT key FROM lines WHERE key NOT IN (SELECT key FROM kept)"
        if self.index.execute(others).fetchone():
            stay = (self.entry(key) for key in keys())
            files = Names((name, "") for entry in stay for name in (entry or {"files": ()})["files"])
            for (key,) in self.index.execute(others):
                for name in (self.entry(key) or {"files": ()})["files"]:
                    if name not in files:
                        inside(self.folder, name).unlink(missing_ok=True)
        with whole_file(self.path) as temporary:
            with open(temporary, "wb") as file:
                file.writelines(map(self._line, keys()))
            self.file.close()  # Windows lets no open file be replaced
        shutil.rmtree(self.scratch, ignore_errors=True)


def key_of(job: Job, rate: int, seconds: float) -> bytes:
    """Return a name for a job and all that its result depends on, the files it reads included."""
    files = sorted({job.source, *(path for cut in job.cuts for path in (cut.picture, cut.mask) if path)})
    stamps = []
    for path in files:
        try:
            stat = os.stat(path)
            stamps.append((path, stat.st_size, stat.st_mtime_ns))
        except OSError:
            stamps.append((path, -1, 0))
    return hashlib.sha256(repr((FORMAT, job, rate, seconds, stamps)).encode()).digest()[:16]


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let one process at a time write a folder; raise DataError in the second."""
    no_link(folder / ".prepare")
    with locked(folder / ".prepare" / "lock") as free:
        if not free:
            raise DataError(f"{shown(folder)} is being written by another avnb-prepare; wait for it to end.")
        yield


def no_link(folder: Path) -> None:
    """Raise DataError where a folder that is written to is a link: what is elsewhere would be written over."""
    if folder.is_symlink():
        raise DataError(f"{shown(folder)} is a link, which avnb-prepare never makes; remove it.")


def _open(path: Path) -> Any:
    """Open a file to be read and appended to, but not one elsewhere that a link names; the caller closes it."""
    try:
        careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | careful, 0o666), "a+b")
    except OSError as error:
        why = (
            "is a link, which avnb-prepare never makes" if path.is_symlink() else f"cannot be written: {error.strerror}"
        )
        raise DataError(f"{shown(path)} {why}; remove it.") from None


def _checked(line: bytes) -> bytes:
    """Return a JSON object on a line of its own, its checksum as the last of its values."""
    return b"%s, %s%d}\n" % (line[:-1], _CHECK, zlib.crc32(line))
