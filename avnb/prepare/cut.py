"""The decoding step that all importers share: a video, or a sound and pictures, in; frames, a sound and rows out.

``python -m avnb.prepare.cut`` is a worker process: jobs come in as JSON, a line each, and results go
out the same way (see workers.py). It imports no torch, so that a worker is small and starts quickly.
"""

import json
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.stream import Discard
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from avnb.errors import DataError
from avnb.prepare.mask_files import read_mask_file
from avnb.prepare.plan import SIDE, Cut, Job, Thing
from avnb.pyav import open_media

PACKAGE = Path(__file__).resolve().parents[1]
READY = "ready"  # a worker's first line
QUALITY = 92  # of the JPEG files
NEAREST = 1 / 60  # seconds; half a frame at 30 a second, so that a time taken from one finds that frame
SEEK_OVER = 5.0  # seconds without a wanted frame that are worth a jump to the next keyframe
SLOWEST = 1000  # samples a second; with fewer, a broken header stretches a short sound to hours
GAP = 0.1  # seconds by which sound may be late before silence is put in its place
SHORTEST = 0.1  # seconds of sound below which there is nothing to hear
LONGEST = 24 * 3600  # seconds; a broken header may promise years of sound, and a clip for each second of them
PIXELS = 64_000_000  # of a frame; a broken header may ask for any number
BLOCK = 1 << 16  # samples written at once
ROOM = 16 * 2**20  # bytes that must be free on the disk
MEMORY = 6 * 2**30  # bytes of address space for a worker; a broken header may ask for any number
# What a video may be. Play lists and the like, which make the decoder open other files or addresses, are none.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpeg,mpegts,mp3,aac,ogg,wav,flac,w64"


def cut(job: Job, folder: Path, scratch: Path, rate: int, seconds: float) -> dict[str, Any]:
    """Make the job's clips: write their files into ``folder`` and return their rows.

    The result holds "rows", the "files" with their sizes in bytes, and what was "dropped" (name, why). Files are
    written in ``scratch``, on the same disk, and moved into place when the whole job is done.

    Raises DataError where the file gives no clip at all.
    """
    dropped: list[tuple[str, str]] = []
    made: dict[str, Path] = {}  # where a file will be -> where it is now
    try:
        with _open(job.source) as container:
            length = _length(container)
            cuts = _timed(job, container, length)
            kept = []
            for place, why in _pictures(container, cuts, scratch, made):
                if why:
                    dropped.append((cuts[place].id, why))
                else:
                    kept.append(cuts[place])
            kept = sorted(_with_masks(kept, scratch, made, dropped), key=lambda clip: (clip.time, clip.id))
            starts = [_start(clip, length, seconds) for clip in kept]
            sound = f"audio/{job.id}.flac"
            heard = 0.0
            if kept:
                made[sound] = _temporary(scratch, sound)
                end = max(starts) + seconds
                heard = _write_sound(container, made[sound], min(starts), end, rate, dropped, job.id)
        rows = []
        for clip, start in zip(kept, starts, strict=True):
            begin = max(0.0, min(start - min(starts), heard - seconds))
            if start - min(starts) > heard - SHORTEST:
                dropped.append((clip.id, f"the sound ends before {clip.time:.2f} s"))
                for part in _parts(clip):
                    made.pop(part, None)
                continue
            rows.append(_row(clip, sound, begin, job.video))
        if not rows:
            made = {}
            raise DataError("; ".join(dict.fromkeys(why for _, why in dropped)) or "there is nothing to cut from it")
        sizes = {name: path.stat().st_size for name, path in made.items()}
        for name, path in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, folder / name)
        return {"rows": rows, "files": sizes, "dropped": dropped}
    finally:
        for left in scratch.iterdir():
            left.unlink()


def _open(path: str) -> av.container.InputContainer:
    """Open a media file: only the file itself, in a format that holds media."""
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        container = open_media(f"file:{path}", container_options=options)
    except av.error.FFmpegError as error:
        raise DataError(f"cannot be opened ({_said(error)})") from None
    for stream in (*container.streams.video, *container.streams.audio):
        stream.codec_context.thread_count = 1  # the workers share the cores, not the threads
        if stream.type == "video":
            stream.codec_context.options = {"err_detect": "explode"}  # damage is an error, not something made up
    return container


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _length(container: av.container.InputContainer) -> float:
    """Return the seconds that the sound lasts, as far as the file's header says."""
    if not container.streams.audio:
        raise DataError("it has no sound")
    stream = container.streams.audio[0]
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


