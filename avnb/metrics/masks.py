"""Masks of what sounds, as AVSBench judges them: mean IoU and F, over the whole set.

The released code takes F's maximum over thresholds batch by batch, so that its number depends on the batch size; here
the curves of all pictures are averaged first and there is one maximum.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avnb.metrics.checks import check_maps, check_region, check_truth

THRESHOLDS = 255
BETA_SQUARED = 0.3  # precision counts three times as much as recall


def mask_iou(regions: Bool[Tensor, "maps H W"], truth: Bool[Tensor, "maps H W"]) -> Float[Tensor, " maps"]:
    """Return each region's IoU with the truth; where nothing sounds, the share of pixels that are left dark.

    AVSBench's mIoU is the mean, with regions where the sigmoid is over 0.5.
    """
    check_region(regions, 3)
    check_region(truth, 3)
    check_truth(truth, regions.shape)
    shared, either = (regions & truth).sum((1, 2)), (regions | truth).sum((1, 2))
    dark = (~regions).float().mean((1, 2))
    return torch.where(truth.flatten(1).any(1), shared / either.clamp(min=1), dark)


def f_curves(maps: Float[Tensor, "maps H W"], truth: Bool[Tensor, "maps H W"]) -> Float[Tensor, "maps 255"]:
    """Return F, beta^2 = 0.3, of each map's regions at 255 thresholds from 0 to 1; NaN where the truth is empty.

    A pixel is in the region where its score, in 0..1, is the threshold or more.
    """
    check_maps(maps, 3)
    check_truth(truth, maps.shape)
    thresholds = torch.linspace(0, 1 - 1e-10, THRESHOLDS, device=maps.device)
    scores = maps.detach().float().flatten(1).contiguous()
    passed = torch.bucketize(scores, thresholds, right=True)  # thresholds at or below a score
    inside = truth.flatten(1)

    def above(weights: Tensor) -> Tensor:
        """Return how many pixels, or how many of the truth's, pass each threshold."""
        counts = torch.zeros(len(maps), THRESHOLDS + 1, dtype=torch.float64, device=maps.device)
        counts.scatter_add_(1, passed, weights.double())
        return counts.flip(1).cumsum(1).flip(1)[:, 1:]

    hits, size = above(inside), above(torch.ones_like(inside))
    precision = hits / (size + 1e-20)
    recall = hits / (inside.sum(1, keepdim=True) + 1e-20)
    curve = (1 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    curve = curve.nan_to_num(0.0)  # nothing right: 0 / 0
    return torch.where(inside.any(1, keepdim=True), curve, torch.nan)


def f_measure(curves: Float[Tensor, "maps 255"]) -> float:
    """Return AVSBench's F: the highest value of the pictures' mean curve, those without a truth left out."""
    return float(curves.nanmean(0).max())
