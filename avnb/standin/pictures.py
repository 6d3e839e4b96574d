"""The pictures of the embedded MUSIC stand-in: instruments drawn in cluttered rooms, with exact masks.

A scene is made as a painter would: a textured background, things that are no instruments behind, the instruments with
their shadows, sometimes a thing in front, then the light over all of it. All chance comes from one generator, so a
seed is a picture. Introduced in notebooks/01_data_mixing.ipynb.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from avnb.errors import SettingsError
from avnb.standin.instruments import (
    INSTRUMENTS,
    IVORY,
    METALS,
    WHITE,
    WOODS,
    Colour,
    Points,
    Rng,
    blob,
    box,
    chance,
    ellipse,
    lacquer,
    line,
    ribbon,
    spline,
    table,
    tapered,
    tube,
    wood,
)

CLASSES: tuple[str, ...] = tuple(INSTRUMENTS)

Paint = Float[np.ndarray, "4"]  # red, green, blue and alpha, in 0..1


class Drawing:
    """A list of filled and stroked shapes in an object's own coordinates, later rendered in any pose."""

    def __init__(self) -> None:
        self.shapes: list[list[Points]] = []
        self.faces: list[Paint] = []
        self.edges: list[Paint] = []
        self.widths: list[float] = []

    def fill(self, shape: Points | list[Points], colour: Colour, alpha: float = 1.0) -> None:
        """Add a filled shape, or several of one colour."""
        self._add(shape, np.append(np.clip(colour, 0, 1), alpha), np.zeros(4), 0.0)

    def stroke(self, shape: Points | list[Points], width: float, colour: Colour, alpha: float = 1.0) -> None:
        """Add a line, or several of one colour; ``width`` is in the object's units."""
        self._add(shape, np.zeros(4), np.append(np.clip(colour, 0, 1), alpha), width)

    def _add(self, shape: Points | list[Points], face: Paint, edge: Paint, width: float) -> None:
        parts = [shape] if isinstance(shape, np.ndarray) else [part for part in shape if len(part) > 1]
        if parts:
            self.shapes.append(parts)
            self.faces.append(face)
            self.edges.append(edge)
            self.widths.append(width)

    @staticmethod
    def inside(curves: list[Points], outline: Points) -> list[Points]:
        """Return the pieces of ``curves`` that lie inside ``outline``."""
        from matplotlib.path import Path as Outline

        keep = np.split(
            Outline(outline).contains_points(np.concatenate(curves)), np.cumsum([len(c) for c in curves])[:-1]
        )
        pieces = []
        for curve, kept in zip(curves, keep, strict=True):
            cuts = np.flatnonzero(np.diff(kept.astype(np.int8))) + 1
            pieces += [piece for piece, k in zip(np.split(curve, cuts), np.split(kept, cuts), strict=True) if k[0]]
        return pieces


@dataclass(frozen=True)
class Pose:
    """How an object stands: its length in pixels, turn in radians, mirroring, foreshortening and perspective."""

    length: float
    turn: float = 0.0
    mirror: bool = False
    narrow: float = 1.0
    tilt: tuple[float, float] = (0.0, 0.0)

    def __call__(self, points: Points) -> Points:
        """Return ``points`` of the object in pixels, around its own origin."""
        x, y = points[:, 0] * (-self.narrow if self.mirror else self.narrow), points[:, 1]
        depth = 1 + self.tilt[0] * x + self.tilt[1] * y
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        return np.stack([cos * x - sin * y, sin * x + cos * y], 1) * (self.length / depth)[:, None]


@dataclass(frozen=True)
class Sprite:
    """A rendered object: its colour and coverage, both in 0..1, on the smallest canvas that holds it."""

    colour: Float[np.ndarray, "height width 3"]
    coverage: Float[np.ndarray, "height width"]


