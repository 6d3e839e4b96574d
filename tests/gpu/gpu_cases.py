"""What the tests of this folder share: the sizes, every method's cases, batches of noise, clocks, and the findings.

Without a GPU everything is run dry: the same lines on the CPU with tiny sizes, which finds what is broken and measures
nothing.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avnb.data.clips import Batch, Recipe
from avnb.models import METHODS
from avnb.models.base import Method, Stage

DRY = not torch.cuda.is_available()
DEVICE = "cpu" if DRY else "cuda"
PRESET = "quick" if DRY else "paper"  # of what is trained or timed
CLASSES = 11
SIZE = 64 if DRY else 224  # pixels
SAMPLES = 11_025 if DRY else 66_150  # at 22,050 Hz


@dataclass(frozen=True)
class Case:
    """A method with some of its switches, in one of its stages (the last, where not said)."""

    name: str
    switches: Mapping[str, Any] = field(default_factory=dict)
    stage: str = ""

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.switches.items()), self.stage]).strip("-")


CASES = (
    Case("ez_vsl"),
    Case("avgn"),
    Case("avgn", {"attention": "blocks", "gate": "none"}),
    Case("avgn", {"gate": "own_class"}),
    Case("ots"),
    Case("dsol", {}, "localize"),
    Case("dsol", {}, "classify"),
    Case("dsol", {}, "match"),
    Case("mix_and_localize"),
    Case("one_avm"),
)
COMPARED = tuple(
    Case(name) for name in METHODS if name not in {case.name for case in CASES}
)  # what papers compare with


class Findings:
    """The rows of the report, written after each so that a run that is stopped leaves what it found."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.began = path, [], time.perf_counter()

    def add(self, section: str, **row: Any) -> None:
        self.rows.append({"section": section, "at": round(time.perf_counter() - self.began, 1), **row})
        print(json.dumps(self.rows[-1], default=str), flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.rows, indent=1, default=str) + "\n", encoding="utf-8")


def build(name: str, preset: str, device: str = DEVICE, **switches: Any) -> Method:
    """Return a method with random weights, the same on every device."""
    settings = METHODS[name].SETTINGS(preset=preset, **switches)
    if hasattr(settings, "pretrained"):
        settings = replace(settings, pretrained=False)
    settings = settings.resolve(device)
    torch.manual_seed(0)
    method = METHODS[name](settings, CLASSES)
    return method.to(device, memory_format=torch.channels_last)


def is_frozen(method: Method) -> bool:
    return bool(getattr(method.trunk, "frozen", False))


def noise(rows: int, recipe: Recipe, method: Method | None = None, seed: int = 0) -> Batch:
    """Return a batch of noise with the shapes that training has, on the CPU."""
    chance, sources = torch.Generator().manual_seed(seed), recipe.sources
    waveforms = 0.1 * torch.randn(rows, sources, SAMPLES, generator=chance)
    chosen = torch.rand(rows, CLASSES, generator=chance).topk(sources).indices
    labels = torch.zeros(rows, CLASSES).scatter_(1, chosen, 1.0)
    mixture = waveforms.mean(dim=1) if recipe.sound == "mean" else waveforms.sum(dim=1)
    seen = chosen if recipe.geometry in ("side_by_side", "grid") else chosen[:, :1]
    frames, width = rows, SIZE * (sources if recipe.geometry == "side_by_side" else 1)
    if recipe.geometry == "separate":
        mixture, labels = (value.repeat_interleave(sources, dim=0) for value in (mixture, labels))
        seen, frames = chosen.reshape(-1, 1), rows * sources
    pictures = torch.randint(256, (frames, 3, SIZE, width), generator=chance, dtype=torch.uint8)
    features = None
    if method is not None and is_frozen(method):
        stride = method.trunk.stride
        features = torch.randn(frames, method.trunk.channels, SIZE // stride, width // stride, generator=chance)
    return Batch(pictures, mixture, labels, seen, source_waveforms=waveforms, features=features)


def enter(method: Method, case: Case) -> Stage:
    """Bring a method into the case's stage, through whatever happens before it, and return the stage."""
    stages = method.stages()
    names = [stage.name for stage in stages]
    last = names.index(case.stage) if case.stage else len(stages) - 1
    for stage in stages[: last + 1]:
        if stage.begin is not None:
            recipes = stage.begin_with or stage.recipes

            def examples(recipes: tuple[Recipe, ...] = recipes) -> Iterator[tuple[np.ndarray, Recipe, Batch]]:
                for number in range(2):
                    recipe = recipes[number % len(recipes)]
                    batch = noise(2 * CLASSES, recipe, method, seed=number)
                    yield np.zeros((2 * CLASSES, recipe.clips), np.int64), recipe, batch

            stage.begin(examples)
    return stages[last]


def synchronize() -> None:
    if not DRY:
        torch.cuda.synchronize()


def seconds_of(call: Callable[[], Any], times: int = 10, warm: int = 3) -> float:
    """Return the seconds of a call among many, without a wait after each: what a loop reaches."""
    times, warm = (1, 0) if DRY else (times, warm)
    for _ in range(warm):
        call()
    synchronize()
    began = time.perf_counter()
    for _ in range(times):
        call()
    synchronize()
    return (time.perf_counter() - began) / times


def apart(one: Tensor, other: Tensor) -> float:
    """Return the distance of two tensors in units of the second's length."""
    one, other = one.detach().double().cpu(), other.detach().double().cpu()
    return float((one - other).norm() / other.norm().clamp_min(1e-30))
