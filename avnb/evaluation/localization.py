"""Method x benchmark -> rows: one evaluation for every method, with the rows that need no model beside it.

Introduced in notebooks/04_avgn.ipynb.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avnb.data.benchmarks import BENCHMARKS
from avnb.data.clips import Batch, Recipe
from avnb.data.mixing import draw_partners, grid_truth, make_batch, sounding_classes
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.errors import DataError, SettingsError
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
from avnb.models.base import Method
from avnb.training.runs import Run

CHUNK = 12  # images judged at once: three sources side by side take 0.8 GB at 24
THRESHOLDS = (0.1, 0.3, 0.5)


@dataclass(frozen=True)
class Trial:
    """What a method is asked: which clips, how many sources, how their frames lie, and when a pixel counts as found.

    ``subset`` names the clips; ``limit`` (0: all) how many mixtures at most, drawn evenly. With ``silence`` the maps of
    the classes that do not sound are judged as well, where the sources are in one picture.
    """

    subset: str
    sources: int = 1
    geometry: str = "single"
    threshold_rule: str = "top_half"
    split: str = "test"
    limit: int = 0
    silence: bool = False

    def mixtures(self, store: Store) -> Int[np.ndarray, "mixtures clips"]:
        """Return the test mixtures: the same for every method and seed."""
        recipe = self.recipe
        chosen = pool = self.clips(store)  # partners, too, have ground truth and one class
        if len(chosen) == 0:
            raise DataError(f'"{store.name}" has no {self.split} clips with ground truth for {self}.')
        if self.limit:
            chosen = chosen[np.linspace(0, len(chosen) - 1, min(self.limit, len(chosen))).round().astype(int)]
        generator = np.random.default_rng([2023, self.sources])
        return draw_partners(store, chosen, pool, recipe.clips, generator, recipe.distinct_classes)

    def clips(self, store: Store) -> Int[np.ndarray, " clips"]:
        """Return the clips that can be judged: with ground truth, and as many sounding classes as are asked for."""
        mixed = self.recipe.clips > 1
        chosen = store.select(self.split, "solo" if mixed else self.subset)
        chosen = chosen[store.has_truth(chosen)]
        return chosen[store.labels[chosen].sum(axis=1) == (1 if mixed else self.sources)]

    @property
    def in_one_picture(self) -> bool:
        """Whether several sources are seen together, so that their maps can be joined (PIAP)."""
        return self.sources > 1 and self.geometry != "separate"

    @property
    def counts_silence(self) -> bool:
        """Whether there is NSA."""
        return self.geometry == "grid" or (self.silence and self.in_one_picture)

    @property
    def recipe(self) -> Recipe:
        """How the mixtures are made."""
        return Recipe(self.sources, self.geometry)


def trials_of(store: Store, limit: int = 0) -> list[Trial]:
    """Return the trials that a benchmark's clips allow: its own subsets, and duets and trios side by side."""
    subsets = {subset for split, subset in store.count() if split == "test"}
    trials = [Trial(name, limit=limit) for name in ("solo", "photo", "test") if name in subsets]
    if "solo" in subsets:
        trials += [Trial(name, n, "side_by_side", limit=limit) for name, n in (("duet", 2), ("trio", 3))]
    if "duet" in subsets:
        trials.append(Trial("duet", 2, "one_frame", limit=limit))

    def allowed(trial: Trial) -> bool:
        heard = int(store.labels[trial.clips(store)].any(axis=0).sum())  # classes; none without ground truth
        return heard >= (trial.sources if trial.recipe.clips > 1 else 1)

    return [trial for trial in trials if allowed(trial)]


