"""SDR, SIR and SAR of separated sounds, in decibels, and the mixture's own beside them.

BSS Eval (Vincent et al., 2006) calls of an estimate what filters of 512 taps make of its own source the target, what
they make of the other sources interference, and the rest artefacts. Scheibler (2022, "SDR - medium rare with fast
computations", the package fast_bss_eval) reads all three off two cosines, one Cholesky factor a clip; so does this
file, in float64, equal to fast_bss_eval and to mir_eval to 1e-6 dB. It does not call the package, for three reasons
measured with fast_bss_eval 0.1.4 on one core: two sources of 3 s at 11 kHz take it 54 ms, mir_eval 128 and this file
31, so that two cores would not be five times as fast as mir_eval; its call for sources of a known order
(``compute_permutation=False``) raises under NumPy 2; and so does a silent estimate. Its Fourier transforms are four
times as long as 512 lags need, and its solver starts anew for each estimate. The tests hold both packages against it.
Introduced in notebooks/11_separation.ipynb.
"""

import itertools
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from avnb.errors import DataError

FILTER = 512  # taps of the distortion that is forgiven, as in every published number
SILENT_RMS = 1e-4  # root mean square of a waveform in -1..1 below which there is nothing to judge
FEW = 32  # clips that are judged sooner than a process starts


@dataclass(frozen=True)
class Separation:
    """How well the sources of each clip were separated, in dB; NaN in clips that were dropped.

    ``sdr``, ``sir`` and ``sar`` are the estimates', ``mixture_sdr`` and so on those of the mixture itself, which every
    result must be read beside. A clip is dropped where a source, the mixture or an estimate is silent.
    """

    sdr: Float[np.ndarray, "clips sources"]
    sir: Float[np.ndarray, "clips sources"]
    sar: Float[np.ndarray, "clips sources"]
    mixture_sdr: Float[np.ndarray, "clips sources"]
    mixture_sir: Float[np.ndarray, "clips sources"]
    mixture_sar: Float[np.ndarray, "clips sources"]

    @property
    def kept(self) -> Bool[np.ndarray, " clips"]:
        """Which clips were judged."""
        return ~np.isnan(self.sdr).any(axis=1)

    @property
    def dropped(self) -> int:
        """How many clips were not judged."""
        return int((~self.kept).sum())

    @property
    def means(self) -> dict[str, float]:
        """Means over the sources of the clips that were judged; "SDR gain" is over the same clips' mixtures."""
        kept = self.kept
        found = {"SDR": self.sdr, "SIR": self.sir, "SAR": self.sar, "SDR gain": self.sdr - self.mixture_sdr}
        return {name: float(value[kept].mean()) if kept.any() else float("nan") for name, value in found.items()}


def separation(
    references: Float[np.ndarray, "clips sources time"],
    estimates: Mapping[str, Float[np.ndarray, "_ _ _"]],
    mixtures: Float[np.ndarray, "clips time"],
    best_pairing: Collection[str] = (),
    workers: int = 0,
    progress: bool = True,
) -> dict[str, Separation]:
    """Judge each named method's estimates against the true sources; "mixture" is judged with them.

    The n-th estimate is the n-th source's, except for the methods named in ``best_pairing``, whose estimates have no
    names and are given to the sources in the order that suits them best (mean SDR). ``workers`` processes (0: one a
    core) share many clips; a few are judged here. Raises DataError on shapes that do not match and on samples that are
    no numbers; silence is dropped, never an error.

    >>> sources = np.random.default_rng(0).normal(size=(1, 2, 4000))
    >>> found = separation(sources, {"half": 0.9 * sources + 0.1 * sources[:, ::-1]}, sources.sum(axis=1))
    >>> round(found["half"].means["SDR gain"])
    19
    """
    for name, value in {"sources": references, "mixtures": mixtures, **estimates}.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            kind = getattr(value, "dtype", type(value).__name__)
            raise DataError(f'"{name}" must be a numpy array of waveforms in -1..1, floating point, not {kind}.')
    if references.ndim != 3:
        raise DataError(f"The sources must be [clips, sources, samples] and have shape {references.shape}.")
    count, sources, length = references.shape
    if mixtures.shape != (count, length):
        raise DataError(f"The mixtures have shape {mixtures.shape}, the sources' need {(count, length)}.")
    for name, value in estimates.items():
        if value.shape != references.shape:
            raise DataError(
                f'The estimates of "{name}" have shape {value.shape}, the sources {references.shape}; '
                "cut both to one length."
            )
    stacked = [np.concatenate([value[k] for value in estimates.values()] + [mixtures[k][None]]) for k in range(count)]
    jobs = zip(references, stacked, strict=True)
    scores = np.stack(list(_over_cores(jobs, count, workers, progress))) if count else np.empty((0, 3, sources, 1))
    of_mixture = scores[..., -1]  # [clips, 3, sources]
    found = {}
    for number, name in enumerate(estimates):
        own = scores[..., number * sources : (number + 1) * sources]
        order = _best_orders(own[:, 0]) if name in best_pairing else np.tile(np.arange(sources), (count, 1))
        found[name] = _record(np.take_along_axis(own, order[:, None, :, None], axis=3)[..., 0], of_mixture)
    return found | {"mixture": _record(of_mixture, of_mixture)}


