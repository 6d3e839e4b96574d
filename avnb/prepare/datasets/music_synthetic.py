"""MUSIC-Synthetic: 2x2 scenes of four MUSIC solos of different classes, of which two sound.

DSOL's generator was never published (the released folder holds spectrograms, no sound), so the scenes are composed of
the prepared solos: ``--videos data/music``. Every solo is once the first of a scene, its partners are drawn by
mixing.draw_partners with ``--seed``.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from avnb.errors import DataError
from avnb.prepare import compose
from avnb.prepare.plan import Cut, Job, Options, Plan

TILES = 4


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan a scene for every solo of each split; for testing only of solos whose place is known."""
    from avnb.data.mixing import draw_partners

    store = compose.open_solos(options)
    made.origin = store.origin
    made.classes, made.note = store.classes, f"2x2 scenes of solos of {store.name}, seed {options.seed}."
    mixtures: dict[str, list[int]] = {}

    def make(job: Job, folder: Path, scratch: Path) -> dict[str, Any]:
        return compose.write(store, job, mixtures[job.id], "grid", folder, scratch)

    made.make = make
    for number, split in enumerate(("train", "val", "test")):
        if (split, "solo") not in store.count():
            continue
        pool = store.select(split, "solo")
        pool = pool[store.has_truth(pool)] if split == "test" else pool
        pool = pool[store.labels[pool].sum(axis=1) == 1]
        try:
            drawn = draw_partners(store, pool, pool, TILES, np.random.default_rng([options.seed, number]))
        except DataError as error:
            made.remarks.append(f"no scenes for {split}: {error}")
            continue
        for place, mixture in enumerate(drawn.tolist()):
            name = f"{split}_{place:06d}"
            labels = _labels(store, mixture[:2])
            mixtures[name] = mixture
            yield compose.job(store, mixture, Cut(name, split, "synthetic", labels))


def _labels(store: Any, clips: Iterable[int]) -> tuple[str, ...]:
    return tuple(store.classes[k] for clip in clips for k in np.flatnonzero(store.labels[clip]))
