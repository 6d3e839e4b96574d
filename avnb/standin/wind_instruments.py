"""The stand-in's wind instruments, drawn as ``string_instruments`` are: trumpet, tuba, saxophone, clarinet, flute."""

import numpy as np

from avnb.standin.drawing import (
    BLACK,
    IVORY,
    METALS,
    Drawing,
    Metal,
    Rng,
    chance,
    disc,
    lacquer,
    metal,
    rod,
    slab,
    tube,
    wood,
)
from avnb.standin.shapes import (
    blob,
    box,
    ellipse,
    half_circle,
    line,
    moved,
    ribbon,
    spline,
    table,
    tapered,
    travelled,
)


def bell_mouth(pen: Drawing, x: float, y: float, rx: float, ry: float, turn: float, shades: Metal) -> None:
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


def valve(pen: Drawing, x: float, top: float, bottom: float, width: float, shades: Metal, stem: float) -> None:
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


def trumpet(pen: Drawing, rng: Rng) -> None:
    """A flared bell ahead, a long loop of pipe, three valves, a mouthpiece behind."""
    shades = metal(rng, "brass brass gold silver silver")
    fittings = metal(rng, "silver") if chance(rng, 0.3) else shades
    upper, lower = -0.045, rng.uniform(0.085, 0.115)
    front, rear, thick = rng.uniform(0.22, 0.27), -0.25, 0.030
    middle, bend = (upper + lower) / 2, (lower - upper) / 2
    # The slides of the first and third valves, then the front bow of the loop with the lower line.
    tube(pen, spline(".04 .03, .16 .03, .185 .045, .16 .062, .04 .062"), thick * 0.8, shades)
    tube(pen, spline("-.05 .02, -.12 .02, -.135 .032, -.12 .045, -.05 .045"), thick * 0.7, shades)
    arc = half_circle() * (bend * 0.75, bend) + (0, middle)
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


def tuba(pen: Drawing, rng: Rng) -> None:
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


def saxophone(pen: Drawing, rng: Rng) -> None:
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


def clarinet(pen: Drawing, rng: Rng) -> None:
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


def flute(pen: Drawing, rng: Rng) -> None:
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
