"""avnb-prepare and what the field puts before it: everything is used, or named; nothing outside --out changes."""

import json
import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field import RATE, cut_without_encoding, joined, sine, write
from films import film, still
from PIL import Image

from avnb.errors import DataError
from avnb.paths import file_name
from avnb.prepare import command as prepare
from avnb.prepare.annotation_files import read_text
from avnb.prepare.media_folder import list_media, safe
from avnb.prepare.plan import Plan


def run(videos: Path, out: Path, *more: str, kind: str = "folder") -> str:
    """Call the command and return the kept report, or "" where it was refused."""
    done = prepare.main([kind, "--videos", str(videos), "--out", str(out), "--workers", "1", *more])
    return (out / "report.txt").read_text() if done == 0 else ""


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]


def test_whatever_is_read_is_used_and_the_rest_is_named(tmp_path):
    folder = tmp_path / "v/cello"
    folder.mkdir(parents=True)
    for name in ("a.mp4", "b.ts", "00001.MTS", "c.m2ts", "d.mkv"):
        write(folder / Path(name).with_suffix(Path(name).suffix.lower()), 1.0).rename(folder / name)
    write(folder / "e.wmv", 1.0, codecs=("wmv2", "libmp3lame"))
    (folder / "f.mp4.part").write_bytes(b"x")
    (folder / "read me").write_text("x")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "again").symlink_to(tmp_path / "v")
    report = run(tmp_path / "v", tmp_path / "out")
    assert report.startswith("folder: 6 clips")
    assert "passed over: 4" in report
    for name in ("f.mp4.part: of no kind", "read me: without a suffix", "pipe.mp4: is a pipe", "again: is a link to a"):
        assert f"cello/{name}" in report


CONTAINERS = {
    "ts": ("libx264", "aac"), "m2ts": ("libx264", "aac"), "mpg": ("mpeg2video", "mp2"), "avi": ("mpeg4", "libmp3lame"),
    "flv": ("flv1", "libmp3lame"), "mkv": ("libx264", "aac"), "webm": ("libvpx", "libopus"), "mov": ("libx264", "aac"),
    "wmv": ("wmv2", "libmp3lame"), "ogv": ("libtheora", "libvorbis"),
}  # fmt: skip


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_every_picture_is_found_though_the_first_is_the_only_keyframe(tmp_path, suffix):
    """A jump in an MPEG transport stream leads past its only keyframe, after which nothing can be decoded."""
    if {name for name in CONTAINERS[suffix] if name not in av.codecs_available}:
        pytest.skip(f"this build of FFmpeg does not write {' and '.join(CONTAINERS[suffix])}")
    (tmp_path / "v/cello").mkdir(parents=True)
    rate = 48_000 if suffix == "webm" else RATE
    write(tmp_path / f"v/cello/a.{suffix}", 3.0, rate=rate, codecs=CONTAINERS[suffix], gop=1000)
    report = run(tmp_path / "v", tmp_path / "out")
    assert report.startswith("folder: 3 clips")
    assert "broken" not in report
    greys = [np.asarray(Image.open(tmp_path / "out" / row["file_name"])).mean() for row in rows(tmp_path / "out")]
    assert greys == pytest.approx([40 + 4 * (number % 40) for number in (12, 37, 62)], abs=12)


def test_a_broken_file_does_not_stand_before_a_good_one_of_its_name(tmp_path):
    (tmp_path / "v/cello").mkdir(parents=True)
    for name in ("t.mp4", "x.mp4"):
        write(tmp_path / "v/cello" / name, 1.0)
    (tmp_path / "v/cello/t.avi").write_bytes(b"no video at all")
    report = run(tmp_path / "v", tmp_path / "out")
    assert "cello/t.mp4: cello/t.avi has the same name and is taken, unless it is broken" in report
    assert "t.avi is broken (cannot be opened" in report
    assert "t.mp4 is used in its place" in report
    assert len(rows(tmp_path / "out")) == 2


