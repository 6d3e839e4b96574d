"""A method on your own video: which sources sound when, and where they are, as maps, a CSV and an MP4 with heat.

One call, ``avnb.localize_video("my.mp4")``. The file is read three times, each time as a stream: its sound, to choose
the sources; pictures and the sound around them, for the maps; every picture once more, to lay the heat over it. What
is kept in memory does not grow with the video. Introduced in notebooks/13_your_own_video.ipynb.
"""

import csv
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from avnb.config import Settings, setting
from avnb.data.locks import temporary_folder
from avnb.datasets import locate
from avnb.errors import DataError, RunError, SettingsError
from avnb.models.base import Method
from avnb.models.baselines.named import Named
from avnb.paths import file_name, outputs_dir, shown, whole_file
from avnb.video.apart import write_sources
from avnb.video.asker import LAST, Asker, Moment, Told, progress_bar
from avnb.video.boxes import hottest_boxes
from avnb.video.heat import mark_of
from avnb.video.overlay import lay_over
from avnb.video.reader import HeldMedia, Media, held, look_at, read_sound, write_track
from avnb.video.summary import COLUMNS, Row, Source, sources_of, unknown_spans
from avnb.video.timeline import write_timeline

if TYPE_CHECKING:
    import ipywidgets

ENDINGS = {"overlay": ".mp4", "table": ".csv", "timeline": ".png"}
KEPT = 160  # moments at most that a result holds for the scrubber, spread over the whole video
Array = Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]


@dataclass(frozen=True)
class VideoSettings(Settings):
    """The settings of notebooks/13_your_own_video.ipynb; ``epochs`` and the like are for a method without a run."""

    METHOD: ClassVar[str] = "video"

    video: str = setting("", doc='a video or a photo; "" renders a duet of ten seconds')
    sound: str = setting("", doc="a sound file, for a photo or a video without sound")
    method: str = setting("avgn", doc="which method's run is asked")
    separator: str = setting("one_avm", doc="whose run takes the sound apart, where there is one and method cannot")
    wanted: str = setting("", doc='classes to look for, divided by commas; "" lets the method choose')
    sources: int = setting(2, low=1, high=8, doc="at most so many sources")
    per_second: float = setting(4.0, low=0.01, high=60.0, doc="pictures a second that the method looks at")


@dataclass(frozen=True)
class LocalizedVideo:
    """What was found in a video.

    ``overlay`` is the MP4, ``table`` the CSV and ``timeline`` the picture of who sounds when (None where none was asked
    for); ``rows`` are the CSV's, with every moment. ``size`` is the upright picture's (height, width); ``frames`` (RGB,
    at most 320 pixels a side), ``maps``, ``scores`` and ``seconds`` hold at most 160 of them, evenly spread. ``scores``
    are the probabilities that the classes sound (0..1; of "named", that they are seen), or for a method without classes
    the maps' confidence.
    ``tracks`` are the separated sounds, where the method can: the sources', or for a method with one map "place 1" and
    so on. ``notes`` say what in the file was damaged or missing.
    """

    names: tuple[str, ...]
    seconds: Float[np.ndarray, " moments"]
    frames: UInt8[Tensor, "moments 3 height width"]
    maps: Float[Tensor, "moments sources rows columns"]
    scores: Float[np.ndarray, "moments sources"]
    size: tuple[int, int]
    overlay: Path | None
    table: Path | None
    timeline: Path | None
    sound: Media
    rows: tuple[Row, ...]
    tracks: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def sources(self) -> list[Source]:
        """What each source comes to: when it sounds, from when to when, and where."""
        return sources_of(self.rows)

    @property
    def unknown(self) -> tuple[tuple[float, float], ...]:
        """From when to when (seconds) there is sound that none of the sources is sure to make."""
        return unknown_spans(self.rows)

    def waveform(self, rate: int = 22_050) -> Float[np.ndarray, " time"]:
        """Return the video's whole sound, mono."""
        return read_sound(self.sound, rate)

    def scrub(self) -> "ipywidgets.Widget":
        """Return the scrubber over the moments held."""
        from avnb.viewing.scrubber import scrub_frames

        pictures = self.frames.permute(0, 2, 3, 1).numpy()
        return scrub_frames(pictures, self.maps, self.names, self.seconds, self.waveform(), 22_050)


