"""Who sounds when, as a picture: a lane for each source, its score, and where the film cuts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avnb.paths import whole_file
from avnb.video.summary import Row, cuts_of, sources_of, unknown_spans
from avnb.viewing.colours import INK, class_colours, readable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LANE, DPI = 0.45, 100  # inches of a source's height
NONE = "none of these"


def draw_timeline(rows: Sequence[Row], known: Sequence[str] = ()) -> "Figure":
    """Return the picture; ``known`` are all classes of the method, which have the colours of the film's heat."""
    from avnb.viewing.figures import PlainFigure

    sources, unknown = sources_of(rows), unknown_spans(rows)
    names = [source.name for source in sources]
    colours = class_colours(list(dict.fromkeys([*known, *names])))
    times = sorted({row.seconds for row in rows})
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0  # a moment stands for the time after it
    lanes = [*names, *([NONE] if unknown else [])]
    figure = PlainFigure(figsize=(9, 0.9 + LANE * len(lanes)), dpi=DPI, layout="constrained")
    axis = figure.add_subplot()
    for lane, source in enumerate(sources):
        own = [row for row in rows if row.name == source.name]
        scores = [lane + 0.4 - 0.8 * min(max(row.score, 0.0), 1.0) for row in own]
        seconds = [row.seconds for row in own]
        axis.fill_between(seconds, lane + 0.4, scores, step="post", color=colours[source.name], alpha=0.35, linewidth=0)
        spans = [(begin, end - begin + step) for begin, end in source.spans]
        axis.broken_barh(spans, (lane + 0.28, 0.12), color=colours[source.name])
    axis.broken_barh([(begin, end - begin + step) for begin, end in unknown], (len(names) - 0.4, 0.8), color="#bbbbbb")
    for cut in cuts_of(rows):
        axis.axvline(cut, color=INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel="seconds", ylim=(len(lanes) - 0.5, -0.5), xlim=(times[0], times[-1] + step))
    axis.set_yticks(range(len(lanes)), [readable(name) for name in lanes])
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def write_timeline(rows: Sequence[Row], path: Path, known: Sequence[str] = ()) -> None:
    """Write the picture as a PNG."""
    with whole_file(path) as temporary:
        draw_timeline(rows, known).savefig(temporary, format="png")
