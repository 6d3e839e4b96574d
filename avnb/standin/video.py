"""A stand-in for your own video: ten seconds in which two drawn instruments start and stop, with General MIDI music.

First one plays, then both, then the other; in the end there is silence. The camera moves a little, so that no two
pictures are the same. Introduced in notebooks/13_your_own_video.ipynb.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from avnb.data.media_files import local_file
from avnb.paths import whole_file

Box = tuple[int, int, int, int]  # x0, y0, x1, y1, in pixels

SECONDS, RATE, PER_SECOND = 10.0, 22_050, 12
WIDTH, HEIGHT, ROOM = 336, 304, 16  # pixels; the camera moves by ROOM at most
FADE = 0.05  # seconds in which an instrument sets in and stops
PLAYING = ((0.0, 6.0), (3.0, 9.0))  # when the first and the second instrument sound


@dataclass(frozen=True)
class Performance:
    """A rendered video and what is true of it: who plays, and when (seconds). ``room`` is where, before the camera."""

    path: Path
    names: tuple[str, str]
    playing: tuple[tuple[float, float], tuple[float, float]]
    room: tuple[Box, Box]

    def box(self, name: str, seconds: float) -> Box:
        """Return where an instrument is seen (x0, y0, x1, y1 in pixels) in the picture at ``seconds``."""
        top, left = _corner(seconds)
        x0, y0, x1, y1 = self.room[self.names.index(name)]
        return max(x0 - left, 0), max(y0 - top, 0), min(x1 - left, WIDTH), min(y1 - top, HEIGHT)


def render_video(path: Path, names: tuple[str, str] = ("xylophone", "acoustic_guitar"), seed: int = 0) -> Performance:
    """Render the video (MP4) and return what is true of it; the same seed gives the same pictures and sound."""
    import av

    from avnb.standin.pictures import scene
    from avnb.standin.sounds import melody

    picture_rng, *sound_rngs = np.random.default_rng([2023, seed]).spawn(3)
    size = max(WIDTH, HEIGHT) + 2 * ROOM
    room, mask = scene(names, (), picture_rng, size, (0.2, 0.2))  # each a fifth of the picture: both are well seen
    sound = sum(
        melody(name, rng, SECONDS, RATE) * _gate(*when)
        for name, rng, when in zip(names, sound_rngs, PLAYING, strict=True)
    )
    sound = (0.9 * sound / np.abs(sound).max()).astype(np.float32)
    with whole_file(Path(path)) as temporary, av.open(local_file(temporary), "w", format="mp4") as file:
        pictures = file.add_stream("libx264", rate=PER_SECOND, options={"crf": "26", "preset": "fast"})
        pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        track = file.add_stream("aac", rate=RATE, layout="mono")
        track.bit_rate = 48_000
        heard = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
        heard.rate, heard.pts, heard.time_base = RATE, 0, Fraction(1, RATE)
        file.mux([*track.encode(heard), *track.encode(None)])
        for number in range(round(SECONDS * PER_SECOND)):
            top, left = _corner(number / PER_SECOND)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(room[top:, left:][:HEIGHT, :WIDTH]), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, PER_SECOND)
            file.mux(pictures.encode(frame))
        file.mux(pictures.encode(None))
    return Performance(Path(path), names, PLAYING, tuple(_box(mask == k) for k in (1, 2)))


def _corner(seconds: float) -> tuple[int, int]:
    """Return the row and the column of the room at which the picture begins, as the camera sways."""
    return tuple(round(ROOM * (1 + np.sin(2 * np.pi * seconds / period))) for period in (7.0, 9.0))


def _gate(start: float, stop: float) -> Float32[np.ndarray, " time"]:
    """Return the loudness, 0 or 1 and between them for FADE seconds, of who plays from ``start`` to ``stop``."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    return np.clip(np.minimum((time - start) / FADE + 1, (stop - time) / FADE), 0, 1).astype(np.float32)


def _box(pixels: Bool[np.ndarray, "height width"]) -> Box:
    (y,), (x,) = np.nonzero(pixels.any(axis=1)), np.nonzero(pixels.any(axis=0))
    return int(x[0]), int(y[0]), int(x[-1]) + 1, int(y[-1]) + 1
