"""Pictures: what they promise to a reader of a notebook."""

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from avnb.data.benchmarks import BENCHMARKS
from avnb.data.clips import Clip, SceneObject
from avnb.data.store import Store
from avnb.errors import DataError
from avnb.networks.spectrograms import LogMel
from avnb.viewing.colours import LINES, as_seen, class_colours
from avnb.viewing.plots import heat_over, show_clips, show_curves, show_heatmaps, show_spectrograms

MUSIC = BENCHMARKS["music"].classes
VGG_SOUND = [f"class {number}" for number in range(221)]


@pytest.fixture(autouse=True)
def _no_windows() -> Iterator[None]:
    with mpl.rc_context({"backend": "agg"}):
        yield
        plt.close("all")


def texts(panel: plt.Axes) -> list[str]:
    return [text.get_text() for text in panel.texts]


# ------------------------------------------------------------------------------------------------------------- colours


def test_221_classes_have_221_colours():
    assert len(set(class_colours(VGG_SOUND).values())) == 221


def test_a_music_class_has_one_colour_in_every_data_set():
    alone, among_others = class_colours(["tuba"]), class_colours(["piano", *reversed(MUSIC), "drums"])
    assert alone["tuba"] == among_others["tuba"]
    assert len(set(among_others.values())) == 13


def test_classes_added_at_the_end_leave_the_others_their_colours():
    few, many = class_colours(VGG_SOUND[:11]), class_colours(VGG_SOUND)
    assert all(few[label] == many[label] for label in few)


def test_musics_colours_stay_apart_for_colour_blind_eyes():
    seen = as_seen(np.array([class_colours(MUSIC)[label] for label in MUSIC]))
    for eye in range(3):
        for first in range(11):
            for second in range(first):
                # Okabe and Ito's own closest pairs are 0.156 and 0.076 apart in Oklab; 0.02 is just noticeable.
                least = 0.15 if eye == 0 else 0.07
                assert np.linalg.norm(seen[first, eye] - seen[second, eye]) > least


def test_no_two_of_musics_colours_are_shades_of_one_hue():
    """Of nearly equal hue (25 degrees) are only colours that differ in lightness too."""
    lightness, green_red, blue_yellow = as_seen(np.array([class_colours(MUSIC)[label] for label in MUSIC]))[:, 0].T
    hue = np.degrees(np.arctan2(blue_yellow, green_red))
    apart = np.abs((hue[:, None] - hue + 180) % 360 - 180)
    alike = (apart < 25) & (np.abs(lightness[:, None] - lightness) < 0.15)
    assert alike.sum() == len(MUSIC)  # each with itself


def test_protanopes_see_red_and_green_closer_together_than_others_do():
    normal, protanope, _ = np.moveaxis(as_seen(np.array([[0.8, 0.2, 0.2], [0.3, 0.5, 0.1]])), 1, 0)
    assert np.linalg.norm(protanope[0] - protanope[1]) < 0.5 * np.linalg.norm(normal[0] - normal[1])


# ------------------------------------------------------------------------------------------------------------ pictures


def test_silent_objects_are_dashed_and_named_on_white():
    frame, sound = np.zeros((40, 40, 3), np.uint8), np.zeros(100, np.float32)
    things = (SceneObject("cello", (0.1, 0.2, 0.4, 0.9)), SceneObject("flute", (0.5, 0.5, 0.9, 0.9), sounding=False))
    panel = show_clips([Clip("a", frame, sound, 8000, things)]).axes[0]
    assert [outline.get_linestyle()[0][1] is None for outline in panel.collections] == [True, False]
    assert texts(panel) == ["cello", "flute"]
    assert panel.texts[1].get_bbox_patch().get_facecolor() == (1, 1, 1, 1)


