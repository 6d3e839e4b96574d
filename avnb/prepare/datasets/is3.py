"""IS3 (SSLalign): 3,240 generated pictures of two objects, each with its own sound: interactive localization.

Annotations: ``synthetic3240_bbox.json``, a record a sound: the picture's file, called as the picture and the class
that sounds (``cat_bus_12_cat.jpg``), the sound's file and the box in pixels of 224. Both records of a picture are one
clip here: one frame, the two sounds added, an object for each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avnb.prepare.annotation_files import annotation_files, corners, must, read_json, unread
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.media_folder import by_name, list_media
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

SIDE = 224  # pixels in which the boxes are drawn
_KINDS = ("synthetic3240_bbox.json",)


@dataclass(frozen=True)
class Sound:
    """One of a picture's sounds: its record's name, the sound's file name, and the object."""

    name: str
    audio: str
    thing: Thing


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan a clip for every sound of every picture."""
    pictures = read(options, made)
    vggsound.need(pictures, _KINDS[0])
    made.note = "IS3: generated pictures of two objects, a clip for each sound."
    media = list_media(options.videos, made)
    seen, heard = by_name(media.pictures), by_name(media.sounds)
    for picture, sounds in sorted(pictures.items()):
        for sound in sounds:
            if sound.name not in seen or sound.audio not in heard:
                made.missing.append(sound.name if sound.name not in seen else sound.audio)
                continue
            still = media.path(seen[sound.name])
            cut = Cut(sound.name, "test", "test", (sound.thing.label,), (sound.thing,), picture=still)
            yield Job(sound.name, media.path(heard[sound.audio]), picture, (cut,))


def read(options: Options, made: Plan) -> dict[str, list[Sound]]:
    """Return each picture's sounds; boxes that are none are dropped."""
    pictures: dict[str, list[Sound]] = {}
    for path in annotation_files(options):
        for record in must(read_json(path) if path.suffix == ".json" else None, path, "pictures"):
            if not isinstance(record, dict) or not isinstance(record.get("gt_box"), list):
                raise unread(path, _KINDS)
            name, audio = (_stem(record.get(key)) for key in ("image", "audio"))
            picture, _, label = name.rpartition("_")
            box, why = corners([value / SIDE if type(value) in (int, float) else None for value in record["gt_box"]])
            if why or not picture:
                made.dropped.append((name, f"box: {why}" if why else "is not called as a picture and a class"))
            else:
                pictures.setdefault(picture, []).append(Sound(name, audio, Thing(label, box)))
    return pictures


def _stem(path: Any) -> str:
    return Path(str(path)).stem
