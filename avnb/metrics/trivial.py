"""The rows that need no model: what a result must be read beside.

With half of the image predicted, a fixed square in the middle succeeds on 31.9 % of VGG-SS and perfect knowledge on
no more than 50.5 % (cIoU@0.5): a number says little until its floor and its ceiling stand next to it. Every map here
goes through the same metrics and threshold rules as a method's. Introduced in notebooks/02_ez_vsl.ipynb.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avnb.errors import SettingsError

NAMES = ("centre", "whole_image", "random", "oracle")
TILED = ("tile_centre", "tile_each")  # where frames are joined to one picture: the centre lies on their seam


def trivial_maps(
    name: str, truth: Float[Tensor, "images sources H W"], seed: int = 0, tiles: tuple[int, int] = (1, 1)
) -> Float[Tensor, "images sources H W"]:
    """Return the maps of a row that needs no model, shaped as a method's and on the truth's device.

    ``name`` is one of ``NAMES``, or "tile_centre" in a picture of ``tiles`` (rows, columns) frames; ``seed`` matters to
    "random" alone, whose maps are the same on every device. Only "oracle" looks at the truth's values.

    Raises:
        SettingsError: no such row.
    """
    size = (truth.shape[-2], truth.shape[-1])
    match name:
        case "centre":
            return centre(size).to(truth.device).expand(truth.shape)
        case "tile_centre":
            return tile_centre(size, tiles).to(truth.device).expand(truth.shape)
        case "whole_image":
            return whole_image(size).to(truth.device).expand(truth.shape)
        case "random":
            maps = random(size, truth.shape[:2].numel(), torch.Generator().manual_seed(seed))
            return maps.reshape(truth.shape).to(truth.device)
        case "oracle":
            return oracle(truth)
    raise SettingsError(f'There is no trivial row "{name}". There are: {", ".join(NAMES)}.')


def centre(size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return a map that falls from 1 in the middle to 0 at the border, in steps of rectangles of the image's shape.

    Its top half is the centred rectangle of half the area (to within one ring of pixels, whose scores are equal). On
    frames side by side it is the middle of the whole wide image, where the two frames meet.

    >>> centre((4, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500],
            [0.2500, 0.7500, 0.7500, 0.2500],
            [0.2500, 0.7500, 0.7500, 0.2500],
            [0.2500, 0.2500, 0.2500, 0.2500]])
    """
    down, across = ((2 * torch.arange(length) + 1 - length).abs() / length for length in size)
    return 1 - torch.maximum(down[:, None], across)


def tile_centre(size: tuple[int, int], tiles: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return the `centre` of every one of the frames of which a picture is joined, ``tiles`` (rows, columns) of them.

    A square on the seam of two frames is no floor: each object lies in the middle of its own frame if anywhere.

    >>> tile_centre((2, 4), (1, 2))
    tensor([[0.5000, 0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000, 0.5000]])
    """
    (height, width), (rows, columns) = size, tiles
    return centre((height // rows, width // columns)).repeat(rows, columns)


def tile_each(size: tuple[int, int], tiles: tuple[int, int]) -> Float[Tensor, "tiles H W"]:
    """Return a map for every frame of the picture: its `centre` there, and below all of it nothing elsewhere.

    Given to the sources in the best order, it is what two squares know that hear nothing. The other frames keep the
    order of `tile_centre`, within 1/128, so that a rule that takes half of the picture has no ties.
    """
    everywhere = tile_centre(size, tiles)
    rows, columns = (torch.arange(length) * count // length for length, count in zip(size, tiles, strict=True))
    tile = rows[:, None] * tiles[1] + columns
    own = tile == torch.arange(tiles[0] * tiles[1])[:, None, None]
    return torch.where(own, 1 / 128 + (1 - 1 / 128) * everywhere, everywhere / 128)


def whole_image(size: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Return a map of ones: it ranks nothing (its AP is chance), and every threshold rule takes all of it."""
    return torch.ones(size)


def random(size: tuple[int, int], n: int, generator: torch.Generator) -> Float[Tensor, "n H W"]:
    """Return ``n`` maps of independent scores, uniform in 0..1."""
    return torch.rand(n, *size, generator=generator)


def oracle(
    truth: Float[Tensor, "*batch H W"] | Bool[Tensor, "*batch H W"],
) -> Float[Tensor, "*batch H W"]:
    """Return the truth as a map, the most that any map can reach under a rule that cuts regions from maps.

    Pixels of the truth are above all others, soft ones by their value in steps of 1/128; within a step the upper rows
    come first, so that ``TopHalf`` takes half of the image and not the ties too. (Which background it takes with
    them does not matter to the IoU.) The background stays under 1/128, below every threshold in use.
    """
    step = 1 / 128
    pixels = truth.shape[-2] * truth.shape[-1]
    tie_breaker = step * (1 - torch.arange(1, pixels + 1, device=truth.device) / pixels).reshape(truth.shape[-2:])
    return (truth > 0) * (step + (1 - 2 * step) * truth) + tie_breaker