def render(drawing: Drawing, pose: Pose) -> Sprite:
    """Return ``drawing`` in ``pose``, anti-aliased."""
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.path import Path as Outline
    from matplotlib.transforms import IdentityTransform

    parts = [part for shape in drawing.shapes for part in shape]
    pixels = pose(np.concatenate(parts))
    margin = 2 + max(drawing.widths) * pose.length / 2
    low = np.floor(pixels.min(0) - margin)
    width, height = np.ceil(pixels.max(0) + margin - low).astype(int)
    pixels = (pixels - low) * (1, -1) + (0, height)  # the renderer's y runs up
    starts = np.cumsum([0, *(len(part) for part in parts)])[:-1]
    codes = np.full(len(pixels), Outline.LINETO, np.uint8)
    codes[starts] = Outline.MOVETO
    first = starts[np.cumsum([0, *(len(shape) for shape in drawing.shapes)])[:-1]]
    ends = [*first[1:], len(pixels)]
    paths = [Outline(pixels[a:b], codes[a:b]) for a, b in zip(first, ends, strict=True)]
    renderer = RendererAgg(int(width), int(height), 72)
    pen = renderer.new_gc()
    pen.set_capstyle("round")
    pen.set_joinstyle("round")
    widths = [stroke * pose.length for stroke in drawing.widths]
    still = IdentityTransform()
    renderer.draw_path_collection(
        pen,
        still,
        paths,
        np.empty((0, 3, 3)),
        [(0, 0)],
        still,
        drawing.faces,
        drawing.edges,
        widths,
        [(0, None)],
        [True],
        [None],
        "screen",
    )
    rgba = np.asarray(renderer.buffer_rgba(), np.float32)
    rgba *= np.float32(1 / 255)
    return Sprite(rgba[..., :3], rgba[..., 3])


# Backgrounds: a texture is a function of place (u, v), so that it can be turned, scaled and laid on a floor.

Place = Float[np.ndarray, "height width"]
Picture = Float[np.ndarray, "height width 3"]
Light = Float[np.ndarray, "2"]  # the way to the light: rows, columns
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


def paint(rng: Rng, light: float | None = None) -> Float[np.ndarray, "3"]:
    """Return a colour one meets in rooms: mostly muted and warm, sometimes strong; as light as ``light`` if given."""
    grey = rng.uniform(0.1, 0.95) if light is None else light
    warmth, green = rng.normal(0.03, 0.08), rng.normal(0, 0.03)
    vivid = rng.normal(0, 1, 3) * rng.choice([0.0, 0.04, 0.22], p=[0.4, 0.35, 0.25])
    return np.clip(grey + np.array([warmth, green, -warmth]) + vivid, 0.02, 0.97).astype(np.float32)


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


# Things that are no instruments


def music_stand(pen: Drawing, rng: Rng) -> None:
    """A desk on a tripod, with a sheet of music."""
    iron = paint(rng, 0.12)
    pen.stroke([line("0 -.1, 0 .36"), line("-.2 .5, 0 .34, .2 .5"), line("0 .34, .03 .5")], 0.02, iron)
    pen.fill(line("-.27 -.42, .27 -.42, .31 -.08, -.31 -.08"), iron * 1.3)
    pen.stroke(line("-.32 -.07, .32 -.07"), 0.03, iron * 0.7)
    if chance(rng, 0.7):
        for x in (-0.12, 0.12):
            sheet_of_music(pen, x, -0.26, 0.115, 0.165)


def sheet_of_music(pen: Drawing, x: float, y: float, rx: float, ry: float) -> None:
    """White paper with five-line staves."""
    pen.fill(box(x - rx, y - ry, x + rx, y + ry), IVORY)
    staves = (np.linspace(-0.8, 0.65, 5)[:, None] + np.arange(4) * 0.06).ravel() * ry + y
    pen.stroke([line((x - rx * 0.85, s), (x + rx * 0.85, s)) for s in staves], 0.003, WHITE * 0.3)


