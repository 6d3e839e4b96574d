"""SDR, SIR and SAR against mir_eval, fast_bss_eval and a loop, and what silence does to them.

1e-6 dB is what is promised; on such noise float64 leaves 1e-10.
"""

import itertools
import warnings

import numpy as np
import pytest

from avnb.errors import DataError
from avnb.metrics.separation import bss_eval, separation, silent

TOLERANCE = 1e-6  # dB


def coloured_noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Noise with most of its power at low frequencies, as music has it."""
    white = rng.normal(size=shape)
    return np.apply_along_axis(lambda x: np.convolve(x, 0.9 ** np.arange(60), "same"), -1, white) * 0.03


@pytest.fixture
def duet() -> tuple[np.ndarray, np.ndarray]:
    """Two sources of one second and imperfect estimates of them: filtered, leaking into each other, noisy."""
    rng = np.random.default_rng(1)
    sources = coloured_noise(rng, 2, 8000)
    filtered = np.stack([np.convolve(source, [0.8, 0.3, -0.1], "same") for source in sources])
    return sources, filtered + 0.2 * sources[::-1] + 0.01 * rng.normal(size=sources.shape)


def by_mir_eval(sources: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    mir_eval = pytest.importorskip("mir_eval", reason="mir_eval comes with the test extra")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated there
        return np.stack(mir_eval.separation.bss_eval_sources(sources, estimates, compute_permutation=False)[:3])


def test_a_duet_scores_what_mir_eval_scores(duet):
    ours = np.diagonal(bss_eval(*duet), axis1=1, axis2=2)
    np.testing.assert_allclose(ours, by_mir_eval(*duet), rtol=0, atol=TOLERANCE)


def test_a_duet_scores_what_fast_bss_eval_scores(duet):
    metrics = pytest.importorskip("fast_bss_eval", reason="fast_bss_eval comes with the test extra").numpy.metrics
    whole = duet[0].sum(axis=0, keepdims=True)
    estimates = np.concatenate([duet[1], whole])
    own, everything = metrics.square_cosine_metrics(duet[0], estimates)
    theirs = np.stack([own / (1 - own), own / (everything - own)])
    np.testing.assert_allclose(bss_eval(duet[0], estimates)[:2], 10 * np.log10(theirs), rtol=0, atol=TOLERANCE)


def test_three_sources_score_what_mir_eval_scores():
    rng = np.random.default_rng(2)
    sources = coloured_noise(rng, 3, 6000)
    estimates = sources + 0.3 * np.roll(sources, 1, axis=0) + 0.02 * rng.normal(size=sources.shape)
    ours = np.diagonal(bss_eval(sources, estimates), axis1=1, axis2=2)
    np.testing.assert_allclose(ours, by_mir_eval(sources, estimates), rtol=0, atol=TOLERANCE)


def test_a_short_duet_scores_what_plain_least_squares_scores():
    rng = np.random.default_rng(3)
    time, taps = 700, 512
    sources = rng.normal(size=(2, time))
    estimate = sources[0] + 0.5 * sources[1] + 0.3 * rng.normal(size=time)

    def shifts(chosen: list[int]) -> np.ndarray:
        """Every source delayed by 0 to 511 samples, with room for the longest."""
        columns = []
        for source in chosen:
            for delay in range(taps):
                column = np.zeros(time + taps)
                column[delay : delay + time] = sources[source]
                columns.append(column)
        return np.stack(columns, axis=1)

    heard = np.concatenate([estimate, np.zeros(taps)])

    def projected(chosen: list[int]) -> np.ndarray:
        basis = shifts(chosen)
        return basis @ np.linalg.lstsq(basis, heard, rcond=None)[0]

    target, everything = projected([0]), projected([0, 1])
    interference, artefacts = everything - target, heard - everything

    def decibels(wanted: np.ndarray, unwanted: np.ndarray) -> float:
        return 10 * np.log10((wanted**2).sum() / (unwanted**2).sum())

    plain = [
        decibels(target, interference + artefacts),
        decibels(target, interference),
        decibels(target + interference, artefacts),
    ]
    np.testing.assert_allclose(bss_eval(sources, estimate[None])[:, 0, 0], plain, rtol=0, atol=TOLERANCE)


def test_pure_tones_whose_delays_are_no_basis_are_still_scored():
    time = np.arange(8000)
    tones = np.stack([np.sin(0.1 * time), np.sin(0.25 * time)])
    scores = bss_eval(tones, tones + 0.1 * tones[::-1])
    assert np.diagonal(scores[0]) == pytest.approx([20, 20], abs=0.5)  # a tenth of the other: 20 dB, but for the ends


def test_the_gain_is_over_the_mixtures_own_sdr(duet):
    sources, estimates = duet
    found = separation(sources[None], {"net": estimates[None]}, sources.sum(axis=0)[None], progress=False)
    expected = by_mir_eval(sources, estimates)[0] - by_mir_eval(sources, np.stack([sources.sum(axis=0)] * 2))[0]
    assert found["net"].means["SDR gain"] == pytest.approx(expected.mean(), abs=TOLERANCE)
    assert found["mixture"].means["SDR gain"] == 0


def test_processes_score_what_one_process_scores():
    rng = np.random.default_rng(4)
    sources = coloured_noise(rng, 40, 2, 1200)
    estimates = {"a": sources + 0.1 * sources[:, ::-1], "b": sources + 0.01 * rng.normal(size=sources.shape)}
    alone, shared = (
        separation(sources, estimates, sources.sum(axis=1), workers=workers, progress=False) for workers in (1, 2)
    )
    for name in ("a", "b", "mixture"):
        np.testing.assert_allclose(alone[name].sdr, shared[name].sdr, rtol=0, atol=1e-9)  # dB; threads add in any order


def test_nameless_estimates_are_given_to_the_sources_in_the_best_order():
    rng = np.random.default_rng(5)
    sources = coloured_noise(rng, 2, 3, 2000)
    estimates = sources + 0.05 * rng.normal(size=sources.shape)
    shuffled = estimates[:, [2, 0, 1]]
    found = separation(
        sources, {"right": estimates, "shuffled": shuffled}, sources.sum(axis=1), ["shuffled"], progress=False
    )
    np.testing.assert_allclose(found["shuffled"].sdr, found["right"].sdr)
    plain = max(
        np.mean([bss_eval(sources[0], shuffled[0])[0, k, order[k]] for k in range(3)])
        for order in itertools.permutations(range(3))
    )
    assert found["shuffled"].sdr[0].mean() == pytest.approx(plain)


@pytest.mark.parametrize("quiet", ["source", "mixture", "estimate"])
@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_a_silent_or_all_but_silent_clip_is_counted_not_scored(quiet, level):
    rng = np.random.default_rng(6)
    sources = coloured_noise(rng, 3, 2, 1500)
    estimates = sources + 0.1 * sources[:, ::-1] + 0.01 * rng.normal(size=sources.shape)
    mixture = sources.sum(axis=1) + 0.01 * rng.normal(size=(3, 1500))
    where = {"source": sources[1, 0], "mixture": mixture[1], "estimate": estimates[1, 1]}[quiet]
    where[:] = level * rng.normal(size=where.shape)
    found = separation(sources, {"net": estimates}, mixture, progress=False)["net"]
    assert found.dropped == 1
    assert found.kept.tolist() == [True, False, True]
    assert np.isfinite(list(found.means.values())).all()


def test_an_estimate_that_is_silent_for_one_method_is_kept_for_the_other():
    sources = coloured_noise(np.random.default_rng(7), 2, 2, 1500)
    half_silent = sources.copy()
    half_silent[0, 0] = 0
    found = separation(sources, {"good": sources * 0.9, "mute": half_silent}, sources.sum(axis=1), progress=False)
    assert (found["good"].dropped, found["mute"].dropped, found["mixture"].dropped) == (0, 1, 0)


def test_clips_that_are_all_silent_have_no_means_and_raise_nothing():
    nothing = np.zeros((2, 2, 900))
    found = separation(nothing, {"net": nothing}, nothing[:, 0], progress=False)["net"]
    assert found.dropped == 2
    assert np.isnan(found.means["SDR"])


def test_silence_is_told_by_the_root_mean_square():
    assert silent(np.array([[0.0, 0.0], [1e-5, -1e-5], [1e-3, 0.0]])).tolist() == [True, True, False]


def test_estimates_of_another_length_are_refused_in_a_sentence():
    sources = np.zeros((1, 2, 900))
    with pytest.raises(DataError, match="cut both to one length"):
        separation(sources, {"net": sources[..., :800]}, sources[:, 0], progress=False)


def test_samples_that_are_no_numbers_are_refused_in_a_sentence():
    sources = coloured_noise(np.random.default_rng(8), 1, 2, 900)
    with pytest.raises(DataError, match="not numbers"):
        separation(sources, {"net": np.full_like(sources, np.nan)}, sources[:, 0], progress=False)
