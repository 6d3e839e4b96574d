"""MUSIC: solos and duets of 11 instruments, with DSOL's boxes of the sounding ones.

Annotations (any of them, told apart by what is in them):

- ``solotest.json``, ``duettest.json`` (DSOL): boxes as x, y, width, height by "ID_0_1000/frame_SSS/NNNNN.jpg";
- ``music_solo.json``, ``music_duet.json`` (AVGN): a selection of the same boxes, still x, y, width, height, although
  AVGN's loader reads them as corners; with ``music_solo_test.csv`` or ``music_duet_test.csv`` these frames only;
- ``MUSIC_solo_videos.json``, ``MUSIC_duet_videos.json``: the classes of the videos;
- DSOL's lists (``solo_training_1.txt``, ``duet_pairs_val.txt`` ...) and Mix-and-Localize's (``music_solo_train.csv``
  ...): the splits. Videos with boxes are the test split; listed for validation without boxes, they are "val".

Frame numbers count 30 frames a second, to which the authors had re-encoded every video: they are turned into times.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from avnb.data.benchmarks import benchmark
from avnb.prepare.annotation_files import (
    annotation_files,
    from_width_and_height,
    must,
    read_json,
    read_table,
    unread,
)
from avnb.prepare.media_folder import Media, list_media, youtube
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

FRAME_RATE = 30  # of the annotations' frame numbers, whatever the file's
# The detector of co-separation knows 15 instruments; these are the 7 of MUSIC's 11 among them.
CATEGORIES = {
    1: "cello",
    3: "acoustic_guitar",
    8: "saxophone",
    10: "trumpet",
    11: "violin",
    12: "flute",
    13: "accordion",
}
CLASSES = benchmark("music").classes

_DSOL_FRAME = re.compile(r"(?:.*/)?([\w-]{11})(?:_\d+_\d+)?/frame_(\d+)/(\d+)(?:\.jpg)?")
_AVGN_FRAME = re.compile(r"(?:.*/)?([\w-]{11})_(\d{3,})_(\d{5,})")
_QUARTER_FRAME = re.compile(r"(?:.*/)?([\w-]{11})/frames/(\d+)")  # Mix-and-Localize: four a second
_SECOND_SOUND = re.compile(r"(?:.*/)?([\w-]{11})/audio/audio_clips/(\d+)")
_KINDS = ("solotest.json", "music_solo.json", "MUSIC_solo_videos.json", "solo_training_1.txt", "music_solo_train.csv")

Frame = tuple[str, int]  # a video and the number of a frame at 30 a second


@dataclass
class Annotations:
    """What the official files say about videos and frames."""

    things: dict[Frame, list[Thing]] = field(default_factory=dict)
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)  # video -> solo or duet
    listed: set[str] = field(default_factory=set)  # kinds of which there are split lists
    chosen: dict[str, set[Frame]] = field(default_factory=dict)  # kind -> AVGN's selection of test frames
    dropped: list[tuple[str, str]] = field(default_factory=list)
    empty: int = 0


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the annotated frames as the test split, and a clip every second of the other videos."""
    media, notes = list_media(options.videos, made), read(annotation_files(options))
    made.classes, made.note = CLASSES, "MUSIC; test clips are the frames that DSOL's boxes cover."
    made.dropped += notes.dropped
    files = _files(media)
    frames: dict[str, list[int]] = {}
    for video, number in sorted(notes.things):
        frames.setdefault(video, []).append(number)
    for video in sorted(files.keys() | notes.classes.keys() | frames.keys() | notes.splits.keys()):
        kind = notes.kinds.get(video, "solo")
        if video not in files:
            made.missing.append(video)
            continue
        classes = notes.classes.get(video) or files[video].classes
        if video in frames:
            cuts = _annotated(video, frames[video], notes, kind, classes)
            yield from files[video].jobs(media, cuts, 0, made)
            continue
        split = notes.splits.get(video) or ("" if kind in notes.listed else "train")
        if not split or not classes:
            why = "in none of the split lists" if not split else "of unknown class: add MUSIC_solo_videos.json"
            made.dropped.append((video, why))
            continue
        pattern = Cut(video, split, "solo" if len(classes) == 1 else "duet", classes)
        yield from files[video].jobs(media, [pattern], options.every, made)
    if notes.empty:
        made.remarks.append(f"{notes.empty:,} annotated frames have no box and are left out")


