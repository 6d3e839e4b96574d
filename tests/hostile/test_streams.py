"""Of several streams the one is taken that a player would show or play, by localize_video and by avnb-prepare."""

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field import RATE, sine, write

from avnb.prepare import command as prepare
from avnb.video.reader import frames, look_at, read_sound

LOW, HIGH = sine(1), sine(1, pitch=1760.0)


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency, in Hz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


def prepared_pitch(path: Path, out: Path) -> float:
    assert prepare.main(["folder", "--videos", str(path.parents[1]), "--out", str(out), "--workers", "1"]) == 0
    [sound] = (out / "audio").rglob("*.flac")
    return pitch(*soundfile.read(sound))


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("default", [0, 1])
def test_the_sound_is_the_one_that_is_marked_as_the_default(tmp_path, suffix, default):
    (tmp_path / "v/cello").mkdir(parents=True)
    path = write(tmp_path / f"v/cello/a.{suffix}", 1.0, [LOW, HIGH], default=default)
    expected = pytest.approx((440, 1760)[default], rel=0.02)
    assert pitch(read_sound(look_at(path), RATE), RATE) == expected
    assert prepared_pitch(path, tmp_path / "out") == expected


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_sound_without_a_sample_does_not_stand_before_one_with_samples(tmp_path, suffix):
    (tmp_path / "v/cello").mkdir(parents=True)
    path = write(tmp_path / f"v/cello/a.{suffix}", 1.0, [LOW[:, :0], HIGH], default=0)
    assert pitch(read_sound(look_at(path), RATE), RATE) == pytest.approx(1760, rel=0.02)
    assert prepared_pitch(path, tmp_path / "out") == pytest.approx(1760, rel=0.02)


def test_a_cover_in_front_of_a_film_is_not_the_film(tmp_path):
    film, path = write(tmp_path / "film.mp4", 1.0), tmp_path / "a.mp4"
    with av.open(str(film)) as old, av.open(str(path), "w") as new:
        cover = new.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        new.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        new.mux(cover.encode(None))
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
    media = look_at(path)
    assert media.size == (48, 64)
    assert len(list(frames(media))) == 25
