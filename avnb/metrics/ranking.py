"""A map's pixels in the order of their scores, from which its average precision and its regions' overlaps are read.

Sorting is nearly all of the cost of judging a map. A compiled radix sort takes a tenth of ``torch.sort``'s time, and
once a map is sorted with the truth beside it, the overlap of any region that a threshold cuts is two numbers looked
up: how many pixels are above the threshold, and how many of these are the truth's.
"""

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

AT_ONCE = 16  # maps a thread takes, so that as many threads as torch may use are busy
DIGITS, BITS = 3, 11  # 33 bits: 32 of score and 1 of truth


@dataclass(frozen=True)
class Cut:
    """Where a threshold rule cuts maps: every pixel whose score minus ``shift`` is ``threshold`` or more.

    With ``strict`` more than it. With ``place`` instead the threshold is the score of that place of the descending
    order (0: the highest), and pixels equal to it are in the region.
    """

    threshold: Float[Tensor, " maps"] | None = None
    shift: Float[Tensor, " maps"] | None = None
    strict: bool = False
    place: Int[Tensor, " maps"] | None = None


def judge_in_order(
    scores: Float[Tensor, "maps pixels"],
    truth: Bool[Tensor, "truths pixels"],
    cuts: Sequence[Cut] = (),
    order: Int[Tensor, "maps pixels"] | None = None,
) -> tuple[Float[Tensor, " truths"], Float[Tensor, "truths cuts"]]:
    """Return each map's average precision, and the IoU with the truth of the region that each cut makes.

    float32 on the CPU, no NaN among the scores; both are NaN where the truth is empty. -0.0 equals 0.0. Maps whose
    ``order``, by descending scores, is known are not sorted. One map may stand for all truths: it is sorted once.
    """
    count = len(truth)
    if order is None and len(scores) == 1 < count:
        order = scores.argsort(dim=1, descending=True)
    order = torch.empty(0, scores.shape[1], dtype=torch.int64) if order is None else order
    nothing = torch.zeros(1)
    settings = [
        (
            (nothing if cut.threshold is None else cut.threshold).float(),
            (nothing if cut.shift is None else cut.shift).float(),
            torch.full((1,), cut.strict),
            torch.full((1,), -1) if cut.place is None else cut.place,
        )
        for cut in cuts
    ]
    columns = [
        torch.stack([value.expand(count) for value in column], dim=1).numpy() for column in zip(*settings, strict=True)
    ] or [np.empty((count, 0), kind) for kind in (np.float32, np.float32, bool, np.int64)]

    def judge(start: int) -> tuple[np.ndarray, np.ndarray]:
        part = slice(start, min(start + AT_ONCE, count))
        own = (value if len(value) == 1 else value[part] for value in (scores, order))
        arrays = [np.ascontiguousarray(value.numpy()) for value in (*own, truth[part])]
        precision = np.empty(part.stop - start, np.float32)
        overlap = np.empty((part.stop - start, len(cuts)), np.float32)
        _judge_maps(*arrays, *(np.ascontiguousarray(column[part]) for column in columns), precision, overlap)
        return precision, overlap

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = list(pool.map(judge, range(0, count, AT_ONCE)))
    if not found:
        return torch.empty(0), torch.empty(0, len(cuts))
    precisions, overlaps = zip(*found, strict=True)
    return torch.from_numpy(np.concatenate(precisions)), torch.from_numpy(np.concatenate(overlaps))


def sorted_average_precision(
    scores: Float[Tensor, "maps pixels"], truth: Float[Tensor, "maps pixels"] | Bool[Tensor, "maps pixels"]
) -> Float[Tensor, " maps"]:
    """Return the average precisions by sorting, on whatever device the scores are."""
    positive = truth > 0
    ranked, order = (scores + 0.0).sort(dim=1, descending=True)  # -0.0 + 0.0 is 0.0
    hits = positive.gather(1, order).cumsum(1)
    ends_group = torch.ones_like(positive)  # the last pixel of each run of equal scores: the thresholds there are
    ends_group[:, :-1] = ranked[:, 1:] != ranked[:, :-1]
    hits_at_end = torch.where(ends_group, hits, 0)
    hits_before = torch.zeros_like(hits)  # what the threshold above this one had already found
    hits_before[:, 1:] = hits_at_end.cummax(1).values[:, :-1]
    precision = hits / torch.arange(1, hits.shape[1] + 1, device=hits.device)
    found = torch.where(ends_group, (hits - hits_before) * precision, 0.0)
    return found.sum(1) / hits[:, -1]  # 0 / 0 is NaN where the truth is empty


