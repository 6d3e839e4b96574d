"""Method x benchmark -> rows: one evaluation for every method, with the rows that need no model beside it.

First everything is asked, without the truth at hand; then everything is scored. Introduced in notebooks/04_avgn.ipynb.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avnb.data.clips import Batch
from avnb.data.mixing import grid_truth, make_batch, sounding_classes, truth_of
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.errors import SettingsError
from avnb.evaluation.chunks import chunks
from avnb.evaluation.rows import protocol_of, training_of
from avnb.evaluation.trials import Trial
from avnb.metrics import trivial
from avnb.metrics.localization import (
    ThresholdRule,
    area_under_curve,
    average_precision,
    class_mean,
    in_best_order,
    iou,
    nsa,
    piap,
    success_rate,
    threshold_rule,
    upsample,
)
from avnb.models.base import Method, Query
from avnb.training.runs import Run

THRESHOLDS = (0.1, 0.3, 0.5)

Part = dict[str, Tensor]  # the scores of some mixtures: a value a source or a mixture


@dataclass(frozen=True)
class Answers:
    """What a method says of a trial's mixtures, on the CPU, before anyone looks at the truth.

    ``maps`` are those of the true ``classes``, or nameless. ``named`` are the classes that the method itself hears, and
    ``own`` their maps (where sources are in one picture); ``every`` are the maps of all classes, where silence counts.
    """

    mixtures: Int[np.ndarray, "mixtures clips"]
    classes: Int[Tensor, "mixtures sources"]
    maps: Float[Tensor, "mixtures sources h w"]
    named: Int[Tensor, "mixtures sources"] | None = None
    own: Float[Tensor, "mixtures sources h w"] | None = None
    every: Float[Tensor, "mixtures every h w"] | None = None


def evaluate(
    method: Method,
    store: Store,
    trial: Trial,
    classes: str | Iterable[str] | None = None,
    progress: bool = True,
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Judge a method, and the centre, the whole image, chance and the oracle, on one trial.

    Returns the rows (percentages, 0..100) and what a heatmap needs: "maps" [mixtures, sources, h, w] as the method
    made them for the true classes, "mixtures" and "classes". ``classes`` (all that the method has, where not given):
    "oracle" asks for the true classes; "predicted" for as many as sound, chosen by the method: a sounding class it does
    not name scores 0, and PIAP judges the maps of the classes it does name; "best_pairing" gives nameless maps to the
    sources in the order that suits them best; "none" takes the one map there is for every source.

    On 2x2 scenes (geometry "grid"), and where a trial asks for ``silence``, the rows also have NSA (DSOL, eq. 9), which
    the row "flat" shows to be 100 for a map that says nothing. On 2x2 scenes they have the mean value of the maps "on
    sounding" objects and "on silent" ones, too.
    """
    ways = method.CLASSES if classes is None else (classes,) if isinstance(classes, str) else tuple(classes)
    if unknown := [way for way in ways if way not in method.CLASSES]:
        known = ", ".join(f'"{way}"' for way in method.CLASSES)
        raise SettingsError(f'classes = "{unknown[0]}": {method.settings.METHOD} can be judged with {known}.')
    device, rule = torch.device(method.settings.device), threshold_rule(trial.threshold_rule)
    answers = ask(method, store, trial, ways, progress)
    if "best_pairing" in ways:
        answers = _paired(answers, store, trial, device)
    scores = _scores_of_answers(answers, store, trial, ways, rule, device, progress)
    about = method.settings.METHOD, store, trial, len(answers.mixtures)
    rows = [
        protocol_of(*about, way, rule.name, training_of(method.settings)) | _summary(parts, trial)
        for way, parts in scores.items()
    ]
    shown = {"maps": answers.maps, "classes": answers.classes, "mixtures": torch.from_numpy(answers.mixtures)}
    return rows + rows_without_model(store, trial, device), shown


