"""Pictures, players and tables: what they promise to a reader of a notebook."""

import io
from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import soundfile
import torch

from avnb import papers
from avnb.audio import LogMel
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.clips import Clip, SceneObject
from avnb.data.store import Store
from avnb.errors import DataError
from avnb.plots import (
    _as_seen,
    class_colours,
    heat_over,
    player,
    players,
    results_table,
    show_clips,
    show_curves,
    show_heatmaps,
    show_spectrograms,
    show_tsne,
)

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
    seen = _as_seen(np.array([class_colours(MUSIC)[label] for label in MUSIC]))
    for eye in range(3):
        for first in range(11):
            for second in range(first):
                # Okabe and Ito's own closest pair is 0.076 apart in Oklab; 0.02 is a just noticeable difference.
                assert np.linalg.norm(seen[first, eye] - seen[second, eye]) > 0.07


def test_protanopes_see_red_and_green_closer_together_than_others_do():
    normal, protanope, _ = np.moveaxis(_as_seen(np.array([[0.8, 0.2, 0.2], [0.3, 0.5, 0.1]])), 1, 0)
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


def test_curves_without_an_epoch_are_an_error():
    with pytest.raises(DataError, match="no epoch is finished"):
        show_curves([])


def test_tsne_is_the_same_in_every_run_and_measures_the_features():
    generator = torch.Generator().manual_seed(0)
    labels = ["cello", "flute", "tuba"] * 8
    centres = 20 * torch.eye(3).repeat(8, 1)
    points = {"apart": (centres + torch.rand(24, 3, generator=generator), labels)}
    first, second = (show_tsne(points).axes[0] for _ in range(2))
    assert first.get_title() == "apart: NMI 1.00"
    np.testing.assert_array_equal(first.collections[0].get_offsets(), second.collections[0].get_offsets())


def test_tsne_of_four_points_is_an_error():
    with pytest.raises(DataError, match="at least 5 points, and there are 4"):
        show_tsne({"few": (torch.rand(4, 3), ["cello"] * 4)})


def test_a_figure_is_closed_when_a_notebook_has_shown_it(capsys: pytest.CaptureFixture):
    pytest.importorskip("IPython")
    figure = show_curves([{"epoch": 1, "total": 1.0, "val_loss": 1.0}])
    figure._ipython_display_()
    assert not plt.fignum_exists(figure.number)
    assert "Image object" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------------- players


def heard(waveform: torch.Tensor, rate: int) -> tuple[np.ndarray, int]:
    return soundfile.read(io.BytesIO(player(waveform, rate).data), dtype="float32")


def test_a_player_holds_the_sound_it_was_given():
    pytest.importorskip("IPython")
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(22_050) / 22_050)
    samples, rate = heard(tone, 22_050)
    assert rate == 22_050
    assert len(samples) == pytest.approx(22_050, abs=2 * 1152)  # MP3 has whole frames of 1,152 samples
    assert np.abs(np.fft.rfft(samples, 22_050)).argmax() == 440
    assert np.sqrt(np.mean(samples[4000:18_000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_a_sum_that_is_too_loud_is_scaled_down_and_not_cut_off():
    pytest.importorskip("IPython")
    tone = 1.8 * torch.sin(2 * torch.pi * 440 * torch.arange(22_050) / 22_050)
    samples, _ = heard(tone, 22_050)
    spectrum = np.abs(np.fft.rfft(samples[4000 : 4000 + 11_025]))
    assert spectrum[3 * 220] < 0.01 * spectrum[220]  # a clipped sine has a third harmonic


def test_a_player_has_the_same_bytes_in_every_run_and_is_small():
    pytest.importorskip("IPython")
    noise = torch.rand(3 * 22_050, generator=torch.Generator().manual_seed(0)) - 0.5
    assert player(noise, 22_050).data == player(noise, 22_050).data
    assert len(player(noise, 22_050).data) < 30_000


def test_a_rate_that_mp3_does_not_have_is_an_error():
    pytest.importorskip("IPython")
    with pytest.raises(DataError, match="1234 Hz cannot be played"):
        player(torch.zeros(2000), 1234)


def test_players_are_named():
    pytest.importorskip("IPython")
    page = players({"cello": torch.zeros(4000), "<b>": torch.zeros(4000)}, 8000).data
    assert page.count("<audio controls") == page.count("data:audio/mpeg;base64,") == 2
    assert "cello" in page
    assert "&lt;b&gt;" in page


# -------------------------------------------------------------------------------------------------------------- tables


def rows(origin: str = "stand-in", **changed: object) -> list[dict]:
    protocol = {
        "benchmark": "music", "subset": "duet", "sources": 2, "geometry": "side_by_side", "threshold_rule": "top_half",
        "clips": 132, "origin": origin,
    }  # fmt: skip
    methods = [("avgn", "oracle", 52.31), ("avgn", "predicted", 48.2), ("centre", "none", 25.6)]
    return [{"method": name, **protocol, "classes": how, "CAP": cap} | changed for name, how, cap in methods]


def test_a_table_carries_its_protocol():
    said = repr(results_table(rows()))
    for part in ("music", "stand-in data", "duet", "2 sounding", "side by side", "top_half", "132 clips"):
        assert part in said.splitlines()[0]
    assert "oracle = the true ones are given, predicted = the method's own" in said


def test_what_differs_between_rows_is_a_column_and_not_in_the_caption():
    table = results_table([*rows(), *rows(subset="solo", sources=1)])
    assert list(table.data.columns) == ["classes", "subset", "sources", "CAP"]
    assert "duet" not in repr(table).splitlines()[0]


def test_published_rows_beside_a_stand_in_are_not_comparable():
    table = results_table(rows(), papers.avgn.table2["MUSIC-Duet"])
    groups = [group for group, _ in table.data.index]
    assert groups == ["this project"] * 2 + ["needs no model"] + ["published (not comparable: stand-in)"] * 9
    assert table.data.iloc[-1].tolist() == ["–", "50.6", "57.2", "32.5", "24.6"]


def test_published_rows_beside_real_data_are_plain():
    table = results_table(rows(origin="real"), papers.avgn.table2["MUSIC-Duet"])
    assert table.data.index[-1] == ("published", "AVGN")


def test_the_oracles_ceiling_is_not_taken_for_oracle_classes():
    (line,) = results_table([rows()[0] | {"method": "oracle", "classes": "none"}]).data.index
    assert line == ("needs no model", "oracle (the ceiling)")


def test_a_number_that_is_not_there_is_a_dash():
    table = results_table([rows()[0] | {"CAP": float("nan")}, rows()[1] | {"AUC": 3.0}])
    assert table.data[["CAP", "AUC"]].to_numpy().tolist() == [["–", "–"], ["48.2", "3.0"]]


def test_a_table_is_the_same_html_in_every_run():
    assert results_table(rows()).to_html() == results_table(rows()).to_html()


def test_a_name_cannot_break_the_page():
    page = results_table(rows(benchmark="<script>", method="<b>")).to_html()
    assert "<script>" not in page
    assert "<b>" not in page
