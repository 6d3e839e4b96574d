"""Pictures and sound of a file, decoded as they are asked for: whatever its length, little of it is in memory.

Anything that FFmpeg reads, through PyAV. What is damaged is left out and said in ``notes``; what cannot be used at all
is refused in a sentence. ``avnb.prepare.decoding`` says why avnb-prepare decodes more strictly.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, UInt8

from avnb.data.media_files import open_media
from avnb.errors import DataError
from avnb.paths import shown

if TYPE_CHECKING:
    import av

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # Y, and U and V of a quarter of its pixels (all of them in 4:4:4)

GAP = 0.05  # seconds by which a sound may lag behind its time stamps before silence is put in
LATE = 1.5  # seconds by which a track may end before its file


@dataclass(frozen=True)
class Media:
    """What a file holds. ``size`` is (height, width) upright, ``seconds`` None where the file does not say.

    ``aspect`` is how wide a pixel is shown for its height; ``start`` the time stamp at which the file begins.
    """

    path: Path
    size: tuple[int, int] | None
    has_sound: bool
    seconds: float | None
    photo: bool = False
    start: float = 0.0
    aspect: Fraction = Fraction(1)
    notes: list[str] = field(default_factory=list, compare=False)

    def note(self, sentence: str) -> None:
        """Add what a reader must know about this file, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def look_at(path: str | Path) -> Media:
    """Return what ``path`` holds: a photo, or pictures and sound; raise DataError where it is neither."""
    import av

    path = Path(path).expanduser()
    if not path.is_file():
        raise DataError(f"{shown(path)} {'is a folder' if path.is_dir() else 'does not exist'}; name a file.")
    if path.stat().st_size == 0:
        raise DataError(f"{shown(path)} is empty (0 bytes).")
    if (photo := _photo_size(path)) is not None:
        return Media(path, photo, False, None, photo=True)
    try:
        with open_media(path) as container:
            picture, sound = picture_stream(container), sound_stream(container)
            size, aspect = (None, Fraction(1)) if picture is None else _upright_size(container, picture, path)
            lasts = container.duration / av.time_base if container.duration else None
            start = (container.start_time or 0) / av.time_base
            return Media(path, size, sound is not None, lasts, start=start, aspect=aspect)
    except av.FFmpegError as error:
        raise DataError(
            f"{shown(path)} cannot be read as a picture, a video or a sound ({error.strerror}). A recording that was "
            "cut off before it was finished cannot be opened by any player: save or download it again."
        ) from None


def frames(media: Media) -> Iterator[tuple[float, "av.VideoFrame"]]:
    """Yield the pictures of a video with their times in seconds, rising, from the file's start."""
    last, period = -np.inf, 1 / 25
    for frame in _decoded(media, "pictures"):
        untimed = frame.time is None  # raw streams
        seconds = max(last, -period) + period if untimed else frame.time - media.start
        if seconds <= last:
            media.note("Some pictures have no time of their own and are left out.")
            continue
        period = min(seconds - last, 1.0) if np.isfinite(last) else period
        last = seconds
        yield seconds, frame
    if not np.isfinite(last):
        raise DataError(f"{shown(media.path)}: not one picture can be decoded.")


def photo_frames(media: Media, seconds: float, per_second: float) -> Iterator[tuple[float, "av.VideoFrame"]]:
    """Yield a photo ``per_second`` times a second, for as long as its sound lasts."""
    import av
    from PIL import Image, ImageOps

    with Image.open(media.path) as image:
        frame = av.VideoFrame.from_image(ImageOps.exif_transpose(image).convert("RGB"))
    for number in range(max(1, int(seconds * per_second))):
        yield number / per_second, frame


def small_picture(frame: "av.VideoFrame", height: int, width: int) -> UInt8[np.ndarray, "3 height width"]:
    """Return a frame upright, resized (bicubic, as the stores do it)."""
    turns = _turns(frame)
    size = (width, height) if turns % 2 else (height, width)
    rgb = frame.to_ndarray(format="rgb24", height=size[0], width=size[1], interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(rgb, turns).transpose(2, 0, 1))


