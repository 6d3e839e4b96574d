"""Spectrograms per second of each front end, beside librosa or SciPy doing the same clip by clip.

Run with ``pytest tests/benchmarks/bench_audio.py -o addopts= --benchmark-columns=median``: one group a front end, the
time of 32 clips. ``--benchmark-json`` also holds ``spectrograms_per_second``.
"""

import numpy as np
import pytest
import torch

from avnb.networks.spectrograms import DsolLogMel, LinearLogSpectrogram, LogMel, MixAndLocalizeLogMel, OneAvmLogMel

BATCH = 32


def librosa_log_mel(settings: dict, clip: np.ndarray) -> np.ndarray:
    import librosa

    return librosa.power_to_db(librosa.feature.melspectrogram(y=clip, **settings))


def scipy_log_density(settings: dict, clip: np.ndarray) -> np.ndarray:
    from scipy.signal import spectrogram

    return np.log(spectrogram(clip, **settings)[2] + 1e-7) / 12


dsol = {"sr": 16_000, "n_fft": 160, "hop_length": 80, "n_mels": 64, "power": 1}
torchaudio_like = {"htk": True, "norm": None, "pad_mode": "reflect"}
mix_and_localize = {"sr": 16_000, "n_fft": 160, "hop_length": 80, "n_mels": 64, **torchaudio_like}
one_avm = {"sr": 8_000, "n_fft": 400, "hop_length": 188, "n_mels": 128, **torchaudio_like}
quick = {"sr": 22_050, "n_fft": 1024, "hop_length": 520, "n_mels": 64}
avgn = {"fs": 22_050, "nperseg": 512, "noverlap": 274}
# name: (front end, seconds, how the library makes one, its settings)
FRONT_ENDS = {
    "avgn": (lambda: LinearLogSpectrogram(22_050), 3, scipy_log_density, avgn),
    "dsol": (DsolLogMel, 1, librosa_log_mel, dsol),
    "mix_and_localize": (MixAndLocalizeLogMel, 0.96, librosa_log_mel, mix_and_localize),
    "one_avm": (OneAvmLogMel, 3, librosa_log_mel, one_avm),
    "quick": (LogMel, 3, librosa_log_mel, quick),
}
devices = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


def clips(name: str) -> torch.Tensor:
    make, seconds, *_ = FRONT_ENDS[name]
    return torch.rand(BATCH, round(seconds * make().rate)) - 0.5


@pytest.mark.parametrize("device", devices)
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_front_end(benchmark, name, device):
    benchmark.group = name
    front_end, waveform = FRONT_ENDS[name][0]().to(device), clips(name).to(device)

    @torch.inference_mode()
    def run():
        front_end(waveform)
        if device == "cuda":
            torch.cuda.synchronize()

    benchmark(run)
    benchmark.extra_info["spectrograms_per_second"] = BATCH / benchmark.stats.stats.median


@pytest.mark.filterwarnings("ignore:Empty filters")  # as in the papers, see avnb.networks.spectrograms
@pytest.mark.parametrize("name", FRONT_ENDS)
def test_library(benchmark, name):
    benchmark.group = name
    _, _, make, settings = FRONT_ENDS[name]
    waveform = clips(name).numpy()
    benchmark(lambda: [make(settings, clip) for clip in waveform])
    benchmark.extra_info["spectrograms_per_second"] = BATCH / benchmark.stats.stats.median
