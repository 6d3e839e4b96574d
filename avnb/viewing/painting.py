"""Heat, outlines and badges painted on frames fast enough to scrub through: about 20 ms a picture.

What ``avnb.viewing.plots`` draws with matplotlib's figures for a page is painted here on pixels, in the same style:
heat over the greyed frame, the true outline in the class's colour, and the region that a threshold rule cuts from the
map as a dashed white line. Introduced in notebooks/10_heatmaps.ipynb.
"""

import base64
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, UInt8

from avnb.viewing.colours import Colour

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

COLOUR_MAPS = ("inferno", "magma", "viridis", "cividis", "turbo")
STAGE = (18, 18, 22)  # behind the panels
NOTE = (0.07, 0.07, 0.09)  # behind a panel's note
LARGEST = 2.0  # times that a frame is enlarged at most
GAP = 8  # pixels between panels
BAND = 26  # pixels above a panel where its name stands, if it is not to cover the picture
CORNER = 6  # pixels of a badge's distance from the corner
Line = Float[np.ndarray, "_ 2"]  # x, y in pixels


@dataclass(frozen=True)
class Look:
    """How heat is painted: ``opacity`` 0 (the frame as it is) to 1, and one of ``COLOUR_MAPS``."""

    opacity: float = 0.75
    colour_map: str = "inferno"


@dataclass(frozen=True)
class Panel:
    """What is painted into one panel. Introduced in notebooks/10_heatmaps.ipynb.

    ``heat`` is in 0..1 and of any size, it is enlarged bilinearly; None leaves the frame as it is. ``truth`` and
    ``region`` are outlines in pixels of the frame, as ``outlines`` returns them. ``name`` stands on ``colour``, and
    ``note`` beside it on black.
    """

    frame: UInt8[np.ndarray, "height width 3"]
    heat: Float[np.ndarray, "rows columns"] | None
    name: str = ""
    note: str = ""
    colour: Colour = (0.9, 0.9, 0.9)
    truth: Sequence[Line] = ()
    region: Sequence[Line] = ()


def paint(
    panels: Sequence[Sequence[Panel]], look: Look, widest: int = 800, highest: int = 600, band: int = 0
) -> UInt8[np.ndarray, "picture_height picture_width 3"]:
    """Paint rows of panels, all of one size, into a picture of at most ``widest`` x ``highest`` pixels.

    Frames are enlarged up to ``LARGEST`` times. Names and notes stand in the panels' corners, or with a ``band`` of so
    many pixels above the panels, where they cover nothing. Introduced in notebooks/10_heatmaps.ipynb.
    """
    from PIL import Image

    rows, columns = len(panels), max(map(len, panels))
    across, down = panel_size(panels[0][0].frame.shape[:2], rows, columns, widest, highest)
    picture = Image.new("RGB", (columns * (across + GAP) - GAP, rows * (down + GAP + band) - GAP), STAGE)
    corners = {
        (column * (across + GAP), row * (down + GAP + band) + band): panel
        for row, line in enumerate(panels)
        for column, panel in enumerate(line)
    }
    for corner, panel in corners.items():
        picture.paste(_heated(panel, look, (across, down)), corner)
    picture = Image.fromarray(_with_lines(np.asarray(picture), corners, (across, down)))
    for (left, top), panel in corners.items():
        x, y = (left, top - band) if band else (left + CORNER, top + CORNER)
        for text, colour in ((panel.name, panel.colour), (panel.note, NOTE)):
            if text:
                badge = _badge(text, colour)
                if (
                    not band and x > left + CORNER and x + badge.width > left + across
                ):  # no room beside the name: below it
                    x, y = left + CORNER, y + badge.height + 3
                picture.paste(badge, (x, y), badge)
                x += badge.width + 4
    return np.asarray(picture)


def panel_size(frame: tuple[int, int], rows: int, columns: int, widest: int, highest: int) -> tuple[int, int]:
    """Return the width and height at which so many frames of (height, width) fit; both even, as video codecs want."""
    height, width = frame
    room = (widest - GAP * (columns - 1)) / (columns * width), (highest - GAP * (rows - 1)) / (rows * height)
    across, down = (2 * round(min(LARGEST, *room) * length / 2) for length in (width, height))
    return across, down


def headed(pixels: UInt8[np.ndarray, "height width 3"], titles: Sequence[str]) -> UInt8[np.ndarray, "_ width 3"]:
    """Return a picture of equally wide columns with a title above each, smaller where it would not fit."""
    from PIL import Image

    head = Image.new("RGB", (pixels.shape[1], 26), STAGE)
    width = (pixels.shape[1] + GAP) // len(titles) - GAP
    for number, title in enumerate(titles):
        badge = _badge(title, tuple(value / 255 for value in STAGE)).copy()
        badge.thumbnail((width, head.height))
        head.paste(badge, (number * (pixels.shape[1] + GAP) // len(titles), (head.height - badge.height) // 2), badge)
    return np.concatenate([np.asarray(head), pixels])


def outlines(place: Bool[np.ndarray, "height width"], outer: bool = False) -> list[Line]:
    """Return the border of a region as closed lines in pixels, smoothed over 3x3 pixels; ``outer`` leaves holes out.

    >>> square = np.zeros((8, 8), bool)
    >>> square[2:6, 2:6] = True
    >>> [line] = outlines(square)
    >>> line.min(axis=0).tolist(), line.max(axis=0).tolist()
    ([2.0, 2.0], [6.0, 6.0])
    """
    from contourpy import contour_generator
    from scipy.ndimage import uniform_filter

    soft = uniform_filter(np.pad(place, 2).astype(np.float32), 3)
    found = []
    for line in contour_generator(z=soft).lines(0.5):
        x, y = line.T
        turns = np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])  # contourpy goes round holes the other way
        if len(line) > 8 and (turns > 0 or not outer):  # no specks
            found.append(line - 1.5)  # two of padding, and a pixel's value belongs to its middle
    return found


