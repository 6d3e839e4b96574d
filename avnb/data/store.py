"""A benchmark decoded once into memory-mapped arrays, from which batches come without worker processes.

Opening a store reads a page of JSON and maps the arrays: the same work for 1,000 clips and for 1,000,000.
"""

import copy
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from avnb.data.arrays import is_intact
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.clips import Clip, SceneObject
from avnb.data.folder import SPLITS, DatasetInfo
from avnb.errors import DataError

CLIP = np.dtype([("split", "u1"), ("subset", "u2"), ("line", "u4"), ("has_mask", "?"), ("video", "u4")])
# "seen": at least one pixel is the object's, so that a map can be judged by it.
OBJECT = np.dtype([("class", "u2"), ("sounding", "?"), ("seen", "?"), ("xyxy", "f8", 4)])

UNKNOWN = 65_535  # the class of a silent object that is none of the classes


@dataclass(frozen=True)
class ClipShape:
    """The shape of a store's clips: frames of ``size`` x ``size`` pixels, ``seconds`` of sound at ``rate`` Hz."""

    size: int = 224
    rate: int = 22050
    seconds: float = 3.0

    @property
    def samples(self) -> int:
        return round(self.rate * self.seconds)


class DamagedStore(Exception):
    """What on the disk was a store is damaged; the sentence says how. It is built anew."""


