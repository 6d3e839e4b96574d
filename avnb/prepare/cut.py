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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from av.video.reformatter import VideoReformatter
from PIL import Image

from avnb.errors import DataError
from avnb.paths import inside
from avnb.prepare.decoding import (
    Film,
    as_picture,
    frames_at,
    open_source,
    raised_by_us,
    read_picture,
    reason_of,
    samples_between,
)
from avnb.prepare.mask_files import read_mask_file
from avnb.prepare.media_folder import VIDEOS, twins
from avnb.prepare.plan import Cut, Job, Thing

PACKAGE = Path(__file__).resolve().parents[1]
READY = "ready"  # a worker's first line
QUALITY = 92  # of the JPEG files
SHORTEST = 0.1  # seconds of sound below which there is nothing to hear
NAMED = 100  # of what is dropped of one file
BLOCK = 1 << 16  # samples written at once
ROOM = 16 * 2**20  # bytes that must be free on the disk
MEMORY = 6 * 2**30  # bytes of address space for a worker; a broken header may ask for any number


def cut(job: Job, folder: Path, scratch: Path, rate: int, seconds: float) -> dict[str, Any]:
    """Make the job's clips: write their files into ``folder`` and return their rows.

    The result holds "rows", the "files" with their sizes in bytes, and what was "dropped" (name, why). Files are
    written in ``scratch``, on the same disk, and moved into place when the whole job is done.

    Raises DataError where the file gives no clip at all.
    """
    dropped: list[tuple[str, str]] = []
    made: dict[str, Path] = {}  # where a file will be -> where it is now
    try:
        with closing_film(Film(job.source, open_source(job.source))) as film:
            length = film.length
            cuts = _timed(job, film)
            if film.jumps:
                dropped.append((job.id, f"its clock begins again or jumps {film.jumps:,} times; the parts are joined"))
            kept = []
            for place, why in _pictures(film, cuts, scratch, made):
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
                heard = _write_sound(film, made[sound], min(starts), end, rate, dropped, job.id)
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
            reasons = list(dict.fromkeys(why for _, why in dropped))
            more = f" (and {len(reasons) - NAMED:,} more)" if len(reasons) > NAMED else ""
            raise DataError("; ".join(reasons[:NAMED]) + more or "there is nothing to cut from it")
        sizes = {name: path.stat().st_size for name, path in made.items()}
        for name, path in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, inside(folder, name))
        return {"rows": rows, "files": sizes, "dropped": _summed_up(dropped)}
    finally:
        for left in scratch.iterdir():
            left.unlink()


@contextmanager
def closing_film(film: Film) -> Iterator[Film]:
    """Close the container that a film has at the end of the block."""
    try:
        yield film
    finally:
        film.container.close()


def _timed(job: Job, film: Film) -> list[Cut]:
    """Return the job's cuts with the time of each: read off, counted, in the middle, or every so often."""
    length = film.length
    if job.every:
        pattern = job.cuts[0]
        first = min(job.every, length) / 2
        times = np.arange(first, max(length, first + 1e-6), job.every).tolist()
        return [replace(pattern, id=f"{pattern.id}_{round(time * 30):05d}", time=time) for time in times]
    cuts = []
    for clip in job.cuts:
        time = clip.time
        if clip.frame is not None and film.picture is not None:
            rate = film.picture.average_rate
            if not rate:
                raise DataError("it does not say how many frames a second it has")
            time = float(clip.frame / rate)
        cuts.append(replace(clip, time=length / 2 if time is None else time))
    return cuts


def _start(clip: Cut, length: float, seconds: float) -> float:
    """Return when the clip's sound starts: half of it before the frame, but inside the file."""
    return max(0.0, min(clip.time - seconds / 2, length - seconds))


def _summed_up(dropped: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the first of what was dropped, and how much more there is: a header may promise a day of clips."""
    if len(dropped) <= NAMED:
        return dropped
    return [*dropped[:NAMED], (dropped[-1][0], f"and {len(dropped) - NAMED:,} more of this file, this the last")]


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


def _pictures(film: Film, cuts: Sequence[Cut], scratch: Path, made: dict[str, Path]) -> Iterator[tuple[int, str]]:
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
                write(place, _still(clip.picture))
            except DataError as error:
                yield place, str(error)
            else:
                yield place, ""
    if not filmed:
        return
    if film.picture is None:
        raise DataError("it has no picture")
    shrink = VideoReformatter()
    found = frames_at(film, [time for time, _ in filmed])
    for (time, place), (frame, why) in zip(filmed, found, strict=True):
        if frame is None:
            yield place, f"{why} at {time:.2f} s"
        else:
            write(place, as_picture(frame, shrink))
            yield place, ""


def _still(path: str) -> Image.Image:
    """Return a picture file, or the middle frame of a video whose sound is another file's."""
    if Path(path).suffix.lower() not in VIDEOS:
        return read_picture(path)
    with closing_film(Film(path, open_source(path))) as film:
        if film.picture is None:
            raise DataError(f"{Path(path).name} has no picture")
        frame, why = next(frames_at(film, [film.length / 2]))
        if frame is None:
            raise DataError(f"{Path(path).name}: {why}")
        return as_picture(frame, VideoReformatter())


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
    film: Film,
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
        for samples in samples_between(film, start, end, rate, dropped, name):
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
        return _cut_or_twin(job_from(said["job"]), folder, scratch, said["rate"], said["seconds"])
    except DataError as error:
        why = str(error)
    except Exception as error:
        if fault := _fault(error):
            return {"rows": [], "files": {}, "dropped": [], "failed": fault}
        why = f"cannot be decoded ({type(error).__name__}: {reason_of(error)})"
    try:
        full = shutil.disk_usage(folder).free < ROOM
    except OSError:
        full = True
    return {"full": why} if full else {"rows": [], "files": {}, "dropped": [], "broken": why}


def _cut_or_twin(job: Job, folder: Path, scratch: Path, rate: int, seconds: float) -> dict[str, Any]:
    """Cut a file, or where it is broken another one of its name beside it, and say so."""
    try:
        return cut(job, folder, scratch, rate, seconds)
    except DataError as error:
        for other in twins(job.source):
            try:
                result = cut(replace(job, source=other), folder, scratch, rate, seconds)
            except DataError:
                continue
            broken, used = (Path(path).name for path in (job.source, other))
            result["dropped"].append((job.id, f"{broken} is broken ({error}); {used} is used in its place"))
            return result
        raise


def _fault(error: Exception) -> str:
    """Return which exception of our own code this is, and where; "" where the file, its decoder or the disk did it.

    Decoders raise ValueError and RuntimeError on damage; raised by a line of ours they are our mistakes.
    """
    if isinstance(error, (av.error.FFmpegError, OSError, MemoryError, OverflowError)):
        return ""
    if isinstance(error, (ValueError, RuntimeError)) and not raised_by_us(error):
        return ""
    stack = traceback.extract_tb(error.__traceback__)
    place = next(entry for entry in reversed(stack) if PACKAGE in Path(entry.filename).parents)
    file = Path(place.filename).relative_to(PACKAGE.parent).as_posix()
    return f"{type(error).__name__}: {error} ({file}, line {place.lineno}, in {place.name})"


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
