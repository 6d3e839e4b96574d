"""Steps shared by the data sets that are cut from VGGSound: its names, its lists, VGG-SS's boxes, leaked test clips.

A clip is named by its video and the second at which its 10 s start: ``ID_000030``. Files may be called so (also
``ID_30``, ``ID_30_40``, ``ID_30000_40000``), or ``ID`` where the whole video was kept. As in EZ-VSL the frame is the
clip's middle one, with the sound around it.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from avnb.data.scratch import Names
from avnb.errors import DataError
from avnb.paths import shown
from avnb.prepare.annotation_files import corners, must, read_json, read_table, unread
from avnb.prepare.media_folder import Media, by_name, youtube
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

CLIP = 10.0  # seconds
_KINDS = ("vggss.json", "vggss_144k.txt", "vggsound.csv", "vgginstruments_train.txt", "vggmusic_eval_ss.csv")


@dataclass
class Lists:
    """What the lists of a data set say."""

    train: dict[str, str] = field(default_factory=dict)  # clip -> class, "" where the list has none
    test: dict[str, str] = field(default_factory=dict)
    subsets: dict[str, str] = field(default_factory=dict)  # test clip -> heard, unheard
    classes: dict[str, str] = field(default_factory=dict)  # clip -> class, from vggsound.csv
    boxes: dict[str, list[Thing]] = field(default_factory=dict)  # test clip -> VGG-SS's boxes
    dropped: list[tuple[str, str]] = field(default_factory=list)


def read(paths: Iterable[Path]) -> Lists:
    """Read VGG-SS's boxes and lists of training and test clips; raise DataError naming a file of no known kind."""
    lists = Lists()
    official: dict[str, str] = {}
    for path in paths:
        if path.suffix == ".json":
            read_boxes(path, lists)
        elif path.suffix in (".csv", ".txt"):
            _read_list(path, lists, official)
        else:
            raise unread(path, _KINDS)
    if not lists.train:  # no list of its own: VGGSound's
        lists.train = official
    return lists


def read_boxes(path: Path, lists: Lists) -> None:
    """Read vggss.json: corners in 0..1, 18 of them no boxes at all (NaNs cast to integers, no width or no height)."""
    for record in must(read_json(path), path, "frames"):
        if not isinstance(record, dict) or not isinstance(record.get("bbox"), list):
            raise unread(path, _KINDS)
        clip, label = str(record.get("file")), str(record.get("class"))
        things = []
        for box in record["bbox"]:
            xyxy, why = corners(box)
            if why:
                lists.dropped.append((clip, f"box: {why}"))
            else:
                things.append(Thing(label, xyxy))
        lists.boxes[clip] = things
        lists.classes[clip] = label


def _read_list(path: Path, lists: Lists, official: dict[str, str]) -> None:
    rows = must(read_table(path), path, "clips")
    if rows[0][0] == "source_1":  # vggmusic_eval_ss.csv: pairs to be separated; the first of each is a test clip
        for cells in rows[1:]:
            lists.test[cells[0]] = cells[2] if len(cells) > 2 else ""
        return
    for cells in rows:
        told = youtube(cells[0])
        if len(cells) >= 4 and cells[1].isdigit() and cells[3] in ("train", "test"):  # vggsound.csv
            clip = f"{cells[0]}_{int(cells[1]):06d}"
            lists.classes[clip] = cells[2]
            if cells[3] == "train":
                official[clip] = cells[2]
        elif told is None and not re.fullmatch(r"sample\d+", cells[0]):
            raise unread(path, _KINDS)
        elif "test" in path.stem:
            lists.test[cells[0]] = cells[1] if len(cells) > 1 else lists.test.get(cells[0], "")
            if match := re.search("unheard|heard", path.stem):
                lists.subsets[cells[0]] = match[0]
        else:
            lists.train[cells[0]] = cells[1] if len(cells) > 1 else ""


def underscored(label: str) -> str:
    """Return a class as AVGN's lists spell it.

    >>> underscored("female speech, woman speaking")
    'female_speech_woman_speaking'
    """
    return re.sub("[ ,]+", "_", label)


def instrument(label: str) -> str:
    """Return the instrument of a VGGSound class, without its second names.

    >>> instrument("playing violin, fiddle"), instrument("steel_guitar,_slide_guitar")
    ('violin', 'steel_guitar')
    """
    return underscored(label.removeprefix("playing ").split(",")[0])


