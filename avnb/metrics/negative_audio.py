"""What a map shows when nothing of the picture sounds: silence, noise, a sound of something else.

A method that ignores its sound has the same map for all of them, and a good score for the true one. One threshold, the
same for every picture, is therefore set where the maps of negative audio end, and both sides are judged by it (Juanola
et al., 2025). Values are in 0..1. Pixels are in a region where they are strictly above the threshold.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avnb.errors import DataError
from avnb.metrics.checks import check_maps, check_region, check_truth, check_values
from avnb.metrics.localization import area_under_curve, iou, success_rate

KINDS = ("silence", "noise", "offscreen")
QUARTILE = 0.75  # of the maxima of maps under negative audio: the universal threshold


def universal_threshold(maps: Float[Tensor, "maps H W"]) -> float:
    """Return the third quartile of the highest scores of maps under negative audio, which validation clips give.

    Chosen on test clips it would be fitted to what it judges. Raises DataError where there are no maps.
    """
    check_maps(maps, 3)
    return threshold_of_maxima(maps.flatten(1).amax(1)) if len(maps) else threshold_of_maxima(torch.empty(0))


def threshold_of_maxima(maxima: Float[Tensor, " maps"]) -> float:
    """Return the third quartile of the maps' highest scores, between two of them by proportion."""
    if len(maxima) == 0:
        raise DataError("The universal threshold needs maps under negative audio, and there are none.")
    return float(torch.quantile(maxima.double(), QUARTILE))


def lit_share(maps: Float[Tensor, "maps H W"], threshold: float) -> Float[Tensor, " maps"]:
    """Return pIA, the share of each map's pixels above the threshold: 0 is best where nothing sounds.

    With a threshold of 0.5 on sigmoids it is AVSBench-Robust's false positive rate.

    >>> lit_share(torch.tensor([[[0.2, 0.9], [0.5, 0.6]]]), 0.5)
    tensor([0.5000])
    """
    check_maps(maps, 3)
    return (maps > threshold).float().mean((1, 2))


def darkness_area(shares: Float[Tensor, " maps"]) -> float:
    """Return AUC_N: the area under the share of maps whose pIA is t or less, t = 0, 0.05 ... 1. 1 is best."""
    check_values(shares, 1, "shares")
    thresholds = torch.arange(21, dtype=shares.dtype, device=shares.device) / 20
    rates = (shares <= thresholds[:, None]).double().mean(1)
    return float(torch.trapezoid(rates, dx=0.05))


def same_region(positive: Bool[Tensor, "maps H W"], negative: Bool[Tensor, "maps H W"]) -> Float[Tensor, " maps"]:
    """Return the IoU of a picture's regions under its own sound and under negative audio: 1 where sound is ignored.

    NaN where both are empty.
    """
    check_region(positive, 3)
    check_region(negative, 3)
    shared = (positive & negative).sum((1, 2))
    either = (positive | negative).sum((1, 2))
    return torch.where(either > 0, shared / either, torch.nan)


def harmonic_mean(found: float, quiet: float) -> float:
    """Return 2 f q / (f + q): F_LOC of cIoU and 1 - pIA, F_AUC of AUC and AUC_N; 0 where both are."""
    return 2 * found * quiet / (found + quiet) if found + quiet > 0 else 0.0


def negative_audio(
    maps: Float[Tensor, "maps H W"],
    truth: Float[Tensor, "maps H W"],
    negatives: dict[str, Float[Tensor, "maps H W"]],
    threshold: float,
) -> dict[str, float]:
    """Return every number of the protocol for the maps of some pictures; those under each negative audio by its name.

    "cIoU" is the mean IoU at the threshold and "AUC" the area over its success rates, "pIA" and "AUC_N" are means over
    the negatives, "F_LOC" and "F_AUC" their harmonic means, "same" the IoU of the regions with and without the sound.
    """
    check_truth(truth, maps.shape)
    overlap = iou(maps > threshold, truth.float())
    shares = {name: lit_share(value, threshold) for name, value in negatives.items()}
    agree = {name: same_region(maps > threshold, value > threshold) for name, value in negatives.items()}
    return summary(overlap, shares, agree)


def summary(
    overlap: Float[Tensor, " maps"], shares: dict[str, Float[Tensor, " maps"]], agree: dict[str, Float[Tensor, " maps"]]
) -> dict[str, float]:
    """Return the numbers from the IoUs, and from each negative's lit shares and agreement with the positive region."""

    def mean(values: Iterable[float]) -> float:
        values = list(values)
        return sum(values) / len(values)

    found = {"cIoU": float(overlap.nanmean()), "IoU@0.5": success_rate(overlap, 0.5), "AUC": area_under_curve(overlap)}
    found |= {f"pIA {name}": float(value.mean()) for name, value in shares.items()}
    found |= {f"AUC_N {name}": darkness_area(value) for name, value in shares.items()}
    found |= {f"same {name}": float(value.nanmean()) for name, value in agree.items()}
    quiet = mean(found[f"pIA {name}"] for name in shares)
    dark = mean(found[f"AUC_N {name}"] for name in shares)
    return found | {
        "pIA": quiet, "AUC_N": dark, "F_LOC": harmonic_mean(found["cIoU"], 1 - quiet),
        "F_AUC": harmonic_mean(found["AUC"], dark),
    }  # fmt: skip
