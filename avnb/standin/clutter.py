"""Things that are no instruments, which stand behind and before them in the stand-in's pictures."""

import numpy as np

from avnb.standin.drawing import IVORY, METALS, WHITE, Drawing, Rng, chance, lacquer, paint, tube, wood
from avnb.standin.shapes import blob, box, ellipse, line, ribbon, spline, tapered


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
