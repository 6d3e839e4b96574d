import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from avnb.errors import SettingsError
from avnb.networks.spectrograms import (
    DsolLogMel,
    LinearLogSpectrogram,
    LogMel,
    MixAndLocalizeLogMel,
    OneAvmLogMel,
    Resample,
    inverse_stft,
    mel_filterbank,
    stft,
)

# name: (front end, seconds of its paper's clip)
FRONT_ENDS = {
    "ez_vsl": (lambda: LinearLogSpectrogram(11_025), 3),
    "avgn": (lambda: LinearLogSpectrogram(22_050), 3),
    "dsol": (DsolLogMel, 1),
    "mix_and_localize": (MixAndLocalizeLogMel, 0.96),
    "one_avm": (OneAvmLogMel, 3),
    "quick": (LogMel, 3),
}
every_front_end = pytest.mark.parametrize("name", FRONT_ENDS)


def front_end(name: str) -> torch.nn.Module:
    return FRONT_ENDS[name][0]()


def noise(name: str, batch: int = 2) -> torch.Tensor:
    make, seconds = FRONT_ENDS[name]
    generator = torch.Generator().manual_seed(0)
    return torch.rand(batch, round(seconds * make().rate), generator=generator) - 0.5


def tones(name: str) -> torch.Tensor:
    """A plain 1 kHz tone (between bins of silence: the hardest for rounding) and a decaying chord."""
    time = torch.arange(noise(name).shape[-1], dtype=torch.float64) / front_end(name).rate
    chord = sum(torch.sin(2 * torch.pi * 261.63 * k * time) for k in (1, 2, 3, 4)) / 5
    return torch.stack([torch.sin(2 * torch.pi * 1000 * time), chord * torch.exp(-8 * (time % 0.5))]).float()


def scipy_log_density(x: np.ndarray, rate: int) -> np.ndarray:
    from scipy.signal import spectrogram

    return np.log(spectrogram(x, rate, nperseg=512, noverlap=274)[2] + 1e-7) / 12


def librosa_mel(
    x: np.ndarray, rate: int, n_fft: int, hop: int, bins: int, htk: bool = False, power: float = 2, padding="constant"
) -> np.ndarray:
    import librosa

    # Padded here: librosa 0.11 reflects the end about the wrong sample where no more than half a window is left.
    magnitude = np.abs(librosa.stft(np.pad(x, n_fft // 2, mode=padding), n_fft=n_fft, hop_length=hop, center=False))
    with pytest.warns(UserWarning, match="Empty filters") if n_fft == 160 else nullcontext():
        filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bins, htk=htk, norm=None if htk else "slaney")
    return filters @ magnitude**power


def librosa_decibels(x: np.ndarray, **settings) -> np.ndarray:
    import librosa

    return librosa.power_to_db(librosa_mel(x, **settings), ref=1.0, amin=1e-10, top_db=80)


def floored_decibels(x: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(1e-5, librosa_mel(x, 16_000, 160, 80, 64, htk=True, padding="reflect")))


def at_rms(x: np.ndarray, rms: float) -> np.ndarray:
    return x * rms / np.sqrt(np.mean(x**2))


REFERENCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ez_vsl": lambda x: scipy_log_density(x, 11_025),
    "avgn": lambda x: scipy_log_density(x, 22_050),
    "dsol": lambda x: librosa_decibels(x, rate=16_000, n_fft=160, hop=80, bins=64, power=1),
    "mix_and_localize": lambda x: 2 * (floored_decibels(at_rms(x, 0.1)) + 100) / 200 - 1,
    "one_avm": lambda x: np.log10(librosa_mel(x, 8_000, 400, 188, 128, htk=True, padding="reflect") + 1e-7),
    "quick": lambda x: (np.log(librosa_mel(x, 22_050, 1024, 520, 64) + 1e-5) + 6) / 4,
}


@pytest.mark.parametrize("sound", [noise, tones])
@every_front_end
def test_spectrogram_is_the_one_librosa_or_scipy_computes_in_float64(name, sound):
    waveform = sound(name)
    expected = np.stack([REFERENCES[name](x) for x in waveform.double().numpy()])[:, None]
    np.testing.assert_allclose(front_end(name)(waveform), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "bins", "frames"),
    [("dsol", 64, 201), ("mix_and_localize", 64, 193), ("one_avm", 128, 128), ("quick", 64, 128)],
)
def test_clip_of_the_papers_length_has_the_papers_shape(name, bins, frames):
    assert front_end(name)(noise(name)).shape == (2, 1, bins, frames)


@pytest.mark.parametrize(
    ("rate", "frames"), [(8_000, 99), (11_025, 137), (16_000, 200), (22_050, 276), (24_000, 301), (44_100, 554)]
)
def test_three_seconds_at_each_rate_have_the_released_codes_width(rate, frames):
    assert LinearLogSpectrogram(rate)(torch.zeros(1, 3 * rate)).shape == (1, 1, 257, frames)


