"""A method, asked about a video: which sources it has; then, moment by moment, where they are and whether they do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice, takewhile
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from avnb.config import did_you_mean
from avnb.data.clips import SILENCE
from avnb.data.store import ClipShape
from avnb.devices import autocast
from avnb.errors import DataError, SettingsError
from avnb.metrics.localization import confidence, upsample
from avnb.models.base import Method, Query
from avnb.models.baselines.named import Named
from avnb.paths import shown
from avnb.video.boxes import Box
from avnb.video.reader import Media, SoundAround, frames, photo_frames, small_picture
from avnb.video.shots import is_cut
from avnb.video.unknown import doubtful
from avnb.viewing.colours import readable

if TYPE_CHECKING:
    import av

LAST = "localize"  # the bar that stays
T = TypeVar("T")
Told = Callable[[str, float, float], None]  # what is done, how many seconds of it, and of how many (0: unknown)

HEARD = 0.3  # the probability that a class must once reach to be a source: trained on few clips, none is sure
SOUNDS = 0.5  # of a source's highest probability in the whole sound: where it reaches that, it is said to sound
SEEN = 0.01  # the probability, ten times chance, from which a thing that is named is in the picture
AT_ONCE = 4  # pictures that the network sees in one go
BAR = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f} of {total} s [{elapsed}<{remaining}]"
SHOWN = 320  # pixels of the longer side of the pictures that a result holds
STEP = 1.0  # seconds between the moments at which the sources are chosen


@dataclass(frozen=True)
class Moment:
    """What was found at one time: the picture (small), and per source a map, a score and whether it sounds.

    ``heard`` is whether there is any sound, ``shot`` how many cuts came before.
    """

    seconds: float
    picture: UInt8[np.ndarray, "3 height width"]
    maps: Float[np.ndarray, "sources rows columns"]
    scores: Float[np.ndarray, " sources"]
    sounds: Bool[np.ndarray, " sources"]
    heard: bool
    shot: int = 0


class Asker:
    """A method, asked about a video: first which sources it has, then where they are, moment by moment."""

    def __init__(self, method: Method, known: Sequence[str], picture: Media, heard: Media, per_second: float) -> None:
        self.method, self.known, self.per_second = method.eval(), tuple(known), per_second
        self.picture, self.heard = picture, heard
        self.shape = ClipShape()
        self.device = torch.device(method.settings.device)
        self.lasts = (heard if picture.photo else picture).seconds or 0.0
        self.names: tuple[str, ...] = ()
        self.asked: Int[Tensor, " sources"] = torch.zeros(0, dtype=torch.long)
        self.least: Float[np.ndarray, " sources"] = np.zeros(0)  # the score from which a source sounds
        self.places = 0  # how many places of a single map are sources, where the method separates

    @property
    def class_aware(self) -> bool:
        """Whether the method hears classes, so that its maps have names."""
        return "predicted" in self.method.CLASSES

    @property
    def by_name(self) -> bool:
        """Whether it hears nothing, but sees classes by their names."""
        return isinstance(self.method, Named) and self.method.CLASSES == ("oracle",)

    def choose(self, classes: Sequence[str], sources: int, progress: bool | Told) -> None:
        """Choose the sources: those asked for, else what the whole sound holds; raise DataError where it is silent."""
        probability, loudest = self._listen(progress)
        if loudest < SILENCE:
            why = " ".join(note for note in self.heard.notes if "cancel each other" in note)
            raise DataError(
                f"{shown(self.heard.path)} is silent from beginning to end: there is nothing to localize. {why}".strip()
            )
        self._check_known(classes)
        if self.by_name:
            if not classes:
                raise SettingsError(f"{self.method.settings.METHOD} does not hear: say which classes to look for.")
            self.names, self.asked = tuple(classes), torch.tensor([self.known.index(name) for name in classes])
            self.least = np.full(len(classes), SEEN)
            return
        if not self.class_aware:
            if classes:
                raise SettingsError(f"{self.method.settings.METHOD} knows no classes, so none can be asked for.")
            number = 1 if self.method.CLASSES == ("none",) else sources
            self.names = ("sound",) if number == 1 else tuple(f"source {k + 1}" for k in range(number))
            self.asked, self.least = torch.zeros(number, dtype=torch.long), np.full(number, -np.inf)
            self.places = sources if number == 1 else 0
            return
        sure = np.maximum(HEARD, doubtful(self.method, self.shape.rate, self.shape.seconds))
        chosen = [self.known.index(name) for name in classes] or self._most_heard(probability, sure, sources)
        self.names, self.asked = tuple(self.known[k] for k in chosen), torch.tensor(chosen)
        self.least = np.maximum(sure, SOUNDS * probability.max(axis=0))[chosen]

    def _check_known(self, classes: Sequence[str]) -> None:
        """Raise SettingsError for the first class that a method which knows classes does not know."""
        for name in classes if self.class_aware or self.by_name else ():
            if name not in self.known:
                known = ", ".join(self.known)
                raise SettingsError(
                    f'The run knows no class "{name}".{did_you_mean(name, self.known)} It knows: {known}.'
                )

    def _most_heard(
        self, probability: Float[np.ndarray, "moments classes"], sure: Float[np.ndarray, " classes"], sources: int
    ) -> list[int]:
        """Return the classes that are most heard, in the order of their means; those that are never sure left out.

        A source that plays for a few seconds of a long film counts as much as one that plays throughout: the highest
        probabilities choose.
        """
        highest = probability.max(axis=0)
        order = [int(k) for k in np.argsort(-highest, kind="stable") if highest[k] >= sure[k]][:sources]
        if not order:
            likeliest = int(probability.mean(axis=0).argmax())
            self.heard.note(
                "No class that the run knows is heard for sure: what sounds is none of them, or too much at once. "
                f"The likeliest, {readable(self.known[likeliest])}, is shown."
            )
            return [likeliest]
        return sorted(order, key=lambda k: -probability[:, k].mean())

    def _listen(self, progress: bool | Told) -> tuple[Float[np.ndarray, "moments classes"], float]:
        """Return the probability of each class at every STEP of the sound (none without classes), and its peak."""
        sound, found, loudest = SoundAround(self.heard, self.shape.rate, self.shape.seconds), [], 0.0
        times = (STEP * k for k in count())
        moments = takewhile(sound.lasts, times)
        with progress_bar(progress, "listen", self.lasts) as done:
            for part in in_parts(moments, AT_ONCE):
                heard = torch.from_numpy(np.stack([sound.at(seconds) for seconds in part]))
                loudest = max(loudest, float(heard.abs().max()))
                if self.class_aware:
                    found.append(self._recognize(heard))
                done(min(part[-1] + STEP, self.lasts or np.inf))
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
        last, shot = None, 0
        for part in in_parts(self._sampled(), AT_ONCE):
            times, seen, small = zip(*part, strict=True)
            heard = torch.from_numpy(np.stack([sound.at(seconds) for seconds in times]))
            maps = self._answer(self.method.localize, torch.from_numpy(np.stack(seen)), heard)
            if self.class_aware:
                scores = self._recognize(heard)[:, self.asked.numpy()]
            elif self.by_name:
                scores = self._answer(self.method.seen, torch.from_numpy(np.stack(seen)), heard)
            else:
                scores = confidence(torch.from_numpy(maps)).numpy()
            audible = heard.abs().amax(dim=1).numpy() >= SILENCE
            scores = np.where(audible[:, None], scores, 0.0)
            sounds = audible[:, None] & (scores >= self.least)
            for values in zip(times, small, maps, scores, sounds, audible.tolist(), strict=True):
                shot += last is not None and not self.picture.photo and is_cut(last, values[1])
                last = values[1]
                yield Moment(*values, shot)

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

    def strengths(self, moment: Moment) -> Float[np.ndarray, " sources"]:
        """Return how much of each source's heat is shown: how likely it sounds, or whether anything does."""
        if self.by_name:
            return moment.sounds.astype(float)
        return moment.scores if self.class_aware else np.full(len(self.names), float(moment.heard))

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
    def _answer(
        self,
        ask: Callable[[Query], Tensor],
        seen: UInt8[Tensor, "batch 3 height width"],
        heard: Float[Tensor, "batch time"],
    ) -> Float[np.ndarray, "batch sources *place"]:
        """Return what one of the method's functions answers about its sources: where they are, or how likely seen."""
        query = Query(*(value.to(self.device) for value in (seen, heard, self.asked.expand(len(seen), -1))))
        with autocast(self.device):
            return ask(query).float().cpu().numpy()


@contextmanager
def progress_bar(progress: bool | Told, what: str, total: float) -> Iterator[Callable[[float], None]]:
    """Give a function that is told how many seconds are done: it moves a bar, calls ``progress``, or does nothing."""
    from tqdm.auto import tqdm

    if callable(progress):
        yield lambda done: progress(what, done, total)
        return
    with tqdm(
        total=round(total, 1) or None, desc=what, disable=not progress, bar_format=BAR, leave=what == LAST
    ) as bar:
        yield lambda done: bar.update(round(done - bar.n, 3))


def in_parts(items: Iterable[T], length: int) -> Iterator[list[T]]:
    """Yield lists of ``length`` items, the last perhaps shorter."""
    items = iter(items)
    while part := list(islice(items, length)):
        yield part
