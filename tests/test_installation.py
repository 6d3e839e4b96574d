"""What a fresh installation must be able to do, on every Python and with every release of what it stands on.

These, the tests of videos and of avnb-prepare, and two notebooks are the smoke run: ``pytest -m smoke``.
"""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import RED, WIDTH, number_in, picture, tone

from avnb.data.folder import read_info, read_rows
from avnb.models.avgn import AVGNSettings
from avnb.models.base import Method
from avnb.video.localize import localize_video
from avnb.video.reader import frames, look_at

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).resolve().parents[1]
FILMS = {  # a container, and the codecs of its pictures and its sound
    "h264.mp4": ("libx264", "aac"),
    "h265.mp4": ("libx265", "aac"),
    "av1.mp4": ("libsvtav1", "aac"),
    "vp8.webm": ("libvpx", "libopus"),
    "vp9.webm": ("libvpx-vp9", "libopus"),
    "h264_flac.mkv": ("libx264", "flac"),
    "h264_alac.mov": ("libx264", "alac"),
    "mpeg4.avi": ("mpeg4", "libmp3lame"),
    "mpeg2.mpg": ("mpeg2video", "mp2"),
}
SQUARE = ((0.5, 0.5, 0.75, 0.75), RED)
SECONDS, PER_SECOND, PITCH = 2, 25, 440.0
EVERY_MODULE = """
import importlib, pkgutil, sys
absent = ("fcntl", "resource", "posix", "pwd", "grp", "termios", "tty", "pty", "syslog")
import {libraries}
for name in absent:
    sys.modules[name] = None  # an import of it fails from here on
import os
for name in ("fork", "getuid", "posix_fallocate", "sched_getaffinity", "statvfs", "uname", "mkfifo", "killpg"):
    if hasattr(os, name):
        delattr(os, name)
import avnb
for module in pkgutil.walk_packages(avnb.__path__, "avnb."):
    importlib.import_module(module.name)
"""


def write_film(path: Path) -> Path:
    """Write a film of numbered frames with a red square, and a tone that grows louder."""
    seen, heard = FILMS[path.name]
    rate = 48_000
    with av.open(str(path), "w") as file:
        video = file.add_stream(seen, rate=PER_SECOND)
        video.width, video.height, video.pix_fmt = WIDTH, 96, "yuv420p"
        video.bit_rate = 2_000_000
        audio = file.add_stream(heard, rate=rate, layout="mono")
        shape = av.AudioResampler(audio.format.name, "mono", rate, audio.frame_size or 1024)
        for number in range(SECONDS * PER_SECOND):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture(number, [SQUARE]), "rgb24")))
        frame = av.AudioFrame.from_ndarray(tone(SECONDS, PITCH, rate)[None], "fltp", "mono")
        frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for part in (*shape.resample(frame), *shape.resample(None)):
            file.mux(audio.encode(part))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    return path


class RedFinder(Method):
    """Finds what is red: it needs no training."""

    CLASSES = ("none",)
    rate = 22_050

    def __init__(self) -> None:
        super().__init__()
        self.settings = AVGNSettings(dataset="tiny", preset="quick", device="cpu").resolve("cpu")

    def localize(self, query):
        red = query.frames[:, 0].float() - query.frames[:, 1:].float().amax(dim=1)
        return red[:, None].repeat(1, query.sources, 1, 1)


def test_every_module_is_imported_where_there_is_no_posix():
    libraries = (
        "torch, torchvision, torchaudio, numpy, scipy, sklearn, numba, soundfile, soxr, joblib, pandas, safetensors,"
        "matplotlib.pyplot, contourpy, PIL.Image, einops, jaxtyping, tqdm.auto, av, IPython.display, ipywidgets,"
        "nbformat, sklearn.cluster, sklearn.manifold, scipy.signal, asyncio, multiprocessing.pool, sqlite3"
    )
    done = subprocess.run(
        [sys.executable, "-c", EVERY_MODULE.format(libraries=libraries)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def folder_of_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films") / "drum"
    folder.mkdir()
    for name in FILMS:
        write_film(folder / name)
    return folder


def test_avnb_prepare_cuts_a_film_of_each_codec(folder_of_films, tmp_path):
    out = tmp_path / "films"
    command = ["folder", "--videos", folder_of_films.parent, "--out", out, "--every", 1, "--seconds", 0.5]
    run = [sys.executable, "-m", "avnb.prepare.command", *map(str, command)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "broken" not in done.stdout, done.stdout
    assert "mistake" not in done.stdout, done.stdout
    rows = list(read_rows(out, read_info(out).classes))
    assert len(rows) == len(FILMS) * SECONDS


@pytest.mark.parametrize("name", FILMS)
def test_localize_video_sees_every_frame_and_finds_the_square(name, folder_of_films, tiny_folder, workspace):
    (workspace / "data/tiny").symlink_to(tiny_folder)
    path = folder_of_films / name
    seen = [number_in(frame.to_ndarray(format="rgb24")) for _, frame in frames(look_at(path))]
    assert seen == list(range(SECONDS * PER_SECOND))
    result = localize_video(path, RedFinder(), folder=workspace / "videos", progress=False)
    for heat in result.maps[:, 0]:
        row, column = (int(place) for place in np.unravel_index(int(heat.argmax()), heat.shape))
        assert 0.5 <= (row + 0.5) / heat.shape[0] <= 0.75
        assert 0.5 <= (column + 0.5) / heat.shape[1] <= 0.75
    assert abs(len(result.waveform()) / 22_050 - SECONDS) < 0.1
    assert look_at(result.overlay).size == look_at(path).size
