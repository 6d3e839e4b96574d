"""fit() on the device, from nothing: that it learns, that it goes on where it stood, and its rows beside the centre's.

The paper preset without ImageNet weights, on the stand-in: figures that compare with each other and nothing published.
"""

import time

import pytest
import torch
from gpu_cases import DEVICE, DRY, PRESET, synchronize

from avnb.evaluation.localization import evaluate
from avnb.evaluation.trials import trials_of
from avnb.models import METHODS
from avnb.training.fit import fit
from avnb.training.runs import Run
from avnb.training.trained import train

EPOCHS = 2 if DRY else 40
SHOWN = ("method", "subset", "geometry", "classes", "AP", "CAP", "PIAP", "clips")


def settings_of(name, **more):
    cls = METHODS[name].SETTINGS
    size = 8 if DRY else 128
    told = {"preset": PRESET, "pretrained": False, "batch_size": size, "learning_rate": 3e-4, "schedule": "one_cycle"}
    return cls(**(told | more)).resolve(DEVICE)


@pytest.mark.parametrize("name", ["ez_vsl", "avgn"])
def test_learns_from_nothing(name, standin, findings):
    began = time.perf_counter()
    method, run = train(settings_of(name, epochs=EPOCHS), standin, progress=False)
    synchronize()
    seconds = time.perf_counter() - began
    history = run.history
    findings.add(
        "training", case=name, epochs=len(history), seconds=seconds, loss=[history[0]["total"], history[-1]["total"]],
        val_ap=[history[0].get("val_ap"), history[-1].get("val_ap")],
        pairs_per_second=history[-1]["pairs_per_second"], gpu_gigabytes=history[-1].get("gpu_gigabytes"),
    )  # fmt: skip
    for trial in trials_of(standin, 12 if DRY else 0)[:2]:
        for row in evaluate(method, standin, trial, progress=False)[0]:
            findings.add("rows", **{key: row[key] for key in SHOWN if key in row})
    assert len(history) == EPOCHS
    assert DRY or history[-1]["total"] < history[0]["total"]


@pytest.mark.parametrize("repeatable", [False, True])
def test_a_resumed_run_goes_on(repeatable, standin, findings, tmp_path):
    """Two epochs and one more, against three: to the bit where the settings ask for it."""

    def trained(folder, epochs):
        settings = settings_of("ez_vsl", epochs=epochs, schedule="constant", repeatable=repeatable)
        torch.manual_seed(0)
        method = METHODS["ez_vsl"](settings, len(standin.classes))
        return fit(method, standin, Run(tmp_path / "ez_vsl" / "standin" / folder), progress=False), method

    whole, straight = trained("straight", 3)
    trained("parts", 2)
    parts, resumed = trained("parts", 3)
    apart = [abs(one["total"] - other["total"]) / abs(one["total"]) for one, other in zip(whole, parts, strict=True)]
    weights = zip(straight.parameters(), resumed.parameters(), strict=True)
    same = all(torch.equal(one, other) for one, other in weights)
    findings.add("resume", repeatable=repeatable, losses_apart=apart, bit_equal=same)
    assert max(apart) < 0.02
    assert same or not repeatable
