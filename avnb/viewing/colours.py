"""One colour a class throughout the project, told apart by colour-blind eyes too, and names as a person writes them."""

import functools
import itertools
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from avnb.data.benchmarks import BENCHMARKS
from avnb.errors import printable
from avnb.papers import all_tables
from avnb.paths import shortened

Colour = tuple[float, float, float]  # red, green, blue in 0..1

INK = "#222222"
SOUNDING, SILENT = (0.0, 0.62, 0.45), (0.84, 0.37, 0.0)  # green and red that everyone tells apart (Okabe and Ito)

# Curves that are no classes: MUSIC's classes have none of these colours, in any eye.
LINES = ("#332288", "#aa4499", "#00ddaa", "#5a6b7b", "#882255", "#ddcc77", "#114433")

# Okabe and Ito, "Color Universal Design" (2008), in an order that starts with the two easiest to tell apart.
OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")

# Four more, for MUSIC's eleven classes: of all vivid colours neither dark nor pale, those that are farthest from the
# seven and from each other (in Oklab; a difference in common sight counts half as much as one in other eyes).
FOUR_MORE = ("#d100ff", "#5d00d1", "#a20074", "#744600")

# How the eyes of everyone, of protanopes and of deuteranopes see linear RGB: Machado et al. (2009), severity 1.
EYES = np.array(
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ]
)


def class_colours(classes: Sequence[str]) -> dict[str, Colour]:
    """Return a colour for each class, as far apart as they go for colour-blind eyes too.

    MUSIC's eleven instruments have the same colours in every data set; the other classes take the free places of the
    palette in their order. Seven colours are Okabe and Ito's; eleven are clearly told apart, 221 are only different.
    Introduced in notebooks/01_data_mixing.ipynb.

    >>> class_colours(["piano", "cello"])["cello"] == class_colours(["cello", "flute", "tuba"])["cello"]
    True
    """
    reserved = {label: place for place, label in enumerate(BENCHMARKS["music"].classes)}
    places = {label: reserved[label] for label in classes if label in reserved}
    free = (place for place in itertools.count() if place not in places.values())
    places |= {label: next(free) for label in dict.fromkeys(classes) if label not in places}
    colours = palette(1 + max(places.values(), default=0))
    return {label: colours[places[label]] for label in classes}


@functools.lru_cache(maxsize=4)
def palette(n: int) -> tuple[Colour, ...]:
    """Return ``n`` colours: Okabe and Ito's seven, four more, then always the one farthest from all before it."""
    steps = np.linspace(0, 1, 18)
    candidates = np.array(list(itertools.product(steps, repeat=3)))
    lightness, *chroma = np.moveaxis(as_seen(candidates)[:, 0], -1, 0)
    vivid = (np.hypot(*chroma) > 0.09) & (lightness > 0.42) & (lightness < 0.9)  # told from grey, black and white
    candidates = candidates[vivid]
    seen = as_seen(candidates)
    chosen = [np.array([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for code in (*OKABE_ITO, *FOUR_MORE)][:n]
    nearest = np.full(len(candidates), np.inf)
    for place in range(n):
        if place == len(chosen):
            chosen.append(candidates[nearest.argmax()])
        apart = np.linalg.norm(seen - as_seen(chosen[place][None]), axis=-1).min(axis=1)
        nearest = np.minimum(nearest, apart)
    return tuple(tuple(map(float, colour)) for colour in chosen)


def as_seen(rgb: Float[np.ndarray, "colours 3"]) -> Float[np.ndarray, "colours eyes 3"]:
    """Return Oklab coordinates (lightness, two of chroma; Ottosson, 2020) of sRGB colours as each of EYES sees them."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.einsum("eij,cj->cei", EYES, linear).clip(0, 1)
    to_cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    to_lab = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.cbrt(seen @ np.transpose(to_cones)) @ np.transpose(to_lab)


def readable(name: str) -> str:
    """Return the name of a class, a method or a geometry as a person writes it: on one line, and not without end.

    It is still anybody's text: what goes into a page is escaped there, and `avnb.viewing.figures` knows no formulas.

    >>> readable("acoustic_guitar"), readable("two\\nlines")
    ('acoustic guitar', 'two lines')
    """
    return shortened(printable(re.sub(r"[_\s]", " ", name)))


IN_NO_TABLE = {"slavc": "SLAVC"}  # of the five papers


def method_name(key: str) -> str:
    """Return a method's name as the papers print it; of a method that is in none, its key as a person writes it.

    >>> method_name("ez_vsl"), method_name("mix_and_localize"), method_name("slavc"), method_name("my_method")
    ('EZ-VSL', 'Mix-and-Localize', 'SLAVC', 'my method')
    """
    return _printed_names().get(_letters(key), IN_NO_TABLE.get(key) or readable(key))


@functools.cache
def _printed_names() -> dict[str, str]:
    tables = [rows for table in all_tables() for rows in table.benchmarks.values()]
    return {_letters(row.method): row.method for rows in tables for row in rows}


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
