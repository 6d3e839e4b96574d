"""Where everything is that sounds in the pictures of a trial, and by which name a map of each picture is asked for.

Of a prepared store, or of the official annotation files alone: to judge maps that are there, no video is needed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avnb.config import did_you_mean
from avnb.data.benchmarks import Protocol, benchmark
from avnb.data.mixing import sounding_classes, truth_of
from avnb.data.store import ClipShape, Store, box_pixels
from avnb.errors import DataError, SettingsError
from avnb.evaluation.trials import Trial
from avnb.prepare.annotation_files import annotation_files
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.datasets import audioset_instrument, flickr_soundnet, is3, music, vggsound_duet, vggsound_instruments
from avnb.prepare.mask_files import MASKS, read_mask_file
from avnb.prepare.plan import Options, Plan, Thing

SIZE = ClipShape().size  # pixels of the side of a frame's truth, as in a store


@dataclass(frozen=True)
class Truth:
    """The pictures of a trial: their names, the classes that sound in each, and where these are.

    ``places`` returns the truth of a few pictures, in 0..1: soft where annotators disagree, nowhere where a source has
    no box. ``remarks`` say what was left out of the annotations, and why.
    """

    benchmark: str
    origin: str
    trial: Trial
    tiles: tuple[int, int]
    names: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    places: Callable[[slice], Float[Tensor, "pictures sources height width"]]
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class _Picture:
    """What annotation files say of a picture: a class, its boxes and its mask for each source, and in which frame."""

    name: str
    subset: str
    sources: tuple[tuple[str, tuple[Thing, ...], int], ...]
    mask: Path | None = None


@dataclass
class _Read:
    """What was found out while annotation files were read."""

    dropped: list[tuple[str, str]] = field(default_factory=list)


def truth_in_store(store: Store, trial: Trial) -> Truth:
    """Return the truth of a trial's mixtures. A mixture of several clips is called as the first of them."""
    mixtures = trial.mixtures(store)
    names = tuple(name.decode() for name in store.ids[mixtures[:, 0]])
    classes = sounding_classes(store, mixtures[:, : trial.sources])

    def places(part: slice) -> Tensor:
        truth = truth_of(store, mixtures[part], trial.recipe)
        return truth.reshape(-1, trial.sources, *truth.shape[2:])

    named = tuple(tuple(store.classes[k] for k in row) for row in classes)
    return Truth(store.name, store.origin, trial, trial.tiles, names, named, places)


def truth_in_annotations(name: str, files: Iterable[Path], subset: str = "") -> Truth:
    """Return the truth that official annotation files hold of a benchmark's subset, by default of its first.

    Raises SettingsError where the benchmark has no such subset or no annotations that can be read alone, and DataError
    where the files hold nothing of it.
    """
    protocols = benchmark(name).protocols
    if name not in _READERS:
        raise SettingsError(
            f"{benchmark(name).title} cannot be judged from annotation files alone; these can: {', '.join(_READERS)}. "
            "Prepare it (avnb-prepare) and leave --annotations out."
        )
    options, read = Options(videos=Path(), annotations=tuple(map(Path, files))), _Read()
    pictures = list(_READERS[name](options, read))
    judged = [protocol.subset for protocol in protocols]
    if subset and subset not in judged:
        raise SettingsError(
            f'"{name}" has no subset "{subset}".{did_you_mean(subset, judged)} It has: {", ".join(judged)}.'
        )
    for protocol in protocols:
        chosen, few = _of(protocol, pictures)
        if (subset or protocol.subset) == protocol.subset and chosen:
            return _truth(name, protocol, chosen, few, read)
    there = ", ".join(sorted({picture.subset for picture in pictures})) or "nothing"
    raise DataError(f'The annotation files hold no picture of "{subset or name}" with a box; they hold {there}.')


def _of(protocol: Protocol, pictures: list[_Picture]) -> tuple[list[_Picture], int]:
    """Return the pictures that a protocol judges, and how many of its subset have another number of sources."""
    mine = [picture for picture in pictures if picture.subset in (protocol.parts or (protocol.subset,))]
    least, most = protocol.boxes
    chosen = []
    for picture in mine:
        boxes = sum(len(things) for _, things, _ in picture.sources)
        if len(picture.sources) == protocol.sources and least <= boxes <= (most or boxes):
            chosen.append(picture)
    return chosen, len(mine) - len(chosen)


def _truth(name: str, protocol: Protocol, pictures: list[_Picture], few: int, read: _Read) -> Truth:
    if len({picture.name for picture in pictures}) < len(pictures):
        raise DataError("The annotation files name a picture twice; give each file once.")
    trial = Trial(protocol.subset, protocol.sources, protocol.geometry)
    remarks = [f"{few:,} annotated pictures have another number of sources or boxes"] if few else []
    if read.dropped:
        what, why = read.dropped[0]
        remarks.append(f"{len(read.dropped):,} annotations were left out, such as {what}: {why}")

    def places(part: slice) -> Tensor:
        return torch.stack([_drawn(picture, trial.tiles[1]) for picture in pictures[part]])

    return Truth(
        name, "real", trial, trial.tiles, tuple(picture.name for picture in pictures),
        tuple(tuple(label for label, *_ in picture.sources) for picture in pictures), places, tuple(remarks),
    )  # fmt: skip


