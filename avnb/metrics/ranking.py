"""The two ways in which average precision is counted: by torch's sort on any device, by a compiled one on the CPU."""

import functools
from collections.abc import Callable
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


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


def compiled_average_precision(
    scores: Float[Tensor, "maps pixels"], truth: Float[Tensor, "maps pixels"] | Bool[Tensor, "maps pixels"]
) -> Float[Tensor, " maps"]:
    """Return the average precisions by a compiled radix sort, on the CPU."""
    bits = np.ascontiguousarray(scores.numpy()).view(np.int32)
    positive = np.ascontiguousarray(truth.numpy() > 0)
    result = np.empty(len(bits), np.float32)
    _compiled_kernel()(bits, positive, result)
    return torch.from_numpy(result)


@functools.lru_cache(maxsize=1)
def _compiled_kernel() -> Callable:
    import numba  # librosa's own dependency; with the compilation two seconds, once a process

    return numba.njit(nogil=True)(_fill_average_precision)


DIGITS, BITS = 3, 11  # 33 bits: 32 of score and 1 of truth


@no_type_check  # numba compiles the bare function
def _fill_average_precision(bits, positive, result):
    """Fill ``result`` [maps] from the float32 bit patterns [maps pixels] (int32) and the truth [maps pixels] (bool)."""
    pixels = bits.shape[1]
    buckets = 1 << BITS
    keys, spare = np.empty(pixels, np.int64), np.empty(pixels, np.int64)
    place = np.empty((DIGITS, buckets), np.int64)
    for row in range(bits.shape[0]):
        # One integer a pixel: small for high scores, the truth in the lowest bit. Bit patterns of positive floats
        # grow with the float, those of negative floats with its size.
        place[:] = 0
        for i in range(pixels):
            pattern = np.int64(bits[row, i])
            if pattern == -2147483648:  # -0.0 equals 0.0
                pattern = np.int64(0)
            descending = 2147483647 - pattern if pattern >= 0 else pattern + 4294967296
            key = (descending << 1) | np.int64(positive[row, i])
            keys[i] = key
            for digit in range(DIGITS):
                place[digit, (key >> (BITS * digit)) & (buckets - 1)] += 1
        # Least significant digit first; each pass keeps the order of the one before.
        for digit in range(DIGITS):
            first = 0
            for bucket in range(buckets):
                count = place[digit, bucket]
                place[digit, bucket] = first
                first += count
            for i in range(pixels):
                bucket = (keys[i] >> (BITS * digit)) & (buckets - 1)
                spare[place[digit, bucket]] = keys[i]
                place[digit, bucket] += 1
            keys, spare = spare, keys
        # Walk down the ranking; pixels of equal score enter together.
        hits, hits_before, total = 0, 0, 0.0
        for i in range(pixels):
            hits += keys[i] & 1
            if i + 1 == pixels or keys[i + 1] >> 1 != keys[i] >> 1:
                total += (hits - hits_before) * hits / (i + 1)
                hits_before = hits
        result[row] = total / hits if hits else np.nan
