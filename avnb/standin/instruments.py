"""The eleven instruments of the embedded MUSIC stand-in, as drawing code.

Every instrument is a function that draws itself on a ``Drawing`` (avnb.standin.pictures) in its own coordinates:
x to the right, y down, about one unit long, upright as it stands in a shop window. Colours and proportions come from
``rng``; pose, scale and light are the scene's business. Introduced in notebooks/01_data_mixing.ipynb.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from avnb.standin.pictures import Drawing

Point = Float[np.ndarray, "2"]  # x, y
Points = Float[np.ndarray, "_ 2"]
Widths = Float[np.ndarray, " _"] | float
Knot = tuple[float, float] | Point | str
Colour = Float[np.ndarray, "3"]
Metal = Float[np.ndarray, "4 3"]
Rng = np.random.Generator


# Shapes


@cache
def table(text: str) -> Float[np.ndarray, "rows columns"]:
    """Return the numbers written as ``"x y, x y"``; outlines and palettes are long, and read better so."""
    return np.array([row.split() for row in text.split(",")], float)


def line(*points: Knot) -> Points:
    """Return the straight pieces through ``points``: pairs, or one text for ``table``."""
    return table(points[0]) if isinstance(points[0], str) else np.array(points, float)


@cache
def blend(steps: int) -> Float[np.ndarray, "steps 4"]:
    """Return the weights of four neighbouring knots at ``steps`` places between the middle two (Catmull-Rom)."""
    t = np.arange(steps) / steps
    return np.stack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2], 1) / 2


def spline(*points: Knot) -> Points:
    """Return a smooth curve through ``points``: pairs, or one text for ``table``."""
    knots = line(*points)
    knots = np.concatenate([knots[:1], knots, knots[-1:]])
    fours = knots[np.arange(len(knots) - 3)[:, None] + np.arange(4)]
    return np.concatenate([(blend(6) @ fours).reshape(-1, 2), knots[-1:]])


def blob(*points: Knot) -> Points:
    """Return a smooth closed outline through ``points``: pairs, or one text for ``table``."""
    knots = line(*points)
    fours = knots[(np.arange(len(knots))[:, None] + np.arange(-1, 3)) % len(knots)]
    return (blend(6) @ fours).reshape(-1, 2)


@cache
def circle(points: int) -> Points:
    """Return the unit circle, closed."""
    angle = np.arange(points + 1) * (2 * np.pi / points)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0, points: int = 18) -> Points:
    """Return an ellipse around (x, y), turned by ``turn`` radians."""
    return turned(circle(points) * (rx, rx if ry is None else ry), turn) + np.array([x, y])


def box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Points:
    """Return an upright rectangle whose corners are cut by ``corner``."""
    c = corner
    right = [(x1 - c, y0), (x1, y0 + c), (x1, y1 - c), (x1 - c, y1)]
    left = [(x0 + c, y1), (x0, y1 - c), (x0, y0 + c), (x0 + c, y0)]
    return np.array([*right, *left] if c else [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def turned(shape: Points, angle: float) -> Points:
    """Return ``shape`` turned about the origin by ``angle`` radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return shape @ np.array([(cos, sin), (-sin, cos)]) if angle else shape


def moved(shape: Points, x: float = 0.0, y: float = 0.0) -> Points:
    """Return ``shape`` moved by (x, y)."""
    return shape + np.array([x, y])


def scaled(shape: Points, factor: float, x: float = 0.0, y: float = 0.0) -> Points:
    """Return ``shape`` scaled about (x, y)."""
    return (shape - (x, y)) * factor + (x, y)


