"""What the contract's tests share: every method in both presets, and a batch for every recipe, without any data."""

import copy
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torchvision.models.resnet import BasicBlock, ResNet

from avnb.data.clips import Batch, Recipe
from avnb.models import METHODS, Method, Stage
from avnb.networks import encoders

PRESETS = ("quick", "paper")
CLASSES, BATCH = 4, 2
HEIGHT, WIDTH = 64, 96  # pixels of a frame
SAMPLES = 11_025  # half a second at the store's rate


def built(name: str, preset: str) -> Method:
    """Return a copy of the method that `build` makes, in a fraction of its time."""
    return copy.deepcopy(_kept(name, preset))


def build(name: str, preset: str, seed: int = 0, **changes: Any) -> Method:
    """Return a new method in its preset's shape, with no weights of others.

    ResNet-18 has one block a stage here for two, U-Nets and VGGish have fewer channels: the contract does not hang on
    it, and the methods' own tests count the weights of the real ones. EfficientNet-Lite0 is read from its file once.
    """
    if preset == "quick":
        _lite0()
    torch.manual_seed(seed)
    method = METHODS[name]
    changes = {"epochs": 2} | changes  # no more stages than there are kinds of them
    settings = method.SETTINGS(preset=preset, pretrained=False, device="cpu", **changes).resolve("cpu")
    with (
        patch("torchvision.models.resnet18", lambda: ResNet(BasicBlock, [1, 1, 1, 1])),
        patch("avnb.networks.unet.WIDTHS", (8,) * 7),
        patch("avnb.networks.encoders.VGG", (8,) * 6),
        patch("avnb.networks.encoders._lite0", lambda: copy.deepcopy(_lite0())),
    ):
        return method(settings, CLASSES)


_kept = cache(build)
_lite0 = cache(encoders._lite0)


def batch_for(
    recipe: Recipe, seed: int = 0, batch: int = BATCH, size: tuple[int, int] = (HEIGHT, WIDTH), samples: int = SAMPLES
) -> Batch:
    """Return a batch of chance as ``recipe`` lays it out, on the CPU, without ground truth or features."""
    chance = torch.Generator().manual_seed(seed)
    heard, seen = min(recipe.sources, recipe.clips), (1 if recipe.geometry == "first" else recipe.sources)
    chosen = torch.stack([torch.randperm(CLASSES, generator=chance)[:heard] for _ in range(batch)])
    rows = recipe.sources if recipe.geometry == "separate" else 1
    width = size[1] * (recipe.sources if recipe.geometry == "side_by_side" else 1)
    waveforms = 0.2 * torch.randn(batch, heard, samples, generator=chance)
    classes = chosen.reshape(-1, 1) if recipe.geometry == "separate" else chosen[:, :seen]
    labels = torch.zeros(batch, CLASSES).scatter_(1, chosen, 1.0)
    return Batch(
        frames=torch.randint(256, (batch * rows, 3, size[0], width), dtype=torch.uint8, generator=chance),
        mixture=waveforms.sum(dim=1).repeat_interleave(rows, dim=0),
        labels=labels.repeat_interleave(rows, dim=0),
        source_classes=classes,
        source_frames=torch.randint(256, (batch, recipe.clips, 3, *size), dtype=torch.uint8, generator=chance),
        source_waveforms=waveforms,
    )


def through_stages(method: Method) -> Iterator[Stage]:
    """Yield each kind of stage of the method's training, begun as fit() begins it; a stage that returns is skipped."""
    known = set()
    for stage in method.stages():
        if stage.begin is not None:
            stage.begin(lambda stage=stage: epoch_of(stage.begin_with or stage.recipes))
        if stage.name not in known:
            known.add(stage.name)
            yield stage


def epoch_of(recipes: Iterable[Recipe]) -> Iterator[tuple[None, Recipe, Batch]]:
    """Yield two batches of each recipe, as what Stage.begin is given."""
    for recipe in recipes:
        for seed in (1, 2):
            yield None, recipe, batch_for(recipe, seed)