def test_a_box_is_outlined_where_there_is_no_mask():
    frame, sound = np.zeros((50, 100, 3), np.uint8), np.zeros(100, np.float32)
    clip = Clip("a", frame, sound, 8000, (SceneObject("cello", (0.1, 0.2, 0.4, 0.8)),))
    corners = show_clips([clip]).axes[0].collections[0].get_paths()[0].vertices
    # A contour at 0.5 runs half a pixel outside the pixels 10..39 x 10..39.
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [[9.5, 9.5], [39.5, 39.5]])


def test_clips_of_a_store_are_shown_without_ticks(tiny_store: Store):
    figure = show_clips([tiny_store.clip(index) for index in range(5)], columns=3, title="five clips")
    assert [axis.get_visible() for axis in figure.axes] == [True] * 5 + [False]
    assert all(len(axis.get_xticks()) == len(axis.get_yticks()) == 0 for axis in figure.axes[:5])


def test_heatmaps_have_a_panel_a_source_with_its_name_and_score():
    frames, truth = torch.zeros(2, 3, 32, 64, dtype=torch.uint8), torch.zeros(2, 2, 32, 64)
    truth[:, 0, 5:20, 5:20], truth[:, 1, 5:20, 40:60] = 1, 1
    names = [["cello", "acoustic_guitar"]] * 2
    scores = torch.tensor([[0.5, 0.25], [1.0, 0.0]])
    figure = show_heatmaps(frames, torch.rand(2, 2, 4, 8), truth, names, scores)
    assert [texts(axis) for axis in figure.axes] == [
        [], ["cello   AP 50"], ["acoustic guitar   AP 25"], [], ["cello   AP 100"], ["acoustic guitar   AP 0"],
    ]  # fmt: skip


def test_wide_frames_stay_wide():
    figure = show_heatmaps(
        torch.zeros(1, 3, 32, 64, dtype=torch.uint8), torch.rand(1, 1, 4, 8), torch.ones(1, 1, 32, 64), [["cello"]]
    )
    figure.canvas.draw()
    for axis in figure.axes:
        box = axis.get_window_extent()
        assert box.width / box.height == pytest.approx(2, rel=0.01)


def test_heat_is_scaled_to_the_map_and_covers_a_grey_frame():
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[..., 0] = 200  # red
    heat = np.linspace(-3, 5, 16).reshape(4, 4)
    painted = heat_over(frame, heat)
    np.testing.assert_array_equal(painted, heat_over(frame, 10 * heat + 7))
    grey = 0.3 + 0.7 * 0.299 * 200 / 255
    inferno = mpl.colormaps["inferno"]
    for place, value in (((0, 0), 0.0), ((3, 3), 1.0)):
        cover = 0.2 + 0.55 * value
        expected = 255 * ((1 - cover) * grey + cover * np.array(inferno(value)[:3]))
        np.testing.assert_allclose(painted[place], expected, atol=0.51)  # rounded to whole numbers


def test_a_constant_map_has_no_heat():
    frame = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    np.testing.assert_array_equal(heat_over(frame, np.full((4, 4), 0.7)), heat_over(frame, np.zeros((4, 4))))


def test_spectrograms_have_seconds_and_hertz():
    front = LogMel()
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(3 * front.rate) / front.rate)
    image = front(tone[None])[0, 0]
    panel = show_spectrograms([image], ["a tone"], front.rate, front.hop, [front.filterbank]).axes[0]
    assert panel.get_xlim()[1] == pytest.approx(3, abs=front.hop / front.rate)
    ticks = {label.get_text(): place for label, place in zip(panel.get_yticklabels(), panel.get_yticks(), strict=True)}
    loudest = int(image.mean(dim=1).argmax())
    # The tone's frequency falls in its loudest band, or at most as near to the next band's middle as to this one's.
    assert abs(ticks["1000"] - (loudest + 0.5)) <= 0.5