def as_jpeg(pixels: UInt8[np.ndarray, "height width 3"], quality: int, **options: int) -> bytes:
    """Return a picture as JPEG; ``quality`` is 1 to 95, ``options`` are Pillow's."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    return file.getvalue()


def jpeg_uri(pixels: UInt8[np.ndarray, "height width 3"], quality: int, **options: int) -> str:
    """Return the same JPEG as an address that holds it, for a page without files beside it."""
    return "data:image/jpeg;base64," + base64.b64encode(as_jpeg(pixels, quality, **options)).decode()


def _heated(panel: Panel, look: Look, size: tuple[int, int]) -> "Image":
    """Return a panel's frame of ``size`` (width, height) under its heat."""
    from PIL import Image

    frame = Image.fromarray(panel.frame).resize(size, Image.Resampling.BICUBIC)
    if panel.heat is None:
        return frame
    heat = Image.fromarray(255 * panel.heat.astype(np.float32).clip(0, 1))
    level = heat.resize(size, Image.Resampling.BILINEAR).convert("L")
    pale = frame.convert("L").point([77 + 178 * grey // 255 for grey in range(256)]).convert("RGB")
    frame = Image.blend(frame, pale, min(1.0, 2 * look.opacity))
    # The picture stays readable where it is cold: heat covers it by a quarter there.
    cover = level.point([int(look.opacity * (64 + 0.75 * value)) for value in range(256)])
    level.putpalette(_palette(look.colour_map))
    return Image.composite(level.convert("RGB"), frame, cover)


@functools.lru_cache(maxsize=8)
def _palette(colour_map: str) -> bytes:
    from matplotlib import colormaps

    return (255 * colormaps[colour_map](np.arange(256))[:, :3]).round().astype(np.uint8).tobytes()


def _with_lines(
    pixels: UInt8[np.ndarray, "height width 3"], corners: Mapping[tuple[int, int], Panel], size: tuple[int, int]
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the panels' outlines: the truth in its colour with a white edge, the region dashed with a dark edge."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path
    from matplotlib.transforms import IdentityTransform

    height, width = pixels.shape[:2]
    renderer = RendererAgg(width, height, 72)
    canvas = np.asarray(renderer.buffer_rgba())
    canvas[..., :3], canvas[..., 3] = pixels, 255
    for corner, panel in corners.items():
        scale = size[0] / panel.frame.shape[1]
        for lines, colour, thick, dashes in (
            (panel.truth, "white", 4.0, None), (panel.truth, panel.colour, 2.2, None),
            (panel.region, "#15151a", 3.0, None), (panel.region, "white", 1.5, (5.0, 3.5)),
        ):  # fmt: skip
            if not lines:
                continue
            pen = renderer.new_gc()
            pen.set_foreground(colour)
            pen.set_linewidth(thick)
            if dashes:
                pen.set_dashes(0, dashes)
            # What lies on the frame's edge is drawn just inside it. Agg's rows go upwards.
            inside = [np.clip(scale * line, 1.5, np.subtract(size, 1.5)) + corner for line in lines]
            path = Path.make_compound_path(*(Path(np.abs((0, height) - line)) for line in inside))
            renderer.draw_path(pen, path, IdentityTransform())
    return canvas[..., :3]


@functools.lru_cache(maxsize=512)
def _badge(text: str, colour: Colour) -> "Image":
    """Return text on a rounded field of ``colour``, drawn at twice its size and reduced."""
    from PIL import Image, ImageDraw

    written = font(28)
    (left, _, right, _), (_, high, _, low) = (
        written.getbbox(text),
        written.getbbox("Ahgq"),
    )  # all badges are equally high
    field = Image.new("RGBA", (right - left + 24, low - high + 16))
    draw = ImageDraw.Draw(field)
    fill = tuple(round(255 * value) for value in colour)
    draw.rounded_rectangle((0, 0, field.width - 1, field.height - 1), 10, fill=(*fill, 235))
    bright = np.dot(colour, (0.299, 0.587, 0.114)) >= 0.6
    draw.text((12 - left, 8 - high), text, font=written, fill=(20, 20, 24) if bright else (255, 255, 255))
    return field.reduce(2)


@functools.lru_cache(maxsize=8)
def font(points: int) -> "FreeTypeFont":
    """Return the typeface of all that is painted, which matplotlib brings, in a size in pixels."""
    from matplotlib import font_manager
    from PIL import ImageFont

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), points)
