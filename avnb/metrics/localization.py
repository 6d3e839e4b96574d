"""Localization metrics, one definition for every method: batched on tensors, on whatever device the maps are.

A map is a score a pixel, higher where the method hears the source. The truth is the object's mask or filled box in
0..1, soft where annotators disagree. Two kinds of question are asked of a map: how well it *ranks* the pixels
(``average_precision``, ``piap``), and how well the region cut from it by a threshold rule *covers* the object (``iou``
and what is made of it). Every value is in 0..1; multiply by 100 for the papers' tables. An image that cannot be
judged (no truth) is NaN, is left out of every mean, and is never counted as a failure or a success.
"""

import itertools
import re
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import interpolate

from avnb.errors import SettingsError
from avnb.metrics.checks import check_alike, check_maps, check_numbers, check_region, check_truth, check_values
from avnb.metrics.ranking import Cut, judge_in_order, sorted_average_precision

# ----------------------------------------------------------------------------------------------------------------- maps


def upsample(maps: Float[Tensor, "*batch h w"], size: tuple[int, int]) -> Float[Tensor, "*batch H W"]:
    """Enlarge maps bilinearly to ``size`` (height, width), the truth's. Introduced in notebooks/02_ez_vsl.ipynb.

    A cell of a map stands for a patch of the frame and its value belongs to the middle of that patch, so the corners
    are not aligned. The released codes differ: DSOL does as here; EZ-VSL and AVGN align the corners when they
    test, which pulls the outer cells half a patch (16 pixels of 224 for 7x7 cells) to the border, and use bicubic
    without it when they choose the checkpoint.
    """
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return interpolate(flat, size=size, mode="bilinear", align_corners=False).reshape(*maps.shape[:-2], *size)