def judge(
    method: Method, store: Store, run: Run, trials: Iterable[Trial], progress: bool = True
) -> list[dict[str, Any]]:
    """Evaluate a method on several trials and write the run's metrics.json and maps; returns the rows of all trials."""
    rows, maps = [], {}
    for trial in trials:
        found, shown = evaluate(method, store, trial, progress=progress)
        rows += found
        maps |= {f"{trial.key}/{name}": value for name, value in shown.items()}
    run.write_json("metrics.json", {"origin": store.origin, "settings": method.settings.as_dict(), "rows": rows})
    run.save_maps(maps)
    return rows


# -------------------------------------------------------------------------------------------------------------- asking


def ask(method: Method, store: Store, trial: Trial, ways: Iterable[str], progress: bool = True) -> Answers:
    """Ask the method for all that the ``ways`` need to be scored."""
    from tqdm.auto import tqdm

    device, mixtures = torch.device(method.settings.device), trial.mixtures(store)
    method.eval()
    found: dict[str, list[Tensor]] = {}
    label = f"ask {trial.subset} {trial.geometry}"
    bar = tqdm(total=len(mixtures), desc=label, unit="mixture", disable=not progress, leave=False)
    for part in chunks(len(mixtures), device):
        batch = make_batch(store, mixtures[part], trial.recipe).to(device)
        for name, value in _ask_some(method, batch, trial, set(ways)).items():
            found.setdefault(name, []).append(value.cpu())
        bar.update(part.stop - part.start)
    bar.close()
    return Answers(mixtures, **{name: torch.cat(parts) for name, parts in found.items()})


@torch.inference_mode()
def _ask_some(method: Method, batch: Batch, trial: Trial, ways: set[str]) -> Part:
    """Return the fields of Answers for one batch."""
    device = batch.frames.device

    def look() -> tuple[Tensor, Tensor | None]:
        with autocast(device):
            probabilities = method.recognize(batch.mixture)
            return method.trunk(batch.frames), None if probabilities is None else probabilities.float()

    def maps_of(classes: Int[Tensor, "batch _"]) -> Tensor:
        with autocast(device):
            return method.localize(Query(batch.frames, batch.mixture, classes, features)).float()

    features, probabilities = look()  # once, whatever is asked
    # Frames of their own ("separate") have a row per source; from here on it is a row per mixture.
    classes, maps = (
        value.reshape(-1, trial.sources, *value.shape[2:])
        for value in (batch.source_classes, maps_of(batch.source_classes))
    )
    found = {"classes": classes, "maps": maps}
    if trial.counts_silence and ways - {"predicted", "best_pairing"}:
        every = torch.arange(batch.labels.shape[1], device=device)
        found["every"] = maps_of(every.expand(len(maps), -1))
    if "predicted" in ways and probabilities is not None:
        heard = probabilities.reshape(len(maps), -1, probabilities.shape[-1])[:, 0]
        named = found["named"] = heard.topk(trial.sources).indices
        if trial.in_one_picture:
            known = (classes[:, :, None] == named[:, None]).any(dim=2)
            found["own"] = maps if known.all() else maps_of(named)
    return found


# ------------------------------------------------------------------------------------------------------------- scoring


def _truth(store: Store, mixtures: np.ndarray, trial: Trial, device: torch.device) -> Tensor:
    """Return where each source truly is, [mixtures, sources, height, width]."""
    truth = truth_of(store, mixtures, trial.recipe)
    return truth.reshape(-1, trial.sources, *truth.shape[2:]).to(device)


def _paired(answers: Answers, store: Store, trial: Trial, device: torch.device) -> Answers:
    """Return the answers with nameless maps in the order that suits the sources best."""
    ordered = []
    for part in chunks(len(answers.mixtures), device):
        truth, maps = _truth(store, answers.mixtures[part], trial, device), answers.maps[part]
        order = in_best_order(upsample(maps.to(device), truth.shape[-2:]), truth).cpu()
        ordered.append(maps[torch.arange(len(maps))[:, None], order])
    return replace(answers, maps=torch.cat(ordered))


