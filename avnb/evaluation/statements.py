"""Rows over test clips of which some do not sound: does a method notice, and is it right where it speaks (SLAVC)?"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.benchmarks import SILENT
from avnb.data.store import Store
from avnb.evaluation.chunks import chunks
from avnb.evaluation.rows import protocol_of
from avnb.evaluation.scores import true_places
from avnb.evaluation.trials import Trial
from avnb.evaluation.without_model import rule_said
from avnb.metrics import trivial
from avnb.metrics.localization import confidence, iou, region_of, upsample
from avnb.metrics.protocols import Rule
from avnb.metrics.statements import statements

STATEMENTS = "statements"  # in place of a protocol's name
NAMES = {"AP": "statement AP", "max-F1": "max-F1", "LocAcc": "LocAcc"}


def has_silent(store: Store, trial: Trial) -> bool:
    """Return whether the trial's clips of one source stand beside clips in which nothing of the picture sounds."""
    mine = trial.sources == 1 and trial.geometry == "single" and trial.judged and trial.subset != SILENT
    return mine and (trial.split, SILENT) in store.count()


def statement_rows(
    name: str,
    store: Store,
    trial: Trial,
    mixtures: Int[Any, "clips 1"],
    maps: tuple[Float[Tensor, "clips 1 h w"], Float[Tensor, "silent 1 h w"]],
    rule: Rule,
    device: torch.device,
    way: str = "none",
    trained: str = "",
) -> list[dict[str, Any]]:
    """Return the rows of a method whose maps are those of the clips that sound, and of those that do not; in percent.

    Regions are cut by ``rule``, the trial's, and an IoU of 0.5 is right. Beside it stand "centre", which is equally
    sure of every clip, and "oracle", whose regions are the best that the rule can cut and which knows what sounds.
    """
    overlaps: dict[str, list[Tensor]] = {name: [], "centre": [], "oracle": []}
    sure = []
    for part in chunks(len(mixtures), device):
        truth = true_places(store, mixtures[part], trial, device)[:, 0]
        large = upsample(maps[0][part, 0].to(device), truth.shape[-2:])
        centre = trivial.centre(truth.shape[-2:]).to(device).expand(truth.shape)
        for one, shown in ((name, large), ("centre", centre), ("oracle", trivial.oracle(truth))):
            overlaps[one].append(iou(region_of(rule, shown, truth), truth).cpu())
        sure.append(confidence(large).cpu())
    size = store.shape.size, store.shape.size
    quiet = [confidence(upsample(maps[1][part, 0].to(device), size)).cpu() for part in chunks(len(maps[1]), device)]
    sounding = torch.cat([torch.ones(len(mixtures)), torch.zeros(len(maps[1]))]).bool()
    confidences = {name: torch.cat([*sure, *quiet]), "centre": torch.ones(len(sounding)), "oracle": sounding.float()}
    rows = []
    for one, found in overlaps.items():
        own = one == name
        about = (way if own else "none"), rule_said(trial, rule), (trained if own else "")
        overlap = torch.cat([*found, torch.zeros(len(maps[1]))])
        numbers = statements(overlap, confidences[one], sounding)
        row = protocol_of(one, store, trial, len(sounding), *about) | {"protocol": STATEMENTS}
        rows.append(row | {NAMES[key]: round(100 * value, 2) for key, value in numbers.items()})
    return rows
