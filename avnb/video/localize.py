"""A method on your own video: which sources sound when, and where they are, as maps, a CSV and an MP4 with heat.

One call, ``avnb.localize_video("my.mp4")``. The file is read three times, each time as a stream: its sound, to choose
the sources; pictures and the sound around them, for the maps; every picture once more, to lay the heat over it. What
is kept in memory does not grow with the video. Introduced in notebooks/13_your_own_video.ipynb.
"""

import csv
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count, islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TextIO, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from avnb.config import Settings, did_you_mean, setting
from avnb.data.clips import SILENCE
from avnb.data.locks import temporary_folder
from avnb.data.store import ClipShape
from avnb.datasets import locate
from avnb.devices import autocast
from avnb.errors import DataError, RunError, SettingsError
from avnb.metrics.localization import confidence, upsample
from avnb.models.base import Method, Query
from avnb.paths import file_name, outputs_dir, shown, whole_file
from avnb.video.apart import write_sources
from avnb.video.boxes import Box, hottest_boxes
from avnb.video.heat import HeatVideo, mark_of
from avnb.video.reader import (
    Media,
    SoundAround,
    frames,
    look_at,
    photo_frames,
    read_sound,
    small_picture,
    write_track,
)

if TYPE_CHECKING:
    import av
    import ipywidgets

T = TypeVar("T")

HEARD = 0.3  # the probability that a class must once reach to be a source: trained on few clips, none is sure
AT_ONCE = 4  # pictures that the network sees in one go
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total} s [{elapsed}<{remaining}]"
KEPT = 160  # moments at most that a result holds for the scrubber, spread over the whole video
SHOWN = 320  # pixels of the longer side of the pictures it holds
STEP = 1.0  # seconds between the moments at which the sources are chosen


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

    ``overlay`` is the MP4 (None where none was asked for) and ``table`` the CSV, which has every moment; ``size`` is
    the upright picture's (height, width); ``frames`` (RGB, at most 320 pixels a side),
    ``maps``, ``scores`` and ``seconds`` hold at most 160 of them, evenly spread. ``scores`` are the probabilities that
    the classes sound (0..1), or for a method without classes the maps' confidence. ``tracks`` are the separated
    sounds, where the method can: the sources', or for a method with one map "place 1" and so on. ``notes`` say what in
    the file was damaged or missing.
    """

    names: tuple[str, ...]
    seconds: Float[np.ndarray, " moments"]
    frames: UInt8[Tensor, "moments 3 height width"]
    maps: Float[Tensor, "moments sources rows columns"]
    scores: Float[np.ndarray, "moments sources"]
    size: tuple[int, int]
    overlay: Path | None
    table: Path
    sound: Media
    tracks: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def waveform(self, rate: int = 22_050) -> Float[np.ndarray, " time"]:
        """Return the video's whole sound, mono."""
        return read_sound(self.sound, rate)

    def scrub(self) -> "ipywidgets.Widget":
        """Return the scrubber over the moments held."""
        from avnb.viewing.scrubber import scrub_frames

        pictures = self.frames.permute(0, 2, 3, 1).numpy()
        return scrub_frames(pictures, self.maps, self.names, self.seconds, self.waveform(), 22_050)


