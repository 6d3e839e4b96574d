"""Retrieval and nearest-neighbour recognition by cosine: IR-Acc, xNN-Acc and wNN-Acc, in percent.

OneAVM's section 4.1 names the three and says no more: the size of the gallery, on which IR-Acc depends more than on
anything else, and whether both directions are averaged, are not told. Here each result carries its gallery and the
score of chance. A query's neighbour is the one of the highest cosine; queries are taken block by block, so that no
matrix of all pairs is ever held. Introduced in notebooks/06_one_avm.ipynb.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from avnb.errors import DataError

BLOCK = 2**24  # similarities held at once: 64 MB


def retrieval(
    audio: Float[Tensor, "clips dim"],
    visual: Float[Tensor, "clips dim"],
    classes: Int[Tensor, " clips"],
    videos: Int[Tensor, " clips"] | None = None,
) -> dict[str, float]:
    """Return IR-Acc, xNN-Acc and wNN-Acc (0..100) of clips whose sound and picture are embedded in one space.

    "IR-Acc" is the mean of both directions, each of which is also named. "xNN-Acc" is the class of the nearest
    clip of the other modality, the clip's own among them, and "xNN-Acc, others" without it; "wNN-Acc" is that of the
    nearest other clip of the same modality. Directions and modalities are averaged. Clips of one of ``videos`` are
    left out together, since they are too much alike.
    """
    videos = torch.arange(len(audio)) if videos is None else videos
    if audio.ndim != 2 or audio.shape != visual.shape or not len(audio) == len(classes) == len(videos):
        raise DataError(
            f"Sounds {tuple(audio.shape)}, pictures {tuple(visual.shape)}, classes {tuple(classes.shape)} and videos "
            f"{tuple(videos.shape)} must be of the same clips, a row each."
        )
    to_sound, to_image = nearest(visual, audio), nearest(audio, visual)
    others = nearest(visual, audio, videos), nearest(audio, visual, videos)
    within_sound, within_image = (class_accuracy(nearest(own, own, videos), classes) for own in (audio, visual))
    instances = instance_accuracy(to_sound), instance_accuracy(to_image)
    return {
        "IR-Acc": sum(instances) / 2,
        "IR-Acc image to sound": instances[0],
        "IR-Acc sound to image": instances[1],
        "xNN-Acc": sum(class_accuracy(found, classes) for found in (to_sound, to_image)) / 2,
        "xNN-Acc, others": sum(class_accuracy(found, classes) for found in others) / 2,
        "wNN-Acc": (within_sound + within_image) / 2,
        "wNN-Acc sound": within_sound,
        "wNN-Acc image": within_image,
    }


def chance(classes: Int[Tensor, " clips"], videos: Int[Tensor, " clips"] | None = None) -> dict[str, float]:
    """Return what a neighbour drawn at random would score (0..100) under the names of `retrieval`.

    >>> round(chance(torch.tensor([0, 0, 1, 1]))["wNN-Acc"], 1)
    33.3
    """
    videos = torch.arange(len(classes), device=classes.device) if videos is None else videos.to(classes.device)
    count = len(classes)
    (kind, of_class), (video, of_video) = _counted(classes), _counted(videos)
    _, of_both = _counted(kind * count + video)
    pairs = of_class / count, (of_class - of_both) / (count - of_video)  # where nobody else is left it is no number
    everything, others = (100 * float(share.nanmean()) for share in pairs)
    instance = 100 / len(classes)
    return {
        "IR-Acc": instance, "IR-Acc image to sound": instance, "IR-Acc sound to image": instance,
        "xNN-Acc": everything, "xNN-Acc, others": others,
        "wNN-Acc sound": others, "wNN-Acc image": others, "wNN-Acc": others,
    }  # fmt: skip


def _counted(values: Int[Tensor, " clips"]) -> tuple[Int[Tensor, " clips"], Float[Tensor, " clips"]]:
    """Return for each clip the number of its value among the values there are, and how many clips have it."""
    _, number, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return number, counts[number].double()


def instance_accuracy(found: Int[Tensor, " clips"]) -> float:
    """Return how often (0..100) the neighbour found for a clip is the clip itself."""
    return 100 * float((found == torch.arange(len(found), device=found.device)).double().mean())


def class_accuracy(found: Int[Tensor, " clips"], classes: Int[Tensor, " clips"]) -> float:
    """Return how often (0..100) the neighbour found for a clip is of its class; clips without one are not counted."""
    counted = found >= 0
    if not counted.any():
        return float("nan")
    classes = classes.to(found.device)
    return 100 * float((classes[found[counted]] == classes[counted]).double().mean())


def nearest(
    queries: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "clips dim"],
    videos: Int[Tensor, " clips"] | None = None,
) -> Int[Tensor, " queries"]:
    """Return the gallery's clip with the highest cosine to each query; of equals the first.

    With ``videos`` (one number for each clip, queries and gallery being the same clips) the clips of the query's own
    video are left out, and -1 stands where nothing is left. Raises DataError on features that are no numbers.
    """
    queries, gallery = normalize(queries, dim=1), normalize(gallery, dim=1)
    if not (torch.isfinite(queries).all() and torch.isfinite(gallery).all()):
        raise DataError("The features to be compared hold values that are not numbers.")
    videos = None if videos is None else videos.to(queries.device)
    found = []
    for part in torch.arange(len(queries), device=queries.device).split(max(1, BLOCK // len(gallery))):
        cosine = queries[part] @ gallery.T
        if videos is not None:
            cosine[_same(videos[part], videos)] = -torch.inf
        best, place = cosine.max(dim=1)
        found.append(torch.where(best > -torch.inf, place, -1))
    return torch.cat(found)


def _same(a: Int[Tensor, " queries"], b: Int[Tensor, " clips"]) -> Bool[Tensor, "queries clips"]:
    return a[:, None] == b