def upright_planes(frame: "av.VideoFrame", layout: str) -> Planes:
    """Return a frame's planes upright, in ``layout`` "yuv420p" or "yuv444p"; new arrays, free to be changed."""
    if frame.format.name not in (layout, layout.replace("yuv", "yuvj")):
        frame = frame.reformat(format=layout)
    turns = _turns(frame)
    return tuple(np.ascontiguousarray(np.rot90(_plane(plane), turns)) for plane in frame.planes)


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
    import av

    resampler, kind, done = None, None, 0
    for frame in _decoded(media, "sound"):
        if kind != (frame.layout.name, frame.sample_rate):
            kind = frame.layout.name, frame.sample_rate
            resampler = av.AudioResampler("fltp", frame.layout.name, rate)
        if frame.time is not None:
            missing = round((frame.time - media.start) * rate) - done
            if missing > GAP * rate:  # what is damaged, or a sound that sets in late
                done += missing
                yield np.zeros(missing, np.float32)
            frame.pts = None  # the resampler would fill gaps again
        for piece in resampler.resample(frame):
            done += piece.samples
            yield _mono(piece)
    if resampler is None:
        raise DataError(f"{shown(media.path)}: its sound cannot be decoded.")
    for piece in resampler.resample(None):
        done += piece.samples
        yield _mono(piece)


def _mono(piece: "av.AudioFrame") -> Float32[np.ndarray, " time"]:
    sound = piece.to_ndarray().mean(axis=0)
    return np.clip(np.nan_to_num(sound), -1, 1).astype(np.float32)


def _decoded(media: Media, what: str) -> Iterator[Any]:
    """Yield the decoded frames of a file's pictures or sound; damaged packets are left out and noted."""
    import av

    broken, last = 0, 0.0
    with open_media(media.path) as container:
        stream = picture_stream(container) if what == "pictures" else sound_stream(container)
        stream.thread_type = "AUTO"
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                media.note(f"{shown(media.path)} cannot be read on from {last:.1f} s ({error.strerror}).")
                return
            if packet is None:
                break
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                broken += 1
                continue
            for frame in decoded:
                if frame.time is not None:
                    lasts = frame.samples / frame.sample_rate if what == "sound" else frame.duration * frame.time_base
                    last = float(frame.time - media.start + lasts)
                yield frame
    if broken:
        media.note(f"{shown(media.path)}: {broken:,} damaged pieces of its {what} are left out.")
    if media.seconds and last < media.seconds - LATE:
        lacks = "are no pictures" if what == "pictures" else "is no sound"
        media.note(
            f"{shown(media.path)} says that it lasts {media.seconds:.1f} s, but there {lacks} after {last:.1f} s: left "
            "out by its maker, cut off or damaged."
        )


def picture_stream(container: "av.container.InputContainer") -> "av.VideoStream | None":
    """Return the first video stream that is no album cover."""
    from av.stream import Disposition

    return next((found for found in container.streams.video if not found.disposition & Disposition.attached_pic), None)


def sound_stream(container: "av.container.InputContainer") -> "av.AudioStream | None":
    """Return the first audio stream that can be decoded (phones add some that only they understand)."""
    return next((found for found in container.streams.audio if found.codec_context is not None), None)


def _upright_size(
    container: "av.container.InputContainer", stream: "av.VideoStream", path: Path
) -> tuple[tuple[int, int], Fraction]:
    """Return (height, width) of the first picture that can be decoded, as it is to be seen, and a pixel's aspect."""
    import av

    aspect = Fraction(stream.sample_aspect_ratio or 1)
    for packet in container.demux(stream):
        try:
            for frame in packet.decode():
                lying = _turns(frame) % 2
                size = (frame.width, frame.height) if lying else (frame.height, frame.width)
                return size, 1 / aspect if lying else aspect
        except av.FFmpegError:
            continue
    raise DataError(f"{shown(path)}: not one of its pictures can be decoded.")


def _photo_size(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of a still picture as it is to be seen; None where the file is something else."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                return None
            width, height = ImageOps.exif_transpose(image).size
            return height, width
    except UnidentifiedImageError:
        return None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{shown(path)} is a picture that cannot be decoded ({error}).") from None


def _turns(frame: "av.VideoFrame") -> int:
    """Return by how many quarter turns, counterclockwise, a frame is to be turned (phones only note how they lay)."""
    return round(frame.rotation / 90) % 4


def _plane(plane: "av.video.plane.VideoPlane") -> UInt8[np.ndarray, "height width"]:
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]
