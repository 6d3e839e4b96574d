"""How large the stand-in's objects are, which shape their boxes have and where they lie: as MUSIC's own boxes.

The tables are facts about the boxes of DSOL's released annotations (solotest.json: 12,356 boxes in 27 videos;
duettest.json: 15,035 in 16). An object of a drawn scene takes its numbers from them, whatever its class.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from avnb.standin.drawing import Drawing, Pose, Rng, Sprite, chance
from avnb.standin.shapes import table

# Of the tables below: the shares of boxes under a value. The largest hundredth of the areas is left out.
LEVELS = table("0 5 10 20 30 40 50 60 70 80 85 90 95 100")[0] / 100
ROOM = 0.8  # the share of solos that leave room for a second, silent instrument: the others fill the frame
SMALLEST = 0.03  # of the frame, so that it can be made out; a twelfth of the duets' boxes are smaller
LONGEST = 1.45  # frames; what is longer than one is cut off by its border
TURNS_TRIED, CORNERS_TRIED = 12, 40

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Boxes:
    """Quantiles, at ``LEVELS``, of a subset's boxes: area (of the frame), aspect (log of width by height), centre."""

    area: Float[np.ndarray, " levels"]
    aspect: Float[np.ndarray, " levels"]
    across: Float[np.ndarray, " levels"]
    down: Float[np.ndarray, " levels"]

    def area_at(self, level: float) -> float:
        """Return the area that a share of ``level`` of the boxes stays under, but at least ``SMALLEST``."""
        return max(float(np.interp(level, LEVELS, self.area)), SMALLEST)

    def aspect_at(self, level: float) -> float:
        """Return the aspect that a share of ``level`` of the boxes stays under."""
        return float(np.interp(level, LEVELS, self.aspect))

    def centre_at(self, across: float, down: float) -> Float[np.ndarray, "2"]:
        """Return the centre (rows, columns) that shares of ``down`` and ``across`` of the boxes stay under."""
        return np.array([np.interp(down, LEVELS, self.down), np.interp(across, LEVELS, self.across)])


SOLO = Boxes(
    area=table(".035 .094 .109 .160 .197 .243 .277 .317 .356 .396 .523 .821 .879 .922")[0],
    aspect=table("-2.08 -1.43 -1.30 -1.01 -.62 -.37 -.05 .09 .18 .36 .45 .55 .65 2.50")[0],
    across=table(".26 .37 .40 .44 .47 .50 .50 .52 .54 .56 .58 .59 .70 .88")[0],
    down=table(".20 .46 .49 .50 .52 .58 .61 .63 .66 .70 .72 .75 .76 .91")[0],
)
DUET = Boxes(  # the centres are those of the 4,751 frames with two boxes
    area=table(".001 .025 .034 .058 .077 .109 .132 .155 .200 .219 .234 .270 .316 .568")[0],
    aspect=table("-2.39 -1.46 -1.31 -.82 -.59 -.45 -.36 -.28 -.08 .29 .52 .65 .85 2.46")[0],
    across=table(".10 .21 .24 .31 .33 .36 .47 .64 .66 .68 .69 .73 .76 .88")[0],
    down=table(".21 .35 .39 .44 .50 .53 .56 .58 .61 .62 .62 .63 .70 .76")[0],
)


def box_areas(count: int, rng: Rng) -> list[float]:
    """Return the areas of ``count`` objects in one frame: a solo's box, else each a duet's."""
    boxes = SOLO if count == 1 else DUET
    return [boxes.area_at(rng.uniform()) for _ in range(count)]


def fitting_pose(drawing: Drawing, turns: tuple[float, float], area: float, aspect: float, size: int, rng: Rng) -> Pose:
    """Return a pose in which the box of ``drawing``, as far as a frame of ``size`` pixels shows it, has ``area``.

    Of some turns (degrees, within the range of ``turns``) it is the one whose box comes nearest to ``aspect`` without
    being cut off by the frame where another would not be.
    """
    points = np.concatenate([part for shape in drawing.shapes for part in shape])
    mirror, narrow, tilt = chance(rng, 0.5), rng.uniform(0.86, 1.0), rng.uniform(-0.3, 0.3, 2)
    best, worst = None, np.inf
    for turn in np.deg2rad(rng.uniform(*turns, TURNS_TRIED)).tolist():
        pose = Pose(1.0, turn, mirror, narrow, (tilt[0], tilt[1]))
        width, height = np.ptp(pose(points), axis=0).tolist()
        length = np.sqrt(area / (width * height))
        if length * width > 1:  # cut off at the sides: the height alone has to make the area
            length = area / height
        elif length * height > 1:
            length = area / width
        longest = length * max(width, height)
        miss = abs(np.log(width / height) - aspect) + 4 * max(longest - 1, 0)
        if miss < worst:
            length = min(length, LONGEST / max(width, height))
            best, worst = Pose(length * size, turn, mirror, narrow, (tilt[0], tilt[1])), miss
    return best


def layout(sprites: list[Sprite], boxes: Boxes, size: int, rng: Rng) -> list[tuple[int, int]]:
    """Return a corner (top, left) for each of ``sprites``: where ``boxes`` have their centres, hiding little.

    What fits into the frame is not cut off by it. Several stand beside each other, in any order.
    """
    taken = np.zeros((size, size), bool)
    areas = [np.count_nonzero(sprite.coverage >= 0.5) for sprite in sprites]
    corners = []
    for sprite, side in zip(sprites, rng.permutation(len(sprites)), strict=True):
        extent = np.array(sprite.coverage.shape)
        low, high = np.minimum(size - extent, 0), np.maximum(size - extent, 0)
        best, least = (0, 0), np.inf
        for attempt in range(CORNERS_TRIED):
            centre = boxes.centre_at((side + rng.uniform()) / len(sprites), rng.uniform())
            if attempt >= CORNERS_TRIED // 2:  # there is no room where it should be
                centre = rng.uniform(size=2)
            top, left = np.clip(centre * size - extent / 2, low, high).astype(int).tolist()
            there, own = where_in_frame(sprite.coverage.shape, top, left, size)
            pixels = sprite.coverage[own] >= 0.5
            clash = np.count_nonzero(pixels & taken[there]) / min(areas)
            if clash < least:
                best, least = (top, left), clash
            if clash < 0.03:
                break
        taken |= covered(sprite, *best, size)
        corners.append(best)
    return corners


def where_in_frame(shape: tuple[int, ...], top: int, left: int, size: int) -> tuple[Window, Window]:
    """Return where an array of ``shape`` put at (top, left) lies in a frame, and which part of it is in the frame."""
    there, own = [], []
    for extent, start in zip(shape, (top, left), strict=True):
        low = min(max(start, 0), size)
        high = max(min(start + extent, size), low)
        there.append(slice(low, high))
        own.append(slice(low - start, high - start))
    return tuple(there), tuple(own)


def covered(sprite: Sprite, top: int, left: int, size: int) -> Bool[np.ndarray, "size size"]:
    """Return the pixels of a frame that ``sprite`` at (top, left) covers by half or more."""
    there, own = where_in_frame(sprite.coverage.shape, top, left, size)
    pixels = np.zeros((size, size), bool)
    pixels[there] = sprite.coverage[own] >= 0.5
    return pixels
