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
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
from av.stream import Discard
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from avnb.data import media_files
from avnb.data.media_clock import Clock, moved
from avnb.data.media_files import PIXELS, open_media, picture_stream, sound_stream
from avnb.data.media_sound import SLOWEST, Mixing, samples_of, sound_frame, without_padding
from avnb.errors import DataError
from avnb.prepare.plan import SIDE

PACKAGE = Path(__file__).resolve().parents[1]
NEAREST = 1 / 60  # seconds; half a frame at 30 a second, so that a time taken from one finds that frame
SEEK_OVER = 5.0  # seconds without a wanted frame that are worth a jump to the next keyframe
EARLIER = 0.5  # seconds before the first wanted sample at which decoding begins
# What can be joined by writing one file behind the other, or tells its length by guessing: its packets are counted.
JOINED = frozenset(
    ["mpegts", "mpeg", "mpegvideo", "matroska", "avi", "flv", "ogg", "asf", "mp3", "aac", "rm", "loas", "h264"]
)
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


class Film:
    """A file that is cut: its container, which is opened anew where it must be read from its beginning.

    ``length`` is how many seconds its sound lasts; of a file that may have been joined of several, or does not say how
    long it is, that is what its packets say, and ``shifts`` how their times are moved; of several streams of a kind
    they say which are ``empty``, where the header does not. Raises DataError where there is no sound.
    """

    def __init__(self, path: str, container: av.container.InputContainer) -> None:
        self.path, self.container = path, container
        self.shifts: dict[int, list[tuple[int, float]]] = {}
        self.empty: frozenset[int] = frozenset()
        self.jumps, self.start = 0, (container.start_time or 0) / av.time_base
        if self.sound.rate < SLOWEST:
            raise DataError(f"its header says that its sound has {self.sound.rate} samples a second")
        said = _said_length(container, self.sound)
        told = JOINED.isdisjoint(container.format.name.split(",")) and said is not None
        if told and not any(map(_says_nothing, (container.streams.video, container.streams.audio))):
            if said > LONGEST:
                raise DataError(f"its header says that it lasts {said / 3600:,.0f} hours")
            self.length = said
        else:
            self.length = self._pass_by()

    def _pass_by(self) -> float:
        """Pass over all packets; return how long the sound lasts."""
        clock, streams = Clock(self.start), self.container.streams
        used = [stream for stream in (*streams.video, *streams.audio) if stream.codec_context is not None]
        with suppress(av.error.FFmpegError):  # it breaks off
            for packet in self.container.demux(used):
                if packet.size:
                    clock.pass_by(packet)
        self.jumps, self.shifts = clock.jumps, clock.shifts
        self.empty = frozenset(stream.index for stream in used) - clock.counts.keys()
        if self.empty.issuperset(stream.index for stream in streams.audio):
            raise DataError("its sound cannot be decoded")
        self.anew()
        if (sound := self.sound.index) not in clock.ends:
            raise DataError("its sound cannot be decoded")
        return clock.ends[sound] - self.start

    def anew(self) -> None:
        """Open the file again: some decoders leave out what comes first after a jump to the beginning."""
        self.container.close()
        self.container = open_source(self.path)

    @property
    def picture(self) -> av.video.stream.VideoStream | None:
        return picture_stream(self.container, self.empty)

    @property
    def sound(self) -> av.audio.stream.AudioStream:
        stream = sound_stream(self.container, self.empty)
        if stream is None:
            raise DataError("it has no sound")
        return stream

    def packets(self, stream: av.stream.Stream) -> Iterator[av.Packet]:
        """Yield the packets of a stream, at their times, from where the container stands; no other's."""
        for other in self.container.streams:
            other.discard = Discard.default if other is stream else Discard.all
        return moved(self.container.demux(stream), self.shifts.get(stream.index, ()))


def _says_nothing(streams: Sequence[av.stream.Stream]) -> bool:
    """Tell whether there are several streams of a kind of which the file does not say how much they hold."""
    known = [stream for stream in streams if stream.codec_context is not None]
    return len(known) > 1 and not any(stream.frames for stream in known)


def _said_length(container: av.container.InputContainer, stream: av.audio.stream.AudioStream) -> float | None:
    """Return the seconds that the sound lasts as far as the file's header says."""
    if stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


def frames_at(film: Film, times: Sequence[float]) -> Iterator[tuple[av.VideoFrame | None, str]]:
    """Yield the frame that is on the screen at each of the rising ``times``, or None and why there is none."""
    start = 0
    while start < len(times):
        end = start + 1
        while end < len(times) and (film.jumps or times[end] - times[end - 1] <= SEEK_OVER):
            end += 1
        yield from _run_of_frames(film, times[start:end])
        start = end


def _run_of_frames(film: Film, times: Sequence[float]) -> Iterator[tuple[av.VideoFrame | None, str]]:
    """Yield the frames at times that lie close together: one seek, then everything is decoded."""
    wanted = 0
    shown: av.VideoFrame | None = None  # the latest frame so far
    intact = False  # whether all since its keyframe could be decoded
    for frame, fine in _decoded(film, times[0]):
        time = frame.time - film.start
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
    last = None if shown is None else shown.time - film.start
    lasts = 0.0 if shown is None else max(NEAREST, float((shown.duration or 0) * (shown.time_base or 0)))
    for time in times[wanted:]:
        if last is None:
            yield None, "no picture can be decoded"
        elif time > last + lasts + NEAREST:
            yield None, f"the picture ends at {last + lasts:.2f} s, there is none"
        else:
            yield (shown, "") if intact else (None, "the picture is damaged")


