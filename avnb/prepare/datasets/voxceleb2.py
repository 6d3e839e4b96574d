"""VoxCeleb2: talking faces; the speakers are the classes. Mix-and-Localize's lists, and the user's own face places.

Annotations: ``voxceleb2_test.csv`` and ``voxceleb2_val.csv`` (lines ".../idXXXXX/UTTERANCE_FROM_TO", in seconds), and
the places of the faces, which were not published. They come from a face detector of the user's: a folder of masks
(.png, .npy or pickled arrays called UTTERANCE_FROM_TO), or a table ``faces.csv`` with the heading
``clip,x0,y0,x1,y1``, corners in 0..1 of the frame in the middle of the clip. Without one a clip is written with its
speaker alone, and no map can be judged on it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from avnb.data.scratch import Names
from avnb.errors import DataError
from avnb.paths import shown
from avnb.prepare.annotation_files import annotation_files, corners, must, read_table, unread
from avnb.prepare.mask_files import MASKS
from avnb.prepare.media_folder import Media, list_media, safe
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

_LINE = re.compile(r"(?:.*/)?(id\d{5})/(([\w-]{11})_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?))(?:/.*)?")
_CUT_OUT = re.compile(r"(?:.*/)?(id\d{5})/([\w-]{11})/(\d+)")  # as VoxCeleb2 is distributed: idXXXXX/VIDEO/00001
_FRAMES = re.compile(r"(?:.*/)?(id\d{5})/([\w-]{11}_[\d.]+_[\d.]+)/(?:frames/)?([^/]+)")
_FILE = re.compile(r"^.*/|\.(?:mp4|webm|mkv|m4a|wav|jpg|jpeg|png)$", re.I)  # of a file's name, what is no clip's
_KINDS = ("voxceleb2_test.csv", "voxceleb2_val.csv", "faces.csv", "masks")


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the clips of the lists, and every other clip in a speaker's folder to train on."""
    made.note = "VoxCeleb2; the classes are speakers, the faces' places are of the user's own detector."
    splits: dict[str, tuple[str, str]] = {}  # clip -> (split, speaker)
    boxes: dict[str, Thing] = {}
    masks: dict[str, Path] = {}
    for path in annotation_files(options):
        if path.suffix in MASKS:
            masks[path.stem] = path
        elif path.suffix in (".csv", ".txt"):
            rows = must(read_table(path), path, "clips")
            if "clip" in (heading := [cell.lower() for cell in rows[0]]):
                _read_faces(heading, rows[1:], path, boxes, made)
            else:
                _read_clips(rows, path, splits)
        else:
            raise unread(path, _KINDS)
    files = _files(list_media(options.videos, made))
    blind = 0
    for clip, (split, speaker) in sorted(splits.items()):
        things: tuple[Thing, ...] = ()
        mask = str(masks[clip].absolute()) if clip in masks else None
        if mask or clip in boxes:
            things = (Thing(speaker, None if mask else boxes[clip].xyxy),)
        elif split == "test":
            blind += 1
        yield from _job(made, files, clip, Cut(safe(clip), split, "solo", (speaker,), things, mask=mask))
    for what, there in (("faces.csv", boxes), ("the masks", masks)):
        made.dropped += [
            (clip, f"is among {what}, but in no list of clips") for clip in sorted(there.keys() - splits.keys())
        ]
    videos = {clip[:11] for clip, (split, _) in splits.items() if split == "test"}
    others = 0
    for clip, told in files.pairs():
        speaker, video, _source, _picture = told.split("\0")
        if clip in splits or speaker == "":
            continue
        if video in videos and not options.keep_leaked:
            others += 1
            continue
        yield from _job(made, files, clip, Cut(safe(clip.replace("/", "-")), "train", "solo", (speaker,)))
    if blind:
        made.remarks.append(f"{blind:,} test clips have no face place: add faces.csv or masks of your detector")
    if others:
        made.remarks.append(f"{others:,} other clips of test videos are not trained on (--keep-leaked would)")