@every_front_end
def test_low_tone_lights_a_lower_row_than_a_high_one(name):
    make, _ = FRONT_ENDS[name]
    time = torch.arange(noise(name).shape[-1]) / make().rate
    image = make()(torch.stack([torch.sin(2 * torch.pi * frequency * time) for frequency in (440.0, 3000.0)]))
    low, high = image[:, 0].mean(dim=-1).argmax(dim=-1)
    assert low < high


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ez_vsl", np.log(1e-7) / 12),
        ("dsol", -100),
        ("mix_and_localize", -1),
        ("one_avm", -7),
        ("quick", (np.log(1e-5) + 6) / 4),
    ],
)
def test_silence_is_the_floor_everywhere(name, value):
    image = front_end(name)(torch.zeros_like(noise(name)))
    torch.testing.assert_close(image, torch.full_like(image, value), rtol=1e-6, atol=0)


@every_front_end
def test_each_clip_of_a_batch_is_what_it_is_alone(name):
    make, waveform = front_end(name), torch.cat([noise(name), tones(name), noise(name) * 1e-3])
    alone = torch.cat([make(clip[None]) for clip in waveform])
    # 1e-5: a matrix product may add in another order when it is larger.
    torch.testing.assert_close(make(waveform), alone, rtol=0, atol=1e-5)