def _annotated(
    video: str, numbers: Iterable[int], notes: Annotations, kind: str, classes: tuple[str, ...]
) -> list[Cut]:
    """Return the test clips of a video: its annotated frames. All of its instruments sound, boxed or not."""
    return [
        Cut(
            id=f"{video}_{number // FRAME_RATE:03d}_{number:05d}", split="test", subset=kind,
            labels=tuple(dict.fromkeys([*classes, *(thing.label for thing in notes.things[video, number])])),
            things=tuple(notes.things[video, number]), time=number / FRAME_RATE,
        )
        for number in numbers
    ]  # fmt: skip


# Files


@dataclass
class _Files:
    """What there is of a video: the film, or its frames by number at 30 a second, and its sound (by second)."""

    classes: tuple[str, ...] = ()
    film: str = ""
    frames: dict[int, str] = field(default_factory=dict)
    sound: str = ""
    seconds: dict[int, str] = field(default_factory=dict)

    def jobs(self, media: Media, cuts: list[Cut], every: float, made: Plan) -> list[Job]:
        """Return the jobs that make ``cuts``, or with ``every`` the first of them again and again."""
        video = cuts[0].id[:11]
        if self.film:
            return [Job(video, media.path(self.film), video, tuple(cuts), every)]
        if every:
            cuts = self._spread(cuts[0], every)
        found = []
        for cut in cuts:
            number = round(cut.time * FRAME_RATE)
            if number in self.frames:
                picture = media.path(self.frames[number])
                found.append(replace(cut, picture=picture))
            else:
                made.missing.append(f"frame {cut.id}")
        if not found:
            return []
        if self.sound:
            return [Job(video, media.path(self.sound), video, tuple(found))]
        by_second: dict[int, list[Cut]] = {}
        for cut in found:
            by_second.setdefault(int(cut.time), []).append(cut)
        jobs = []
        for second, inside in sorted(by_second.items()):
            if second in self.seconds:
                timed = [replace(cut, time=cut.time - second) for cut in inside]
                jobs.append(Job(f"{video}_{second:05d}", media.path(self.seconds[second]), video, tuple(timed)))
            else:
                made.missing.append(f"sound of {video}, second {second}")
        return jobs

    def _spread(self, pattern: Cut, every: float) -> list[Cut]:
        """Return a cut for the first frame in every stretch of ``every`` seconds."""
        firsts: dict[int, int] = {}
        for number in sorted(self.frames):
            firsts.setdefault(int(number / FRAME_RATE / every), number)
        return [
            Cut(f"{pattern.id}_{number:05d}", pattern.split, pattern.subset, pattern.labels, time=number / FRAME_RATE)
            for number in firsts.values()
        ]


def _files(media: Media) -> dict[str, _Files]:
    """Return what there is of each video, in any of the layouts."""
    found: dict[str, _Files] = {}

    def of(video: str, stem: str) -> _Files:
        entry = found.setdefault(video, _Files())
        entry.classes = entry.classes or _classes_in(stem)
        return entry

    for stem, path in media.videos.pairs():
        if told := youtube(stem.rsplit("/", 1)[-1]):
            entry = of(told[0], stem)
            entry.film = entry.film or path
    for stem, path in media.pictures.pairs():
        if match := _DSOL_FRAME.fullmatch(stem) or _AVGN_FRAME.fullmatch(stem):
            of(match[1], stem).frames[int(match[3])] = path
        elif match := _QUARTER_FRAME.fullmatch(stem):
            second, quarter = divmod(int(match[2]), 4)
            of(match[1], stem).frames[second * FRAME_RATE + 7 * quarter] = path
    for stem, path in media.sounds.pairs():
        if match := _SECOND_SOUND.fullmatch(stem):
            of(match[1], stem).seconds[int(match[2])] = path
        elif told := youtube(stem.rsplit("/", 1)[-1]):
            of(told[0], stem).sound = path
    return {
        video: entry
        for video, entry in found.items()
        if entry.film or (entry.frames and (entry.sound or entry.seconds))
    }


def _classes_in(stem: str) -> tuple[str, ...]:
    """Return the classes that a file's folders name: solo/cello/ID, or duet/flute violin/ID."""
    for part in stem.split("/")[-2::-1]:
        names = tuple(re.split(r"[ +]|-and-", part))
        if names and set(names) <= set(CLASSES):
            return names
    return ()


# Annotations


