"""The soft k-means layer against a loop over numbers, its limits, and its gradients; 1e-9 is rounding in float64."""

import math

import pytest
import torch
from torch import Tensor

from avnb.networks.soft_kmeans import soft_kmeans

TOLERANCE = 1e-9


def some_points(positions: int = 7, dim: int = 3, batch: int = 2) -> Tensor:
    return torch.randn(batch, positions, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(positions))


def apart(a: list[float], b: list[float]) -> float:
    return math.sqrt(max(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)), 1e-10))


def plain_kmeans(points: list[list[float]], clusters: int, sharpness: float, rounds: int):
    """Centres and shares [cluster][position], a position and a cluster at a time."""
    centres = [points[k * (len(points) // clusters)] for k in range(clusters)]
    for _ in range(rounds):
        columns = []
        for point in points:
            powers = [math.exp(-sharpness * apart(centre, point)) for centre in centres]
            columns.append([power / sum(powers) for power in powers])
        shares = [[column[k] for column in columns] for k in range(clusters)]
        centres = [
            [sum(s * p[d] for s, p in zip(row, points, strict=True)) / sum(row) for d in range(len(points[0]))]
            for row in shares
        ]
    return centres, shares


@pytest.mark.parametrize("clusters", [1, 2, 3])
@pytest.mark.parametrize(("sharpness", "rounds"), [(2.0, 1), (2.0, 4), (30.0, 4)])
def test_layer_is_its_rounds_written_as_loops(clusters, sharpness, rounds):
    points = some_points()
    centres, shares = soft_kmeans(points, clusters, sharpness, rounds)
    for clip in range(len(points)):
        expected, belonging = plain_kmeans(points[clip].tolist(), clusters, sharpness, rounds)
        torch.testing.assert_close(centres[clip].tolist(), expected, rtol=0, atol=TOLERANCE)
        torch.testing.assert_close(shares[clip].tolist(), belonging, rtol=0, atol=TOLERANCE)


def test_shares_of_a_position_sum_to_one():
    shares = soft_kmeans(some_points(30, 5, 3), 4)[1]
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3, 30, dtype=torch.float64))


def test_one_cluster_is_the_mean_of_all():
    points = some_points()
    centres, shares = soft_kmeans(points, 1)
    torch.testing.assert_close(centres[:, 0], points.mean(dim=1))
    assert (shares == 1).all()


def test_without_sharpness_every_cluster_is_the_mean():
    points = some_points()
    centres, shares = soft_kmeans(points, 3, sharpness=0.0)
    torch.testing.assert_close(centres, points.mean(dim=1, keepdim=True).expand(-1, 3, -1))
    torch.testing.assert_close(shares, torch.full_like(shares, 1 / 3))


def test_positions_that_are_all_equal_are_shared_evenly_and_their_gradients_are_finite():
    points = torch.ones(1, 6, 4, requires_grad=True)
    centres, shares = soft_kmeans(points, 2)
    torch.testing.assert_close(shares, torch.full_like(shares, 0.5))
    centres.square().sum().backward()
    assert torch.isfinite(points.grad).all()


def test_two_groups_far_apart_are_hard_k_means():
    generator = torch.Generator().manual_seed(0)
    near, far = (offset + torch.randn(1, 5, 3, dtype=torch.float64, generator=generator) for offset in (0.0, 50.0))
    centres, shares = soft_kmeans(torch.cat([near, far], dim=1), 2, sharpness=1e3)
    torch.testing.assert_close(centres, torch.stack([near.mean(dim=1), far.mean(dim=1)], dim=1))
    assert shares[0].argmax(dim=0).tolist() == [0] * 5 + [1] * 5


def test_a_cluster_that_no_position_is_near_is_no_nan():
    points = torch.tensor([[[0.0], [0.0], [1e4], [1e4]]], requires_grad=True)
    centres, shares = soft_kmeans(points, 4)
    assert torch.isfinite(centres).all()
    assert torch.isfinite(shares).all()
    centres.sum().backward()
    assert torch.isfinite(points.grad).all()
