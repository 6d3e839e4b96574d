"""Stopped at any moment, in any way, avnb-prepare goes on where it was; in parts on several machines it ends the same.

20 kills of 500 clips are run with ``AVNB_KILLS=20``; by default there are 3 of 100 clips, to keep the suite short.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from films import film, recording, still

from avnb.data.folder import read_info, read_rows
from avnb.errors import DataError
from avnb.prepare import command as prepare
from avnb.prepare import workers

pytestmark = pytest.mark.smoke

KILLS = int(os.environ.get("AVNB_KILLS", "3"))
CLIPS = 500 if KILLS >= 20 else 100
EACH = 4  # clips of a file


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, the hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_videos(folder: Path, files: int) -> Path:
    """Films that are all links to a few, which is quick to write."""
    films = [film(folder / f"drum/{k}.mp4", (), 1, pitch=200 + 50 * k) for k in range(5)]
    for k in range(5, files):
        os.link(films[k % 5], folder / f"drum/{k}.mp4")
    return folder


def command(videos: Path, out: Path, *more: object) -> list[str]:
    arguments = [
        "folder",
        "--videos",
        videos,
        "--out",
        out,
        "--every",
        1 / EACH,
        "--seconds",
        0.5,
        "--workers",
        2,
        *more,
    ]
    return [str(part) for part in arguments]


def start(arguments: list[str]) -> subprocess.Popen:
    code = "import sys; from avnb.prepare.command import main; sys.exit(main())"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed_at_random_and_continued_it_ends_as_if_nothing_had_been(tmp_path):
    videos = write_videos(tmp_path / "videos", CLIPS // EACH)
    out, whole = tmp_path / "out", tmp_path / "whole"
    began = time.monotonic()
    assert prepare.main(command(videos, out)) == 0
    lasted = max(1.0, time.monotonic() - began)
    expected = contents(out)
    assert sum(name.startswith("frames/") for name in expected) == CLIPS
    out.rename(whole)
    draw, unfinished = random.Random(7), 0
    for kill in range(KILLS):
        process = start(command(videos, out))
        # From before anything is made to after the end; a starting interpreter takes a while of its own.
        time.sleep(draw.uniform(0.2, 0.5 + 1.2 * lasted))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (out / "dataset.json").exists():
            assert len(list(read_rows(out, read_info(out).classes))) == CLIPS
        elif (out / ".prepare/command.json").exists():
            unfinished += 1
            with pytest.raises(
                DataError, match=r"not prepared to the end\. Continue with: avnb-prepare folder --videos"
            ):
                read_info(out)
        time.sleep(0.3)  # let the workers of the killed process find out
        assert prepare.main(command(videos, out)) == 0
        assert contents(out) == expected, f"kill {kill}"
        out.rename(tmp_path / f"killed-{kill}")
    assert unfinished or KILLS < 3


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Path, Path]:
    videos, out = write_videos(tmp_path / "videos", 6), tmp_path / "out"
    assert prepare.main(command(videos, out)) == 0
    return videos, out


def test_a_second_call_makes_only_what_is_missing(prepared, capsys):
    videos, out = prepared
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*") if path.suffix in (".jpg", ".flac")}
    stamp = (out / "metadata.jsonl").stat().st_mtime_ns
    assert prepare.main(command(videos, out)) == 0
    assert (out / "metadata.jsonl").stat().st_mtime_ns == stamp  # else the store would decode all of it again
    (out / "frames/drum-3_00004.jpg").unlink()
    (out / "audio/drum-4.flac").write_bytes(b"cut short")
    film(videos / "drum/new.mp4", (), 1)
    assert prepare.main(command(videos, out)) == 0
    after = {path: path.stat().st_mtime_ns for path in before}
    changed = {path.name.split("_")[0].split(".")[0] for path in before if after[path] != before[path]}
    assert changed == {"drum-3", "drum-4"}
    assert len(list(read_rows(out, ("drum",)))) == 7 * EACH


def test_what_is_no_longer_asked_for_is_removed(prepared):
    videos, out = prepared
    (videos / "drum/2.mp4").unlink()
    assert prepare.main(command(videos, out, "--every", 0.5)) == 0
    rows = list(read_rows(out, ("drum",)))
    assert len(rows) == 5 * 2
    assert {row.frame for row in rows} == {f"frames/{path.name}" for path in (out / "frames").iterdir()}


def test_a_folder_in_the_making_is_no_benchmark(prepared):
    videos, out = prepared
    film(videos / "drum/new.mp4", (), 1)
    (out / "dataset.json").unlink()
    with pytest.raises(DataError, match="Continue with: avnb-prepare folder"):
        read_info(out)


def test_a_torn_journal_is_read_to_the_tear(prepared):
    videos, out = prepared
    expected = contents(out)
    journal = out / ".prepare/journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-200])
    (out / "dataset.json").unlink()
    assert prepare.main(command(videos, out)) == 0
    assert contents(out) == expected


def test_a_journal_damaged_in_the_middle_costs_one_file(prepared):
    videos, out = prepared
    expected = contents(out)
    journal = out / ".prepare/journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:60] + b"\0\0\0" + lines[2][63:]
    journal.write_bytes(b"".join(lines))
    made = {path: path.stat().st_mtime_ns for path in (out / "audio").iterdir()}
    assert prepare.main(command(videos, out)) == 0
    assert contents(out) == expected
    assert sum(path.stat().st_mtime_ns != stamp for path, stamp in made.items()) == 1


def test_two_at_a_time_are_refused(prepared, capsys):
    videos, out = prepared
    with prepare.only_one(out):
        assert prepare.main(command(videos, out)) == 1
    assert "is being written by another avnb-prepare" in capsys.readouterr().err


def test_another_data_set_does_not_take_over_a_folder(prepared, capsys, tmp_path):
    videos, out = prepared
    assert prepare.main(["kinetics400", *command(videos, out)[1:]]) == 1
    assert 'holds "folder", part 1/1' in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/dataset.json").write_text("{}")
    assert prepare.main(command(videos, tmp_path / "mine")) == 1
    assert "a benchmark that avnb-prepare did not make" in capsys.readouterr().err


def test_parts_of_several_machines_merge_to_what_one_would_have_made(prepared, tmp_path, capsys):
    videos, out = prepared
    parts = [tmp_path / f"part-{k}" for k in (1, 2, 3)]
    for number, part in enumerate(parts, start=1):
        assert prepare.main(command(videos, part, "--shard", f"{number}/3")) == 0
    names = [{path.name for path in (part / "frames").iterdir()} for part in parts]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    merged = tmp_path / "merged/out"
    assert prepare.main(["merge", *map(str, parts), "--out", str(merged)]) == 0
    expected = {name: data for name, data in contents(out).items() if not name.startswith((".prepare", "report"))}
    found = contents(merged)
    assert found == expected
    assert prepare.main(["merge", str(parts[0]), str(parts[0]), "--out", str(tmp_path / "twice")]) == 1
    assert "is in two of the parts" in capsys.readouterr().err


def test_parts_that_are_not_as_they_were_written_are_refused(prepared, tmp_path, capsys):
    videos, _ = prepared
    part = tmp_path / "part"
    assert prepare.main(command(videos, part, "--shard", "1/2")) == 0
    lines = (part / "metadata.jsonl").read_text().splitlines(keepends=True)
    for text, why in (
        ("".join(reversed(lines)), "not in the order in which avnb-prepare writes"),
        ("{", "cannot be read"),
    ):
        (part / "metadata.jsonl").write_text(text)
        assert prepare.main(["merge", str(part), "--out", str(tmp_path / "merged")]) == 1
        assert why in capsys.readouterr().err
    (part / "metadata.jsonl").unlink()
    assert prepare.main(["merge", str(part), "--out", str(tmp_path / "merged")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


# Worker processes


def request(tmp_path: Path, source: Path) -> workers.Request:
    clip = {"id": "c", "split": "train", "subset": "solo", "labels": [], "things": [], "time": 0.5, "frame": None,
            "picture": str(still(tmp_path / "c.jpg")), "mask": None}  # fmt: skip
    job = {"id": "j", "source": str(source), "video": "v", "cuts": [clip], "every": 0.0, "of": []}
    return {"job": job, "folder": str(tmp_path), "rate": 8000, "seconds": 0.5}


def done(requests: list[workers.Request], tmp_path: Path, count: int = 1) -> dict[int, workers.Result]:
    results: dict[int, workers.Result] = {}
    workers.do_all(iter(enumerate(requests)), count, tmp_path / "scratch", results.__setitem__)
    return results


def worker_that(does: str) -> list[str]:
    """Return the command of a worker in whose module ``cut`` something is done before it takes jobs."""
    return [sys.executable, "-c", f"import os, sys\nimport avnb.prepare.cut as cut\n{does}\ncut.main()"]


def test_a_decoder_that_crashes_costs_one_file(tmp_path, monkeypatch):
    fine, fatal = recording(tmp_path / "fine.wav", 1), recording(tmp_path / "fatal.wav", 1)
    crash = "cut.open_source = lambda path, really=cut.open_source: os.abort() if 'fatal' in path else really(path)"
    monkeypatch.setattr(workers, "COMMAND", worker_that(crash))
    results = done([request(tmp_path, path) for path in (fine, fatal, fine)], tmp_path)
    assert [len(results[k]["rows"]) for k in range(3)] == [1, 0, 1]
    assert results[1]["broken"].startswith("the decoder crashed (SIGABRT" if os.name == "posix" else "the decoder")


def test_a_mistake_of_our_own_is_told_apart_from_a_crash_of_the_decoder(tmp_path):
    fine = recording(tmp_path / "fine.wav", 1)
    mistaken = request(tmp_path, fine)
    mistaken["job"]["cuts"][0]["things"] = [{"label": "drum"}]
    results = done([request(tmp_path, fine), mistaken, request(tmp_path, fine)], tmp_path)
    assert [len(results[k]["rows"]) for k in range(3)] == [1, 0, 1]
    assert "broken" not in results[1]
    assert re.fullmatch(r"KeyError: 'xyxy' \(avnb/prepare/cut\.py, line \d+, in .*\)", results[1]["failed"])


@pytest.mark.parametrize("by", ["a name that the decoder does not know", "an exception that nobody catches"])
def test_what_fails_by_our_own_mistake_is_reported_and_tried_again(tmp_path, monkeypatch, capsys, by):
    videos = write_videos(tmp_path / "videos", 3)
    does = {
        "a name that the decoder does not know": (
            "import avnb.prepare.decoding as decoding\n"
            "odd = lambda path: {'nonsense': 1} if '1.mp4' in path else {}\n"
            "decoding.open_media = lambda path, **more: cut.av.open(path, **odd(path))",
            "TypeError: open() got an unexpected keyword argument 'nonsense' (avnb/prepare/decoding.py, line ",
        ),
        "an exception that nobody catches": (
            "cut.attempt = lambda said, really=cut.attempt: 1 / 0 if '1.mp4' in str(said) else really(said)",
            "ZeroDivisionError: division by zero",
        ),
    }[by]
    with monkeypatch.context() as patch:
        patch.setattr(workers, "COMMAND", worker_that(does[0]))
        assert prepare.main(command(videos, tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert "failed by a mistake of avnb's own, not of the file" in said
    assert does[1] in said
    assert "broken files" not in said
    assert prepare.main(command(videos, tmp_path / "out")) == 0
    assert "mistake" not in capsys.readouterr().out
    assert prepare.main(command(videos, tmp_path / "straight/out")) == 0
    again, straight = (contents(tmp_path / name) for name in ("out", "straight/out"))
    del again[".prepare/command.json"], straight[".prepare/command.json"]  # they name their folders
    assert again == straight


def test_a_worker_that_cannot_start_is_said_once_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, "-c", "import no_such_decoder"])
    with pytest.raises(DataError, match=r"cannot start \(ModuleNotFoundError: No module named 'no_such_decoder'\)"):
        done([request(tmp_path, recording(tmp_path / "fine.wav", 1))], tmp_path)


def test_a_worker_that_hangs_costs_one_file_this_time(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 20.0)  # more than a worker takes to start on a busy machine
    fine, slow = recording(tmp_path / "fine.wav", 1), recording(tmp_path / "slow.wav", 1)
    hang = (
        "import time\n"
        "cut.open_source = lambda path, really=cut.open_source: time.sleep(99) if 'slow' in path else really(path)"
    )
    monkeypatch.setattr(workers, "COMMAND", worker_that(hang))
    results = done([request(tmp_path, slow), request(tmp_path, fine)], tmp_path)
    assert results[0]["again"] == "took more than 20 s"
    assert len(results[1]["rows"]) == 1


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_worker_that_is_ended_from_outside_is_asked_again_and_so_is_the_file_by_the_next_call(tmp_path, monkeypatch):
    """Out of memory, the system ends a worker that has done nothing wrong: its file is no broken file."""
    videos = write_videos(tmp_path / "videos", 3)
    kill = (
        "import signal\nfrom pathlib import Path\n"
        "def once(path, really=cut.open_source, mark=Path({mark!r})):\n"
        "    if '1.mp4' in path and len(list(mark.iterdir())) < {times}:\n"
        "        (mark / str(os.getpid())).touch()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return really(path)\n"
        "cut.open_source = once"
    )
    for times, complete in ((1, True), (99, False)):
        (tmp_path / f"marks{times}").mkdir()
        does = kill.format(mark=str(tmp_path / f"marks{times}"), times=times)
        with monkeypatch.context() as patch:
            patch.setattr(workers, "COMMAND", worker_that(does))
            out = tmp_path / f"out{times}"
            assert prepare.main(command(videos, out)) == 0
        report = (out / "report.txt").read_text()
        assert ("not decoded this time (the next call tries again): 1" in report) != complete
        assert prepare.main(command(videos, out)) == 0
        assert "not decoded" not in (out / "report.txt").read_text()


def test_workers_end_with_the_process_that_started_them(tmp_path):
    videos = write_videos(tmp_path / "videos", 40)
    process = start(command(videos, tmp_path / "out"))
    journal = tmp_path / "out/.prepare/journal.jsonl"
    for _ in range(600):
        if journal.exists() and journal.stat().st_size:
            break
        time.sleep(0.05)
    children = (
        [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(int(pid)) == process.pid]
        if (os.path.isdir("/proc"))
        else []
    )
    process.kill()
    process.communicate()
    if not children:
        pytest.skip("this system does not list the children of a process")
    for _ in range(100):
        if not any(os.path.exists(f"/proc/{pid}") and _parent(pid) is not None for pid in children):
            break
        time.sleep(0.1)
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def test_what_goes_wrong_in_keeping_a_result_stops_everything(tmp_path):
    fine = recording(tmp_path / "fine.wav", 1)

    def keep(number: int, result: workers.Result) -> None:
        raise DataError("the disk is full")

    with pytest.raises(DataError, match="the disk is full"):
        workers.do_all(iter(enumerate([request(tmp_path, fine)] * 20)), 2, tmp_path / "scratch", keep)
