"""The pictures of the embedded MUSIC stand-in: instruments drawn in cluttered rooms, with exact masks.

A scene is made as a painter would: a textured background, things that are no instruments behind, the instruments with
their shadows, sometimes a thing in front, then the light over all of it. All chance comes from one generator, so a
seed is a picture.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from avnb.errors import SettingsError
from avnb.standin.clutter import CLUTTER, IN_FRONT
from avnb.standin.drawing import Drawing, Pose, Rng, Sprite, chance, render
from avnb.standin.geometry import DUET, SOLO, box_areas, covered, fitting_pose, layout, where_in_frame
from avnb.standin.instruments import CLASSES, INSTRUMENTS
from avnb.standin.walls import GRAINS, Picture, background, clouds

Light = Float[np.ndarray, "2"]  # the way to the light: rows, columns


# How a class is usually seen: its range of turns, in degrees.
TURNS = {
    "accordion": (-25.0, 25.0),
    "acoustic_guitar": (-35.0, 100.0),
    "cello": (-28.0, 28.0),
    "clarinet": (-65.0, 65.0),
    "erhu": (-28.0, 28.0),
    "flute": (-65.0, 65.0),
    "saxophone": (-40.0, 40.0),
    "trumpet": (-40.0, 40.0),
    "tuba": (-25.0, 25.0),
    "violin": (-80.0, 80.0),
    "xylophone": (-15.0, 15.0),
}


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


def paste(picture: Picture, sprite: Sprite, top: int, left: int) -> None:
    """Lay ``sprite`` over ``picture`` in place."""
    there, own = where_in_frame(sprite.coverage.shape, top, left, len(picture))
    cover = sprite.coverage[own][..., None]
    picture[there] += (sprite.colour[own] - picture[there]) * cover


def shade(picture: Picture, sprite: Sprite, top: int, left: int, light: Light, strength: float) -> None:
    """Darken ``picture`` in place where ``sprite`` keeps the light away."""
    size = len(picture)
    edge = size // 12
    padded = np.pad(sprite.coverage, edge)
    spread = blurred(blurred(padded[::4, ::4], edge / 11), edge / 11, padded.shape)
    down, right = np.round(-light * edge * 0.8).astype(int).tolist()
    there, own = where_in_frame(spread.shape, top - edge + down, left - edge + right, size)
    picture[there] *= 1 - np.float32(strength) * spread[own][..., None]


def instrument(name: str, rng: Rng, size: int, area: float, aspect: float, light: Light) -> Sprite:
    """Return an instrument in a pose of its kind whose box takes ``area`` of a frame of ``size`` pixels.

    ``aspect`` (the logarithm of width by height) is what the box comes as near to as the habits of the class allow.
    """
    drawing = Drawing()
    INSTRUMENTS[name](drawing, rng)
    return lit(render(drawing, fitting_pose(drawing, TURNS[name], area, aspect, size, rng)), light, rng, size)


def thing(kinds: Sequence[Callable[[Drawing, Rng], None]], rng: Rng, size: int, share: float) -> Sprite:
    """Return one of the things that are no instruments, at most ``share`` of the frame long."""
    drawing = Drawing()
    kinds[rng.integers(len(kinds))](drawing, rng)
    tilt = rng.uniform(-0.2, 0.2, 2)
    turn, mirror, narrow = float(rng.normal(0, 0.12)), chance(rng, 0.5), rng.uniform(0.7, 1)
    return render(drawing, Pose(share * size, turn, mirror, narrow, (tilt[0], tilt[1])))


def scene(
    sounding: Sequence[str], silent: Sequence[str], rng: Rng, size: int = 224, areas: Sequence[float] | None = None
) -> tuple[UInt8[np.ndarray, "size size 3"], UInt8[np.ndarray, "size size"]]:
    """Draw a scene; the mask is 0 for background and k for the k-th of (*sounding, *silent): visible pixels only.

    The picture is RGB. The same state of ``rng`` gives the same bytes. ``areas`` are the shares of the frame that the
    objects' boxes take, by default those of a frame with so many. Raises SettingsError for a class that is not in
    ``CLASSES``.

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

    boxes = SOLO if len(names) == 1 else DUET
    areas = box_areas(len(names), rng) if areas is None else areas
    sprites = [
        instrument(name, rng, size, area, boxes.aspect_at(rng.uniform()), light)
        for name, area in zip(names, areas, strict=True)
    ]
    corners = layout(sprites, boxes, size, rng)
    mask = np.zeros((size, size), np.uint8)
    for k in rng.permutation(len(names)):
        shade(picture, sprites[k], *corners[k], light, rng.uniform(0.25, 0.55))
        paste(picture, sprites[k], *corners[k])
        mask[covered(sprites[k], *corners[k], size)] = k + 1

    if names and chance(rng, 0.4):
        occlude(picture, mask, rng, light)
    return developed(picture, rng), mask


def occlude(picture: Picture, mask: UInt8[np.ndarray, "size size"], rng: Rng, light: Light) -> None:
    """Put a thing before the instruments, in place, where it hides no more than a fifth of any."""
    size = len(mask)
    item = thing(IN_FRONT, rng, size, rng.uniform(0.3, 0.8))
    before = np.bincount(mask.ravel())
    for _ in range(6):
        corner = rng.integers(-size // 4, size, 2).tolist()
        pixels = covered(item, *corner, size)
        left = np.bincount(mask[~pixels], minlength=len(before))
        if (left >= 0.8 * before)[1:].all():
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
