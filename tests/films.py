"""Small real videos, and frames and sounds: what the importers are tested on."""

import shutil
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import soundfile
from PIL import Image

WIDTH, HEIGHT = 128, 96
RATE = 16_000
GREY = 110
BITS, BLOCK = 10, 8  # the frame's number stands in the upper left corner: a block a bit, white or black
CODECS = {".mp4": ("libx264", "aac"), ".webm": ("libvpx-vp9", "libopus")}
RATES = {25: Fraction(25), 29.97: Fraction(30000, 1001), 30: Fraction(30)}
RED, BLUE = (220, 40, 40), (40, 60, 220)

Box = Sequence[float]


def picture(number: int, squares: Sequence[tuple[Box, tuple[int, int, int]]] = ()) -> np.ndarray:
    """Frame ``number`` of a film: its number in bits, and coloured squares at x0, y0, x1, y1 in 0..1."""
    frame = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for (x0, y0, x1, y1), colour in squares:
        frame[round(y0 * HEIGHT) : round(y1 * HEIGHT), round(x0 * WIDTH) : round(x1 * WIDTH)] = colour
    for bit in range(BITS):
        frame[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 235 if number >> bit & 1 else 20
    return frame


def number_in(frame: np.ndarray) -> int:
    """Read a frame's number off its upper left corner."""
    height, width = frame.shape[0] / HEIGHT, frame.shape[1] / WIDTH
    middles = [round((bit + 0.5) * BLOCK * width) for bit in range(BITS)]
    return sum(int(frame[round(BLOCK / 2 * height), x].mean() > 128) << bit for bit, x in enumerate(middles))


def tone(seconds: float, pitch: float = 440.0, rate: int = RATE) -> np.ndarray:
    """A sine whose loudness rises from nothing at 0 s by 0.1 a second: how loud it is says when it is."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.1 * time * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def film(path: Path, squares: Sequence = (), seconds: float = 2.0, fps: float = 30, pitch: float = 440.0) -> Path:
    """Write a video with sound: H.264 and AAC as .mp4, VP9 and Opus as .webm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    squares = tuple((tuple(box), tuple(colour)) for box, colour in squares)
    path.write_bytes(_encoded(path.suffix, squares, seconds, fps, pitch))
    return path


@cache
def _encoded(suffix: str, squares: tuple, seconds: float, fps: float, pitch: float) -> bytes:
    import tempfile

    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / f"film{suffix}"
        _encode(path, squares, seconds, fps, pitch)
        return path.read_bytes()
    finally:
        shutil.rmtree(folder)


def _encode(path: Path, squares: tuple, seconds: float, fps: float, pitch: float) -> None:
    seen, heard = CODECS[path.suffix]
    rate = 48_000 if heard == "libopus" else RATE
    quick = {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"}
    with av.open(path, "w") as file:
        video = file.add_stream(seen, rate=RATES[fps])
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = quick if seen == "libvpx-vp9" else {"preset": "veryfast", "crf": "15", "g": "25"}
        video.codec_context.thread_count = 1
        audio = file.add_stream(heard, rate=rate, layout="mono")
        for k in range(round(seconds * RATES[fps])):
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture(k, squares), format="rgb24")))
        samples = np.round(tone(seconds, pitch, rate) * 32767).astype(np.int16)
        for start in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 960], format="s16", layout="mono")
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(audio.encode(frame))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))


def still(path: Path, squares: Sequence = (), number: int = 0) -> Path:
    """Write a frame as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number, squares)).save(path, quality=95)
    return path


def recording(path: Path, seconds: float = 2.0, pitch: float = 440.0) -> Path:
    """Write a sound as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, pitch), RATE)
    return path