def normals(curve: Points) -> Points:
    """Return the unit normal of ``curve`` at each of its points."""
    across = np.empty_like(curve)
    across[1:-1] = curve[2:] - curve[:-2]
    across[0], across[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
    across = across[:, ::-1] * (-1, 1)
    return across / (np.sqrt((across**2).sum(1, keepdims=True)) + 1e-9)


def ribbon(curve: Points, widths: Widths, low: float = -0.5, high: float = 0.5) -> Points:
    """Return the outline of a band along ``curve``, between ``low`` and ``high`` times its widths aside."""
    across = normals(curve) * np.reshape(widths, (-1, 1))
    return np.concatenate([curve + across * low, (curve + across * high)[::-1]])


def travelled(curve: Points) -> Float[np.ndarray, " _"]:
    """Return how far along ``curve`` each of its points lies, from 0 to 1."""
    steps = np.sqrt((np.diff(curve, axis=0) ** 2).sum(1))
    length = np.concatenate([[0], np.cumsum(steps)])
    return length / length[-1]


def tapered(curve: Points, *stops: float) -> Float[np.ndarray, " _"]:
    """Return widths along ``curve`` that run through ``stops``, given at even distances of its length."""
    return np.interp(travelled(curve), np.linspace(0, 1, len(stops)), stops)


# Materials

BLACK = np.array([0.06, 0.055, 0.06])
EBONY = np.array([0.10, 0.08, 0.075])
IVORY = np.array([0.95, 0.92, 0.84])
STEEL = np.array([0.85, 0.85, 0.86])
WHITE = np.ones(3)

# Each metal from the shadow at its rim over its body to its highlight.
METALS: dict[str, Metal] = {
    "brass": table(".34 .19 .03, .78 .55 .14, .97 .82 .38, 1 .98 .85"),
    "gold": table(".40 .20 .02, .86 .60 .10, 1 .84 .30, 1 .97 .80"),
    "rose": table(".32 .14 .07, .72 .42 .24, .95 .70 .48, 1 .93 .85"),
    "silver": table(".25 .26 .29, .64 .66 .70, .90 .92 .94, 1 1 1"),
    "nickel": table(".22 .21 .20, .58 .57 .54, .86 .85 .81, 1 1 .98"),
    "black": table(".02 .02 .02, .09 .085 .09, .26 .26 .28, .75 .75 .78"),
}
WOODS: dict[str, Colour] = {
    "spruce": np.array([0.90, 0.72, 0.45]),
    "honey": np.array([0.82, 0.52, 0.20]),
    "amber": np.array([0.74, 0.36, 0.10]),
    "chestnut": np.array([0.56, 0.24, 0.08]),
    "red": np.array([0.55, 0.16, 0.06]),
    "rosewood": np.array([0.36, 0.14, 0.08]),
    "walnut": np.array([0.33, 0.19, 0.10]),
}


def chance(rng: Rng, probability: float) -> bool:
    """Return True as often as ``probability`` says."""
    return rng.uniform() < probability


def metal(rng: Rng, kinds: str) -> Metal:
    """Return the shades of one of the metals named in ``kinds``, a little different each time."""
    names = kinds.split()
    return METALS[names[rng.integers(len(names))]] * rng.uniform(0.88, 1.08) * rng.normal(1, 0.012, 3)


def wood(rng: Rng, kinds: str) -> Colour:
    """Return the colour of one of the woods named in ``kinds``, a little different each time."""
    names = kinds.split()
    return WOODS[names[rng.integers(len(names))]] * rng.uniform(0.8, 1.12) * rng.normal(1, 0.025, 3)


def lacquer(colour: Colour) -> Metal:
    """Return the shades of a round thing that is painted in ``colour``."""
    return np.stack([colour * 0.4, colour, colour * 1.6 + 0.03, colour * 2.4 + 0.1])


def tube(pen: "Drawing", curve: Points, widths: Widths, shades: Metal) -> None:
    """Draw a pipe along ``curve``: dark rims, a body, a highlight off its middle, a glint."""
    across = normals(curve) * np.reshape(widths, (-1, 1))
    for (low, high), shade in zip(((-0.5, 0.5), (-0.36, 0.46), (-0.08, 0.34), (0.10, 0.24)), shades, strict=True):
        pen.fill(np.concatenate([curve + across * low, (curve + across * high)[::-1]]), shade)


def rod(pen: "Drawing", curve: Points, width: float, shades: Metal) -> None:
    """Draw a pipe too thin for four shades."""
    pen.stroke(curve, width, shades[0])
    pen.stroke(curve, width * 0.62, shades[1])
    pen.stroke(curve + np.array([0.08, -0.1]) * width, width * 0.24, shades[3])


def disc(pen: "Drawing", x: float, y: float, radius: float, shades: Metal) -> None:
    """Draw a round key or cap of metal."""
    pen.fill(ellipse(x, y, radius, points=14), shades[0])
    pen.fill(ellipse(x, y, radius * 0.82, points=14), shades[1])
    pen.fill(ellipse(x - radius * 0.15, y - radius * 0.2, radius * 0.5, points=12), shades[2])


def slab(pen: "Drawing", outline: Points, colour: Colour) -> None:
    """Draw a plain plate with a dark rim."""
    pen.fill(outline, colour * 0.4)
    pen.fill(scaled(outline, 0.94, *(outline.min(0) + outline.max(0)) / 2), colour)


def plate(pen: "Drawing", outline: Points, colour: Colour, rng: Rng) -> None:
    """Draw a wooden plate with a dark rim, grain along y, and a lighter, arched middle."""
    (x0, y0), (x1, y1) = outline.min(0), outline.max(0)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    inner = scaled(outline, 0.965, x, y)
    pen.fill(outline, colour * 0.42)
    pen.fill(inner, colour)
    for shade in (0.72, 1.22):
        wave = rng.uniform(x0, x1, (12, 1)) + rng.normal(0, 0.0015, (12, 24)).cumsum(1)
        grain = np.stack(np.broadcast_arrays(wave, np.linspace(y0, y1, 24)), 2)
        pen.stroke(pen.inside(list(grain), inner), 0.004, colour * shade, 0.36)
    for factor in (0.82, 0.66, 0.48):
        pen.fill(scaled(inner, factor, x, y + (y1 - y0) * 0.06), colour * 1.35 + 0.04, 0.16)


# Strings


def bow(pen: "Drawing", frog: Point, tip: Point, colour: Colour, arch: float = 0.02) -> None:
    """Draw a bow between the places of its ``frog`` and its ``tip``."""
    length = np.linalg.norm(tip - frog)
    ahead = (tip - frog) / length
    frame = np.stack([ahead, np.array([ahead[1], -ahead[0]])])  # along the bow, and up from its hair to its stick

    def at(*places: tuple[float, float]) -> Points:
        return np.array(places) * (length, arch) @ frame + frog

    stick = spline(*at((-0.04, 0), (0, 1), (0.5, 0.6), (0.97, 1.1), (1, 0)))
    pen.stroke(at((0, 0), (0.99, 0)), 0.011, IVORY * 0.95)
    pen.stroke(stick, 0.014, colour * 0.45)
    pen.stroke(stick, 0.008, colour)
    pen.fill(at((0, -0.4), (0.06, -0.4), (0.05, 1), (0, 1)), BLACK)
    pen.fill(ellipse(*at((0.03, 0.4))[0], 0.006), STEEL)


def fiddle(pen: "Drawing", rng: Rng, top: float, bottom: float, colour: Colour, depth: float) -> None:
    """Draw a violin or a cello from the height ``top`` to ``bottom``; ``depth`` is how much of its ribs one sees."""
    total = bottom - top
    size = total * rng.uniform(0.59, 0.62)
    shoulder, broad = bottom - size, size * rng.uniform(0.95, 1.06)

    def on_body(shape: Points) -> Points:
        return shape * (broad, size) + (0, shoulder)

    half = [
        spline("0 0, .06 .004, .155 .03, .215 .095, .235 .17, .222 .25, .203 .3, .228 .35"),
        spline(".228 .35, .172 .385, .15 .45, .15 .5, .172 .575, .255 .625"),
        spline(".255 .625, .248 .665, .272 .73, .29 .8, .28 .88, .23 .95, .14 .988, 0 1"),
    ]
    right = np.concatenate(half)
    body = on_body(np.concatenate([right, right[::-1] * (-1, 1)]))
    pen.fill(moved(body, depth, depth * 0.3), colour * 0.30)
    pen.fill(moved(body, depth * 0.6, depth * 0.2), colour * 0.55)
    plate(pen, body, colour, rng)
    pen.stroke(scaled(body, 0.92, 0, shoulder + size / 2), 0.005, colour * 0.35)
    gloss = [blob("-.17 .1, -.13 .17, -.15 .28, -.2 .2"), blob("-.19 .72, -.15 .82, -.19 .9, -.24 .8")]
    pen.fill([on_body(patch) for patch in gloss], WHITE, 0.33)
    curve = spline(".075 .445, .098 .425, .107 .455, .108 .53, .125 .6, .152 .62, .168 .59")
    hole = [
        ribbon(curve, tapered(curve, 0.013, 0.019, 0.035, 0.019, 0.013)),
        line(".092 .527, .092 .54, .124 .533, .124 .52"),
    ]
    hole += [ellipse(0.080, 0.447, 0.016), ellipse(0.163, 0.590, 0.019)]
    for side in (-1, 1):
        for part in hole:
            pen.fill(on_body(part * (side, 1)), BLACK)
    # Neck, pegs and scroll.
    nut = top + total * 0.135

    def on_head(shape: Points) -> Points:
        return shape * total + (0, top)

    pen.fill(box(-0.021 * total, nut, 0.021 * total, shoulder + 0.02), colour * 0.7)
    pegbox = spline("0 .145, 0 .095, 0 .05")
    pen.fill(on_head(ribbon(pegbox, tapered(pegbox, 0.046, 0.036, 0.03))), colour * 0.62)
    pen.fill(on_head(ribbon(pegbox, 0.014)), colour * 0.2)
    pegs = list(zip((-1, 1, -1, 1), np.linspace(0.125, 0.075, 4), strict=True))
    pen.stroke([on_head(line((0, y), (side * 0.052, y - 0.004))) for side, y in pegs], 0.012 * total, EBONY)
    pen.fill([on_head(ellipse(side * 0.062, y - 0.005, 0.018, 0.013)) for side, y in pegs], EBONY)
    pen.fill(on_head(ellipse(0, 0.032, 0.031, 0.033)), colour * 0.5)
    pen.fill(on_head(ellipse(-0.003, 0.030, 0.022, 0.024)), colour * 1.05)
    turn = np.linspace(0, 9, 26)
    spiral = np.stack([np.cos(turn), np.sin(turn)], 1) * turn[:, None] * 0.0024
    pen.stroke(on_head(moved(spiral, 0, 0.031)), 0.006 * total, colour * 0.25)
    # Fingerboard, tailpiece, bridge and strings.
    end = on_body(line("-.06 .31, .06 .31"))
    board = np.concatenate([line((0.020 * total, nut), (-0.020 * total, nut)), end])
    tail = on_body(blob("-.05 .7, 0 .685, .05 .7, .036 .83, .022 .95, -.022 .95, -.036 .83"))
    pen.stroke(on_body(line("0 .93, 0 .99")), 0.012 * size, BLACK)
    for part in (board, tail):
        pen.fill(part, EBONY)
        pen.fill(part * (0.3, 1) - (0.007 * total, 0), EBONY * 2.6, 0.55)
    bridge = line("-.078 .54, -.06 .505, -.02 .492, .02 .492, .06 .505, .078 .54, .03 .528, -.03 .528")
    pen.fill(on_body(bridge), np.array([0.86, 0.68, 0.42]))
    low = on_body(line("1 .5, .8 .71"))
    strings = [line((o * 0.018 * total, nut), *(low * (o * 0.055, 1))) for o in (-0.75, -0.25, 0.25, 0.75)]
    pen.stroke(strings, 0.0042, STEEL * rng.uniform(0.8, 1.05))


def violin(pen: "Drawing", rng: Rng) -> None:
    """Waisted body with f-holes, black fingerboard and chin rest, scroll; the bow beside it or across the strings."""
    colour = wood(rng, "honey amber amber chestnut red")
    fiddle(pen, rng, -0.5, 0.5, colour, depth=rng.uniform(-0.022, 0.022))
    pen.fill(blob("-.03 .515, -.02 .44, -.07 .395, -.135 .4, -.155 .45, -.11 .505"), EBONY)
    pen.fill(ellipse(-0.09, 0.44, 0.04, 0.025, 0.2), EBONY * 2.8, 0.7)
    kind, stick = rng.uniform(), wood(rng, "chestnut walnut amber")
    if kind < 0.35:
        middle, reach = np.array([rng.uniform(-0.1, 0.1), 0.155]), np.array([0.42, rng.uniform(-0.1, 0.1)])
        bow(pen, middle + reach, middle - reach, stick)
    elif kind < 0.65:
        x = rng.uniform(0.24, 0.30)
        bow(pen, np.array([x, 0.44]), np.array([x + rng.uniform(-0.08, 0.06), -0.46]), stick)


def cello(pen: "Drawing", rng: Rng) -> None:
    """A big deep-ribbed fiddle on a steel endpin, without chin rest; a short bow across it or none."""
    colour = wood(rng, "amber chestnut chestnut red rosewood")
    pen.stroke(line("0 .28, 0 .5"), 0.016, BLACK)
    pen.stroke(line("-.001 .31, 0 .495"), 0.007, STEEL)
    depth = rng.uniform(0.03, 0.055)
    fiddle(pen, rng, -0.5, 0.315, colour, depth=depth if chance(rng, 0.5) else -depth)
    pen.fill(box(-0.014, 0.303, 0.014, 0.333), EBONY)
    if chance(rng, 0.5):
        middle, reach = np.array([rng.uniform(-0.06, 0.06), 0.10]), np.array([0.28, rng.uniform(-0.12, 0.12)])
        bow(pen, middle + reach, middle - reach, wood(rng, "chestnut walnut"), arch=0.018)


def acoustic_guitar(pen: "Drawing", rng: Rng) -> None:
    """Waisted body with a round sound hole and a bridge, a fretted neck, a head with six tuners, six strings."""
    colour = wood(rng, "spruce spruce spruce honey amber chestnut rosewood")
    neck = wood(rng, "rosewood walnut") * rng.uniform(0.5, 1)
    wide, waist = rng.uniform(0.93, 1.08), (rng.uniform(0.108, 0.126), 0.195)
    upper = line("0 .012, .06 .008, .118 .026, .148 .075, .145 .125")
    lower = line(".137 .255, .18 .315, .197 .38, .18 .445, .125 .486, .05 .499, 0 .5")
    left = right = spline(*upper, waist, *lower) * (wide, 1)
    if chance(rng, 0.35):  # a cutaway beside the neck
        upper = line("0 .012, .032 .02, .042 .075, .075 .105, .115 .08, .138 .095, .133 .14")
        right = spline(*upper, waist, *lower) * (wide, 1)
    body = np.concatenate([right, left[::-1] * (-1, 1)])
    depth = rng.uniform(-0.03, 0.03)
    pen.fill(moved(body, depth, abs(depth) * 0.3), neck * 0.5)
    pen.fill(body, IVORY if chance(rng, 0.4) else colour * 0.3)
    plate(pen, scaled(body, 0.98, 0, 0.25), colour, rng)
    if chance(rng, 0.3):  # sunburst: dark at the rim, bright in the middle
        for i in range(9):
            tone = colour * (0.17 + 0.98 * np.sin(i / 8 * np.pi / 2))
            pen.fill(scaled(body, 0.97 - 0.055 * i, 0, 0.25 + 0.008 * i), tone)
    pen.fill(blob("-.15 .36, -.115 .41, -.1 .46, -.15 .43") * (wide, 1), WHITE, 0.3)
    if chance(rng, 0.65):
        guard = blob(".04 .12, .065 .15, .06 .185, .1 .26, .055 .27, .02 .225")
        pen.fill(guard, EBONY if chance(rng, 0.6) else colour * 0.4)
    for radius, shade in ((0.064, colour * 0.3), (0.059, IVORY * 0.9), (0.055, colour * 0.35), (0.049, BLACK)):
        pen.fill(ellipse(0, 0.150, radius, points=28), shade)
    pen.fill(ellipse(0, 0.144, 0.04, 0.036), colour * 0.16)
    # Neck with frets and dots.
    nut = rng.uniform(-0.345, -0.325)
    board = line((-0.0205, nut), (0.0205, nut), (0.027, 0.100), (-0.027, 0.100))
    pen.fill(board * (1.12, 1), neck * 0.6)
    pen.fill(board, neck * 0.75)
    frets = nut + (0.36 - nut) * (1 - 2 ** (-np.arange(1, 19) / 12))
    pen.stroke([line((-0.023, y), (0.023, y)) for y in frets], 0.0045, STEEL * 0.9)
    pen.fill([ellipse(0, (frets[i] + frets[i - 1]) / 2, 0.005, points=8) for i in (2, 4, 6, 8, 11)], IVORY)
    # Head with tuners.
    shades = metal(rng, "silver gold nickel")
    knobs = IVORY if chance(rng, 0.3) else shades[2]
    rows = np.linspace(nut - 0.042, -0.475, 3)
    places = [(side, y) for y in rows for side in (-1, 1)]
    pen.stroke([line((-0.062, y), (0.062, y)) for y in rows], 0.010, shades[0])
    pen.fill([ellipse(side * 0.067, y, 0.014, 0.012, points=12) for side, y in places], shades[0])
    pen.fill([ellipse(side * 0.068, y - 0.001, 0.010, 0.008, points=10) for side, y in places], knobs)
    half = line((0.021, nut), (0.040, nut - 0.035), (0.043, -0.492), (0.015, -0.5))
    slab(pen, np.concatenate([half, half[::-1] * (-1, 1)]), neck * 0.8)
    pen.fill(box(-0.021, nut - 0.006, 0.021, nut + 0.003), IVORY)
    pen.fill([ellipse(side * 0.026, y, 0.006, points=8) for side, y in places], shades[2])
    # Bridge and strings.
    pen.fill(blob("-.1 .355, -.05 .345, .05 .345, .1 .355, .095 .375, .05 .38, -.05 .38, -.095 .375"), EBONY)
    pen.stroke(line("-.042 .358, .042 .354"), 0.007, IVORY)
    spread = np.linspace(-1, 1, 6)
    pen.stroke([line((o * 0.016, nut), (o * 0.036, 0.368)) for o in spread], 0.0028, STEEL * rng.uniform(0.75, 1))
    posts = zip(spread, [*rows, *rows[::-1]], strict=True)
    pen.stroke([line((o * 0.016, nut), (np.sign(o) * 0.026, y)) for o, y in posts], 0.0025, STEEL)
    pen.fill([ellipse(o * 0.036, 0.369, 0.004, points=6) for o in spread], IVORY)


def erhu(pen: "Drawing", rng: Rng) -> None:
    """A long thin neck on a small snakeskin drum, two big pegs on one side, two strings, the bow between them."""
    colour = wood(rng, "rosewood rosewood walnut red") * rng.uniform(0.8, 1.3)
    sides = 6 if chance(rng, 0.6) else 8
    r = rng.uniform(0.095, 0.115)
    cy = 0.48 - r
    face = turned(circle(sides), np.pi / sides * (sides == 8)) * r + (0, cy)
    depth = np.array([rng.uniform(0.06, 0.12) * (1 if chance(rng, 0.5) else -1), -0.02])
    # The drum's walls, the far ones first; then the neck, whose top bends back, passes behind its face.
    pen.fill(box(-0.06, cy + r * 0.82, 0.06, 0.5), colour * 0.5)
    walls = [np.concatenate([face[i : i + 2], face[i + 1 : i - 1 if i else None : -1] + depth]) for i in range(sides)]
    for wall in sorted(walls, key=lambda wall: -(wall.mean(0) @ depth)):
        pen.fill(wall, colour * (1.0 - 2.6 * (wall[:, 1].mean() - cy)))
    top = spline((0, cy), (0, 0.0), (0, -0.36), (0.004, -0.43), (0.03, -0.478), (0.068, -0.49))
    pen.fill(ribbon(top, tapered(top, 0.030, 0.026, 0.026, 0.030)), colour * 0.4)
    pen.fill(ribbon(top, tapered(top, 0.022, 0.018, 0.018, 0.020)), colour)
    pen.fill(ribbon(top, 0.005, -1, 0), colour * 2.4 + 0.1)
    pen.fill(ellipse(0.07, -0.488, 0.022, 0.014, -0.5), IVORY if chance(rng, 0.5) else colour * 0.6)
    pen.fill(face, colour * 0.55)
    pen.fill(scaled(face, 0.86, 0, cy), np.array([0.74, 0.66, 0.48]) * rng.uniform(0.75, 1.15))
    grid = np.array([(i * 0.26 + j % 2 * 0.13, j * 0.18) for j in range(-4, 5) for i in range(-4, 5)])
    spots = grid[np.hypot(*grid.T) < 0.72] * r + (0, cy)
    pen.fill([ellipse(x, y, r * 0.10, r * 0.065, points=6) for x, y in spots], np.array([0.22, 0.15, 0.09]), 0.75)
    # Pegs to the left, the strings and the loop that ties them to the neck, the little bridge.
    for y in (-0.33, -0.235):
        peg = spline((0.03, y + 0.006), (-0.05, y - 0.005), (-0.15, y - 0.02))
        pen.fill(ribbon(peg, tapered(peg, 0.014, 0.022, 0.020, 0.038, 0.030)), colour * 0.5)
        pen.fill(ribbon(peg, tapered(peg, 0.008, 0.013, 0.012, 0.026, 0.020), -0.4, 0.6), colour * 1.3)
        pen.stroke(line((-0.118, y - 0.032), (-0.112, y + 0.004)), 0.006, IVORY)
    strings = [
        line((-0.014, -0.33), (-0.03, -0.12), (-0.006, cy)),
        line((-0.014, -0.235), (-0.018, -0.12), (0.006, cy)),
    ]
    pen.stroke(strings, 0.0045, STEEL)
    pen.stroke(line("-.03 -.12, .01 -.125"), 0.009, np.array([0.75, 0.15, 0.1]))
    pen.fill(box(-0.018, cy - 0.012, 0.018, cy + 0.008), np.array([0.80, 0.62, 0.36]))
    if chance(rng, 0.85):
        middle = np.array([rng.uniform(-0.1, 0.06), cy - r - rng.uniform(0.02, 0.06)])
        reach = np.array([0.32, rng.uniform(-0.06, 0.06)])
        bow(pen, middle + reach, middle - reach, np.array([0.72, 0.52, 0.26]) * rng.uniform(0.6, 1.1), arch=0.045)


# Winds


def bell_mouth(pen: "Drawing", x: float, y: float, rx: float, ry: float, turn: float, shades: Metal) -> None:
    """Draw the open end of a bell: a bright rim, the inside lit on the far side and dark in the throat."""
    dx, dy = -np.sin(turn) * ry, np.cos(turn) * ry
    for deep, wide, high, shade in (
        (0, 1, 1, shades[0]),
        (0, 0.96, 0.94, shades[2]),
        (0, 0.90, 0.84, shades[1]),
        (0.12, 0.70, 0.62, shades[0] * 0.8 + shades[1] * 0.2),
        (0.22, 0.42, 0.36, shades[0] * 0.4),
    ):
        pen.fill(ellipse(x + dx * deep, y + dy * deep, rx * wide, ry * high, turn, 26), shade)


def valve(pen: "Drawing", x: float, top: float, bottom: float, width: float, shades: Metal, stem: float) -> None:
    """Draw one piston valve with its caps, stem and finger button."""
    head, w = top - stem, width
    tube(pen, line((x, top), (x, bottom)), w, shades)
    pen.stroke(line((x, top), (x, head)), w * 0.25, shades[2])
    pen.fill(box(x - w * 0.42, head - 0.014, x + w * 0.42, head + 0.004), shades[2] * 0.92)
    pen.fill(ellipse(x, head - 0.012, w * 0.38, 0.007), IVORY)
    for y in (top, bottom):
        pen.fill(box(x - w * 0.58, y - 0.014, x + w * 0.58, y + 0.014, 0.003), shades[0])
        pen.fill(box(x - w * 0.50, y - 0.009, x + w * 0.50, y + 0.009), shades[1])
        pen.fill(box(x - w * 0.28, y - 0.009, x - w * 0.02, y + 0.009), shades[3])


def trumpet(pen: "Drawing", rng: Rng) -> None:
    """A flared bell ahead, a long loop of pipe, three valves, a mouthpiece behind."""
    shades = metal(rng, "brass brass gold silver silver")
    fittings = metal(rng, "silver") if chance(rng, 0.3) else shades
    upper, lower = -0.045, rng.uniform(0.085, 0.115)
    front, rear, thick = rng.uniform(0.22, 0.27), -0.25, 0.030
    middle, bend = (upper + lower) / 2, (lower - upper) / 2
    # The slides of the first and third valves, then the front bow of the loop with the lower line.
    tube(pen, spline(".04 .03, .16 .03, .185 .045, .16 .062, .04 .062"), thick * 0.8, shades)
    tube(pen, spline("-.05 .02, -.12 .02, -.135 .032, -.12 .045, -.05 .045"), thick * 0.7, shades)
    arc = turned(circle(20)[:11], -np.pi / 2) * (bend * 0.75, bend) + (0, middle)
    tube(pen, line(*moved(arc, front), (0, lower)), thick, shades)
    # Leadpipe and mouthpiece; the bell's pipe runs from the valves back, round, and forward.
    tube(pen, line((-0.40, upper - 0.012), (front, upper - 0.012)), thick * 0.85, shades)
    cup = moved(line("-.5 0, -.485 0, -.46 0, -.38 0"), 0, upper - 0.012)
    tube(pen, cup, np.array([0.062, 0.058, 0.026, 0.024]), metal(rng, "silver"))
    tube(pen, line((0, lower), *moved(arc[::-1] * (-1, 1), rear), (0.15, upper)), thick, shades)
    t = np.linspace(0, 1, 26)
    mouth = rng.uniform(0.26, 0.31)
    flare = thick + (mouth - thick) * (0.16 * t + 0.12 * t**3 + 0.72 * t**9)
    tube(pen, np.stack([0.10 + 0.375 * t, np.full(26, upper)], 1), flare, shades)
    bell_mouth(pen, 0.475, upper, mouth / 2, rng.uniform(0.018, 0.05), np.pi / 2, shades)
    pen.stroke([line((x, upper), (x, lower)) for x in (rear + 0.07, front - 0.035)], 0.011, shades[1] * 0.8)
    for x in (-0.058, 0.0, 0.058):
        valve(pen, x, -0.10, 0.175, 0.046, fittings, rng.uniform(0.03, 0.06))
    pen.stroke(ellipse(0.125, upper - 0.042, 0.020, 0.022), 0.008, shades[1])


def tuba(pen: "Drawing", rng: Rng) -> None:
    """A wide conical pipe coiled upright under a great bell, valves in its middle, a mouthpiece aside."""
    shades = metal(rng, "brass brass gold silver")
    mouth, rise = rng.uniform(0.40, 0.48), rng.uniform(-0.03, 0.05)
    # The inner coils lie behind the valves and between the big branches; the mouth pipe comes round from behind.
    tube(pen, spline("-.1 .3, -.11 0, -.06 -.1, 0 -.06, 0 .24, -.05 .3, -.1 .22"), 0.050, shades)
    tube(pen, spline(".05 .3, -.06 .345, -.13 .28, -.15 .06, -.12 -.04"), 0.045, shades)
    lead = spline((-0.33, -0.17 + rise), (-0.26, -0.155 + rise), (-0.15, -0.11), (-0.03, -0.09), (0.06, -0.10))
    tube(pen, lead, 0.026, shades)
    cup = moved(line("-.385 -.185, -.37 -.181, -.35 -.175, -.31 -.165"), 0, rise)
    tube(pen, cup, np.array([0.062, 0.058, 0.026, 0.022]), metal(rng, "silver"))
    # The great pipe: up the left, round the bottom bow, up into the bell.
    rising = line("-.06 .02, -.06 -.12, -.1 -.215, -.17 -.225, -.225 -.15, -.235 .05, -.225 .25, -.16 .385")
    bell = line("-.03 .43, .09 .37, .135 .22, .13 .02, .11 -.16, .11 -.28, .11 -.37, .11 -.42, .11 -.455")
    path = spline(*rising, *bell)
    t = travelled(path)
    tube(pen, path, 0.050 + 0.125 * t + (mouth - 0.175) * np.clip(t / 0.25 - 3, 0, 1) ** 4, shades)
    bell_mouth(pen, 0.11, -0.455, mouth / 2, rng.uniform(0.03, 0.085), 0.0, shades)
    pen.stroke([line("-.22 0, -.1 .02"), line(".02 .15, .11 .13")], 0.016, shades[1] * 0.7)
    count = int(rng.integers(3, 5))
    for x in np.linspace(-0.105, 0.035, count):
        valve(pen, x, 0.02, 0.24, 0.142 / count, shades, 0.035)
    pen.stroke([line((-0.10, y), (0.03, y)) for y in (0.08, 0.135, 0.19)], 0.009, shades[0], 0.35)


def saxophone(pen: "Drawing", rng: Rng) -> None:
    """A cone of metal that bends up into a bell, rows of round keys, a curved neck with a black mouthpiece."""
    shades = metal(rng, "brass gold gold brass silver black rose")
    keys = metal(rng, "gold brass" if chance(rng, 0.6) else "silver")
    neck = spline("-.215 -.405, -.14 -.448, -.075 -.468, -.02 -.445, 0 -.38, 0 -.34")
    tube(pen, neck, tapered(neck, 0.024, 0.030, 0.036, 0.040), keys if chance(rng, 0.3) else shades)
    mouthpiece = line("-.3 -.352, -.265 -.375, -.225 -.4, -.19 -.42")
    tube(pen, mouthpiece, np.array([0.010, 0.036, 0.042, 0.036]), METALS["black"])
    pen.fill(ribbon(mouthpiece[1:3], 0.044), keys[1])
    tilt, mouth = rng.uniform(0.0, 0.05), rng.uniform(0.25, 0.30)
    rim = (0.222 + tilt, -0.06)
    bottom = line("0 -.37, 0 -.1, 0 .2, .005 .33, .045 .43, .12 .455, .185 .4, .203 .29, .206 .17")
    path = spline(*bottom, (0.210 + tilt * 0.3, 0.07), (0.216 + tilt * 0.7, 0.0), rim)
    t = travelled(path)
    tube(pen, path, 0.042 + 0.100 * t + (mouth - 0.142) * np.clip(t / 0.22 - 3.545, 0, 1) ** 3, shades)
    bell_mouth(pen, *rim, mouth / 2, rng.uniform(0.03, 0.07), tilt * 2.5, shades)
    tube(pen, line("0 -.385, 0 -.345"), 0.056, keys)
    tube(pen, line(".206 .205, .206 .182"), 0.150, shades)
    # Rods down both sides, pad cups with pearls on the body, guarded low keys beside and on the bell.
    for x, y0, y1 in table(".046 -.31 .3, -.04 -.26 .02, -.052 .04 .32, .072 -.02 .33"):
        rod(pen, line((x, y0), (x + 0.010, y1)), 0.014, keys)
        pen.fill([box(x - 0.012, y - 0.006, x + 0.014, y + 0.006) for y in (y0, (y0 + y1) / 2, y1)], keys[0])
    for i, y in enumerate(np.linspace(-0.31, 0.31, 10)):
        x, radius = 0.004 + 0.014 * (i % 2), 0.021 + 0.0022 * i
        disc(pen, x, y, radius, keys)
        if i % 4 != 3:
            pen.fill(ellipse(x, y - 0.002, radius * 0.5, points=10), IVORY)
    for x, y, radius in table(".15 .07 .04, .155 .17 .046, .155 .285 .05, .075 .395 .042"):
        disc(pen, x, y, radius, keys)
        pen.stroke([line((x - radius, y), (x + radius, y)), ellipse(x, y, radius * 0.62)], 0.007, keys[0])
    for y in (-0.22, -0.16, -0.10, -0.04, 0.13, 0.19):  # the palm and side keys stand off
        paddle = moved(blob("-.03 0, -.07 -.012, -.085 .014, -.045 .022"), 0, y)
        slab(pen, paddle, keys[1])
        pen.stroke(line((-0.064, y - 0.003), (-0.048, y + 0.010)), 0.006, keys[3])
    rod(pen, line(".05 .12, .155 .1"), 0.011, keys)
    rod(pen, line(".03 .34, .15 .33"), 0.011, keys)


def clarinet(pen: "Drawing", rng: Rng) -> None:
    """A straight black pipe with silver keys and rings, a small bell below, a beak above."""
    shades = METALS["black"] * rng.uniform(0.7, 1.3)
    if chance(rng, 0.12):
        shades = lacquer(wood(rng, "rosewood"))
    keys = metal(rng, "silver silver silver silver silver nickel gold")
    w = rng.uniform(0.046, 0.054)
    tube(pen, line("0 -.36, 0 .34"), np.array([w * 0.92, w * 1.05]), shades)
    t = np.linspace(0, 1, 14)
    tube(pen, np.stack([np.zeros(14), 0.33 + 0.165 * t], 1), w * (1.08 + 0.35 * t + 1.15 * t**3), shades)
    pen.fill(ellipse(0, 0.492, w * 1.27, w * 0.30), keys[1])
    pen.fill(ellipse(0, 0.494, w * 1.10, w * 0.20), shades[0])
    beak = line((w * 0.18, -0.5), (w * 0.12, -0.47), (0, -0.42), (0, -0.35))
    tube(pen, beak, np.array([0.2, 0.5, 0.86, 0.9]) * w, METALS["black"])
    pen.fill(box(-w * 0.45, -0.435, w * 0.45, -0.40), keys[1])
    pen.stroke([line((-w * 0.45, y), (w * 0.45, y)) for y in (-0.428, -0.407)], 0.006, keys[3])
    tube(pen, line("0 -.375, 0 -.3"), w * 1.22, shades)
    for y in (-0.375, -0.30, -0.285, -0.005, 0.015, 0.335):  # the rings at the joints
        pen.fill(box(-w * 0.62, y - 0.007, w * 0.62, y + 0.007), keys[0])
        pen.fill(box(-w * 0.56, y - 0.004, w * 0.56, y + 0.004), keys[1])
        pen.fill(box(-w * 0.25, y - 0.004, w * 0.02, y + 0.004), keys[3])
    # Rods at the sides, rings round the finger holes, pads, the long keys of the little fingers.
    for x, y0, y1 in table(".42 -.24 -.03, .46 .04 .31, -.42 .12 .3, -.45 -.26 -.12"):
        rod(pen, line((x * w, y0), (x * w, y1)), 0.011, keys)
    for y in (-0.20, -0.145, -0.09, 0.055, 0.105, 0.155):
        pen.fill(ellipse(0, y, w * 0.34, points=14), shades[0] * 0.5)
        pen.stroke(ellipse(0, y, w * 0.34, points=14), 0.010, keys[2])
    for x, y, radius in table(".2 -.255 .2, -.5 -.17 .26, .55 -.06 .24, .1 .215 .4, -.25 .262 .42, .3 .305 .42"):
        disc(pen, x * w, y, radius * w, keys)
    for side, y in table("-1 .19, -1 .225, 1 .2, 1 .235, 1 -.235, -1 -.215"):
        pen.fill(blob(".3 0, .85 -.014, 1 .004, .5 .012") * (side * w, 1) + (0, y), keys[1])
        pen.stroke(line(".55 -.003, .85 -.006") * (side * w, 1) + (0, y), 0.006, keys[3])


def flute(pen: "Drawing", rng: Rng) -> None:
    """A straight silver pipe, a lip plate near its closed end, rows of round keys along a rod."""
    shades = metal(rng, "silver silver silver silver silver silver nickel nickel gold")
    keys = shades if chance(rng, 0.9) else metal(rng, "gold")
    w = rng.uniform(0.036, 0.042)
    tube(pen, line("-.5 0, .5 0"), w, shades)
    for x0, x1, share in table("-.5 -.475 1.15, -.205 -.155 1.2, .325 .345 1.2, .487 .5 1.2"):  # crown and joints
        tube(pen, line((x0, 0), (x1, 0)), w * share, shades)
        pen.stroke([line((x, -w * share / 2), (x, w * share / 2)) for x in (x0, x1)], 0.004, shades[0])
    pen.fill(ellipse(-0.36, -0.005, 0.052, w * 0.80), shades[0])  # the lip plate with its hole
    pen.fill(ellipse(-0.36, -0.006, 0.048, w * 0.70), shades[1])
    pen.fill(ellipse(-0.362, -0.010, 0.040, w * 0.42), shades[2])
    pen.fill(ellipse(-0.36, -0.008, 0.017, w * 0.30), BLACK)
    # Rods above and below with their posts, cups on top.
    for x0, x1, y in table("-.14 .32 -.62, .34 .47 -.6, 0 .16 .55"):
        rod(pen, line((x0, y * w), (x1, y * w)), 0.011, keys)
    posts = (-0.14, -0.05, 0.04, 0.14, 0.23, 0.32, 0.36, 0.47)
    pen.stroke([line((x, -w * 0.75), (x, -w * 0.3)) for x in posts], 0.008, keys[0])
    open_holes = chance(rng, 0.5)
    cups = "-.125 -.09 -.045 -.005 .033 .071 .118 .158 .198 .238 .282 .37 .41 .45"
    for i, x in enumerate(table(cups)[0]):
        radius = w * (0.36 if i < 2 else 0.52)
        disc(pen, x, -w * 0.16, radius, keys)
        if open_holes and 3 < i < 10:
            pen.fill(ellipse(x, -w * 0.18, radius * 0.36, points=10), BLACK)
    for x in (0.06, 0.185, 0.225):
        disc(pen, x, w * 0.50, w * 0.26, keys)
    for lever in (blob(".3 .3, .335 .85, .36 .9, .345 .4"), blob("-.02 .4, 0 .95, .03 .9, .02 .4")):
        pen.fill(lever * (1, w), keys[1])


# Others


def accordion(pen: "Drawing", rng: Rng) -> None:
    """Two boxes with pleated bellows fanned out between them, piano keys on one, rows of round buttons on the other."""
    bodies = table(".62 .06 .07, .07 .07 .08, .07 .16 .45, .8 .78 .74, .05 .3 .16, .42 .1 .14, .55 .25 .1")
    cloths = table(".55 .08 .08, .09 .09 .1, .12 .2 .42, .7 .66 .58")
    body = bodies[rng.integers(len(bodies))] * rng.uniform(0.8, 1.2)
    cloth = cloths[rng.integers(len(cloths))] * rng.uniform(0.8, 1.15)
    trim = metal(rng, "silver gold")
    bottom = rng.uniform(0.33, 0.39)
    top, inner = -bottom, -0.20
    spread, opened = rng.uniform(0.26, 0.42), rng.uniform(-0.06, 0.40)

    def on_bass(shape: Points) -> Points:
        return moved(turned(shape, -opened), inner + spread)

    # Bellows: each pleat is a lit and a shaded slope; their ridges step out at the ends.
    pleats = int(rng.integers(9, 15))
    start, stop = line((inner, top * 0.93), (inner, bottom * 0.93)), on_bass(line((0, top * 0.93), (0, bottom * 0.93)))
    edges = start + (stop - start) * np.linspace(0, 1, 2 * pleats + 1)[:, None, None]
    edges[1::2] += (edges[1::2] - edges[1::2].mean(1, keepdims=True)) * 0.075
    for i in range(2 * pleats):
        pen.fill(np.concatenate([edges[i], edges[i + 1][::-1]]), cloth * 1.25 + 0.03 if i % 2 else cloth * 0.5)
    for end in (0, 1):
        pen.stroke([edges[i : i + 3, end] for i in range(0, 2 * pleats - 1, 2)], 0.009, trim[1])
    pen.stroke(list(edges[1::2]), 0.005, cloth * 1.9 + 0.12)
    # Bass side, with its strap and its rows of buttons.
    wide = 0.5 - inner - spread if opened < 0.1 else 0.20
    slab(pen, on_bass(box(0, top, wide, bottom, 0.02)), body)
    pen.fill(on_bass(box(wide * 0.06, top * 0.9, wide * 0.14, bottom * 0.9)), body * 1.6 + 0.15, 0.7)
    across, down = (
        np.linspace(0.34, 0.80, rng.integers(3, 5)) * wide,
        np.linspace(0.8, -0.75, rng.integers(9, 13)) * top,
    )
    buttons = [on_bass(ellipse(x, y + x * 0.06, 0.0105, points=8)) for y in down for x in across]
    pen.fill([moved(button, 0.003, 0.004) for button in buttons], body * 0.2)
    pen.fill(buttons, IVORY if body.mean() < 0.55 else BLACK)
    # Treble side: the case with its grille, and the keyboard on its outer edge.
    slab(pen, box(-0.37, top, inner, bottom, 0.015), body)
    pen.fill(box(-0.352, top * 0.94, -0.336, bottom * 0.94), body * 1.7 + 0.2, 0.6)
    pen.fill(box(-0.305, top * 0.82, inner - 0.022, bottom * 0.82, 0.015), trim[0])
    slats = np.linspace(top * 0.74, bottom * 0.78, 16)
    pen.stroke([line((-0.30, y), (inner - 0.026, y - 0.025)) for y in slats], 0.009, trim[2])
    pen.fill(box(-0.5, top * 0.97, -0.345, bottom * 0.97), BLACK)
    count = int(rng.integers(14, 20))
    key = 1.91 * bottom / count
    seams = top * 0.955 + key * np.arange(count)
    pen.fill([box(-0.496, y + key * 0.1, -0.352, y + key * 0.9) for y in seams], IVORY)
    pen.fill([box(-0.496, y + key * 0.78, -0.352, y + key * 0.9) for y in seams], IVORY * 0.72)
    black = [y for i, y in enumerate(seams) if i % 7 not in (0, 3)]
    pen.fill([box(-0.435, y - key * 0.3, -0.345, y + key * 0.3, 0.003) for y in black], BLACK)
    pen.fill([box(-0.428, y - key * 0.21, -0.355, y - key * 0.03) for y in black], BLACK * 5, 0.8)


def xylophone(pen: "Drawing", rng: Rng) -> None:
    """A fan of bars from long to short on a frame, with pipes below it or on a table, and two mallets."""
    toy = chance(rng, 0.35)
    standing = not toy and chance(rng, 0.8)
    count = int(rng.integers(8, 11) if toy else rng.integers(12, 17))
    colour = wood(rng, "chestnut rosewood amber honey red")
    frame = wood(rng, "walnut honey spruce") if chance(rng, 0.5) else BLACK * rng.uniform(1, 4)
    trim = metal(rng, "silver gold nickel")
    x = np.linspace(-0.46, 0.46, count)
    length = np.linspace(rng.uniform(0.36, 0.46), rng.uniform(0.15, 0.22), count)
    centre = rng.uniform(-0.025, 0.06) * (x + 0.5) - (0 if toy else 0.02)
    half = (x[1] - x[0]) * rng.uniform(0.40, 0.44)
    if standing:
        for side, leg in ((-0.43, 0.5), (0.43, 0.46)):
            rod(pen, line((side, 0), (side, leg)), 0.030, lacquer(frame))
            rod(pen, line((side - 0.05, leg), (side + 0.05, leg)), 0.024, lacquer(frame))
        rod(pen, line("-.43 .4, .43 .37"), 0.022, lacquer(frame))
        ends = centre + length / 2 + np.linspace(0.19, 0.07, count)
        for at, y0, y1 in zip(x, centre, ends, strict=True):  # resonators hang below the bars
            tube(pen, line((at, y0), (at, y1)), half * 1.2, trim * 0.75)

    def rail(aside: float) -> None:
        y = centre + aside * length
        rod(pen, line((x[0] - 0.035, y[0]), (x[-1] + 0.03, y[-1])), 0.030, lacquer(frame))

    def bar(at: float, y0: float, y1: float, tone: Colour) -> None:
        pen.fill(box(at - half, y0 + 0.006, at + half, y1 + 0.022, 0.005), tone * 0.32)
        pen.fill(box(at - half, y0, at + half, y1, 0.005), tone)
        pen.fill(box(at - half * 0.75, y0 + 0.012, at - half * 0.15, y1 - 0.012), tone * 1.3 + 0.12, 0.55)
        pen.fill(box(at + half * 0.55, y0 + 0.008, at + half * 0.95, y1 - 0.006), tone * 0.5, 0.5)

    if standing and chance(rng, 0.6):  # the black keys' bars lie behind, in twos and threes
        rail(-0.62)
        for i in range(count - 1):
            if i % 7 not in (2, 6):
                tone = colour * rng.uniform(0.75, 1.0)
                bar((x[i] + x[i + 1]) / 2, centre[i] - length[i] * 0.84, centre[i] - length[i] * 0.17, tone)
    rail(-0.30)
    rail(0.30)
    rainbow = table(".85 .12 .12, .95 .5 .1, .97 .83 .15, .25 .68 .25, .15 .6 .75, .15 .3 .75, .5 .2 .62, .9 .35 .6")
    for i, at in enumerate(x):
        tone = rainbow[i % 8] if toy else colour * rng.uniform(0.85, 1.15)
        bar(at, centre[i] - length[i] / 2, centre[i] + length[i] / 2, tone)
    nodes = [(x[i], centre[i] + side * length[i]) for i in range(count) for side in (-0.30, 0.30)]
    pen.fill([ellipse(*node, 0.0085, points=8) for node in nodes], BLACK)
    pen.fill([ellipse(*node, 0.005, points=8) for node in nodes], trim[2])
    if chance(rng, 0.8):
        head = table(".75 .12 .1, .1 .15 .45, .9 .85 .7, .08 .08 .08")[rng.integers(4)]
        for start in rng.uniform(-0.35, 0.15, 2):
            tip = np.array([start + rng.uniform(-0.05, 0.15), rng.uniform(-0.08, 0.05)])
            end = tip + np.array([rng.uniform(-0.1, 0.2), rng.uniform(0.25, 0.38)])
            pen.stroke(line(tip, end), 0.012, np.array([0.45, 0.32, 0.18]))
            pen.stroke(line(tip, end), 0.007, np.array([0.86, 0.72, 0.50]))
            disc(pen, *tip, 0.026, lacquer(head))


INSTRUMENTS: dict[str, Callable[["Drawing", Rng], None]] = {
    draw.__name__: draw
    for draw in (accordion, acoustic_guitar, cello, clarinet, erhu, flute, saxophone, trumpet, tuba, violin, xylophone)
}