def papers(pen: Drawing, rng: Rng) -> None:
    """Loose sheets."""
    for _ in range(rng.integers(1, 4)):
        sheet_of_music(pen, rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.2), 0.2, 0.28)


def chair(pen: Drawing, rng: Rng) -> None:
    """A wooden chair seen from the front."""
    tone = wood(rng, "walnut honey chestnut spruce") if chance(rng, 0.6) else paint(rng)
    pen.stroke([line("-.2 -.48, -.22 .5"), line(".2 -.48, .22 .5")], 0.05, tone * 0.7)
    pen.stroke([line("-.15 .1, -.15 .4"), line(".15 .1, .15 .4"), line("-.2 .28, .2 .28")], 0.04, tone * 0.5)
    pen.stroke([line((-0.2, y), (0.2, y)) for y in (-0.44, -0.32, -0.20)], 0.06, tone)
    pen.fill(line("-.24 0, .24 0, .29 .12, -.29 .12"), tone * 1.2)
    pen.fill(box(-0.29, 0.12, 0.29, 0.16), tone * 0.6)


def lamp(pen: Drawing, rng: Rng) -> None:
    """A standing lamp."""
    post = np.array(METALS["brass"][1]) if chance(rng, 0.5) else paint(rng)
    pen.stroke(line("0 -.3, 0 .47"), 0.022, post)
    pen.fill(ellipse(0, 0.47, 0.14, 0.03), post * 0.8)
    shade = paint(rng, rng.uniform(0.5, 0.95))
    pen.fill(line("-.1 -.5, .1 -.5, .2 -.22, -.2 -.22"), shade)
    pen.fill(line("-.06 -.5, .02 -.5, .04 -.22, -.12 -.22"), np.clip(shade * 1.3, 0, 1))


def plant(pen: Drawing, rng: Rng) -> None:
    """Leaves in a pot."""
    green = np.array([0.16, 0.38, 0.12]) * rng.uniform(0.5, 1.6) * rng.normal(1, 0.1, 3)
    for angle in rng.uniform(-1.5, 1.5, 14):
        reach = rng.uniform(0.35, 0.7)
        tip = (np.sin(angle) * reach * 0.7, 0.22 - np.cos(angle) * reach)
        leaf = spline((0, 0.22), (tip[0] * 0.4, 0.22 + (tip[1] - 0.22) * 0.65), tip)
        pen.fill(ribbon(leaf, tapered(leaf, 0.01, 0.09, 0.11, 0.0)), green * rng.uniform(0.6, 1.5))
    pot = paint(rng)
    pen.fill(line("-.17 .2, .17 .2, .12 .5, -.12 .5"), pot)
    pen.fill(box(-0.19, 0.18, 0.19, 0.24), pot * 0.8)


def microphone(pen: Drawing, rng: Rng) -> None:
    """A microphone on a boom."""
    iron = paint(rng, rng.choice([0.08, 0.55]))
    pen.stroke([line("0 -.25, 0 .45"), line("-.2 -.18, .25 -.34"), line("-.17 .5, 0 .42, .17 .5")], 0.018, iron)
    pen.fill(ellipse(0.29, -0.355, 0.06, 0.035, -0.34), iron * 0.5)
    pen.fill(ellipse(0.33, -0.37, 0.04), WHITE * 0.5)


def cable(pen: Drawing, rng: Rng) -> None:
    """A cable that lies in loops."""
    knots = np.stack([np.linspace(-0.5, 0.5, 7), rng.uniform(-0.25, 0.25, 7)], 1) + rng.uniform(-0.1, 0.1, (7, 2))
    pen.stroke(spline(*knots), 0.016, paint(rng, 0.15))


