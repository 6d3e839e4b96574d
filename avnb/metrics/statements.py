"""Whether something sounds, and where: SLAVC's numbers over clips of which some do not sound.

A method states "it is here" wherever its confidence reaches c. The statement is right where the clip sounds and the IoU
is t or more; everywhere else it is wrong; a clip that sounds and of which nothing is stated is missed.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avnb.metrics.checks import check_alike, check_values
from avnb.metrics.localization import max_f1, precision_at


def precision_and_recall(
    iou: Float[Tensor, " clips"],
    confidence: Float[Tensor, " clips"],
    sounding: Bool[Tensor, " clips"],
    thresholds: Float[Tensor, " thresholds"],
    t: float = 0.5,
) -> tuple[Float[Tensor, " thresholds"], Float[Tensor, " thresholds"]]:
    """Return, at each confidence, the share of right statements (1 if there are none), and right / (right + missed).

    The recall of a method that always speaks is 1, however often it is wrong; it is 1 as well where nothing is right
    and nothing missed.
    """
    check_values(iou, 1, "IoUs")
    check_alike("IoUs, confidences and sounding clips", iou, confidence, sounding)
    stated = confidence >= thresholds[:, None]
    right = (stated & sounding & (iou >= t)).sum(1).double()
    missed = (~stated & sounding).sum(1)
    stated = stated.sum(1)
    precision = torch.where(stated > 0, right / stated, 1.0)
    return precision, torch.where(right + missed > 0, right / (right + missed), 1.0)


def statement_ap(
    iou: Float[Tensor, " clips"], confidence: Float[Tensor, " clips"], sounding: Bool[Tensor, " clips"], t: float = 0.5
) -> float:
    """Return SLAVC's AP: the area under the precisions, each the highest still to come, over the recall.

    Of the sorted confidences without the highest every max(1, n // 200)-th is a threshold, from the top down; the first
    step of the recall is not counted, so that the highest value is below 1. Published: 51.6 on Extended Flickr.
    """
    ascending = confidence.sort().values[:-1]
    thresholds = ascending.flip(0)[:: max(1, len(confidence) // 200)]
    if len(thresholds) == 0:
        return 0.0
    precision, recall = precision_and_recall(iou, confidence, sounding, thresholds, t)
    still = precision.flip(0).cummax(0).values.flip(0)
    return float((still[:-1] * recall.diff()).sum())


def statements(
    iou: Float[Tensor, " clips"], confidence: Float[Tensor, " clips"], sounding: Bool[Tensor, " clips"], t: float = 0.5
) -> dict[str, float]:
    """Return SLAVC's "AP", "max-F1" and "LocAcc" (the share of sounding clips whose IoU is over t), in 0..1.

    The IoU of a clip that does not sound is not looked at.
    """
    known = torch.where(sounding, iou, 0.0)
    return {
        "AP": statement_ap(known, confidence, sounding, t),
        "max-F1": max_f1(known, confidence, t, sounding),
        "LocAcc": precision_at(iou[sounding], t),
    }
