"""The samples of a decoded piece of sound, whatever the format and the number of its channels. Needs no torch."""

from collections.abc import Iterable, Iterator

import av
import numpy as np
from jaxtyping import Float32

SLOWEST = 1000  # samples a second; with fewer, a broken header stretches a short sound to hours
CANCELLED = 1e-4  # of the channels' energy that their mean must have


def without_padding(frames: Iterable["av.AudioFrame"]) -> Iterator[tuple["av.AudioFrame", int]]:
    """Yield frames of sound, and how many samples of each are the recording's.

    An encoder fills up its last block. Where a file counts in samples it says how many of them are meant: FFmpeg 8
    leaves the others out, earlier releases do not.
    """
    before = None
    for frame in frames:
        if before is not None:
            yield before, before.samples
        before = frame
    if before is not None:
        exact = before.time_base is not None and abs(float(before.time_base) * before.sample_rate - 1) < 1e-9
        yield before, min(before.samples, before.duration) if exact and before.duration else before.samples


def samples_of(frame: "av.AudioFrame") -> Float32[np.ndarray, "time channels"]:
    """Return a frame's samples in -1..1; what is no number in the file is none here."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels > 2:  # PyAV reads such planes wrongly, and crashes on eight
        frame.pts = None
        [frame] = av.AudioResampler("flt", frame.layout.name, frame.sample_rate).resample(frame)
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    middle = 128 if values.dtype == np.uint8 else 0
    return (values.astype(np.float32) - middle) / (128 if middle else float(np.iinfo(values.dtype).max) + 1)


class Mixing:
    """Channels on their way to their mean: what was lost of them on it.

    ``lost`` counts samples that were no numbers, and are silent; `cancelled` tells that the mean holds nothing of what
    the channels do.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._mean = self._channels = 0.0

    def numbers(self, values: Float32[np.ndarray, "time channels"]) -> Float32[np.ndarray, "time channels"]:
        """Return the samples, silent where they are no numbers."""
        total = float(values.sum(dtype=np.float64))
        if not np.isfinite(total):
            good = np.isfinite(values)
            self.lost += int((~good).sum())
            return np.where(good, values, 0).astype(np.float32)
        return values

    def mean(self, values: Float32[np.ndarray, "time channels"]) -> Float32[np.ndarray, " time"]:
        """Return the mean of the channels."""
        values = self.numbers(values)
        if values.shape[1] == 1:
            return values[:, 0]
        mixed = values.mean(axis=1)
        self._mean += float(np.dot(mixed, mixed))
        self._channels += float(np.vdot(values, values)) / values.shape[1]
        return mixed

    @property
    def cancelled(self) -> bool:
        return self._mean < CANCELLED * self._channels


def sound_frame(values: Float32[np.ndarray, "time channels"], layout: str, rate: int) -> "av.AudioFrame":
    """Return samples as a frame that can be resampled or encoded."""
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values.T, np.float32), "fltp", layout)
    frame.sample_rate = rate
    return frame
