"""What each method hears: the papers' spectrograms as torch modules, and the STFT with its inverse for separation.

A model owns its front end, so waveforms travel through the project and spectrograms are made on the model's device.
All front ends take mono waveforms in -1..1 at their ``rate`` and return one-channel images: a row for each frequency
bin, the lowest at row 0, and a column for each step in time (the papers of DSOL and Mix-and-Localize print theirs the
other way round: 201x64 and 193x64 are 64 rows and 201 or 193 columns here). They hold nothing that is trained or
saved, return float32 also under autocast (float64 for float64), and fill a waveform that is shorter than one
analysis window with zeros up to that window.

====================== ========================== =================== =========================================
front end              method                     shape of its clip   resolved here
====================== ========================== =================== =========================================
LinearLogSpectrogram   EZ-VSL, AVGN, LVS          257x137 (11,025 Hz) window and width the papers print otherwise
DsolLogMel             DSOL                       64x201 (1 s)        decibels of an amplitude
MixAndLocalizeLogMel   Mix-and-Localize           64x193 (0.96 s)     decibels of a power, doubled
OneAvmLogMel           OneAVM                     128x128 (3 s)       a hop that gives the printed shape
LogFrequency           Sound of Pixels, MP-Net,   256x256 (5.94 s)    a matrix in place of image interpolation
                       CCoL
CoarseToFineLogMel     CoarsetoFine               64x251 (5 s)        nothing: as released
LogMel                 every method's quick run   64x128 (3 s)        ours, not a paper's
====================== ========================== =================== =========================================
"""

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from avnb.devices import full_precision
from avnb.errors import SettingsError


