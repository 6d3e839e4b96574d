"""Separation by non-negative matrix factorisation: the mixture explained by a few spectra that come and go.

A magnitude spectrogram V is factorised into W H, spectra times their loudness over time (Virtanen, 2007; here with the
Kullback-Leibler divergence alone). Nothing is learnt from other clips and no picture is looked at, so which component
belongs to which source must be guessed: components are grouped by k-means on the cepstra of their spectra, the shape
that timbre leaves whatever the pitch (Spiertz and Gnann, 2009). Which group is which source is not known at all: the
evaluation gives the groups to the sources in the order that suits them best. How the papers' tables did either is not
stated.
"""

import warnings

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avnb.networks.separation_masks import apply_masks
from avnb.networks.spectrograms import mel_filterbank, stft

N_FFT, HOP = 1024, 256
COMPONENTS = 8  # a source
ITERATIONS = 100
CEPSTRA = 13  # without the first, which is loudness


def separate_nmf(
    mixture: Float[Tensor, "batch time"], rate: int, sources: int = 2, seed: int = 0
) -> Float[Tensor, "batch sources time"]:
    """Return ``sources`` groups of components of each mixture at ``rate`` Hz, unordered; they add up to it."""
    magnitudes = stft(mixture, N_FFT, HOP).abs()
    shares = [_shares(one.cpu().numpy().astype(np.float64), rate, sources, seed) for one in magnitudes]
    masks = torch.from_numpy(np.stack(shares)).to(magnitudes) if shares else magnitudes.new_zeros(0, sources, 1, 1)
    return apply_masks(mixture, masks, N_FFT, HOP)


def _shares(
    magnitude: Float[np.ndarray, "bins frames"], rate: int, sources: int, seed: int
) -> Float[np.ndarray, "sources bins frames"]:
    """Return each group's share of the factorised spectrogram, 1 in all; silence is shared out evenly."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    loudest = magnitude.max()
    if loudest == 0:
        return np.full((sources, *magnitude.shape), 1 / sources)
    model = NMF(
        COMPONENTS * sources, init="random", solver="mu", beta_loss="kullback-leibler", max_iter=ITERATIONS,
        random_state=seed,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a fixed number of steps is what is asked for
        spectra = model.fit_transform(magnitude / loudest + 1e-8)  # W, [bins, components]
        groups = KMeans(sources, n_init=4, random_state=seed).fit_predict(_cepstra(spectra, rate))
    parts = np.stack(
        [spectra[:, groups == group] @ model.components_[groups == group] for group in range(sources)]
    )  # W_g H_g
    return parts / np.maximum(parts.sum(axis=0), 1e-30)


def _cepstra(spectra: Float[np.ndarray, "bins components"], rate: int) -> Float[np.ndarray, "components cepstra"]:
    """Return the mel-frequency cepstra of each component's spectrum."""
    from scipy.fft import dct

    mel = mel_filterbank(rate, N_FFT, 40, "slaney") @ np.square(spectra)
    relative = mel / np.maximum(mel.max(axis=0), 1e-30)
    return dct(np.log(relative + 1e-6), axis=0, norm="ortho")[1 : 1 + CEPSTRA].T
