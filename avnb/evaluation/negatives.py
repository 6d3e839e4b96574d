"""What a method shows when nothing of the picture sounds, on every test picture: silence, noise, a sound of elsewhere.

A map that ignores the sound is the same under all of them, and is found out here and nowhere else.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.clips import Batch, Recipe
from avnb.data.mixing import draw_partners, make_batch
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.errors import DataError, SettingsError
from avnb.evaluation.chunks import chunks
from avnb.evaluation.rows import protocol_of, training_of
from avnb.evaluation.scores import true_places
from avnb.evaluation.trials import Trial
from avnb.metrics import trivial
from avnb.metrics.localization import iou, upsample
from avnb.metrics.negative_audio import KINDS, lit_share, same_region, summary, threshold_of_maxima
from avnb.models.base import Method, Query

PROTOCOL = "negative audio"
SEED = 2025  # of the noise, and of which clip is heard offscreen


def negative_rows(
    method: Method, store: Store, trial: Trial, kinds: Iterable[str] = KINDS, progress: bool = True
) -> list[dict[str, Any]]:
    """Return the rows of the negative audio protocol (avnb/metrics/negative_audio.py), in percent.

    The universal threshold is that of the method's maps under negative audio on validation clips, never on test clips.
    Beside the method stand "centre", which hears nothing, and "oracle", whose map is the truth, and dark where nothing
    of the picture sounds. Raises SettingsError where a kind does not exist or the trial is of several sources, and
    DataError where there are no validation clips, or none of another class.
    """
    kinds = tuple(kinds)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise SettingsError(f'negatives = "{unknown[0]}": there are {", ".join(KINDS)}.')
    if trial.sources > 1:
        raise SettingsError(f"Negative audio is judged on one source a picture, and {trial.key} has {trial.sources}.")
    if not any(split == "val" for split, _ in store.count()):
        raise DataError(
            f'"{store.name}" has no validation clips, on which the universal threshold is chosen; chosen on test clips '
            "it would be fitted to what it judges."
        )
    thresholds = _thresholds(method, store, kinds, progress)
    parts: dict[str, list[dict[str, Tensor]]] = {name: [] for name in thresholds}
    mixtures = trial.mixtures(store)
    for part, maps in _asked(method, store, mixtures, kinds, f"negative audio {trial.subset}", progress):
        truth = true_places(store, mixtures[part], trial, torch.device(method.settings.device))[:, 0]
        for name, values in _with_floors(method.settings.METHOD, maps, truth).items():
            parts[name].append(_scored(values, truth, kinds, thresholds[name]))
    trained = training_of(method.settings)
    rows = []
    for name, found in parts.items():
        joined = {key: torch.cat([one[key] for one in found]) for key in found[0]}
        of = {kind: joined[f"lit {kind}"] for kind in kinds}, {kind: joined[f"same {kind}"] for kind in kinds}
        own = name == method.settings.METHOD
        way = next((way for way in method.CLASSES if way != "predicted"), "none") if own else "none"
        rule = f"universal({thresholds[name]:.4g})"
        row = protocol_of(name, store, trial, len(mixtures), way, rule, trained if own else "")
        said = summary(joined["iou"], *of)
        rows.append(row | {"protocol": PROTOCOL} | {key: round(100 * value, 2) for key, value in said.items()})
    return rows


def _thresholds(method: Method, store: Store, kinds: tuple[str, ...], progress: bool) -> dict[str, float]:
    """Return the universal threshold of the method and of the rows beside it."""
    clips = store.solos("val")[:, None]
    maxima = [
        maps[kind].flatten(1).amax(1).cpu()
        for _, maps in _asked(method, store, clips, kinds, "universal threshold", progress)
        for kind in kinds
    ]
    size = store.shape.size, store.shape.size
    return {
        method.settings.METHOD: threshold_of_maxima(torch.cat(maxima)),
        "centre": float(trivial.centre(size).max()),
        "oracle": 0.0,
    }


def _asked(
    method: Method, store: Store, mixtures: Int[np.ndarray, "mixtures 1"], kinds: tuple[str, ...], label: str,
    progress: bool,
) -> Iterator[tuple[slice, dict[str, Float[Tensor, "batch height width"]]]]:  # fmt: skip
    """Yield some clips at a time: the maps of their own class under their own sound, "positive", and each other one."""
    from tqdm.auto import tqdm

    device, clips = torch.device(method.settings.device), mixtures[:, 0]
    pool = np.unique(clips)
    elsewhere = (
        draw_partners(store, clips, pool, 2, np.random.default_rng(SEED))[:, 1] if "offscreen" in kinds else None
    )
    noise, size = torch.Generator().manual_seed(SEED), (store.shape.size, store.shape.size)
    method.eval()
    bar = tqdm(total=len(clips), desc=label, unit="picture", disable=not progress, leave=False)
    for part in chunks(len(clips), device):
        batch = make_batch(store, mixtures[part], Recipe()).to(device)
        sounds = {"positive": batch.mixture}
        for kind in kinds:
            if kind == "silence":
                sounds[kind] = torch.zeros_like(batch.mixture)
            elif kind == "noise":  # standard normal samples, as the protocol has it: louder than any clip
                sounds[kind] = torch.randn(batch.mixture.shape, generator=noise).to(device)
            else:
                sounds[kind] = store.read_waveforms(elsewhere[part]).to(device)
        yield part, {kind: upsample(maps, size) for kind, maps in _maps(method, batch, sounds).items()}
        bar.update(part.stop - part.start)
    bar.close()


@torch.inference_mode()
def _maps(method: Method, batch: Batch, sounds: dict[str, Tensor]) -> dict[str, Float[Tensor, "batch rows columns"]]:
    with autocast(batch.frames.device):
        features = method.trunk(batch.frames)
        return {
            kind: method.localize(Query(batch.frames, sound, batch.source_classes, features)).float()[:, 0]
            for kind, sound in sounds.items()
        }


def _with_floors(
    name: str, maps: dict[str, Tensor], truth: Float[Tensor, "batch height width"]
) -> dict[str, dict[str, Tensor]]:
    """Return the method's maps under each sound, and those of who hears nothing and of who knows all."""
    centre = trivial.centre((truth.shape[1], truth.shape[2])).to(truth.device).expand(truth.shape)
    dark = torch.zeros_like(truth)
    return {
        name: maps,
        "centre": dict.fromkeys(maps, centre),
        "oracle": {kind: truth if kind == "positive" else dark for kind in maps},
    }


def _scored(
    maps: dict[str, Tensor], truth: Float[Tensor, "batch height width"], kinds: tuple[str, ...], threshold: float
) -> dict[str, Tensor]:
    region = maps["positive"] > threshold
    found = {"iou": iou(region, truth)}
    for kind in kinds:
        found[f"lit {kind}"] = lit_share(maps[kind], threshold)
        found[f"same {kind}"] = same_region(region, maps[kind] > threshold)
    return {name: value.cpu() for name, value in found.items()}