def localize_video(
    video: str | Path | Array,
    method: str | Method = "avgn",
    *,
    sound: str | Path | Array = "",
    fps: float = 0.0,
    rate: int = 0,
    classes: Sequence[str] = (),
    sources: int = 2,
    per_second: float = 4.0,
    dataset: str = "",
    folder: str | Path | None = None,
    film: bool = True,
    files: bool = True,
    progress: bool | Told = True,
) -> LocalizedVideo:
    """Find what sounds in a video, or in a photo with a ``sound`` file, and where it is.

    ``method`` is a trained network, or what `avnb.load` takes with ``dataset``: by its name alone, the weights that
    come with avnb, or "named", which was not trained and looks for any of ImageNet's names among ``classes``. These are
    looked for where given; else the method chooses at most ``sources`` of its own from the whole sound.
    ``per_second`` pictures a second are looked at, each with the three seconds of sound around it. The MP4, the CSV
    (time, class, box in pixels of the upright picture, score, whether it sounds, whether anything does, shot) and a
    picture of who sounds when are written into ``folder``, by default outputs/videos; without ``film`` no MP4, without
    ``files`` nothing.

    ``video`` can also be pictures in memory, ``fps`` a second, and ``sound`` a waveform at ``rate`` Hz: see
    `avnb.video.reader.held`; nothing is written then. ``progress`` can be a function, which is told what is being done
    ("listen", "localize" or "separate"), how many seconds of it, and of how many.

    Raises DataError for a file without sound or picture, or that cannot be read, SettingsError for a class or a method
    there is not, RunError where no run is finished or the results cannot be written. Introduced in
    notebooks/13_your_own_video.ipynb.
    """
    _check_arguments(classes, sources, per_second)
    if isinstance(video, (str, Path)):
        picture = look_at(video)
        heard = look_at(sound) if isinstance(sound, (str, Path)) and str(sound) else picture
        _check(picture, heard, heard is not picture)
    else:
        picture = heard = held(video, sound, fps, rate)
    network = _network(method, dataset)
    if isinstance(network, Named) and classes and not network.class_names:
        network = network.about(classes)
    known = network.class_names or (() if isinstance(network, Named) else locate(network.settings.dataset).classes)
    asker = Asker(network, known, picture, heard, per_second)
    kept = _Kept()
    if not files or isinstance(picture, HeldMedia):
        asker.choose(classes, sources, progress)
        deque(_kept(asker.moments(), asker, kept, progress), maxlen=0)
        written: dict[str, Any] = {"overlay": None, "table": None, "timeline": None}
    else:
        folder = outputs_dir() / "videos" if folder is None else Path(folder)
        written = _written(asker, kept, lambda: asker.choose(classes, sources, progress), folder, film, progress)
    notes = tuple(dict.fromkeys([*picture.notes, *heard.notes]))
    return LocalizedVideo(
        asker.names, *kept.stacked(), picture.size, sound=heard, rows=tuple(kept.rows), notes=notes, **written
    )


def _written(
    asker: Asker, kept: "_Kept", choose: Callable[[], None], folder: Path, film: bool, progress: bool | Told
) -> dict[str, Any]:
    """Ask, and write what is answered; return the files by their names in the result."""
    picture, heard, name = asker.picture, asker.heard, asker.method.settings.METHOD
    stem = folder
    try:
        mark = hashlib.sha256(
            "\0".join(str(media.path.resolve()) for media in (picture, heard)).encode(errors="surrogateescape")
        ).hexdigest()[:12]
        stem = _stem(folder, picture, name, mark)
        places = {kind: stem.with_name(stem.name + end) for kind, end in ENDINGS.items() if film or kind != "overlay"}
        with ExitStack() as stack:
            scratch = stack.enter_context(temporary_folder(folder, ".making"))
            files = {kind: stack.enter_context(whole_file(path)) for kind, path in places.items() if kind != "timeline"}
            table = csv.writer(stack.enter_context(open(files["table"], "w", newline="", encoding="utf-8")))
            track = scratch / "sound.mp4"  # first: what cannot be written is known before an hour is listened to
            if film:
                write_track(heard, track)
            choose()
            table.writerow(COLUMNS)
            moments = _kept(asker.moments(), asker, kept, progress, table)
            if film:
                lay_over(asker, moments, track, files["overlay"], mark)
            deque(moments, maxlen=0)
        write_timeline(kept.rows, places["timeline"], asker.known if asker.class_aware else ())
        tracks = write_sources(asker, kept.moments, stem, progress)
    except OSError as error:
        raise RunError(
            f"{shown(stem)} cannot be written: {error.strerror}. Free some space, or name a folder."
        ) from None
    return {"overlay": None, **places, "tracks": tracks}


