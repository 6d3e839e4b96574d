"""Sounds to listen to in a notebook, small enough to be kept in it. Introduced in notebooks/01_data_mixing.ipynb."""

import html
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from avnb.errors import DataError
from avnb.viewing.colours import readable

if TYPE_CHECKING:
    import IPython.display

LOUD = 0.999  # a player's highest peak


def player(waveform: Float[Tensor, " time"] | Float[np.ndarray, " time"], rate: int) -> "IPython.display.Audio":
    """Return a player of a mono waveform in -1..1 at ``rate`` Hz, which embeds it as MP3 (about 12 kB for 3 s).

    A peak above 1 (sums of several sources have it) is scaled down; nothing is scaled up, so that loudness can be
    compared. MP3 plays in every browser and, unlike Ogg's, its bytes are the same in every run. Raises DataError for a
    rate that MP3 does not have.
    """
    from IPython.display import Audio

    sound = Audio(data=_as_mp3(waveform, rate))
    sound.mimetype = "audio/mpeg"
    return sound


def players(
    sounds: Mapping[str, Float[Tensor, " time"] | Float[np.ndarray, " time"]], rate: int
) -> "IPython.display.HTML":
    """Return a row of players with a name above each. Introduced in notebooks/01_data_mixing.ipynb."""
    from IPython.display import HTML

    figures = [
        '<figure style="display:inline-block;margin:0 1em .5em 0">'
        f"<figcaption>{html.escape(readable(name))}</figcaption>"
        f'<audio controls style="width:15em" src="{player(waveform, rate).src_attr()}"></audio></figure>'
        for name, waveform in sounds.items()
    ]
    return HTML("\n".join(figures))


def _as_mp3(waveform: Tensor | np.ndarray, rate: int) -> bytes:
    import soundfile

    samples = np.asarray(waveform.detach().cpu() if isinstance(waveform, Tensor) else waveform, np.float32)
    samples = samples * (LOUD / max(LOUD, float(np.abs(samples).max(initial=0))))
    file = io.BytesIO()
    try:
        soundfile.write(file, samples, rate, format="MP3", compression_level=0.85)
    except soundfile.LibsndfileError:
        raise DataError(
            f"A sound at {rate} Hz cannot be played: MP3 has 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100 and "
            "48000 Hz. Resample it first."
        ) from None
    return file.getvalue()