def synthetic_trial(store: Store, limit: int = 0) -> Trial:
    """Return the trial of 2x2 scenes made from the test solos, of which two sound and two are silent (DSOL, 4.1).

    It costs more than the others (a map of every class is judged) and is therefore none of ``trials_of``. Raises
    DataError where the solos have fewer than the four classes that a scene takes.
    """
    trial = Trial("synthetic", 2, "grid", published_rule(store.name, "synthetic", "dsol"), limit=limit)
    heard = int(store.labels[trial.clips(store)].any(axis=0).sum())
    if heard < trial.recipe.clips:
        raise DataError(
            f'"{store.name}" cannot provide 2x2 scenes: they take four classes, and its test solos with ground truth '
            f"have {heard}."
        )
    return trial


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
    from tqdm.auto import tqdm

    classes = method.CLASSES if classes is None else (classes,) if isinstance(classes, str) else tuple(classes)
    if unknown := [how for how in classes if how not in method.CLASSES]:
        known = ", ".join(f'"{how}"' for how in method.CLASSES)
        raise SettingsError(f'classes = "{unknown[0]}": {method.settings.METHOD} can be judged with {known}.')
    device, rule = torch.device(method.settings.device), threshold_rule(trial.threshold_rule)
    mixtures = trial.mixtures(store)
    scores: dict[tuple[str, str], list[dict[str, Tensor]]] = {}
    shown: dict[str, list[Tensor]] = {"maps": [], "classes": []}
    method.eval()
    chance = torch.Generator().manual_seed(0)

    @torch.inference_mode()
    def look(batch: Batch) -> tuple[Tensor, Tensor | None]:
        with autocast(device):
            probabilities = method.recognize(batch.mixture)
            return method.trunk(batch.frames), None if probabilities is None else probabilities.float()

    @torch.inference_mode()
    def ask(batch: Batch, asked: Int[Tensor, "batch sources"], features: Tensor) -> Tensor:
        with autocast(device):
            return method.localize(batch.frames, batch.mixture, asked, features).float()

    bar = tqdm(total=len(mixtures), desc=f"evaluate {trial.subset} {trial.geometry}", disable=not progress, leave=False)
    for start in range(0, len(mixtures), CHUNK):
        part = mixtures[start : start + CHUNK]
        batch = make_batch(store, part, trial.recipe, truth=True).to(device)
        features, probabilities = look(batch)  # once, whatever is asked
        small = ask(batch, batch.source_classes, features)
        # Frames of their own ("separate") have a row per source; from here on it is a row per mixture.
        asked, small, truth = (
            value.reshape(len(part), trial.sources, *value.shape[2:])
            for value in (batch.source_classes, small, batch.truth)
        )
        maps = upsample(small, truth.shape[-2:])
        if "best_pairing" in classes:
            order = in_best_order(maps, truth)
            small, maps = (value[torch.arange(len(part), device=device)[:, None], order] for value in (small, maps))
        shown["maps"].append(small.cpu())
        shown["classes"].append(asked.cpu())
        judged = {}
        if trial.counts_silence:
            silence = _Silence.of(store, part, batch, trial)
        if given := set(classes) - {"predicted"}:
            key = method.settings.METHOD, given.pop()
            judged[key] = _score(maps, truth, rule)
            if trial.counts_silence and "best_pairing" in classes:
                judged[key] |= silence.score(maps, None)
            elif trial.counts_silence:
                every = torch.arange(len(store.classes), device=device).expand(len(part), -1)
                judged[key] |= silence.score(maps, upsample(ask(batch, every, features), truth.shape[-2:]))
        if "predicted" in classes and probabilities is not None:
            own = probabilities.reshape(len(part), -1, probabilities.shape[-1])[:, 0].topk(trial.sources).indices
            named = (asked[:, :, None] == own[:, None]).any(dim=2)
            joint = maps  # what the method would show: the maps of its own classes
            if trial.in_one_picture and not named.all():
                joint = upsample(ask(batch, own, features), truth.shape[-2:])
            judged[method.settings.METHOD, "predicted"] = _score(maps, truth, rule, named, joint)
        for name in trivial.NAMES:
            if name == "random":  # one after the other, so that it does not matter how many are judged at once
                candidate = trivial.random(truth.shape[-2:], truth.shape[:2].numel(), chance).to(device)
                candidate = candidate.reshape(truth.shape)
            else:
                candidate = trivial.trivial_maps(name, truth)
            judged[name, "none"] = _score(candidate, truth, rule)
            if trial.counts_silence:
                unheard = torch.zeros_like(candidate) if name == "oracle" else candidate
                judged[name, "none"] |= silence.score(candidate, unheard[:, :1].expand(-1, len(store.classes), -1, -1))
        if trial.counts_silence:  # a softmax over the classes that knows nothing
            flat = torch.full_like(truth, 1 / len(store.classes))
            score = silence.score(flat, flat[:, :1].expand(-1, len(store.classes), -1, -1))
            judged["flat", "none"] = _score(flat, truth, rule) | score
        for key, score in judged.items():
            scores.setdefault(key, []).append(score)
        bar.update(len(part))
    bar.close()
    rows = [
        {
            "method": name, "benchmark": store.name, "subset": trial.subset, "sources": trial.sources,
            "geometry": trial.geometry, "classes": how, "threshold_rule": rule.name, "clips": len(mixtures),
            "origin": store.origin, **_summary(parts, trial),
        }
        for (name, how), parts in scores.items()
    ]  # fmt: skip
    return rows, {name: torch.cat(parts) for name, parts in shown.items()} | {"mixtures": torch.from_numpy(mixtures)}