def picture_frame(pen: Drawing, rng: Rng) -> None:
    """A framed landscape."""
    tall = rng.uniform(0.25, 0.5)
    pen.fill(box(-0.5, -tall, 0.5, tall), paint(rng))
    pen.fill(box(-0.45, -tall + 0.05, 0.45, tall - 0.05), paint(rng, 0.9))
    pen.fill(box(-0.38, -tall + 0.12, 0.38, tall - 0.12), paint(rng, 0.65))
    hill = spline("-.38 .05, -.1 -.08, .15 .06, .38 -.04")
    pen.fill(np.concatenate([hill, line((0.38, tall - 0.12), (-0.38, tall - 0.12))]), paint(rng, 0.3))


def window(pen: Drawing, rng: Rng) -> None:
    """A window with bars."""
    bars = paint(rng, rng.choice([0.15, 0.9]))
    pen.fill(box(-0.36, -0.5, 0.36, 0.5), bars)
    glass = paint(rng, rng.uniform(0.3, 0.95))
    pen.fill([box(x, y, x + 0.30, y + 0.29) for x in (-0.32, 0.02) for y in (-0.47, -0.15, 0.17)], glass)
    pen.fill([line("-.32 -.3, -.1 -.47, -.02 -.47, -.32 -.2")], WHITE, 0.35)


def person(pen: Drawing, rng: Rng) -> None:
    """Someone who stands by, in plain clothes."""
    skin = np.array([0.88, 0.66, 0.52]) * rng.uniform(0.35, 1.1)
    coat, trousers = paint(rng), paint(rng, 0.2)
    pen.fill([line("-.11 .1, 0 .1, -.02 .5, -.1 .5"), line(".11 .1, 0 .1, .02 .5, .1 .5")], trousers)
    for side in (-1, 1):
        arm = spline(
            (side * 0.13, -0.24), (side * rng.uniform(0.17, 0.24), -0.08), (side * rng.uniform(0.05, 0.25), 0.07)
        )
        pen.fill(ellipse(*arm[-1], 0.034), skin)
        pen.stroke(arm, 0.07, coat * 0.8)
    pen.fill(blob("-.05 -.32, -.155 -.26, -.13 0, -.13 .14, .13 .14, .13 0, .155 -.26, .05 -.32"), coat)
    pen.fill(box(-0.03, -0.36, 0.03, -0.29), skin * 0.85)
    pen.fill(ellipse(0, -0.425, 0.072, 0.08), paint(rng, 0.15))
    pen.fill(ellipse(0, -0.405, 0.062, 0.075), skin)


def crate(pen: Drawing, rng: Rng) -> None:
    """A loudspeaker or a box."""
    wide, tone = rng.uniform(0.25, 0.5), paint(rng)
    pen.fill(box(-wide, -0.5, wide, 0.5, 0.02), tone * 0.6)
    pen.fill(box(-wide + 0.03, -0.47, wide - 0.03, 0.47, 0.02), tone)
    if chance(rng, 0.5):
        for y, r in ((0.15, 0.2), (-0.28, 0.11)):
            pen.fill(ellipse(0, y, r), WHITE * 0.05)
            pen.fill(ellipse(0, y, r * 0.85), WHITE * 0.16)
            pen.fill(ellipse(0, y, r * 0.3), WHITE * 0.3)


def vase(pen: Drawing, rng: Rng) -> None:
    """A turned vase or bottle, glazed or of brass."""
    tone = np.array(METALS["brass"][1]) if chance(rng, 0.3) else paint(rng)
    axis = np.stack([np.zeros(25), np.linspace(-0.5, 0.5, 25)], 1)
    girth = np.interp(np.linspace(0, 1, 25), np.linspace(0, 1, 6), rng.uniform(0.12, 0.55, 6))
    tube(pen, axis, girth, lacquer(tone))


def pole(pen: Drawing, rng: Rng) -> None:
    """A stick, pole or strip."""
    tone, width = paint(rng), rng.uniform(0.02, 0.07)
    for share, shade in ((1.0, 0.6), (0.7, 1.0), (0.25, 1.4)):
        pen.stroke(line("0 -.5, 0 .5"), width * share, tone * shade)


