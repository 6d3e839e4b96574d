"""The rows of what needs no model, made once for a store and a trial: what a method's row must be read beside."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Int

from avnb.data.store import Store
from avnb.evaluation.chunks import chunks
from avnb.evaluation.overlaps import (
    CANDIDATES,
    FITTED,
    best_rule,
    maps_without_model,
    on_validation,
    overlaps_without_model,
)
from avnb.evaluation.rows import protocol_of
from avnb.evaluation.scores import Part, Silence, recordings_of, score, summary, true_places
from avnb.evaluation.trials import Trial, headline_iou
from avnb.metrics import trivial
from avnb.metrics.localization import any_rule
from avnb.metrics.protocols import FRAME_WISE, Rule

_rankings: "WeakKeyDictionary[Store, dict[tuple[Trial, str, str], dict[tuple[str, str], Part]]]" = (
    WeakKeyDictionary()
)  # what ranks pixels is the same under every protocol and rule
_without_model: "WeakKeyDictionary[Store, dict[tuple[Trial, str, str], list[dict[str, Any]]]]" = WeakKeyDictionary()


def rows_without_model(store: Store, trial: Trial, device: torch.device) -> list[dict[str, Any]]:
    """Return the rows of what needs no model: the same for every method, and made once for a store and a trial.

    Under the rule "fitted" each row has the threshold that suits it best on validation clips, as a method has.
    """
    kept = _without_model.setdefault(store, {})
    if (trial, store.truth, device.type) not in kept:
        mixtures, rules = trial.mixtures(store), _rules(store, trial, device)
        at, recordings = headline_iou(store.name, trial.subset), recordings_of(store, trial, mixtures)
        scores: dict[tuple[str, str], list[Part]] = {}
        chance = torch.Generator().manual_seed(0)
        alike = replace(trial, protocol=FRAME_WISE, threshold_rule="top_half"), store.truth, device.type
        before = _rankings.setdefault(store, {}).get(alike, {})
        for part in chunks(len(mixtures), device):
            ranking = {key: {name: value[part] for name, value in one.items()} for key, one in before.items()}
            found = _score_without_model(store, mixtures[part], trial, rules, chance, device, ranking)
            for key, score in found.items():
                scores.setdefault(key, []).append(score)
        _rankings[store][alike] = {
            key: {name: torch.cat([part[name] for part in parts]) for name in ("ap", "piap")}
            for key, parts in scores.items()
        }
        said = {name: rule_said(trial, rule) for name, rule in rules.items()}
        kept[trial, store.truth, device.type] = [
            protocol_of(name, store, trial, len(mixtures), way, said[name]) | summary(parts, trial, at, recordings)
            for (name, way), parts in scores.items()
        ]
    return [dict(row) for row in kept[trial, store.truth, device.type]]


def rule_said(trial: Trial, rule: Rule) -> str:
    """Return a rule as a row names it: one that was chosen on validation clips says so."""
    return f"{FITTED}: {rule.name}" if trial.threshold_rule == FITTED else rule.name


def _rules(store: Store, trial: Trial, device: torch.device) -> dict[str, Rule]:
    """Return the threshold rule of each row."""
    names = (*trivial.NAMES, *trivial.TILED, "flat")
    if trial.threshold_rule != FITTED:
        return dict.fromkeys(names, any_rule(trial.threshold_rule))
    found = overlaps_without_model(store, on_validation(trial), CANDIDATES, device=device.type)
    fitted = {name: any_rule(best_rule(values, CANDIDATES)) for name, values in found.items()}
    return dict.fromkeys(names, any_rule(CANDIDATES[0])) | fitted


def _score_without_model(
    store: Store,
    mixtures: Int[np.ndarray, "batch clips"],
    trial: Trial,
    rules: Mapping[str, Rule],
    chance: torch.Generator,
    device: torch.device,
    ranking: Mapping[tuple[str, str], Part],
) -> dict[tuple[str, str], Part]:
    """Return the scores of each row that needs no model and of each way of asking it."""
    truth, classes = true_places(store, mixtures, trial, device), len(store.classes)
    silence = Silence.of(store, mixtures, truth, trial) if trial.counts_silence else None
    judged = {}
    ways = {"tile_each": "best_pairing"}
    for name in trivial.NAMES if trial.tiles == (1, 1) else (*trivial.NAMES, *trivial.TILED):
        maps, key = maps_without_model(name, truth, trial.tiles, chance), (name, ways.get(name, "none"))
        judged[key] = score(maps, truth, rules[name], trial, ranking=ranking.get(key))
        if silence and name == "tile_each":
            judged[key] |= silence.score(maps, None)
        elif silence:
            unheard = torch.zeros_like(maps) if name == "oracle" else maps
            judged[key] |= silence.score(maps, unheard[:, :1].expand(-1, classes, -1, -1))
    if silence:  # a softmax over the classes that knows nothing
        flat = torch.full_like(truth, 1 / classes)
        key = "flat", "none"
        judged[key] = score(flat, truth, rules["flat"], trial, ranking=ranking.get(key))
        judged[key] |= silence.score(flat, flat[:, :1].expand(-1, classes, -1, -1))
    return judged