def judge(
    method: Method, store: Store, run: Run, trials: Iterable[Trial], progress: bool = True
) -> list[dict[str, Any]]:
    """Evaluate a method on several trials and write the run's metrics.json and maps; returns the rows of all trials."""
    rows, maps = [], {}
    for trial in trials:
        found, shown = evaluate(method, store, trial, progress=progress)
        rows += found
        maps |= {f"{trial.subset}-{trial.geometry}/{name}": value for name, value in shown.items()}
    run.write_json("metrics.json", {"origin": store.origin, "settings": method.settings.as_dict(), "rows": rows})
    run.save_maps(maps)
    return rows


def pick(rows: Iterable[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows whose entries are as wanted: ``pick(rows, subset="duet", classes=("oracle", "none"))``."""
    allowed = {name: value if isinstance(value, tuple) else (value,) for name, value in wanted.items()}
    return [row for row in rows if all(row[name] in values for name, values in allowed.items())]


def published_rule(benchmark: str, subset: str, paper: str) -> str:
    """Return the threshold rule with which ``paper`` judged the subset; "top_half" where it names none."""
    if benchmark not in BENCHMARKS:
        return "top_half"
    rules = {protocol.subset: protocol.threshold_rules for protocol in BENCHMARKS[benchmark].protocols}
    return rules.get(subset, {}).get(paper, "top_half")


def _score(
    maps: Float[Tensor, "batch sources height width"],
    truth: Float[Tensor, "batch sources height width"],
    rule: ThresholdRule,
    named: Bool[Tensor, "batch sources"] | None = None,
    joint: Float[Tensor, "batch sources height width"] | None = None,
) -> dict[str, Tensor]:
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
    def of(cls, store: Store, mixtures: Int[np.ndarray, "batch clips"], batch: Batch, trial: Trial) -> "_Silence":
        if trial.geometry != "grid":
            return cls(batch.truth, batch.labels == 0)
        device, heard = batch.frames.device, batch.source_classes.shape[1]
        classes = torch.from_numpy(sounding_classes(store, mixtures)[:, heard:]).to(device)
        return cls(batch.truth, batch.labels == 0, grid_truth(store, mixtures)[:, heard:].to(device), classes)

    def score(
        self,
        maps: Float[Tensor, "batch sources height width"],
        every: Float[Tensor, "batch classes height width"] | None,
    ) -> dict[str, Tensor]:
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


def _summary(parts: list[dict[str, Tensor]], trial: Trial) -> dict[str, float]:
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
