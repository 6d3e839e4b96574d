"""The eleven instruments of the embedded MUSIC stand-in, by the names of MUSIC's classes, as drawing code.

Every instrument is a function that draws itself on a ``Drawing`` in its own coordinates (avnb.standin.shapes).
Colours and proportions come from ``rng``; pose, scale and light are the scene's business.
"""

from collections.abc import Callable

import numpy as np

from avnb.standin.drawing import BLACK, IVORY, Colour, Drawing, Rng, chance, disc, lacquer, metal, rod, slab, tube, wood
from avnb.standin.shapes import Points, box, ellipse, line, moved, table, turned
from avnb.standin.string_instruments import acoustic_guitar, cello, erhu, violin
from avnb.standin.wind_instruments import clarinet, flute, saxophone, trumpet, tuba


def accordion(pen: Drawing, rng: Rng) -> None:
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


def xylophone(pen: Drawing, rng: Rng) -> None:
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


INSTRUMENTS: dict[str, Callable[[Drawing, Rng], None]] = {
    draw.__name__: draw
    for draw in (accordion, acoustic_guitar, cello, clarinet, erhu, flute, saxophone, trumpet, tuba, violin, xylophone)
}
CLASSES: tuple[str, ...] = tuple(INSTRUMENTS)