CLUTTER = (music_stand, papers, chair, lamp, plant, microphone, cable, picture_frame, window, person, crate, vase, pole)
IN_FRONT = (music_stand, chair, plant, microphone, cable, papers, pole, lamp, vase)


# Scenes


@dataclass(frozen=True)
class Habit:
    """How a class is usually seen: its range of turns in degrees and its covered area per squared length."""

    turn: tuple[float, float]
    density: float


HABITS = {
    "accordion": Habit((-25.0, 25.0), 0.64),
    "acoustic_guitar": Habit((-35.0, 100.0), 0.19),
    "cello": Habit((-22.0, 22.0), 0.15),
    "clarinet": Habit((-60.0, 60.0), 0.06),
    "erhu": Habit((-18.0, 18.0), 0.105),
    "flute": Habit((-40.0, 40.0), 0.05),
    "saxophone": Habit((-35.0, 35.0), 0.19),
    "trumpet": Habit((-35.0, 35.0), 0.133),
    "tuba": Habit((-22.0, 22.0), 0.37),
    "violin": Habit((-80.0, 80.0), 0.205),
    "xylophone": Habit((-15.0, 15.0), 0.38),
}
SPARE = 0.12  # of an object's width and height may lie outside the frame


@dataclass(frozen=True)
class Crowd:
    """What an object may take of a frame: its range of areas, its longest length, and how much must stay visible."""

    area: tuple[float, float]
    length: float
    least: float


CROWDS = (Crowd((0.06, 0.24), 1.0, 0.025), Crowd((0.042, 0.155), 0.86, 0.018), Crowd((0.03, 0.105), 0.74, 0.012))


