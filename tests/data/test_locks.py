"""Work that one process does and others wait for: what they find when it is done, and when the process dies."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from avnb.data import build
from avnb.data.arrays import cached_array
from avnb.data.build import open_store
from avnb.data.locks import locked, remove_abandoned
from avnb.data.store import ClipShape
from avnb.standin.build import whole_folder

fcntl = pytest.importorskip("fcntl", reason="another system's locks")
SMALL = ClipShape(size=16, rate=8000, seconds=0.1)
NOBODY = 1 << 30  # the number of no process
HOLDER = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen]]:
    """A function that starts a process which holds a lock until it is killed."""
    started = []

    def start(lock: Path) -> subprocess.Popen:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-S", "-c", HOLDER, str(lock)], **pipes))
        assert started[-1].stdout.readline() == b"held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def aside() -> Iterator[Callable[..., Future]]:
    """A function that does something in a thread beside the test."""
    with ThreadPoolExecutor(2) as pool:
        yield pool.submit


def waits(future: Future) -> bool:
    time.sleep(0.3)
    return not future.done()


def test_a_store_that_another_process_decodes_is_waited_for_until_that_one_dies(tiny, hold, aside, capsys):
    folder = open_store(tiny / "data" / "tiny", SMALL, progress=False).folder
    shutil.rmtree(folder)
    other = hold(folder.with_name(f".{folder.name}.lock"))
    left = folder.with_name(f"{folder.name}.{other.pid}-1.tmp")
    left.mkdir()
    (left / "lock").touch()
    opened = aside(open_store, tiny / "data" / "tiny", SMALL)
    assert waits(opened)
    assert '"tiny" is being decoded by another process, which is waited for.' in capsys.readouterr().out
    other.kill()
    assert len(opened.result(timeout=30)) == 48
    assert list(folder.parent.iterdir()) == [folder]


def test_two_that_ask_for_a_store_at_once_decode_it_once(tiny, aside, monkeypatch):
    decode, decoded = build._decode, []

    def slowly(*asked):
        decoded.append(asked)
        time.sleep(0.3)
        return decode(*asked)

    monkeypatch.setattr(build, "_decode", slowly)
    asked = [aside(open_store, tiny / "data" / "tiny", SMALL, False) for _ in range(2)]
    one, other = (future.result(timeout=30) for future in asked)
    assert one.folder == other.folder
    assert len(decoded) == 1
    assert list(one.folder.parent.iterdir()) == [one.folder]


def test_a_stand_in_that_another_process_renders_is_waited_for(tmp_path, hold, aside, capsys):
    def taken() -> Path | None:
        with whole_folder(tmp_path / "music") as temporary:
            return temporary

    other = hold(tmp_path / ".music.lock")
    found = aside(taken)
    assert waits(found)
    assert "music is being rendered by another process, which is waited for." in capsys.readouterr().out
    (tmp_path / "music").mkdir()
    (tmp_path / "music" / "dataset.json").touch()
    other.kill()
    assert found.result(timeout=30) is None
    assert [path.name for path in tmp_path.iterdir()] == ["music"]


def test_locks_that_nobody_holds_are_deleted_and_nothing_else(tmp_path, hold):
    hold(tmp_path / ".held.lock")
    (tmp_path / ".left.lock").touch()
    (tmp_path / ".somebodys.lock").write_text("a note")
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".held.lock", ".somebodys.lock"]


def test_a_lock_whose_file_is_deleted_before_it_is_taken_is_none(tmp_path, monkeypatch):
    """Its holder deletes it at the end of its turn: a third process, which makes another one, would not see this."""
    path, flock = tmp_path / "lock", fcntl.flock

    def late(*asked):
        path.unlink()
        return flock(*asked)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(path) as free:
        assert not free


def test_an_array_that_a_killed_process_has_half_filled_is_deleted_by_the_next(tmp_path):
    (tmp_path / f".maps.npy.{NOBODY}.tmp").write_bytes(b"half")
    array = cached_array(tmp_path / "maps.npy", (2, 3), lambda array: array.fill(1))
    assert np.array_equal(array, np.ones((2, 3)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps.npy", "maps.seal"]
