"""Films and sounds as the field has them, through the door that localize_video and the notebooks use."""

import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field import RATE, cut_without_encoding, joined, photo_in_tiles, sine, without_length, write
from PIL import Image

from avnb.errors import DataError, SettingsError
from avnb.prepare.cut import open_source
from avnb.video import worker
from avnb.video.heat import HeatVideo
from avnb.video.localize import localize_video
from avnb.video.reader import SoundAround, frames, look_at, photo_frames, read_sound, write_track

sys.path.append(str(Path(__file__).parents[1] / "video"))
from test_localize import Ear, duet

LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{0}\n#EXT-X-ENDLIST\n",
    "hls-http": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{1}/x.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{0}'\n",
    "concat-itself": "ffconcat version 1.0\nfile 'concat-itself.mp4'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-'
    'on-demand:2011" type="static"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{0}'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 4444 RTP/AVP 96\n",
    "smil": '<smil><body><video src="{0}"/></body></smil>',
    "pls": "[playlist]\nFile1={0}\nNumberOfEntries=1\n",
    "lavfi": "movie={0}",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{1}/x.png"/></svg>',
    "postscript": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({0}) run showpage\n",
}  # fmt: skip
NAMES = [
    "take:1.mp4", "http:127.0.0.1:{}?x.mp4", "tcp:127.0.0.1:{}.mp4", "file:other.mp4", "concat:secret.mp4|x.mp4",
    "subfile,,start,0,end,9,,:secret.mp4", "mmsh:127.0.0.1:{}.mp4", "rtsp:x.mp4", "data:video,mp4.mp4", "pipe:0.mp4",
    "-i.mp4", "%03d.mp4", "a\nb.mp4", "\x1b[2J.mp4", "*.mp4", "[1].mp4", "ünïcode ♫.mp4",
    *(f"{protocol}:127.0.0.1:{{}}.mp4" for protocol in (
        "https", "ftp", "tls", "udp", "rtp", "srtp", "rtmp", "rtmps", "rtmpt", "mmst", "gopher", "gophers", "icecast",
        "httpproxy", "srt", "rist", "zmq", "sftp", "ipfs", "ipns", "prompeg", "unix", "sctp",
    )),
    *(f"{protocol}:secret.mp4" for protocol in (
        "async", "bluray", "cache", "concatf", "crypto", "fd", "hls", "md5", "subfile", "tee", "file,,",
    )),
]  # fmt: skip  # 51 names