def blurred(picture: np.ndarray, radius: float, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Return a picture or a coverage, in 0..1, out of focus, at ``shape`` (height, width) if given."""
    image = Image.fromarray((np.clip(picture, 0, 1) * np.float32(255)).astype(np.uint8))
    image = image.filter(ImageFilter.BoxBlur(radius))
    if shape:
        image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
    picture = np.array(image, np.float32)
    picture *= np.float32(1 / 255)
    return picture


def lit(sprite: Sprite, light: Light, rng: Rng, size: int) -> Sprite:
    """Return ``sprite`` with its edges turned to and from the light, and a surface that is not quite clean."""
    reach = max(1, round(size * rng.uniform(0.006, 0.018)))
    height = blurred(blurred(sprite.coverage, reach), reach)
    relief = np.zeros_like(height)
    relief[1:-1] += (height[2:] - height[:-2]) * light[0]
    relief[:, 1:-1] += (height[:, 2:] - height[:, :-2]) * light[1]
    offset = rng.integers(GRAINS, size=2)
    rows, columns = (np.arange(n) + at & GRAINS - 1 for n, at in zip(height.shape, offset, strict=True))
    worn = clouds()[rows[:, None], columns] * np.float32(0.025)
    tone = 1 + worn - np.clip(relief * np.float32(size * 0.018), -0.5, 0.6)
    return Sprite(np.minimum(sprite.colour * tone[..., None], 1), sprite.coverage)


Window = tuple[slice, slice]


def where_in_frame(shape: tuple[int, ...], top: int, left: int, size: int) -> tuple[Window, Window]:
    """Return where an array of ``shape`` put at (top, left) lies in a frame, and which part of it is in the frame."""
    there, own = [], []
    for extent, start in zip(shape, (top, left), strict=True):
        low = min(max(start, 0), size)
        high = max(min(start + extent, size), low)
        there.append(slice(low, high))
        own.append(slice(low - start, high - start))
    return tuple(there), tuple(own)


def paste(picture: Picture, sprite: Sprite, top: int, left: int) -> None:
    """Lay ``sprite`` over ``picture`` in place."""
    there, own = where_in_frame(sprite.coverage.shape, top, left, len(picture))
    cover = sprite.coverage[own][..., None]
    picture[there] += (sprite.colour[own] - picture[there]) * cover


def covered(sprite: Sprite, top: int, left: int, size: int) -> Bool[np.ndarray, "size size"]:
    """Return the pixels of a frame that ``sprite`` at (top, left) covers by half or more."""
    there, own = where_in_frame(sprite.coverage.shape, top, left, size)
    pixels = np.zeros((size, size), bool)
    pixels[there] = sprite.coverage[own] >= 0.5
    return pixels


def shade(picture: Picture, sprite: Sprite, top: int, left: int, light: Light, strength: float) -> None:
    """Darken ``picture`` in place where ``sprite`` keeps the light away."""
    size = len(picture)
    edge = size // 12
    padded = np.pad(sprite.coverage, edge)
    spread = blurred(blurred(padded[::4, ::4], edge / 11), edge / 11, padded.shape)
    down, right = np.round(-light * edge * 0.8).astype(int).tolist()
    there, own = where_in_frame(spread.shape, top - edge + down, left - edge + right, size)
    picture[there] *= 1 - np.float32(strength) * spread[own][..., None]


def instrument(name: str, rng: Rng, size: int, crowd: Crowd, light: Light) -> Sprite:
    """Return an instrument in a pose of its kind, sized for a frame of ``size`` pixels and for its ``crowd``."""
    habit = HABITS[name]
    drawing = Drawing()
    INSTRUMENTS[name](drawing, rng)
    turn = np.deg2rad(rng.uniform(*habit.turn))
    longest = crowd.length * rng.uniform(0.92, 1.05) * (1 + 0.25 * abs(np.sin(2 * turn)))  # a diagonal is longer
    length = min(np.sqrt(rng.uniform(*crowd.area) / habit.density), longest)
    tilt = rng.uniform(-0.3, 0.3, 2)
    pose = Pose(length * size, turn, chance(rng, 0.5), rng.uniform(0.86, 1.0), (tilt[0], tilt[1]))
    return lit(render(drawing, pose), light, rng, size)


def layout(sprites: list[Sprite], size: int, rng: Rng) -> list[tuple[int, int]]:
    """Return a corner (top, left) for each of ``sprites``, anywhere in the frame where it loses and hides little."""
    taken = np.zeros((size, size), bool)
    areas = [np.count_nonzero(sprite.coverage >= 0.5) for sprite in sprites]
    corners = []
    for sprite, area in zip(sprites, areas, strict=True):
        extent = np.array(sprite.coverage.shape)
        low = -SPARE * extent
        high = size - (1 - SPARE) * extent
        best, least = (0, 0), np.inf
        for _ in range(40):
            # Rather towards the sides than the middle: a centred square must be a poor guess.
            top, left = (low + (high - low) * rng.beta(0.6, 0.6, 2)).astype(int).tolist()
            there, own = where_in_frame(sprite.coverage.shape, top, left, size)
            pixels = sprite.coverage[own] >= 0.5
            lost = 1 - np.count_nonzero(pixels) / area
            clash = np.count_nonzero(pixels & taken[there]) / min(areas)
            if lost + 5 * clash < least:
                best, least = (top, left), lost + 5 * clash
            if lost < 0.12 and clash < 0.03:
                break
        taken |= covered(sprite, *best, size)
        corners.append(best)
    return corners


def thing(kinds: Sequence[Callable[[Drawing, Rng], None]], rng: Rng, size: int, share: float) -> Sprite:
    """Return one of the things that are no instruments, at most ``share`` of the frame long."""
    drawing = Drawing()
    kinds[rng.integers(len(kinds))](drawing, rng)
    tilt = rng.uniform(-0.2, 0.2, 2)
    turn, mirror, narrow = float(rng.normal(0, 0.12)), chance(rng, 0.5), rng.uniform(0.7, 1)
    return render(drawing, Pose(share * size, turn, mirror, narrow, (tilt[0], tilt[1])))


def scene(
    sounding: Sequence[str], silent: Sequence[str], rng: Rng, size: int = 224
) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
    """Draw a scene; the mask is 0 for background and k for the k-th of (*sounding, *silent): visible pixels only.

    The picture is RGB. The same state of ``rng`` gives the same bytes. Raises SettingsError for a class that is not
    in ``CLASSES``. Introduced in notebooks/01_data_mixing.ipynb.

    >>> picture, mask = scene(["violin"], ["tuba"], np.random.default_rng(0), size=64)
    >>> picture.shape, np.unique(mask).tolist()
    ((64, 64, 3), [0, 1, 2])
    """
    names = (*sounding, *silent)
    if unknown := [name for name in names if name not in INSTRUMENTS]:
        raise SettingsError(f'The stand-in cannot draw "{unknown[0]}"; it draws {", ".join(CLASSES)}.')
    angle = rng.uniform(-2.6, -0.5)
    light = np.array([np.sin(angle), np.cos(angle)], np.float32)

    picture = background(rng, size)
    for _ in range(rng.integers(0, 4)):
        paste(picture, thing(CLUTTER, rng, size, rng.uniform(0.3, 1.0)), *rng.integers(-size // 4, size, 2).tolist())
    picture = blurred(picture, float(rng.choice([0.5, 1.0, 2.0])) * size / 224)

    crowd = CROWDS[min(max(len(names), 1), 3) - 1]
    sprites = [instrument(name, rng, size, crowd, light) for name in names]
    corners = layout(sprites, size, rng)
    mask = np.zeros((size, size), np.uint8)
    for k in rng.permutation(len(names)):
        shade(picture, sprites[k], *corners[k], light, rng.uniform(0.25, 0.55))
        paste(picture, sprites[k], *corners[k])
        mask[covered(sprites[k], *corners[k], size)] = k + 1

    if names and chance(rng, 0.4):
        occlude(picture, mask, rng, light, crowd.least)
    return developed(picture, rng), mask


def occlude(picture: Picture, mask: UInt8[np.ndarray, "size size"], rng: Rng, light: Light, least: float) -> None:
    """Put a thing before the instruments, in place, where it hides no more than a fifth of any."""
    size = len(mask)
    item = thing(IN_FRONT, rng, size, rng.uniform(0.3, 0.8))
    before = np.bincount(mask.ravel())
    for _ in range(6):
        corner = rng.integers(-size // 4, size, 2).tolist()
        pixels = covered(item, *corner, size)
        left = np.bincount(mask[~pixels], minlength=len(before))
        if (left >= np.maximum(0.8 * before, least * size**2))[1:].all():
            shade(picture, item, *corner, light, 0.3)
            paste(picture, item, *corner)
            mask[pixels] = 0
            return


def developed(picture: Picture, rng: Rng) -> UInt8[np.ndarray, "size size 3"]:
    """Return ``picture`` as a camera hands it over: uneven light, a tint, a darker rim, a little blur and noise."""
    size = len(picture)
    v = np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    u = v.T
    slope = [float(s) for s in rng.normal(0, 0.14, 2)]
    glow = (1 + slope[0] * u + slope[1] * v) * (1 - rng.uniform(0, 0.2) * (u**2 + v**2))
    glow += rng.standard_normal((size, size), np.float32) * np.float32(rng.uniform(0.005, 0.04))
    warmth = float(rng.normal(0, 0.06))
    tint = np.float32([1 + warmth, 1, 1 - warmth]) * np.float32(255 * rng.uniform(0.9, 1.3))
    picture = picture * glow[..., None]
    picture *= tint
    image = Image.fromarray(np.clip(picture, 0, 255, out=picture).astype(np.uint8))
    return np.array(image.filter(ImageFilter.BoxBlur(rng.uniform(0.1, 0.5) * size / 224)))
