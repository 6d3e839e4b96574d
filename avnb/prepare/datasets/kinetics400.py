"""Kinetics-400: only trained on. The class is a video's folder, or stands in the official list.

Annotations, where the folders name no classes: ``train.csv``, ``val.csv`` of Kinetics, with the heading
``label,youtube_id,time_start,time_end,split``. Files are called ``ID_000010_000020``. A folder called val or validate
on the way makes the split "val"; a test folder has no classes and is passed over.
"""

from collections.abc import Iterator

from avnb.prepare.annotation_files import annotation_files, must, read_table, unread
from avnb.prepare.media_folder import list_media, safe, sounds_and_pictures, youtube
from avnb.prepare.plan import Cut, Job, Options, Plan

SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_HEADING = ["label", "youtube_id", "time_start", "time_end"]


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the middle frame of every clip, with the sound around it."""
    made.note = "Kinetics-400; the classes are actions, there are no boxes."
    media, listed = list_media(options.videos, made), _listed(options)
    found = set()
    for stem, path, picture in sounds_and_pictures(media, made.missing):
        *folders, name = stem.split("/")
        told = youtube(name)
        video, start = told or (name, None)
        label = split = ""
        clip = f"{video}_{int(start or 0):06d}"
        if clip in listed:
            label, split = listed[clip]
            found.add(clip)
        split = split or next((SPLITS[part] for part in folders if part in SPLITS), "train")
        classes = [part for part in folders if part not in SPLITS]
        label = label or (classes[-1] if classes else "")
        if split == "test" or not label:
            made.dropped.append((stem, "of no class" if not label else "Kinetics' test split has no classes"))
            continue
        cut = Cut(name if told else safe(name), split, "solo", (label,), picture=picture and media.path(picture))
        yield Job(cut.id, media.path(path), video, (cut,))
    made.missing += sorted(listed.keys() - found)


def _listed(options: Options) -> dict[str, tuple[str, str]]:
    """Return the class and the split of each clip in the official lists."""
    listed = {}
    for path in annotation_files(options):
        rows = must(read_table(path), path, "clips")
        if rows[0][:4] != _HEADING:
            raise unread(path, ["train.csv", "val.csv"])
        for cells in rows[1:]:
            if len(cells) < 4 or not cells[2].isdigit():
                raise unread(path, ["train.csv", "val.csv"])
            split = SPLITS.get(cells[4] if len(cells) > 4 else path.stem, "train")
            listed[f"{cells[1]}_{int(cells[2]):06d}"] = (cells[0], split)
    return listed
