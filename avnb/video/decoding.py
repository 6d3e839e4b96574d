"""What a film, a photo or a sound holds, and its pictures and sound in their order and at their times.

Made for files that nobody has looked at, and lenient: what is damaged is left out and said in a note, and time stamps
that begin again or jump are joined, so that a file is as long as what is in it, whatever its header and its clock say.
``avnb.prepare.decoding`` says why avnb-prepare decodes more strictly. It runs in a process of its own (worker.py),
which may die of a file, and imports no torch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from jaxtyping import Float32, UInt8

from avnb.data.media_clock import PAUSE, Clock, moved
from avnb.data.media_files import (
    PIXELS,
    is_heif,
    is_photo,
    local_file,
    open_media,
    picture_stream,
    read_picture,
    sound_stream,
    why_unusable,
)
from avnb.data.media_sound import SLOWEST, Mixing, samples_of, sound_frame, without_padding
from avnb.errors import DataError

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]  # Y, and U and V of a quarter of its pixels (all of them in 4:4:4)

GAP = 0.05  # seconds by which a sound may lag behind its time stamps before silence is put in
LATE = 1.5  # seconds by which a track may end before its file
PIECE = 1 << 20  # samples of silence made at once
COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # sounds that an MP4 carries as they are
AAC_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000)
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}  # kept where a sound is encoded anew; others become mono
CHANNELS = {layout: channels for channels, layout in LAYOUTS.items()}


class Progress:
    """What is called for every packet, by which a long work is told from a hang."""

    made: Callable[[], None] = staticmethod(lambda: None)


@dataclass(frozen=True)
class Source:
    """A file that was looked at: which of its streams are used, and how their packets' times are moved.

    ``name`` is what messages call it, ``declared`` the seconds of its header, ``shifts`` the (packet, seconds) of each
    stream from which on its clock is moved. ``size`` is (height, width) upright, ``aspect`` a pixel's width for its
    height, ``start`` the time stamp at which the file begins.
    """

    path: str
    name: str
    size: tuple[int, int] | None = None
    photo: bool = False
    picture: int | None = None
    sound: int | None = None
    seconds: float | None = None
    declared: float | None = None
    start: float = 0.0
    aspect: tuple[int, int] = (1, 1)
    shifts: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list, compare=False)

    def note(self, sentence: str) -> None:
        """Add what a reader must know about this file, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def look(path: str, name: str) -> Source:
    """Return what a file holds; raise DataError, in a sentence, where it is neither a picture nor a sound."""
    if why := why_unusable(path):
        raise DataError(f"{name} {why}; name a file.")
    if Path(path).stat().st_size == 0:
        raise DataError(f"{name} is empty (0 bytes).")
    if is_photo(path):
        return Source(path, name, _read_photo(path, name).size[::-1], photo=True)
    try:
        source = _timed(Source(path, name))
        if source.picture is not None:
            source = _measured(source)
    except av.FFmpegError as error:
        raise DataError(
            f"{name} cannot be read as a picture, a video or a sound ({error.strerror}). A recording that was "
            "cut off before it was finished cannot be opened by any player: save or download it again."
        ) from None
    except DataError as error:
        raise DataError(f"{name}: {error}.") from None
    return replace(source, photo=source.picture is not None and is_heif(path), notes=source.notes)


def pictures(source: Source, per_second: float = 0.0) -> Iterator[tuple[float, av.VideoFrame, Planes]]:
    """Yield a film's pictures with their times in seconds, rising, from the file's start, and their upright planes.

    With ``per_second`` only the first of every so much of a second.
    """
    last, period, number = -np.inf, 1 / 25, -1
    for frame in _decoded(source, source.picture, "pictures"):
        if frame.width * frame.height > PIXELS:
            raise DataError(f"{source.name} has pictures of {frame.width} x {frame.height} pixels; they are not read.")
        untimed = frame.time is None  # raw streams
        seconds = max(last, -period) + period if untimed else frame.time - source.start
        if seconds <= last:
            source.note("Some pictures have no time of their own and are left out.")
            continue
        period = min(seconds - last, 1.0) if np.isfinite(last) else period
        last = seconds
        if per_second:
            if int(seconds * per_second + 1e-6) <= number:  # some have none where the rate varies
                continue
            number = int(seconds * per_second + 1e-6)
        yield seconds, frame, upright_planes(frame, layout_of(source.size))
    if not np.isfinite(last):
        raise DataError(f"{source.name}: not one picture can be decoded.")


def photo(source: Source) -> tuple[av.VideoFrame, Planes]:
    """Return a photo as a frame of a film, and its planes."""
    if source.picture is not None:  # a photo in the format of films
        _, frame, planes = next(pictures(source))
        return frame, planes
    frame = av.VideoFrame.from_image(_read_photo(source.path, source.name))
    return frame, upright_planes(frame, layout_of(source.size))


