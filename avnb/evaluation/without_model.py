"""The rows of what needs no model, made once for a store and a trial: what a method's row must be read beside."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int

from avnb.data.store import Store
from avnb.evaluation.chunks import chunks
from avnb.evaluation.rows import protocol_of
from avnb.evaluation.scores import Part, Silence, recordings_of, score, summary, true_places
from avnb.evaluation.trials import Trial, headline_iou
from avnb.metrics import trivial
from avnb.metrics.localization import ThresholdRule, in_best_order, threshold_rule

_without_model: "WeakKeyDictionary[Store, dict[tuple[Trial, str, str], list[dict[str, Any]]]]" = WeakKeyDictionary()


def rows_without_model(store: Store, trial: Trial, device: torch.device) -> list[dict[str, Any]]:
    """Return the rows of what needs no model: the same for every method, and made once for a store and a trial."""
    kept = _without_model.setdefault(store, {})
    if (trial, store.truth, device.type) not in kept:
        rule, mixtures = threshold_rule(trial.threshold_rule), trial.mixtures(store)
        at, recordings = headline_iou(store.name, trial.subset), recordings_of(store, trial, mixtures)
        scores: dict[tuple[str, str], list[Part]] = {}
        chance = torch.Generator().manual_seed(0)
        for part in chunks(len(mixtures), device):
            for key, score in _score_without_model(store, mixtures[part], trial, rule, chance, device).items():
                scores.setdefault(key, []).append(score)
        kept[trial, store.truth, device.type] = [
            protocol_of(name, store, trial, len(mixtures), way, rule.name) | summary(parts, trial, at, recordings)
            for (name, way), parts in scores.items()
        ]
    return [dict(row) for row in kept[trial, store.truth, device.type]]


def _score_without_model(
    store: Store,
    mixtures: Int[np.ndarray, "batch clips"],
    trial: Trial,
    rule: ThresholdRule,
    chance: torch.Generator,
    device: torch.device,
) -> dict[tuple[str, str], Part]:
    """Return the scores of each row that needs no model and of each way of asking it."""
    truth, classes = true_places(store, mixtures, trial, device), len(store.classes)
    silence = Silence.of(store, mixtures, truth, trial) if trial.counts_silence else None
    judged = {}
    for name in trivial.NAMES if trial.tiles == (1, 1) else (*trivial.NAMES, "tile_centre"):
        if name == "random":  # one after the other, so that it does not matter how many are judged at once
            maps = trivial.random(truth.shape[-2:], truth.shape[:2].numel(), chance).to(device).reshape(truth.shape)
        else:
            maps = trivial.trivial_maps(name, truth, tiles=trial.tiles)
        judged[name, "none"] = score(maps, truth, rule, trial)
        if silence:
            unheard = torch.zeros_like(maps) if name == "oracle" else maps
            judged[name, "none"] |= silence.score(maps, unheard[:, :1].expand(-1, classes, -1, -1))
    if trial.tiles != (1, 1):
        every = trivial.tile_each(truth.shape[-2:], trial.tiles).to(device).expand(len(truth), -1, -1, -1)
        maps = every[torch.arange(len(truth))[:, None], in_best_order(every, truth)]
        judged["tile_each", "best_pairing"] = score(maps, truth, rule, trial)
        if silence:
            judged["tile_each", "best_pairing"] |= silence.score(maps, None)
    if silence:  # a softmax over the classes that knows nothing
        flat = torch.full_like(truth, 1 / classes)
        judged["flat", "none"] = score(flat, truth, rule, trial) | silence.score(
            flat, flat[:, :1].expand(-1, classes, -1, -1)
        )
    return judged
