"""A drawing of the stand-in: filled and stroked shapes, what they are made of, and their rendering in any pose."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from avnb.standin.shapes import Points, Widths, ellipse, normals, scaled, table

Colour = Float[np.ndarray, "3"]
Metal = Float[np.ndarray, "4 3"]
Paint = Float[np.ndarray, "4"]  # red, green, blue and alpha, in 0..1
Rng = np.random.Generator


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


def paint(rng: Rng, light: float | None = None) -> Colour:
    """Return a colour one meets in rooms: mostly muted and warm, sometimes strong; as light as ``light`` if given."""
    grey = rng.uniform(0.1, 0.95) if light is None else light
    warmth, green = rng.normal(0.03, 0.08), rng.normal(0, 0.03)
    vivid = rng.normal(0, 1, 3) * rng.choice([0.0, 0.04, 0.22], p=[0.4, 0.35, 0.25])
    return np.clip(grey + np.array([warmth, green, -warmth]) + vivid, 0.02, 0.97).astype(np.float32)


def tube(pen: Drawing, curve: Points, widths: Widths, shades: Metal) -> None:
    """Draw a pipe along ``curve``: dark rims, a body, a highlight off its middle, a glint."""
    across = normals(curve) * np.reshape(widths, (-1, 1))
    for (low, high), shade in zip(((-0.5, 0.5), (-0.36, 0.46), (-0.08, 0.34), (0.10, 0.24)), shades, strict=True):
        pen.fill(np.concatenate([curve + across * low, (curve + across * high)[::-1]]), shade)


def rod(pen: Drawing, curve: Points, width: float, shades: Metal) -> None:
    """Draw a pipe too thin for four shades."""
    pen.stroke(curve, width, shades[0])
    pen.stroke(curve, width * 0.62, shades[1])
    pen.stroke(curve + np.array([0.08, -0.1]) * width, width * 0.24, shades[3])


def disc(pen: Drawing, x: float, y: float, radius: float, shades: Metal) -> None:
    """Draw a round key or cap of metal."""
    pen.fill(ellipse(x, y, radius, points=14), shades[0])
    pen.fill(ellipse(x, y, radius * 0.82, points=14), shades[1])
    pen.fill(ellipse(x - radius * 0.15, y - radius * 0.2, radius * 0.5, points=12), shades[2])


def slab(pen: Drawing, outline: Points, colour: Colour) -> None:
    """Draw a plain plate with a dark rim."""
    pen.fill(outline, colour * 0.4)
    pen.fill(scaled(outline, 0.94, *(outline.min(0) + outline.max(0)) / 2), colour)


def plate(pen: Drawing, outline: Points, colour: Colour, rng: Rng) -> None:
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
