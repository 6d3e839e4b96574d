"""What methods have learnt to tell apart: their features of the same clips, measured and flattened by t-SNE.

NMI and silhouette are of the features themselves; what t-SNE draws is only looked at. Beside the methods stand
features that need no training, and chance. Introduced in notebooks/09_tsne.ipynb.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.config import Settings, setting
from avnb.data.clips import Recipe
from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.errors import DataError
from avnb.models.base import Method
from avnb.networks.encoders import FrozenLite
from avnb.networks.spectrograms import LogMel
from avnb.viewing.colours import readable
from avnb.viewing.page import filled, page_mark
from avnb.viewing.painting import jpeg_uri
from avnb.viewing.plots import class_legend, subplots

if TYPE_CHECKING:
    import IPython.display
    import matplotlib.figure

AT_ONCE = 24  # clips embedded in one go
THUMBNAIL = 44  # pixels a side, shown three times as large
SHUFFLES = 20  # of the labels, for chance
FEWEST = 5  # points that make a t-SNE
COLUMNS = 16  # of the contact sheet


@dataclass(frozen=True)
class TSNESettings(Settings):
    """The settings of notebooks/09_tsne.ipynb; ``epochs`` and the like are for methods that are trained there."""

    METHOD: ClassVar[str] = "tsne"

    methods: str = setting("", doc='whose features are drawn, divided by commas; "": every method\'s that has a run')
    train: str = setting("avgn", doc="methods that are trained if they have no run, divided by commas")


@dataclass(frozen=True)
class Panel:
    """One set of features of the clips: where t-SNE puts them, and how well they tell the classes apart."""

    name: str
    flat: Float[np.ndarray, "clips 2"]
    nmi: float
    silhouette: float


def embed_clips(
    method: Method, store: Store, clips: Int[np.ndarray, " clips"]
) -> dict[str, Float[Tensor, "clips dim"]]:
    """Return a method's features of single clips: what it encodes and, of its class-aware ones, two kinds.

    "true class" are the vectors of the class that sounds, as the papers draw them: that class is an input, so its token
    tells the classes apart before anything is learnt. "own class" are those of the class that the method itself
    hears. Several vectors a clip (Mix-and-Localize's heads) are put one after the other.
    """
    device = torch.device(method.settings.device)
    found: dict[str, list[Tensor]] = {}
    method.eval()
    for part in np.array_split(clips, max(1, -(-len(clips) // AT_ONCE))):
        batch = make_batch(store, part[:, None], Recipe()).to(device)
        with torch.inference_mode():
            vectors, given = dict(method.encode(batch)), method.embed(batch)
            if not vectors:
                vectors = given
            else:  # what is encoded apart from it is class-aware
                heard = method.recognize(batch.mixture).argmax(dim=1)[:, None]
                own = method.embed(replace(batch, source_classes=heard))
                vectors |= {f"{name}, true class": value for name, value in given.items()}
                vectors |= {f"{name}, own class": value for name, value in own.items()}
        for name, value in vectors.items():
            found.setdefault(name, []).append(value.flatten(1).float().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


def embed_without_training(store: Store, clips: Int[np.ndarray, " clips"]) -> dict[str, Float[Tensor, "clips dim"]]:
    """Return features that nothing here has trained: a log-mel spectrogram's bands, and ImageNet's features.

    "audio" are the mean and the deviation of each of 64 bands over time, "visual" the frozen trunk's mean over the
    picture.
    """
    trunk, spectrogram = FrozenLite(), LogMel()
    audio, visual = [], []
    for part in np.array_split(clips, max(1, -(-len(clips) // AT_ONCE))):
        bands = spectrogram(store.read_waveforms(part))[:, 0]
        audio.append(torch.cat([bands.mean(dim=2), bands.std(dim=2)], dim=1))
        visual.append(trunk(store.read_frames(part)).mean(dim=(2, 3)))
    return {"audio": torch.cat(audio), "visual": torch.cat(visual)}


def measure(features: Float[Tensor, "clips dim"], labels: Sequence[str]) -> tuple[float, float]:
    """Return NMI (0..1) with k-means clusters, as many as there are classes, and the silhouette (-1..1) of the classes.

    Both are of unit vectors, since every method here compares directions; k-means starts from seed 0. The silhouette is
    NaN where it is not defined (one class, or as many classes as clips).
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score, silhouette_score

    unit = _unit(features)
    classes = len(set(labels))
    clusters = KMeans(classes, n_init=10, random_state=0).fit_predict(unit)
    defined = 1 < classes < len(labels)
    return (
        float(normalized_mutual_info_score(list(labels), clusters)),
        float(silhouette_score(unit, list(labels))) if defined else float("nan"),
    )


def chance_nmi(labels: Sequence[str]) -> float:
    """Return the NMI of the classes with clusters of the same sizes in which clips lie by chance.

    It is not 0: few clips in many clusters agree by accident.
    """
    from sklearn.metrics import normalized_mutual_info_score

    rng = np.random.default_rng(0)
    return float(np.mean([normalized_mutual_info_score(labels, rng.permutation(labels)) for _ in range(SHUFFLES)]))


def flatten(features: Float[Tensor, "clips dim"]) -> Float[np.ndarray, "clips 2"]:
    """Return t-SNE's two dimensions of the features' directions, from a PCA and seed 0.

    Raises DataError for fewer than 5 clips.
    """
    from sklearn.manifold import TSNE

    if len(features) < FEWEST:
        raise DataError(f"A t-SNE needs at least {FEWEST} clips, and there are {len(features)}.")
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(_unit(features))


def panels(points: Mapping[str, Float[Tensor, "clips dim"]], labels: Sequence[str]) -> list[Panel]:
    """Return each set of features flattened and measured."""
    return [Panel(name, flatten(features), *measure(features, labels)) for name, features in points.items()]


def show(
    rows: Mapping[str, Sequence[Panel]], labels: Sequence[str], colours: Mapping[str, tuple[float, float, float]]
) -> "matplotlib.figure.Figure":
    """Show a row of panels a method, a colour a class, with NMI and silhouette under each."""
    columns = max(map(len, rows.values()))
    figure, axes = subplots(len(rows), columns, (min(2.4, 11 / columns), min(2.4, 11 / columns) + 0.35))
    ink = [colours[label] for label in labels]
    for line, (method, found) in zip(axes, rows.items(), strict=True):
        for panel in line[len(found) :]:
            panel.set_visible(False)
        for axis, panel in zip(line, found, strict=False):
            axis.scatter(*panel.flat.T, c=ink, s=9, linewidths=0)
            axis.set_title(panel.name, fontsize=8)
            axis.set_xlabel(f"NMI {panel.nmi:.2f}, silhouette {panel.silhouette:.2f}", fontsize=8)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_color("#cccccc")
        line[0].set_ylabel(readable(method), fontsize=10)
    class_legend(figure, axes[0, 0], sorted(set(labels)), colours)
    return figure


def hover(
    rows: Mapping[str, Sequence[Panel]],
    labels: Sequence[str],
    store: Store,
    clips: Int[np.ndarray, " clips"],
    colours: Mapping[str, tuple[float, float, float]],
) -> "IPython.display.HTML":
    """Return the panels as a picture that shows the clip under the pointer, and where it lies in the other panels.

    A click keeps it. All of it is in the page: it works without a kernel, wherever scripts are run.
    """
    from IPython.display import HTML
    from matplotlib.colors import to_hex

    every = [(f"{method}: {panel.name}", panel.flat) for method, found in rows.items() for panel in found]
    points = [
        np.round(999 * (flat - flat.min(0)) / np.maximum(np.ptp(flat, axis=0), 1e-6)).astype(int) for _, flat in every
    ]
    seen = list(dict.fromkeys(labels))
    said = {
        "names": [readable(name) for name, _ in every],
        "points": [flat.tolist() for flat in points],
        "labels": [seen.index(label) for label in labels],
        "classes": [readable(label) for label in seen],
        "colours": [to_hex(colours[label]) for label in seen],
        "ids": [store.ids[clip].decode() for clip in clips],
        "size": THUMBNAIL,
        "columns": COLUMNS,
    }
    sheet = _contact_sheet(store, clips)
    text = json.dumps(said, separators=(",", ":")).replace("</", "<\\/")
    mark = page_mark("tsne-", text + sheet)
    return HTML(filled("tsne.html", MARK=mark, SCRIPT=filled("tsne.js", MARK=mark, SHEET=sheet, DATA=text)))


def _contact_sheet(store: Store, clips: Int[np.ndarray, " clips"]) -> str:
    """Return the clips' frames, small, side by side in one JPEG, as a data URI."""
    from PIL import Image

    rows = -(-len(clips) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * THUMBNAIL, rows * THUMBNAIL))
    for place, clip in enumerate(clips):
        picture = Image.fromarray(np.array(store.frames[clip]).transpose(1, 2, 0)).resize((THUMBNAIL, THUMBNAIL))
        sheet.paste(picture, (place % COLUMNS * THUMBNAIL, place // COLUMNS * THUMBNAIL))
    return jpeg_uri(np.asarray(sheet), 60, optimize=True)


def _unit(features: Float[Tensor, "clips dim"]) -> Float[np.ndarray, "clips dim"]:
    values = features.detach().float().cpu().numpy()
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)