def confidence(maps: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch"]:
    """Return how sure a method is that a source is there: the mean of the top quarter of the pixels' scores.

    The scores are taken as given, before any min-max scaling, which would hide how high they are (SLAVC's evaluator).
    """
    pixels = maps.flatten(-2)
    quarter = -(-pixels.shape[-1] // 4)
    return pixels.topk(quarter, dim=-1, sorted=False).values.mean(-1)


# --------------------------------------------------------------------------------------- threshold rules: map -> region


@dataclass(frozen=True)
class TopHalf:
    """The half of the pixels with the highest scores, whatever these are: EZ-VSL, LVS, AVGN.

    The threshold is the score at place ``pixels // 2`` of the ascending order, and pixels equal to it are in the
    region. Ties at the threshold therefore make the region larger than half: a constant map takes the whole image.
    """

    @property
    def name(self) -> str:
        return "top_half"

    def __call__(self, maps: Float[Tensor, "*batch H W"]) -> Bool[Tensor, "*batch H W"]:
        check_numbers(maps)
        threshold = -(-maps).flatten(-2).median(-1).values  # torch's median is the lower of two: negated, the upper
        return maps >= threshold[..., None, None]

    def cut(self, maps: Float[Tensor, "maps pixels"]) -> Cut:
        pixels = maps.shape[1]
        return Cut(place=torch.full((len(maps),), pixels - 1 - pixels // 2))


@dataclass(frozen=True)
class FractionOfMax:
    """The pixels above ``q`` times their map's highest score: DSOL (0.1 solo, 0.5 synthetic, 0.2 duet).

    It is meant for maps that are nowhere negative (DSOL's are sigmoids and softmaxes) and is applied to the map as
    given. Where a map's highest score is negative or 0 the region is empty.
    """

    q: float

    def __post_init__(self) -> None:
        _check_fraction("fraction_of_max", self.q)

    @property
    def name(self) -> str:
        return f"fraction_of_max({self.q})"

    def __call__(self, maps: Float[Tensor, "*batch H W"]) -> Bool[Tensor, "*batch H W"]:
        check_numbers(maps)
        highest = maps.amax(dim=(-2, -1), keepdim=True)
        return maps > self.q * highest  # DSOL's code: strictly above

    def cut(self, maps: Float[Tensor, "maps pixels"]) -> Cut:
        return Cut(self.q * maps.amax(1), strict=True)


@dataclass(frozen=True)
class MinMax:
    """The pixels at or above ``t`` after each map is scaled to 0..1: Mix-and-Localize (0.4).

    The paper gives the 0.4 but not whether its cosine maps are scaled first; here they are. A constant map takes the
    whole image.
    """

    t: float

    def __post_init__(self) -> None:
        _check_fraction("min_max", self.t)

    @property
    def name(self) -> str:
        return f"min_max({self.t})"

    def __call__(self, maps: Float[Tensor, "*batch H W"]) -> Bool[Tensor, "*batch H W"]:
        check_numbers(maps)
        lowest = maps.amin(dim=(-2, -1), keepdim=True)
        highest = maps.amax(dim=(-2, -1), keepdim=True)
        return maps - lowest >= self.t * (highest - lowest)

    def cut(self, maps: Float[Tensor, "maps pixels"]) -> Cut:
        lowest = maps.amin(1)
        return Cut(self.t * (maps.amax(1) - lowest), lowest)


@dataclass(frozen=True)
class Absolute:
    """The pixels whose score is ``t`` or more: SLAVC's default, for scores that mean the same in every image."""

    t: float

    @property
    def name(self) -> str:
        return f"absolute({self.t})"

    def __call__(self, maps: Float[Tensor, "*batch H W"]) -> Bool[Tensor, "*batch H W"]:
        check_numbers(maps)
        return maps >= self.t

    def cut(self, maps: Float[Tensor, "maps pixels"]) -> Cut:
        return Cut(torch.full((len(maps),), self.t))


@dataclass(frozen=True)
class TruthArea:
    """As many of the highest pixels as the truth has: the "adaptive" variants of interactive localization (SSLalign).

    It is told how large the object is, which lifts a fixed square by 4 to 10 points; pixels equal to the lowest of
    them are in the region. (The released code leaves these out, which without ties is one pixel less.)
    """

    @property
    def name(self) -> str:
        return "truth_area"

    def __call__(
        self, maps: Float[Tensor, "*batch H W"], truth: Float[Tensor, "*batch H W"] | Bool[Tensor, "*batch H W"]
    ) -> Bool[Tensor, "*batch H W"]:
        last = ((truth > 0).sum((-2, -1)) - 1).clamp(min=0)
        threshold = maps.flatten(-2).sort(dim=-1, descending=True).values.gather(-1, last[..., None])
        return maps >= threshold[..., None]

    def cut(self, maps: Float[Tensor, "maps pixels"], area: Int[Tensor, " truths"]) -> Cut:
        return Cut(place=(area - 1).clamp(min=0))


ThresholdRule = TopHalf | FractionOfMax | MinMax | Absolute
_RULES = {"top_half": TopHalf, "fraction_of_max": FractionOfMax, "min_max": MinMax, "absolute": Absolute}


def threshold_rule(name: str) -> ThresholdRule:
    """Return the rule that a result's ``threshold`` names, as its ``name`` writes it.

    >>> threshold_rule("fraction_of_max(0.2)")
    FractionOfMax(q=0.2)
    >>> threshold_rule("top_half").name
    'top_half'

    Raises:
        SettingsError: no such rule, or a number that is missing, not a number, or out of its range.
    """
    written = re.fullmatch(r"(\w+)(?:\((-?\d*\.?\d+)\))?", name.replace(" ", ""))
    rule = _RULES.get(written[1]) if written else None
    if rule is None or (written[2] is None) != (rule is TopHalf):
        raise SettingsError(
            f'There is no threshold rule "{name}". There are top_half, fraction_of_max(q), min_max(t) and absolute(t), '
            "with a number for the letter, as in fraction_of_max(0.2)."
        )
    return rule() if rule is TopHalf else rule(float(written[2]))


def any_rule(name: str) -> "ThresholdRule | TruthArea":
    """Return a threshold rule, or `TruthArea` for "truth_area"; raise what `threshold_rule` raises."""
    return TruthArea() if name == "truth_area" else threshold_rule(name)


def region_of(
    rule: "ThresholdRule | TruthArea",
    maps: Float[Tensor, "*batch H W"],
    truth: Float[Tensor, "*batch H W"] | Bool[Tensor, "*batch H W"],
) -> Bool[Tensor, "*batch H W"]:
    """Return the region that a rule cuts from each map; the truth is looked at by `TruthArea` alone."""
    return rule(maps, truth) if isinstance(rule, TruthArea) else rule(maps)


def _check_fraction(rule: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise SettingsError(f"The threshold of {rule}({value}) must be in 0..1.")


# ---------------------------------------------------------------------------------------------------- average precision


def average_precision(
    maps: Float[Tensor, "maps H W"], truth: Float[Tensor, "maps H W"] | Bool[Tensor, "maps H W"]
) -> Float[Tensor, " maps"]:
    """Return how well each map ranks the truth's pixels above the others: pixel-wise average precision.

    The sum over thresholds of the gain in recall times the precision, where pixels of equal score enter together; the
    value of scikit-learn's ``average_precision_score`` to 1e-6. The truth counts as positive above 0. Chance is the
    truth's share of the image. Scores are compared as float32; -0.0 equals 0.0. NaN where the truth is empty.
    Mix-and-Localize's AP. (AVGN's code calls scikit-learn with truth and score swapped, on the thresholded map: there
    the whole image scores 1.) Introduced in notebooks/03_mix_and_localize.ipynb.

    >>> maps = torch.tensor([[[0.9, 0.8], [0.7, 0.1]]])
    >>> average_precision(maps, torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))  # (1/1 + 2/3) / 2
    tensor([0.8333])

    Raises:
        DataError: a map holds a NaN, or the truth has another shape or leaves 0..1.
    """
    check_maps(maps, 3)
    check_truth(truth, maps.shape)
    scores = maps.detach().flatten(1).float()
    # Sorting is nearly all of the cost. On the CPU it is compiled, see ranking.py; elsewhere the scores stay on their
    # device and are sorted there, in parts that bound the memory.
    truth = truth.detach().flatten(1)
    if scores.device.type != "cpu":
        rows = max(1, 2**23 // scores.shape[1])
        return torch.cat(list(map(sorted_average_precision, scores.split(rows), truth.split(rows))))
    return judge_in_order(scores, truth > 0)[0]


def piap(
    maps: Float[Tensor, "images sources H W"], truth: Float[Tensor, "images sources H W"]
) -> Float[Tensor, " images"]:
    """Return the permutation-invariant AP: the mean of an image's maps against the union of its truths.

    Mix-and-Localize, "PIAP". The maps are summed, which ranks as their mean does, so that an image with fewer sources
    may be padded with zero maps and zero truths. NaN where all truths are empty.
    """
    check_maps(maps, 4)
    check_truth(truth, (len(maps), truth.shape[1] if truth.ndim == 4 else 0, *maps.shape[2:]))
    return average_precision(maps.sum(1), truth.amax(1))


# ------------------------------------------------------------------------------------------------- region against truth


def iou(prediction: Bool[Tensor, "maps H W"], truth: Float[Tensor, "maps H W"]) -> Float[Tensor, " maps"]:
    """Return the intersection of each region with its truth over their union, in 0..1; NaN where the truth is empty.

    sum(P G) / (sum(G) + sum(P [G = 0])): a region's pixel counts as much as the annotators agree on it (Flickr's
    consensus), and against it only where none of them marked it. EZ-VSL, AVGN, DSOL. Introduced in
    notebooks/01_data_mixing.ipynb.

    >>> iou(torch.tensor([[[True, True], [False, False]]]), torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]))  # 1 of 3 pixels
    tensor([0.3333])
    """
    check_region(prediction, 3)
    check_truth(truth, prediction.shape)
    shared = (prediction * truth).sum((-2, -1))
    beside = (prediction & (truth == 0)).sum((-2, -1))
    marked = truth.sum((-2, -1))
    return torch.where(marked > 0, shared / (marked + beside), torch.nan)


def class_mean(values: Float[Tensor, "images sources"]) -> Float[Tensor, " images"]:
    """Return the mean over an image's sounding classes; sources that are not there are NaN.

    DSOL, eq. 9: of IoUs it is CIoU; of APs it is Mix-and-Localize's CAP. Introduced in
    notebooks/03_mix_and_localize.ipynb.
    """
    check_values(values, 2, "scores")
    return values.nanmean(1)


def success_rate(values: Float[Tensor, " images"], at: float) -> float:
    """Return the share of images whose value is ``at`` or more, NaNs left out; NaN where nothing is left.

    Of IoUs it is IoU@t (EZ-VSL prints it as cIoU or AP50); of class means it is CIoU@t.
    """
    check_values(values, 1, "scores")
    known = values[~values.isnan()]
    return (known >= at).double().mean().item()


def area_under_curve(values: Float[Tensor, " images"]) -> float:
    """Return the area under the success rate at 0, 0.05, ..., 1, by trapezoids, NaNs left out.

    Every value succeeds at 0, so the area is never under 0.025. The same in EZ-VSL, AVGN, DSOL and LVS.
    """
    check_values(values, 1, "scores")
    known = values[~values.isnan()]
    thresholds = torch.arange(21, device=known.device) / torch.tensor(20, dtype=known.dtype, device=known.device)
    rates = (known >= thresholds[:, None]).double().mean(1)
    return torch.trapezoid(rates, dx=0.05).item()


def nsa(
    maps: Float[Tensor, "images classes H W"], silent: Bool[Tensor, "images classes"], below: float = 0.2
) -> Float[Tensor, " images"]:
    """Return the no-sounding area: the share of pixels at or under ``below`` in the maps of silent classes.

    Averaged over an image's silent classes (DSOL, eq. 9, as its code has it); NaN where every class sounds. A flat
    map scores 1: a softmax over 11 classes that knows nothing is 0.09 everywhere. NSA says something only beside CIoU
    and the flat map's row.
    """
    check_maps(maps, 4)
    check_region(silent, 2)
    check_alike("maps and silences", maps.flatten(0, 1), silent.flatten())
    quiet = (maps <= below).float().mean((-2, -1))
    return torch.where(silent, quiet, torch.nan).nanmean(1)


# ----------------------------------------------------------------------------------------------- methods without labels


def best_pairing(scores: Float[Tensor, "images maps truths"]) -> Int[Tensor, "images truths"]:
    """Return which map each truth is given to so that the image's mean score is highest.

    For methods whose maps have no names: ``scores[i, m, t]`` is the AP or IoU of map m against truth t, and every
    assignment of different maps to the truths is tried (made for five maps or fewer). Truths that are not there are
    NaN and count for nothing. The first in lexicographic order wins a draw. Mix-and-Localize's "*" rows; one map
    copied into all heads is not punished, so say how often the maps peak in one place. Introduced in
    notebooks/03_mix_and_localize.ipynb.

    >>> best_pairing(torch.tensor([[[0.1, 0.9], [0.5, 0.8]]]))  # 0.5 + 0.9 beats 0.1 + 0.8
    tensor([[1, 0]])

    Raises:
        SettingsError: fewer maps than truths.
    """
    _, maps, truths = scores.shape
    if maps < truths:
        raise SettingsError(f"{maps} maps cannot be paired with {truths} truths: ask the method for as many maps.")
    pairings = torch.tensor(list(itertools.permutations(range(maps), truths)), device=scores.device)
    pairings = pairings.reshape(-1, truths)
    paired = scores.nan_to_num(nan=0.0)[:, pairings, torch.arange(truths, device=scores.device)]
    return pairings[paired.sum(-1).argmax(1)]


def in_best_order(
    maps: Float[Tensor, "images maps H W"], truth: Float[Tensor, "images sources H W"]
) -> Int[Tensor, "images sources"]:
    """Return which map each source is given to so that the image's mean AP is highest.

    Raises SettingsError where there are fewer maps than sources. Introduced in notebooks/03_mix_and_localize.ipynb.
    """
    check_maps(maps, 4)
    check_truth(truth, (len(maps), truth.shape[1] if truth.ndim == 4 else 0, *maps.shape[2:]))
    images, count = maps.shape[:2]
    every_map = maps[:, :, None].expand(-1, -1, truth.shape[1], -1, -1).flatten(0, 2)
    every_truth = truth[:, None].expand(-1, count, -1, -1, -1).flatten(0, 2)
    return best_pairing(average_precision(every_map, every_truth).reshape(images, count, -1))


# -------------------------------------------------------------------------------------------- is there a source at all?


def precision_at(iou: Float[Tensor, " images"], t: float) -> float:
    """Return the share of images whose IoU is over ``t``, NaNs (silent clips) left out.

    SLAVC's and OneAVM's Precision@t. It is ``success_rate`` but for the strict comparison.
    """
    check_values(iou, 1, "IoUs")
    known = iou[~iou.isnan()]
    return (known > t).double().mean().item()


def f1_at(
    iou: Float[Tensor, " images"],
    confidence: Float[Tensor, " images"],
    t: float,
    sounding: Bool[Tensor, " images"],
    at: float = 0.5,
) -> float:
    """Return the F1 of saying "something sounds, and it is here" wherever the confidence is ``at`` or more.

    SLAVC's and OneAVM's F1@t, as published. A statement is right where the clip sounds and the IoU is ``t`` or more;
    precision is the share of right statements (1 if there is none); recall is right / (right + sounding clips on
    which nothing was said). So a wrong place lowers precision and not recall: who always speaks has a recall of 1,
    and F1 = 2 p / (1 + p).
    """
    return _f1(iou, confidence, t, sounding, torch.tensor([at]).to(confidence)).item()


def max_f1(
    iou: Float[Tensor, " images"], confidence: Float[Tensor, " images"], t: float, sounding: Bool[Tensor, " images"]
) -> float:
    """Return the highest ``f1_at`` over the deciles of the confidences.

    SLAVC's max-F1: of n sorted confidences every ``max(1, n // 10)``-th is tried.
    """
    thresholds = confidence.sort().values[:: max(1, len(confidence) // 10)]
    return _f1(iou, confidence, t, sounding, thresholds).max().item()


def _f1(
    iou: Float[Tensor, " images"],
    confidence: Float[Tensor, " images"],
    t: float,
    sounding: Bool[Tensor, " images"],
    thresholds: Float[Tensor, " thresholds"],
) -> Float[Tensor, " thresholds"]:
    check_values(iou, 1, "IoUs")
    check_alike("IoUs, confidences and sounding clips", iou, confidence, sounding)
    said = confidence >= thresholds[:, None]
    right = (said & sounding & (iou >= t)).sum(1)
    unsaid = (~said & sounding).sum(1)
    # 2 p r / (p + r) with p = right / said and r = right / (right + unsaid), free of its divisions by 0.
    statements = said.sum(1) + right + unsaid
    return torch.where(statements > 0, 2 * right / statements, 1.0)  # silence kept where all is silent: 1
