"""What an importer says: which clips are to be cut from which files, and what was wrong with what it read.

An importer is a function ``plan(options, made)`` that yields the jobs of a data set, one after the other so that none
is kept in memory, and writes what it finds out on the way into ``made``. Nothing is decoded yet. Options and jobs
travel to other processes, so they hold plain values only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SIDE = 256  # pixels of a written frame's shorter side, where the video has more: the papers' crops are 224
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in 0..1 of the frame


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said, as far as an importer needs to know it."""

    videos: Path
    annotations: tuple[Path, ...] = ()
    every: float = 1.0
    keep_leaked: bool = False
    seed: int = 0
    rate: int = 22050
    seconds: float = 3.0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Thing:
    """An object that sounds: its class, its box (None: the extent of the clip's mask), and its share of the truth."""

    label: str
    xyxy: Box | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Cut:
    """A clip to be made of a file: the frame at ``time`` seconds (None: its middle) and the sound around it.

    ``frame`` stands for a time where frames are counted at the file's own rate. ``picture`` is the frame where it is a
    file already, or a video whose middle frame is taken; ``mask`` is the file with the place of the only one of
    ``things``.
    """

    id: str
    split: str
    subset: str
    labels: tuple[str, ...] = ()
    things: tuple[Thing, ...] = ()
    time: float | None = None
    frame: int | None = None
    picture: str | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A file and the clips to be cut from it; paths are absolute.

    ``source`` is a video, or the sound beside the pictures. ``video`` names the recording: two of its clips are never
    mixed. With ``every``, the one cut is a pattern that is repeated every so many seconds of the file. ``of`` names the
    clips that a composed clip is made of.
    """

    id: str
    source: str
    video: str
    cuts: tuple[Cut, ...]
    every: float = 0.0
    of: tuple[str, ...] = ()


@dataclass
class Plan:
    """What was found out while the jobs of a data set were planned; whole when the last job has been.

    ``classes`` are those of the benchmark, () for those that the jobs name. ``missing`` are listed clips or videos
    for which there is no file; ``dropped`` says why a clip or a box was left out; ``remarks`` are sentences for the
    report. ``passed`` are files of the folder that are none of the data set's, and why. ``make`` runs a job in this
    process where no file is to be decoded. ``origin`` is "stand-in" where the clips are composed of a folder that
    holds any.
    """

    classes: tuple[str, ...] = ()
    jobs: int = 0  # planned so far
    note: str = ""
    origin: str = "real"
    missing: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    make: Callable[[Job, Path, Path], dict[str, Any]] | None = None
