"""What is cut from a file: the right frame, the right sound, and a sentence where there is neither."""

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from films import RATE, RATES, RED, film, number_in, recording, still, tone
from PIL import Image

from avnb.errors import DataError
from avnb.prepare import cut as cutting
from avnb.prepare import decoding
from avnb.prepare.cut import attempt, cut
from avnb.prepare.plan import Cut, Job

pytestmark = pytest.mark.smoke

VIDEO = "4Oy5VmaacaI"


def cut_at(path: Path, times: list[float], out: Path, **shape: Any) -> dict[str, Any]:
    """Cut clips of one second at 8 kHz around ``times``."""
    cuts = tuple(Cut(f"clip_{k}", "train", "solo", time=time) for k, time in enumerate(times))
    scratch = out / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    return cut(Job("job", str(path), "video", cuts), out, scratch, **({"rate": 8000, "seconds": 1.0} | shape))


def numbers(result: dict[str, Any], out: Path) -> list[int]:
    return [number_in(np.asarray(Image.open(out / row["file_name"]))) for row in result["rows"]]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("fps", RATES)
def test_frame_numbers_at_30_a_second_find_the_frame_on_the_screen_at_that_time(tmp_path, suffix, fps):
    path = film(tmp_path / f"{VIDEO}{suffix}", (), 3, fps)
    counted = [0, 1, 7, 14, 21, 30, 37, 44, 51, 60, 67, 74]  # DSOL's, in frames at 30 a second
    found = numbers(cut_at(path, [number / 30 for number in counted], tmp_path / "out"), tmp_path / "out")
    # The frame that re-encoding to 30 a second would have shown: the last that starts at most half a frame later.
    starts = [k / RATES[fps] for k in range(round(3 * RATES[fps]))]
    expected = [max(k for k, start in enumerate(starts) if start <= number / 30 + 1 / 60) for number in counted]
    assert found == expected


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_jumping_to_a_far_frame_finds_the_same_as_decoding_everything(tmp_path, suffix, monkeypatch):
    path = film(tmp_path / f"{VIDEO}{suffix}", (), 12, 25)
    times = [0.2, 6.02, 11.4]
    jumped = numbers(cut_at(path, times, tmp_path / "jumped"), tmp_path / "jumped")
    monkeypatch.setattr(decoding, "SEEK_OVER", 100.0)
    assert jumped == numbers(cut_at(path, times, tmp_path / "read"), tmp_path / "read") == [5, 150, 285]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".wav", ".flac"])
def test_sound_is_that_of_the_time(tmp_path, suffix):
    if suffix in (".mp4", ".webm"):
        path = film(tmp_path / f"{VIDEO}{suffix}", (), 9, 25)
        result = cut_at(path, [1.0, 7.5], tmp_path / "out", rate=RATE)
    else:
        path = recording(tmp_path / f"{VIDEO}{suffix}", 9)
        picture = still(tmp_path / "still.jpg")
        cuts = tuple(Cut(f"{time}", "train", "solo", time=time, picture=str(picture)) for time in (1.0, 7.5))
        (tmp_path / "out/scratch").mkdir(parents=True)
        result = cut(Job("job", str(path), "video", cuts), tmp_path / "out", tmp_path / "out/scratch", RATE, 1.0)
    samples, rate = soundfile.read(tmp_path / "out" / result["rows"][0]["audio"])
    assert rate == RATE
    assert len(samples) == 7.5 * RATE  # from the first clip's half second before its frame to the last one's end
    expected = tone(9)[round(0.5 * RATE) : round(8.0 * RATE)]
    for row, time in zip(result["rows"], (1.0, 7.5), strict=True):
        assert row["start"] == pytest.approx(time - 1.0, abs=1e-4)
    envelope, wanted = (np.abs(s[: 7 * RATE]).reshape(70, -1).max(axis=1) for s in (samples, expected))
    # Every tenth of a second is as loud as it should be; loudness grows by 0.01 in each, AAC changes less than that.
    np.testing.assert_allclose(envelope, wanted, atol=0.012)