@pytest.mark.parametrize("suffix", ["ts", "mpg", "mkv", "webm"])
def test_recordings_joined_by_cat_are_cut_to_their_end_and_said(tmp_path, suffix):
    (tmp_path / "v/cello").mkdir(parents=True)
    rate = 48_000 if suffix == "webm" else RATE
    part = write(tmp_path / f"a.{suffix}", 2.0, rate=rate, codecs=CONTAINERS[suffix])
    joined(tmp_path / f"v/cello/b.{suffix}", part, part)
    report = run(tmp_path / "v", tmp_path / "out")
    assert report.startswith("folder: 4 clips")
    assert "its clock begins again or jumps" in report
    greys = [np.asarray(Image.open(tmp_path / "out" / row["file_name"])).mean() for row in rows(tmp_path / "out")]
    assert greys == pytest.approx([40 + 4 * number for number in (12, 37, 12, 37)], abs=8)


def test_clips_that_were_cut_without_encoding_are_whole(tmp_path):
    (tmp_path / "v/cello").mkdir(parents=True)
    source = write(tmp_path / "long.mp4", 10.0, gop=250)
    cut_without_encoding(source, tmp_path / "v/cello/x.mp4", 6.0, 3.0)
    report = run(tmp_path / "v", tmp_path / "out")
    assert "damaged" not in report
    assert report.startswith("folder: 3 clips")


def test_a_photo_that_lay_is_prepared_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("frames", "audio"):
        (tmp_path / "v" / kind / "cello").mkdir(parents=True)
    Image.new("RGB", (200, 100), (0, 80, 0)).save(tmp_path / "v/frames/cello/x.jpg", exif=exif)
    soundfile.write(tmp_path / "v/audio/cello/x.wav", sine(3)[0], RATE)
    run(tmp_path / "v", tmp_path / "out")
    assert Image.open(tmp_path / "out/frames/cello-x.jpg").size == (100, 200)


def test_samples_that_are_no_numbers_are_silent_and_said(tmp_path):
    for kind in ("frames", "audio"):
        (tmp_path / "v" / kind / "cello").mkdir(parents=True)
    still(tmp_path / "v/frames/cello/x.jpg")
    sound = sine(3)[0]
    sound[RATE : 2 * RATE] = np.nan
    soundfile.write(tmp_path / "v/audio/cello/x.wav", sound, RATE, subtype="FLOAT")
    assert "44,100 samples of its sound are no numbers, and silent" in run(tmp_path / "v", tmp_path / "out")
    found, rate = soundfile.read(tmp_path / "out/audio/cello-x.flac")
    assert np.abs(found[round(1.1 * rate) : round(1.9 * rate)]).max() == 0
    assert np.abs(found).max() == pytest.approx(0.3, abs=0.02)


FACES = {
    "semicolons": "clip;x0;y0;x1;y1\naBcDeFgHiJk_0_3;0.1;0.2;0.5;0.6\n",
    "a detector's score": "clip,x0,y0,x1,y1,score\naBcDeFgHiJk_0_3,0.1,0.2,0.5,0.6,0.99\n",
    "pandas' index": ",clip,x0,y0,x1,y1\n0,aBcDeFgHiJk_0_3,0.1,0.2,0.5,0.6\n",
    "names of files": "clip,x0,y0,x1,y1\nid00017/aBcDeFgHiJk_0_3.mp4,0.1,0.2,0.5,0.6\n",
    "another order": "x0\ty0\tx1\ty1\tClip\n0.1\t0.2\t0.5\t0.6\taBcDeFgHiJk_0_3\n",
}


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speaker")
    (folder / "v/id00017").mkdir(parents=True)
    film(folder / "v/id00017/aBcDeFgHiJk_0_3.mp4", seconds=1.0)
    (folder / "voxceleb2_test.csv").write_text("/r/id00017/aBcDeFgHiJk_0_3\n")
    return folder


def faces(speaker: Path, out: Path, text: str) -> str:
    (out.parent / "faces.csv").write_text(text)
    lists = str(speaker / "voxceleb2_test.csv"), str(out.parent / "faces.csv")
    return run(speaker / "v", out, "--annotations", *lists, kind="voxceleb2")


@pytest.mark.parametrize("name", FACES)
def test_a_table_of_faces_is_read_by_its_heading(speaker, tmp_path, name):
    assert faces(speaker, tmp_path / "out", FACES[name])
    [row] = rows(tmp_path / "out")
    assert row["objects"][0]["xyxy"] == [0.1, 0.2, 0.5, 0.6]