def layout_of(size: tuple[int, int]) -> str:
    """Return how pixels of a picture (height, width) lie: 4:2:0 where both are even, else with all of their colour."""
    return "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"


def upright_planes(frame: av.VideoFrame, layout: str) -> Planes:
    """Return a frame's planes upright, in ``layout`` "yuv420p" or "yuv444p"; new arrays, free to be changed."""
    if frame.format.name not in (layout, layout.replace("yuv", "yuvj")):
        frame = frame.reformat(format=layout)
    turns = turns_of(frame)
    return tuple(np.ascontiguousarray(np.rot90(_plane(plane), turns)) for plane in frame.planes)


def turns_of(frame: av.VideoFrame) -> int:
    """Return by how many quarter turns, counterclockwise, a frame is to be turned (phones only note how they lay)."""
    return round(frame.rotation / 90) % 4


def sound(source: Source, rate: int, layout: str = "mono") -> Iterator[Float32[np.ndarray, "channels time"]]:
    """Yield the sound in pieces, in -1..1, without gaps, from the file's start; mono is the mean of the channels."""
    resampler, before, done = None, 0, 0
    mixing = Mixing()
    for frame, samples in without_padding(_decoded(source, source.sound, "sound")):
        if frame.sample_rate < SLOWEST:
            raise DataError(f"{source.name}: its header says that its sound has {frame.sample_rate} samples a second.")
        if before != frame.sample_rate:
            for piece in _through(resampler, None):
                done += piece.shape[1]
                yield piece
            resampler, before = av.AudioResampler("fltp", layout, rate), frame.sample_rate
        if frame.time is not None:
            missing = round((frame.time - source.start) * rate) - done
            if missing > GAP * rate:  # what is damaged, or a sound that sets in late
                done += missing
                yield from _silence(CHANNELS[layout], missing)
        rate_of_frame, values = frame.sample_rate, samples_of(frame)[:samples]
        if layout == "mono" or values.shape[1] != CHANNELS[layout]:
            values = np.repeat(mixing.mean(values)[:, None], CHANNELS[layout], axis=1)
        for piece in _through(resampler, sound_frame(mixing.numbers(values), layout, rate_of_frame)):
            done += piece.shape[1]
            yield piece
    if resampler is None:
        raise DataError(f"{source.name}: its sound cannot be decoded.")
    yield from _through(resampler, None)
    if mixing.lost:
        source.note(f"{source.name}: {mixing.lost:,} samples of its sound are no numbers, and silent.")
    if mixing.cancelled:
        source.note(f"{source.name}: its channels cancel each other, so that their mean is silent.")


def write_track(source: Source, target: str) -> None:
    """Write a file's sound alone, as an MP4: its packets where it can carry them, else AAC of the nearest rate."""
    try:
        if _copied(source, target):
            return
    except (av.FFmpegError, ValueError):  # what the muxer does not take
        pass
    with open_media(source.path) as container:
        context = container.streams[source.sound].codec_context
        layout = LAYOUTS.get(context.layout.nb_channels, "mono")
        rate = min(AAC_RATES, key=lambda known: abs(known - (context.sample_rate or 0)))
    try:
        with av.open(local_file(target), "w", format="mp4") as file:
            track = file.add_stream("aac", rate=rate, layout=layout)
            done = 0
            for piece in sound(source, rate, layout):
                frame = sound_frame(piece.T, layout, rate)
                frame.pts, frame.time_base = done, Fraction(1, rate)
                done += piece.shape[1]
                file.mux(track.encode(frame))
            file.mux(track.encode(None))
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{source.name}: its sound cannot be put into an MP4 ({error}).") from None


def _copied(source: Source, target: str) -> bool:
    """Write the sound's packets as they are; return whether an MP4 can carry them."""
    with open_media(source.path) as container:
        stream = container.streams[source.sound]
        if stream.codec_context.codec.canonical_name not in COPIED:
            return False
        with av.open(local_file(target), "w", format="mp4") as file:
            track, written = file.add_stream_from_template(stream), 0
            for packet in _packets(container, stream, source):
                if packet.dts is None or not packet.size:
                    continue
                start = round(Fraction(source.start) / packet.time_base)
                packet.dts, packet.pts = packet.dts - start, (packet.dts if packet.pts is None else packet.pts) - start
                packet.stream = track
                file.mux(packet)
                written += 1
        return written > 0


# ------------------------------------------------------------------------------------------------- looking at a file


