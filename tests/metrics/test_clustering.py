"""k-means, NMI and silhouette: one definition of each, against plain loops and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score, silhouette_score

from avnb.metrics import clustering
from avnb.metrics.clustering import chance_nmi, directions, k_means, nmi, nmi_of_features, silhouette

LABELS = ["bell", "drum", "horn"] * 8


def three_heaps(spread: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.eye(3).repeat(8, 1) + spread * torch.randn(24, 3, generator=generator)


def entropy(values: list) -> float:
    shares = [values.count(value) / len(values) for value in set(values)]
    return -sum(share * math.log(share) for share in shares)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30))
def test_nmi_is_shared_information_over_the_mean_entropy(pairs):
    classes, clusters = [a for a, _ in pairs], [b for _, b in pairs]
    shared = entropy(classes) + entropy(clusters) - entropy(pairs)
    mean = (entropy(classes) + entropy(clusters)) / 2
    plain = 1.0 if mean == 0 else shared / mean
    assert nmi(classes, clusters) == pytest.approx(plain, abs=1e-9)
    assert nmi(classes, clusters) == pytest.approx(normalized_mutual_info_score(classes, clusters), abs=1e-12)


def test_nmi_takes_names_numbers_and_tensors():
    numbers = torch.tensor([0, 0, 1, 2])
    assert nmi(["a", "a", "b", "c"], numbers) == nmi(numbers, numbers.tolist()) == pytest.approx(1)


def test_clusters_of_separate_points_are_found_the_same_twice():
    true = torch.arange(40) % 4
    points = 10 * torch.eye(4, 3)[true] + 0.1 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = k_means(points, 4, seed=0)
    assert nmi(true, labels) == pytest.approx(1)
    assert torch.equal(labels, k_means(points, 4, seed=0))


def test_fewer_points_than_clusters_leave_clusters_empty():
    assert k_means(torch.eye(3), 5).max() < 3


def test_heaps_apart_have_an_nmi_of_one_and_the_silhouette_of_scikit_learn():
    features = three_heaps(0.05)
    assert nmi_of_features(features, LABELS) == pytest.approx(1)
    unit = (features / features.norm(dim=1, keepdim=True)).numpy()
    assert silhouette(features, LABELS) == pytest.approx(silhouette_score(unit, LABELS))


def test_lengths_of_vectors_do_not_matter():
    features = three_heaps(0.3)
    longer = features * torch.linspace(1, 50, 24)[:, None]
    assert nmi_of_features(features, LABELS) == pytest.approx(nmi_of_features(longer, LABELS), abs=1e-6)
    assert silhouette(features, LABELS) == pytest.approx(silhouette(longer, LABELS), abs=1e-6)


def test_a_vector_of_zeros_has_no_direction_and_breaks_nothing():
    assert directions(torch.zeros(2, 3)).eq(0).all()


def test_the_silhouette_of_many_is_that_of_a_sample(monkeypatch):
    features = three_heaps(0.3)
    monkeypatch.setattr(clustering, "MOST", 12)
    sample = np.random.default_rng(0).permutation(24)[:12]
    expected = silhouette_score(directions(features)[sample].numpy(), [LABELS[place] for place in sample])
    assert silhouette(features, LABELS) == pytest.approx(expected)


def test_one_class_alone_has_no_silhouette():
    assert np.isnan(silhouette(three_heaps(0.3), ["bell"] * 24))


def test_chance_is_more_than_nothing_and_less_than_knowledge():
    assert 0.02 < chance_nmi(LABELS) < 0.4
