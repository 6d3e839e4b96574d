"""Pictures of rules and protocols draw the numbers that they are given; what needs no model has no colour."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from avnb.metrics.localization import area_under_curve, class_mean
from avnb.viewing import success


@pytest.fixture(autouse=True)
def _no_windows():
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def test_a_curve_is_the_share_of_pictures_and_its_legend_has_the_area():
    values = torch.tensor([[0.2, 0.42], [0.9, 0.72]])
    curve = success.success_of(values)
    assert (curve[0], curve[6], curve[7], curve[16], curve[17]) == (100, 100, 50, 50, 0)
    figure = success.show_success({"avgn": [curve], "centre": [curve]}, ["top_half"])
    panel = figure.axes[0]
    lines = {line.get_label().partition(",")[0]: line for line in panel.lines}
    assert list(lines["AVGN"].get_ydata()) == curve
    area = 100 * area_under_curve(class_mean(values))
    assert f"AVGN, AUC {area:.1f}" in [text.get_text() for text in panel.get_legend().get_texts()]
    assert lines["centre"].get_color() == success.FLOORS["centre"][0]


def test_the_fitted_threshold_has_a_star_on_its_curve():
    figure = success.show_thresholds({"avgn": [1.0, 3.0, 2.0]}, [0.1, 0.2, 0.3], {"avgn": 0.3})
    (star,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.3, 2.0)


def test_the_highest_bar_is_on_top_and_squares_have_their_own_colour():
    figure = success.show_leaderboard({"union": [("a", 20.0, False), ("two squares", 70.0, True)]})
    bars = figure.axes[0].patches
    top = max(bars, key=lambda bar: bar.get_y())
    assert top.get_width() == 70
    assert mpl.colors.to_hex(top.get_facecolor()) == success.SQUARE


def test_squares_lie_where_they_are_said_to_and_pairs_share_a_row():
    figure = success.show_mean_truth({"wide": [[0.0, 1.0], [0.5, 0.5]]}, {"wide": [(0.25, 0.1, 0.75, 0.9)]})
    (square,) = figure.axes[0].patches
    assert (square.get_x(), square.get_width()) == (0.25, 0.5)
    figure = success.show_pairs({"avgn": {"own": 50.0, "silence": 20.0}, "ez_vsl": {"own": 30.0, "silence": 30.0}})
    panel = figure.axes[0]
    dots = {
        one.get_label(): one.get_offsets().tolist()
        for one in panel.collections
        if one.get_label() in ("own", "silence")
    }
    assert dots == {"own": [[50, 0], [30, 1]], "silence": [[20, 0], [30, 1]]}  # (number, row)
    assert [label.get_text() for label in panel.get_yticklabels()] == ["AVGN", "EZ-VSL"]
    assert panel.get_ylim()[0] > panel.get_ylim()[1]  # the first on top
    assert success.areas_of(torch.ones(2, 1, 3)) == [100, 100, 100]