def read(paths: Iterable[Path]) -> Annotations:
    """Read the official files; raise DataError naming one that is of no known kind."""
    notes, copies = Annotations(), Annotations()
    for path in paths:
        if path.suffix == ".json":
            said = read_json(path)
            if isinstance(said, dict) and isinstance(said.get("videos"), dict):
                _read_classes(said["videos"], path, notes)
            elif isinstance(said, dict):
                _read_dsol(said, path, notes)
            elif isinstance(said, list):
                _read_avgn(said, path, copies)
            else:
                raise unread(path, _KINDS)
        elif path.suffix in (".txt", ".csv"):
            _read_list(read_table(path), path, notes)
        else:
            raise unread(path, _KINDS)
    for frame, things in copies.things.items():
        notes.things.setdefault(frame, things)
    notes.dropped += copies.dropped
    notes.classes = copies.classes | notes.classes
    notes.kinds = copies.kinds | notes.kinds
    for kind, frames in notes.chosen.items():
        notes.things = {f: t for f, t in notes.things.items() if f in frames or notes.kinds.get(f[0]) != kind}
    return notes


def _read_classes(videos: dict, path: Path, notes: Annotations) -> None:
    for names, ids in must(videos, path, "videos").items():
        classes = tuple(names.split())
        if not set(classes) <= set(CLASSES) or not isinstance(ids, list):
            notes.dropped.append((f"{path.name}: {names}", f"not of MUSIC's {len(CLASSES)} classes"))
            continue
        for video in ids:
            notes.classes[str(video)] = classes
            notes.kinds[str(video)] = "solo" if len(classes) == 1 else "duet"


def _read_dsol(said: dict, path: Path, notes: Annotations) -> None:
    kind = "duet" if "duet" in path.name else "solo"
    for key, record in said.items():
        match, boxes = _DSOL_FRAME.fullmatch(key), record.get("bbox") if isinstance(record, dict) else None
        if match is None or not isinstance(boxes, list):
            raise unread(path, _KINDS)
        video, number = match[1], int(match[3])
        notes.kinds[video] = kind
        things = []
        for box in boxes:
            category = box.get("category_id") if isinstance(box, dict) else None
            xyxy, why = from_width_and_height(box.get("normbox") if isinstance(box, dict) else None)
            label = CATEGORIES.get(category) if isinstance(category, int) else None
            if label is None:
                why = f"category {category!r} is no instrument of MUSIC"
            if why:
                notes.dropped.append((key, f"box: {why}"))
            else:
                things.append(Thing(label, xyxy))
        if things:
            notes.things[video, number] = things
        else:
            notes.empty += 1
    must(said, path, "frames")


def _read_avgn(said: list, path: Path, notes: Annotations) -> None:
    for record in must(said, path, "frames"):
        match = _AVGN_FRAME.fullmatch(str(record.get("file"))) if isinstance(record, dict) else None
        if match is None:
            raise unread(path, _KINDS)
        video, number = match[1], int(match[3])
        pairs = [("class", "bbox")] if "bbox" in record else [(f"class_src{k}", f"bbox_src{k}") for k in (1, 2)]
        notes.kinds[video] = "solo" if len(pairs) == 1 else "duet"
        things = []
        for label, box in pairs:
            xyxy, why = from_width_and_height(record.get(box))
            if record.get(label) not in CLASSES:
                why = f"{record.get(label)!r} is no instrument of MUSIC"
            if why:
                notes.dropped.append((record["file"], f"box: {why}"))
            else:
                things.append(Thing(record[label], xyxy))
        if things:
            notes.things[video, number] = things
            notes.classes.setdefault(video, tuple(dict.fromkeys(thing.label for thing in things)))
        else:
            notes.empty += 1


def _read_list(rows: list[list[str]], path: Path, notes: Annotations) -> None:
    name = path.stem
    kind = "duet" if "duet" in name else "solo"
    split = next((split for part, split in (("train", "train"), ("test", "test"), ("val", "val")) if part in name), "")
    for cells in must(rows, path, "videos"):
        first = cells[0].split()[0]
        if match := _AVGN_FRAME.fullmatch(first):  # AVGN's selection of test frames
            if split == "test":
                notes.chosen.setdefault(kind, set()).add((match[1], int(match[3])))
            continue
        stem = first.removesuffix(".flac").removesuffix(".mp4")
        told = youtube(stem.rsplit("/", 1)[-1])
        if told is None:
            raise unread(path, _KINDS)
        video = told[0]
        notes.kinds.setdefault(video, kind)
        if classes := _classes_in(stem):
            notes.classes.setdefault(video, classes)
        if split:
            notes.listed.add(kind)
            if split == "test" or notes.splits.get(video) != "test":  # listed twice, a video is for testing
                notes.splits[video] = split