def _decoded(film: Film, time: float) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yield the frames from the last keyframe before ``time`` on, and whether each is whole.

    Where a jump leads past ``time`` or past all keyframes, or the clock jumps, it is decoded from its beginning.
    """
    if film.picture.codec_context.width * film.picture.codec_context.height > PIXELS:
        context = film.picture.codec_context
        raise DataError(f"its frames would be {context.width} x {context.height} pixels")
    for begin in (0.0,) if film.jumps else dict.fromkeys((time, 0.0)):
        if begin:
            try:
                film.container.seek(int((begin + film.start) * av.time_base))
            except av.error.FFmpegError:
                continue
        else:
            film.anew()
        # Whole from a keyframe's packet on, or from the first of the file. (The frames that come out of a clip that was
        # cut out of a film need not begin with a keyframe; what comes before them is decoded and not shown.) After
        # damage, whole from a frame on that needs no other.
        fine, late = not begin, False
        first = True
        for packet in film.packets(film.picture):
            fine, first = fine or (first and packet.is_keyframe), False
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
                if begin and frame.time - film.start > time + NEAREST and not late and late is not None:
                    late = True
                    break
                late = None  # the first frame was early enough
                fine = (fine or frame.key_frame) and not frame.is_corrupt
                yield frame, fine
            if late:
                break
        if late is None:
            return


def samples_between(
    film: Film, start: float, end: float, rate: int, dropped: list[tuple[str, str]], name: str
) -> Iterator[np.ndarray]:
    """Yield int16 mono samples at ``rate`` from ``start`` on, in their place in time, until a little after ``end``.

    Decoding begins a little earlier, so that the decoder is in its stride, and what comes before ``start`` is cut off
    at the file's own rate: what is heard does not depend on how a release of FFmpeg jumps.
    """
    resampler, mixing = None, Mixing()
    try:
        for values, source_rate in _mono(film, start, end, mixing, dropped, name):
            if resampler is None:
                resampler, before = av.AudioResampler("s16", "mono", rate), source_rate
            elif source_rate != before:
                yield from _through(resampler, None)
                resampler, before = av.AudioResampler("s16", "mono", rate), source_rate
            yield from _through(resampler, sound_frame(values[:, None], "mono", source_rate))
        if resampler is None:
            raise DataError("its sound cannot be decoded")
        yield from _through(resampler, None)
    finally:  # whoever has enough stops before the end
        if mixing.lost:
            dropped.append((name, f"{mixing.lost:,} samples of its sound are no numbers, and silent"))
        if mixing.cancelled:
            dropped.append((name, "the channels of its sound cancel each other, so that their mean is silent"))


def _mono(
    film: Film, start: float, end: float, mixing: Mixing, dropped: list[tuple[str, str]], name: str
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the mean of the channels from ``start`` until a little after ``end``, a second at once, and its rate."""
    before: float | None = None  # when the sound before ``start`` ends
    expected: float | None = None  # when the next sample would be
    waiting: list[np.ndarray] = []
    held, rate = 0, 0
    for frame, samples in without_padding(_sound_from(film, start)):
        if held and (frame.sample_rate != rate or held >= rate):
            yield np.concatenate(waiting), rate
            waiting, held = [], 0
        known = before if expected is None else expected
        time, rate = (known or 0.0) if frame.time is None else frame.time - film.start, frame.sample_rate
        lasts = samples / rate
        if expected is None and time + lasts <= start:
            before = time + lasts
            continue
        late = 0.0 if known is None else time - known
        if expected is not None and late <= GAP:
            time = expected  # stamps are rounded; one frame follows the other
        since = start if expected is None else expected
        if late > GAP and (lost := min(time, end) - max(since, start)) > 0:
            dropped.append((name, f"sound is missing at {max(since, start):.2f} s: {lost:.2f} s of silence"))
        lead = round((time - since) * rate)  # samples of silence, or what lies before the start
        values = mixing.mean(samples_of(frame)[:samples])
        waiting += [np.zeros(min(max(lead, 0), round((end - start) * rate)), np.float32), values[max(-lead, 0) :]]
        held = sum(map(len, waiting))
        expected = time + lasts
        if expected > end + GAP:
            break
    if held:
        yield np.concatenate(waiting), rate


def _sound_from(film: Film, start: float) -> Iterator[av.AudioFrame]:
    """Yield the frames of the sound from a little before ``start`` on; where a jump leads past it, all of them."""
    if start > EARLIER and not film.jumps:
        stream = film.sound
        with suppress(av.error.FFmpegError):
            film.container.seek(int((start - EARLIER + film.start) / stream.time_base), stream=stream)
            frames = _sound_frames(film)
            first = next(frames, None)
            if first is not None and first.time is not None and first.time - film.start <= start:
                yield first
                yield from frames
                return
    film.anew()
    yield from _sound_frames(film)


def _sound_frames(film: Film) -> Iterator[av.AudioFrame]:
    for packet in film.packets(film.sound):
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            continue  # the gap in time shows what is missing


def _through(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[np.ndarray]:
    for part in resampler.resample(frame):
        yield part.to_ndarray().ravel()


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