@pytest.fixture
def listener():
    """A server on this machine that counts who asks."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def serve():
            while not stop.is_set():
                try:
                    asked.append(server.accept())
                except TimeoutError:
                    continue

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], asked
        stop.set()
        thread.join()


def test_a_list_of_files_shows_no_other_file_and_asks_nobody(tmp_path, listener):
    port, asked = listener
    secret = write(tmp_path / "secret.mp4", 0.4)
    for name, text in LISTS.items():
        for suffix in ("mp4", "m3u8", "png", "mkv", "wav", "mpd", "ts", "txt", "sdp", "ffconcat"):  # 110 lists
            path = tmp_path / f"{name}.{suffix}"
            path.write_text(text.format(secret, f"http://127.0.0.1:{port}"))
            for way in (look_at, lambda path: open_source(str(path))):
                with pytest.raises(DataError):
                    way(path)
    assert not asked


def test_a_file_is_a_local_file_whatever_it_is_called(tmp_path, listener, monkeypatch):
    port, asked = listener
    film = write(tmp_path / "film.mp4", 0.4).read_bytes()
    (tmp_path / "secret.mp4").write_bytes(write(tmp_path / "long.mp4", 2.0).read_bytes())
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        path = Path(name.format(port))
        path.write_bytes(film)
        assert len(list(frames(look_at(path)))) == 10
        open_source(str(path)).close()
    assert not asked


def test_a_folder_is_a_folder_whatever_it_is_called(tmp_path, workspace, tiny_folder, listener, monkeypatch):
    """What is written there is written by FFmpeg, too."""
    port, asked = listener
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    duet(tmp_path / "a.mp4", 1)
    monkeypatch.chdir(tmp_path)
    for name in ("sub:dir", f"tcp:127.0.0.1:{port}"):
        result = localize_video("a.mp4", Ear(), folder=name, progress=False, per_second=1.0)
        assert {path.name for path in (tmp_path / name).iterdir()} == {"a-ear.mp4", "a-ear.csv", "a-ear.png"}
        assert look_at(result.overlay).size is not None
    assert not asked


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "wmv"])
def test_a_title_in_latin_1_is_no_obstacle(tmp_path, suffix):
    """Honest files have titles that are no UTF-8."""
    path = write(tmp_path / f"a.{suffix}", 1.0, codecs=("mpeg4", "libmp3lame"), title="caf#")
    data = path.read_bytes()
    assert b"caf#" in data or b"c\0a\0f\0#\0" in data
    path.write_bytes(data.replace(b"caf#", b"caf\xe9").replace(b"c\0a\0f\0#\0", b"c\0a\0f\0\0\xd8"))
    assert len(list(frames(look_at(path)))) == 25
    open_source(str(path)).close()


@pytest.mark.parametrize("codecs", [("libx264", "aac"), ("libx264", "pcm_s16le")])
@pytest.mark.parametrize("layout", ["5.1", "7.1"])
def test_sound_of_many_channels_is_their_mean(tmp_path, codecs, layout):
    channels = 6 if layout == "5.1" else 8
    path = write(tmp_path / "a.mov", 1.0, sine(1, 48_000, channels), 48_000, layout, codecs)
    found = read_sound(look_at(path), RATE)
    assert abs(len(found) - RATE) < 2500
    assert np.abs(found[5000:40_000]).max() == pytest.approx(0.3, abs=0.06)


def times_of(path):
    return np.array([seconds for seconds, _ in frames(look_at(path))])


@pytest.mark.parametrize(("suffix", "codecs"), [("ts", ("libx264", "aac")), ("mpg", ("mpeg2video", "mp2"))])
def test_recordings_joined_by_cat_are_one_after_the_other(tmp_path, suffix, codecs):
    part = write(tmp_path / f"a.{suffix}", 2.0, codecs=codecs)
    path = joined(tmp_path / f"b.{suffix}", part, part)
    times = times_of(path)
    assert len(times) >= 96
    assert (np.diff(times) > 0).all()
    assert times[-1] == pytest.approx(4.0, abs=0.3)
    media = look_at(path)
    assert media.seconds == pytest.approx(4.0, abs=0.3)
    assert any("begins again or jumps" in note for note in media.notes)
    assert len(read_sound(media, 8000)) == pytest.approx(4 * 8000, abs=2500)


@pytest.mark.parametrize("jump", [600.0, 40_000.0])
def test_a_clock_that_jumps_costs_neither_time_nor_memory(tmp_path, jump):
    path = joined(
        tmp_path / "c.ts", write(tmp_path / "a.ts", 2.0), write(tmp_path / "b.ts", 2.0, start=jump),
    )  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    media = look_at(path)
    assert media.seconds == pytest.approx(4.0, abs=0.3)
    assert not SoundAround(media, 8000, 3.0).lasts(5.0)
    assert len(times_of(path)) >= 96
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_pause_is_no_jump(tmp_path):
    path = joined(
        tmp_path / "c.ts", write(tmp_path / "a.ts", 2.0), write(tmp_path / "b.ts", 2.0, start=12.0),
    )  # fmt: skip
    assert times_of(path)[-1] == pytest.approx(14.0, abs=0.3)
    sound = read_sound(look_at(path), 8000)
    assert len(sound) == pytest.approx(14 * 8000, abs=2500)
    assert np.abs(sound[5 * 8000 : 9 * 8000]).max() == 0


def test_a_photo_lasts_as_long_as_its_sound_whatever_the_header_says(tmp_path):
    Image.new("RGB", (64, 48), (30, 120, 60)).save(tmp_path / "a.png")
    soundfile.write(tmp_path / "a.flac", sine(6)[0], RATE)
    write(tmp_path / "b.webm", 6.0, sine(6, 48_000), 48_000, codecs=("libvpx", "libopus"), container={"live": "1"})
    for sound in (without_length(tmp_path / "a.flac"), tmp_path / "b.webm"):
        heard = look_at(sound)
        assert heard.seconds == pytest.approx(6.0, abs=0.1)
        assert len(list(photo_frames(look_at(tmp_path / "a.png"), heard.seconds, 4.0))) == pytest.approx(24, abs=1)


def test_a_header_that_promises_a_day_is_no_day(tmp_path):
    path = write(tmp_path / "a.mkv", 1.0)
    data = bytearray(path.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # how long it is: a double, in milliseconds
    data[place : place + 8] = np.array(86_400_000.0, ">f8").tobytes()
    path.write_bytes(data)
    media = look_at(path)
    assert media.seconds == pytest.approx(1.0, abs=0.1)
    read_sound(media, 8000)
    assert any("says that it lasts 86400.0 s" in note for note in media.notes)


def test_a_photo_in_tiles_is_refused_and_not_taken_for_one_of_them(tmp_path):
    with pytest.raises(DataError, match="photo in tiles"):
        look_at(photo_in_tiles(tmp_path / "a.heic"))


@pytest.mark.parametrize("kind", ["MPO", "GIF", "WEBP", "TIFF"])
def test_a_photo_with_a_second_picture_is_a_photo(tmp_path, kind):
    first = Image.new("RGB", (64, 48), (30, 120, 60))
    first.save(tmp_path / "a.jpg", kind, save_all=True, append_images=[Image.new("RGB", (64, 48))])
    media = look_at(tmp_path / "a.jpg")
    assert (media.photo, media.size) == (True, (48, 64))


@pytest.mark.parametrize("full", [False, True])
def test_greys_and_their_meaning_stay(tmp_path, full):
    grey = np.tile(np.linspace(20, 230, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    source = tmp_path / "a.mp4"
    with av.open(str(source), "w") as file:
        video = file.add_stream("libx264", rate=25, options={"crf": "8"})
        video.height, video.width, video.pix_fmt = 48, 64, "yuvj420p" if full else "yuv420p"
        video.codec_context.color_range = 2 if full else 1
        track = file.add_stream("aac", rate=RATE, layout="mono")
        for number in range(25):
            frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format="yuvj420p" if full else "yuv420p")
            frame.pts = number
            file.mux(video.encode(frame))
        piece = av.AudioFrame.from_ndarray(sine(1), "fltp", "mono")
        piece.sample_rate = RATE
        for made in (track.encode(piece), video.encode(None), track.encode(None)):
            file.mux(made)
    media = look_at(source)
    write_track(media, tmp_path / "sound.mp4")
    with HeatVideo(tmp_path / "b.mp4", media, tmp_path / "sound.mp4", "m", ["x"], [(1.0, 0.0, 0.0)]) as film:
        for seconds, frame in frames(media):
            film.add(seconds, frame, np.random.default_rng(0).random((1, 7, 7)), np.zeros(1))
    with av.open(str(source)) as old, av.open(str(tmp_path / "b.mp4")) as new:
        was, now = (next(file.decode(video=0)) for file in (old, new))
    assert int(was.color_range) == int(now.color_range)
    assert (int(now.color_range) == 2) == full
    below = [frame.to_ndarray(format="rgb24")[40].mean(axis=1) for frame in (was, now)]  # under the legend
    assert np.abs(below[0] - below[1]).max() < 6


def test_of_two_films_of_one_name_each_keeps_its_result(tmp_path, workspace, tiny_folder):
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    for name, seconds in (("a", 2), ("b", 4)):
        (tmp_path / name).mkdir()
        duet(tmp_path / name / "1.mp4", seconds)
    ask = {"folder": tmp_path / "out", "progress": False, "per_second": 1.0}
    first, second, again = (localize_video(tmp_path / name / "1.mp4", Ear(), **ask) for name in "aba")
    assert first.overlay == again.overlay != second.overlay
    assert look_at(first.overlay).seconds == pytest.approx(2, abs=0.2)
    assert look_at(second.overlay).seconds == pytest.approx(4, abs=0.2)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"1-ear{number}.{kind}" for number in ("", "-2") for kind in ("mp4", "csv", "png")
    }
    for wrong in ({"classes": "bell"}, {"classes": ["bell", "bell"]}, {"sources": 0}, {"per_second": float("nan")}):
        with pytest.raises(SettingsError):
            localize_video(tmp_path / "a/1.mp4", Ear(), **ask | wrong)


@pytest.mark.parametrize(
    ("name", "codecs", "rate"),
    [
        ("a.avi", ("mpeg4", "libmp3lame"), 8000),
        ("a.flv", ("flv", "libmp3lame"), 11_025),
        ("a.mkv", ("mpeg4", "pcm_s16le"), 96_000),
    ],
)  # fmt: skip
def test_a_sound_that_the_container_does_not_take_is_encoded_anew(tmp_path, name, codecs, rate):
    media = look_at(write(tmp_path / name, 2.0, sine(2, rate), rate, codecs=codecs))
    write_track(media, tmp_path / "sound.mp4")
    assert len(read_sound(look_at(tmp_path / "sound.mp4"), 8000)) == pytest.approx(16_000, abs=2500)


def test_channels_that_cancel_are_said(tmp_path):
    both = np.concatenate([sine(1), -sine(1)])
    soundfile.write(tmp_path / "a.wav", both.T, RATE)
    media = look_at(tmp_path / "a.wav")
    assert np.abs(read_sound(media, 8000)).max() < 1e-3
    assert any("cancel each other" in note for note in media.notes)


def test_samples_that_are_no_numbers_are_silent_and_said(tmp_path):
    sound = sine(3)[0]
    sound[RATE : 2 * RATE] = np.nan
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    media = look_at(tmp_path / "a.wav")
    found = read_sound(media, RATE)
    assert np.abs(found[RATE + 100 : 2 * RATE - 100]).max() == 0
    assert np.abs(found).max() == pytest.approx(0.3, abs=0.02)
    assert any("44,100 samples of its sound are no numbers" in note for note in media.notes)


def test_what_was_cut_without_encoding_is_shown(tmp_path):
    source = write(tmp_path / "long.mp4", 10.0, gop=250, picture=None)
    path = cut_without_encoding(source, tmp_path / "cut.mp4", 6.0, 3.0)
    assert len(list(frames(look_at(path)))) >= 70


# -------------------------------------------------------------------------------------------- the process that decodes


@pytest.fixture
def started(monkeypatch):
    """The workers that are started from now on."""
    workers = []

    class Known(worker._Worker):
        def __init__(self):
            super().__init__()
            workers.append(self)

    worker._stop_idle()
    monkeypatch.setattr(worker, "_Worker", Known)
    return workers


def read_and_send(media, started, sent):
    """Read a film, and send its decoder a signal on the way."""
    for number, _ in enumerate(frames(media)):
        if number == 3:
            os.kill(started[-1].process.pid, sent)


def test_a_death_from_outside_loses_nothing(tmp_path, started):
    media = look_at(write(tmp_path / "a.mp4", 4.0))
    seen = []
    for seconds, _ in frames(media):
        if len(seen) in (3, 40):
            started[-1].process.kill()
        seen.append(seconds)
    assert np.allclose(seen, np.arange(100) / 25)
    assert len(started) >= 2


def test_a_death_by_the_file_is_named(tmp_path, started):
    media = look_at(write(tmp_path / "a.mp4", 4.0))
    with pytest.raises(DataError, match=r"a\.mp4: the decoder crashed on it \(SIGSEGV\)"):
        read_and_send(media, started, signal.SIGSEGV)


def test_a_decoder_that_stands_still_is_given_up(tmp_path, started, monkeypatch):
    media = look_at(write(tmp_path / "a.mp4", 4.0))
    monkeypatch.setattr(worker, "PATIENCE", 3.0)
    with pytest.raises(DataError, match="nothing could be decoded of it for 3 s"):
        read_and_send(media, started, signal.SIGSTOP)


def test_a_module_in_the_working_folder_is_not_run(tmp_path, started, monkeypatch):
    for name in ("av", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w').close()")
    film = write(tmp_path / "a.mp4", 1.0)
    monkeypatch.chdir(tmp_path)
    assert len(list(frames(look_at(film)))) == 25
    assert not (tmp_path / "run").exists()


def test_no_process_is_left_of_a_reader_that_was_stopped(tmp_path, started):
    reading = frames(look_at(write(tmp_path / "a.mp4", 4.0)))
    next(reading)
    reading.close()
    worker._stop_idle()
    assert all(one.process.poll() is not None for one in started)
