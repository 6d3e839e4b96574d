"""Objectives that more than one method uses."""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize, relu

from avnb.devices import in_full_precision

FLOOR = 1e-9  # under a square root, whose slope at 0 is infinite


def cosine_maps(
    audio: Float[Tensor, "batch sources dim"], visual: Float[Tensor, "batch sources dim height width"]
) -> Float[Tensor, "batch sources height width"]:
    """Return the cosine between each source's vector and every position of its own visual map, in -1..1.

    What EZ-VSL and AVGN show as localization maps.
    """
    return einsum(normalize(audio, dim=2), normalize(visual, dim=2), "b n d, b n d h w -> b n h w")


@in_full_precision
def own_cosines(
    audio: Float[Tensor, "batch dim"], visual: Float[Tensor, "batch dim height width"]
) -> Float[Tensor, "batch height width"]:
    """Return the cosine between each sound's vector and every position of its own picture, in -1..1."""
    return einsum(normalize(audio, dim=1), normalize(visual, dim=1), "b d, b d h w -> b h w")


@in_full_precision
def pair_cosines(
    audio: Float[Tensor, "sounds dim"], visual: Float[Tensor, "pictures dim"]
) -> Float[Tensor, "sounds pictures"]:
    """Return the cosine between the vectors of each sound and of every picture, in -1..1."""
    return normalize(audio, dim=1) @ normalize(visual, dim=1).T


@in_full_precision
def all_cosines(
    audio: Float[Tensor, "sounds dim"], visual: Float[Tensor, "pictures dim height width"]
) -> Float[Tensor, "sounds pictures height width"]:
    """Return the cosine between each sound's vector and every position of every picture, in -1..1."""
    return einsum(normalize(audio, dim=1), normalize(visual, dim=1), "a d, v d h w -> a v h w")


@in_full_precision
def multiple_instance_contrastive(
    audio: Float[Tensor, "batch sources dim"],
    visual: Float[Tensor, "batch sources dim height width"],
    temperature: float = 0.03,
    both_directions: bool = False,
) -> Float[Tensor, ""]:
    """Pull each sound to its best-matching position in its own image and away from every position of the others.

    The n-th source of each sample meets the n-th source of every sample of the batch: AVGN, eq. 10, and, with one
    source, EZ-VSL's eq. 3 and AVGN's eq. 1. ``both_directions`` adds the image-to-sound direction (EZ-VSL, eqs. 4-5;
    AVGN's released code).
    """
    audio, visual = normalize(audio, dim=2), normalize(visual, dim=2).flatten(3)
    similarity = einsum(audio, visual, "b n d, m n d p -> n b m p")
    score = similarity.amax(dim=3) / temperature  # [sources, batch, batch]: the best position of each image
    own = torch.arange(len(audio), device=audio.device).expand(score.shape[:2])
    loss = cross_entropy(score.flatten(0, 1), own.flatten())
    if both_directions:
        loss = loss + cross_entropy(score.transpose(1, 2).flatten(0, 1), own.flatten())
    return loss


@in_full_precision
def pair_contrast(
    matched: Float[Tensor, "*pairs"], mismatched: Float[Tensor, "*pairs"], margin: float
) -> Float[Tensor, ""]:
    """Pull matching pairs together and push mismatching ones ``margin`` apart; both are given as squared distances.

    The mean of half the square of what is missing, over as many matches as mismatches: DSOL's form of Attention10k and
    of DMC. Where sound and picture say nothing of each other it is ``margin ** 2 / 8``, at a distance of half the
    margin.
    """
    distance = (mismatched + FLOOR).sqrt()
    return (matched + relu(margin - distance).square()).mean() / 4


@in_full_precision
def tri_map_scores(
    similarity: Float[Tensor, "*pairs positions"], above: float = 0.65, below: float = 0.4, softness: float = 0.03
) -> tuple[Float[Tensor, "*pairs"], Float[Tensor, "*pairs"]]:
    """Return the mean similarity of what surely sounds (over ``above``) and of what surely does not (under ``below``).

    The borders are sigmoids of width ``softness``, gradients flow through them, and what lies between them is left
    alone. LVS, eqs. 3-5.
    """
    # The weights are divided by their sum, so in logarithms they are a softmax, which cannot become 0 / 0.
    sounding = logsigmoid((similarity - above) / softness).softmax(dim=-1)
    silent = logsigmoid((below - similarity) / softness).softmax(dim=-1)
    return (sounding * similarity).sum(dim=-1), (silent * similarity).sum(dim=-1)
