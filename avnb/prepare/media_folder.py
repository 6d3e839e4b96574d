"""Which media files a folder holds, and what the usual downloaders' names say about them."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from avnb.data.scratch import Names
from avnb.errors import DataError
from avnb.paths import shown

VIDEOS = frozenset([".mp4", ".webm", ".mkv", ".m4v", ".mov", ".avi", ".flv", ".mpg", ".mpeg", ".3gp"])
PICTURES = frozenset([".jpg", ".jpeg", ".png", ".webp", ".bmp"])
SOUNDS = frozenset([".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".aac"])
AT_ONCE = 10_000  # names read and sorted at a time: a folder may hold millions
MILLISECONDS = 5000  # a clip that would last longer than so many seconds has its times in milliseconds
_YOUTUBE = re.compile(r"([\w-]{11})(?:_(\d+(?:\.\d+)?))?(?:_(\d+(?:\.\d+)?))?")


@dataclass
class Media:
    """The media files of a folder, each by its path in the folder without the suffix, in alphabetical order.

    Where a name occurs with several suffixes the first in the alphabet is taken.
    """

    root: Path
    videos: Names = field(default_factory=Names)
    pictures: Names = field(default_factory=Names)
    sounds: Names = field(default_factory=Names)

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
    kind_of = {suffix: kind for kind, (suffixes, _) in enumerate(kinds) for suffix in suffixes}
    names = walk(media.root)
    while some := list(islice(names, AT_ONCE)):
        found: list[list[tuple[str, str]]] = [[] for _ in kinds]
        for name in some:
            stem, dot, suffix = name.rpartition(".")
            kind = kind_of.get(dot + suffix.lower())
            if kind is not None:
                found[kind].append((stem, name))
        try:
            for (_, files), pairs in zip(kinds, found, strict=True):
                files.add(pairs)
        except UnicodeEncodeError as error:
            raise DataError(
                f"{shown(media.root)} holds {error.object!r}, which is not a name in UTF-8; rename it."
            ) from None
    if not media.videos and not (media.pictures and media.sounds):
        raise DataError(
            f"{shown(media.root)} holds {len(media.pictures):,} pictures, {len(media.sounds):,} sounds and no video. "
            "Needed are videos, or frames/ and audio/; data/README.md shows the layout of every data set."
        )
    return media


def walk(root: str | Path, inside: str = "") -> Iterator[str]:
    """Yield the files below a folder as paths in it, in no order; hidden ones are passed over."""
    before, folders = f"{inside}/" if inside else "", []
    with os.scandir(os.path.join(root, inside)) as entries:
        while some := list(islice(entries, AT_ONCE)):
            files = []
            for entry in some:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
            files.sort()  # neighbours go to neighbouring places of a table, which is quicker
            for name in files:
                yield before + name
    for name in folders:
        yield from walk(root, before + name)


def by_name(files: Names) -> Names:
    """Return the files by their bare name, whatever folder they lie in; the first of several is taken.

    >>> dict(by_name(Names([("test/a/x", "test/a/x.mp4"), ("train/x", "train/x.mp4")])))
    {'x': 'test/a/x.mp4'}
    """
    return Names((stem.rsplit("/", 1)[-1], path) for stem, path in files.pairs())


def sounds_and_pictures(media: Media, missing: list[str]) -> Iterator[tuple[str, str, str | None]]:
    """Yield (name, file to be cut, picture): the videos; where there are none, sounds with pictures of their names.

    frames/cello/x.jpg and audio/cello/x.wav are of one name. Pictures without a sound are noted in ``missing``.
    """
    for stem, path in media.videos.pairs():
        yield stem, path, None
    if media.videos:
        return
    for stem, picture in media.pictures.pairs():
        bare = stem.replace("frames/", "", 1)
        places = (stem.replace("frames/", "audio/", 1), bare, f"audio/{bare}")
        sound = next(filter(None, map(media.sounds.get, places)), None)
        if sound is None:
            missing.append(f"sound of {stem}")
        else:
            yield bare, sound, picture


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
