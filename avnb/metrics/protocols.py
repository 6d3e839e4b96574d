"""Four meanings of "CIoU@0.3", which one leaderboard holds: name the protocol beside every number.

- *frame-wise* (DSOL, Mix-and-Localize, SCAV): the IoU of each source's map on the whole picture, the mean over the
  sources of a picture, the share of pictures whose mean is t or more;
- *source-wise* (NoPrior, OA-SSL): each map is cut into the frames of which the picture is joined and given to the frame
  where it fits best, under a threshold inside that frame; the share of sources whose IoU is t or more;
- *mean IoU* (T-VSL): the mean of the sources' IoUs, no share of anything;
- *union* (GAR-SSL): the IoU of the union of all regions with the union of all truths, the share of pictures.

They are no scales of one another. Under source-wise a map need not find its frame, only its place inside it: for a rule
that compares each pixel with a number, the IoU of a map in its source's own frame is never below that on the whole
picture, and with the best frame for every map neither is their mean. Under union a map need not be anybody's. A map
that a method did not give is a failure in all four.
"""

from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avnb.errors import SettingsError
from avnb.metrics.localization import (
    ThresholdRule,
    TruthArea,
    area_under_curve,
    average_precision,
    class_mean,
    iou,
    region_of,
    success_rate,
)
from avnb.metrics.ranking import judge_in_order

FRAME_WISE, SOURCE_WISE, MEAN_IOU, UNION = PROTOCOLS = ("frame-wise", "source-wise", "mean IoU", "union")
THRESHOLDS = (0.1, 0.3, 0.5)

Rule = ThresholdRule | TruthArea


def check_protocol(name: str) -> str:
    """Return the name of a protocol; raise SettingsError with the list where there is none of this name."""
    if name not in PROTOCOLS:
        raise SettingsError(f'There is no protocol "{name}". There are: {", ".join(PROTOCOLS)}.')
    return name


def ranked(
    maps: Float[Tensor, "maps H W"],
    truth: Float[Tensor, "truths H W"] | Bool[Tensor, "truths H W"],
    rules: Sequence[Rule],
    order: Int[Tensor, "maps pixels"] | None = None,
) -> tuple[Float[Tensor, " truths"], Float[Tensor, "truths rules"]]:
    """Return each map's `average_precision`, and the `iou` of the region that each rule cuts, from one sorting.

    One map may stand for all truths; ``order`` is that of its pixels by descending scores, where it is known. Where the
    truth is soft, or on a GPU, every number is worked out by itself. Raises DataError on a NaN.
    """
    hard = truth if truth.dtype == torch.bool else truth > 0
    if maps.device.type == "cpu" and (hard is truth or bool((truth == hard).all())) and not maps.isnan().any():
        scores = maps.detach().flatten(1).float()
        area = hard.flatten(1).sum(1)
        cuts = [rule.cut(scores, area) if isinstance(rule, TruthArea) else rule.cut(scores) for rule in rules]
        return judge_in_order(scores, hard.flatten(1), cuts, order)
    maps = maps.expand(truth.shape)
    precision = average_precision(maps, truth)
    overlaps = [iou(region_of(rule, maps, truth), truth.float()) for rule in rules]
    return precision, torch.stack(overlaps, dim=1) if overlaps else precision.new_empty(len(maps), 0)