def test_clips_at_the_ends_have_their_full_sound_inside_the_file(tmp_path):
    path = film(tmp_path / f"{VIDEO}.mp4", (), 3)
    result = cut_at(path, [0.0, 2.9], tmp_path / "out")
    samples, rate = soundfile.read(tmp_path / "out/audio/job.flac")
    for row in result["rows"]:
        assert (len(samples) - row["start"] * rate) >= rate - 1


def test_stereo_of_any_rate_becomes_mono_at_the_asked_rate(tmp_path):
    both = np.stack([tone(2, rate=44_100), np.zeros(88_200, np.float32)], axis=1)
    soundfile.write(tmp_path / "s.wav", both, 44_100)
    clip = Cut("c", "train", "solo", time=1.0, picture=str(still(tmp_path / "s.jpg")))
    (tmp_path / "scratch").mkdir()
    cut(Job("job", str(tmp_path / "s.wav"), "v", (clip,)), tmp_path, tmp_path / "scratch", 8000, 2.0)
    samples, rate = soundfile.read(tmp_path / "audio/job.flac")
    assert (rate, samples.shape) == (8000, (16_000,))
    assert np.abs(samples).max() == pytest.approx(np.abs(tone(2)).max() / 2, rel=0.05)  # the mean of the channels


def test_large_pictures_are_written_small(tmp_path):
    with av.open(tmp_path / f"{VIDEO}.mp4", "w") as file:
        video = file.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        audio = file.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(10):
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((720, 1280, 3), np.uint8), format="rgb24")))
        for _ in range(16):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.int16), format="s16", layout="mono")
            frame.rate = RATE
            file.mux(audio.encode(frame))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    cut_at(tmp_path / f"{VIDEO}.mp4", [0.5], tmp_path / "out")
    assert Image.open(tmp_path / "out/frames/clip_0.jpg").size == (455, 256)


def test_a_time_after_the_end_is_said(tmp_path):
    path = film(tmp_path / f"{VIDEO}.mp4", (), 2)
    result = cut_at(path, [1.0, 5.0], tmp_path / "out")
    assert [row["id"] for row in result["rows"]] == ["clip_0"]
    assert result["dropped"] == [("clip_1", "the picture ends at 2.00 s, there is none at 5.00 s")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "cannot be opened"),
        (b"not a video at all" * 100, "cannot be opened"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "cannot be opened"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "cannot be opened"),
    ],
    ids=["empty", "text", "play list", "list of files"],
)
def test_what_is_no_video_is_not_opened(tmp_path, content, why):
    (tmp_path / "x.mp4").write_bytes(content)
    with pytest.raises(DataError, match=why):
        cut_at(tmp_path / "x.mp4", [0.5], tmp_path / "out")


def test_a_film_without_sound_is_said(tmp_path):
    with av.open(tmp_path / "x.mp4", "w") as file:
        video = file.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        file.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(video.encode(None))
    with pytest.raises(DataError, match="it has no sound"):
        cut_at(tmp_path / "x.mp4", [0.0], tmp_path / "out")


def test_a_frame_that_depends_on_damage_is_left_out_and_named(tmp_path):
    data = bytearray(film(tmp_path / f"{VIDEO}.mp4", [((0.2, 0.2, 0.8, 0.8), RED)], 4).read_bytes())
    with av.open(tmp_path / f"{VIDEO}.mp4") as file:
        places = [(float(p.pts * p.time_base), p.pos, p.size) for p in file.demux(video=0) if p.size]
    middle = [(at, size) for time, at, size in places if 1.9 < time < 2.2]
    for at, size in middle:
        data[at + 6 : at + size] = bytes(max(0, size - 6))
    (tmp_path / "damaged.mp4").write_bytes(data)
    result = cut_at(tmp_path / "damaged.mp4", [0.5, 2.2, 3.8], tmp_path / "out")
    assert [row["id"] for row in result["rows"]] == ["clip_0", "clip_2"]
    assert result["dropped"] == [("clip_1", "the picture is damaged at 2.20 s")]


