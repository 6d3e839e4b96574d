"""Pictures of the notebooks: one colour a class, the true outline on everything that is located.

A picture function returns its figure, and a notebook shows that figure once, whether the call is a cell's last line or
not. Introduced in notebooks/01_data_mixing.ipynb.
"""

import functools
import io
import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from avnb.data.clips import Clip, SceneObject
from avnb.errors import DataError
from avnb.metrics.localization import upsample
from avnb.models.base import is_accuracy, is_rate
from avnb.viewing.colours import INK, LINES, SILENT, SOUNDING, Colour, class_colours, readable

if TYPE_CHECKING:
    import matplotlib.figure

DPI = 80
TITLE = 10  # points
LETTERS = 112  # of a title, across a figure
LEGEND = 4  # names that a panel of curves has room for
ENTRY = 1.2  # inches that a class takes in a legend
JPEG = {"quality": 75, "optimize": True, "progressive": True}

# ------------------------------------------------------------------------------------------------------------ pictures


def show_clips(
    clips: Sequence[Clip],
    columns: int = 4,
    colours: Mapping[str, Colour] | None = None,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Show the clips' frames, each object outlined in its class's colour: solid if it sounds, dashed if it is silent.

    Names stand on their class's colour, those of silent objects on white. The outline is the object's mask, else its
    box. ``colours`` are those of ``class_colours(store.classes)``; by default those of the classes shown. Introduced in
    notebooks/01_data_mixing.ipynb.
    """
    colours = colours or class_colours(sorted({thing.label for clip in clips for thing in clip.objects}))
    columns = min(columns, len(clips))
    rows = -(-len(clips) // columns)
    height, width = clips[0].frame.shape[:2]
    wide = min(2.2 * width / height, 10 / columns)
    figure, axes = subplots(rows, columns, (wide, wide * height / width), title)
    for panel in axes.flat[len(clips) :]:
        panel.set_visible(False)
    for panel, clip in zip(axes.flat, clips, strict=False):
        panel.imshow(clip.frame)
        for number, thing in enumerate(clip.objects, start=1):
            place = clip.mask == number if clip.mask is not None else _filled_box(thing.xyxy, clip.frame.shape[:2])
            if not place.any():
                continue
            _outline(panel, place, colours[thing.label], "solid" if thing.sounding else "dashed")
            _badge_on(panel, thing, colours[thing.label], place)
        _without_axes(panel)
    return figure


def show_heatmaps(
    frames: UInt8[Tensor, "examples 3 height width"],
    maps: Float[Tensor, "examples sources rows columns"],
    truth: Float[Tensor, "examples sources height width"],
    names: Sequence[Sequence[str]],
    scores: Float[Tensor, "examples sources"] | None = None,
    colours: Mapping[str, Colour] | None = None,
    title: str = "",
    unit: str = "",
) -> "matplotlib.figure.Figure":
    """Show a row an example: its frame, then for each source the map as heat over the greyed frame.

    The line is the true outline in the class's colour. Each map is scaled to its own lowest and highest value, so heat
    tells where, not how sure; maps that have a ``unit`` are measured, and share one scale with a bar beside them.
    ``scores`` are APs in 0..1, shown in percent, a NaN not at all. Introduced in notebooks/01_data_mixing.ipynb.
    """
    colours = colours or class_colours(sorted({name for row in names for name in row}))
    examples, sources = maps.shape[:2]
    height, width = frames.shape[-2:]
    wide = min(2.2 * width / height, 10 / (1 + sources))
    figure, axes = subplots(examples, 1 + sources, (wide, wide * height / width + 0.2), title)
    large = upsample(maps.detach().float().cpu(), (height, width)).numpy()
    limits = (float(large.min()), float(large.max())) if unit else None
    if limits:
        _heat_bar(figure, axes, limits, unit)
    for row, panels in enumerate(axes):
        frame = frames[row].cpu().numpy().transpose(1, 2, 0)
        panels[0].imshow(frame)
        for source, panel in enumerate(panels[1:]):
            name, outline = names[row][source], truth[row, source].cpu().numpy() > 0
            panel.imshow(heat_over(frame, large[row, source], limits))
            for shown in (panels[0], panel):
                _outline(shown, outline, colours[name])
            known = scores is not None and bool(scores[row, source].isfinite())
            score = f"   AP {100 * float(scores[row, source]):.0f}" if known else ""
            _badge(panel, readable(name) + score, colours[name])
        for panel in panels:
            _without_axes(panel)
    return figure


def show_scenes(
    frames: UInt8[Tensor, "scenes 3 height width"],
    maps: Float[Tensor, "scenes objects rows columns"],
    places: Float[Tensor, "scenes objects height width"],
    names: Sequence[Sequence[str]],
    sounding: int = 2,
    title: str = "",
) -> "matplotlib.figure.Figure":
    """Show a row a scene: its frame, then the map of each object's class as heat from 0 to the scene's highest value.

    The first ``sounding`` objects of a scene sound and are outlined in green, solid; the others are silent, in orange,
    dashed. Above each map stands its mean value on its object, in percent. Introduced in notebooks/05_dsol.ipynb.
    """
    scenes, objects = maps.shape[:2]
    figure, axes = subplots(scenes, 1 + objects, (10 / (1 + objects), 10 / (1 + objects) + 0.2), title)
    large = upsample(maps.detach().float().cpu(), frames.shape[-2:]).numpy()
    inside = places.cpu().numpy() > 0
    for row, panels in enumerate(axes):
        frame = frames[row].cpu().numpy().transpose(1, 2, 0)
        panels[0].imshow(frame)
        for k, panel in enumerate(panels[1:]):
            silent = k >= sounding
            colour, line = (SILENT, "dashed") if silent else (SOUNDING, "solid")
            panel.imshow(heat_over(frame, large[row, k], (0.0, float(large[row].max()))))
            for shown in (panels[0], panel):
                _outline(shown, inside[row, k], colour, line)
            level = 100 * large[row, k][inside[row, k]].mean() if inside[row, k].any() else np.nan
            _badge(panel, f"{readable(names[row][k])}   {level:.0f}", colour, silent=silent)
        for panel in panels:
            _without_axes(panel)
    return figure


def heat_over(
    frame: UInt8[np.ndarray, "height width 3"],
    heat: Float[np.ndarray, "height width"],
    limits: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the frame in pale grey under the map's heat (inferno, from the map's lowest to its highest value).

    A constant map has no heat. ``limits`` are the values of no heat and of all, where maps are to be compared.
    """
    from matplotlib import colormaps

    heat = scaled(heat, *(limits or ())).clip(0, 1)
    grey = frame @ np.array([0.299, 0.587, 0.114]) / 255
    pale = np.repeat((0.3 + 0.7 * grey)[..., None], 3, axis=2)
    cover = (0.2 + 0.55 * heat)[..., None]  # the picture stays readable where it is cold
    mixed = (1 - cover) * pale + cover * colormaps["inferno"](heat)[..., :3]
    return (255 * mixed).round().astype(np.uint8)


def show_spectrograms(
    images: Sequence[Float[Tensor, "bins frames"]],
    titles: Sequence[str],
    rates: int | Sequence[int],
    hops: int | Sequence[int],
    filterbanks: Sequence[Tensor | None] | None = None,
    units: str | Sequence[str] = "dB",
    columns: int = 3,
    title: str = "",
    limits: tuple[float, float] | None = None,
) -> "matplotlib.figure.Figure":
    """Show spectrograms with seconds across, hertz upwards, and a colour bar in ``units``.

    With ``limits`` all have one scale, between these two values, and one bar.

    ``rates`` in Hz and ``hops`` in samples are one for all or one each. The rows are spread evenly from 0 Hz to half
    the rate, or are the mel bands of a [bins, frequencies] filterbank, whose ticks stand where that many hertz fall.
    Introduced in notebooks/01_data_mixing.ipynb.
    """
    count = len(images)
    columns = min(columns, count)
    rates, hops, units = (_one_each(value, count) for value in (rates, hops, units))
    rows = -(-count // columns)
    figure, axes = subplots(rows, columns, (10 / columns, 2.3), title)
    for panel in axes.flat[count:]:
        panel.set_visible(False)
    for k, (panel, image) in enumerate(zip(axes.flat, images, strict=False)):
        bins, frames = image.shape
        seconds = frames * hops[k] / rates[k]
        shown = panel.imshow(
            image.detach().float().cpu().numpy(), origin="lower", aspect="auto", cmap="magma",
            extent=(0, seconds, 0, bins), interpolation="nearest", clim=limits,
        )  # fmt: skip
        places, hertz = _frequency_ticks(bins, rates[k], None if filterbanks is None else filterbanks[k])
        panel.set_yticks(places, hertz)
        panel.set_ylabel("Hz" if filterbanks is None or filterbanks[k] is None else "Hz (mel scale)")
        panel.set_xlabel("seconds")
        panel.set_title(textwrap.fill(readable(titles[k]), LETTERS // columns), fontsize=TITLE)
        if limits is None or k == 0:
            figure.colorbar(shown, ax=panel if limits is None else axes, pad=0.02).set_label(units[k], fontsize=9)
    return figure


def show_curves(history: Sequence[Mapping[str, Any]], best: int | None = None) -> "matplotlib.figure.Figure":
    """Show a run's losses by term and its validation scores, epoch by epoch, with the best epoch marked.

    ``history`` is what fit() returns; ``best`` (from 0, as Run.best) is by default the epoch with the highest
    validation AP, or without one the lowest validation loss, the last of equals. Dotted lines part stages. Raises
    DataError without a finished epoch. Introduced in notebooks/04_avgn.ipynb.
    """
    if not history:
        raise DataError("There are no curves to show: no epoch is finished yet.")
    names = list(dict.fromkeys(name for row in history for name in row))
    aside = {"epoch", "stage", "seconds", "pairs_per_second"}
    scores = [name for name in names if name.startswith("val_") and name != "val_loss" and not is_rate(name)]
    losses = [name for name in names if name not in {*aside, *scores} and not (is_accuracy(name) or is_rate(name))]
    epochs = [row["epoch"] for row in history]
    best = _best_epoch(history) if best is None else best
    figure, axes = subplots(1, 1 + bool(scores), (10 / (1 + bool(scores)), 3.2))
    loss_panel, shown = axes[0, 0], []
    for place, name in enumerate(losses):
        style = {"total": ("-", INK, 2.4), "val_loss": ("--", INK, 1.6)}.get(name)
        line, colour, thick = style or ("-", LINES[place % len(LINES)], 1.6)
        values = [row.get(name, np.nan) for row in history]
        shown.append(values)
        loss_panel.plot(epochs, values, line, color=colour, linewidth=thick, label=readable(name), marker=".")
    loss_panel.set_ylabel("loss")
    where = " (above the panel)" if _cut_first_epoch(loss_panel, np.array(shown, float)) else ""
    if "total" in losses:
        # Stages have losses of their own, which cannot be compared: the title is of the last one.
        stage = [row["total"] for row in history if row.get("stage") == history[-1].get("stage")]
        whose = "training" if len(stage) == len(history) else "last stage's"
        where = where if len(stage) == len(history) else ""
        loss_panel.set_title(f"the {whose} loss goes from {stage[0]:.2f}{where} to {stage[-1]:.2f}", fontsize=TITLE)
    for place, name in enumerate(scores):
        values = [row.get(name, np.nan) for row in history]
        axes[0, 1].plot(epochs, values, color=LINES[place % len(LINES)], marker=".", label=readable(name), linewidth=2)
        axes[0, 1].plot(epochs[best], values[best], "*", color=INK, markersize=13)
    if scores:
        unit = "validation AP (%)" if all(name.startswith("val_ap") for name in scores) else "validation (%)"
        axes[0, 1].set_ylabel(unit)
        value = history[best].get(scores[0], np.nan)
        axes[0, 1].set_title(f"kept: epoch {epochs[best]} of {epochs[-1]}, with {value:.1f}", fontsize=TITLE)
    for panel in axes.flat:
        panel.axvline(epochs[best], color=INK, linewidth=0.8, linestyle="--", alpha=0.6)
        for before, after in itertools.pairwise(history):
            if before.get("stage") != after.get("stage"):
                panel.axvline((before["epoch"] + after["epoch"]) / 2, color=INK, linewidth=1, linestyle=":")
        panel.set_xlabel("epoch")
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.spines[["top", "right"]].set_visible(False)
        if (named := len(panel.get_legend_handles_labels()[0])) > 1:
            below = {"ncols": 3, "loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}
            panel.legend(frameon=False, fontsize=8, **({"ncols": 2} if named <= LEGEND else below))
    return figure


# ------------------------------------------------------------------------------------------------ parts of the pictures


def scaled(
    values: Float[np.ndarray, "rows columns"], low: float | None = None, high: float | None = None
) -> Float[np.ndarray, "rows columns"]:
    """Return a map as heat in 0..1: from its lowest to its highest value, or those given; a constant map has none."""
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def class_legend(
    figure: "matplotlib.figure.Figure",
    panel: Any,
    classes: Sequence[str],
    colours: Mapping[str, Colour],
    marks: Sequence[str] = (),
) -> None:
    """Put the classes' names, each beside a mark of its colour, below a figure; ``panel`` is any of its panels."""
    handles = [
        panel.plot([], [], mark, color=colours[name], label=readable(name), markersize=5)[0]
        for name, mark in zip(classes, marks or "o" * len(classes), strict=True)
    ]
    if len(classes) <= 24:  # a longer legend is larger than the picture
        columns = min(6, len(classes), max(1, int(figure.get_figwidth() / ENTRY)))
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def subplots(rows: int, columns: int, panel: tuple[float, float], title: str = "") -> tuple[Any, np.ndarray]:
    """Return a figure that is shown once and its panels [rows, columns], each of a size in inches.

    Its texts are never taken for formulas: see `avnb.viewing.figures`.
    """
    import matplotlib.pyplot as plt

    from avnb.viewing.figures import PlainFigure

    size = (panel[0] * columns, panel[1] * rows + (0.4 if title else 0))
    look = {"figsize": size, "dpi": DPI, "layout": "constrained", "FigureClass": PlainFigure}
    figure, axes = plt.subplots(rows, columns, squeeze=False, **look)
    if title:
        figure.suptitle(title, fontsize=TITLE + 1, color=INK)
    for axis in axes.flat:
        axis.tick_params(labelsize=8)
        for label in (axis.xaxis.label, axis.yaxis.label):
            label.set_fontsize(9)
    figure._ipython_display_ = functools.partial(_show_once, figure)
    return figure, axes


def _show_once(figure: "matplotlib.figure.Figure") -> None:
    """Display the figure and close it: as a cell's value, at a cell's end, or by display(), whichever comes first.

    As JPEG where that is smaller, which it is for photographs (a fifth) and not for curves: saved notebooks stay small.
    It is drawn once for both: savefig() would draw it twice for each.
    """
    import matplotlib.pyplot as plt
    from IPython.display import Image, display
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.image import imsave

    plt.close(figure)
    figure.set_facecolor("white")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels, png, jpeg = np.asarray(canvas.buffer_rgba()), io.BytesIO(), io.BytesIO()
    imsave(png, pixels, format="png", dpi=figure.dpi)
    imsave(jpeg, pixels, format="jpeg", dpi=figure.dpi, pil_kwargs=JPEG)
    display(Image(min(png.getvalue(), jpeg.getvalue(), key=len)))


def _heat_bar(figure: "matplotlib.figure.Figure", axes: np.ndarray, limits: tuple[float, float], unit: str) -> None:
    """Put one colour bar beside all panels, from the value of no heat to that of all."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(ScalarMappable(Normalize(*limits), "inferno"), ax=axes, pad=0.02)
    bar.set_label(unit, fontsize=9)
    bar.ax.tick_params(labelsize=8)


def _without_axes(panel: Any) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_visible(False)


def _outline(panel: Any, place: np.ndarray, colour: Colour, line: str = "solid") -> None:
    """Draw the outer border of a region in its colour, with a white edge so that it shows on any picture."""
    from matplotlib.patheffects import withStroke
    from scipy.ndimage import binary_fill_holes

    inside = np.pad(binary_fill_holes(place).astype(float), 1)  # a region at the frame's border is closed there
    down, across = (np.arange(-1, length + 1) for length in place.shape)
    border = panel.contour(across, down, inside, levels=[0.5], colors=[colour], linewidths=1.3, linestyles=line)
    border.set(path_effects=[withStroke(linewidth=2.5, foreground="white")])
    panel.set(xlim=(-0.5, place.shape[1] - 0.5), ylim=(place.shape[0] - 0.5, -0.5))


def _badge(
    panel: Any, text: str, colour: Colour, at: tuple[float, float] = (0.0, 1.0), silent: bool = False, **where: str
) -> None:
    """Write ``text`` on a field of its class's colour; ``at`` is in 0..1 of the panel, from its lower left corner."""
    panel.figure.get_layout_engine().set(h_pad=0.08)  # inches: the layout has no eye for the field around a text
    ink = "white" if np.dot(colour, (0.299, 0.587, 0.114)) < 0.6 and not silent else INK
    field = {"boxstyle": "round,pad=0.25", "facecolor": "white" if silent else colour, "edgecolor": colour}
    panel.annotate(
        text, at, (3, 4), xycoords="axes fraction", textcoords="offset points", color=ink, fontsize=8,
        bbox=field | ({"linestyle": "--"} if silent else {}), **{"ha": "left", "va": "bottom"} | where,
    )  # fmt: skip


def _badge_on(panel: Any, thing: SceneObject, colour: Colour, place: np.ndarray) -> None:
    """Write an object's name above it, or just inside where there is no room, and never beyond the frame's sides."""
    down, across = (np.flatnonzero(place.any(axis=axis)) / place.shape[1 - axis] for axis in (1, 0))
    on_the_right = across[0] + across[-1] > 1
    where = {"ha": "right" if on_the_right else "left", "va": "top" if down[0] < 0.12 else "bottom"}
    at = (across[-1] if on_the_right else across[0], 1 - down[0])
    _badge(panel, readable(thing.label), colour, at, not thing.sounding, **where)


def _filled_box(xyxy: tuple[float, float, float, float], shape: tuple[int, int]) -> np.ndarray:
    """Return a box, in 0..1 of the frame, as the pixels it holds."""
    x0, y0, x1, y1 = (int(corner * length) for corner, length in zip(xyxy, (shape[1], shape[0]) * 2, strict=True))
    place = np.zeros(shape, bool)
    place[y0:y1, x0:x1] = True
    return place


def _frequency_ticks(bins: int, rate: int, filterbank: Tensor | None) -> tuple[list[float], list[str]]:
    """Return the rows, and their names, at which round numbers of hertz stand."""
    if filterbank is None:
        step = 1000 if rate <= 8000 else 2000 if rate <= 16_000 else 2500
        hertz = np.arange(0, rate / 2 + 1, step)
        return list(hertz / (rate / 2) * bins), [f"{value:.0f}" for value in hertz]
    weights = filterbank.cpu().numpy()
    held = np.flatnonzero(weights.sum(axis=1))  # narrow bands may hold no bin at all
    centres = weights[held] @ np.linspace(0, rate / 2, weights.shape[1]) / weights[held].sum(axis=1)
    hertz = [value for value in (250, 500, 1000, 2000, 4000, 8000) if value < rate / 2]
    return list(np.interp(hertz, centres, held + 0.5)), [str(value) for value in hertz]


def _cut_first_epoch(panel: Any, losses: Float[np.ndarray, "terms epochs"]) -> bool:
    """Let the first epoch's losses leave the panel where they would flatten all that follows; tell whether they do."""
    if losses.shape[1] < 4 or np.isnan(losses[:, 0]).all():
        return False
    first, top, low = np.nanmax(losses[:, 0]), np.nanmax(losses[:, 1:]), np.nanmin(losses)
    if first - low <= 1.5 * (top - low):
        return False
    panel.set_ylim(low - 0.05 * (top - low), top + 0.05 * (top - low))
    return True


def _best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Return the last of the epochs with the highest validation AP, or without one the lowest validation loss."""
    values = [row["val_ap"] if "val_ap" in row else -row["val_loss"] for row in history]
    return max(range(len(values)), key=lambda place: (values[place], place))


def _one_each(value: Any, count: int) -> list[Any]:
    return [value] * count if isinstance(value, int | str) else list(value)
