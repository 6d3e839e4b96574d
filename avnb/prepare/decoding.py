"""Frames and sound of a video at given times, and pictures: the decoder of avnb-prepare.

It makes a data set out of files that nobody looks at one by one, and so it is strict: only the file itself is opened,
a damaged frame is no frame, and silence in place of lost sound is reported. ``avnb.video.reader`` shows a person a
video of their own, and so it is lenient: it leaves out what is damaged and goes on. Their ideas of a gap differ too.
Here it lies between one frame of sound and the next, and is filled from ``GAP`` on: a clip is a few seconds. There it
is counted from the file's start, since heat must keep in step with the sound for hours.

It imports no torch, so that a worker is small and starts quickly.
"""

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.stream import Discard
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from avnb.data import media_files
from avnb.data.media_files import PIXELS, open_media, picture_stream, sound_stream
from avnb.errors import DataError
from avnb.prepare.plan import SIDE

PACKAGE = Path(__file__).resolve().parents[1]
NEAREST = 1 / 60  # seconds; half a frame at 30 a second, so that a time taken from one finds that frame
SEEK_OVER = 5.0  # seconds without a wanted frame that are worth a jump to the next keyframe
SLOWEST = 1000  # samples a second; with fewer, a broken header stretches a short sound to hours
GAP = 0.1  # seconds by which sound may be late before silence is put in its place
LONGEST = 24 * 3600  # seconds; a broken header may promise years of sound, and a clip for each second of them


def open_source(path: str) -> av.container.InputContainer:
    """Open a media file: only the file itself, in a format that holds media."""
    try:
        container = open_media(path)
    except av.error.FFmpegError as error:
        raise DataError(f"cannot be opened ({reason_of(error)})") from None
    for stream in (*container.streams.video, *container.streams.audio):
        if stream.codec_context is None:  # what only its maker can decode
            continue
        stream.codec_context.thread_count = 1  # the workers share the cores, not the threads
        if stream.type == "video":
            stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not something made up
    return container


def sound_of(container: av.container.InputContainer) -> av.audio.stream.AudioStream:
    """Return the stream that a player would play; raise DataError where there is none."""
    stream = sound_stream(container)
    if stream is None:
        raise DataError("it has no sound")
    return stream


def sound_length(container: av.container.InputContainer) -> float:
    """Return the seconds that the sound lasts, as far as the file's header says."""
    stream = sound_of(container)
    if stream.rate < SLOWEST:
        raise DataError(f"its header says that its sound has {stream.rate} samples a second")
    if stream.duration is not None and stream.time_base:
        length = float(stream.duration * stream.time_base)
    elif container.duration is not None:
        length = container.duration / av.time_base
    else:
        raise DataError("it does not say how long it is")
    if length > LONGEST:
        raise DataError(f"its header says that it lasts {length / 3600:,.0f} hours")
    return length


def frames_at(
    container: av.container.InputContainer, times: Sequence[float]
) -> Iterator[tuple[av.VideoFrame | None, str]]:
    """Yield the frame that is on the screen at each of the rising ``times``, or None and why there is none."""
    start = 0
    while start < len(times):
        end = start + 1
        while end < len(times) and times[end] - times[end - 1] <= SEEK_OVER:
            end += 1
        yield from _run_of_frames(container, times[start:end])
        start = end


def _run_of_frames(
    container: av.container.InputContainer, times: Sequence[float]
) -> Iterator[tuple[av.VideoFrame | None, str]]:
    """Yield the frames at times that lie close together: one seek, then everything is decoded."""
    wanted = 0
    shown: av.VideoFrame | None = None  # the latest frame so far
    intact = False  # whether all since its keyframe could be decoded
    for frame, fine in _decoded(container, times[0]):
        time = frame.time - _origin(container)
        while wanted < len(times) and shown is not None and time > times[wanted] + NEAREST:
            yield (shown, "") if intact else (None, "the picture is damaged")
            wanted += 1
        if wanted == len(times):
            return
        if shown is None and time > times[wanted] + NEAREST:  # the picture starts later than the file
            shown, intact = frame, fine
            if time > times[wanted] + 0.5:
                yield None, f"the picture starts only at {time:.2f} s and there is none"
                wanted += 1
                if wanted == len(times):
                    return
            continue
        shown, intact = frame, fine
    last = None if shown is None else shown.time - _origin(container)
    lasts = 0.0 if shown is None else max(NEAREST, float((shown.duration or 0) * (shown.time_base or 0)))
    for time in times[wanted:]:
        if last is None:
            yield None, "no picture can be decoded"
        elif time > last + lasts + NEAREST:
            yield None, f"the picture ends at {last + lasts:.2f} s, there is none"
        else:
            yield (shown, "") if intact else (None, "the picture is damaged")


