"""What stands for the scrubber where no kernel runs: a picture that says what it is and how to move it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from avnb.viewing.painting import STAGE, font

EDGE = (86, 180, 233)
TEXT, FAINT = (235, 235, 240), (150, 150, 160)
MARGIN, LINE = 12, 20  # pixels
HEADING = "A saved picture of the scrubber"
ADVICE = "Run this notebook, and the slider and the menus move."


def saved_picture(
    pixels: UInt8[np.ndarray, "height width 3"], position: int, count: int, choices: Sequence[str], caption: str
) -> UInt8[np.ndarray, "framed_height framed_width 3"]:
    """Return ``pixels`` in a frame with a heading, the slider at ``position`` of ``count`` (from 1) and what is chosen.

    ``choices`` are the controls with their values, one line each; ``caption`` names what is seen.
    """
    from PIL import Image, ImageDraw

    height, width = pixels.shape[:2]
    lines = [caption, *choices]
    high = MARGIN + 2 * LINE + 6 + height + 34 + LINE * len(lines) + MARGIN
    wide = max(width, 420) + 2 * MARGIN
    card = Image.new("RGB", (wide, high), STAGE)
    draw = ImageDraw.Draw(card)
    draw.rounded_rectangle((1, 1, wide - 2, high - 2), 8, outline=EDGE, width=2)
    draw.text((MARGIN, MARGIN - 2), HEADING, font=font(15), fill=EDGE)
    draw.text((MARGIN, MARGIN + LINE - 2), ADVICE, font=font(12), fill=FAINT)
    top = MARGIN + 2 * LINE + 6
    card.paste(Image.fromarray(pixels), ((wide - width) // 2, top))

    y = top + height + 18
    draw.polygon([(MARGIN, y - 7), (MARGIN, y + 7), (MARGIN + 12, y)], fill=TEXT)
    left, right = MARGIN + 26, wide - MARGIN - 90
    at = left + (right - left) * (position - 1) / max(1, count - 1)
    draw.line((left, y, right, y), fill=FAINT, width=4)
    draw.line((left, y, at, y), fill=EDGE, width=4)
    draw.ellipse((at - 8, y - 8, at + 8, y + 8), fill=TEXT, outline=EDGE, width=2)
    draw.text((right + 14, y - 8), f"{position} of {count}", font=font(12), fill=TEXT)
    for number, line in enumerate(lines):
        draw.text((MARGIN, y + 16 + LINE * number), line, font=font(12), fill=FAINT if number else TEXT)
    return np.asarray(card)
