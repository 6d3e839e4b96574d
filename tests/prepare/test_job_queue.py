"""Tables on the disk behave as the dictionaries they stand for, and jobs are planned as they are wanted."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avnb.data import scratch
from avnb.data.scratch import Names
from avnb.errors import DataError
from avnb.prepare import command as prepare
from avnb.prepare.job_queue import AHEAD, Queue
from avnb.prepare.media_folder import list_media
from avnb.prepare.plan import Cut, Job, Options

pytestmark = pytest.mark.smoke


def jobs(count: int, planned: list[int] | None = None) -> Iterator[Job]:
    for k in range(count):
        if planned is not None:
            planned.append(k)
        yield Job(f"clip{k * 7919 % count}", f"/videos/{k}.mp4", f"v{k}", (Cut("c", "train", "solo", ("drum",)),))


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(st.tuples(text, text), max_size=40))
def test_names_are_a_sorted_dictionary_that_keeps_the_smaller_text(pairs):
    names, expected = Names(pairs[:20]), {}
    names.add(iter(pairs[20:]))
    for name, value in pairs:
        expected[name] = min(value, expected.get(name, value))
    assert list(names.pairs()) == sorted(expected.items())
    assert dict(names) == expected
    assert list(names) == sorted(expected)
    assert (len(names), bool(names)) == (len(expected), bool(expected))
    assert names.get("not so short a name") is None


@pytest.mark.parametrize("count", [0, 1, AHEAD - 1, AHEAD, AHEAD + 1, 10 * AHEAD])
def test_every_job_comes_once_and_in_the_planned_order(count):
    queue = Queue(jobs(count))
    found = list(queue)
    assert found == list(enumerate(jobs(count)))
    assert queue.total == queue.planned == count


def test_jobs_are_planned_a_little_ahead_and_their_number_is_known_early():
    planned: list[int] = []
    queue = Queue(jobs(100 * AHEAD, planned))
    assert (len(planned), queue.total) == (AHEAD, None)
    for place, _ in queue:
        assert place < len(planned) <= (place + 1) * AHEAD
        if queue.total is not None:
            break
    assert place <= 101
    assert queue.total == 100 * AHEAD


def test_keys_come_by_the_names_of_the_files():
    queue = Queue(jobs(120))
    for place, job in queue:
        queue.set_key(place, job.id.encode())
    names = sorted(f"clip{k}.flac" for k in range(120))
    assert [key.decode() + ".flac" for key in queue.sorted_keys()] == names


def test_two_jobs_of_one_name_are_refused_with_both_files():
    def twins() -> Iterator[Job]:
        yield from jobs(3)
        yield Job("clip0", "/videos/again.mp4", "v", ())

    with pytest.raises(DataError, match=r'would both become "clip0": /videos/0.mp4 and /videos/again.mp4. Rename one'):
        Queue(twins())


def test_files_come_in_the_order_of_their_names_from_any_depth(tmp_path):
    names = ["b/z.mp4", "b/a.MP4", "a.webm", "a.mp4", "c/d/e.mkv", ".hidden/x.mp4", "c/.x.mp4", "c/notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    media = list_media(tmp_path)
    expected = [("a", "a.mp4"), ("b/a", "b/a.MP4"), ("b/z", "b/z.mp4"), ("c/d/e", "c/d/e.mkv")]
    assert list(media.videos.pairs()) == expected
    assert not media.pictures
    assert not media.sounds


def test_a_full_folder_of_temporary_files_is_named(tmp_path, monkeypatch):
    new_database = scratch.new_database

    def small() -> sqlite3.Connection:
        database = new_database()
        database.execute("PRAGMA max_page_count = 3")
        return database

    monkeypatch.setattr(scratch, "new_database", small)
    (tmp_path / "videos/drum").mkdir(parents=True)
    for k in range(2000):
        (tmp_path / f"videos/drum/a long name, so that few of them fill a page {k}.mp4").touch()
    with pytest.raises(DataError, match=r"list of clips cannot be kept in .* set TMPDIR to a folder that has it"):
        prepare.prepare("folder", Options(tmp_path / "videos"), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