def _read_clips(rows: list[list[str]], path: Path, splits: dict[str, tuple[str, str]]) -> None:
    split = "test" if "test" in path.stem else "val" if "val" in path.stem else "train"
    for cells in rows:
        match = _LINE.fullmatch(cells[0])
        if match is None:
            raise unread(path, _KINDS)
        if splits.get(match[2], ("",))[0] != "test":
            splits[match[2]] = (split, match[1])


def _read_faces(heading: list[str], rows: list[list[str]], path: Path, boxes: dict[str, Thing], made: Plan) -> None:
    """Read faces by the names in the heading, in whatever order and beside whatever else; clips may be named as files.

    Of a clip with two faces it is not known which one speaks: it gets neither.
    """
    if missing := [name for name in ("clip", "x0", "y0", "x1", "y1") if name not in heading]:
        raise DataError(f"{shown(path)} has no column {missing[0]}; needed are clip, x0, y0, x1 and y1.")
    place = {name: heading.index(name) for name in ("clip", "x0", "y0", "x1", "y1")}
    twice = set()
    for number, cells in enumerate(rows, start=2):
        if len(cells) <= max(place.values()):
            made.dropped.append((f"{path.name}, row {number}", f"has {len(cells)} cells, the heading {len(heading)}"))
            continue
        clip = _FILE.sub("", cells[place["clip"]])
        try:
            xyxy, why = corners([float(cells[place[name]]) for name in ("x0", "y0", "x1", "y1")])
        except ValueError:
            xyxy, why = None, "not four numbers"
        if xyxy is None:
            made.dropped.append((clip, f"box: {why}"))
        elif clip in boxes:
            twice.add(clip)
        else:
            boxes[clip] = Thing("", xyxy)
    for clip in sorted(twice):
        del boxes[clip]
        made.dropped.append((clip, f"box: {path.name} has two faces of it and does not say which one speaks"))


def _files(media: Media) -> Names:
    """Return for each clip its speaker, recording, video or sound, and middle frame where that is a file, by NULs.

    A whole YouTube video is listed by its own name, without a speaker.
    """

    def videos() -> Iterator[tuple[str, str]]:
        for stem, path in media.videos.pairs():
            if match := _LINE.fullmatch(stem):
                yield match[2], "\0".join((match[1], match[3], media.path(path), ""))
            elif match := _CUT_OUT.fullmatch(stem):
                yield f"{match[1]}/{match[2]}/{match[3]}", "\0".join((match[1], match[2], media.path(path), ""))
            elif re.fullmatch(r"[\w-]{11}", name := stem.rsplit("/", 1)[-1]):
                yield name, "\0".join(("", name, media.path(path), ""))

    found = Names(videos())
    frames: dict[str, list[str]] = {}
    for stem, path in media.pictures.pairs():
        if (match := _FRAMES.fullmatch(stem)) or (match := _LINE.fullmatch(stem)):
            frames.setdefault(match[2], []).append(path)

    def sounds() -> Iterator[tuple[str, str]]:
        for stem, path in media.sounds.pairs():
            match = _LINE.fullmatch(stem)
            if match and match[2] in frames and match[2] not in found:
                pictures = frames[match[2]]
                picture = media.path(pictures[len(pictures) // 2])
                yield match[2], "\0".join((match[1], match[3], media.path(path), picture))

    found.add(list(sounds()))
    return found


def _job(made: Plan, files: Names, clip: str, cut: Cut) -> Iterator[Job]:
    """Yield the job that makes ``cut``, of the clip's own file or of the whole video at the clip's time."""
    if clip in files:
        _, video, source, picture = files[clip].split("\0")
        cut = Cut(cut.id, cut.split, cut.subset, cut.labels, cut.things, picture=picture or None, mask=cut.mask)
        yield Job(cut.id, source, video, (cut,))
    elif clip[:11] in files:
        begin, end = (float(time) for time in clip[12:].split("_"))
        middle = (begin + end) / 2
        cut = Cut(cut.id, cut.split, cut.subset, cut.labels, cut.things, time=middle, mask=cut.mask)
        yield Job(cut.id, files[clip[:11]].split("\0")[2], clip[:11], (cut,))
    else:
        made.missing.append(clip)
