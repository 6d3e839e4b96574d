"""The pictures of the embedded MUSIC stand-in: instruments drawn in cluttered rooms, with exact masks.

A scene is made as a painter would: a textured background, things that are no instruments behind, the instruments with
their shadows, sometimes a thing in front, then the light over all of it. All chance comes from one generator, so a
seed is a picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageFilter

from avnb.errors import SettingsError
from avnb.standin.clutter import CLUTTER, IN_FRONT
from avnb.standin.drawing import Drawing, Pose, Rng, Sprite, chance, render
from avnb.standin.instruments import CLASSES, INSTRUMENTS
from avnb.standin.walls import GRAINS, Picture, background, clouds

Light = Float[np.ndarray, "2"]  # the way to the light: rows, columns


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
    in ``CLASSES``.

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