def _scores_of_answers(
    answers: Answers,
    store: Store,
    trial: Trial,
    ways: Iterable[str],
    rule: ThresholdRule,
    device: torch.device,
    progress: bool,
) -> dict[str, list[Part]]:
    """Return the scores of each way of asking, some mixtures at a time."""
    from tqdm.auto import tqdm

    given = next((way for way in ways if way != "predicted"), None)
    scores: dict[str, list[Part]] = {}
    label = f"judge {trial.subset} {trial.geometry}"
    bar = tqdm(total=len(answers.mixtures), desc=label, unit="mixture", disable=not progress, leave=False)
    for part in chunks(len(answers.mixtures), device):
        truth = _truth(store, answers.mixtures[part], trial, device)

        def large(maps: Tensor, part: slice = part, size: tuple[int, int] = truth.shape[-2:]) -> Tensor:
            return upsample(maps[part].to(device), size)

        maps = large(answers.maps)
        if given is not None:
            score = _score(maps, truth, rule)
            if trial.counts_silence:
                silence = _Silence.of(store, answers.mixtures[part], truth, trial)
                score |= silence.score(maps, None if answers.every is None else large(answers.every))
            scores.setdefault(given, []).append(score)
        if answers.named is not None:
            known = (answers.classes[part, :, None] == answers.named[part, None]).any(dim=2).to(device)
            joint = maps if answers.own is None else large(answers.own)  # what the method itself would show
            scores.setdefault("predicted", []).append(_score(maps, truth, rule, known, joint))
        bar.update(len(truth))
    bar.close()
    return scores


_without_model: "WeakKeyDictionary[Store, dict[tuple[Trial, str], list[dict[str, Any]]]]" = WeakKeyDictionary()


def rows_without_model(store: Store, trial: Trial, device: torch.device) -> list[dict[str, Any]]:
    """Return the rows of what needs no model: the same for every method, and made once for a store and a trial."""
    kept = _without_model.setdefault(store, {})
    if (trial, device.type) not in kept:
        rule, mixtures = threshold_rule(trial.threshold_rule), trial.mixtures(store)
        scores: dict[tuple[str, str], list[Part]] = {}
        chance = torch.Generator().manual_seed(0)
        for part in chunks(len(mixtures), device):
            for key, score in _score_without_model(store, mixtures[part], trial, rule, chance, device).items():
                scores.setdefault(key, []).append(score)
        kept[trial, device.type] = [
            protocol_of(name, store, trial, len(mixtures), way, rule.name) | _summary(parts, trial)
            for (name, way), parts in scores.items()
        ]
    return [dict(row) for row in kept[trial, device.type]]


def _score_without_model(
    store: Store,
    mixtures: Int[np.ndarray, "batch clips"],
    trial: Trial,
    rule: ThresholdRule,
    chance: torch.Generator,
    device: torch.device,
) -> dict[tuple[str, str], Part]:
    """Return the scores of each row that needs no model and of each way of asking it."""
    truth, classes = _truth(store, mixtures, trial, device), len(store.classes)
    silence = _Silence.of(store, mixtures, truth, trial) if trial.counts_silence else None
    judged = {}
    for name in trivial.NAMES:
        if name == "random":  # one after the other, so that it does not matter how many are judged at once
            maps = trivial.random(truth.shape[-2:], truth.shape[:2].numel(), chance).to(device).reshape(truth.shape)
        else:
            maps = trivial.trivial_maps(name, truth)
        score = judged[name, "none"] = _score(maps, truth, rule)
        if silence:
            unheard = torch.zeros_like(maps) if name == "oracle" else maps
            score |= silence.score(maps, unheard[:, :1].expand(-1, classes, -1, -1))
    if silence:  # a softmax over the classes that knows nothing
        flat = torch.full_like(truth, 1 / classes)
        judged["flat", "none"] = _score(flat, truth, rule) | silence.score(
            flat, flat[:, :1].expand(-1, classes, -1, -1)
        )
    return judged


