"""Draw README's pictures, heatmaps.jpg and scrubber.gif, from AVGN's finished run (``make pictures``)."""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from avnb.data.mixing import make_batch
from avnb.datasets import open_data
from avnb.evaluation import several_trial
from avnb.metrics.localization import average_precision, upsample
from avnb.models.avgn import AVGNSettings
from avnb.training.trained import train
from avnb.viewing import plots
from avnb.viewing.colours import class_colours
from avnb.viewing.scrubber import scrub

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
PERCENTILES = (85, 70, 50)  # of the mixtures' AP: README says so
STEPS, MILLISECONDS, COLOURS = 9, 1000, 64  # of the film of the scrubber


def main() -> None:
    """Draw both, and print their sizes."""
    settings, store = open_data(AVGNSettings(), progress=False)
    _, run = train(settings, store)
    duet = several_trial(store)
    seen = run.load_maps()
    maps, mixtures = seen[f"{duet.key}/maps"].float(), seen[f"{duet.key}/mixtures"]
    batch = make_batch(store, mixtures.numpy(), duet.recipe, truth=True)
    large = upsample(maps, batch.truth.shape[-2:]).flatten(0, 1)
    ap = average_precision(large, batch.truth.flatten(0, 1)).view(len(maps), -1)
    ranks = torch.tensor([round((len(ap) - 1) * percent / 100) for percent in PERCENTILES])
    chosen = ap.mean(dim=1).argsort()[ranks]
    names = [[store.classes[k] for k in row] for row in batch.source_classes[chosen]]
    figure = plots.show_heatmaps(
        batch.frames[chosen], maps[chosen], batch.truth[chosen], names, ap[chosen], class_colours(store.classes)
    )
    path = FOLDER / "heatmaps.jpg"
    figure.savefig(path, dpi=110, pil_kwargs={"quality": 85})
    print(f"{path.name}: {path.stat().st_size:,} bytes; {len(maps)} mixtures")

    scrubber = scrub(store, run)
    pictures = []
    for place in np.linspace(1, scrubber.slider.max, STEPS).round().astype(int):
        scrubber.slider.value = int(place)
        still = scrubber._repr_mimebundle_()["image/jpeg"]  # what a reader without a kernel sees
        pictures.append(Image.open(io.BytesIO(base64.b64decode(still))).quantize(COLOURS))
    path = FOLDER / "scrubber.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=MILLISECONDS, loop=0, optimize=True)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
