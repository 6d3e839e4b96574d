"""Figures in which every text stands as it is written: a class may be called ``$x^{$``.

matplotlib takes what stands between two dollar signs for a formula, and raises where it is none. Names come from other
people's files, so no text of these figures is a formula, and none is given to TeX, which could read files; ticks that
matplotlib numbers itself keep theirs (10 to a power on a logarithmic axis).
"""

from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, LogitFormatter, ScalarFormatter

NUMBERING = (ScalarFormatter, LogFormatter, LogitFormatter)


class PlainFigure(Figure):
    """A figure of which no text is taken for a formula."""

    def draw(self, renderer: Any) -> None:
        """Draw it; texts that were added since are plain, too."""
        numbers = {id(text) for axes in self.axes for text in _numbers_of(axes)}
        for text in self.findobj(Text):
            if id(text) not in numbers:
                text.set_parse_math(False)
                text.set_usetex(False)
        super().draw(renderer)


def _numbers_of(axes: Any) -> list[Text]:
    """Return the labels of the ticks that are numbers, and the factor beside them."""
    found = []
    for axis in (axes.xaxis, axes.yaxis):
        for minor, formatter in ((False, axis.get_major_formatter()), (True, axis.get_minor_formatter())):
            if isinstance(formatter, NUMBERING):
                found += axis.get_ticklabels(minor=minor)
        found.append(axis.get_offset_text())
    return found