def _score(
    maps: Float[Tensor, "batch sources height width"],
    truth: Float[Tensor, "batch sources height width"],
    rule: ThresholdRule,
    named: Bool[Tensor, "batch sources"] | None = None,
    joint: Float[Tensor, "batch sources height width"] | None = None,
) -> Part:
    """Return "ap" and "iou" per source, [batch, sources], 0 where not ``named``, and "piap" per image, [batch]."""
    flat, flat_truth = maps.flatten(0, 1), truth.flatten(0, 1)
    ap = average_precision(flat, flat_truth).reshape(truth.shape[:2])
    overlap = iou(rule(flat), flat_truth).reshape(truth.shape[:2])
    if named is not None:
        ap, overlap = ap * named, overlap * named
    return {"ap": ap.cpu(), "iou": overlap.cpu(), "piap": piap(maps if joint is None else joint, truth).cpu()}


@dataclass(frozen=True)
class _Silence:
    """What is to be quiet: which classes do not sound and, in 2x2 scenes, where the two silent objects are."""

    truth: Float[Tensor, "batch sources height width"]
    unheard: Bool[Tensor, "batch classes"]
    places: Float[Tensor, "batch silent height width"] | None = None
    classes: Int[Tensor, "batch silent"] | None = None

    @classmethod
    def of(cls, store: Store, mixtures: Int[np.ndarray, "batch clips"], truth: Tensor, trial: Trial) -> "_Silence":
        heard = trial.sources
        unheard = store.read_labels(mixtures[:, :heard]).amax(dim=1).to(truth.device) == 0
        if trial.geometry != "grid":
            return cls(truth, unheard)
        classes = torch.from_numpy(sounding_classes(store, mixtures)[:, heard:]).to(truth.device)
        return cls(truth, unheard, grid_truth(store, mixtures)[:, heard:].to(truth.device), classes)

    def score(
        self,
        maps: Float[Tensor, "batch sources height width"],
        every: Float[Tensor, "batch classes height width"] | None,
    ) -> Part:
        """Return NSA where there is a map for ``every`` class, and where the silent objects are known the mean value
        of the sources' maps on themselves and of the silent classes' maps on the silent objects. Nameless maps are
        averaged on the silent objects."""
        found = {} if every is None else {"nsa": nsa(every, self.unheard).cpu()}
        if self.places is None:
            return found
        if every is None:
            quiet = maps.mean(dim=1, keepdim=True).expand_as(self.places)
        else:
            quiet = every.gather(1, self.classes[:, :, None, None].expand_as(self.places))
        found |= {"sounding": _mean_on(maps, self.truth).cpu(), "silent": _mean_on(quiet, self.places).cpu()}
        return found


def _mean_on(
    maps: Float[Tensor, "batch objects height width"], places: Float[Tensor, "batch objects height width"]
) -> Float[Tensor, "batch objects"]:
    """Return each map's mean over its object's pixels; NaN where there are none."""
    return (maps * places).sum(dim=(2, 3)) / places.sum(dim=(2, 3))


def _summary(parts: list[Part], trial: Trial) -> dict[str, float]:
    """Return the numbers of a row, in percent."""
    ap, overlap, joint = (torch.cat([part[name] for part in parts]) for name in ("ap", "iou", "piap"))
    image_iou = class_mean(overlap)
    single = trial.sources == 1
    row = {"AP" if single else "CAP": float(class_mean(ap).nanmean())}
    if trial.in_one_picture:
        row["PIAP"] = float(joint.nanmean())
    row |= {f"{'IoU' if single else 'CIoU'}@{at}": success_rate(image_iou, at) for at in THRESHOLDS}
    row["AUC"] = area_under_curve(image_iou)
    extra = {"nsa": "NSA", "sounding": "on sounding", "silent": "on silent"}
    row |= {
        title: float(torch.cat([part[name] for part in parts]).nanmean())
        for name, title in extra.items()
        if name in parts[0]
    }
    return {name: round(100 * value, 2) for name, value in row.items()}
