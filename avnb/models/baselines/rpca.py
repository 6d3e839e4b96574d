"""Separation by robust principal component analysis: what repeats and what stands out.

A magnitude spectrogram is split into a low-rank part, sounds that come again, and a sparse part, sounds that do not
(Huang et al., 2012, who take singing from its accompaniment in this way). Nothing is learnt and no parameter is
set. There are two parts, in no order, whatever sounds: the evaluation gives them to the sources in the order that suits
them best.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avnb.networks.separation_masks import apply_masks
from avnb.networks.spectrograms import stft

N_FFT, HOP = 1024, 256
TOLERANCE = 1e-5  # of the spectrogram's norm; Huang et al. stop at 1e-7, which moves no mask
ITERATIONS = 100


def separate_rpca(mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 2 time"]:
    """Return what repeats and what stands out of each mixture, by binary masks; they add up to the mixture."""
    magnitudes = stft(mixture, N_FFT, HOP).abs()
    masks = []
    for magnitude in magnitudes:
        low_rank, sparse = robust_pca(magnitude.cpu().numpy().astype(np.float64))
        stands_out = np.abs(sparse) > np.abs(low_rank)  # Huang et al., eq. 6 with a gain of 1
        masks.append(np.stack([~stands_out, stands_out]))
    stacked = torch.from_numpy(np.stack(masks)).to(magnitudes) if masks else magnitudes.new_zeros(0, 2, 1, 1)
    return apply_masks(mixture, stacked, N_FFT, HOP)


def robust_pca(
    matrix: Float[np.ndarray, "rows columns"],
) -> tuple[Float[np.ndarray, "rows columns"], Float[np.ndarray, "rows columns"]]:
    """Return L and S with L + S = the matrix and the least ||L||_* + lambda ||S||_1, lambda = 1 / sqrt(longer side).

    The inexact augmented Lagrange multiplier method (Lin, Chen and Ma, 2010), with its step sizes.
    """
    size = np.linalg.norm(matrix)
    if size == 0:
        return np.zeros_like(matrix), np.zeros_like(matrix)
    weight = 1 / np.sqrt(max(matrix.shape))
    spectral = np.linalg.norm(matrix, 2)
    multiplier = matrix / max(spectral, np.abs(matrix).max() / weight)
    step, sparse = 1.25 / spectral, np.zeros_like(matrix)
    for _ in range(ITERATIONS):
        low_rank = _shrink_singular(matrix - sparse + multiplier / step, 1 / step)
        sparse = _shrink(matrix - low_rank + multiplier / step, weight / step)
        rest = matrix - low_rank - sparse
        if np.linalg.norm(rest) < TOLERANCE * size:
            break
        multiplier += step * rest
        step *= 1.5
    return low_rank, matrix - low_rank


def _shrink(values: np.ndarray, by: float) -> np.ndarray:
    return np.sign(values) * np.maximum(np.abs(values) - by, 0)


def _shrink_singular(matrix: Float[np.ndarray, "rows columns"], by: float) -> Float[np.ndarray, "rows columns"]:
    """Lower every singular value, through the smaller of the two Gram matrices (a third of a full SVD's time)."""
    if matrix.shape[0] < matrix.shape[1]:
        return _shrink_singular(matrix.T, by).T
    squares, vectors = np.linalg.eigh(matrix.T @ matrix)
    values = np.sqrt(np.maximum(squares, 0))
    kept = values > by
    vectors = vectors[:, kept]
    return (matrix @ vectors) * (1 - by / values[kept]) @ vectors.T
