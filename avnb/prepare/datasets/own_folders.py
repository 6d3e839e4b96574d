"""A user's own videos in folders that are called as their classes: ``cello/take 1.mp4``, or ``train/cello/take 1.mp4``.

Where no folder on the way is called train, val or test, every tenth video of a class is the test split. Pictures with
sounds of the same name (frames/cello/x.jpg, audio/cello/x.wav) do as well. There are no boxes: what is prepared can be
trained on, listened to and looked at; boxes can be added to metadata.jsonl.
"""

from collections import Counter
from collections.abc import Iterator

from avnb.paths import shortened
from avnb.prepare.media_folder import list_media, safe, sounds_and_pictures
from avnb.prepare.plan import Cut, Job, Options, Plan

SPLITS = ("train", "val", "test")
HELD_OUT = 10  # every so manieth video of a class is for testing


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan a clip every so often of each video."""
    made.note = "A user's own videos; the classes are the names of their folders."
    media = list_media(options.videos, made)
    divided = any(part in SPLITS for stem in media.videos or media.pictures for part in stem.split("/")[:-1])
    seen: Counter[str] = Counter()
    for stem, path, picture in sounds_and_pictures(media, made.missing):
        folders = stem.split("/")[:-1]
        classes = [part for part in folders if part not in SPLITS]
        if not classes:
            made.dropped.append((stem, "lies in no folder that names its class"))
            continue
        label = classes[-1]
        seen[label] += 1
        split = "test" if seen[label] % HELD_OUT == 0 else "train"
        if divided:
            split = next((part for part in folders if part in SPLITS), "train")
        name = shortened(safe(stem).replace("/", "-"), 120)
        cut = Cut(name, split, "solo", (label,), picture=picture and media.path(picture))
        yield Job(name, media.path(path), name, (cut,), 0.0 if picture else options.every)