def _decoded(container: av.container.InputContainer, time: float) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yield the frames from the last keyframe before ``time`` on, and whether each is whole.

    Where the file's index leads past ``time``, it is decoded from its beginning.
    """
    stream = picture_stream(container)
    if stream.codec_context.width * stream.codec_context.height > PIXELS:
        raise DataError(f"its frames would be {stream.codec_context.width} x {stream.codec_context.height} pixels")
    _only(container, stream)
    for begin in dict.fromkeys((time, 0.0)):
        try:
            container.seek(int((begin + _origin(container)) * av.time_base))
        except av.error.FFmpegError:
            if begin:
                continue
        fine, late = False, False
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.EOFError:
                break
            except av.error.FFmpegError:
                fine = False
                continue
            for frame in frames:
                if frame.time is None:
                    continue
                if begin and frame.time - _origin(container) > time + NEAREST and not late and late is not None:
                    late = True
                    break
                late = None  # the first frame was early enough
                fine = (fine or frame.key_frame) and not frame.is_corrupt
                yield frame, fine
            if late:
                break
        if not late:
            return


def samples_between(
    container: av.container.InputContainer,
    start: float,
    end: float,
    rate: int,
    dropped: list[tuple[str, str]],
    name: str,
) -> Iterator[np.ndarray]:
    """Yield int16 mono samples at ``rate`` from ``start`` on, in their place in time, until a little after ``end``."""
    stream = sound_of(container)
    _only(container, stream)
    resampler = av.AudioResampler("s16", "mono", rate)
    try:
        container.seek(int((start + _origin(container)) / stream.time_base), stream=stream)
    except av.error.FFmpegError:
        container.seek(0)
    expected: float | None = None
    surplus = 0  # samples before the start that are still to be thrown away
    for frame in _sound_frames(container, stream):
        time = expected if frame.time is None else frame.time - _origin(container)
        if time is None:
            time = 0.0
        if expected is None:  # the first
            surplus = round((start - time) * rate)
            if surplus < 0:
                yield np.zeros(min(-surplus, round((end - start) * rate)), np.int16)
                surplus = 0
        elif time - expected > GAP:
            lost = min(time, end) - max(expected, start)
            if lost > 0:
                dropped.append((name, f"sound is missing at {max(expected, start):.2f} s: {lost:.2f} s of silence"))
            silence = np.zeros(max(0, round((min(time, end) - expected) * rate)), np.int16)
            yield silence[surplus:]
            surplus = max(0, surplus - len(silence))
        expected = time + frame.samples / frame.sample_rate
        frame.pts = None  # the resampler counts for itself
        for part in resampler.resample(frame):
            samples = part.to_ndarray().ravel()
            yield samples[surplus:]
            surplus = max(0, surplus - len(samples))
        if expected > end + GAP:
            break
    if expected is None:
        raise DataError("its sound cannot be decoded")
    for part in resampler.resample(None):
        yield part.to_ndarray().ravel()[surplus:]


def _sound_frames(
    container: av.container.InputContainer, stream: av.audio.stream.AudioStream
) -> Iterator[av.AudioFrame]:
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            continue  # the gap in time shows what is missing


def _only(container: av.container.InputContainer, stream: av.stream.Stream) -> None:
    """Let the container pass over all streams but one."""
    for other in container.streams:
        other.discard = Discard.default if other is stream else Discard.all


def _origin(container: av.container.InputContainer) -> float:
    """Return the second at which the file's clock starts."""
    return (container.start_time or 0) / av.time_base


def read_picture(path: str | Path) -> Image.Image:
    """Return a picture as a frame is written: upright, its shorter side at most SIDE pixels."""
    try:
        picture = media_files.read_picture(path, shorter=SIDE)
    except DataError as error:
        raise DataError(f"picture {Path(path).name} {error}") from None
    return picture.resize(_size(*picture.size), Image.Resampling.BICUBIC)


def as_picture(frame: av.VideoFrame, shrink: VideoReformatter) -> Image.Image:
    width, height = _size(frame.width, frame.height)
    rgb = shrink.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1)
    picture = Image.fromarray(rgb.to_ndarray())
    return picture.rotate(frame.rotation, expand=True) if frame.rotation % 360 else picture


def _size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a picture is written: the shorter side at most SIDE pixels."""
    scale = min(1.0, SIDE / max(1, min(width, height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def reason_of(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def raised_by_us(error: Exception) -> bool:
    """Tell whether a line of this package raised the exception, not one of a library that it called."""
    return PACKAGE in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parents
