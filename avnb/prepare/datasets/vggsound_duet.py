"""VGGSound-Duet: two VGG-SS clips side by side (height 224, width 448), their sounds mixed.

Composed of the prepared test clips of VGGSound-Single: ``--videos data/vggsound-single``. Annotation:
``vggsound_duet_test.csv`` (AVGN: the partner of each test clip); without it partners are drawn by mixing.draw_partners
with ``--seed``. Pairs of one class, of which AVGN's list has 22, have no two sources to tell apart and are left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from avnb.prepare import compose
from avnb.prepare.annotation_files import annotation_files, must, read_table, unread
from avnb.prepare.plan import Cut, Job, Options, Plan


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan a duet for every pair of the list, or for every test clip."""
    from avnb.data.mixing import draw_partners

    pairs = read(options)
    store = compose.open_solos(options)
    made.origin = store.origin
    made.classes, made.note = store.classes, f"Pairs of clips of {store.name} side by side, seed {options.seed}."
    pool = store.select("test")
    pool = pool[store.has_truth(pool)]
    number = {store.ids[index].decode(): index for index in pool.tolist()}
    if pairs:
        mixtures = {}
        for first, second in pairs:
            absent = [clip for clip in (first, second) if clip not in number]
            if absent:
                made.missing.append(f"{absent[0]} of the pair {first}, {second}")
            elif (store.labels[number[first]] & store.labels[number[second]]).any():
                made.dropped.append((f"{first}, {second}", "both are of one class"))
            else:
                mixtures[first] = [number[first], number[second]]
    else:
        drawn = draw_partners(store, pool, pool, 2, np.random.default_rng(options.seed))
        mixtures = {store.ids[mixture[0]].decode(): mixture.tolist() for mixture in drawn}
        made.remarks.append(f"no vggsound_duet_test.csv: partners drawn with seed {options.seed}")

    def make(job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
        return compose.write(store, job, mixtures[job.id], "side_by_side", folder, scratch)

    made.make = make
    for name, mixture in mixtures.items():
        labels = tuple(store.classes[k] for clip in mixture for k in np.flatnonzero(store.labels[clip]))
        yield compose.job(store, mixture, Cut(name, "test", "duet", labels))


def read(options: Options) -> list[tuple[str, str]]:
    """Return AVGN's pairs of clips."""
    pairs = []
    for path in annotation_files(options):
        for cells in must(read_table(path), path, "pairs"):
            if len(cells) != 4:
                raise unread(path, ["vggsound_duet_test.csv"])
            pairs.append((cells[0], cells[2]))
    return pairs
