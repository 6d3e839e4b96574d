"""The scrubber is driven from Python as a page would drive it, and shows what the metrics say."""

import asyncio
import io

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avnb.data.build import open_store
from avnb.data.store import ClipShape
from avnb.errors import DataError, RunError, SettingsError
from avnb.evaluation.scores import score
from avnb.evaluation.trials import Trial
from avnb.metrics.localization import threshold_rule, upsample
from avnb.viewing.painting import GAP, Look, Panel, headed, outlines, paint
from avnb.viewing.scrubber import EVERY, scrub, scrub_frames

RATE = 8000


@pytest.fixture(scope="module")
def runs(tiny_store, judged_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    return [judged_run(tiny_store, folder, name, noise) for name, noise in (("avgn", 0.5), ("ez_vsl", 2.0))]


@pytest.fixture
def scrubber(tiny_store, runs):
    return scrub(tiny_store, runs)


@pytest.fixture
def video():
    """Frames, maps, names and times of two seconds: a square that moves to the right, heard by the second source."""
    frames = np.full((8, 40, 60, 3), 120, np.uint8)
    maps = torch.zeros(8, 2, 10, 15)
    for k in range(8):
        frames[k, 8:24, 6 * k : 6 * k + 16] = (220, 40, 40)
        maps[k, 1, 2:6, round(1.5 * k) : round(1.5 * k) + 4] = (k + 1) / 8
    return frames, maps, ("cello", "drum"), np.arange(8) / 4


def picture(scrubber):
    return np.asarray(Image.open(io.BytesIO(scrubber.picture.value)))


def choose(scrubber, label):
    scrubber.clips.value = next(number for name, number in scrubber.clips.options if name == label)


def test_every_kind_of_mixture_is_offered_and_one_with_several_sources_is_shown_first(scrubber):
    assert scrubber.reels[0].label == "solo"
    assert {"duet, side by side", "duet, one frame"} <= {reel.label for reel in scrubber.reels}
    assert scrubber.reel.sources == 2


def test_moving_the_slider_changes_picture_caption_sound_and_scores(scrubber):
    shown = []
    for place in (1, 2):
        scrubber.slider.value = place
        shown.append((scrubber.picture.value, scrubber.caption.value, scrubber.audio.value, scrubber.scores.value))
    assert all(before != after for before, after in zip(*shown, strict=True))


def test_a_position_seen_before_is_not_painted_again(scrubber):
    scrubber.slider.value = 2
    first, painted = scrubber.picture.value, scrubber._jpeg.cache_info().misses
    scrubber.slider.value = 3
    scrubber.slider.value = 2
    assert scrubber.picture.value == first
    assert scrubber._jpeg.cache_info().misses == painted + 1


def test_in_an_idle_kernel_the_next_picture_is_painted_ahead(scrubber):
    async def go():
        for place in (4, 3):
            scrubber.slider.value = place
        await asyncio.sleep(0.5)
        painted = scrubber._jpeg.cache_info().misses
        scrubber.slider.value = 2  # the direction of the last step
        return scrubber._jpeg.cache_info().misses - painted

    assert asyncio.run(go()) == 0


@pytest.mark.parametrize("label", ["solo", "duet, side by side", "duet, one frame"])
def test_scores_are_those_of_evaluate(scrubber, tiny_store, runs, label):
    choose(scrubber, label)
    reel, saved = scrubber.reel, runs[1].load_maps()
    key = {"solo": "solo-single", "duet, side by side": "duet-side_by_side", "duet, one frame": "duet-one_frame"}[label]
    truth = torch.stack([reel.read(place).truth for place in range(len(reel))])
    rule = threshold_rule("min_max(0.4)")
    trial = Trial.of_key(key, truth.shape[1])
    expected = score(upsample(saved[f"{key}/maps"].float(), truth.shape[-2:]), truth, rule, trial)
    shown = [reel.region("ez vsl", place, rule)[1] for place in range(len(reel))]
    np.testing.assert_allclose(reel.ap("ez vsl"), expected["ap"], rtol=1e-6)
    np.testing.assert_allclose(shown, expected["iou"], rtol=1e-6)


def test_the_table_says_the_scores_of_the_present_rule(scrubber):
    scrubber.rule.value = "min_max"
    scrubber.threshold.value = 0.7
    view = scrubber.view
    values = scrubber.reel.region("avgn", view.place, view.rule)[1]
    assert "min_max(0.7)" in scrubber.scores.value
    assert all(f"</div>{100 * value:.0f}</td>" in scrubber.scores.value for value in values)


@pytest.mark.parametrize(
    ("control", "value"),
    [
        ("opacity", 0.2), ("colour_map", "viridis"), ("region", False), ("truth", False), ("alike", True),
        ("method", "ez vsl"), ("method", EVERY), ("source", 1), ("rule", "fraction_of_max"),
    ],
)  # fmt: skip
def test_every_control_changes_the_picture(scrubber, control, value):
    before = scrubber.picture.value
    getattr(scrubber, control).value = value
    assert scrubber.picture.value != before


def test_at_opacity_0_without_lines_the_frame_is_seen_as_it_is(scrubber):
    choose(scrubber, "solo")
    still = scrubber.still(look=Look(opacity=0), region=False, truth=False)
    frame = scrubber.reel.read(scrubber.view.place).frames[0]
    expected = np.asarray(Image.fromarray(frame).resize(still.shape[1::-1], Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(still[40:], expected[40:])  # below the badge


def test_all_methods_side_by_side_stand_in_the_table_too(scrubber):
    scrubber.method.value = EVERY
    assert all(f"<td>{name}</td>" in scrubber.scores.value for name in ("AVGN", "EZ-VSL"))


def test_lowest_ap_first_shows_the_worst_clip_first(scrubber):
    scrubber.method.value = "ez vsl"
    scrubber.order.value = True
    ap = scrubber.reel.ap("ez vsl").mean(axis=1)
    assert ap[scrubber.view.place] == ap.min()
    scrubber.slider.value = len(ap)
    assert ap[scrubber.view.place] == ap.max()


def test_changing_the_kind_of_clips_goes_back_to_the_first(scrubber):
    scrubber.slider.value = 5
    choose(scrubber, "solo")
    assert (scrubber.slider.value, scrubber.slider.max) == (1, len(scrubber.reel))
    assert scrubber.source.layout.display == "none"


def test_what_is_played_is_the_mixture(scrubber, tiny_store):
    choose(scrubber, "duet, side by side")
    scrubber.slider.value = 3
    heard, rate = soundfile.read(io.BytesIO(scrubber.audio.value))
    mixture = Trial("duet", 2, "side_by_side").mixtures(tiny_store)[2]
    expected = tiny_store.read_waveforms(mixture).sum(dim=0).numpy()
    expected /= max(1, np.abs(expected).max())
    assert rate == tiny_store.shape.rate
    np.testing.assert_allclose(heard, expected, atol=1 / 2**14)  # 16 bits a sample


def test_only_widgets_that_carry_their_value_are_used(scrubber):
    """Output areas and interact() are what papermill hangs on (nbclient#312)."""
    seen, waiting = set(), [scrubber.box]
    while waiting:
        widget = waiting.pop()
        seen.add(type(widget).__name__)
        waiting += getattr(widget, "children", ())
    assert seen <= {
        "VBox", "HBox", "HTML", "Image", "Audio", "Play", "IntSlider", "FloatSlider", "Dropdown", "ToggleButtons",
        "Checkbox",
    }  # fmt: skip


def test_where_no_kernel_runs_the_picture_stands_for_the_widget(scrubber):
    bundle = scrubber._repr_mimebundle_()
    assert {"application/vnd.jupyter.widget-view+json", "image/jpeg"} <= set(bundle)


def test_the_saved_picture_is_larger_than_the_still_by_its_frame_and_moves_its_handle(scrubber):
    first = scrubber._saved()
    still = scrubber.still(600)
    assert first.shape[0] > still.shape[0] + 100
    scrubber.slider.value = len(scrubber.reel)
    last = scrubber._saved()
    row = slice(-120, -60)  # below the picture, where the slider is
    assert (first[row, :60] != last[row, :60]).any()
    assert (first[row, -160:-60] != last[row, -160:-60]).any()


def test_at_most_the_asked_number_of_clips_is_shown(tiny_store, runs):
    assert {len(reel) for reel in scrub(tiny_store, runs, clips=3).reels} == {3}


def test_one_map_for_all_sources_is_shown_for_each(tiny_store, runs, judged_run, tmp_path):
    run = judged_run(tiny_store, tmp_path, "ots")
    saved = run.load_maps()
    run.save_maps({name: value[:, :1] if name.endswith("/maps") else value for name, value in saved.items()})
    assert scrub(tiny_store, run).reel.sources == 2


def test_a_subset_may_be_called_by_a_name_with_a_hyphen(tiny_store, judged_run, tmp_path):
    run = judged_run(tiny_store, tmp_path)
    trial = Trial("test-2024", 2, "side_by_side")
    run.save_maps({key.replace("duet-side_by_side", trial.key): value for key, value in run.load_maps().items()})
    labels = [reel.label for reel in scrub(tiny_store, run).reels]
    assert "test-2024, side by side" in labels


def test_a_run_without_maps_is_refused_in_a_sentence(tiny_store, runs, judged_run, tmp_path):
    run = judged_run(tiny_store, tmp_path)
    (run.folder / "maps.safetensors").unlink()
    with pytest.raises(RunError, match=r"has no maps to look at: judge it with avnb\.evaluation\.judge"):
        scrub(tiny_store, run)


def test_maps_of_other_clips_are_refused(tiny_store, judged_run, tmp_path):
    run = judged_run(tiny_store, tmp_path)
    saved = run.load_maps()
    run.save_maps(saved | {"solo-single/classes": 3 - saved["solo-single/classes"]})
    with pytest.raises(RunError, match="judged on other clips than those of"):
        scrub(tiny_store, run)


def test_no_run_at_all_is_said(tiny_store):
    with pytest.raises(RunError, match="no runs to look at"):
        scrub(tiny_store, [])


def test_an_unknown_rule_is_said(tiny_store, runs):
    with pytest.raises(SettingsError, match='no threshold rule "half"'):
        scrub(tiny_store, runs, rule="half")


def test_a_map_with_a_nan_is_said(tiny_store, judged_run, tmp_path):
    run = judged_run(tiny_store, tmp_path)
    saved = run.load_maps()
    saved["solo-single/maps"][2] = float("nan")
    run.save_maps(saved)
    with pytest.raises(DataError, match=r'Maps of "avgn" \(solo\) hold a NaN'):
        scrub(tiny_store, run)


def test_a_video_is_played_at_its_own_pace_with_its_whole_sound(video):
    sound = np.sin(np.arange(2 * RATE) / 9).astype(np.float32)
    scrubber = scrub_frames(*video, sound, RATE)
    assert scrubber.play.interval == 250
    assert scrubber.source.options[1:] == (("cello", 0), ("drum", 1))
    heard = scrubber.audio.value
    scrubber.slider.value = 5
    assert scrubber.audio.value is heard
    assert "1.00 s of 1.75 s" in scrubber.caption.value


def test_in_a_video_heat_is_strongest_where_the_source_is_loudest(video):
    scrubber = scrub_frames(*video, None, RATE)
    hot = [
        np.ptp(scrubber.still(place=place, source=1, truth=False, region=False)[40:].astype(int), axis=2).max()
        for place in (0, 3, 7)
    ]
    assert hot[0] < hot[1] < hot[2]  # the frame is greyed and the badge is above: colour is heat


def test_a_video_without_sound_has_no_player(video):
    assert scrub_frames(*video, None, RATE).audio.layout.display == "none"


def test_frames_are_read_only_when_they_are_shown(video):
    frames, *rest = video
    asked = []

    class Lazy:
        def __len__(self):
            return len(frames)

        def __getitem__(self, place):
            asked.append(place)
            return frames[place]

    scrubber = scrub_frames(Lazy(), *rest, None, RATE)
    scrubber.slider.value = 4
    assert set(asked) == {0, 3}


def test_lengths_that_do_not_fit_are_said(video):
    frames, maps, names, seconds = video
    with pytest.raises(DataError, match=r"7 frames, 8 times and 2 names do not fit maps"):
        scrub_frames(frames[:7], maps, names, seconds, None, RATE)


def test_holes_are_left_out_of_an_outer_outline():
    ring = np.zeros((40, 40), bool)
    ring[5:35, 5:35], ring[12:28, 12:28] = True, False
    assert (len(outlines(ring)), len(outlines(ring, outer=True))) == (2, 1)
    [line] = outlines(ring, outer=True)
    np.testing.assert_allclose([line.min(axis=0), line.max(axis=0)], [[5, 5], [35, 35]])


def test_heat_lies_where_the_map_is_high():
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3] = 1
    grey = np.full((64, 64, 3), 128, np.uint8)
    painted = paint([[Panel(grey, heat)]], Look(opacity=1.0)).astype(int)
    hot, cold = painted[8, -8], painted[-8, 8]
    assert hot[0] > 200  # inferno ends in a pale yellow
    assert np.ptp(hot) > np.ptp(cold)


def test_panels_are_laid_out_in_rows_within_the_room():
    panel = Panel(np.zeros((224, 448, 3), np.uint8), np.zeros((2, 2), np.float32))
    height, width, _ = paint([[panel, panel], [panel]], Look(), widest=700, highest=500).shape
    assert (width, height) == (2 * 346 + 8, 2 * 172 + 8)  # 448 x 224 at 346 / 448, rows and columns even


def test_many_methods_side_by_side_are_laid_out_in_several_lines(tiny_store, judged_run, tmp_path):
    names = ("avgn", "ez_vsl", "one_avm", "ots", "dsol", "lvs", "dmc", "slavc")
    scrubber = scrub(tiny_store, [judged_run(tiny_store, tmp_path, name) for name in names])
    scrubber.clips.value = next(number for number, reel in enumerate(scrubber.reels) if reel.sources == 2)
    picture = scrubber.still(800, methods=tuple(scrubber.reel.maps))
    assert picture.shape[1] <= 800
    assert picture.shape[0] > 400  # 16 panels in two lines would be a strip of 200


@pytest.mark.timeout(120)
def test_a_step_is_quick(tiny_folder, judged_run, tmp_path):
    """On pictures of 224 pixels: painted well under 50 ms of CPU, and nothing to speak of when it is seen again."""
    import time

    store = open_store(tiny_folder, ClipShape(), progress=False)
    scrubber = scrub(store, judged_run(store, tmp_path))
    for _ in range(2):
        scrubber.source.value, spent = EVERY, []
        for place in range(1, len(scrubber.reel) + 1):
            before = time.process_time()
            scrubber.slider.value = place
            spent.append(time.process_time() - before)
    assert sorted(spent)[len(spent) // 2] < 0.005


def test_a_long_name_above_a_column_does_not_reach_into_the_next():
    pixels = np.zeros((10, 300, 3), np.uint8)
    short, long = headed(pixels, ["a", "b", "c"]), headed(pixels, ["a", "Mix-and-Localize, twice and more", "c"])
    column = (300 + GAP) // 3
    assert np.array_equal(short[:, 2 * column :], long[:, 2 * column :])
    assert not np.array_equal(short[:, :200], long[:, :200])


def test_no_run_at_all_is_a_sentence(tiny_store):
    with pytest.raises(RunError, match="There is no run to show"):
        scrub(tiny_store, {})
