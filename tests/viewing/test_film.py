"""What readers without a kernel get: the film is played, and the book leafed through, as a browser would."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from avnb.errors import DataError
from avnb.viewing.film import FRAME_RATE, TRACK, film, flip_book, show_film, show_picture
from avnb.viewing.painting import BAND, STAGE
from avnb.viewing.scrubber import scrub, scrub_frames


@pytest.fixture(scope="module")
def scrubber(tiny_store, judged_run, tmp_path_factory):
    return scrub(tiny_store, judged_run(tiny_store, tmp_path_factory.mktemp("outputs")))


@pytest.fixture(scope="module")
def mp4(scrubber):
    return film(scrubber, [0, 3], widest=300)


def decoded(mp4, kind):
    av = pytest.importorskip("av")
    with av.open(io.BytesIO(mp4)) as container:
        rgb = {"format": "rgb24"} if kind == "video" else {}
        return [frame.to_ndarray(**rgb) for frame in container.decode(**{kind: 0})]


def test_the_film_shows_every_clip_for_as_long_as_it_sounds(mp4, scrubber, tiny_store):
    pictures, sound = decoded(mp4, "video"), np.concatenate(decoded(mp4, "audio"), axis=1)
    assert len(pictures) == round(2 * tiny_store.shape.seconds * FRAME_RATE)
    lasts = sound.shape[1] / tiny_store.shape.rate
    assert lasts == pytest.approx(2 * tiny_store.shape.seconds, abs=0.3)  # AAC pads to whole packets of 1024 samples


def test_the_heat_rises_from_the_frame_as_it_is(mp4, scrubber):
    pictures = decoded(mp4, "video")
    plain, full = (scrubber.still(300, place=0, region=False, look=look) for look in looks(scrubber))
    first, last = (pictures[number][:-TRACK].astype(float) for number in (0, FRAME_RATE - 1))
    assert np.abs(first - plain).mean() < 6 < np.abs(first - full).mean()  # of 255; x264 loses the rest
    assert np.abs(last - scrubber.still(300, place=0)).mean() < np.abs(first - last).mean() / 2


def looks(scrubber):
    from dataclasses import replace

    return replace(scrubber.view.look, opacity=0.0), scrubber.view.look


def test_the_film_is_heard(mp4):
    assert np.abs(np.concatenate(decoded(mp4, "audio"), axis=1)).max() > 0.1


def test_the_film_is_the_same_in_every_run(mp4, scrubber):
    assert film(scrubber, [0, 3], widest=300) == mp4


def test_the_player_holds_the_film(mp4):
    [source] = re.findall(r'src="data:video/mp4;base64,([^"]+)"', show_film(mp4).data)
    assert base64.b64decode(source) == mp4


def test_scenes_without_sounds_of_their_own_make_no_film(scrubber):
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    video = scrub_frames(frames, scrubber.reel.maps["avgn"][:2], ("a", "b"), (0.0, 0.5), None, 8000)
    with pytest.raises(DataError, match=r"avnb\.localize_video writes its film"):
        film(video, [0])


def test_the_book_has_a_page_a_place_and_shows_the_first(scrubber):
    page = flip_book(scrubber, [2, 5, 7]).data
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 3
    assert page.count("<figure hidden>") == 2
    assert 'max="2"' in page
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[1])))).astype(float)
    own, other = (np.abs(shown - scrubber.still(560, place=place)).mean() for place in (5, 7))
    assert own < other / 2  # JPEG loses some of the tiny frames' noise


def test_a_picture_is_shown_as_it_was_painted(scrubber):
    still = scrubber.still(300)
    shown = np.asarray(Image.open(io.BytesIO(show_picture(still, 90).data)))
    assert np.abs(shown.astype(float) - still).mean() < 6


def test_a_sheet_has_a_row_a_source_and_a_column_a_method(scrubber):
    sheet = scrubber.sheet([0, 4], panel=100)
    side = (sheet.shape[1] - 8) // 2  # the frame and one method
    assert sheet.shape[0] == 26 + 4 * (BAND + side) + 3 * 8
    assert (sheet[26 + BAND + side] == STAGE).all()  # the gap under the first row


def test_a_sheet_of_more_methods_than_are_across_goes_on_below_itself(tiny_store, judged_run, tmp_path):
    runs = [judged_run(tiny_store, tmp_path, name) for name in ("avgn", "ez_vsl", "one_avm")]
    scrubber = scrub(tiny_store, runs)
    beside, below = scrubber.sheet([0], panel=60), scrubber.sheet([0], panel=60, across=2)
    assert [sheet.shape[1] for sheet in (beside, below)] == [4 * 68 - 8, 3 * 68 - 8]
    top, bottom = np.split(below, 2)
    assert (top[:, :50] == bottom[:, :50]).all()  # the frames stand in front of both parts
    assert (bottom[26:, 130:] == STAGE).all()  # the third method has no neighbour
    assert (top[26:, 130:] != STAGE).any()
