"""Soft k-means as a layer: clusters of a map's positions, which learn with what is clustered."""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from avnb.devices import in_full_precision

FLOOR = 1e-10  # of a squared distance, below which nothing is pulled: the slope of its root at 0 is infinite


@in_full_precision
def soft_kmeans(
    points: Float[Tensor, "batch positions dim"], clusters: int, sharpness: float = 30.0, rounds: int = 4
) -> tuple[Float[Tensor, "batch {clusters} dim"], Float[Tensor, "batch {clusters} positions"]]:
    """Return the centres and how much each position belongs to each; the shares of a position sum to 1.

    The centres start at positions that lie evenly apart; ``rounds`` times each position is shared out by a softmax over
    minus ``sharpness`` times its distances, and each centre becomes the mean of its shares. There are no parameters,
    and gradients flow through all rounds, in full precision: 30 times a distance is no number for half. DMC, as
    simplified by its authors.
    """
    starts = torch.arange(clusters, device=points.device) * (points.shape[1] // clusters)
    centres = points[:, starts]
    for _ in range(rounds):
        shares = (-sharpness * distances(centres, points)).log_softmax(dim=1)
        # In logarithms the mean of a centre's shares is a softmax over positions, which cannot become 0 / 0.
        centres = einsum(shares.softmax(dim=2), points, "b k p, b p d -> b k d")
    return centres, shares.exp()


def distances(
    centres: Float[Tensor, "batch clusters dim"], points: Float[Tensor, "batch positions dim"]
) -> Float[Tensor, "batch clusters positions"]:
    """Return the distance of each centre to each point, at least 1e-5."""
    return squared_distances(centres, points).clamp_min(FLOOR).sqrt()


@in_full_precision
def squared_distances(
    centres: Float[Tensor, "batch clusters dim"], points: Float[Tensor, "batch positions dim"]
) -> Float[Tensor, "batch clusters positions"]:
    """Return the squared distance of each centre to each point."""
    return (centres[:, :, None] - points[:, None]).square().sum(dim=-1)
