"""What a method says of sounds that are none of its classes: how likely a class must be before it is believed.

A network that knows eleven instruments takes a vacuum cleaner for one of them. So each class is first asked about
sounds that no class is: noise, hum, wind, knocks, sirens and babble, made here. What it then says in three of four
cases or more is no evidence (the rule of `avnb.metrics.negative_audio` for maps).
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from avnb.metrics.negative_audio import QUARTILE
from avnb.models.base import Method

EACH = 4  # of every kind
FORMANTS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))  # of a, i, u, e: Hz
LOUDNESS = 0.1  # root mean square


@torch.inference_mode()
def doubtful(method: Method, rate: int, seconds: float) -> Float[np.ndarray, " classes"]:
    """Return, for each class, the probability that it must exceed; the method is asked once and remembers."""
    kept = method.__dict__.setdefault("_doubtful", {})
    if (rate, seconds) not in kept:
        sounds = torch.from_numpy(np.stack(list(other_sounds(rate, seconds))))
        device = torch.device(method.settings.device)
        found: list[Tensor] = [method.recognize(part.to(device)).float().cpu() for part in sounds.split(8)]
        kept[rate, seconds] = torch.quantile(torch.cat(found), QUARTILE, dim=0).numpy()
    return kept[rate, seconds]


def other_sounds(rate: int, seconds: float) -> Iterator[Float32[np.ndarray, " time"]]:
    """Yield waveforms that are no class of anyone: the same whenever they are asked for."""
    for number in range(EACH):
        for make in (_noise, _hum, _wind, _knocks, _siren, _babble):
            rng = np.random.default_rng([2025, number])
            sound = make(rng, np.arange(round(rate * seconds)) / rate)
            yield (LOUDNESS * sound / (sound.std() + 1e-9)).clip(-1, 1).astype(np.float32)


def _noise(rng: np.random.Generator, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """Noise whose power falls with frequency by nothing (white) to its square (brown)."""
    return _coloured(rng, len(time), rng.uniform(0, 2))


def _hum(rng: np.random.Generator, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    pitch = rng.choice((50, 60, 100, 120)) * rng.uniform(0.98, 1.02)
    tones = sum(np.sin(2 * np.pi * k * pitch * time + rng.uniform(0, 6)) * rng.uniform(0, 1) / k for k in range(1, 12))
    return tones + 0.1 * _coloured(rng, len(time), 1)


def _wind(rng: np.random.Generator, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    return _coloured(rng, len(time), rng.uniform(1, 2)) * (1.2 + np.sin(2 * np.pi * rng.uniform(0.2, 1) * time))


def _knocks(rng: np.random.Generator, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    found = 0.01 * _coloured(rng, len(time), 0)
    for begin in rng.uniform(0, time[-1], rng.integers(3, 16)):
        since = (time - begin).clip(0)
        found += (time > begin) * _coloured(rng, len(time), 1) * np.exp(-since / rng.uniform(0.005, 0.05))
    return found


def _siren(rng: np.random.Generator, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    sweep = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 2) * time)
    return np.sin(2 * np.pi * rng.uniform(400, 1200) * np.cumsum(sweep) * (time[1] - time[0]))


def _babble(rng: np.random.Generator, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """Two to five voices: pulses of a throat through the formants of a vowel, four syllables a second."""
    step, found = time[1] - time[0], np.zeros(len(time))
    frequencies = np.fft.rfftfreq(len(time), step)
    for _ in range(rng.integers(2, 6)):
        pitch = rng.uniform(90, 250) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.3, 1.5) * time + rng.uniform(0, 6)))
        phase = np.cumsum(pitch) * step
        pulses = np.diff(np.floor(phase), prepend=0)
        begin, spoken = 0.0, np.zeros((len(FORMANTS), len(time)))  # how loud each vowel is
        while begin < time[-1]:
            lasts = rng.uniform(0.12, 0.4)
            spoken[rng.integers(len(FORMANTS))] += np.sin(np.pi * np.clip((time - begin) / lasts, 0, 1)) ** 2
            begin += lasts * rng.uniform(0.9, 1.6)
        throats = [sum(1 / (1 + ((frequencies - formant) / 80) ** 2) for formant in vowel) for vowel in FORMANTS]
        found += np.fft.irfft((np.fft.rfft(pulses * spoken) * throats).sum(axis=0), len(time))
    return found + 1e-3 * rng.normal(size=len(time))


def _coloured(rng: np.random.Generator, length: int, slope: float) -> Float[np.ndarray, " length"]:
    spectrum = np.fft.rfft(rng.normal(size=length))
    sound = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 20) ** (slope / 2), length)
    return sound / sound.std()
