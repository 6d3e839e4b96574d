"""Sound of Pixels' logarithmic rows of frequency: where they read, what they lose, and how masks come back."""

import math

import numpy as np
import pytest
import torch

from avnb.networks.separation_masks import apply_masks, loudness_weights, ratio_to_mixture, source_masks
from avnb.networks.spectrograms import LogFrequency, LogMel, stft

FRONT = LogFrequency()
W, U = FRONT.filterbank, FRONT.spread()


def places() -> np.ndarray:
    """The bins that the rows read."""
    y = np.linspace(-1, 1, 256)
    return ((21 ** ((y + 1) / 2) - 11) / 10 + 1) / 2 * 511


def test_rows_read_the_bins_of_the_released_codes_warp():
    read = (W.double() @ torch.arange(512, dtype=torch.float64)).numpy()
    assert np.abs(read - places()).max() < 1e-4
    first = [0, 0.307, 0.617, 0.932, 1.250, 1.572, 1.897, 2.227]
    assert np.abs(read[:8] - first).max() < 1e-3
    assert abs(read[-1] - 511) < 1e-4
    assert abs(np.diff(read).max() - 6.368) < 1e-3
    assert int((W.sum(dim=0) == 0).sum()) == 175  # bins that no row reads


def test_the_way_back_is_the_inverse_of_the_way_there():
    y = np.linspace(-1, 1, 101)
    there = (21 ** ((y + 1) / 2) - 11) / 10
    back = 2 * np.log(10 * there + 11) / math.log(21) - 1
    assert np.abs(back - y).max() < 1e-14
    rows = (U.double() @ torch.arange(256, dtype=torch.float64)).numpy()
    expected = (2 * np.log(10 * np.linspace(-1, 1, 512) + 11) / math.log(21) - 1 + 1) / 2 * 255
    assert np.abs(rows - expected).max() < 1e-4


def test_rows_of_both_matrices_add_up_to_one_and_ones_come_back_as_ones():
    for matrix in (W, U):
        torch.testing.assert_close(matrix.sum(dim=1), torch.ones(len(matrix)))
    torch.testing.assert_close(U @ (W @ torch.ones(512)), torch.ones(512))


@pytest.mark.parametrize(("samples", "rate", "hop", "frames"), [
    (65_535, 11_025, 256, 256), (95_800, 16_000, 375, 256), (16_383, 16_000, 64, 256), (33_075, 11_025, 256, 130),
    (33_075, 11_025, 260, 128),
])  # fmt: skip
def test_clips_have_the_frames_of_the_papers(samples, rate, hop, frames):
    front = LogFrequency(rate=rate, hop=hop)
    assert front(torch.zeros(1, samples)).shape == (1, 1, 256, frames)


def test_the_image_is_the_logarithm_of_the_rows_magnitudes():
    waveform = torch.randn(2, 9_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bins = stft(waveform, 1022, 256).abs()
    rows = torch.einsum("rf,bft->brt", W.double(), bins)
    for offset in (1e-10, 1.0):
        torch.testing.assert_close(LogFrequency(offset)(waveform)[:, 0], (rows + offset).log())
    torch.testing.assert_close(FRONT.magnitudes(stft(waveform, 1022, 256)), rows)


@pytest.mark.parametrize("front", [LogFrequency(), LogMel()], ids=["rows", "mel"])
def test_the_image_of_the_magnitudes_is_the_image_of_the_waveform(front):
    waveform = torch.randn(2, 9_000, generator=torch.Generator().manual_seed(0))
    magnitudes = front.magnitudes(stft(waveform, front.n_fft, front.hop))
    torch.testing.assert_close(front.image_of(magnitudes), front(waveform)[:, 0])


def test_ideal_masks_lose_about_half_a_decibel_on_the_way_there_and_back():
    t = torch.arange(33_075, dtype=torch.float64) / 11_025
    pair = torch.stack([
        sum(torch.sin(2 * math.pi * pitch * k * t) / k for k in range(1, 6)) * torch.exp(-((3 * t + shift) % 1))
        for pitch, shift in ((196.0, 0.0), (293.7, 0.4))
    ])[None]  # fmt: skip
    spectra, mixture = stft(pair, 1022, 256), stft(pair.sum(dim=1), 1022, 256)
    straight = source_masks(spectra.abs(), mixture.abs(), "half_mixture")
    warped = source_masks(FRONT.magnitudes(spectra), FRONT.magnitudes(mixture), "half_mixture")
    reached = [
        10 * torch.log10(pair.square().sum(-1) / (pair - apply_masks(pair.sum(dim=1), m, 1022, 256)).square().sum(-1))
        for m in (straight, (U.double() @ warped > 0.5).double())
    ]
    assert float((reached[0] - reached[1]).mean().abs()) < 2
    assert float(reached[1].mean()) > 10


def test_the_ratio_to_the_mixture_and_the_weights_are_what_they_say():
    sources = torch.tensor([[[[3.0, 9.0, 0.0]], [[1.0, 8.0, 0.0]]]])
    mixture = torch.tensor([[[4.0, 1.0, 0.0]]])
    assert ratio_to_mixture(sources, mixture).flatten().tolist() == [0.75, 5.0, 0.0, 0.25, 5.0, 0.0]
    expected = [math.log(5), math.log(2), 1e-3, 10.0]
    assert loudness_weights(torch.tensor([4.0, 1.0, 0.0, 1e9])[None]).flatten().tolist() == pytest.approx(expected)