def bss_eval(
    references: Float[np.ndarray, "sources time"], estimates: Float[np.ndarray, "estimates time"]
) -> Float[np.ndarray, "3 sources estimates"]:
    """Return SDR, SIR and SAR (dB) of every estimate as an estimate of every source.

    No silence is expected here: see `silent`. A filter that makes a source, or all of them, into the estimate is
    sought for each; the squared cosine between the two is what the three ratios are made of.
    """
    references, estimates = _unit(references), _unit(estimates)
    sources, count = len(references), len(estimates)
    lags, cross = _correlations(references, estimates)
    normal = _block_toeplitz(lags)  # what is between any two delayed sources, source by source
    try:
        # x' R^-1 x = |L^-1 x|^2 with R = L L'; the first rows of L are the factor for the first source alone.
        solved = _forward(normal, cross.reshape(sources * FILTER, count))
        everything = np.square(solved).sum(axis=0)
        own = [np.square(solved[:FILTER]).sum(axis=0)]
        for k in range(1, sources):
            alone = slice(k * FILTER, (k + 1) * FILTER)
            own.append(np.square(_forward(normal[alone, alone], cross[k])).sum(axis=0))
    except np.linalg.LinAlgError:  # pure tones, and sources that are filters of each other: least squares
        everything = _least_squares(normal, cross.reshape(sources * FILTER, count))
        own = [_least_squares(_block_toeplitz(lags[k : k + 1, k : k + 1]), cross[k]) for k in range(sources)]
    target = np.stack(own)
    # Rounding must not let the target exceed the whole, nor either exceed the estimate.
    everything = np.clip(everything, 1e-30, 1)
    target = np.clip(target, 1e-30, everything)
    with np.errstate(divide="ignore"):  # a perfect estimate has no distortion: infinite decibels
        sdr = _decibels(target, 1 - target)
        sir = _decibels(target, everything - target)
        sar = np.broadcast_to(_decibels(everything, 1 - everything), sdr.shape)
    return np.stack([sdr, sir, sar])


def silent(waveforms: Float[np.ndarray, "*shape time"]) -> Bool[np.ndarray, "*shape"]:
    """Return which waveforms (-1..1) are so quiet, below -80 dB of full scale, that no ratio can be told of them."""
    return np.sqrt(np.square(waveforms, dtype=np.float64).mean(axis=-1)) < SILENT_RMS


def _judge_clip(
    references: Float[np.ndarray, "sources time"], estimates: Float[np.ndarray, "estimates time"]
) -> Float[np.ndarray, "3 sources estimates"]:
    """Return bss_eval's scores with NaN for silent estimates, and nothing but NaN where a source is silent."""
    scores = np.full((3, len(references), len(estimates)), np.nan)
    if not (np.isfinite(references).all() and np.isfinite(estimates).all()):
        raise DataError("A separated or a true sound holds samples that are not numbers.")
    heard = ~silent(estimates)
    if heard[-1] and heard.any() and not silent(references).any():  # the last one is the mixture
        scores[..., heard] = bss_eval(references.astype(np.float64), estimates[heard].astype(np.float64))
    return scores


