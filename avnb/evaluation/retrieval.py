"""Method x benchmark -> rows of retrieval and nearest neighbours: IR-Acc, xNN-Acc, wNN-Acc, beside chance."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.evaluation.chunks import chunks
from avnb.evaluation.rows import protocol_of, training_of
from avnb.evaluation.trials import Trial, single_trial
from avnb.metrics.retrieval import chance, retrieval
from avnb.models.base import Method


def judge_retrieval(method: Method, store: Store, limit: int = 0, progress: bool = True) -> list[dict[str, Any]]:
    """Return a row for the method and one for chance: IR-Acc, xNN-Acc and wNN-Acc, in percent.

    The gallery are all test clips with one sounding class; clips of one video are no neighbours of each other. Raises
    DataError where there are none. There is no row where a method has no two vectors of one space.
    """
    trial = single_trial(store, limit)
    clips = trial.mixtures(store)[:, 0]
    try:
        audio, visual = embeddings(method, store, clips, progress)
    except NotImplementedError:  # a method that only localizes
        return []
    if audio.shape != visual.shape:
        return []
    classes = torch.from_numpy(store.labels[clips].argmax(axis=1)).to(audio.device)
    videos = torch.from_numpy(store.clips["video"][clips].astype(np.int64)).to(audio.device)
    rows = []
    for name, trained, scores in (
        (method.settings.METHOD, training_of(method.settings), retrieval(audio, visual, classes, videos)),
        ("random", "", chance(classes, videos)),
    ):
        row = protocol_of(name, store, trial, len(clips), trained=trained) | {"gallery": len(clips)}
        rows.append(row | {metric: None if math.isnan(value) else round(value, 2) for metric, value in scores.items()})
    return rows


@torch.inference_mode()
def embeddings(
    method: Method, store: Store, clips: Int[np.ndarray, " clips"], progress: bool = True
) -> tuple[Float[Tensor, "clips heard"], Float[Tensor, "clips seen"]]:
    """Return the "audio" and "visual" vectors of single clips, on the method's device: the mean where it has several.

    Of a method that makes them class-aware they are those before, for which no class has to be told.
    """
    from tqdm.auto import tqdm

    device, recipe = torch.device(method.settings.device), Trial("solo").recipe
    method.eval()
    found: dict[str, list[Tensor]] = {"audio": [], "visual": []}
    bar = tqdm(total=len(clips), desc="embed", unit="clip", disable=not progress, leave=False)
    for part in chunks(len(clips), device):
        batch = make_batch(store, clips[part, None], recipe).to(device)
        with autocast(device):
            vectors = method.encode(batch) or method.embed(batch)
        for name, parts in found.items():
            parts.append(vectors[name].float().reshape(len(batch), -1, vectors[name].shape[-1]).mean(dim=1))
        bar.update(len(batch))
    bar.close()
    return torch.cat(found["audio"]), torch.cat(found["visual"])
