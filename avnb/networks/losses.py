"""Objectives that more than one method uses."""

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from avnb.devices import in_full_precision


def cosine_maps(
    audio: Float[Tensor, "batch sources dim"], visual: Float[Tensor, "batch sources dim height width"]
) -> Float[Tensor, "batch sources height width"]:
    """Return the cosine between each source's vector and every position of its own visual map, in -1..1.

    What EZ-VSL and AVGN show as localization maps. Introduced in notebooks/04_avgn.ipynb.
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
    AVGN's released code). Introduced in notebooks/04_avgn.ipynb.
    """
    audio, visual = normalize(audio, dim=2), normalize(visual, dim=2).flatten(3)
    similarity = einsum(audio, visual, "b n d, m n d p -> n b m p")
    score = similarity.amax(dim=3) / temperature  # [sources, batch, batch]: the best position of each image
    own = torch.arange(len(audio), device=audio.device).expand(score.shape[:2])
    loss = cross_entropy(score.flatten(0, 1), own.flatten())
    if both_directions:
        loss = loss + cross_entropy(score.transpose(1, 2).flatten(0, 1), own.flatten())
    return loss
