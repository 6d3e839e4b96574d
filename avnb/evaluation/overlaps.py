"""The IoU of maps under many threshold rules at once: what a curve over rules shows, and what "fitted" chooses from.

Introduced in notebooks/14_honest_evaluation.ipynb.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from avnb.data.store import Store
from avnb.evaluation.chunks import chunks
from avnb.evaluation.scores import true_places
from avnb.evaluation.trials import Trial
from avnb.metrics import trivial
from avnb.metrics.localization import any_rule, area_under_curve, class_mean, in_best_order, upsample
from avnb.metrics.protocols import Rule, ranked

FITTED = "fitted"  # the rule of a trial whose threshold is chosen on validation clips
CANDIDATES = tuple(f"min_max({number / 20:g})" for number in range(1, 20))
Overlaps = Float[Tensor, "mixtures sources rules"]


def overlaps(
    maps: Float[Tensor, "mixtures sources h w"], store: Store, trial: Trial, rules: Sequence[str], device: str = "cpu"
) -> Overlaps:
    """Return the IoU of each source's map, on the whole picture, under each of the rules.

    ``maps`` are what `evaluate` returns as "maps" of the same trial; "truth_area" is a rule here.
    """
    chosen, found = [any_rule(rule) for rule in rules], []
    mixtures = trial.mixtures(store)
    for part in chunks(len(mixtures), device):
        truth = true_places(store, mixtures[part], trial, torch.device(device))
        large = upsample(maps[part].to(device).float(), truth.shape[-2:])
        found.append(_of_each(large, truth, chosen))
    return torch.cat(found)


def overlaps_without_model(
    store: Store, trial: Trial, rules: Sequence[str], names: Iterable[str] = (), device: str = "cpu"
) -> dict[str, Overlaps]:
    """Return the same of what needs no model, by default of every row that stands beside a method's."""
    tiled = trial.tiles != (1, 1)
    names = tuple(names) or (*trivial.NAMES, *(trivial.TILED if tiled else ()))
    chosen, chance = [any_rule(rule) for rule in rules], torch.Generator().manual_seed(0)
    mixtures, found = trial.mixtures(store), {name: [] for name in names}
    for part in chunks(len(mixtures), device):
        truth = true_places(store, mixtures[part], trial, torch.device(device))
        for name, values in found.items():
            maps = maps_without_model(name, truth, trial.tiles, chance)
            values.append(_of_each(maps, truth, chosen))
    return {name: torch.cat(values) for name, values in found.items()}


def _of_each(
    maps: Float[Tensor, "batch sources H W"], truth: Float[Tensor, "batch sources H W"], rules: Sequence[Rule]
) -> Overlaps:
    return ranked(maps.flatten(0, 1), truth.flatten(0, 1), rules)[1].reshape(*truth.shape[:2], -1).cpu()


def maps_without_model(
    name: str, truth: Float[Tensor, "batch sources H W"], tiles: tuple[int, int], chance: torch.Generator
) -> Float[Tensor, "batch sources H W"]:
    """Return the maps of a row that needs no model; "random" draws them one after the other from ``chance``."""
    if name == "tile_each":
        every = trivial.tile_each(truth.shape[-2:], tiles).to(truth.device).expand(len(truth), -1, -1, -1)
        return every[torch.arange(len(truth))[:, None], in_best_order(every, truth)]
    if name == "random":  # so that it does not matter how many are judged at once
        maps = trivial.random(truth.shape[-2:], truth.shape[:2].numel(), chance)
        return maps.to(truth.device).reshape(truth.shape)
    return trivial.trivial_maps(name, truth, tiles=tiles)


def on_validation(trial: Trial) -> Trial:
    """Return the trial of the same mixtures of validation clips, on which a threshold may be chosen."""
    return replace(trial, split="val", threshold_rule="top_half")


def has_validation(store: Store, trial: Trial) -> bool:
    """Return whether there are validation clips whose truth is known, on which a threshold of the trial is chosen."""
    held_out = on_validation(trial)
    return any(split == held_out.split for split, _ in store.count()) and len(held_out.clips(store)) > 0


def areas_under_curves(values: Overlaps) -> list[float]:
    """Return the area under the success rates of the class means under each rule, in 0..1."""
    return [area_under_curve(class_mean(values[..., number])) for number in range(values.shape[2])]


def best_rule(values: Overlaps, rules: Sequence[str]) -> str:
    """Return the rule with the highest area under the success rates of the class means; the first of equals."""
    areas = areas_under_curves(values)
    return rules[areas.index(max(areas))]