def _timed(job: Job, container: av.container.InputContainer, length: float) -> list[Cut]:
    """Return the job's cuts with the time of each: read off, counted, in the middle, or every so often."""
    if job.every:
        pattern = job.cuts[0]
        first = min(job.every, length) / 2
        times = np.arange(first, max(length, first + 1e-6), job.every).tolist()
        return [replace(pattern, id=f"{pattern.id}_{round(time * 30):05d}", time=time) for time in times]
    cuts = []
    for clip in job.cuts:
        time = clip.time
        if clip.frame is not None and container.streams.video:
            rate = container.streams.video[0].average_rate
            if not rate:
                raise DataError("it does not say how many frames a second it has")
            time = float(clip.frame / rate)
        cuts.append(replace(clip, time=length / 2 if time is None else time))
    return cuts


def _start(clip: Cut, length: float, seconds: float) -> float:
    """Return when the clip's sound starts: half of it before the frame, but inside the file."""
    return max(0.0, min(clip.time - seconds / 2, length - seconds))


def _parts(clip: Cut) -> tuple[str, str]:
    return f"frames/{clip.id}.jpg", f"masks/{clip.id}.png"


def _row(clip: Cut, sound: str, start: float, video: str) -> dict[str, Any]:
    frame, mask = _parts(clip)
    things = []
    for thing in clip.things:
        x0, y0, x1, y1 = (round(corner, 5) for corner in thing.xyxy)
        said = {"label": thing.label, "xyxy": [x0, y0, x1, y1], "sounding": True}
        things.append(said | ({} if thing.share == 1 else {"share": thing.share}))
    return {
        "id": clip.id, "split": clip.split, "subset": clip.subset, "file_name": frame, "audio": sound,
        "start": round(start, 4), "mask": mask if clip.mask else None, "objects": things,
        "labels": list(clip.labels), "video": video,
    }  # fmt: skip


# Pictures


def _pictures(
    container: av.container.InputContainer, cuts: Sequence[Cut], scratch: Path, made: dict[str, Path]
) -> Iterator[tuple[int, str]]:
    """Write the frame of each cut; yield its place among the cuts, and why there is none ("" where there is)."""

    def write(place: int, picture: Image.Image) -> None:
        name, _ = _parts(cuts[place])
        path = made[name] = _temporary(scratch, name)
        (path.parent).mkdir(parents=True, exist_ok=True)
        picture.save(path, "JPEG", quality=QUALITY)

    filmed = sorted((clip.time, place) for place, clip in enumerate(cuts) if clip.picture is None)
    for place, clip in enumerate(cuts):
        if clip.picture is not None:
            try:
                write(place, _read_picture(clip.picture))
            except DataError as error:
                yield place, str(error)
            else:
                yield place, ""
    if not filmed:
        return
    if not container.streams.video:
        raise DataError("it has no picture")
    shrink = VideoReformatter()
    found = _frames(container, [time for time, _ in filmed])
    for (time, place), (frame, why) in zip(filmed, found, strict=True):
        if frame is None:
            yield place, f"{why} at {time:.2f} s"
        else:
            write(place, _as_picture(frame, shrink))
            yield place, ""


