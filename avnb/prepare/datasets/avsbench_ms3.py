"""AVSBench MS3: 424 videos of five seconds in which several things sound; one mask a frame of all that do.

Annotations: ``ms3_meta_data.csv`` (video_id, split) and the folder ``gt_masks``. The masks name no class: all are of
the one class "sounding object". A frame whose mask is empty shows nothing that sounds: it is of the subset "silent".
"""

from collections.abc import Iterator
from pathlib import Path

from avnb.data.benchmarks import SILENT
from avnb.errors import DataError
from avnb.prepare.datasets import _avsbench as avsbench
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.datasets.flickr_soundnet import CLASS
from avnb.prepare.mask_files import EmptyMask, read_mask_file
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

TABLE = "ms3_meta_data.csv"


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the five frames of every video."""
    rows, masks = avsbench.read(options, TABLE, ("video_id", "split"))
    vggsound.need(rows, TABLE)
    made.classes = (CLASS,)
    made.note = "AVSBench MS3: several sources a video, one mask a frame for all of them."
    videos = avsbench.Videos(options, made)
    for row in sorted(rows, key=lambda row: row["video_id"]):
        name, split = row["video_id"], row["split"]
        cuts = {}
        for number in range(1, avsbench.FRAMES + 1):
            mask = masks.get(f"{name}_{number}")
            if mask is None:
                made.missing.append(f"mask of {name}_{number}")
                continue
            try:
                cuts[number] = _cut(f"{name}_{number}", split, mask)
            except DataError as error:
                made.dropped.append((f"{name}_{number}", str(error)))
        if cuts:
            yield from videos.job(name, cuts, made)


def _cut(name: str, split: str, mask: Path) -> Cut:
    """Return the clip of a frame; raise DataError where its mask cannot be read."""
    try:
        read_mask_file(mask)
    except EmptyMask:
        return Cut(name, split, SILENT, (CLASS,))
    subset = "test" if split == "test" else "solo"
    return Cut(name, split, subset, (CLASS,), (Thing(CLASS),), mask=str(mask.absolute()))