@every_front_end
def test_waveform_shorter_than_a_window_is_heard_with_zeros_after_it(name):
    make = front_end(name)
    short = noise(name)[:, : make.n_fft // 3]
    filled = torch.cat([short, torch.zeros(2, make.n_fft - short.shape[-1])], dim=-1)
    assert torch.equal(make(short), make(filled))


@every_front_end
def test_empty_waveform_is_heard_as_silence(name):
    assert front_end(name)(torch.zeros(2, 0)).isfinite().all()


@every_front_end
def test_gradient_reaches_every_sample_that_a_window_covers(name):
    waveform = noise(name).requires_grad_()
    front_end(name)(waveform).sum().backward()
    covered = slice(front_end(name).n_fft, -front_end(name).n_fft)
    assert (waveform.grad[:, covered] != 0).float().mean() > 0.99


@every_front_end
def test_gradient_of_silence_is_finite(name):
    waveform = torch.zeros_like(noise(name)).requires_grad_()
    front_end(name)(waveform).sum().backward()
    assert waveform.grad.isfinite().all()


@every_front_end
def test_autocast_changes_nothing(name):
    plain = front_end(name)(noise(name))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = front_end(name)(noise(name))
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


@pytest.mark.parametrize(
    ("given", "returned"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
@every_front_end
def test_spectrogram_is_float32_and_float64_only_for_float64(name, given, returned):
    assert front_end(name)(noise(name).to(given)).dtype == returned


@every_front_end
def test_checkpoint_holds_nothing_of_a_front_end(name):
    assert not front_end(name).state_dict()


@every_front_end
def test_every_tensor_is_made_on_the_waveforms_device(name):
    # Fake tensors have a device but no memory, and refuse to meet a tensor of another: no GPU is needed to see it.
    with FakeTensorMode():
        waveform = torch.empty(2, 66_150, device="cuda")
        image = front_end(name).to("cuda")(waveform)
    assert image.device.type == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@every_front_end
def test_spectrogram_on_a_gpu_is_the_cpus(name):
    waveform = torch.cat([noise(name), tones(name)])
    on_gpu = front_end(name).to("cuda")(waveform.to("cuda")).cpu()
    torch.testing.assert_close(on_gpu, front_end(name)(waveform), rtol=0, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_inverse_on_a_gpu_returns_the_waveform():
    waveform = torch.rand(2, 65_535, device="cuda") * 2 - 1
    torch.testing.assert_close(inverse_stft(stft(waveform, 1022, 256), 1022, 256, 65_535), waveform, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(("rate", "n_fft", "bins"), [(16_000, 160, 64), (11_025, 512, 40), (2_000, 256, 20)])
def test_filterbank_is_librosas(rate, n_fft, bins, scale):
    import librosa

    htk = scale == "htk"
    with pytest.warns(UserWarning, match="Empty filters") if n_fft == 160 else nullcontext():
        expected = librosa.filters.mel(
            sr=rate, n_fft=n_fft, n_mels=bins, htk=htk, norm=None if htk else "slaney", dtype=np.float64
        )
    # Both in float64: the sums differ by rounding alone.
    np.testing.assert_allclose(mel_filterbank(rate, n_fft, bins, scale), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("scale", "empty"), [("slaney", [0, 13]), ("htk", [0, 1, 4, 7])])
def test_the_empty_bands_of_dsol_and_mix_and_localize_are_the_papers(scale, empty):
    heights = mel_filterbank(16_000, 160, 64, scale).max(axis=1)
    assert np.flatnonzero(heights == 0).tolist() == empty


def test_one_avms_filterbank_carries_a_mask_of_ones_back_to_ones():
    filterbank = OneAvmLogMel().filterbank
    spread = filterbank.T @ torch.ones(128)
    # All bins but 0 Hz and those above 3,930 Hz, the last band's centre.
    torch.testing.assert_close(spread[1:-4], torch.ones(196))


def test_one_avms_columns_are_those_of_the_stft_it_names():
    assert stft(noise("one_avm"), 400, 188).shape == (2, 201, 128)


def test_stft_is_librosas():
    import librosa

    waveform = noise("quick")
    expected = librosa.stft(waveform.double().numpy(), n_fft=1022, hop_length=256)
    np.testing.assert_allclose(stft(waveform, 1022, 256), expected, rtol=0, atol=1e-4)


def test_sound_of_pixels_clip_gives_512_by_256():
    assert stft(torch.zeros(1, 65_535), 1022, 256).shape == (1, 512, 256)


@pytest.mark.parametrize("length", [1, 100, 1021, 24_000, 24_001, 65_535])
@pytest.mark.parametrize(("n_fft", "hop"), [(1022, 256), (1024, 384), (512, 128), (800, 250)])
def test_inverse_returns_the_waveform(n_fft, hop, length):
    waveform = torch.rand(2, length, generator=torch.Generator().manual_seed(0)) * 2 - 1
    # 1e-5, the promise of the docstring: some tens of float32 roundings of values up to 1.
    torch.testing.assert_close(
        inverse_stft(stft(waveform, n_fft, hop), n_fft, hop, length), waveform, rtol=0, atol=1e-5
    )


def test_stft_and_inverse_keep_the_axis_of_the_sources():
    waveform = torch.rand(2, 3, 8_000, generator=torch.Generator().manual_seed(0))
    spectrum = stft(waveform, 512, 128)
    assert spectrum.shape == (2, 3, 257, 63)
    assert torch.equal(spectrum[1, 2], stft(waveform[1, 2], 512, 128))
    torch.testing.assert_close(inverse_stft(spectrum, 512, 128, 8_000), waveform, rtol=0, atol=1e-5)


def test_stft_works_in_bfloat16_training():
    waveform = torch.rand(1, 8_000, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        back = inverse_stft(stft(waveform, 512, 128), 512, 128, 8_000)
    torch.testing.assert_close(back, waveform, rtol=0, atol=1e-5)


def test_gradient_flows_through_a_masked_inverse():
    spectrum = stft(torch.rand(1, 8_000, generator=torch.Generator().manual_seed(0)), 512, 128)
    mask = torch.full(spectrum.shape, 0.5, requires_grad=True)
    inverse_stft(mask * spectrum, 512, 128, 8_000).square().sum().backward()
    assert mask.grad.isfinite().all()
    assert (mask.grad != 0).float().mean() > 0.9


def test_hop_that_cannot_be_inverted_is_refused_in_a_sentence():
    with pytest.raises(
        SettingsError, match="hop of 300 samples cannot be inverted with windows of 512: take at most 256"
    ):
        inverse_stft(stft(torch.zeros(1, 8_000), 512, 300), 512, 300, 8_000)


@pytest.mark.parametrize(
    ("rate", "new_rate"), [(22_050, 8_000), (22_050, 11_025), (22_050, 16_000), (8_000, 22_050), (22_050, 44_100)]
)
@pytest.mark.parametrize("over", [0, 1, 7, 16])
def test_waveforms_come_to_another_rate_as_torchaudio_brings_them(rate, new_rate, over):
    """Bit by bit, and so do the filters: runs that were trained with torchaudio's keep theirs.

    But for filters of so few phases that they stand side by side: a processor may add up the zeros between them, and
    with them the numbers, in another order. In float64 that is 1e-14 of numbers of size 4.
    """
    transforms = pytest.importorskip("torchaudio.transforms")
    sound = torch.randn(2, 3 * rate // 10 + over, generator=torch.Generator().manual_seed(rate))
    ours, theirs = Resample(rate, new_rate), transforms.Resample(rate, new_rate)
    assert torch.equal(ours.kernel, theirs.kernel)
    if ours.block == 1:
        torch.testing.assert_close(ours(sound), theirs(sound), atol=0, rtol=0)
    torch.testing.assert_close(ours(sound.double()), theirs.double()(sound.double()), atol=1e-14, rtol=0)


@pytest.mark.parametrize("time", [1, 2, 3, 31, 32, 33])
def test_the_shortest_waveforms_come_to_another_rate_too(time):
    transforms = pytest.importorskip("torchaudio.transforms")
    sound = torch.randn(3, time, dtype=torch.float64, generator=torch.Generator().manual_seed(time))
    for rates in ((22_050, 11_025), (22_050, 44_100), (44_100, 22_050)):
        theirs = transforms.Resample(*rates).double()(sound)
        torch.testing.assert_close(Resample(*rates)(sound), theirs, atol=1e-14, rtol=0)


def test_importing_audio_loads_no_audio_library():
    libraries = {"librosa", "scipy", "torchaudio", "soundfile"}
    loaded = f"import sys, avnb.networks.spectrograms; print({libraries} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