def without_leaks(lists: Lists, options: Options, made: Plan) -> dict[str, str]:
    """Return the training clips that are no test clips, and say in ``made`` how many were."""
    leaked = lists.train.keys() & (lists.test.keys() | lists.boxes.keys())
    if not leaked:
        return lists.train
    tests = len(lists.test.keys() | lists.boxes.keys())
    what = f"{len(leaked):,} of the {tests:,} test clips are in the published training list"
    if options.keep_leaked:
        made.remarks.append(f"{what} and are trained on, as asked (--keep-leaked)")
        return lists.train
    made.remarks.append(f"{what}; they are not trained on (--keep-leaked would)")
    return {clip: label for clip, label in lists.train.items() if clip not in leaked}


class Clips:
    """The files of VGGSound's clips in a folder, in any of the layouts."""

    def __init__(self, media: Media) -> None:
        self.media = media
        self.pictures, self.sounds = by_name(media.pictures), by_name(media.sounds)
        # A clip's name -> its file of 10 s; a video's name, which no clip has -> the file of the whole video.
        self.videos = Names((_clip_of(stem), path) for stem, path in media.videos.pairs())

    def job(self, clip: str, cut: Cut, made: Plan) -> Iterator[Job]:
        """Yield the job that makes ``cut`` of the clip, or note it as missing."""
        video, start = youtube(clip) or (clip, None)
        if clip in self.videos:
            yield Job(cut.id, self.media.path(self.videos[clip]), video, (cut,))
        elif clip in self.pictures and clip in self.sounds:
            picture = self.media.path(self.pictures[clip])
            yield Job(cut.id, self.media.path(self.sounds[clip]), video, (replace(cut, picture=picture),))
        elif video in self.videos and start is not None:
            middle = replace(cut, time=start + CLIP / 2)
            yield Job(cut.id, self.media.path(self.videos[video]), video, (middle,))
        else:
            made.missing.append(clip)

    def pair(self, picture: str, sound: str, cut: Cut, made: Plan) -> Iterator[Job]:
        """Yield the job that shows one clip's frame to another clip's sound, or note which of them is missing."""
        seen = self.pictures.get(picture) or self.videos.get(picture)
        if seen is None:
            made.missing.append(picture)
        else:
            source = replace(cut, picture=self.media.path(seen))
            heard = self.sounds.get(sound) or self.videos.get(sound)
            if heard is None:
                made.missing.append(sound)
            else:
                yield Job(cut.id, self.media.path(heard), (youtube(picture) or (picture,))[0], (source,))


def _clip_of(stem: str) -> str:
    name = stem.rsplit("/", 1)[-1]
    told = youtube(name)
    return canonical(*told) if told and told[1] is not None else name


def canonical(video: str, start: float) -> str:
    """Return the name VGGSound's lists give a clip."""
    return f"{video}_{round(start):06d}"


def test_jobs(made: Plan, clips: Clips, clip: str, subset: str, label: str, things: list[Thing]) -> Iterator[Job]:
    """Yield the job of a test clip with its boxes; where all were broken it cannot be judged and is left out."""
    if not things:
        made.dropped.append((clip, "no box is left, so that no map can be judged on it"))
    else:
        yield from clips.job(clip, Cut(clip, "test", subset, (label,), tuple(things)), made)


def train_jobs(made: Plan, clips: Clips, train: dict[str, str], taken: Iterable[str]) -> Iterator[Job]:
    """Yield the jobs of the training clips; one without a class is left out, since no mixture can be made of it."""
    taken, nameless = set(taken), 0
    for clip, label in sorted(train.items()):
        if not label:
            nameless += 1
            continue
        yield from clips.job(clip, Cut(f"{clip}_train" if clip in taken else clip, "train", "solo", (label,)), made)
    if nameless:
        made.remarks.append(f"{nameless:,} training clips have no class and are left out: add vggsound.csv")


def read_silent(path: Path) -> list[tuple[str, str]] | None:
    """Return a list of pairs that do not sound, picture and sound (SLAVC's); None where the file is another.

    Raises DataError where a row of it is none.
    """
    rows = must(read_table(path), path, "pairs")
    if "silent" not in path.stem:
        return None
    if broken := [cells for cells in rows if len(cells) != 3]:
        raise DataError(f"{shown(path)}: a row is a picture, a sound and a word, and not {', '.join(broken[0])}.")
    return [(picture, sound) for picture, sound, word in rows if word == "non-sounding"]


def need(found: object, what: str) -> None:
    """Raise DataError naming the annotation file without which there is nothing to prepare."""
    if not found:
        raise DataError(f"--annotations lacks {what}; data/README.md says where it is obtained.")
