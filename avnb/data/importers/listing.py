"""Which media files a folder holds, and what the usual downloaders' names say about them."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avnb.errors import DataError
from avnb.paths import shown

VIDEOS = frozenset([".mp4", ".webm", ".mkv", ".m4v", ".mov", ".avi", ".flv", ".mpg", ".mpeg", ".3gp"])
PICTURES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp"])
SOUNDS = frozenset([".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".aac"])
MILLISECONDS = 5000  # a clip that would last longer than so many seconds has its times in milliseconds
_YOUTUBE = re.compile(r"([\w-]{11})(?:_(\d+(?:\.\d+)?))?(?:_(\d+(?:\.\d+)?))?")


@dataclass
class Media:
    """The media files of a folder, each by its path in the folder without the suffix, in alphabetical order.

    Where a name occurs with several suffixes the first in the alphabet is taken.
    """

    root: Path
    videos: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)
    sounds: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """Return the absolute path of a file of the folder."""
        return f"{self.root}/{name}"


def list_media(root: Path) -> Media:
    """List a folder of videos, or of pictures and sounds, at any depth; raise DataError where there is nothing."""
    if not Path(root).is_dir():
        raise DataError(
            f"{shown(Path(root))} is not a folder; --videos is where the videos, or frames/ and audio/, lie."
        )
    media = Media(Path(os.path.abspath(root)))
    kinds = ((VIDEOS, media.videos), (PICTURES, media.pictures), (SOUNDS, media.sounds))
    found = {suffix: files for suffixes, files in kinds for suffix in suffixes}
    for name in walk(media.root):
        stem, dot, suffix = name.rpartition(".")
        files = found.get(dot + suffix.lower())
        if files is not None:
            files.setdefault(stem, name)
    if not media.videos and not (media.pictures and media.sounds):
        raise DataError(
            f"{shown(media.root)} holds {len(media.pictures):,} pictures, {len(media.sounds):,} sounds and no video. "
            "Needed are videos, or frames/ and audio/; data/README.md shows the layout of every data set."
        )
    return media


def walk(root: str | Path, inside: str = "") -> Iterator[str]:
    """Yield the files below a folder in alphabetical order as paths in it; hidden ones are passed over."""
    with os.scandir(os.path.join(root, inside)) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith("."))
    for name, is_folder in found:
        path = f"{inside}/{name}" if inside else name
        if is_folder:
            yield from walk(root, path)
        else:
            yield path


def by_name(files: dict[str, str]) -> dict[str, str]:
    """Return the files by their bare name, whatever folder they lie in; the first of several is taken.

    >>> by_name({"test/a/x": "test/a/x.mp4", "train/x": "train/x.mp4"})
    {'x': 'test/a/x.mp4'}
    """
    names: dict[str, str] = {}
    for stem, path in files.items():
        names.setdefault(stem.rsplit("/", 1)[-1], path)
    return names


def youtube(name: str) -> tuple[str, float | None] | None:
    """Return the video and the second at which the clip starts that a file's name tells; None where it tells none.

    >>> youtube("--G-wKyj6JQ_000030"), youtube("--G-wKyj6JQ_30000_40000"), youtube("--G-wKyj6JQ")
    (('--G-wKyj6JQ', 30.0), ('--G-wKyj6JQ', 30.0), ('--G-wKyj6JQ', None))
    """
    found = _YOUTUBE.fullmatch(name)
    if found is None:
        return None
    video, start, end = found.groups()
    if start is None:
        return video, None
    scale = 1000 if end is not None and float(end) - float(start) >= MILLISECONDS else 1
    return video, float(start) / scale


def safe(name: str) -> str:
    """Return ``name`` as part of a file's name on any system; different names stay different.

    >>> safe("-_-TDDxoaAc_000_00000"), safe("my band/take 1")
    ('-_-TDDxoaAc_000_00000', 'my%20band/take%201')
    """
    return re.sub(r"[^\w./+=-]", lambda found: "".join(f"%{byte:02x}" for byte in found[0].encode()), name)
