"""Kinetics-400: only trained on. The class is a video's folder, or stands in the official list.

Annotations, where the folders name no classes: ``train.csv``, ``val.csv`` of Kinetics, with the heading
``label,youtube_id,time_start,time_end,split``. Files are called ``ID_000010_000020``. A folder called val or validate
on the way makes the split "val"; a test folder has no classes and is passed over.
"""

from avnb.data.importers.annotations import annotation_files, must, read_table, unread
from avnb.data.importers.listing import list_media, safe, youtube
from avnb.data.importers.plan import Cut, Job, Options, Plan, classes_of

SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}
_HEADING = ["label", "youtube_id", "time_start", "time_end"]


def plan(options: Options) -> Plan:
    """Plan the middle frame of every clip, with the sound around it."""
    made = Plan((), note="Kinetics-400; the classes are actions, there are no boxes.")
    media, listed = list_media(options.videos), _listed(options)
    if media.videos:
        files = [(stem, path, None) for stem, path in media.videos.items()]
    else:
        sounds = {stem.replace("audio/", "", 1): path for stem, path in media.sounds.items()}
        bare = {stem: stem.replace("frames/", "", 1) for stem in media.pictures}
        files = [(stem, sounds[bare[stem]], p) for stem, p in media.pictures.items() if bare[stem] in sounds]
        made.missing += [f"sound of {stem}" for stem in media.pictures if bare[stem] not in sounds]
    found = set()
    for stem, path, picture in files:
        *folders, name = stem.split("/")
        told = youtube(name)
        video, start = told or (name, None)
        label = split = ""
        if listed:
            clip = f"{video}_{int(start or 0):06d}"
            label, split = listed.get(clip, ("", ""))
            found.add(clip)
        split = split or next((SPLITS[part] for part in folders if part in SPLITS), "train")
        classes = [part for part in folders if part not in SPLITS and part not in ("frames", "audio")]
        label = label or (classes[-1] if classes else "")
        if split == "test" or not label:
            made.dropped.append((stem, "of no class" if not label else "Kinetics' test split has no classes"))
            continue
        cut = Cut(name if told else safe(name), split, "solo", (label,), picture=picture and media.path(picture))
        made.jobs.append(Job(cut.id, media.path(path), video, (cut,)))
    made.missing += sorted(listed.keys() - found)
    made.classes = classes_of(made.jobs)
    return made


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
