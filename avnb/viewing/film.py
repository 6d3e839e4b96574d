"""What the scrubber shows, for readers without a kernel: a film with sound, and a page to leaf through.

Introduced in notebooks/10_heatmaps.ipynb.
"""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

from avnb.errors import DataError
from avnb.viewing.page import filled, page_mark
from avnb.viewing.painting import STAGE, as_jpeg, jpeg_uri
from avnb.viewing.scrubber import Scrubber

if TYPE_CHECKING:
    import IPython.display

FRAME_RATE = 10  # pictures a second
DAWN = 0.8  # seconds in which the heat rises over the frame
TRACK = 40  # pixels of the sound's height, below the picture
BLUE, WHITE = (86, 180, 233), (255, 255, 255)
Picture = UInt8[np.ndarray, "height width 3"]


def show_picture(pixels: Picture, quality: int = 68) -> "IPython.display.Image":
    """Return what ``Scrubber.still`` and ``sheet`` paint as a picture of the page, as JPEG of a quality of 1 to 95."""
    from IPython.display import Image

    return Image(as_jpeg(pixels, quality, optimize=True, progressive=True), format="jpeg")


def film(scrubber: Scrubber, places: Sequence[int], widest: int = 640, quality: int = 28) -> bytes:
    """Return an MP4 (H.264, AAC) of the clips at ``places``: each sounds once, and the heat rises over its frame.

    Methods, source, rule and look are those that the scrubber shows. A line runs through the mixture's waveform below
    the picture. ``quality`` is x264's, 0 (lossless) to 51. Raises DataError where the clips have no sound of their own.
    """
    import av

    reel, look = scrubber.reel, scrubber.view.look
    sounds = [reel.read(place).sound for place in places]
    if any(sound is None for sound in sounds):
        raise DataError(f'"{reel.label}" has one sound for all its scenes; avnb.localize_video writes its film.')
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        pictures = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": str(quality), "preset": "slow"})
        height, pictures.width = scrubber.still(widest, place=places[0]).shape[:2]
        pictures.height, pictures.pix_fmt = height + TRACK, "yuv420p"
        track = container.add_stream("aac", rate=reel.rate, layout="mono", options={"b": "24k"})
        heard = 0
        for place, sound in zip(places, sounds, strict=True):
            full = scrubber.still(widest, place=place)
            dark = [
                scrubber.still(widest, place=place, region=False, look=replace(look, opacity=look.opacity * share))
                for share in np.linspace(0, 1, round(DAWN * FRAME_RATE), endpoint=False)
            ]
            for number in range(len(sound) * FRAME_RATE // reel.rate):
                done = number / (len(sound) / reel.rate * FRAME_RATE)
                page = np.concatenate([[*dark, full][min(number, len(dark))], _track(sound, full.shape[1], done)])
                container.mux(pictures.encode(av.VideoFrame.from_ndarray(page, "rgb24")))
            samples = av.AudioFrame.from_ndarray(_even(sound)[None], format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = reel.rate, heard, Fraction(1, reel.rate)
            container.mux(track.encode(samples))
            heard += len(sound)
        for stream in (pictures, track):
            container.mux(stream.encode(None))
    return file.getvalue()


def show_film(mp4: bytes) -> "IPython.display.HTML":
    """Return a player that holds the film itself."""
    from IPython.display import HTML

    source = f"data:video/mp4;base64,{base64.b64encode(mp4).decode()}"
    return HTML(f'<video controls playsinline style="max-width:100%;border-radius:8px" src="{source}"></video>')


def flip_book(
    scrubber: Scrubber, places: Sequence[int], widest: int = 560, quality: int = 70
) -> "IPython.display.HTML":
    """Return the pictures at ``places`` as a page with a slider and a play button that needs no kernel.

    What it shows is what the scrubber shows. ``quality`` is JPEG's, 1 to 95.
    """
    from IPython.display import HTML

    pages = [jpeg_uri(scrubber.still(widest, place=place), quality, optimize=True) for place in places]
    captions = [html.escape(scrubber.reel.read(place).caption) for place in places]
    figures = "".join(
        f'<figure{" hidden" if number else ""}><img src="{page}">'
        f"<figcaption>{number + 1} of {len(pages)}: {caption}</figcaption></figure>"
        for number, (page, caption) in enumerate(zip(pages, captions, strict=True))
    )
    mark = page_mark("book", "".join(pages))
    style, script = (filled(f"flip_book.{kind}", MARK=mark) for kind in ("css", "js"))
    return HTML(
        f'<style>{style}</style><div id="{mark}" style="max-width:{widest}px">{figures}<div><button>play</button>'
        f'<input type="range" aria-label="page" min="0" max="{len(pages) - 1}" value="0"></div></div>'
        f"<script>{script}</script>"
    )


def _track(sound: Float[np.ndarray, " time"], width: int, done: float) -> Picture:
    """Draw the waveform, bright as far as it has been heard."""
    strip = np.full((TRACK, width, 3), STAGE, np.uint8)
    peaks = np.array([np.abs(part).max(initial=0) for part in np.array_split(sound, width // 4)])
    high = np.round(peaks / max(peaks.max(), 1e-6) * (TRACK / 2 - 6)).astype(int) + 1
    for number, length in enumerate(high):
        place = slice(4 * number, 4 * number + 3)
        bright = 4 * number < done * width
        strip[TRACK // 2 - length : TRACK // 2 + length, place] = BLUE if bright else np.array(BLUE) // 3
    at = min(width - 2, round(done * width))
    strip[4:-4, at : at + 2] = WHITE
    return strip


def _even(sound: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
    """Return the sound with its ends faded over 20 ms, and scaled down where it would be clipped."""
    ends = min(441, len(sound) // 2)
    fade = np.ones(len(sound), np.float32)
    fade[:ends] = np.linspace(0, 1, ends)
    fade[len(sound) - ends :] = np.linspace(1, 0, ends)
    return (sound * fade / max(1.0, np.abs(sound).max())).astype(np.float32)
