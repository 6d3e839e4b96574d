"""What separates without learning: NMF groups that add up, and RPCA against a plain SVD and made-up truth."""

import numpy as np
import pytest
import torch

from avnb.models.baselines.nmf import separate_nmf
from avnb.models.baselines.rpca import _shrink_singular, robust_pca, separate_rpca

RATE = 11_025


@pytest.fixture(scope="module")
def duet() -> torch.Tensor:
    """A low tone that comes and goes, and a high one with overtones that goes and comes: [sources, time]."""
    time = torch.arange(RATE) / RATE
    low = 0.3 * torch.sin(2 * np.pi * 150 * time) * (torch.sin(2 * np.pi * 2 * time) > 0)
    high = sum(0.1 * torch.sin(2 * np.pi * 1300 * k * time) for k in (1, 2, 3)) * (torch.sin(2 * np.pi * 3 * time) < 0)
    return torch.stack([low, high])


def decibels(wanted: torch.Tensor, found: torch.Tensor) -> float:
    return float(10 * torch.log10(wanted.square().sum() / (wanted - found).square().sum()))


def test_nmf_tells_two_timbres_apart(duet):
    parts = separate_nmf(duet.sum(dim=0)[None], RATE)[0]
    either = [max(decibels(source, part) for part in parts) for source in duet]
    assert min(either) > 8


def test_nmf_parts_add_up_to_the_mixture(duet):
    mixture = duet.sum(dim=0)[None]
    for sources in (2, 3):
        parts = separate_nmf(mixture, RATE, sources)
        assert parts.shape == (1, sources, RATE)
        torch.testing.assert_close(parts.sum(dim=1), mixture, atol=1e-4, rtol=0)  # shares add up to 1 but for 1e-6


def test_nmf_of_one_seed_is_always_the_same(duet):
    mixture = duet.sum(dim=0)[None]
    torch.testing.assert_close(separate_nmf(mixture, RATE), separate_nmf(mixture, RATE), atol=0, rtol=0)


def test_robust_pca_finds_the_low_rank_and_the_sparse_part_it_was_made_of():
    rng = np.random.default_rng(0)
    low = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 50))
    sparse = np.where(rng.random((60, 50)) < 0.05, rng.normal(0, 10, (60, 50)), 0)
    found_low, found_sparse = robust_pca(low + sparse)
    assert np.linalg.norm(found_low - low) < 1e-3 * np.linalg.norm(low)
    np.testing.assert_allclose(found_low + found_sparse, low + sparse)


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
def test_singular_values_are_lowered_as_a_plain_svd_lowers_them(shape):
    matrix = np.random.default_rng(1).normal(size=shape)
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    plain = u @ np.diag([max(value - 0.8, 0) for value in values]) @ v
    np.testing.assert_allclose(_shrink_singular(matrix, 0.8), plain, atol=1e-9)  # the Gram matrix halves the digits


def test_rpca_parts_add_up_to_the_mixture(duet):
    mixture = duet.sum(dim=0)[None]
    parts = separate_rpca(mixture)
    assert parts.shape == (1, 2, RATE)
    torch.testing.assert_close(parts.sum(dim=1), mixture, atol=1e-5, rtol=0)


@pytest.mark.parametrize("separate", [lambda x: separate_nmf(x, RATE), separate_rpca])
@pytest.mark.parametrize("samples", [300, 2001])
def test_silence_and_odd_or_short_clips_come_back_as_they_are_long(separate, samples):
    mixture = torch.zeros(2, samples)
    mixture[1] = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    parts = separate(mixture)
    assert parts.shape == (2, 2, samples)
    assert torch.isfinite(parts).all()
    assert parts[0].abs().max() == 0
