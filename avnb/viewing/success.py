"""Pictures of how much a number owes to its rule and its protocol.

Introduced in notebooks/14_honest_evaluation.ipynb.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from avnb.evaluation.overlaps import areas_under_curves
from avnb.metrics.localization import class_mean, success_rate
from avnb.viewing.colours import INK, LINES, method_name, readable
from avnb.viewing.plots import TITLE, subplots

if TYPE_CHECKING:
    import matplotlib.figure

STEPS = np.arange(21) / 20
# What needs no model is grey or black, and dashed where it hears nothing; the oracle is the ceiling.
FLOORS = {
    "centre": ("#777777", "--"), "tile_centre": ("#777777", "-."), "tile_each": ("#222222", "--"),
    "whole_image": ("#bbbbbb", ":"), "random": ("#bbbbbb", "-."), "oracle": ("#222222", "-"),
}  # fmt: skip
SQUARE, PRINTED = "#d55e00", "#9db7cc"


def success_of(values: Float[Tensor, "mixtures sources"]) -> list[float]:
    """Return the share of mixtures, in percent, whose class-mean IoU reaches 0, 0.05 ... 1."""
    mean = class_mean(values)
    return [100 * success_rate(mean, float(at)) for at in STEPS]


def show_success(
    curves: Mapping[str, Sequence[Sequence[float]]], rules: Sequence[str], title: str = ""
) -> "matplotlib.figure.Figure":
    """Show the share of pictures whose IoU reaches t, a panel a threshold rule, a line a method or a row without one.

    ``curves`` hold by name a list of 21 percentages for every rule, t = 0, 0.05 ... 1 (see `success_of`).
    """
    figure, axes = subplots(1, len(rules), (10 / len(rules), 3.4), title)
    for number, (panel, rule) in enumerate(zip(axes[0], rules, strict=True)):
        for name, (colour, line) in _looks(curves).items():
            values = curves[name][number]
            area = (sum(values) - (values[0] + values[-1]) / 2) / (len(values) - 1)  # by trapezoids
            label = f"{_named(name)}, AUC {area:.1f}"
            panel.plot(STEPS, values, line, color=colour, label=label, linewidth=1.4 if name in FLOORS else 2)
        panel.axvline(0.5, color=INK, linewidth=0.6, alpha=0.5)
        panel.set_title(readable(rule), fontsize=TITLE)
        panel.set_xlabel("IoU of at least")
        panel.legend(frameon=False, fontsize=7)
        _plain(panel)
    axes[0, 0].set_ylabel("pictures (%)")
    return figure


def show_thresholds(
    areas: Mapping[str, Sequence[float]],
    thresholds: Sequence[float],
    fitted: Mapping[str, float],
    title: str = "",
    unit: str = "AUC (%)",
) -> "matplotlib.figure.Figure":
    """Show a number against the threshold at which maps that are scaled to 0..1 are cut.

    A star is the threshold that was chosen on validation clips.
    """
    figure, axes = subplots(1, 1, (8, 3.6), title)
    panel = axes[0, 0]
    for name, (colour, line) in _looks(areas).items():
        panel.plot(
            thresholds, areas[name], line, color=colour, label=_named(name), linewidth=1.4 + (name not in FLOORS)
        )
        if name in fitted:
            place = int(np.argmin(np.abs(np.asarray(thresholds) - fitted[name])))
            panel.plot(thresholds[place], areas[name][place], "*", color=colour, markersize=12)
    panel.set_xlabel("threshold of a map that is scaled to 0..1")
    panel.set_ylabel(unit)
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _plain(panel)
    return figure


def show_leaderboard(
    bars: Mapping[str, Sequence[tuple[str, float, bool]]], title: str = "", unit: str = "CIoU@0.3 (%)"
) -> "matplotlib.figure.Figure":
    """Show bars in a panel a protocol, the highest on top: (name, value, whether it is of squares)."""
    longest = max(map(len, bars.values()))
    figure, axes = subplots(1, len(bars), (10.5 / len(bars), 0.6 + 0.32 * longest), title)
    for panel, (protocol, rows) in zip(axes[0], bars.items(), strict=True):
        ordered = sorted(rows, key=lambda row: row[1])
        places = np.arange(longest - len(ordered), longest)
        colours = [SQUARE if squares else PRINTED for *_, squares in ordered]
        panel.barh(places, [value for _, value, _ in ordered], color=colours)
        for place, (name, value, squares) in zip(places, ordered, strict=True):
            fits = value > 2.4 * len(name)  # letters are as wide as so many percent
            told = f"{value:.1f}" if fits else f"{value:.1f}  {name}"
            panel.text(value + 1, place, told, va="center", fontsize=8, color=INK)
            if fits:
                panel.text(1, place, name, va="center", fontsize=8, color="white" if squares else INK)
        panel.set_xlim(0, 100)
        panel.set_ylim(-0.7, longest - 0.3)
        panel.set_yticks([])
        panel.set_title(protocol, fontsize=TITLE)
        panel.set_xlabel(unit)
        panel.spines[["top", "right", "left"]].set_visible(False)
    return figure


def show_mean_truth(
    means: Mapping[str, Any], squares: Mapping[str, Iterable[tuple[float, float, float, float]]], title: str = ""
) -> "matplotlib.figure.Figure":
    """Show how often each place is part of the truth, and squares on it, x0, y0, x1, y1 in 0..1."""
    from matplotlib.patches import Rectangle

    shapes = [np.asarray(mean).shape for mean in means.values()]
    figure, axes = subplots(1, len(means), (9.6 / len(means), 9.6 / len(means) * max(h / w for h, w in shapes)), title)
    for panel, (name, mean) in zip(axes[0], means.items(), strict=True):
        values = np.asarray(mean)
        shown = panel.imshow(100 * values, cmap="inferno", vmin=0, vmax=100, extent=(0, 1, 1, 0), aspect="auto")
        panel.set_box_aspect(values.shape[0] / values.shape[1])
        for x0, y0, x1, y1 in squares.get(name, ()):
            panel.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=1.6))
        panel.set_title(name, fontsize=TITLE)
        panel.set_xticks([])
        panel.set_yticks([])
    bar = figure.colorbar(shown, ax=axes, pad=0.02, shrink=0.8)
    bar.set_label("pictures whose truth is there (%)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    return figure


def show_pairs(
    values: Mapping[str, Mapping[str, float]], title: str = "", unit: str = "CAP (%)"
) -> "matplotlib.figure.Figure":
    """Show a row a name, with a dot for its number under each condition: what moves was listened for."""
    conditions = list(dict.fromkeys(condition for one in values.values() for condition in one))
    figure, axes = subplots(1, 1, (9, 1.1 + 0.28 * len(values)), title)
    panel, places = axes[0, 0], np.arange(len(values))
    found = np.array([[one.get(condition, np.nan) for condition in conditions] for one in values.values()])
    panel.hlines(places, np.nanmin(found, axis=1), np.nanmax(found, axis=1), color="#cccccc", linewidth=3, zorder=1)
    for number, condition in enumerate(conditions):
        size = 70 - 50 * number / len(conditions)  # a dot on another leaves its rim
        panel.scatter(found[:, number], places, size, color=LINES[number], label=condition, zorder=2 + number)
    panel.set_yticks(places, [_named(name) for name in values], fontsize=8)
    panel.set_ylim(len(values) - 0.5, -0.5)
    panel.set_xlim(0, 1.05 * np.nanmax(found))
    panel.set_xlabel(unit)
    panel.grid(axis="x", color="#eeeeee")
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def areas_of(values: Float[Tensor, "mixtures sources rules"]) -> list[float]:
    """Return the AUC of the class means, in percent, under each rule."""
    return [100 * area for area in areas_under_curves(values)]


def _looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and the line of every name: methods have colours, what needs no model has none."""
    names = list(names)
    methods = [name for name in names if name not in FLOORS]
    own = {name: (LINES[place % len(LINES)], "-") for place, name in enumerate(methods)}
    return {name: FLOORS.get(name) or own[name] for name in names}


def _named(name: str) -> str:
    return readable(name) if name in FLOORS else method_name(name)


def _plain(panel: Any) -> None:
    panel.set_ylim(bottom=0)
    panel.spines[["top", "right"]].set_visible(False)
