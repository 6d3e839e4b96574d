"""Pointing at a place in the frame: what is heard there, how loud, and the sliders without any kernel."""

import pytest
import torch

from avnb.models.one_avm import OneAVM, OneAVMSettings
from avnb.viewing.players import player
from avnb.viewing.pointing import REACH, HearingSettings, Places, hear_places, sound_map

ipywidgets = pytest.importorskip("ipywidgets", reason="ipywidgets comes with the notebooks extra")


@pytest.fixture(scope="module")
def scene():
    """An untrained network, a wide frame of 4 x 8 places and a second of noise."""
    torch.manual_seed(0)
    method = OneAVM(OneAVMSettings(preset="quick").resolve("cpu"), 4).eval()
    frame = torch.randint(256, (3, 64, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return method, frame, 0.1 * torch.randn(22_050, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def places(scene):
    return Places(*scene)


def test_the_sound_of_a_place_is_separated_by_the_maximum_around_it(scene, places):
    method, frame, mixture = scene
    with torch.inference_mode():
        visual = method.see(frame[None])
        part = visual[:, :, max(0, 1 - REACH) : 1 + REACH + 1, 7 - REACH : 8].amax(dim=(2, 3))
        plain = method.separate_by(part[:, None], mixture[None])[0, 0]
    torch.testing.assert_close(places.sound(1, 7), plain)


def test_loudness_is_the_energy_that_each_places_mask_lets_through(scene, places):
    method, _, mixture = scene
    waveform = method.resample(mixture[None])
    with torch.inference_mode():
        power = (
            method.spectrogram.filterbank
            @ torch.stft(waveform, 1024, 260, window=torch.hann_window(1024), pad_mode="constant", return_complex=True)
            .abs()
            .square()
        )
        mask = method.masks(method.of_place(places.visual, 2, 3, REACH)[:, None], waveform)[:, 0]
        plain = 10 * torch.log10((mask.square() * power).sum() / power.sum())
    assert places.loudness.shape == (4, 8)
    assert float(places.loudness[2, 3]) == pytest.approx(float(plain), abs=1e-3)


def test_sliding_changes_the_picture_the_sound_and_what_is_said(scene):
    picture, across, down, sound, said = hear_places(*scene).children
    before = (picture.value, sound.value, said.value)
    across.value, down.value = 0, 3
    after = (picture.value, sound.value, said.value)
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert bytes(after[0]).startswith(b"\x89PNG")
    across.value, down.value = 4, 2
    assert (picture.value, sound.value, said.value) == before


def test_only_widgets_that_carry_their_value_are_used(scene):
    """Output areas and interact() make papermill wait for ever."""
    kinds = {type(child).__name__ for child in hear_places(*scene).children}
    assert kinds == {"Image", "IntSlider", "Audio", "HTML"}


def test_the_frame_of_a_place_at_the_border_stays_in_the_picture(places):
    for row, column in ((0, 0), (3, 7)):
        assert places.picture(row, column).shape == (64, 128, 3)


def test_the_duet_is_a_setting():
    assert HearingSettings(duet=3).resolve("cpu").duet == 3


def test_the_page_holds_the_sound_and_the_loudness_of_the_middle_of_each_part(scene, places):
    page = sound_map(*scene, rows=2, columns=4, seconds=0.5).data
    assert page.count("<button") == 8
    heard = places.sound(3, 5)  # the middle of the last part but one: row 1 of 2 over 4, column 2 of 4 over 8
    last_but_one = page.split("<button")[7]
    start = heard[: round(0.5 * scene[0].rate)]
    assert player(start, scene[0].rate).src_attr() in last_but_one
    assert f">{places.level(heard):.0f} dB<" in last_but_one


def test_the_page_is_the_same_in_every_run(scene):
    assert sound_map(*scene, rows=1, columns=2).data == sound_map(*scene, rows=1, columns=2).data