def _read_photo(path: str, name: str) -> Any:
    try:
        return read_picture(path)
    except DataError as error:
        raise DataError(f"{name} is a picture that cannot be decoded: it {error}.") from None


def _timed(source: Source) -> Source:
    """Return the source with its streams, its length and where its clock jumps: all packets are passed over once."""
    with open_media(source.path) as container:
        picture_stream(container)  # refuses tiles
        clock = Clock((container.start_time or 0) / av.time_base)
        seen = [stream for stream in (*container.streams.video, *container.streams.audio) if stream.codec_context]
        packets = container.demux(seen)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # it breaks off, which whoever decodes it notes
                break
            if packet is None:
                break
            Progress.made()
            if packet.size:
                clock.pass_by(packet)
        empty = {stream.index for stream in seen} - clock.counts.keys() if clock.counts else ()
        picture, heard = picture_stream(container, empty), sound_stream(container, empty)
        used = [stream.index for stream in (picture, heard) if stream is not None]
        ends = [clock.ends[index] for index in used if index in clock.ends]
        if ends:
            seconds = max(ends) - clock.start
        elif picture is not None and picture.average_rate:  # without any time stamps
            seconds = clock.counts[picture.index] / float(picture.average_rate)
        else:
            seconds = container.duration / av.time_base if container.duration else None
        source = replace(
            source, picture=picture and picture.index, sound=heard and heard.index, seconds=seconds, start=clock.start,
            declared=None if clock.jumps else container.duration and container.duration / av.time_base,
            shifts={str(index): clock.shifts[index] for index in used if index in clock.shifts},
        )  # fmt: skip
    if clock.jumps:
        source.note(
            f"{source.name}: its clock begins again or jumps {clock.jumps:,} times; the parts are joined, and pauses "
            f"of more than {PAUSE:.0f} s left out."
        )
    return source


def _measured(source: Source) -> Source:
    """Return the source with the size of the first picture that can be decoded, as it is to be seen."""
    with open_media(source.path) as container:
        stream = container.streams[source.picture]
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    lying = turns_of(frame) % 2
                    size = (frame.width, frame.height) if lying else (frame.height, frame.width)
                    if frame.width * frame.height > PIXELS:
                        raise DataError(f"its pictures are {frame.width} x {frame.height} pixels; they are not read")
                    aspect = 1 / aspect if lying else aspect
                    return replace(source, size=size, aspect=aspect.as_integer_ratio(), notes=source.notes)
            except av.FFmpegError:
                continue
    raise DataError("not one of its pictures can be decoded")


# ----------------------------------------------------------------------------------------------------------- decoding


def _packets(container: Any, stream: Any, source: Source) -> Iterator[Any]:
    """Yield a stream's packets at their moved times, as far as the file can be read."""
    try:
        for packet in moved(container.demux(stream), source.shifts.get(str(stream.index), ())):
            Progress.made()
            yield packet
    except av.FFmpegError as error:
        source.note(f"{source.name} cannot be read to its end ({error.strerror}).")


def _decoded(source: Source, index: int, what: str) -> Iterator[Any]:
    """Yield the decoded frames of a file's pictures or sound; damaged packets are left out and noted."""
    broken, doubtful, last = 0, 0, 0.0
    with open_media(source.path) as container:
        stream = container.streams[index]
        stream.thread_type = "AUTO"
        for packet in _packets(container, stream, source):
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                broken += 1
                continue
            for frame in decoded:
                doubtful += bool(frame.is_corrupt)
                if frame.time is not None:
                    lasts = frame.samples / frame.sample_rate if what == "sound" else frame.duration * frame.time_base
                    last = float(frame.time - source.start + lasts)
                yield frame
    if broken:
        source.note(f"{source.name}: {broken:,} damaged pieces of its {what} are left out.")
    if doubtful:
        source.note(f"{source.name}: {doubtful:,} pieces of its {what} are damaged and may be wrong.")
    if source.declared and last < source.declared - LATE:
        lacks = "are no pictures" if what == "pictures" else "is no sound"
        source.note(
            f"{source.name} says that it lasts {source.declared:.1f} s, but there {lacks} after {last:.1f} s: left "
            "out by its maker, cut off or damaged."
        )


def _plane(plane: Any) -> UInt8[np.ndarray, "height width"]:
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _through(resampler: Any, frame: Any) -> Iterator[Float32[np.ndarray, "channels time"]]:
    for piece in () if resampler is None else resampler.resample(frame):
        yield np.clip(piece.to_ndarray(), -1, 1)


def _silence(channels: int, samples: int) -> Iterator[Float32[np.ndarray, "channels time"]]:
    for begin in range(0, samples, PIECE):
        yield np.zeros((channels, min(PIECE, samples - begin)), np.float32)
