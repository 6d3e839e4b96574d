"""Pictures and sound of a file, decoded as they are asked for: whatever its length, little of it is in memory.

Anything that FFmpeg or Pillow reads. It is decoded in another process (worker.py), which may die of a file. What is
damaged is left out and said in ``notes``; what cannot be used at all is refused in a sentence.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8

from avnb.errors import DataError
from avnb.paths import shown
from avnb.video.worker import Message, ask

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class Media:
    """What a file holds. ``size`` is (height, width) upright, ``seconds`` None where no packet says when it is.

    ``aspect`` is how wide a pixel is shown for its height, ``source`` what the decoder has found out.
    """

    path: Path
    size: tuple[int, int] | None
    has_sound: bool
    seconds: float | None
    photo: bool = False
    aspect: Fraction = Fraction(1)
    source: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    notes: list[str] = field(default_factory=list, compare=False)

    def note(self, sentence: str) -> None:
        """Add what a reader must know about this file, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


@dataclass(frozen=True)
class HeldMedia(Media):
    """Pictures and sound that lie in memory: ``pictures`` (one for a photo), ``fps`` a second, and ``samples``."""

    pictures: UInt8[np.ndarray, "film height width 3"] = field(default_factory=lambda: np.zeros((0, 0, 0, 3), np.uint8))
    fps: float = 1.0
    samples: Float32[np.ndarray, " samples"] = field(default_factory=lambda: np.zeros(0, np.float32))
    rate: int = 0

    def frames(self, per_second: float) -> Iterator[tuple[float, "av.VideoFrame"]]:
        """Yield what `frames` does."""
        last = -1
        for number in range(len(self.pictures)):
            if per_second and int(number / self.fps * per_second + 1e-6) == last:
                continue
            last = int(number / self.fps * per_second + 1e-6)
            yield number / self.fps, self.frame(number)

    def frame(self, number: int) -> "av.VideoFrame":
        """Return a picture as decoders give it."""
        import av

        return av.VideoFrame.from_ndarray(np.ascontiguousarray(self.pictures[number]), format="rgb24")


def held(frames: Any, waveform: Any, fps: float, rate: int) -> HeldMedia:
    """Return pictures and sound in memory as `localize_video` takes them.

    ``frames`` are RGB in 0..255 (uint8), arrays or tensors [time, height, width, 3] or [time, 3, height, width], or
    without time a photo; ``waveform`` is in -1..1, mono [time] or [channels, time]. Raises DataError for others.
    """
    pictures, samples = (np.asarray(getattr(value, "cpu", lambda value=value: value)()) for value in (frames, waveform))
    photo = pictures.ndim == 3
    if photo:
        pictures = pictures[None]
    if pictures.ndim == 4 and pictures.shape[3] != 3 and pictures.shape[1] == 3:
        pictures = pictures.transpose(0, 2, 3, 1)
    if pictures.ndim != 4 or pictures.shape[3] != 3 or pictures.dtype != np.uint8 or not pictures.size:
        raise DataError(
            f"Pictures in memory are uint8, [time, height, width, 3] or [time, 3, height, width]; these are "
            f"{pictures.dtype}, {list(np.shape(frames))}."
        )
    samples = samples.mean(axis=0) if samples.ndim == 2 else samples
    if samples.ndim != 1 or not len(samples) or not np.issubdtype(samples.dtype, np.floating):
        raise DataError(
            "A sound in memory is a waveform in -1..1, floats, [time] or [channels, time]; this one is "
            f"{samples.dtype}, {list(np.shape(waveform))}."
        )
    if rate <= 0 or (fps <= 0 and not photo):
        raise DataError(f"Pictures in memory need fps, and sound needs rate; they are {fps:g} and {rate}.")
    if not np.isfinite(samples).all():
        raise DataError("The waveform holds values that are no numbers.")
    seconds = len(samples) / rate if photo else len(pictures) / fps
    return HeldMedia(
        Path("frames"), pictures.shape[1:3], True, seconds, photo, pictures=pictures, fps=fps or 1.0,
        samples=samples.astype(np.float32), rate=rate,
    )  # fmt: skip


def look_at(path: str | Path) -> Media:
    """Return what ``path`` holds: a photo, or pictures and sound; raise DataError where it is neither."""
    path = Path(path).expanduser()
    [(head, _)] = ask("look", shown(path), path=str(path.absolute()))
    found = head["source"]
    size = found["size"] and (found["size"][0], found["size"][1])
    return Media(
        path, size, found["sound"] is not None, found["seconds"], found["photo"], Fraction(*found["aspect"]), found,
        list(found["notes"]),
    )  # fmt: skip


def frames(media: Media, per_second: float = 0.0) -> Iterator[tuple[float, "av.VideoFrame"]]:
    """Yield the pictures of a video, upright, with their times in seconds, rising, from the file's start.

    With ``per_second`` only the first of every so much of a second.
    """
    if isinstance(media, HeldMedia):
        yield from media.frames(per_second)
        return
    for head, body in _asked(media, "pictures", per_second=float(per_second)):
        yield head["seconds"], _frame(media, head, body)


