"""Notes of the SoundFont: in tune, as long as asked, soft when struck softly, and what happens with a broken file."""

import numpy as np
import pytest

from avnb.errors import DataError
from avnb.standin.soundfont import RATE, SoundFont, general_midi
from avnb.standin.sounds import PLAYERS

VIOLIN, XYLOPHONE = 40, 13


def pitch_of(sound: np.ndarray, key: int) -> float:
    """Return the deviation from ``key``, in cents, that catches most of the first eight harmonics."""
    sound = sound[RATE // 5 : RATE] * np.hanning(RATE - RATE // 5)
    spectrum = np.abs(np.fft.rfft(sound, 1 << 18))
    frequencies = np.arange(len(spectrum)) * RATE / (1 << 18)
    tried = np.arange(-120, 121, 3)
    strengths = [
        sum(np.interp(440 * 2 ** ((key - 69 + cents / 100) / 12) * h, frequencies, spectrum) for h in range(1, 9))
        for cents in tried
    ]
    return float(tried[np.argmax(strengths)])


@pytest.mark.parametrize(("program", "key"), [(VIOLIN, 69), (42, 48), (71, 60), (73, 72), (56, 65), (58, 36), (24, 52)])
def test_a_note_is_in_tune(program, key):
    # Recorded flutes and trumpets waver; 20 cents is a fifth of a semitone.
    assert abs(pitch_of(general_midi().note(program, key, 1.2, 100), key)) <= 20


def test_a_bend_of_a_semitone_is_the_next_key():
    bent = general_midi().note(VIOLIN, 70, 1.2, 100, np.full(50, 100.0))
    assert abs(pitch_of(bent, 71)) <= 6


def test_a_bowed_note_lasts_and_a_struck_one_dies():
    bowed, struck = (general_midi().note(program, 79, 1.0, 100) for program in (VIOLIN, XYLOPHONE))
    loud = [
        np.sqrt(np.mean(s[round(0.5 * RATE) : round(0.6 * RATE)] ** 2) / np.mean(s[:4410] ** 2))
        for s in (bowed, struck)
    ]
    assert loud[0] > 0.5
    assert loud[1] < 0.1


def test_a_soft_note_is_softer_and_darker():
    soft, hard = (general_midi().note(VIOLIN, 69, 1.0, velocity) for velocity in (40, 120))
    spectra = [np.abs(np.fft.rfft(sound)) ** 2 for sound in (soft, hard)]
    high = [s[len(s) // 8 :].sum() / s.sum() for s in spectra]
    assert spectra[0].sum() < spectra[1].sum() / 10
    assert high[0] < high[1]


def test_every_key_that_is_played_sounds():
    for player in PLAYERS.values():
        for program, low, high in player.voices:
            for key in range(low, high + 1, 3):
                assert np.abs(general_midi().note(program, key, 0.2, 100)).max() > 0.003, (program, key)


def test_a_file_that_is_no_soundfont_is_said_to_be_none(tmp_path):
    (tmp_path / "broken.sf2").write_bytes(b"RIFF\x04\x00\x00\x00sfbk")
    with pytest.raises(DataError, match=r"broken\.sf2 is not a SoundFont: it has no"):
        SoundFont(tmp_path / "broken.sf2")


def test_an_unknown_program_is_an_error():
    with pytest.raises(DataError, match="no program 500"):
        general_midi().note(500, 60, 1.0, 100)
