"""Shapes of the drawn instruments: outlines, curves and bands as arrays of points.

x runs to the right, y down, about one unit for an object, upright as it stands in a shop window.
"""

from functools import cache

import numpy as np
from jaxtyping import Float

Point = Float[np.ndarray, "2"]  # x, y
Points = Float[np.ndarray, "_ 2"]
Widths = Float[np.ndarray, " _"] | float
Knot = tuple[float, float] | Point | str


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


def half_circle() -> Points:
    """Return the half of the unit circle that lies to the right of the origin, from its top down."""
    return turned(circle(20)[:11], -np.pi / 2)


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
