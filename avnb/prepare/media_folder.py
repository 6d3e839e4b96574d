"""Which media files a folder holds, and what the usual downloaders' names say about them."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from avnb.data.scratch import Names
from avnb.errors import DataError
from avnb.paths import shortened, shown, spell
from avnb.prepare.plan import Plan

VIDEOS = frozenset(
    [
        ".mp4",
        ".webm",
        ".mkv",
        ".m4v",
        ".mov",
        ".avi",
        ".flv",
        ".mpg",
        ".mpeg",
        ".3gp",
        ".3g2",
        ".ts",
        ".mts",
        ".m2ts",
        ".m2t",
        ".wmv",
        ".asf",
        ".ogv",
        ".ogm",
        ".vob",
        ".mxf",
        ".f4v",
        ".divx",
        ".rm",
        ".rmvb",
        ".mpe",
        ".m2v",
        ".mjpg",
        ".mjpeg",
        ".dv",
        ".qt",
        ".nut",
    ]
)
PICTURES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
    ]
)
SOUNDS = frozenset(
    [
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".mp3",
        ".m4a",
        ".opus",
        ".aac",
        ".wma",
        ".aif",
        ".aiff",
        ".aifc",
        ".caf",
        ".au",
        ".amr",
        ".ac3",
        ".eac3",
        ".dts",
        ".mka",
        ".mp2",
        ".w64",
        ".ape",
        ".wv",
        ".tta",
        ".tak",
    ]
)
NAMED = 10_000  # files that are passed over, of which the report has the names
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


def list_media(root: Path, made: Plan | None = None) -> Media:
    """List a folder of videos, or of pictures and sounds, at any depth; raise DataError where there is nothing.

    What is passed over is named in ``made``: other files, second files of a name, folders that cannot be read.
    """
    if not Path(root).is_dir():
        raise DataError(
            f"{shown(Path(root))} is not a folder; --videos is where the videos, or frames/ and audio/, lie."
        )
    media, passed = Media(Path(os.path.abspath(root))), _PassedOver(made)
    kinds = ((VIDEOS, media.videos), (PICTURES, media.pictures), (SOUNDS, media.sounds))
    kind_of = {suffix: kind for kind, (suffixes, _) in enumerate(kinds) for suffix in suffixes}
    names, counts = walk(media.root, passed=passed.add), [0] * len(kinds)
    while some := list(islice(names, AT_ONCE)):
        found: list[list[tuple[str, str]]] = [[] for _ in kinds]
        for name in some:
            stem, dot, suffix = name.rpartition(".")
            kind = kind_of.get(dot + suffix.lower())
            if kind is None:
                passed.add(name, "of no kind that is read" if dot else "without a suffix that tells its kind")
            else:
                found[kind].append((stem, name))
                counts[kind] += 1
        try:
            for (_, files), pairs in zip(kinds, found, strict=True):
                files.add(pairs)
        except UnicodeEncodeError as error:
            raise DataError(
                f"{shown(media.root)} holds {error.object!r}, which is not a name in UTF-8; rename it."
            ) from None
    if sum(counts) != sum(len(files) for _, files in kinds):  # rare, so that looking twice costs nothing else
        for name in walk(media.root, passed=lambda *_: None):
            stem, dot, suffix = name.rpartition(".")
            kind = kind_of.get(dot + suffix.lower())
            if kind is not None and (taken := kinds[kind][1].get(stem)) not in (None, name):
                passed.add(name, f"{taken} has the same name and is taken, unless it is broken")
    passed.tell()
    if not media.videos and not (media.pictures and media.sounds):
        raise DataError(
            f"{shown(media.root)} holds {len(media.pictures):,} pictures, {len(media.sounds):,} sounds and no video. "
            "Needed are videos, or frames/ and audio/; data/README.md shows the layout of every data set."
        )
    return media


class _PassedOver:
    """What is passed over: counted, and named in a plan up to NAMED."""

    def __init__(self, made: Plan | None) -> None:
        self.made, self.count = made, 0

    def add(self, name: str, why: str) -> None:
        self.count += 1
        if self.made is not None and self.count <= NAMED:
            self.made.passed.append((name, why))

    def tell(self) -> None:
        if self.made is not None and self.count > NAMED:
            self.made.passed.append((f"... and {self.count - NAMED:,} more", "not named"))


def twins(path: str, suffixes: frozenset[str] = VIDEOS) -> list[str]:
    """Return the other files beside ``path`` that differ from it in the suffix alone, and are of its kind."""
    stem, dot, suffix = path.rpartition(".")
    if dot + suffix.lower() not in suffixes:
        return []
    folder, name = os.path.split(stem)
    try:
        there = [entry.path for entry in os.scandir(folder) if entry.name.startswith(f"{name}.")]
    except OSError:
        return []
    others = [other for other in there if other != path and os.path.splitext(other)[0] == stem]
    return sorted(other for other in others if os.path.splitext(other)[1].lower() in suffixes)


def walk(
    root: str | Path, inside: str = "", passed: Callable[[str, str], None] | None = None, above: tuple = ()
) -> Iterator[str]:
    """Yield the files below a folder as paths in it, in no order; hidden ones are passed over.

    ``passed`` is told what else is: pipes and devices, folders that cannot be read, links that lead in a circle.
    Without it those are yielded, or raise DataError.
    """
    before, folders = f"{inside}/" if inside else "", []

    def pass_over(name: str, why: str) -> None:
        if passed is None:
            raise DataError(f"{shown(Path(root) / name)} {why}.")
        passed(name, why)

    try:
        here = os.stat(os.path.join(root, inside))
        with os.scandir(os.path.join(root, inside)) as entries:
            while some := list(islice(entries, AT_ONCE)):
                files = []
                for entry in some:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file() or passed is None:
                        files.append(entry.name)
                    else:
                        passed(before + entry.name, "is a pipe, a device, or a link to nothing")
                files.sort()  # neighbours go to neighbouring places of a table, which is quicker
                for name in files:
                    yield before + name
    except OSError as error:
        pass_over(inside, f"cannot be read: {error.strerror}")
        return
    mark = (here.st_dev, here.st_ino)
    if mark in above:
        return
    for name in folders:
        path = os.path.join(root, before + name)
        if os.path.islink(path):
            there = os.stat(path)
            if (there.st_dev, there.st_ino) in (*above, mark):
                pass_over(before + name, "is a link to a folder that it lies in")
                continue
        yield from walk(root, before + name, passed, (*above, mark))


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
    """Return ``name`` as a path inside a folder on any system; different names stay different.

    >>> safe("-_-TDDxoaAc_000_00000"), safe("my band/take 1")
    ('-_-TDDxoaAc_000_00000', 'my%20band/take%201')
    """
    spelt = re.sub(r"[^\w./+=-]|(?:^|(?<=/))(?:\.+(?=/|$)|/)|^/", lambda found: spell(found[0]), name)
    return "/".join(map(shortened, spelt.split("/")))