def source_wise(
    maps: Float[Tensor, "maps sources H W"],
    truth: Float[Tensor, "pictures sources H W"] | Bool[Tensor, "pictures sources H W"],
    rule: Rule,
    tiles: tuple[int, int] = (1, 1),
    given: Bool[Tensor, "pictures sources"] | None = None,
) -> Float[Tensor, "pictures sources"]:
    """Return the IoU of each map in the frame of the picture that it fits best, as NoPrior's code goes about it.

    Map after map takes the frame with the highest IoU, under ``rule`` inside that frame; the truth there is then
    emptied, so that who takes it again gets 0. ``tiles`` are the frames' (rows, columns); a picture that is one frame
    has nothing to choose from, and there each map is judged on its own source. A map that is not ``given`` gets 0. The
    order of the maps matters: an early one may take the frame that a later one would need. A source that is nowhere
    to be seen (no truth) leaves out the worst map as NaN. Maps of one picture may stand for all.
    """
    pictures, sources = truth.shape[:2]
    given = torch.ones(pictures, sources, dtype=torch.bool, device=maps.device) if given is None else given
    if tiles == (1, 1):
        overlap = _overlaps(maps[:, :, None], truth[:, :, None], rule)[:, :, 0]
        return torch.where(given | overlap.isnan(), overlap, 0.0)
    cut = "p s (r h) (c w) -> p s (r c) h w"
    rows, columns = tiles
    places = rearrange(truth.amax(1, keepdim=True), cut, r=rows, c=columns)
    overlap = _overlaps(rearrange(maps, cut, r=rows, c=columns), places, rule).nan_to_num(0.0)
    found = torch.zeros(pictures, sources, dtype=overlap.dtype, device=overlap.device)
    for number in range(sources):
        best, frame = overlap[:, number].max(dim=1)
        found[:, number] = torch.where(given[:, number], best, 0.0)
        emptied = given[:, number, None] & (torch.arange(rows * columns, device=frame.device) == frame[:, None])
        overlap = overlap.masked_fill(emptied[:, None], 0.0)
    unseen = (truth.flatten(2).amax(2) == 0).sum(1)  # of each picture's sources
    worst = found.argsort(dim=1).argsort(dim=1) < unseen[:, None]
    return found.masked_fill(worst, torch.nan)


def _overlaps(
    maps: Float[Tensor, "maps sources frames H W"],
    truth: Float[Tensor, "pictures _ frames H W"] | Bool[Tensor, "pictures _ frames H W"],
    rule: Rule,
) -> Float[Tensor, "pictures sources frames"]:
    """Return the IoU of each source's map with the truth in every frame; maps of one picture stand for all."""
    truth = truth.expand(-1, maps.shape[1], -1, -1, -1)
    if len(maps) == len(truth):
        return ranked(maps.flatten(0, 2), truth.flatten(0, 2), [rule])[1].reshape(truth.shape[:3])
    places = [(source, frame) for source in range(maps.shape[1]) for frame in range(maps.shape[2])]
    found = [ranked(maps[:, s, f], truth[:, s, f], [rule])[1][:, 0] for s, f in places]
    return torch.stack(found, dim=1).reshape(truth.shape[:3])


def union(
    maps: Float[Tensor, "maps sources H W"],
    truth: Float[Tensor, "pictures sources H W"] | Bool[Tensor, "pictures sources H W"],
    rule: Rule,
    given: Bool[Tensor, "pictures sources"] | None = None,
) -> Float[Tensor, " pictures"]:
    """Return the IoU of the union of a picture's regions with the union of its truths (GAR-SSL)."""
    regions = rule(maps.expand(truth.shape), truth) if isinstance(rule, TruthArea) else rule(maps)
    regions = regions if given is None else regions & given[..., None, None]
    return iou(regions.any(1).expand(len(truth), -1, -1), truth.amax(1).float())


def numbers(
    protocol: str,
    overlap: Float[Tensor, "pictures sources"] | Float[Tensor, " pictures"],
    in_one_picture: bool = True,
) -> dict[str, float]:
    """Return what a protocol makes of IoUs, in 0..1: those of maps, or under "union" those of pictures.

    "CIoU@t" and "AUC" (of one source a picture "IoU@t"), "mean IoU" under that protocol; "IIoU", the share of pictures
    in which all sources reach an IoU of 0.5, and "IAUC" (SSLalign) with the frame-wise of several sources that are seen
    together, ``in_one_picture``.
    """
    several = protocol == UNION or overlap.shape[1] > 1
    if protocol == MEAN_IOU:
        return {"mean IoU": float(overlap.nanmean())}
    values = class_mean(overlap) if protocol == FRAME_WISE else overlap.flatten()
    found = {f"{'CIoU' if several else 'IoU'}@{least}": success_rate(values, least) for least in THRESHOLDS}
    found["AUC"] = area_under_curve(values)
    if protocol == FRAME_WISE and several and in_one_picture:
        worst = overlap.nan_to_num(nan=torch.inf).amin(1)
        worst = torch.where(worst.isinf(), torch.nan, worst)
        found |= {"IIoU": success_rate(worst, 0.5), "IAUC": area_under_curve(worst)}
    return found