def _over_cores(
    jobs: Iterable[tuple[np.ndarray, np.ndarray]], count: int, workers: int, progress: bool
) -> Iterable[np.ndarray]:
    """Yield `_judge_clip` of every job, in order, from as many processes as are worth starting."""
    from tqdm.auto import tqdm

    workers = min(workers or os.cpu_count() or 1, count)
    if workers < 2 or count < FEW:
        results: Iterable[np.ndarray] = (_judge_clip(*job) for job in jobs)
    else:
        from joblib import Parallel, delayed  # its processes need no guard in a script, and one BLAS thread each

        results = Parallel(workers, return_as="generator")(delayed(_judge_clip)(*job) for job in jobs)
    yield from tqdm(results, total=count, desc="SDR, SIR, SAR", unit="clip", disable=not progress, leave=False)


def _correlations(
    references: Float[np.ndarray, "sources time"], estimates: Float[np.ndarray, "estimates time"]
) -> tuple[Float[np.ndarray, "sources sources lags"], Float[np.ndarray, "sources taps estimates"]]:
    """Return the sources' correlations at lags -511..511 and those with the estimates at 0..511.

    Zeros are appended for as many lags as are asked for, not for as many as there are.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(references.shape[1] + FILTER, real=True)
    there, found = rfft(references, size), rfft(estimates, size)
    between = irfft(there.conj()[:, None] * there[None], size)
    cross = irfft(there.conj()[:, None] * found[None], size)[..., :FILTER]
    lags = np.concatenate([between[..., 1 - FILTER :], between[..., :FILTER]], axis=-1)
    return lags, np.ascontiguousarray(cross.transpose(0, 2, 1))


def _block_toeplitz(lags: Float[np.ndarray, "sources sources lags"]) -> Float[np.ndarray, "rows rows"]:
    """Return the matrix whose block (i, j) holds at (s, t) the correlation of sources i and j at lag s - t."""
    sources = len(lags)
    windows = np.lib.stride_tricks.sliding_window_view(lags, FILTER, axis=2)[..., ::-1]
    return np.ascontiguousarray(windows.transpose(0, 2, 1, 3)).reshape(sources * FILTER, sources * FILTER)


def _forward(normal: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n m"]:
    """Return L^-1 x with R = L L'; raise LinAlgError where R is singular."""
    from scipy.linalg import cholesky, solve_triangular  # half the time of NumPy's

    return solve_triangular(cholesky(normal, lower=True, check_finite=False), right, lower=True, check_finite=False)


def _least_squares(
    normal: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n estimates"]
) -> Float[np.ndarray, " estimates"]:
    """Return x' R^+ x, the squared cosine where R is singular."""
    return np.einsum("ne,ne->e", right, np.linalg.lstsq(normal, right, rcond=1e-12)[0])


def _best_orders(sdr: Float[np.ndarray, "clips sources estimates"]) -> np.ndarray:
    """Return for each clip which estimate is each source's, so that the mean SDR is highest."""
    sources = sdr.shape[1]
    orders = np.array(list(itertools.permutations(range(sources))))
    each = np.stack([sdr[:, np.arange(sources), order].mean(axis=1) for order in orders])
    return orders[np.where(np.isnan(each), -np.inf, each).argmax(axis=0)]


def _record(
    scores: Float[np.ndarray, "clips 3 sources"], of_mixture: Float[np.ndarray, "clips 3 sources"]
) -> Separation:
    return Separation(*np.moveaxis(scores, 1, 0), *np.moveaxis(of_mixture, 1, 0))


def _unit(waveforms: Float[np.ndarray, "n time"]) -> Float[np.ndarray, "n time"]:
    return waveforms / np.linalg.norm(waveforms, axis=1, keepdims=True)


def _decibels(wanted: np.ndarray, unwanted: np.ndarray) -> np.ndarray:
    return 10 * (np.log10(wanted) - np.log10(unwanted))