@functools.lru_cache(maxsize=1)
def _compiled() -> tuple[Callable, Callable]:
    """Return `_sort` and `_walk` compiled: a few seconds once, and kept beside this file or in the user's cache."""
    import numba  # librosa's own dependency

    try:
        return tuple(numba.njit(nogil=True, cache=True)(function) for function in (_sort, _walk))
    except RuntimeError:  # neither folder can be written to: compiled anew by each process
        return tuple(numba.njit(nogil=True)(function) for function in (_sort, _walk))


@no_type_check  # numpy's arrays, thousands of times
def _judge_maps(scores, order, positive, threshold, shift, strict, place, precision, overlap):
    """Fill ``precision`` [maps] and ``overlap`` [maps cuts] from float32 scores, their order if known, and the truth.

    One row of scores, or of the order, stands for all maps.
    """
    sort, walk = _compiled()
    pixels = scores.shape[1]
    keys, spare = np.empty(pixels, np.int64), np.empty(pixels, np.int64)
    ranked, marked = np.empty(pixels, np.float32), np.empty(pixels, np.bool_)
    hits = np.zeros(pixels + 1, np.int64)  # of the truth, among the so many highest
    for row in range(positive.shape[0]):
        own = scores[row % scores.shape[0]]
        if order.shape[0] == 0:
            sort(own.view(np.int32), positive[row], keys, spare, ranked.view(np.int32), marked)
        else:
            places = order[row % order.shape[0]]
            ranked[:], marked[:] = own[places], positive[row, places]
        precision[row] = walk(
            ranked, marked, hits, threshold[row], shift[row], strict[row], place[row], overlap[row]
        )  # fmt: skip


@no_type_check  # numba compiles the bare functions
def _sort(bits, positive, keys, spare, patterns, marked):
    """Fill ``patterns`` with the ``bits`` of scores, high scores first, and ``marked`` with which are the truth's.

    Sorted is an integer a pixel in ascending order, small for high scores, the truth in its lowest bit: bit patterns of
    positive floats grow with the float, those of negative floats with its size.
    """
    pixels, buckets = len(bits), 1 << BITS
    first_of = np.zeros((DIGITS, buckets), np.int64)
    for i in range(pixels):
        pattern = np.int64(bits[i])
        if pattern == -2147483648:  # -0.0 equals 0.0
            pattern = np.int64(0)
        descending = 2147483647 - pattern if pattern >= 0 else pattern + 4294967296
        key = (descending << 1) | np.int64(positive[i])
        keys[i] = key
        for digit in range(DIGITS):
            first_of[digit, (key >> (BITS * digit)) & (buckets - 1)] += 1
    # Least significant digit first; each pass keeps the order of the one before.
    for digit in range(DIGITS):
        first = 0
        for bucket in range(buckets):
            count = first_of[digit, bucket]
            first_of[digit, bucket] = first
            first += count
        for i in range(pixels):
            bucket = (keys[i] >> (BITS * digit)) & (buckets - 1)
            spare[first_of[digit, bucket]] = keys[i]
            first_of[digit, bucket] += 1
        keys, spare = spare, keys
    for i in range(pixels):
        descending = keys[i] >> 1
        patterns[i] = 2147483647 - descending if descending <= 2147483647 else descending - 4294967296
        marked[i] = keys[i] & 1


@no_type_check
def _walk(ranked, marked, hits, threshold, shift, strict, place, overlap):
    """Return the average precision of ``ranked`` scores, ``marked`` where the truth's, and fill ``overlap``."""
    pixels = len(ranked)
    hits_before, total = 0, 0.0
    for i in range(pixels):  # down the ranking; pixels of equal score enter together
        hits[i + 1] = hits[i] + marked[i]
        if i + 1 == pixels or ranked[i + 1] != ranked[i]:
            total += (hits[i + 1] - hits_before) * hits[i + 1] / (i + 1)
            hits_before = hits[i + 1]
    area = hits[pixels]
    for cut in range(len(overlap)):
        low, high = 0, pixels  # how many are above the threshold: at least, at most
        while low < high:
            middle = (low + high) // 2
            if place[cut] >= 0:
                above = ranked[middle] >= ranked[place[cut]]
            elif strict[cut]:
                above = ranked[middle] - shift[cut] > threshold[cut]
            else:
                above = ranked[middle] - shift[cut] >= threshold[cut]
            if above:
                low = middle + 1
            else:
                high = middle
        overlap[cut] = hits[low] / (area + low - hits[low]) if area else np.nan
    return total / area if area else np.nan
