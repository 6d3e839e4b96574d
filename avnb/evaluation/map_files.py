"""Localization maps that any code has written: a folder of .npy or .png, a .npz or a .safetensors, read clip by clip.

A map is called as its clip: ``NAME.npy`` of [height, width], or of [maps, height, width]; ``NAME/CLASS.npy`` (or the
key ``NAME/CLASS``) is the clip's map of a class, as is ``NAME_CLASS`` of one word; ``NAME/0``, ``NAME/1`` ... are maps
without names. Sizes and value ranges are free, and may differ from map to map. Nothing that a file holds is run.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avnb.data.media_files import read_mask_picture
from avnb.errors import DataError
from avnb.paths import shown
from avnb.prepare.media_folder import PICTURES, SOUNDS, VIDEOS, walk

LARGEST = 64 * 2**20  # bytes of a file, or of a member of one
LONGEST = 4096  # pixels of a map's side
MOST = 8  # maps of a clip without names
NAMED = 3  # examples in a sentence
SUFFIXES = (".npy", ".png")
MEDIA = VIDEOS | PICTURES | SOUNDS


class BrokenMap(Exception):
    """Why the maps of one clip cannot be judged."""


@dataclass(frozen=True)
class ClipMaps:
    """The maps of a clip, each of its own size, and the classes they are of: ``labels`` is () without names."""

    maps: tuple[Float[Tensor, "_ _"], ...]
    labels: tuple[str, ...] = ()


def spelled(label: str) -> str:
    """Return a class as names are compared: "female speech, woman" and "Female_speech_woman" are one."""
    return re.sub(r"[\W_]+", "_", label).strip("_").lower()


class Maps:
    """The maps there are for a benchmark's clips, by the clips' names; what is called as no clip is in ``unknown``.

    ``source`` is a path, or a mapping from names to arrays (or to mappings from classes to arrays). Raises DataError
    where there is nothing, where two maps are of one name, and where some clips' maps name classes and others' do not.
    """

    def __init__(self, source: Path | str | Mapping[str, Any], names: Iterable[str]) -> None:
        self.title = "the maps given" if isinstance(source, Mapping) else shown(Path(source))
        keys, self._read, self._shape = _opened(source)
        clips = set(names)
        self._keys: dict[str, dict[str, str]] = {}  # clip -> class, number or "" -> key
        self.unknown: list[str] = []
        twice: list[tuple[str, str, str]] = []
        for key, place in sorted(keys):
            clip, label = _clip_of(key, clips)
            if clip is None:
                self.unknown.append(key)
            elif (before := self._keys.setdefault(clip, {}).setdefault(spelled(label), place)) != place:
                twice.append((key, before, place))
        self._check(names, twice)

    def _check(self, names: Iterable[str], twice: list[tuple[str, str, str]]) -> None:
        if twice:
            key, first, second = twice[0]
            raise DataError(
                f"{self.title} has two maps called {key}: {first} and {second} ({len(twice):,} such pairs). Keep one "
                "of each."
            )
        if not self._keys:
            example = f", such as {self.unknown[0]}" if self.unknown else ""
            raise DataError(
                f"{self.title} has no map of a clip of the benchmark: {len(self.unknown):,} maps{example}, and clips "
                f"called {next(iter(names))}. A map is called as its clip."
            )
        if mixed := [clip for clip, labels in self._keys.items() if "" in labels and len(labels) > 1]:
            raise DataError(
                f"{self.title} has a map of {mixed[0]} and maps in {mixed[0]}/ as well ({len(mixed):,} such clips). "
                "Keep one or the other."
            )
        kinds = Counter(self._is_named(clip) for clip in self._keys)
        if len(kinds) > 1:
            raise DataError(
                f"The maps of {kinds[True]:,} clips in {self.title} name their classes, those of {kinds[False]:,} do "
                "not: name all of them, or none."
            )
        self.named = kinds[True] > 0

    @cached_property
    def most(self) -> int:
        """How many maps without names a clip has at most, by what the files' headers say."""
        return max(
            len(keys) if len(keys) > 1 else self._count(next(iter(keys.values()))) for keys in self._keys.values()
        )

    def _count(self, key: str) -> int:
        try:
            shape = self._shape(key)
        except BrokenMap:
            return 1
        return shape[0] if len(shape) == 3 and shape[0] <= MOST else 1

    def _is_named(self, clip: str) -> bool:
        return not all(re.fullmatch(r"\d*", label) for label in self._keys[clip])

    def __contains__(self, clip: str) -> bool:
        return clip in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, clip: str) -> ClipMaps:
        """Return the maps of a clip; raise BrokenMap where they are no maps."""
        found = self._keys[clip]
        if self.named:
            maps = {label: _checked(self._read(key)) for label, key in found.items()}
            if several := [label for label, value in maps.items() if len(value) > 1]:
                raise BrokenMap(f"{len(maps[several[0]])} maps of the class {several[0]}")
            return ClipMaps(tuple(value[0] for value in maps.values()), tuple(maps))
        order = sorted(found, key=lambda label: int(label or 0))
        maps = [one for label in order for one in _checked(self._read(found[label]))]
        if len(maps) > MOST:
            raise BrokenMap(f"{len(maps)} maps, more than {MOST} for one clip")
        return ClipMaps(tuple(maps))