class Store:
    """The clips of one benchmark as memory-mapped arrays.

    ``frames`` uint8 [clips, 3, size, size], ``waveforms`` int16 [clips, samples], ``masks`` uint8 [clips, size, size]
    (k for the k-th object), ``labels`` bool [clips, classes] (the sounding ones). ``truth`` says where an object of a
    clip with a mask is: within its "box", as the papers judge a benchmark of boxes, or on its "mask".
    """

    rebuilt = ""  # why the store had to be built anew, where it had
    kept: bool | np.ndarray = True  # which clips select() and count() offer: all that are not broken, but in a part
    shares: np.ndarray | None = None  # of the truth, each object's, where one is not 1
    truth: str = "mask"

    def __init__(self, info: DatasetInfo, folder: Path, shape: ClipShape) -> None:
        said = _read_index(folder / "store.json")
        self.info, self.folder, self.shape = info, folder, shape
        self.name, self.classes, self.origin = info.name, info.classes, info.origin
        self.truth = published_truth(info.name)
        self.subsets: list[str] = said["subsets"]
        self.broken: list[dict] = said["broken"]
        self.silent: int = said["silent"]
        try:
            arrays = {name.removesuffix(".npy"): np.load(folder / name, mmap_mode="r") for name in said["files"]}
        except (OSError, ValueError) as error:
            raise DamagedStore(f"an array of it cannot be read ({error})") from None
        self.ids, self.clips, self.frames, self.waveforms = (
            arrays[name] for name in ("ids", "clips", "frames", "waveforms")
        )
        self.masks, self.labels, self.objects, self.offsets = (
            arrays[name] for name in ("masks", "labels", "objects", "offsets")
        )
        self.shares = arrays.get("shares")
        if self.broken:
            self.kept = ~np.isin(np.arange(len(self)), [clip["place"] for clip in self.broken])

    def __len__(self) -> int:
        """Return how many clips the arrays have room for, those that are broken among them."""
        return len(self.clips)

    def part(self, keep: Bool[np.ndarray, " clips"]) -> "Store":
        """Return a store with the same arrays that offers only the clips to ``keep``; their indices stay what they are.

        Introduced in notebooks/02_ez_vsl.ipynb.
        """
        part = copy.copy(self)
        part.kept = self.kept & keep
        part.__dict__.pop("report", None)
        return part

    def in_classes(self, classes: tuple[str, ...]) -> "Store":
        """Return a store with the same clips that counts classes as another data set does, whose ``classes`` these are.

        Clips of a sounding class that is none of them are not offered; DataError where no clip is left. A silent object
        of such a class is called "other".
        """
        if classes == self.classes:
            return self
        place = np.array([classes.index(name) if name in classes else UNKNOWN for name in self.classes])
        known = place != UNKNOWN
        other = self.part(~self.labels[:, ~known].any(axis=1))
        if not known.any() or not np.any(other.kept):
            raise DataError(
                f'Not one clip of "{self.name}" is of the classes that are trained on ({", ".join(classes[:5])}, ...): '
                "a method that knows classes cannot be asked about it."
            )
        other.classes, other.objects = classes, np.array(self.objects)
        other.objects["class"] = place[self.objects["class"]]
        other.labels = np.zeros((len(self), len(classes)), bool)
        other.labels[:, place[known]] = self.labels[:, known]
        return other

    def select(self, split: str, subset: str | None = None) -> Int[np.ndarray, " chosen"]:
        """Return the indices of a split's clips (of one subset); raise DataError naming what there is where none is."""
        chosen = self.kept & (self.clips["split"] == SPLITS.index(split))
        if subset is not None:
            code = self.subsets.index(subset) if subset in self.subsets else -1
            chosen = chosen & (self.clips["subset"] == code)
        if not chosen.any():
            counted = ", ".join(f"{a} {b}: {n}" for (a, b), n in sorted(self.count().items()))
            wanted = f"{split} {subset}" if subset else split
            raise DataError(f'"{self.name}" has no clips in {wanted}. It has {counted}.')
        return np.flatnonzero(chosen)

    def solos(self, split: str) -> Int[np.ndarray, " chosen"]:
        """Return the split's clips that mixtures are made of: its subset "solo", else all, with one sounding class.

        Where there are solos, a clip of another subset may sound of more than its objects say. Raises what `select`
        raises.
        """
        chosen = self.select(split, "solo" if (split, "solo") in self.count() else None)
        return chosen[self.labels[chosen].sum(axis=1) == 1]

    def count(self) -> dict[tuple[str, str], int]:
        """Return the number of clips of each (split, subset)."""
        kinds = len(self.subsets)
        kind = self.clips["split"].astype(np.int64) * kinds + self.clips["subset"]
        counts = np.bincount(kind, weights=np.broadcast_to(self.kept, kind.shape))
        return {(SPLITS[k // kinds], self.subsets[k % kinds]): int(counts[k]) for k in np.flatnonzero(counts)}

    def clip(self, index: int | np.integer) -> Clip:
        """Return one clip with its objects, to look at and listen to."""
        things = self.objects[self.offsets[index] : self.offsets[index + 1]]
        return Clip(
            id=self.ids[index].decode(),
            frame=np.array(self.frames[index]).transpose(1, 2, 0),
            waveform=np.array(self.waveforms[index], np.float32) / 32767,
            rate=self.shape.rate,
            objects=tuple(
                SceneObject(self._name(int(thing["class"])), tuple(thing["xyxy"].tolist()), bool(thing["sounding"]))
                for thing in things
            ),
            mask=np.array(self.masks[index]) if self._by_mask(index) else None,
            labels=tuple(self.classes[k] for k in np.flatnonzero(self.labels[index])),
        )

    def _name(self, number: int) -> str:
        return "other" if number == UNKNOWN else self.classes[number]

    def read_frames(self, index: Int[np.ndarray, "..."]) -> UInt8[Tensor, "... 3 size size"]:
        """Return the frames at ``index``, of any shape."""
        return torch.from_numpy(self.frames[index])

    def read_waveforms(self, index: Int[np.ndarray, "..."]) -> Float[Tensor, "... time"]:
        """Return the waveforms at ``index`` in -1..1, of any shape of index."""
        return torch.from_numpy(self.waveforms[index]).float().div_(32767)

    def read_labels(self, index: Int[np.ndarray, "..."]) -> Float[Tensor, "... classes"]:
        """Return the sounding classes at ``index`` as multi-hot vectors."""
        return torch.from_numpy(self.labels[index]).float()

    def read_truth(
        self, index: Int[np.ndarray, " batch"], classes: Int[np.ndarray, "batch sources"]
    ) -> Float[Tensor, "batch sources size size"]:
        """Return where the sounding objects of each asked class are: their mask or their filled boxes, as ``truth``
        says; boxes where there is no mask.

        It is 0 or 1, but in between where boxes have a share of less than 1 (annotators who disagree).
        """
        clip, thing = self._objects_of(index)
        size, (batch, sources) = self.shape.size, classes.shape
        objects, number = self.objects[thing], thing - self.offsets[index][clip] + 1
        asked = (objects["class"][:, None] == classes[clip]) & objects["sounding"][:, None]  # [objects, sources]
        # k-th object of its clip -> is it of the asked source? Then the masks are looked up in that table.
        table = np.zeros((batch, sources, max(256, number.max(initial=0) + 1)), bool)
        table[clip, :, number] = asked
        by_mask = self._by_mask(index)
        truth = np.zeros((batch, sources, size, size), np.float32)
        masks = self.masks[index[by_mask]]
        truth[by_mask] = np.take_along_axis(
            table[by_mask], masks.reshape(len(masks), 1, size * size).astype(np.int64), axis=2
        ).reshape(len(masks), sources, size, size)
        for k, source in np.argwhere(asked & ~by_mask[clip][:, None]):
            x0, y0, x1, y1 = box_pixels(objects["xyxy"][k], size)
            place = truth[clip[k], source, y0:y1, x0:x1]
            np.minimum(place + (1 if self.shares is None else self.shares[thing[k]]), 1, out=place)
        return torch.from_numpy(truth)

    def has_truth(self, index: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Return which clips have a sounding object that fills at least one pixel, so that a map can be judged."""
        return self.sounding_objects(index) > 0

    def sounding_objects(self, index: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " batch"]:
        """Return how many sounding objects each clip has that fill at least one pixel."""
        clip, thing = self._objects_of(index)
        objects = self.objects[thing]
        corners = (objects["xyxy"] * self.shape.size).astype(np.int64)  # as box_pixels cuts them
        seen = np.where(self._by_mask(index)[clip], objects["seen"], (corners[:, 2:] > corners[:, :2]).all(axis=1))
        return np.bincount(clip[objects["sounding"] & seen], minlength=len(index))

    def has_silent(self, index: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Return which clips show an object of a class that does not sound in them."""
        clip, thing = self._objects_of(index)
        objects = self.objects[thing]
        kinds = self.labels.shape[1]
        heard = self.labels[index[clip], np.minimum(objects["class"], kinds - 1)] & (objects["class"] < kinds)
        found = np.zeros(len(index), bool)
        found[clip[~objects["sounding"] & ~heard]] = True
        return found

    def _by_mask(self, index: int | np.integer | np.ndarray) -> np.bool_ | np.ndarray:
        """Return which clips' objects are where the mask says, not within their boxes."""
        return self.clips["has_mask"][index] & (self.truth == "mask")

    def _objects_of(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for every object of the clips at ``index``, the clip's place in ``index`` and the object's number."""
        counts = self.offsets[index + 1] - self.offsets[index]
        clip = np.repeat(np.arange(len(index)), counts)
        within = np.arange(len(clip)) - np.repeat(np.cumsum(counts) - counts, counts)
        return clip, self.offsets[index][clip] + within

    @cached_property
    def digest(self) -> str:
        """What tells two data sets of one name apart: a digest of the two files that describe the clips."""
        digest = hashlib.sha256()
        for name in ("dataset.json", "metadata.jsonl"):
            digest.update((self.info.folder / name).read_bytes())
        return digest.hexdigest()

    @cached_property
    def report(self) -> str:
        """What a reader should know before trusting the clips: how many there are, and which were left out and why."""
        lines = [f"{self.name} ({self.origin}): {sum(self.count().values()):,} clips, {len(self.classes)} classes"]
        lines += [f"  {split} {subset}: {n:,}" for (split, subset), n in sorted(self.count().items())]
        if self.rebuilt:
            lines.append(f"  built anew: what had been decoded before was damaged ({self.rebuilt})")
        if self.silent:
            lines.append(f"  {self.silent:,} clips are silent (kept, but nothing can be learnt from them)")
        lines += [f"  left out: {clip['id']} (line {clip['line']}): {clip['why']}" for clip in self.broken]
        if self.broken:
            lines.append("  (left out until metadata.jsonl changes: save it anew when the files are mended)")
        return "\n".join(lines)


def published_truth(name: str) -> str:
    """Return what the papers judge the benchmark by: "box" where one of its subsets has boxes, else "mask".

    What is no benchmark of the papers has masks where somebody made them, and is judged by them.

    >>> published_truth("music"), published_truth("vggsound-instruments"), published_truth("my_own")
    ('box', 'mask', 'mask')
    """
    protocols = BENCHMARKS[name].protocols if name in BENCHMARKS else ()
    return "box" if any(protocol.truth == "box" for protocol in protocols) else "mask"


def _read_index(path: Path) -> dict[str, Any]:
    """Return what store.json says; raise DamagedStore where it, or an array that it names, is not as it was written."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        check = said.pop("check")
        if check != zlib.crc32(json.dumps(said).encode()):
            raise DamagedStore("store.json was changed")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DamagedStore("store.json cannot be read") from None
    for name, seal in said["files"].items():
        if not is_intact(path.parent / name, seal):
            raise DamagedStore(f"{name} is not what was written")
    return said


def box_pixels(xyxy: Sequence[float] | np.ndarray, size: int) -> tuple[int, int, int, int]:
    """Return the box's first column and row and those after its last, in a frame of ``size`` x ``size`` pixels.

    Corners are cut to whole pixels, as the papers' evaluations do.

    >>> box_pixels((0.1, 0.5, 0.99, 1.0), 10)
    (1, 5, 9, 10)
    """
    x0, y0, x1, y1 = (int(corner * size) for corner in xyxy)
    return x0, y0, x1, y1
