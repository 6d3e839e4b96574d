"""Point at a place in the frame and hear the sound that belongs to it.

Sound of Pixels' question, asked of any method that separates by a visual vector (OneAVM): the vector of a small part
of the frame takes the place of the whole frame's. Only widgets that carry their value are used (the bytes of a picture
and of a sound, a text): they need no output area, so that papermill never waits for them. `sound_map` is a page to be
clicked that needs no kernel. Introduced in notebooks/11_separation.ipynb.
"""

import functools
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from avnb.config import Settings, setting
from avnb.networks.spectrograms import stft
from avnb.viewing.page import filled, page_mark
from avnb.viewing.painting import jpeg_uri
from avnb.viewing.players import player

if TYPE_CHECKING:
    import ipywidgets
    from IPython.display import HTML

REACH = 2  # positions on each side of the one that is asked for
AT_ONCE = 56  # places whose masks are predicted at once
MARK = np.array([255, 60, 40], np.uint8)


@dataclass(frozen=True)
class HearingSettings(Settings):
    """What notebooks 08 and 11 are told: which of the test duets to look at and listen to."""

    METHOD: ClassVar[str] = "separation"

    duet: int = setting(1, low=0, doc="which of the test duets is looked at")


class Places:
    """A frame (or frames side by side), its mixture, and what a method hears at each place of its map.

    ``frame`` is uint8 [3, height, width], ``mixture`` mono at the store's rate, ``method`` has see, of_place, masks and
    separate_by, as OneAVM has.
    """

    def __init__(self, method: Any, frame: UInt8[Tensor, "3 height width"], mixture: Float[Tensor, " time"]) -> None:
        self.method, self.frame, self.mixture = method.eval(), frame, mixture
        with torch.inference_mode():
            self.visual = method.see(frame[None].to(method.settings.device))
        self.rows, self.columns = self.visual.shape[-2:]

    @torch.inference_mode()
    def sound(self, row: int, column: int) -> Float[Tensor, " samples"]:
        """Return what of the mixture belongs to a place, at the method's own rate."""
        wanted = self.method.of_place(self.visual, row, column, REACH)
        return self.method.separate_by(wanted[:, None], self.mixture[None].to(wanted.device))[0, 0].cpu()

    def level(self, sound: Float[Tensor, " samples"]) -> float:
        """Return how loud a place's sound is, in dB of the mixture."""
        whole = self.method.resample(self.mixture[None].to(self.visual.device)).square().sum().cpu()
        return float(10 * torch.log10((sound.square().sum() / whole).clamp_min(1e-10)))

    @functools.cached_property
    @torch.inference_mode()
    def loudness(self) -> Float[Tensor, "rows columns"]:
        """How loud the sound of each place is, in dB of the mixture: the energy that its mask lets through."""
        method = self.method
        waveform = method.resample(self.mixture[None].to(self.visual.device))
        front = method.spectrogram
        power = (front.filterbank @ stft(waveform, front.n_fft, front.hop).abs().square())[:, None]
        wanted = torch.cat(
            [
                method.of_place(self.visual, row, column, REACH)
                for row in range(self.rows)
                for column in range(self.columns)
            ]
        )
        passed = [
            (method.masks(part[None], waveform).square() * power).sum(dim=(2, 3))[0] for part in wanted.split(AT_ONCE)
        ]
        return 10 * torch.log10(torch.cat(passed) / power.sum()).reshape(self.rows, self.columns).cpu()

    def picture(self, row: int, column: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the frame with the part that is asked for framed."""
        image = self.frame.permute(1, 2, 0).cpu().numpy().copy()
        height, width = image.shape[:2]
        top, bottom = (_edge(row + k, self.rows, height) for k in (-REACH, REACH + 1))
        left, right = (_edge(column + k, self.columns, width) for k in (-REACH, REACH + 1))
        image[[top, bottom - 1], left:right] = image[top:bottom, [left, right - 1]] = MARK
        return image


def hear_places(
    method: Any, frame: UInt8[Tensor, "3 height width"], mixture: Float[Tensor, " time"]
) -> "ipywidgets.Widget":
    """Return two sliders, across and down, the frame with the place framed, and a player of what belongs to it.

    Introduced in notebooks/11_separation.ipynb.
    """
    import ipywidgets

    places = Places(method, frame, mixture)
    across, down = (
        ipywidgets.IntSlider(length // 2, 0, length - 1, description=name, continuous_update=False)
        for name, length in (("across", places.columns), ("down", places.rows))
    )
    picture, sound, said = ipywidgets.Image(format="png"), ipywidgets.Audio(autoplay=False), ipywidgets.HTML()
    sound.format = "mpeg"

    @functools.lru_cache(maxsize=1000)
    def found(row: int, column: int) -> tuple[bytes, bytes, str]:
        heard = places.sound(row, column)
        said = f"{places.level(heard):.1f} dB of the mixture"
        return _png(places.picture(row, column)), player(heard, method.rate).data, said

    def show(_: Any = None) -> None:
        picture.value, sound.value, said.value = found(down.value, across.value)

    for slider in (across, down):
        slider.observe(show, "value")
    show()
    return ipywidgets.VBox([picture, across, down, sound, said])


def sound_map(
    method: Any,
    frame: UInt8[Tensor, "3 height width"],
    mixture: Float[Tensor, " time"],
    rows: int = 2,
    columns: int = 4,
    seconds: float = 1.2,
) -> "HTML":
    """Return the frame as a page: a click on a part plays what belongs to its middle, as loud as is written there.

    ``rows`` times ``columns`` sounds of ``seconds`` are embedded (4 kB each), so that no kernel is needed. The loudness
    is that of the whole sound.
    Introduced in notebooks/11_separation.ipynb.
    """
    from IPython.display import HTML

    places, parts = Places(method, frame, mixture), []
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        heard = places.sound(int((row + 0.5) * places.rows / rows), int((column + 0.5) * places.columns / columns))
        source = player(heard[: round(seconds * method.rate)], method.rate).src_attr()
        parts.append(
            f'<button style="left:{100 * column / columns:.2f}%;top:{100 * row / rows:.2f}%;'
            f'width:{100 / columns:.2f}%;height:{100 / rows:.2f}%" data-sound="{source}">'
            f"{places.level(heard):.0f} dB</button>"
        )
    picture = jpeg_uri(frame.permute(1, 2, 0).cpu().numpy(), 60, optimize=True)
    mark = page_mark("sounds", "".join(parts))
    style, script = (filled(f"sound_map.{kind}", MARK=mark) for kind in ("css", "js"))
    return HTML(
        f'<style>{style}</style><div id="{mark}" style="max-width:{frame.shape[-1]}px">'
        f'<div><img src="{picture}">{"".join(parts)}</div><audio controls></audio></div><script>{script}</script>'
    )


def _edge(place: int, count: int, pixels: int) -> int:
    return min(max(place, 0), count) * pixels // count


def _png(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