def _read_picture(path: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                width, height = _size(*image.size)
                image.draft("RGB", (2 * width, 2 * height))
                return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        except Exception as error:  # Pillow raises many types on damaged files
            if _ours(error):
                raise
            raise DataError(f"picture {Path(path).name} cannot be decoded ({type(error).__name__})") from None


def _size(width: int, height: int) -> tuple[int, int]:
    """Return the size at which a picture is written: the shorter side at most SIDE pixels."""
    scale = min(1.0, SIDE / max(1, min(width, height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _as_picture(frame: av.VideoFrame, shrink: VideoReformatter) -> Image.Image:
    width, height = _size(frame.width, frame.height)
    rgb = shrink.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1)
    picture = Image.fromarray(rgb.to_ndarray())
    return picture.rotate(frame.rotation, expand=True) if frame.rotation % 360 else picture


def _frames(
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
    stream = container.streams.video[0]
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


def _only(container: av.container.InputContainer, stream: av.stream.Stream) -> None:
    """Let the container pass over all streams but one."""
    for other in container.streams:
        other.discard = Discard.default if other is stream else Discard.all


def _origin(container: av.container.InputContainer) -> float:
    """Return the second at which the file's clock starts."""
    return (container.start_time or 0) / av.time_base


# Masks


def _with_masks(cuts: list[Cut], scratch: Path, made: dict[str, Path], dropped: list[tuple[str, str]]) -> Iterator[Cut]:
    """Write the mask of each cut that has one and give its object the mask's extent; drop unreadable ones."""
    for clip in cuts:
        if clip.mask is None:
            yield clip
            continue
        frame, name = _parts(clip)
        try:
            mask = read_mask_file(Path(clip.mask))
        except DataError as error:
            dropped.append((clip.id, str(error)))
            made.pop(frame)
            continue
        path = made[name] = _temporary(scratch, name)
        Image.fromarray(mask.astype(np.uint8)).save(path, "PNG")
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        height, width = mask.shape
        extent = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
        yield replace(clip, things=(Thing(clip.things[0].label, tuple(float(corner) for corner in extent)),))


# Sound


def _write_sound(
    container: av.container.InputContainer,
    path: Path,
    start: float,
    end: float,
    rate: int,
    dropped: list[tuple[str, str]],
    name: str,
) -> float:
    """Write the sound from ``start`` to ``end`` as mono at ``rate`` Hz, block by block; return the seconds written.

    Where sound is missing in between silence is written, and said in ``dropped``.
    """
    wanted = round((end - start) * rate)
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16", format="FLAC") as file:
        blocks: list[np.ndarray] = []
        held = written = 0
        for samples in _samples(container, start, end, rate, dropped, name):
            part = samples[: wanted - written]
            blocks.append(part)
            held, written = held + len(part), written + len(part)
            if held >= BLOCK:
                file.write(np.concatenate(blocks))
                blocks, held = [], 0
            if written >= wanted:
                break
        if blocks:
            file.write(np.concatenate(blocks))
    return written / rate


def _samples(
    container: av.container.InputContainer,
    start: float,
    end: float,
    rate: int,
    dropped: list[tuple[str, str]],
    name: str,
) -> Iterator[np.ndarray]:
    """Yield int16 mono samples at ``rate`` from ``start`` on, in their place in time, until a little after ``end``."""
    stream = container.streams.audio[0]
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


# The worker


def _temporary(scratch: Path, name: str) -> Path:
    return scratch / name.replace("/", "%2f")


def job_from(said: dict[str, Any]) -> Job:
    """Return the job that ``dataclasses.asdict`` has turned into plain values."""
    cuts = tuple(
        Cut(
            **(clip | {"labels": tuple(clip["labels"])})
            | {"things": tuple(Thing(t["label"], t["xyxy"] and tuple(t["xyxy"]), t["share"]) for t in clip["things"])}
        )
        for clip in said["cuts"]
    )
    return Job(**(said | {"cuts": cuts, "of": tuple(said["of"])}))


def attempt(said: dict[str, Any]) -> dict[str, Any]:
    """Do a job and return its result: what cut() returns, or why there is none.

    The reason is "broken" where the file is, "full" where the disk is, and "failed" where it is a mistake of our own.
    """
    folder, scratch = Path(said["folder"]), Path(said["scratch"])
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        return cut(job_from(said["job"]), folder, scratch, said["rate"], said["seconds"])
    except DataError as error:
        why = str(error)
    except Exception as error:
        if fault := _fault(error):
            return {"rows": [], "files": {}, "dropped": [], "failed": fault}
        why = f"cannot be decoded ({type(error).__name__}: {_said(error)})"
    try:
        full = shutil.disk_usage(folder).free < ROOM
    except OSError:
        full = True
    return {"full": why} if full else {"rows": [], "files": {}, "dropped": [], "broken": why}


def _fault(error: Exception) -> str:
    """Return which exception of our own code this is, and where; "" where the file, its decoder or the disk did it.

    Decoders raise ValueError and RuntimeError on damage; raised by a line of ours they are our mistakes.
    """
    if isinstance(error, (av.error.FFmpegError, OSError, MemoryError, OverflowError)):
        return ""
    if isinstance(error, (ValueError, RuntimeError)) and not _ours(error):
        return ""
    stack = traceback.extract_tb(error.__traceback__)
    place = next(entry for entry in reversed(stack) if PACKAGE in Path(entry.filename).parents)
    file = Path(place.filename).relative_to(PACKAGE.parent).as_posix()
    return f"{type(error).__name__}: {error} ({file}, line {place.lineno}, in {place.name})"


def _ours(error: Exception) -> bool:
    """Tell whether a line of this package raised the exception, not one of a library that it called."""
    return PACKAGE in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parents


def main() -> None:
    """Do jobs from standard input until it closes, which it also does when the process that sends them is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sender's to handle
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # nothing that a library prints can be mistaken for an answer
    av.logging.set_level(None)
    if hasattr(os, "uname") and os.uname().sysname == "Linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    answers.write(READY + "\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(attempt(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
