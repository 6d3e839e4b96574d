"""Players: the sound that was given, small, and the same bytes in every run."""

import io

import numpy as np
import pytest
import soundfile
import torch

from avnb.errors import DataError
from avnb.viewing.players import player, players


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