class FrontEnd(nn.Module):
    """What all front ends share: a waveform at ``rate`` Hz in, an image of its spectrogram out, in full precision."""

    precision = torch.float32  # float64 where the logarithm reaches below float32's rounding of a loud tone

    def __init__(self, rate: int, n_fft: int, hop: int):
        super().__init__()
        self.rate, self.n_fft, self.hop = rate, n_fft, hop

    def forward(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 1 bins frames"]:
        """Return the spectrogram as an image, low frequencies first, on the waveform's device."""
        on_apple = waveform.device.type == "mps"  # which has no float64
        precision = torch.float32 if on_apple else torch.promote_types(waveform.dtype, self.precision)
        with full_precision(waveform.device):
            image = self.spectrogram(_at_least(waveform.to(precision), self.n_fft)).unsqueeze(1)
        return image.to(torch.promote_types(waveform.dtype, torch.float32))

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch bins frames"]:
        """Return the spectrogram of a waveform of at least one window."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"rate={self.rate}, n_fft={self.n_fft}, hop={self.hop}"


CROSSINGS = 6  # zeros of the resampling filter, to a side
ROLL_OFF = 0.99  # of half the lower rate: where that filter cuts
AT_ONCE = 16  # samples that a step of the filter makes, at least


class Resampled(nn.Module):
    """A front end that is given waveforms at ``rate`` Hz and first brings them to its own rate."""

    def __init__(self, front: FrontEnd, rate: int):
        super().__init__()
        self.resample, self.front = Resample(rate, front.rate), front

    def forward(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 1 bins frames"]:
        return self.front(self.resample(waveform))


class Resample(nn.Module):
    """Waveforms at ``rate`` Hz brought to ``new_rate``, low-pass filtered: the numbers of torchaudio's Resample.

    Its filter is made here, since torchaudio loads beside one version of torch alone. Filters of few phases stand side
    by side, shifted, in one of ``AT_ONCE`` phases and more: a convolution from one channel to one has no fast kernel
    (22,050 to 11,025 Hz takes a tenth of the time so).

    In full precision also under autocast, whose half precision would drown quiet bins in noise, and in whole numbers
    that Python counts, at which torch.compile does not stop.
    """

    def __init__(self, rate: int, new_rate: int):
        super().__init__()
        common = math.gcd(rate, new_rate)
        self.every, self.phases = rate // common, new_rate // common  # each ``every`` samples become ``phases``
        self.reach, kernel = windowed_sinc(self.every, self.phases)
        self.register_buffer("kernel", kernel)
        self.block = -(-AT_ONCE // self.phases)  # times that the filters stand side by side
        step = self.every
        shifted = [pad(kernel, (k * step, (self.block - 1 - k) * step)) for k in range(self.block)]
        self.register_buffer("filters", torch.cat(shifted), persistent=False)

    def forward(self, waveform: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch samples"]:
        time, step = waveform.shape[-1], self.block * self.every
        length = -(-self.phases * time // self.every)
        blocks = max(1, -(-length // len(self.filters)))
        flat = waveform.reshape(-1, 1, time)
        with full_precision(waveform.device):
            flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
            heard = (blocks - 1) * step + self.filters.shape[-1]
            flat = pad(flat, (self.reach, heard - self.reach - time))
            samples = conv1d(flat, self.filters.to(flat.dtype), stride=step)
        return samples.mT.reshape(len(flat), -1)[:, :length].reshape(*waveform.shape[:-1], length)


def windowed_sinc(every: int, phases: int) -> tuple[int, Float[Tensor, "phases 1 taps"]]:
    """Return the filters that make ``phases`` samples of every ``every``, and how many samples they reach to a side.

    Band-limited interpolation (Smith, "Digital Audio Resampling"; torchaudio's defaults): a sinc that cuts at 0.99 of
    half the lower rate, under a Hann window of ``CROSSINGS`` zeros to a side. Made in float64 but for the phases,
    which torchaudio divides in float32: with other roundings what was trained would hear other last bits.
    """
    cut = ROLL_OFF * min(every, phases)
    reach = math.ceil(CROSSINGS * every / cut)
    taps = torch.arange(-reach, reach + every, dtype=torch.float64) / every
    times = torch.arange(0, -phases, -1)[:, None, None] / phases + taps
    times = (cut * times).clamp(-CROSSINGS, CROSSINGS)
    window = (torch.pi * times / CROSSINGS / 2).cos().square()
    return reach, (times.sinc() * window * (cut / every)).float()


def at_rate(front: FrontEnd, rate: int) -> nn.Module:
    """Return a front end that is given waveforms at ``rate`` Hz: ``front`` itself where that is its rate."""
    return front if front.rate == rate else Resampled(front, rate)


class LinearLogSpectrogram(FrontEnd):
    """The 257-bin log spectrogram of EZ-VSL, AVGN and LVS: ln(power density + 1e-7) / 12, about -1.34 (silence) to 0.

    Equal to ``scipy.signal.spectrogram(x, rate, nperseg=512, noverlap=274)``, which all three released programs call:
    each frame loses its mean, is tapered by SciPy's default Tukey(0.25) window, and frames start at the first sample.
    3 s give 257x137 at 11,025 Hz (EZ-VSL) and 257x276 at 22,050 Hz (AVGN).
    Introduced in notebooks/01_data_mixing.ipynb.

    The papers print 50 ms windows, 25 ms hops and 257x300, which exclude one another: 257 bins need 512 samples,
    which last 46 ms at 11,025 Hz but 23 ms at 22,050 Hz; 25 ms hops give 120 columns; no rate they name gives 300.
    The window's shape is not named. Here is what was run; the encoders pool over time, so no width is asked of it.
    """

    def __init__(self, rate: int):
        super().__init__(rate, n_fft=512, hop=238)
        window = _tukey_window(self.n_fft)
        # From power to power density. A real signal's negative frequencies count too: all but 0 Hz and rate / 2 twice.
        density = torch.ones(self.n_fft // 2 + 1) / (rate * window.square().sum())
        density[1:-1] *= 2
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("density", density, persistent=False)

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 257 frames"]:
        frames = waveform.unfold(-1, self.n_fft, self.hop)
        frames = frames - frames.mean(-1, keepdim=True)
        spectrum = torch.fft.rfft(frames * self.window)
        return (_power(spectrum) * self.density + 1e-7).log().mT / 12


class LogMel(FrontEnd):
    """A log-mel spectrogram, standardised to about zero mean and unit scale: what the quick preset hears.

    ``rate`` and the ``n_fft``-sample Hann windows, ``hop`` samples apart and centred on their times, are in samples;
    ``bins`` mel bands span 0 Hz to half the rate (`mel_filterbank` says what ``scale`` chooses) and add up
    magnitudes to the ``power`` of 1 or 2. The edges are padded with zeros or by reflection, by half a window.
    T samples give 1 + T // hop columns, the default 64x128 for 3 s. The papers' front ends below are the same
    machinery with their constants and their `compress`. Introduced in notebooks/01_data_mixing.ipynb.

    >>> LogMel()(torch.zeros(2, 3 * 22_050)).shape
    torch.Size([2, 1, 64, 128])
    """

    def __init__(
        self,
        rate: int = 22_050,
        n_fft: int = 1024,
        hop: int = 520,
        bins: int = 64,
        *,
        scale: Literal["slaney", "htk"] = "slaney",
        power: Literal[1, 2] = 2,
        padding: Literal["constant", "reflect"] = "constant",
    ):
        super().__init__(rate, n_fft, hop)
        self.power, self.padding = power, padding
        filterbank = torch.from_numpy(mel_filterbank(rate, n_fft, bins, scale)).float()
        self.register_buffer("filterbank", filterbank, persistent=False)

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch bins frames"]:
        spectrum = stft(waveform, self.n_fft, self.hop, self.padding)
        strength = spectrum.abs() if self.power == 1 else _power(spectrum)
        return self.compress(self.filterbank.to(strength.dtype) @ strength)

    def image_of(self, magnitudes: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch bins frames"]:
        """Return the spectrogram whose bands have these `magnitudes`."""
        return self.compress(magnitudes.square())

    def magnitudes(self, spectrum: Complex[Tensor, "*batch frequencies frames"]) -> Float[Tensor, "*batch bins frames"]:
        """Return the root of each band's power, of an `stft`: what masks over the bands are made of."""
        return (self.filterbank.to(spectrum.real.dtype) @ spectrum.abs().square()).sqrt()

    def spread(self) -> Float[Tensor, "frequencies bins"]:
        """Return the matrix that carries a mask over the bands to the STFT's bins; a mask of ones stays one.

        A bin takes its shares of the bands it is part of, or all of the band nearest to it.
        """
        shares = self.filterbank.T.clone()
        covered = shares.sum(dim=1) > 1e-6
        places = covered.nonzero().flatten()
        for place in (~covered).nonzero().flatten():
            shares[place] = shares[places[(places - place).abs().argmin()]]
        return shares / shares.sum(dim=1, keepdim=True)

    def compress(self, mel: Float[Tensor, "batch bins frames"]) -> Float[Tensor, "batch bins frames"]:
        """Return ln(mel + 1e-5), whose mean of -6 and deviation of 4 were measured on recordings of 12 instruments."""
        return ((mel + 1e-5).log() + 6) / 4


class DsolLogMel(LogMel):
    """DSOL's 64x201 log-mel of 1 s at 16 kHz, in decibels: -100 (silence) to about 0, not standardised.

    10 ms windows, 5 ms hops. As released: the decibels are 10 log10 of mel *amplitudes* (librosa's ``power_to_db``
    on |STFT|, so half the usual slope), and no value lies more than 80 below the clip's own maximum. Rows 0
    and 13 are bands too narrow to hold one of the STFT's bins, 100 Hz apart, and stay empty, as in the paper.
    DSOL, section 4.2. Introduced in notebooks/01_data_mixing.ipynb.
    """

    precision = torch.float64

    def __init__(self):
        super().__init__(rate=16_000, n_fft=160, hop=80, bins=64, power=1)

    def compress(self, mel: Float[Tensor, "batch 64 frames"]) -> Float[Tensor, "batch 64 frames"]:
        decibels = 10 * mel.clamp(min=1e-10).log10()
        return torch.maximum(decibels, decibels.amax(dim=(-2, -1), keepdim=True) - 80)


class MixAndLocalizeLogMel(LogMel):
    """Mix-and-Localize's 64x193 log-mel of 0.96 s at 16 kHz, -1 (silence) to about 0.5.

    10 ms windows, 5 ms hops; the waveform is first brought to a root mean square of 0.1 (silence stays silent). As
    released: 20 log10 is taken of mel *powers*, twice the usual decibels, cut at 1e-5 and divided by 100. Rows 0,
    1, 4 and 7 are bands too narrow to hold one of the STFT's bins, 100 Hz apart, and stay empty, as in the paper.
    Mix-and-Localize, implementation details. Introduced in notebooks/01_data_mixing.ipynb.
    """

    def __init__(self):
        super().__init__(rate=16_000, n_fft=160, hop=80, bins=64, scale="htk", padding="reflect")

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch 64 frames"]:
        # Clamped before the root, whose slope at 0 is infinite: silence must not turn gradients into NaN.
        loudness = waveform.square().mean(-1, keepdim=True).clamp(min=1e-12).sqrt()
        return super().spectrogram(0.1 * waveform / loudness)

    def compress(self, mel: Float[Tensor, "batch 64 frames"]) -> Float[Tensor, "batch 64 frames"]:
        return 20 * mel.clamp(min=1e-5).log10() / 100


class OneAvmLogMel(LogMel):
    """OneAVM's 128x128 log-mel of 3 s at 8 kHz: log10(mel power + 1e-7), -7 (silence) to about 4.

    The paper prints 50 ms windows, 25 ms hops and 128x128, once as a log and once as a log-mel spectrogram; no code
    was released. 50 ms are 400 samples, so 201 linear bins: the 128 must be mel bands. 25 ms hops give 121 columns:
    the shape wins, by a hop of 188 samples (23.5 ms). The bands and the logarithm are those of the authors' later code
    (DeepAVFusion). Neighbouring bands add up to 1, but for 0 Hz and the top 70, so ``filterbank.T @ mask`` carries a
    mask over mel bands to the bins of ``stft(waveform, 400, 188)``, whose columns are the same. OneAVM, section 4.1.
    Introduced in notebooks/01_data_mixing.ipynb.
    """

    precision = torch.float64

    def __init__(self):
        super().__init__(rate=8_000, n_fft=400, hop=188, bins=128, scale="htk", padding="reflect")

    def compress(self, mel: Float[Tensor, "batch 128 frames"]) -> Float[Tensor, "batch 128 frames"]:
        return (mel + 1e-7).log10()


class LogFrequency(FrontEnd):
    """Sound of Pixels' 256 rows of logarithmic frequency: ln(magnitude + ``offset``), of 65,535 samples 256x256.

    11,025 Hz, 1022-sample windows, 256-sample hops: 512 bins, of whose magnitudes row r reads the place
    (f(y_r) + 1) / 2 * 511, with f(y) = (21^((y + 1) / 2) - 11) / 10 and y_r from -1 to 1, between two bins linearly.
    The rows are dense below (0, 0.31, 0.62, ... bins) and 6.4 bins apart on top, where 175 bins are read by none.
    `spread` reads the same way back: ideal masks lose 0.5 dB in both. The released code warps spectrograms as images,
    whose corners PyTorch has read otherwise since 1.3 (align_corners), so that the outermost rows and columns count
    half; a matrix does what was meant. ``offset`` is 1e-10 in Sound of Pixels and MP-Net, 1 in CCoL. Edges are padded
    with zeros, there by reflection.
    """

    padding = "constant"

    def __init__(self, offset: float = 1e-10, rows: int = 256, rate: int = 11_025, n_fft: int = 1022, hop: int = 256):
        super().__init__(rate, n_fft, hop)
        self.offset = offset
        bins = n_fft // 2 + 1
        y = torch.linspace(-1, 1, rows, dtype=torch.float64)
        self.register_buffer("filterbank", _reading((21 ** ((y + 1) / 2) - 11) / 10, bins).float(), persistent=False)

    def spectrogram(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch rows frames"]:
        return self.image_of(self.magnitudes(stft(waveform, self.n_fft, self.hop)))

    def image_of(self, magnitudes: Float[Tensor, "batch rows frames"]) -> Float[Tensor, "batch rows frames"]:
        """Return the spectrogram whose rows have these `magnitudes`."""
        return (magnitudes + self.offset).log()

    def magnitudes(self, spectrum: Complex[Tensor, "*batch frequencies frames"]) -> Float[Tensor, "*batch rows frames"]:
        """Return the magnitudes that the rows read, of an `stft`: what masks over the rows are made of."""
        return self.filterbank.to(spectrum.real.dtype) @ spectrum.abs()

    def spread(self) -> Float[Tensor, "frequencies rows"]:
        """Return the matrix that carries a mask over the rows to the STFT's bins; a mask of ones stays one."""
        rows, bins = self.filterbank.shape
        y = torch.linspace(-1, 1, bins, dtype=torch.float64)
        return _reading(2 * torch.log(10 * y + 11) / math.log(21) - 1, rows).float()


def _reading(places: Float[Tensor, " rows"], bins: int) -> Float[Tensor, "rows {bins}"]:
    """Return the matrix that reads ``bins`` values, which lie from -1 to 1, at ``places``, linearly between two."""
    position = ((places + 1) / 2 * (bins - 1)).clamp(0, bins - 1)
    return (1 - (position[:, None] - torch.arange(bins, dtype=places.dtype)).abs()).clamp(min=0)


class CoarseToFineLogMel(LogMel):
    """CoarsetoFine's log-mel at 22,050 Hz: ln(mel power + 2.2e-16), -36 (silence) to about 8, not standardised.

    40 ms windows, 20 ms hops, 64 bands: 64x251 for the 5 s that its released program hears, 64x151 for 3 s.
    """

    precision = torch.float64

    def __init__(self):
        super().__init__(rate=22_050, n_fft=882, hop=441, bins=64)

    def compress(self, mel: Float[Tensor, "batch 64 frames"]) -> Float[Tensor, "batch 64 frames"]:
        return (mel + 2.2e-16).log()


def mel_filterbank(
    rate: int,
    n_fft: int,
    bins: int,
    scale: Literal["slaney", "htk"],
    lowest: float = 0.0,
    highest: float | None = None,
) -> Float[np.ndarray, "bins frequencies"]:
    """Return the weights that add ``n_fft // 2 + 1`` STFT bins up to ``bins`` overlapping triangles.

    They span ``lowest`` to ``highest`` Hz, by default 0 Hz to half the rate.

    ``slaney`` is librosa's default (linear below 1 kHz; each triangle has an area of 1), ``htk`` is torchaudio's
    (2595 log10(1 + f / 700); each triangle has a height of 1). Float64: torchaudio's own, in float32, is off by up to
    4e-5 of a band, and by half a hertz where the rate is odd.
    """
    # Equal steps of mel between the two: band k rises from edge k to edge k + 1 and falls to edge k + 2.
    ends = lowest, rate / 2 if highest is None else highest
    if scale == "htk":
        mels = np.linspace(*(2595 * math.log10(1 + end / 700) for end in ends), bins + 2)
        edges = 700 * (10 ** (mels / 2595) - 1)
    else:  # 15 mels up to 1 kHz, then 27 for each factor of 6.4
        mels = np.linspace(
            *(end * 15 / 1000 if end <= 1000 else 15 + 27 * math.log(end / 1000) / math.log(6.4) for end in ends),
            bins + 2,
        )
        edges = np.where(mels < 15, mels * 1000 / 15, 1000 * 6.4 ** ((mels - 15) / 27))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = np.linspace(0, rate / 2, n_fft // 2 + 1)
    triangles = np.minimum((frequencies - low) / (centre - low), (high - frequencies) / (high - centre)).clip(min=0)
    return triangles if scale == "htk" else triangles * 2 / (high - low)


def stft(
    waveform: Float[Tensor, "*batch time"],
    n_fft: int,
    hop: int,
    padding: Literal["constant", "reflect"] = "constant",
) -> Complex[Tensor, "*batch frequencies frames"]:
    """Return the spectrum of each ``n_fft``-sample Hann window, ``hop`` samples apart: librosa's, on the device.

    Windows are centred, over edges padded by half a window: T samples give n_fft // 2 + 1 frequencies and
    1 + T // hop frames. Separation multiplies it with a mask and returns through `inverse_stft`; Sound of Pixels'
    ``stft(x, 1022, 256)`` of 65,535 samples is 512x256. Introduced in notebooks/11_separation.ipynb.
    """
    waveform = _at_least(waveform.to(torch.promote_types(waveform.dtype, torch.float32)), n_fft)
    window = torch.hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    flat = waveform.reshape(-1, waveform.shape[-1])
    spectrum = torch.stft(flat, n_fft, hop, window=window, center=True, pad_mode=padding, return_complex=True)
    return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def inverse_stft(
    spectrum: Complex[Tensor, "*batch frequencies frames"], n_fft: int, hop: int, length: int
) -> Float[Tensor, "*batch {length}"]:
    """Return the waveform of ``length`` samples whose `stft` is ``spectrum``, or comes nearest to it.

    ``inverse_stft(stft(x, n_fft, hop), n_fft, hop, x.shape[-1])`` is x to 1e-5 for hops of up to 3/8 of ``n_fft``; at
    a half the very last samples, which only the foot of one window covers, can be off by 1e-2. SettingsError for
    longer hops, which lose samples.
    """
    if 2 * hop > n_fft:
        raise SettingsError(
            f"a hop of {hop} samples cannot be inverted with windows of {n_fft}: "
            f"take at most {n_fft // 2}, better {n_fft // 4}"
        )
    window = torch.hann_window(n_fft, dtype=spectrum.real.dtype, device=spectrum.device)
    flat = spectrum.reshape(-1, *spectrum.shape[-2:])
    waveform = torch.istft(flat, n_fft, hop, window=window, center=True, length=length)
    return waveform.reshape(*spectrum.shape[:-2], length)


def _at_least(waveform: Float[Tensor, "*batch time"], samples: int) -> Float[Tensor, "*batch longer"]:
    """Return ``waveform`` filled up with zeros to ``samples``, which torch.stft and unfold need."""
    return pad(waveform, (0, max(0, samples - waveform.shape[-1])))


def _power(spectrum: Complex[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the squared magnitude, in a quarter of the time that squaring ``abs()`` takes."""
    return spectrum.real.square() + spectrum.imag.square()


def _tukey_window(length: int, tapered: float = 0.25) -> Float[Tensor, " {length}"]:
    """Return SciPy's periodic Tukey window: flat, with cosine ramps over ``tapered`` / 2 of its length at each end."""
    position = torch.arange(length, dtype=torch.float64) / length
    ramp = torch.minimum(position, 1 - position) / (tapered / 2)
    return torch.where(ramp < 1, (1 - (math.pi * ramp).cos()) / 2, 1.0).float()