def localize_video(
    video: str | Path,
    method: str | Method = "avgn",
    *,
    sound: str | Path = "",
    classes: Sequence[str] = (),
    sources: int = 2,
    per_second: float = 4.0,
    dataset: str = "",
    folder: str | Path | None = None,
    film: bool = True,
    progress: bool = True,
) -> LocalizedVideo:
    """Find what sounds in a video, or in a photo with a ``sound`` file, and where it is.

    ``method`` is a trained network, or what `avnb.load` takes with ``dataset``: by its name alone, the weights that
    come with avnb. ``classes`` are looked for where given; else the method chooses at most ``sources`` of its own from
    the whole sound.
    ``per_second`` pictures a second are looked at, each with the three seconds of sound around it. The MP4 and the CSV
    (time, class, box in pixels of the upright picture, score) are written into ``folder``, by default outputs/videos;
    without ``film`` the CSV alone.

    Raises DataError for a file without sound or picture, or that cannot be read, SettingsError for a class or a method
    there is not, RunError where no run is finished or the results cannot be written. Introduced in
    notebooks/13_your_own_video.ipynb.
    """
    _check_arguments(classes, sources, per_second)
    picture = look_at(video)
    heard = look_at(sound) if sound else picture
    _check(picture, heard, bool(sound))
    network = _network(method, dataset)
    known = network.class_names or locate(network.settings.dataset).classes
    asker = _Asker(network, known, picture, heard, per_second)
    folder = outputs_dir() / "videos" if folder is None else Path(folder)
    kept = _Kept()
    try:
        files = [str(media.path.resolve()) for media in (picture, heard)]
        mark = hashlib.sha256("\0".join(files).encode(errors="surrogateescape")).hexdigest()[:12]
        stem = _stem(folder, picture, network.settings.METHOD, mark)
        files = [stem.with_name(stem.name + ending) for ending in (".mp4", ".csv")]
        with (
            temporary_folder(folder, ".making") as scratch,
            whole_file(files[0]) if film else nullcontext() as overlay,
            whole_file(files[1]) as table,
            open(table, "w", newline="", encoding="utf-8") as file,
        ):
            track = scratch / "sound.mp4"  # first: what cannot be written is known before an hour is listened to
            if film:
                write_track(heard, track)
            asker.choose(classes, sources, progress)
            moments = _written(asker.moments(), asker, file, kept)
            if film:
                asker.lay_over(moments, track, overlay, mark, progress)
            else:
                deque(moments, maxlen=0)
        tracks = write_sources(asker, kept.moments, stem, progress)
    except OSError as error:
        raise RunError(
            f"{shown(stem)} cannot be written: {error.strerror}. Free some space, or name a folder."
        ) from None
    notes = tuple(dict.fromkeys([*picture.notes, *heard.notes]))
    overlay, table = files[0] if film else None, files[1]
    return LocalizedVideo(asker.names, *kept.stacked(), picture.size, overlay, table, heard, tracks, notes)


@dataclass(frozen=True)
class Moment:
    """What was found at one time: the picture (small), a map and a score per source, and whether anything is heard."""

    seconds: float
    picture: UInt8[np.ndarray, "3 height width"]
    maps: Float[np.ndarray, "sources rows columns"]
    scores: Float[np.ndarray, " sources"]
    heard: bool