def test_a_hole_in_the_sound_is_silent_and_said(tmp_path):
    source = film(tmp_path / f"{VIDEO}.mp4", (), 4)
    with av.open(source) as old, av.open(tmp_path / "hole.mkv", "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams}
        for packet in old.demux():
            time = packet.pts is not None and float(packet.pts * packet.time_base)
            if packet.size and not (packet.stream.type == "audio" and 1.0 < time < 2.0):
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    result = cut_at(tmp_path / "hole.mkv", [0.5, 3.5], tmp_path / "out", rate=RATE)
    samples, _ = soundfile.read(tmp_path / "out/audio/job.flac")
    assert np.abs(samples[round(1.2 * RATE) : round(1.9 * RATE)]).max() == 0
    assert np.abs(samples[round(3.0 * RATE) : round(3.1 * RATE)]).max() == pytest.approx(0.31, abs=0.02)
    assert result["dropped"][0][0] == "job"
    assert "sound is missing at 1.0" in result["dropped"][0][1]


def test_a_full_disk_is_told_apart_from_a_broken_file(tmp_path, monkeypatch):
    path = film(tmp_path / f"{VIDEO}.mp4", (), 2)
    job = Job("job", str(path), "video", (Cut("c", "train", "solo", time=1.0),))

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", no_space)
    monkeypatch.setattr(cutting, "ROOM", 1 << 62)
    said = {"job": json.loads(json.dumps(asdict(job))), "folder": str(tmp_path), "scratch": str(tmp_path / "s")}
    assert "No space" in attempt(said | {"rate": 8000, "seconds": 1.0})["full"].replace("no space", "No space")


def test_a_job_leaves_nothing_in_the_making_behind(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(film(tmp_path / f"{VIDEO}.mp4", (), 2).read_bytes()[:3000])
    for name in (f"{VIDEO}.mp4", "broken.mp4"):
        job = Job("job", str(tmp_path / name), "video", (Cut("c", "train", "solo", time=1.0),))
        said = {"job": json.loads(json.dumps(asdict(job))), "folder": str(tmp_path), "scratch": str(tmp_path / "s")}
        attempt(said | {"rate": 8000, "seconds": 1.0})
        assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_a_film_held_upright_is_turned_as_a_player_turns_it(tmp_path, degrees):
    with av.open(tmp_path / f"{VIDEO}.mp4", "w") as file:
        video = file.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        video.set_display_rotation(degrees)
        audio = file.add_stream("aac", rate=RATE, layout="mono")
        upright = np.full((96, 128, 3), 100, np.uint8)
        upright[:48, :64] = RED  # the upper left quarter
        for _ in range(10):
            file.mux(video.encode(av.VideoFrame.from_ndarray(upright, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        frame.rate = RATE
        for packets in (audio.encode(frame), video.encode(None), audio.encode(None)):
            file.mux(packets)
    cut_at(tmp_path / f"{VIDEO}.mp4", [0.5], tmp_path / "out")
    turned = np.asarray(Image.open(tmp_path / "out/frames/clip_0.jpg")).astype(int)
    expected = np.rot90(upright, degrees // 90)  # counter-clockwise, as the file's display matrix says
    assert turned.shape == expected.shape
    assert np.abs(turned - expected).mean() < 4  # JPEG; a wrong quarter would be off by 60 and more in half the picture


def test_a_header_that_stretches_the_sound_to_hours_is_refused(tmp_path):
    data = bytearray(recording(tmp_path / "x.wav", 1).read_bytes())
    data[24:28], data[28:32] = (1).to_bytes(4, "little"), (2).to_bytes(4, "little")  # one sample a second
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(DataError, match="its header says that its sound has 1 samples a second"):
        clip_every_tick(tmp_path / "x.wav", tmp_path)


def test_a_header_that_promises_years_is_not_believed(tmp_path):
    data = bytearray(film(tmp_path / "x.webm", seconds=1).read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # the element that says how long the file is: a double, in milliseconds
    data[place : place + 8] = struct.pack(">d", 1e11)
    (tmp_path / "x.webm").write_bytes(data)
    path = str(tmp_path / "x.webm")
    assert decoding.Film(path, decoding.open_source(path)).length == pytest.approx(1, abs=0.05)


def clip_every_tick(path: Path, folder: Path) -> None:
    """Ask for a training clip every 0.05 s: what a header that lies about the length makes endless."""
    clip = Cut("c", "train", "solo", picture=str(still(folder / "x.jpg")))
    (folder / "scratch").mkdir()
    cut(Job("j", str(path), "v", (clip,), 0.05), folder, folder / "scratch", 8000, 1.0)
