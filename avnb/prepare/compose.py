"""Composed data sets: mixtures of prepared solos, written as clips of their own, the same for the same seed.

The generators or splits were never published, so mixing.py makes them: what is written is what a batch would hold.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avnb.errors import DataError
from avnb.paths import inside
from avnb.prepare.plan import Cut, Job, Options

if TYPE_CHECKING:
    from avnb.data.store import Store

SIDE = 224  # pixels of a solo's frame, as the papers mix it
QUALITY = 92


def open_solos(options: Options) -> "Store":
    """Open the prepared folder of solos that ``--videos`` names."""
    from avnb.data.build import open_store
    from avnb.data.store import ClipShape

    if not (Path(options.videos) / "dataset.json").exists():
        raise DataError(
            f"{options.videos} is not a prepared folder; prepare the solos first and name it with --videos."
        )
    store = open_store(Path(options.videos), ClipShape(SIDE, options.rate, options.seconds), progress=False)
    store.truth = "mask"  # what masks the solos have, the mixtures keep
    return store


def job(store: "Store", mixture: Sequence[int], cut: Cut) -> Job:
    """Return the job that makes one mixture: a function of the solos' folder and of which clips they are."""
    source = str((store.info.folder / "metadata.jsonl").absolute())
    return Job(cut.id, source, cut.id, (cut,), of=tuple(store.ids[k].decode() for k in mixture))


def write(
    store: "Store", job: Job, mixture: Sequence[int], geometry: str, folder: Path, scratch: Path
) -> dict[str, Any]:
    """Write the picture, the sound and the masks of one mixture of clips; return what cut.cut() would.

    The first two clips sound. Their waveforms are averaged, not added, so that no sample is cut off. A clip that is
    seen but not heard keeps its object, marked as silent.
    """
    import os

    import soundfile
    from PIL import Image

    from avnb.data.clips import Recipe
    from avnb.data.mixing import grid_order, make_batch

    cut = job.cuts[0]
    clips = np.array([mixture])
    batch = make_batch(store, clips, Recipe(2, geometry, sound="mean"))
    order = grid_order(clips)[0].tolist() if geometry == "grid" else list(range(len(mixture)))
    places = [(order.index(k) % 2, order.index(k) // 2) for k in range(len(mixture))]
    columns, rows = 2, 2 if geometry == "grid" else 1
    height, width = batch.frames.shape[-2:]
    mask = np.zeros((height, width), np.uint8) if any(store.clips["has_mask"][k] for k in mixture) else None
    things = []
    for k, (index, (column, row)) in enumerate(zip(mixture, places, strict=True)):
        clip = store.clip(index)
        for number, thing in enumerate(clip.objects, start=1):
            x0, y0, x1, y1 = thing.xyxy
            corners = [(x0 + column) / columns, (y0 + row) / rows, (x1 + column) / columns, (y1 + row) / rows]
            said = {"label": thing.label, "xyxy": [round(corner, 5) for corner in corners]}
            things.append(said | {"sounding": thing.sounding and k < 2})
            if mask is not None:
                tile = mask[row * height // rows :, column * width // columns :][: height // rows, : width // columns]
                tile[_place_of(clip, number, thing.xyxy, tile.shape)] = len(things)
    made = {}
    files = {"file_name": f"frames/{cut.id}.jpg", "audio": f"audio/{job.id}.flac", "mask": f"masks/{cut.id}.png"}
    paths = {key: scratch / key for key in files}
    Image.fromarray(batch.frames[0].permute(1, 2, 0).numpy()).save(paths["file_name"], "JPEG", quality=QUALITY)
    sound = np.round(batch.mixture[0].numpy() * 32767).astype(np.int16)
    soundfile.write(paths["audio"], sound, store.shape.rate, "PCM_16", format="FLAC")
    if mask is None:
        files["mask"] = None
    else:
        Image.fromarray(mask).save(paths["mask"], "PNG")
    for key, name in files.items():
        if name is not None:
            made[name] = paths[key].stat().st_size
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(paths[key], inside(folder, name))
    row_of = {
        "id": cut.id, "split": cut.split, "subset": cut.subset, **files, "start": 0.0, "objects": things,
        "labels": list(cut.labels), "video": job.video,
    }  # fmt: skip
    return {"rows": [row_of], "files": made, "dropped": []}


def _place_of(clip: Any, number: int, xyxy: Sequence[float], shape: tuple[int, int]) -> Any:
    """Return where in a tile the clip's object lies: its mask at the tile's size, else its filled box."""
    from avnb.data.store import box_pixels

    size = clip.frame.shape[0]
    if clip.mask is None:
        whole = np.zeros((size, size), bool)
        x0, y0, x1, y1 = box_pixels(xyxy, size)
        whole[y0:y1, x0:x1] = True
    else:
        whole = clip.mask == number
    if shape[0] == size:
        return whole
    halves = whole.reshape(size // 2, 2, size // 2, 2).mean(axis=(1, 3))
    return halves >= 0.5