def photo_frames(media: Media, seconds: float, per_second: float) -> Iterator[tuple[float, "av.VideoFrame"]]:
    """Yield a photo ``per_second`` times a second, for as long as its sound lasts."""
    if isinstance(media, HeldMedia):
        frame = media.frame(0)
    else:
        [message] = _asked(media, "photo")
        frame = _frame(media, *message)
    for number in range(max(1, int(seconds * per_second))):
        yield number / per_second, frame


def small_picture(frame: "av.VideoFrame", height: int, width: int) -> UInt8[np.ndarray, "3 height width"]:
    """Return a frame resized (bicubic, as the stores do it)."""
    rgb = frame.to_ndarray(format="rgb24", height=height, width=width, interpolation="BICUBIC")
    return np.ascontiguousarray(rgb.transpose(2, 0, 1))


def write_track(media: Media, target: Path) -> None:
    """Write a file's sound alone, as an MP4, to the bit where that is possible; raise DataError where it is not."""
    for _ in _asked(media, "track", target=str(target.absolute())):
        pass


class SoundAround:
    """The sound of a file around rising moments, mono; little more than one window of it is in memory.

    A window that would begin before the sound or end after it is moved to lie within it, as training clips do; what
    is shorter than a window is repeated. Around moments after the sound's end there is silence.
    """

    def __init__(self, media: Media, rate: int, seconds: float) -> None:
        self.rate, self.wanted = rate, round(rate * seconds)
        self.pieces = _resampled(media, rate)
        self.held = np.zeros(0, np.float32)
        self.first = 0  # the number of the first sample held, counted from the file's start
        self.ended = False

    def at(self, seconds: float) -> Float32[np.ndarray, " time"]:
        """Return the window around ``seconds``; moments must not fall."""
        middle = round(seconds * self.rate)
        start = max(middle - self.wanted // 2, 0)
        self._read_to(start + self.wanted)
        end = self.first + len(self.held)
        if middle <= end:
            start = min(start, max(end - self.wanted, self.first))
        window = self.held[max(start - self.first, 0) :][: self.wanted]
        if len(window) == self.wanted:
            return window.copy()
        if middle <= end and len(window):
            return np.resize(window, self.wanted)
        return np.pad(window, (0, self.wanted - len(window)))

    def lasts(self, seconds: float) -> bool:
        """Tell whether there is sound at ``seconds``."""
        self._read_to(round(seconds * self.rate) + 1)
        return round(seconds * self.rate) < self.first + len(self.held)

    def _read_to(self, sample: int) -> None:
        """Decode until ``sample``, and forget what lies more than two windows before it."""
        pieces = [self.held]
        end = self.first + len(self.held)
        while end < sample and not self.ended:
            piece = next(self.pieces, None)
            if piece is None:
                self.ended = True
            else:
                pieces.append(piece)
                end += len(piece)
        held = np.concatenate(pieces)
        dropped = min(max(sample - 2 * self.wanted - self.first, 0), max(len(held) - self.wanted, 0))
        self.held, self.first = held[dropped:], self.first + dropped


def read_sound(media: Media, rate: int) -> Float32[np.ndarray, " time"]:
    """Return a file's whole sound, mono."""
    return np.concatenate(list(_resampled(media, rate)))


def windows(media: Media, rate: int, seconds: float) -> Iterator[tuple[float, Float32[np.ndarray, " time"]]]:
    """Yield windows of a sound with the times of their middles, half a window apart, from the first sample on.

    The first lies half before the sound and the last after it, in silence, so that every sample is in two of them.
    """
    length = round(rate * seconds) // 2 * 2
    hop, held, number = length // 2, np.zeros(length // 2, np.float32), 0
    for piece in chain(_resampled(media, rate), [np.zeros(length, np.float32)]):
        held = np.concatenate([held, piece])
        while len(held) >= length:
            yield number * hop / rate, held[:length].copy()
            held, number = held[hop:], number + 1


def _resampled(media: Media, rate: int) -> Iterator[Float32[np.ndarray, " time"]]:
    """Yield the sound in pieces, mono in -1..1, without gaps, from the file's start."""
    if isinstance(media, HeldMedia):
        import soxr

        yield soxr.resample(media.samples, media.rate, rate) if media.rate != rate else media.samples
        return
    for _, body in _asked(media, "sound", rate=rate):
        yield np.frombuffer(body, np.float32)


def _asked(media: Media, task: str, **request: Any) -> Iterator[Message]:
    """Yield what the decoder says about a file, and keep its notes."""
    if media.source.get("sound" if task in ("sound", "track") else "size") is None:
        raise DataError(f"{shown(media.path)} has no {'sound' if task in ('sound', 'track') else 'picture'}.")
    for head, body in ask(task, shown(media.path), source=media.source, **request):
        for sentence in head.get("notes", ()):
            media.note(sentence)
        if "notes" not in head:
            yield head, body


def _frame(media: Media, head: dict[str, Any], body: bytes) -> "av.VideoFrame":
    """Return the frame that a message holds."""
    import av

    height, width = head["planes"][0]
    small = head["planes"][1] != head["planes"][0]
    frame, at = av.VideoFrame(width, height, "yuv420p" if small else "yuv444p"), 0
    for plane, (rows, columns) in zip(frame.planes, head["planes"], strict=True):
        there = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        there[:rows, :columns] = np.frombuffer(body, np.uint8, rows * columns, at).reshape(rows, columns)
        at += rows * columns
    for name, value in head["tags"].items():
        setattr(frame, name, value)
    return frame