class _Asker:
    """A method, asked about a video: first which sources it has, then where they are, moment by moment."""

    def __init__(self, method: Method, known: Sequence[str], picture: Media, heard: Media, per_second: float) -> None:
        self.method, self.known, self.per_second = method.eval(), tuple(known), per_second
        self.picture, self.heard = picture, heard
        self.shape = ClipShape()
        self.device = torch.device(method.settings.device)
        self.lasts = (heard if picture.photo else picture).seconds or 0.0
        self.names: tuple[str, ...] = ()
        self.asked: Int[Tensor, " sources"] = torch.zeros(0, dtype=torch.long)
        self.places = 0  # how many places of a single map are sources, where the method separates

    @property
    def class_aware(self) -> bool:
        """Whether the method's maps have names."""
        return "predicted" in self.method.CLASSES

    def choose(self, classes: Sequence[str], sources: int, progress: bool) -> None:
        """Choose the sources: those asked for, else what the whole sound holds; raise DataError where it is silent."""
        probability, loudest = self._listen(progress)
        if loudest < SILENCE:
            why = " ".join(note for note in self.heard.notes if "cancel each other" in note)
            raise DataError(
                f"{shown(self.heard.path)} is silent from beginning to end: there is nothing to localize. {why}".strip()
            )
        if not self.class_aware:
            if classes:
                raise SettingsError(f"{self.method.settings.METHOD} knows no classes, so none can be asked for.")
            number = 1 if self.method.CLASSES == ("none",) else sources
            self.names = ("sound",) if number == 1 else tuple(f"source {k + 1}" for k in range(number))
            self.asked = torch.zeros(number, dtype=torch.long)
            self.places = sources if number == 1 else 0
            return
        for name in classes:
            if name not in self.known:
                known = ", ".join(self.known)
                raise SettingsError(
                    f'The run knows no class "{name}".{did_you_mean(name, self.known)} It knows: {known}.'
                )
        chosen = [self.known.index(name) for name in classes] or self._most_heard(probability, sources)
        self.names, self.asked = tuple(self.known[k] for k in chosen), torch.tensor(chosen)

    def _most_heard(self, probability: Float[np.ndarray, "moments classes"], sources: int) -> list[int]:
        """Return the classes with the highest mean probability, those that never reach HEARD left out."""
        order = list(np.argsort(-probability.mean(axis=0), kind="stable"))[:sources]
        clear = [int(k) for k in order if probability[:, k].max() >= HEARD]
        if not clear:
            self.heard.note(
                f"No class that the run knows is heard with a probability of {HEARD} or more: the likeliest is shown."
            )
        return clear or [int(order[0])]

    def _listen(self, progress: bool) -> tuple[Float[np.ndarray, "moments classes"], float]:
        """Return the probability of each class at every STEP of the sound (none without classes), and its peak."""
        from tqdm.auto import tqdm

        sound, found, loudest = SoundAround(self.heard, self.shape.rate, self.shape.seconds), [], 0.0
        times = (STEP * k for k in count())
        moments = takewhile(sound.lasts, times)
        bar = tqdm(moments, "listen", int(self.lasts / STEP) + 1, disable=not progress, leave=False, unit="s")
        for part in _in_parts(bar, AT_ONCE):
            heard = torch.from_numpy(np.stack([sound.at(seconds) for seconds in part]))
            loudest = max(loudest, float(heard.abs().max()))
            if self.class_aware:
                found.append(self._recognize(heard))
        return np.concatenate(found) if found else np.zeros((0, 0)), loudest

    @torch.inference_mode()
    def _recognize(self, heard: Float[Tensor, "batch time"]) -> Float[np.ndarray, "batch classes"]:
        with autocast(self.device):
            return self.method.recognize(heard.to(self.device)).float().cpu().numpy()

    def pictures(self, per_second: float = 0.0) -> Iterator[tuple[float, "av.VideoFrame"]]:
        """Yield the pictures with their times; with ``per_second`` the first of every so much of a second."""
        if self.picture.photo:
            return photo_frames(self.picture, self.lasts, max(self.per_second, 1.0))
        return frames(self.picture, per_second)

    def moments(self) -> Iterator[Moment]:
        """Yield what is found at ``per_second`` times a second."""
        sound = SoundAround(self.heard, self.shape.rate, self.shape.seconds)
        for part in _in_parts(self._sampled(), AT_ONCE):
            times, seen, small = zip(*part, strict=True)
            heard = torch.from_numpy(np.stack([sound.at(seconds) for seconds in times]))
            maps = self._localize(torch.from_numpy(np.stack(seen)), heard)
            if self.class_aware:
                scores = self._recognize(heard)[:, self.asked.numpy()]
            else:
                scores = confidence(torch.from_numpy(maps)).numpy()
            audible = heard.abs().amax(dim=1).numpy() >= SILENCE
            scores = np.where(audible[:, None], scores, 0.0)
            yield from map(Moment, times, small, maps, scores, audible.tolist())

    @torch.inference_mode()
    def cut_out(
        self, picture: UInt8[np.ndarray, "3 height width"], boxes: Sequence[Box], window: Float[np.ndarray, " time"]
    ) -> Float[np.ndarray, "boxes samples"]:
        """Return what of a window of sound belongs to each of the boxes in the picture."""
        size = (self.shape.size, self.shape.size)
        shown = torch.from_numpy(picture)
        parts = [upsample(shown[:, y0:y1, x0:x1].float(), size).round().byte() for x0, y0, x1, y1 in boxes]
        heard = torch.from_numpy(window)[None].to(self.device)
        return self.method.separate(torch.stack(parts)[None].to(self.device), heard)[0].float().cpu().numpy()

    @property
    def shown_size(self) -> tuple[int, int]:
        """Return the size of the pictures that a result holds."""
        share = min(1.0, SHOWN / max(self.picture.size))
        return tuple(max(1, round(share * length)) for length in self.picture.size)

    def _sampled(self) -> Iterator[tuple[float, UInt8[np.ndarray, "3 size size"], UInt8[np.ndarray, "3 h w"]]]:
        """Yield the first picture of every 1 / per_second of a second, as the method sees it and as it is shown.

        Made small at once: full-size pictures that wait for a batch to fill would be most of the memory.
        """
        number = -1
        for seconds, frame in self.pictures(self.per_second):
            if int(seconds * self.per_second + 1e-6) > number:  # some have none where the rate varies
                number = int(seconds * self.per_second + 1e-6)
                seen = small_picture(frame, self.shape.size, self.shape.size)
                yield seconds, seen, small_picture(frame, *self.shown_size)

    @torch.inference_mode()
    def _localize(
        self, seen: UInt8[Tensor, "batch 3 height width"], heard: Float[Tensor, "batch time"]
    ) -> Float[np.ndarray, "batch sources rows columns"]:
        asked = self.asked.expand(len(seen), -1)
        query = Query(*(value.to(self.device) for value in (seen, heard, asked)))
        with autocast(self.device):
            return self.method.localize(query).float().cpu().numpy()

    def lay_over(self, moments: Iterator[Moment], track: Path, path: Path, mark: str, progress: bool) -> None:
        """Write the MP4: between two moments, maps and strengths pass from one to the other."""
        from tqdm.auto import tqdm

        from avnb.viewing.colours import class_colours

        colours = class_colours(self.known if self.class_aware else self.names)
        before = after = next(moments, None)
        done = 0.0
        with (
            HeatVideo(path, self.picture, track, mark, self.names, [colours[name] for name in self.names]) as video,
            tqdm(total=round(self.lasts, 1) or None, desc="localize", disable=not progress, bar_format=BAR) as bar,
        ):
            for seconds, frame in self.pictures():
                while after is not None and after.seconds <= seconds:
                    before, after = after, next(moments, None)
                share = 0.0 if after is None else (seconds - before.seconds) / (after.seconds - before.seconds)
                following = before if after is None else after
                video.add(
                    seconds,
                    frame,
                    (1 - share) * before.maps + share * following.maps,
                    (1 - share) * self._strengths(before) + share * self._strengths(following),
                )
                bar.update(round(seconds - done, 3))
                done = seconds

    def _strengths(self, moment: Moment) -> Float[np.ndarray, " sources"]:
        """Return how much of each source's heat is shown: how likely it sounds, or whether anything does."""
        return moment.scores if self.class_aware else np.full(len(self.names), float(moment.heard))


class _Kept:
    """At most KEPT moments, evenly spread over all that came: when there are more, every second is let go."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
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


def _written(moments: Iterator[Moment], asker: _Asker, file: TextIO, kept: _Kept) -> Iterator[Moment]:
    """Pass the moments on, with a row of the CSV for each of their sources."""
    table = csv.writer(file)
    table.writerow(["time", "class", "x0", "y0", "x1", "y1", "score"])
    for moment in moments:
        for name, heat, score in zip(asker.names, moment.maps, moment.scores, strict=True):
            [box] = hottest_boxes(heat, asker.picture.size)
            table.writerow([f"{moment.seconds:.3f}", name, *box, f"{score:.4f}"])
        kept.add(moment)
        yield moment


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


def _in_parts(items: Iterable[T], length: int) -> Iterator[list[T]]:
    """Yield lists of ``length`` items, the last perhaps shorter."""
    items = iter(items)
    while part := list(islice(items, length)):
        yield part


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