def test_faces_that_match_nothing_or_are_two_are_named(speaker, tmp_path):
    lines = ("aBcDeFgHiJk_0_3,0.1,0.2,0.5,0.6", "aBcDeFgHiJk_0_3,0.6,0.2,0.9,0.6", "other_0_3,0,0,1,1", "short")
    text = "\n".join(["clip,x0,y0,x1,y1", *lines])
    report = faces(speaker, tmp_path / "out", text)
    for said in ("has two faces of it", "other_0_3: is among faces.csv, but in no list", "row 5: has 1 cells"):
        assert said in report
    assert rows(tmp_path / "out")[0]["objects"] == []


# ------------------------------------------------------------------------------------------------ what may be written


@pytest.fixture
def prepared(tmp_path):
    (tmp_path / "v/cello").mkdir(parents=True)
    write(tmp_path / "v/cello/a.mp4", 1.0)
    run(tmp_path / "v", tmp_path / "out")
    return tmp_path / "v", tmp_path / "out"


def test_an_output_inside_the_input_is_refused(prepared, capsys):
    videos, _ = prepared
    assert run(videos, videos / "out") == ""
    assert "so that the next call would take what this one makes for input" in capsys.readouterr().err
    (videos.parent / "file").write_text("x")
    assert run(videos, videos.parent / "file") == ""
    assert "is a file; --out is the folder to be made" in capsys.readouterr().err


def test_a_foreign_state_deletes_and_writes_nothing_outside(prepared, capsys):
    videos, out = prepared
    victim = out.parent / "victim"
    victim.write_text("mine")
    journal = out / ".prepare/journal.jsonl"
    line = journal.read_bytes()
    strange = {"key": "ab" * 16, "name": "x", "source": "x", "rows": [], "files": {"../victim": 4}, "dropped": []}
    journal.write_bytes(line + json.dumps(strange).encode() + b"\n")
    assert run(videos, out)
    assert victim.read_text() == "mine"
    for name in ("lock", "journal.jsonl"):
        (out / ".prepare" / name).unlink(missing_ok=True)
        (out / ".prepare" / name).symlink_to(victim)
        assert run(videos, out) == ""
        assert "is a link" in capsys.readouterr().err
        assert victim.read_text() == "mine"
        (out / ".prepare" / name).unlink()
    (out / ".prepare/command.json").write_text("[]")
    assert run(videos, out)


def test_a_digit_changed_in_the_journal_is_noticed(prepared):
    videos, out = prepared
    before = (out / "metadata.jsonl").read_text()
    journal = out / ".prepare/journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"start": 0.0', b'"start": 0.7'))
    assert run(videos, out)
    assert (out / "metadata.jsonl").read_text() == before


def test_a_composed_clip_of_a_foreign_name_writes_nothing_outside(tmp_path, capsys):
    from avnb.prepare.command import _planned
    from avnb.prepare.plan import Cut, Job, Options

    class Importer:
        @staticmethod
        def plan(options, made):
            yield Job("../../x", "source", "v", (Cut("../../x", "test", "duet"),))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare.importlib, "import_module", lambda name: Importer)
        with pytest.raises(DataError, match="cannot be a file's name"):
            list(_planned("folder", Options(tmp_path), Plan()))


NAMES = ["../../x", "/etc/x", "a/../b", ".hidden", "-x", "a:b", "x" * 400, "a\nb", "~", "*", ".."]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_becomes_a_part_of_a_path_that_stays_inside(name):
    one = file_name(name)
    assert "/" not in one
    assert not one.startswith((".", "-"))
    assert len(one.encode()) <= 150
    path = safe(name)
    assert all(part not in ("", ".", "..") and len(part.encode()) <= 150 for part in path.split("/"))
    assert safe(name + "1") != path


@pytest.mark.timeout(30)
def test_a_pipe_among_annotations_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match="is a pipe"):
        read_text(tmp_path / "a.csv")
    (tmp_path / "endless.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="is a pipe"):
        read_text(tmp_path / "endless.csv")


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_to = tmp_path / "v/cello"
    write_to.mkdir(parents=True)
    (write_to / "a.mp4").touch()
    (tmp_path / "v/closed").mkdir()
    scandir = os.scandir

    def refuses(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuses)
    made = Plan()
    list_media(tmp_path / "v", made)
    assert made.passed == [("closed", "cannot be read: Permission denied")]
