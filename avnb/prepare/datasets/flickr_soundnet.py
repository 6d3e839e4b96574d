"""Flickr-SoundNet: 250 test pictures whose sounding object up to three annotators boxed, and others to train on.

Annotations: the folder of XML files, ``flickr_test.csv`` (the test clips and their frame's number; without it every
clip with an XML file), and to train a list such as ``flickr_144k.txt`` (without it every other clip of the folder).
There are no classes: every clip is of the one class "sounding object". The truth is half the number of annotators
that marked a pixel, at most 1: each box has a share of 0.5.
"""

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from pathlib import Path

from avnb.errors import DataError
from avnb.prepare.annotation_files import annotation_files, corners, must, read_table, read_xml, unread
from avnb.prepare.media_folder import by_name, list_media
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

CLASS = "sounding object"
PICTURE = 256  # pixels of the side on which boxes are drawn
SHARE = 0.5  # of the truth, a box's: two annotators who agree make it 1
_KINDS = ("ID.xml", "flickr_test.csv", "flickr_144k.txt")


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the boxed test clips and the training clips of the list, or of the folder."""
    made.classes = (CLASS,)
    made.note = "Flickr-SoundNet; the truth is the soft consensus of up to three annotators."
    boxes: dict[str, Path] = {}
    test: dict[str, int | None] = {}
    train: set[str] = set()
    for path in annotation_files(options):
        if path.suffix == ".xml":
            boxes[path.stem] = path
        elif path.suffix not in (".csv", ".txt"):
            raise unread(path, _KINDS)
        else:
            rows = must(read_table(path), path, "clips")
            if "test" in path.stem:
                test |= {cells[0]: int(cells[1]) if len(cells) > 1 and cells[1].isdigit() else None for cells in rows}
            else:
                train |= {cells[0] for cells in rows}
    media = list_media(options.videos, made)
    videos, pictures, sounds = by_name(media.videos), by_name(media.pictures), by_name(media.sounds)
    test = test or dict.fromkeys(boxes)
    if leaked := train & test.keys():
        kept = (
            "and are trained on, as asked" if options.keep_leaked else "they are not trained on (--keep-leaked would)"
        )
        made.remarks.append(f"{len(leaked):,} of the {len(test):,} test clips are in the training list; {kept}")

    def job(clip: str, cut: Cut) -> Iterator[Job]:
        if clip in videos:
            yield Job(cut.id, media.path(videos[clip]), clip, (cut,))
        elif clip in pictures and clip in sounds:
            cut = Cut(cut.id, cut.split, cut.subset, cut.labels, cut.things, picture=media.path(pictures[clip]))
            yield Job(cut.id, media.path(sounds[clip]), clip, (cut,))
        else:
            made.missing.append(clip)

    for clip, frame in sorted(test.items()):
        if clip not in boxes:
            made.missing.append(f"{clip}.xml")
            continue
        try:
            things = read_consensus(boxes[clip], made)
        except DataError as error:
            made.dropped.append((clip, str(error)))
            continue
        yield from job(clip, Cut(clip, "test", "test", (CLASS,), things, frame=frame))
    there = (clip for clip, _ in groupby(merge(videos, (clip for clip in pictures if clip in sounds))))
    for clip in sorted(train) if train else there:
        if clip not in test:
            yield from job(clip, Cut(clip, "train", "solo", (CLASS,)))
        elif train and options.keep_leaked:
            yield from job(clip, Cut(f"{clip}_train", "train", "solo", (CLASS,)))


def read_consensus(path: Path, made: Plan) -> tuple[Thing, ...]:
    """Read the boxes of all annotators: below each node of the root the ``bbox`` nodes, whose last four are corners.

    Raises DataError where there is no box.
    """
    things = []
    for node in read_xml(path):
        for box in node.iter("bbox"):
            try:
                numbers = [int(float(child.text or "")) / PICTURE for child in list(box)[1:5]]
            except (ValueError, OverflowError):
                numbers = []
            xyxy, why = corners(numbers)
            if why:
                made.dropped.append((path.stem, f"box: {why}"))
            else:
                things.append(Thing(CLASS, xyxy, SHARE))
    return tuple(must(things, path, "boxes"))
