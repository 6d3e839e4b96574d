"""The stand-in's string instruments: violin, cello, acoustic guitar and erhu, as drawing code.

Each function draws on a ``Drawing`` in the coordinates of ``avnb.standin.shapes``; colours and proportions come from
``rng``; pose, scale and light are the scene's business.
"""

import numpy as np

from avnb.standin.drawing import (
    BLACK,
    EBONY,
    IVORY,
    STEEL,
    WHITE,
    Colour,
    Drawing,
    Rng,
    chance,
    metal,
    plate,
    slab,
    wood,
)
from avnb.standin.shapes import (
    Point,
    Points,
    blob,
    box,
    circle,
    ellipse,
    line,
    moved,
    ribbon,
    scaled,
    spline,
    tapered,
    turned,
)


def bow(pen: Drawing, frog: Point, tip: Point, colour: Colour, arch: float = 0.02) -> None:
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


def fiddle(pen: Drawing, rng: Rng, top: float, bottom: float, colour: Colour, depth: float) -> None:
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


def violin(pen: Drawing, rng: Rng) -> None:
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


def cello(pen: Drawing, rng: Rng) -> None:
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


def acoustic_guitar(pen: Drawing, rng: Rng) -> None:
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


def erhu(pen: Drawing, rng: Rng) -> None:
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
