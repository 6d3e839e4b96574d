"""Walls and floors behind the stand-in's instruments.

A texture is a function of place (u, v), so that it can be turned, scaled and laid on a floor.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

from avnb.standin.drawing import WOODS, Rng, chance, paint, wood
from avnb.standin.shapes import table

Place = Float[np.ndarray, "height width"]
Picture = Float[np.ndarray, "height width 3"]
GRAINS = 512  # a power of two: places wrap by their low bits


@cache
def clouds() -> Float[np.ndarray, "grains grains"]:
    """Return one endless sheet of noise, coarse and fine, of mean 0 and deviation 1; scenes see parts of it."""
    white = np.random.default_rng(0).standard_normal((GRAINS, GRAINS))
    frequency = np.hypot(np.fft.fftfreq(GRAINS)[:, None], np.fft.rfftfreq(GRAINS))
    sheet = np.fft.irfft2(np.fft.rfft2(white) / (frequency + 4 / GRAINS) ** 1.15)
    return ((sheet - sheet.mean()) / sheet.std()).astype(np.float32)


def cloud(rng: Rng, u: Place, v: Place) -> Place:
    """Return noise at (u, v), from a place of the sheet drawn by ``rng``; one unit holds 224 grains."""
    offset = rng.integers(GRAINS, size=2)
    rows, columns = ((place * 224).astype(np.int32) + at & GRAINS - 1 for place, at in zip((v, u), offset, strict=True))
    return clouds()[rows, columns]


def plaster(rng: Rng, u: Place, v: Place) -> Picture:
    """A painted wall that fades from one colour into another."""
    a, b = paint(rng), paint(rng)
    b = a + (b - a) * float(rng.choice([0.15, 1.0]))
    fade = np.clip(0.5 + (u - 0.5) * float(rng.normal()) + (v - 0.5) * float(rng.normal()), 0, 1)[..., None]
    return a + (b - a) * fade + (rng.uniform(0.01, 0.07) * cloud(rng, u, v))[..., None]


def bricks(rng: Rng, u: Place, v: Place) -> Picture:
    """Bricks or tiles: rows of rectangles, each of a little different colour, with joints."""
    rows = rng.uniform(5, 16)
    aspect = int(rng.integers(1, 4))
    row = np.floor(v * rows).astype(np.int32)
    across = u * (rows / aspect) + (row & 1) * np.float32(0.5 if aspect > 1 else 0)
    column = np.floor(across).astype(np.int32)
    a, b, mortar = paint(rng), paint(rng), paint(rng)
    share = rng.random((64, 64), np.float32) * float(rng.choice([0.15, 0.4, 1.0]))
    if aspect == 1 and chance(rng, 0.5):  # a chessboard
        share = (np.indices((64, 64)).sum(0) % 2).astype(np.float32)
    stone = a + (b - a) * share[row & 63, column & 63][..., None]
    stone[(v * rows - row < 0.09) | (across - column < 0.09 / aspect)] = mortar
    return stone * (1 + 0.09 * cloud(rng, u, v))[..., None]


def planks(rng: Rng, u: Place, v: Place) -> Picture:
    """Boards with grain and dark joints."""
    boards = rng.uniform(3, 12)
    board = np.floor(u * boards).astype(np.int32)
    tone = rng.uniform(0.75, 1.15, 64).astype(np.float32)[board & 63]
    tone *= 1 + 0.12 * cloud(rng, u * 1.5, v * 0.08 + board * np.float32(0.37))
    tone[u * boards - board < 0.05] *= 0.5
    return tone[..., None] * np.float32(wood(rng, " ".join(WOODS)) * rng.uniform(0.7, 1.2))


def curtain(rng: Rng, u: Place, v: Place) -> Picture:
    """Cloth in folds."""
    bent = u + 0.03 * np.sin(v * rng.uniform(2, 6) + rng.uniform(0, 6)) + 0.015 * np.sin(u * 9)
    folds = np.sin(bent * rng.uniform(20, 70)) + 0.4 * np.sin(bent * rng.uniform(60, 130) + 1)
    return paint(rng) * (0.85 + 0.25 * folds + 0.04 * cloud(rng, u, v))[..., None]


def wallpaper(rng: Rng, u: Place, v: Place) -> Picture:
    """A printed pattern: stripes, dots, checks or flowers."""
    count = rng.uniform(5, 14) * 2 * np.pi
    across, down = np.sin(u * count), np.sin(v * count)
    kind = rng.integers(4)
    if kind == 1:
        across = across * down - 0.3
    elif kind == 2:
        across = np.maximum(across, down) - 0.5
    elif kind == 3:
        across = across + down + np.sin((u + v) * (count / 2))
    a, b = paint(rng), paint(rng)
    ink = np.clip(across * 3 + 0.5, 0, 1) * rng.uniform(0.2, 1)
    return a + (b - a) * ink[..., None] + 0.03 * cloud(rng, u, v)[..., None]


def meadow(rng: Rng, u: Place, v: Place) -> Picture:
    """Grass, leaves, carpet, gravel or sky: strong noise between two colours."""
    kind = rng.integers(3)
    a, b = paint(rng, rng.uniform(0.1, 0.4)), paint(rng, rng.uniform(0.3, 0.8))
    if kind < 2:
        a, b = table((".1 .2 .06, .45 .6 .22", ".4 .6 .85, .92 .93 .95")[kind]).astype(np.float32) * rng.uniform(
            0.7, 1.3
        )
    tuft = cloud(rng, u * rng.uniform(0.3, 2), v * rng.uniform(0.3, 2))
    return a + (b - a) * np.clip(0.5 + 0.33 * tuft, 0, 1.2)[..., None]


def shelves(rng: Rng, u: Place, v: Place) -> Picture:
    """Rows of books."""
    rows = rng.uniform(2.5, 5)
    row = np.floor(v * rows).astype(np.int32)
    ends = np.cumsum(rng.uniform(0.012, 0.05, 128))
    which = np.searchsorted(ends, np.linspace(0, ends[-1], 1024)).clip(0, 127)  # the book at each place of a shelf
    column = ((u + row * np.float32(0.77)) * 320).astype(np.int32) & 1023
    spine = which[column]
    height = v * rows - row
    colours = np.array([paint(rng) for _ in range(32)])
    picture = colours[spine & 31]
    picture[which[(column + 2) & 1023] != spine] *= 0.5
    picture[(height > 0.62) & (height < 0.66) & (spine % 3 == 0)] *= 1.6
    picture[height < rng.uniform(0.06, 0.30, 128).astype(np.float32)[spine]] = 0.06
    picture[height > 0.92] = wood(rng, "walnut honey spruce")
    return picture * (1 + 0.05 * cloud(rng, u, v))[..., None]


def stage(rng: Rng, u: Place, v: Place) -> Picture:
    """A dark hall with cones of coloured light."""
    picture = paint(rng, rng.uniform(0.05, 0.25)) + 0.02 * cloud(rng, u, v)[..., None]
    for _ in range(rng.integers(1, 4)):
        x, slope, wide = rng.uniform(-0.1, 1.1), float(rng.normal(0, 0.5)), rng.uniform(0.08, 0.25)
        off = (u - x - slope * v) / (0.04 + wide * np.abs(v + 0.2))
        picture += np.exp(-(off**2) - v)[..., None] * (paint(rng, 0.7) * rng.uniform(0.3, 0.9))
    return picture


WALLS = (plaster, plaster, bricks, planks, curtain, wallpaper, meadow, meadow, shelves, stage)
FLOORS = (planks, planks, bricks, meadow, wallpaper, plaster)


def background(rng: Rng, size: int) -> Picture:
    """Return a wall, seen a little askew, often with a floor before it."""
    v, u = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    picture = np.empty((size, size, 3), np.float32)
    edge = int(size * rng.uniform(0.5, 0.92)) if chance(rng, 0.55) else size
    zoom, turn = rng.uniform(0.7, 1.5), float(rng.normal(0, 0.06))
    along, across = zoom * np.cos(turn), zoom * np.sin(turn)
    x, y = u[:edge], v[:edge]
    picture[:edge] = WALLS[rng.integers(len(WALLS))](rng, x * along - y * across + 1, x * across + y * along + 1)
    if edge < size:
        near = 0.12 / (v[edge:] - edge / size + 0.12)
        sideways = (u[edge:] - rng.uniform(0, 1)) * 2 * near
        picture[edge:] = FLOORS[rng.integers(len(FLOORS))](rng, sideways + 2, 3 - 2 * near)
        picture[edge - rng.integers(0, size // 16) : edge] = paint(rng)
    return np.clip(picture, 0, 1)