class _Kept:
    """At most KEPT moments, evenly spread over all that came: when there are more, every second is let go."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.rows: list[Row] = []
        self.stride, self.seen = 1, 0

    def add(self, moment: Moment) -> None:
        if self.seen % self.stride == 0:
            self.moments.append(moment)
        self.seen += 1
        if len(self.moments) > KEPT:
            self.moments, self.stride = self.moments[::2], 2 * self.stride

    def stacked(self) -> tuple[np.ndarray, Tensor, Tensor, np.ndarray]:
        """Return seconds, pictures, maps and scores."""
        stacks = [np.stack([getattr(one, name) for one in self.moments]) for name in ("picture", "maps", "scores")]
        seconds = np.array([one.seconds for one in self.moments])
        return seconds, torch.from_numpy(stacks[0]), torch.from_numpy(stacks[1]), stacks[2]


def _kept(
    moments: Iterator[Moment], asker: Asker, kept: _Kept, progress: bool | Told, table: Any = None
) -> Iterator[Moment]:
    """Pass the moments on, with a row (in the CSV as well, where there is one) for each of their sources."""
    with progress_bar(progress, LAST, asker.lasts) as done:
        for moment in moments:
            for name, heat, score, sounds in zip(asker.names, moment.maps, moment.scores, moment.sounds, strict=True):
                [box] = hottest_boxes(heat, asker.picture.size)
                kept.rows.append(Row(moment.seconds, name, box, float(score), bool(sounds), moment.heard, moment.shot))
                if table is not None:
                    table.writerow(kept.rows[-1].cells())
            kept.add(moment)
            yield moment
            done(moment.seconds)
        done(asker.lasts)


def _stem(folder: Path, picture: Media, method: str, mark: str) -> Path:
    """Return what a result's files are called: as the film and the method, and a number where that name is taken.

    A result takes the place of one of the same film and sound alone: of two films of one name each keeps its own.
    """
    base = f"{file_name(picture.path.stem, 100)}-{method}"
    stems = (folder / (base if number == 1 else f"{base}-{number}") for number in count(1))
    for stem in stems:
        film, table = (stem.with_name(stem.name + ending) for ending in (".mp4", ".csv"))
        if not (os.path.lexists(film) or os.path.lexists(table)) or mark_of(film) == mark:
            return stem
    raise AssertionError


def check_files(video: str | Path, sound: str | Path = "") -> None:
    """Raise DataError where `localize_video` would refuse these files; "" stands for none, and is not asked."""
    if isinstance(video, (str, Path)) and str(video) and isinstance(sound, (str, Path)):
        picture = look_at(video)
        _check(picture, look_at(sound) if str(sound) else picture, bool(str(sound)))


def _check_arguments(classes: Sequence[str], sources: int, per_second: float) -> None:
    """Raise SettingsError on what is no list of names, number of sources or rate, as notebook 13's settings do."""
    VideoSettings(sources=sources, per_second=per_second)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
        raise SettingsError(f'classes = {classes!r} is no list of names; write them as in ["cello", "tuba"].')
    if len(set(classes)) < len(classes):
        raise SettingsError(f"classes = {list(classes)} names a class twice.")


def _check(picture: Media, heard: Media, own_sound: bool) -> None:
    """Raise DataError, with the way out, for a file that lacks what is needed."""
    name = shown(picture.path)
    if picture.size is None:
        raise DataError(
            f'{name} has no picture. Name a photo or a video first, and this file as its sound: sound="{name}".'
        )
    if heard.has_sound:
        return
    if own_sound:
        raise DataError(f"{shown(heard.path)}, which was named as the sound, has no sound.")
    what = "is a photo" if picture.photo else "has no sound"
    raise DataError(f'{name} {what}, and sound is what is localized. Name a file that has it: sound="recording.wav".')


def _network(method: str | Method, dataset: str) -> Method:
    from avnb.training.trained import load

    return method if isinstance(method, Method) else load(method, dataset)
