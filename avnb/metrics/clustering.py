"""How well features tell classes apart: k-means, NMI and the silhouette, one definition of each.

Features are compared by direction, as every method here compares them: vectors are made as long as each other first.
(Of raw features k-means would sort by length as well, and a method whose vectors are unit vectors already could not
be compared with one whose are not.) NMI is the mutual information of classes and clusters over the mean of their
entropies (Strehl and Ghosh, 2002, normalise by the geometric mean; the arithmetic mean is scikit-learn's default and
never larger). Introduced in notebooks/09_tsne.ipynb.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from avnb.errors import DataError

SHUFFLES = 20  # of the labels, for chance
MOST = 20_000  # clips whose silhouette is of all of them: half a minute


def k_means(points: Float[Tensor, "points dim"], clusters: int, seed: int = 0) -> Int[Tensor, " points"]:
    """Return which of the k-means clusters each point is in: the best of ten starts.

    The points are taken as they are; the last clusters stay empty where points are too few.
    """
    from sklearn.cluster import KMeans

    means = KMeans(min(clusters, len(points)), n_init=10, random_state=seed)
    return torch.from_numpy(means.fit_predict(points.detach().float().cpu().numpy())).to(points.device, torch.int64)


def nmi(classes: Sequence | Int[Tensor, " points"], clusters: Sequence | Int[Tensor, " points"]) -> float:
    """Return the normalised mutual information of classes and clusters, 0 (unrelated) to 1 (the same).

    >>> nmi(["cello", "cello", "tuba", "tuba"], [1, 1, 0, 0])
    1.0
    """
    from sklearn.metrics import normalized_mutual_info_score

    first, second = (list(value.cpu() if isinstance(value, Tensor) else value) for value in (classes, clusters))
    if len(first) != len(second):
        raise DataError(f"There are {len(first)} classes and {len(second)} clusters: one of each a point.")
    return float(normalized_mutual_info_score(np.asarray(first), np.asarray(second)))


def nmi_of_features(features: Float[Tensor, "clips dim"], labels: Sequence[str]) -> float:
    """Return the NMI of the classes with k-means clusters of the features' directions, as many as there are classes."""
    return nmi(labels, k_means(directions(features), len(set(labels))))


def silhouette(features: Float[Tensor, "clips dim"], labels: Sequence[str]) -> float:
    """Return the mean silhouette (-1..1) of the classes: whether a clip is nearer to its own than to the next.

    Of the features' directions, of a sample of them where there are more than MOST, since all are compared with all;
    NaN where it is not defined (one class, or as many classes as clips).
    """
    from sklearn.metrics import silhouette_score

    if len(labels) > MOST:
        sample = np.random.default_rng(0).permutation(len(labels))[:MOST]
        features, labels = features[sample], [labels[place] for place in sample]
    if not 1 < len(set(labels)) < len(labels):
        return float("nan")
    return float(silhouette_score(directions(features).numpy(), list(labels)))


def chance_nmi(labels: Sequence[str]) -> float:
    """Return the NMI of the classes with clusters of the same sizes in which clips lie by chance.

    It is not 0: few clips in many clusters agree by accident.
    """
    rng = np.random.default_rng(0)
    return float(np.mean([nmi(labels, rng.permutation(labels).tolist()) for _ in range(SHUFFLES)]))


def directions(features: Float[Tensor, "clips dim"]) -> Float[Tensor, "clips dim"]:
    """Return the features as unit vectors on the CPU; a vector of zeros stays one."""
    return normalize(features.detach().float().cpu(), dim=1, eps=1e-9)
