"""A class, a clip or a title may be called like a formula: every plot writes it as it is spelt."""

import ast
import io
import json
import warnings
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from foreign_names import AWKWARD, shown_by
from matplotlib.backends.backend_agg import RendererAgg

from avnb.data.clips import Clip, SceneObject
from avnb.evaluation.row_files import latex_text
from avnb.video.summary import Row
from avnb.video.timeline import draw_timeline
from avnb.viewing import plots, success, tsne
from avnb.viewing.colours import class_colours, readable

ROOT = Path(__file__).resolve().parents[2]
# The four that differ most in a plot that draws a picture for each name, all in those that draw lines.
FEW = ("$x^{$", "$a$", "<b>", "x" * 900)
NAMES = [name for name in (*AWKWARD, "<b>", "a$ b$") if name.strip()]
FRAME = torch.zeros(3, 32, 48, dtype=torch.uint8)
TRUTH = torch.zeros(32, 48)
TRUTH[4:20, 5:30] = 1
BOX = (0.1, 0.1, 0.6, 0.6)


def clips():
    names = FEW
    sound = np.zeros(100, np.float32)
    of = [Clip(name, FRAME.permute(1, 2, 0).numpy(), sound, 8000, (SceneObject(name, BOX),)) for name in names]
    yield names, plots.show_clips(of, title=names[0])


def heatmaps():
    names = FEW
    count = len(names)
    frames, truth = FRAME.expand(count, -1, -1, -1), TRUTH.expand(count, 1, -1, -1)
    scores = torch.full((count, 1), 0.5)
    rows = [[name] for name in names]
    maps = torch.rand(count, 1, 4, 6)
    yield names, plots.show_heatmaps(frames, maps, truth, rows, scores, title=names[0], unit=names[0])


def scenes():
    names = FEW
    count = len(names)
    frames, places = FRAME[None], TRUTH.expand(1, count, -1, -1)
    yield names, plots.show_scenes(frames, torch.rand(1, count, 4, 6), places, [list(names)], title=names[0])


def spectrograms():
    names = FEW
    images = [torch.rand(8, 10)] * len(names)
    yield names, plots.show_spectrograms(images, names, 8000, 100, units=names, title=names[0])


def curves():
    history = [{"epoch": k, "total": 1.0 / k, **dict.fromkeys(NAMES, 1.0), "val_ap": 2.0} for k in (1, 2)]
    yield NAMES, plots.show_curves(history)


def success_curves():
    yield NAMES, success.show_success({name: [[1.0] * 21] * 2 for name in NAMES}, NAMES[:2], NAMES[0])


def thresholds():
    yield NAMES, success.show_thresholds({name: [1.0, 2.0] for name in NAMES}, [0.1, 0.2], {NAMES[0]: 0.1}, NAMES[0])


def leaderboard():
    yield NAMES, success.show_leaderboard({name: [(name, 20.0, False)] for name in NAMES}, NAMES[0], NAMES[0])


def mean_truth():
    names = FEW
    yield names, success.show_mean_truth({name: np.eye(4) for name in names}, {}, names[0])


def pairs():
    names = FEW
    yield names, success.show_pairs({name: dict.fromkeys(names, 1.0) for name in names}, names[0], names[0])


def features():
    names = FEW
    labels = [name for name in names for _ in range(2)]
    points = [tsne.Panel(name, np.random.default_rng(0).random((len(labels), 2)), 0.5, 0.5) for name in names]
    yield names, tsne.show(dict.fromkeys(names, points[:1]), labels, class_colours(names))


def timeline():
    names = FEW
    rows = [Row(at, name, (0, 0, 9, 9), 0.9, True, True, 0) for at in (0.0, 1.0) for name in names]
    yield names, draw_timeline(rows, names)


PLOTS = {
    "plots.show_clips": clips, "plots.show_heatmaps": heatmaps, "plots.show_scenes": scenes,
    "plots.show_spectrograms": spectrograms, "plots.show_curves": curves, "success.show_success": success_curves,
    "success.show_thresholds": thresholds, "success.show_leaderboard": leaderboard,
    "success.show_mean_truth": mean_truth, "success.show_pairs": pairs, "tsne.show": features,
    "timeline.draw_timeline": timeline,
}  # fmt: skip


def drawn(figure, monkeypatch):
    """Return the texts that a figure draws, each with whether it was taken for a formula."""
    written, real = [], RendererAgg.draw_text

    def note(self, gc, x, y, text, prop, angle, ismath=False, mtext=None):
        written.append((text, bool(ismath)))
        if not ismath:
            real(self, gc, x, y, text, prop, angle, ismath, mtext)

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of the typeface that matplotlib brings
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # names of 150 letters on a small picture
        patch.setattr(RendererAgg, "draw_text", note)
        figure.savefig(io.BytesIO(), format="png")
    plt.close(figure)
    return written


def test_no_plot_is_forgotten_here():
    assert PLOTS.keys() == shown_by("Figure").keys()


@pytest.mark.parametrize("name", PLOTS)
def test_a_name_is_drawn_as_it_is_spelt(name, monkeypatch):
    with mpl.rc_context({"backend": "agg"}):
        for names, figure in PLOTS[name]():
            written = drawn(figure, monkeypatch)
            assert not [text for text, formula in written if formula]
            whole = "\n".join(text for text, _ in written)
            assert not [one for one in names if one.strip() not in whole and readable(one).strip() not in whole]


def test_numbers_on_a_logarithmic_axis_keep_their_powers(monkeypatch):
    figure, axes = plots.subplots(1, 1, (4, 3))
    axes[0, 0].loglog([1, 1e5], [1, 1e5])
    axes[0, 0].set_title("$x^{$")
    written = drawn(figure, monkeypatch)
    assert ("$x^{$", False) in written
    assert {formula for text, formula in written if "10^" in text} == {True}


def test_a_name_is_not_given_to_tex(monkeypatch):
    with mpl.rc_context({"text.usetex": True}):
        figure, axes = plots.subplots(1, 1, (4, 3), title=r"\input{/etc/hostname}")
        axes[0, 0].set_xticks([])
        axes[0, 0].set_yticks([])
        assert drawn(figure, monkeypatch) == [(r"\input{/etc/hostname}", False)]


@pytest.mark.parametrize("name", [*NAMES, "[1]", "*", "a\n\nb", "}\\input{x}", "a~b & c#d"])
def test_a_name_is_text_in_a_latex_table(name):
    written = latex_text(name)
    for known in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}", *(f"\\{c}" for c in "&%$#_{}")):
        written = written.replace(known, "")
    assert not set(written) & set("\\~^&%$#_\n\x1b")
    assert not written.lstrip().startswith(("[", "*"))


def test_no_other_figures_are_made():
    """Neither the package nor a notebook makes a figure that would take a name for a formula."""
    sources = {path: path.read_text() for path in (ROOT / "avnb").rglob("*.py")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        sources[path] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    made = set()
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("plt.figure", "plt.subplots", "plt.subplot_mosaic", "Figure", "matplotlib.figure.Figure"):
                    made.add(path.name)
    assert made == {"plots.py"}
