"""AVSBench S4: 4,932 videos of five seconds with one source of 23 classes; masks of five frames, in training of one.

Annotations: ``s4_meta_data.csv`` (name, category, split) and the folder ``gt_masks``.
"""

from collections.abc import Iterator

from avnb.prepare.datasets import _avsbench as avsbench
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

TABLE = "s4_meta_data.csv"


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the five frames of every video; a training frame without a mask has its class alone."""
    rows, masks = avsbench.read(options, TABLE, ("name", "category", "split"))
    vggsound.need(rows, TABLE)
    made.note = "AVSBench S4: one source a video, a mask a frame."
    videos = avsbench.Videos(options, made)
    for row in sorted(rows, key=lambda row: row["name"]):
        name, label, split = row["name"], row["category"], row["split"]
        cuts = {}
        for number in range(1, avsbench.FRAMES + 1):
            mask = masks.get(f"{name}_{number}")
            if mask is None and split != "train":
                made.missing.append(f"mask of {name}_{number}")
                continue
            things = () if mask is None else (Thing(label),)
            path = None if mask is None else str(mask.absolute())
            cuts[number] = Cut(f"{name}_{number}", split, "solo", (label,), things, mask=path)
        if cuts:
            yield from videos.job(name, cuts, made)