def _drawn(picture: _Picture, frames: int) -> Float[Tensor, "sources height width"]:
    """Return the filled boxes, or the mask, of each source, in the frame that shows it."""
    truth = np.zeros((len(picture.sources), SIZE, SIZE * frames), np.float32)
    for place, (_, things, frame) in zip(truth, picture.sources, strict=True):
        own = place[:, frame * SIZE : (frame + 1) * SIZE]
        if picture.mask is not None:
            mask = read_mask_file(picture.mask)
            rows, columns = (np.arange(SIZE) * 2 + 1 for _ in range(2))
            own[:] = mask[np.ix_(rows * mask.shape[0] // (2 * SIZE), columns * mask.shape[1] // (2 * SIZE))]
        for thing in things:
            if thing.xyxy is not None:
                x0, y0, x1, y1 = box_pixels(thing.xyxy, SIZE)
                own[y0:y1, x0:x1] = np.minimum(own[y0:y1, x0:x1] + thing.share, 1)
    return torch.from_numpy(truth)


# the benchmarks, each read as its importer reads it


def _vgg_ss(options: Options, read: _Read) -> Iterator[_Picture]:
    lists = vggsound.read(annotation_files(options))
    vggsound.need(lists.boxes, "vggss.json")
    read.dropped += lists.dropped
    for clip, things in sorted(lists.boxes.items()):
        yield from _single(read, clip, lists.subsets.get(clip, "test"), lists.classes[clip], things)


def _vggsound_music(options: Options, read: _Read) -> Iterator[_Picture]:
    for picture in _vgg_ss(options, read):
        ((label, things, frame),) = picture.sources
        if label.startswith("playing "):
            yield _Picture(picture.name, "test", ((vggsound.instrument(label), things, frame),))


def _vggsound_duet(options: Options, read: _Read) -> Iterator[_Picture]:
    files = annotation_files(options)
    boxes = {picture.name: picture.sources[0] for picture in _vgg_ss(_of_kind(files, ".json"), read)}
    pairs = vggsound_duet.read(_of_kind(files, ".csv"))
    vggsound.need(pairs, "vggsound_duet_test.csv")
    for first, second in pairs:
        if first not in boxes or second not in boxes:
            read.dropped.append((f"{first}, {second}", "one of them has no box"))
            continue
        sources = ((*boxes[first][:2], 0), (*boxes[second][:2], 1))
        yield _Picture(first, "duet", sources)


def _of_kind(files: Iterable[Path], suffix: str) -> Options:
    return Options(videos=Path(), annotations=tuple(path for path in files if path.suffix == suffix))


def _vggsound_instruments(options: Options, read: _Read) -> Iterator[_Picture]:
    files = annotation_files(options)
    masks = {path.stem: path for path in files if path.suffix in MASKS}
    lists = vggsound.read(path for path in files if path.suffix not in MASKS)
    vggsound.need(lists.test, "vgginstruments_test.csv")
    for clip, label in sorted(lists.test.items()):
        if clip not in masks or label not in vggsound_instruments.CLASSES:
            read.dropped.append((clip, "has no mask" if clip not in masks else f"{label!r} is none of the classes"))
        else:
            yield _Picture(clip, "solo", ((label, (), 0),), masks[clip])


def _music(options: Options, read: _Read) -> Iterator[_Picture]:
    notes = music.read(annotation_files(options))
    read.dropped += notes.dropped
    for (video, number), things in sorted(notes.things.items()):
        labels = dict.fromkeys([*notes.classes.get(video, ()), *(thing.label for thing in things)])
        sources = tuple((label, tuple(t for t in things if t.label == label), 0) for label in labels)
        name = f"{video}_{number // music.FRAME_RATE:03d}_{number:05d}"
        yield _Picture(name, notes.kinds.get(video, "solo"), sources)


def _audioset(options: Options, read: _Read) -> Iterator[_Picture]:
    made = Plan()
    for (video, second), things in sorted(audioset_instrument.read(options, made).items()):
        labels = dict.fromkeys(thing.label for thing in things)
        sources = tuple((label, tuple(t for t in things if t.label == label), 0) for label in labels)
        yield _Picture(f"{video}_{second:03d}", "solo" if len(labels) == 1 else "multi", sources)
    read.dropped += made.dropped


def _flickr(options: Options, read: _Read) -> Iterator[_Picture]:
    made = Plan()
    for path in sorted(annotation_files(options)):
        if path.suffix == ".xml":
            try:
                things = flickr_soundnet.read_consensus(path, made)
            except DataError as error:
                read.dropped.append((path.stem, str(error)))
                continue
            yield _Picture(path.stem, "test", ((flickr_soundnet.CLASS, things, 0),))
    read.dropped += made.dropped


def _is3(options: Options, read: _Read) -> Iterator[_Picture]:
    made = Plan()
    for name, sounds in sorted(is3.read(options, made).items()):
        yield _Picture(name, "duet", tuple((sound.thing.label, (sound.thing,), 0) for sound in sounds))
    read.dropped += made.dropped


def _single(read: _Read, clip: str, subset: str, label: str, things: list[Thing]) -> Iterator[_Picture]:
    if things:
        yield _Picture(clip, subset, ((label, tuple(things), 0),))
    else:
        read.dropped.append((clip, "no box is left, so that no map can be judged on it"))


_READERS = {
    "vggsound-single": _vgg_ss,
    "vggsound-music": _vggsound_music,
    "vggsound-duet": _vggsound_duet,
    "vggsound-instruments": _vggsound_instruments,
    "music": _music,
    "audioset-instrument": _audioset,
    "flickr-soundnet": _flickr,
    "is3": _is3,
}
