"""AudioSet-instrument: clips of 10 s of 13 instruments, 566 of them with boxes for every second.

Annotations: ``audioset_box.json`` (DSOL; boxes as x, y, width, height by "ID/second"); the authors' list of videos is
not public any more. Boxed videos are the test split, subset "solo" where the boxes of a frame are of one class and
"multi" where they are of more; a video without boxes is trained on where its folder names a class.
"""

import re
from collections.abc import Iterator

from avnb.data.benchmarks import benchmark
from avnb.data.scratch import Names
from avnb.prepare.annotation_files import annotation_files, from_width_and_height, must, read_json, unread
from avnb.prepare.media_folder import list_media, youtube
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

CLASSES = benchmark("audioset-instrument").classes  # in the order of the annotations' numbers, as far as is known
_FRAME = re.compile(r"(?:.*/)?([\w-]{11})(?:_[\d.]+)*/(?:frame_)?(\d+)(?:\.jpg)?")
_KINDS = ("audioset_box.json",)


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan a test clip for every second with boxes, and a training clip every so often of the other videos."""
    made.classes = CLASSES
    made.note = "AudioSet-instrument, with DSOL's boxes of 13 classes, whose names are inferred."
    things = read(options, made)
    media = list_media(options.videos, made)
    films, sounds = _by_video(media.videos), _by_video(media.sounds)
    frames: dict[str, dict[int, str]] = {}
    for stem, path in media.pictures.pairs():
        if match := _FRAME.fullmatch(stem):
            frames.setdefault(match[1], {})[int(match[2])] = path
    videos: dict[str, list[int]] = {}
    for video, second in sorted(things):
        videos.setdefault(video, []).append(second)
    for video in sorted(videos.keys() | films.keys() | (frames.keys() & sounds.keys())):
        source, pictures = films.get(video) or sounds.get(video), {} if video in films else frames.get(video, {})
        if source is None:
            made.missing.append(video)
            continue
        cuts = []
        for second in videos.get(video, ()):
            boxes = tuple(things[video, second])
            labels = tuple(dict.fromkeys(thing.label for thing in boxes))
            picture = media.path(pictures[second]) if second in pictures else None
            if picture is None and video not in films:
                made.missing.append(f"frame {video}/{second}")
                continue
            subset = "solo" if len(labels) == 1 else "multi"
            cuts.append(Cut(f"{video}_{second:03d}", "test", subset, labels, boxes, float(second), None, picture))
        every = 0.0
        if video not in videos:
            label = next((part for part in source.split("/")[-2::-1] if part in CLASSES), None)
            if label is None:
                made.dropped.append((video, "has no boxes, and its folder names no class to train on"))
                continue
            if video in films:
                cuts, every = [Cut(video, "train", "solo", (label,))], options.every
            else:
                cuts = [
                    Cut(f"{video}_{second:03d}", "train", "solo", (label,), (), float(second), None, media.path(path))
                    for second, path in sorted(pictures.items())
                ]
        if cuts:
            yield Job(video, media.path(source), video, tuple(cuts), every)


def _by_video(files: Names) -> Names:
    told = ((youtube(stem.rsplit("/", 1)[-1]), path) for stem, path in files.pairs())
    return Names((video[0], path) for video, path in told if video)


def read(options: Options, made: Plan) -> dict[tuple[str, int], list[Thing]]:
    """Return the boxes by video and second; frames without any are counted in ``made``."""
    things: dict[tuple[str, int], list[Thing]] = {}
    empty = 0
    for path in annotation_files(options):
        said = must(read_json(path), path, "frames") if path.suffix == ".json" else None
        if not isinstance(said, dict):
            raise unread(path, _KINDS)
        for key, record in said.items():
            match, boxes = _FRAME.fullmatch(key), record.get("bbox") if isinstance(record, dict) else None
            if match is None or not isinstance(boxes, list):
                raise unread(path, _KINDS)
            found = []
            for box in boxes:
                category = box.get("category") if isinstance(box, dict) else None
                xyxy, why = from_width_and_height(box.get("normbox") if isinstance(box, dict) else None)
                if type(category) is not int or not 0 <= category < len(CLASSES):
                    why = f"category {category!r} is none of 0 to {len(CLASSES) - 1}"
                if why:
                    made.dropped.append((key, f"box: {why}"))
                else:
                    found.append(Thing(CLASSES[category], xyxy))
            if found:
                things[match[1], int(match[2])] = found
            else:
                empty += 1
    if empty:
        made.remarks.append(f"{empty:,} annotated frames have no box and are left out")
    return things
