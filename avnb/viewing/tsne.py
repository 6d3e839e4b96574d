"""What methods have learnt to tell apart: their features of the same clips, measured and flattened by t-SNE.

NMI and silhouette are of the features themselves (`avnb.metrics.clustering`); what t-SNE draws is only looked at.
Introduced in notebooks/09_tsne.ipynb.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from avnb.config import Settings, setting
from avnb.data.store import Store
from avnb.errors import DataError
from avnb.metrics.clustering import directions, nmi_of_features, silhouette
from avnb.viewing.colours import readable
from avnb.viewing.page import filled, page_mark
from avnb.viewing.painting import jpeg_uri
from avnb.viewing.plots import class_legend, subplots

if TYPE_CHECKING:
    import IPython.display
    import matplotlib.figure

THUMBNAIL = 44  # pixels a side, shown three times as large
FEWEST = 5  # points that make a t-SNE
MOST_COLUMNS = 6  # of panels in a row
MANY = 24  # panels, of which more stand in smaller columns: two more
MARKS = "os^D"  # of classes whose colours may be alike
JPEG_SIDE = 65_500  # pixels: what a JPEG can be at most


@dataclass(frozen=True)
class TSNESettings(Settings):
    """The settings of notebooks/09_tsne.ipynb; ``epochs`` and the like are for methods that are trained there."""

    METHOD: ClassVar[str] = "tsne"

    points: int = setting(2000, low=0, doc="at most so many clips, at even steps, are compared and drawn; 0: all")
    methods: str = setting("", doc='whose features are drawn, divided by commas; "": every method\'s that has a run')
    train: str = setting("avgn", doc="methods that are trained if they have no run, divided by commas")


@dataclass(frozen=True)
class Panel:
    """One set of features of the clips: where t-SNE puts them, and how well they tell the classes apart."""

    name: str
    flat: Float[np.ndarray, "clips 2"]
    nmi: float
    silhouette: float


def flatten(features: Float[Tensor, "clips dim"]) -> Float[np.ndarray, "clips 2"]:
    """Return t-SNE's two dimensions of the features' directions, from a PCA and seed 0.

    Raises DataError for fewer than 5 clips.
    """
    from sklearn.manifold import TSNE

    if len(features) < FEWEST:
        raise DataError(f"A t-SNE needs at least {FEWEST} clips, and there are {len(features)}.")
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(directions(features).numpy())


def panels(points: Mapping[str, Float[Tensor, "clips dim"]], labels: Sequence[str]) -> list[Panel]:
    """Return each set of features flattened and measured."""
    return [
        Panel(name, flatten(features), nmi_of_features(features, labels), silhouette(features, labels))
        for name, features in points.items()
    ]


def counted(clips: int, there: int) -> str:
    """Return how many clips there are, and of how many they are a sample where they are one.

    >>> counted(132, 132), counted(2000, 5158)
    ('132 clips', '2,000 of 5,158 clips')
    """
    return f"{clips:,} clips" if clips == there else f"{clips:,} of {there:,} clips"


def show(
    rows: Mapping[str, Sequence[Panel]],
    labels: Sequence[str],
    colours: Mapping[str, tuple[float, float, float]],
    there: int = 0,
) -> "matplotlib.figure.Figure":
    """Show every panel of every method, a colour a class, with NMI and silhouette under each.

    Where more clips are ``there`` than labels, the title says that these are a sample. Classes whose colours are alike
    differ in their marks. The panels follow each other, so that a method with two does
    not leave the room empty that another with six takes.
    """
    every = [(method, panel) for method, found in rows.items() for panel in found]
    many = len(every) > MANY
    columns, small = min(MOST_COLUMNS + 2 * many, len(every)), 6.5 if many else 8
    size = min(2.4, 11 / columns), min(2.4, 11 / columns) + 0.35
    title = counted(len(labels), there) if there > len(labels) else ""
    figure, axes = subplots(-(-len(every) // columns), columns, size, title)
    seen = sorted(set(labels))
    for axis in axes.flat[len(every) :]:
        axis.set_visible(False)
    for axis, (method, panel) in zip(axes.flat, every, strict=False):
        for number, label in enumerate(seen):
            points = panel.flat[[place for place, name in enumerate(labels) if name == label]]
            axis.scatter(*points.T, color=colours[label], s=10, linewidths=0, marker=MARKS[number % len(MARKS)])
        axis.set_title("\n".join(filter(None, (readable(method), panel.name))), fontsize=small)
        axis.set_xlabel(f"NMI {panel.nmi:.2f}, silhouette {panel.silhouette:.2f}", fontsize=small)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color("#cccccc")
    class_legend(figure, axes[0, 0], seen, colours, [MARKS[number % len(MARKS)] for number in range(len(seen))])
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
        "columns": _sheet_columns(len(clips)),
    }
    sheet = _contact_sheet(store, clips)
    text = json.dumps(said, separators=(",", ":")).replace("<", "\\u003c")  # no name ends the script
    mark = page_mark("tsne-", text + sheet)
    return HTML(filled("tsne.html", MARK=mark, SCRIPT=filled("tsne.js", MARK=mark, SHEET=sheet, DATA=text)))


def _sheet_columns(clips: int) -> int:
    """Return how many pictures a row of the contact sheet has: 16, or what keeps the sheet as high as it is wide."""
    return max(16, int(np.ceil(np.sqrt(clips))))


def _contact_sheet(store: Store, clips: Int[np.ndarray, " clips"]) -> str:
    """Return the clips' frames, small, side by side in one JPEG, as a data URI.

    Raises DataError where they are more than a JPEG can hold.
    """
    from PIL import Image

    columns = _sheet_columns(len(clips))
    rows = -(-len(clips) // columns)
    if max(rows, columns) * THUMBNAIL > JPEG_SIDE:
        raise DataError(
            f"{len(clips):,} clips do not fit into one picture; give hover() at most {(JPEG_SIDE // THUMBNAIL) ** 2:,}."
        )
    sheet = Image.new("RGB", (columns * THUMBNAIL, rows * THUMBNAIL))
    for place, clip in enumerate(clips):
        picture = Image.fromarray(np.array(store.frames[clip]).transpose(1, 2, 0)).resize((THUMBNAIL, THUMBNAIL))
        sheet.paste(picture, (place % columns * THUMBNAIL, place // columns * THUMBNAIL))
    return jpeg_uri(np.asarray(sheet), 60, optimize=True)