def test_rows_of_a_linear_spectrogram_are_spread_evenly():
    panel = show_spectrograms([torch.rand(257, 10)], ["noise"], 10_000, 250).axes[0]
    ticks = {label.get_text(): place for label, place in zip(panel.get_yticklabels(), panel.get_yticks(), strict=True)}
    assert ticks["4000"] == pytest.approx(257 * 4000 / 5000)


def test_curves_mark_the_last_of_the_best_epochs():
    history = [
        {"epoch": k + 1, "stage": "all", "loc": 1.0, "total": 2.0, "val_loss": 3.0, "val_ap": ap, "seconds": 1.0}
        for k, ap in enumerate([10.0, 40.0, 40.0, 30.0])
    ]
    losses, scores = show_curves(history).axes
    assert scores.get_title() == "kept: epoch 3 of 4, with 40.0"
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["loc", "total", "val loss"]


def test_curves_without_ground_truth_mark_the_lowest_validation_loss():
    history = [{"epoch": k + 1, "total": 1.0, "val_loss": loss} for k, loss in enumerate([3.0, 1.0, 2.0])]
    (panel,) = show_curves(history).axes
    assert [line.get_xdata()[0] for line in panel.lines if len(line.get_xdata()) == 2] == [2]


def test_a_first_epoch_that_would_flatten_the_rest_leaves_the_panel_and_is_named():
    totals = [30.0, 3.0, 2.5, 2.2, 2.0]
    history = [{"epoch": k + 1, "total": total, "val_loss": 2.0} for k, total in enumerate(totals)]
    panel = show_curves(history).axes[0]
    assert panel.get_ylim()[1] < 4
    assert panel.get_title() == "the training loss goes from 30.00 (above the panel) to 2.00"


def test_the_title_of_curves_of_several_stages_is_of_the_last():
    totals = [("one", 9.0), ("one", 8.0), ("two", 0.5), ("two", 0.25)]
    history = [
        {"epoch": k + 1, "stage": stage, "total": total, "val_loss": 2.0, "val_ap": 50.0, "val_ap_predicted": 40.0}
        for k, (stage, total) in enumerate(totals)
    ]
    losses, scores = show_curves(history).axes
    assert losses.get_title() == "the last stage's loss goes from 0.50 to 0.25"
    assert scores.get_ylabel() == "validation AP (%)"


def test_maps_with_a_unit_share_one_scale_and_its_bar():
    frames, truth = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 2, 32, 32)
    maps = torch.tensor([[[[-20.0]], [[-5.0]]]])
    figure = show_heatmaps(frames, maps, truth, [["a", "b"]], unit="dB")
    assert figure.axes[-1].get_ylabel() == "dB"
    assert figure.axes[-1].get_ylim() == (-20, -5)


def test_spectrograms_with_limits_have_one_bar():
    figure = show_spectrograms([torch.rand(8, 8)] * 3, list("abc"), 8000, 100, limits=(0.0, 2.0))
    assert len(figure.axes) == 4
    assert {image.get_clim() for axis in figure.axes[:3] for image in axis.images} == {(0.0, 2.0)}


def test_lines_have_no_colour_of_a_music_class():
    music = as_seen(np.array([class_colours(MUSIC)[label] for label in MUSIC]))
    lines = as_seen(np.array([mpl.colors.to_rgb(colour) for colour in LINES]))
    apart = np.linalg.norm(music[:, None] - lines, axis=-1).min(axis=(0, 1))
    assert apart[0] > 0.07
    assert apart.min() > 0.035  # 0.02 is just noticeable


def test_curves_without_an_epoch_are_an_error():
    with pytest.raises(DataError, match="no epoch is finished"):
        show_curves([])


def test_a_figure_is_closed_when_a_notebook_has_shown_it(capsys: pytest.CaptureFixture):
    pytest.importorskip("IPython")
    figure = show_curves([{"epoch": 1, "total": 1.0, "val_loss": 1.0}])
    figure._ipython_display_()
    assert not plt.fignum_exists(figure.number)
    assert "Image object" in capsys.readouterr().out