def _clip_of(key: str, clips: set[str]) -> tuple[str | None, str]:
    """Return the clip that a key names, and what follows it; folders before the clip's name say nothing.

    >>> _clip_of("test/abc", {"abc"}), _clip_of("abc/cello", {"abc"}), _clip_of("abc_cello.jpg", {"abc"})
    (('abc', ''), ('abc', 'cello'), ('abc', 'cello'))
    """
    parts = key.split("/")
    for start in range(len(parts)):
        for end in range(len(parts), start, -1):
            name, rest = "/".join(parts[start:end]), parts[end:]
            bare = name.rsplit(".", 1)[0] if Path(name).suffix.lower() in MEDIA else name
            for one in (name, bare):
                if one in clips and len(rest) <= 1:
                    return one, "".join(rest)
                head, _, tail = one.rpartition("_")
                if head in clips and not rest:
                    return head, tail
    return None, ""


Opened = tuple[Iterable[tuple[str, str]], Callable[[str], Any], Callable[[str], Sequence[int]]]


def _opened(source: Path | str | Mapping[str, Any]) -> Opened:
    """Return the (name, key) of every map, what reads a key, and what returns the shape of its array."""
    if isinstance(source, Mapping):
        flat = {
            (f"{name}/{label}" if label != "" else name): one
            for name, value in source.items()
            for label, one in (value.items() if isinstance(value, Mapping) else [("", value)])
        }
        return ((name, name) for name in flat), flat.__getitem__, lambda key: np.shape(flat[key])
    path = Path(source)
    if path.is_dir():
        files = [name for name in walk(path) if name.lower().endswith(SUFFIXES)]
        read, shape = (_guarded(one) for one in (_read_file, _shape_in_file))
        keys = ((name.rpartition(".")[0], name) for name in files)
        return keys, lambda name: read(path / name), lambda name: shape(path / name)
    if not path.exists():
        raise DataError(f"{shown(path)} does not exist; maps are a folder of .npy or .png, a .npz or a .safetensors.")
    try:
        if path.suffix == ".npz":
            return _opened_npz(path)
        if path.suffix == ".safetensors":
            return _opened_safetensors(path)
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and safetensors raise many types on damaged files
        raise DataError(f"{shown(path)} cannot be read ({type(error).__name__}: {error}).") from None
    raise DataError(f"{shown(path)} is none of what maps are read from: a folder of .npy or .png, .npz, .safetensors.")


def _opened_npz(path: Path) -> Opened:
    archive, alone = zipfile.ZipFile(path), Lock()
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    if len(members) < len(archive.infolist()):
        raise DataError(f"{shown(path)} holds two arrays of one name; write it again.")

    def read(key: str) -> np.ndarray:
        if members[key].file_size > LARGEST:
            raise BrokenMap(f"larger than {LARGEST // 2**20} MB")
        with alone:
            data = archive.read(members[key])
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)

    def shape(key: str) -> Sequence[int]:
        with alone, archive.open(members[key]) as file:
            return _shape_in(file)

    return ((name, name) for name in members), _guarded(read), _guarded(shape)


def _opened_safetensors(path: Path) -> Opened:
    from safetensors import safe_open

    file = safe_open(path, framework="pt")
    names = list(file.keys())
    return ((name, name) for name in names), _guarded(file.get_tensor), lambda key: file.get_slice(key).get_shape()


def _guarded(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that raises BrokenMap for whatever numpy, Pillow, zlib and the system raise."""

    def guarded(what: Any) -> Any:
        try:
            return read(what)
        except BrokenMap:
            raise
        except Exception as error:
            raise BrokenMap(f"cannot be read ({type(error).__name__}: {error})") from None

    return guarded


def _read_file(path: Path) -> np.ndarray:
    if path.stat().st_size > LARGEST:
        raise BrokenMap(f"larger than {LARGEST // 2**20} MB")
    return np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _read_picture(path)


def _shape_in_file(path: Path) -> Sequence[int]:
    if path.suffix.lower() != ".npy":
        return (1, 1)  # a picture is one map
    with open(path, "rb") as file:
        return _shape_in(file)


def _shape_in(file: IO[bytes]) -> Sequence[int]:
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file)[0]


def _read_picture(path: Path) -> np.ndarray:
    try:
        image = read_mask_picture(path)  # its numbers as they are
    except DataError as error:
        raise BrokenMap(str(error)) from None
    if image.mode not in ("1", "L", "I", "F") and not image.mode.startswith("I;16"):
        raise BrokenMap(f"a picture in mode {image.mode}; a map is one channel of grey, 8 or 16 bits")
    if max(image.size) > LONGEST:
        raise BrokenMap(f"{image.size[1]} x {image.size[0]} pixels, more than {LONGEST} a side")
    return np.asarray(image)


def _checked(value: Any) -> list[Float[Tensor, "_ _"]]:
    """Return the maps of an array; raise BrokenMap where they are no numbers or have no height and width."""
    array = value if isinstance(value, Tensor) else np.asarray(value)
    shape = tuple(array.shape)
    if isinstance(array, Tensor):
        maps = array.detach().cpu().float() if not array.is_complex() else None
    else:
        maps = torch.from_numpy(np.ascontiguousarray(array, np.float32)) if array.dtype.kind in "biuf" else None
    if maps is None:
        raise BrokenMap(f"an array of {array.dtype}, not of numbers")
    if maps.dim() not in (2, 3) or 0 in shape or max(shape[-2:]) > LONGEST:
        raise BrokenMap(f"shape {shape}, not height x width or maps x height x width")
    if not maps.isfinite().all():
        raise BrokenMap(f"{int((~maps.isfinite()).sum()):,} values that are no numbers (NaN or infinite)")
    return [maps] if maps.dim() == 2 else list(maps)


def examples(items: Iterable[str]) -> str:
    """Return a few of many, for a sentence."""
    items = list(items)
    return ", ".join(items[:NAMED]) + (" ..." if len(items) > NAMED else "")
