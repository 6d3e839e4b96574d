"""Method x benchmark -> rows: one evaluation for every method, with the rows that need no model beside it.

First everything is asked, without the truth at hand; then everything is scored. Introduced in notebooks/04_avgn.ipynb.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.benchmarks import SILENT
from avnb.data.clips import Batch
from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.errors import SettingsError
from avnb.evaluation.chunks import chunks
from avnb.evaluation.negatives import negative_rows
from avnb.evaluation.overlaps import CANDIDATES, FITTED, best_rule, on_validation, overlaps
from avnb.evaluation.retrieval import judge_retrieval
from avnb.evaluation.rows import protocol_of, training_of
from avnb.evaluation.scores import Part, Silence, recordings_of, score, summary, true_places
from avnb.evaluation.statements import has_silent, statement_rows
from avnb.evaluation.trials import Trial, headline_iou, printed_metrics
from avnb.evaluation.without_model import rows_without_model, rule_said
from avnb.metrics.localization import any_rule, confidence, in_best_order, upsample
from avnb.metrics.protocols import Rule
from avnb.models.base import Method, Query
from avnb.models.baselines.named import Named
from avnb.networks.imagenet_names import imagenet_classes
from avnb.training.runs import Run

_by_name: "WeakKeyDictionary[Store, dict[tuple[Trial, str], list[dict[str, Any]]]]" = WeakKeyDictionary()


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
    also: Iterable[Trial] = (),
    negatives: Iterable[str] = (),
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """Judge a method, and the centre, the whole image, chance and the oracle, on one trial.

    Returns the rows (percentages, 0..100) and what a heatmap needs: "maps" [mixtures, sources, h, w] as the method
    made them for the true classes, "mixtures" and "classes". ``classes`` (all that the method has, where not given):
    "oracle" asks for the true classes; "predicted" for as many as sound, chosen by the method: a sounding class it does
    not name scores 0, and PIAP judges the maps of the classes it does name; "best_pairing" gives nameless maps to the
    sources in the order that suits them best; "none" takes the one map there is for every source.

    On 2x2 scenes (geometry "grid"), and where a trial asks for ``silence``, the rows also have NSA (DSOL, eq. 9), which
    the row "flat" shows to be 100 for a map that says nothing. On 2x2 scenes they have the mean value of the maps "on
    sounding" objects and "on silent" ones, too. Where nothing is judged there are maps and no rows.

    ``also`` are trials of the same mixtures under other protocols and threshold rules (see `under_every_protocol`),
    whose rows are made of the same answers. With ``negatives`` ("silence", "noise", "offscreen") the method is also
    asked for maps when nothing of the picture sounds, on clips of one source: see `negative_rows`. Where the folder has
    test clips that do not sound (its subset "silent") their rows follow: see `statement_rows`.

    Raises SettingsError where a trial is of other mixtures.
    """
    trials = [trial, *also]
    if strangers := [one for one in trials if replace(one, protocol="frame-wise", threshold_rule="") !=
                     replace(trial, protocol="frame-wise", threshold_rule="")]:  # fmt: skip
        raise SettingsError(f"also = {strangers[0]} is of other mixtures than {trial}: evaluate it by itself.")
    ways = method.CLASSES if classes is None else (classes,) if isinstance(classes, str) else tuple(classes)
    if unknown := [way for way in ways if way not in method.CLASSES]:
        known = ", ".join(f'"{way}"' for way in method.CLASSES)
        raise SettingsError(f'classes = "{unknown[0]}": {method.settings.METHOD} can be judged with {known}.')
    device = torch.device(method.settings.device)
    answers = ask(method, store, trial, ways, progress)
    if not trial.judged:
        return [], _shown(answers)
    if "best_pairing" in ways:
        answers = _paired(answers, store, trial, device)
    rows, rules = [], [_rule(method, store, one, ways, progress) for one in trials]
    scores: dict[str, list[Part]] = {}
    for one, rule in zip(trials, rules, strict=True):
        scores = _scores_of_answers(answers, store, one, ways, rule, method.MAP_RANGE, device, progress, scores)
        at = headline_iou(store.name, one.subset)
        about = method.settings.METHOD, store, one, len(answers.mixtures)
        recordings = recordings_of(store, one, answers.mixtures)
        rows += [
            protocol_of(*about, way, rule_said(one, rule), training_of(method.settings))
            | summary(parts, one, at, recordings)
            | (method.learnt() if one.sources == 1 else {})
            for way, parts in scores.items()
        ]
        rows += rows_without_model(store, one, device)
    if has_silent(store, trial):
        unheard = replace(trial, subset=SILENT, parts=(), boxes=(1, 0), threshold_rule="none")
        maps = answers.maps, ask(method, store, unheard, ways[:1], progress).maps
        about = method.settings.METHOD, store, trial, answers.mixtures, maps, rules[0], device, ways[0]
        rows += statement_rows(*about, training_of(method.settings))
    negatives = tuple(negatives)
    return rows + (negative_rows(method, store, trial, negatives, progress) if negatives else []), _shown(answers)


def _shown(answers: Answers) -> dict[str, Tensor]:
    """Return what a heatmap needs of the answers."""
    return {"maps": answers.maps, "classes": answers.classes, "mixtures": torch.from_numpy(answers.mixtures)}


def judge(
    method: Method, store: Store, run: Run, trials: Iterable[Trial], progress: bool = True
) -> list[dict[str, Any]]:
    """Evaluate a method on several trials and write the run's metrics.json and maps; returns the rows of all trials.

    On real clips `rows_by_name` stand beside it.

    Where papers print retrieval beside a trial's numbers, as on VGGSound-Music, its rows are written with them; not of
    a method without features, as a function from outside is.
    """
    rows, beside, maps = [], [], {}
    for trial in trials:
        found, shown = evaluate(method, store, trial, progress=progress)
        rows += found
        rows += rows_by_name(store, trial, method.settings.device, progress) if found else []
        maps |= {f"{trial.key}/{name}": value for name, value in shown.items()}
        has_features = getattr(method.embed, "__func__", None) is not Method.embed
        if found and has_features and "IR-Acc" in printed_metrics(store.name, trial.subset):
            beside += judge_retrieval(method, store, trial.limit, progress)
    said = {"origin": store.origin, "settings": method.settings.as_dict(), "rows": rows + beside}
    run.write_json("metrics.json", said)
    run.save_maps(maps)
    return rows


def rows_by_name(store: Store, trial: Trial, device: str = "cpu", progress: bool = True) -> list[dict[str, Any]]:
    """Return the row of `Named`, which is not trained and does not hear: made once for a store and a trial.

    There is none of drawn clips, and none where ImageNet has no name for any of the classes. Classes without one are
    said.
    """
    if store.origin != "real" or not any(map(imagenet_classes, store.classes)):
        return []
    kept = _by_name.setdefault(store, {})
    if (trial, store.truth) not in kept:
        named = _named(tuple(store.classes), device)
        if named.unnamed and progress and not kept:
            print(f"named: ImageNet has no name for {', '.join(named.unnamed)}; there it is EZ-VSL's object prior")
        rows, _ = evaluate(named, store, trial, progress=progress)
        kept[trial, store.truth] = [row for row in rows if row["method"] == named.settings.METHOD]
    return [dict(row) for row in kept[trial, store.truth]]


@lru_cache(maxsize=1)  # of one data set at a time: the trials are judged one after the other
def _named(classes: tuple[str, ...], device: str) -> Named:
    return Named(classes, device=device)


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


def _paired(answers: Answers, store: Store, trial: Trial, device: torch.device) -> Answers:
    """Return the answers with nameless maps in the order that suits the sources best."""
    ordered = []
    for part in chunks(len(answers.mixtures), device):
        truth, maps = true_places(store, answers.mixtures[part], trial, device), answers.maps[part]
        order = in_best_order(upsample(maps.to(device), truth.shape[-2:]), truth).cpu()
        ordered.append(maps[torch.arange(len(maps))[:, None], order])
    return replace(answers, maps=torch.cat(ordered))


def _rule(method: Method, store: Store, trial: Trial, ways: Iterable[str], progress: bool) -> Rule:
    """Return the trial's threshold rule; "fitted" is the best of `CANDIDATES` for the method on validation clips."""
    if trial.threshold_rule != FITTED:
        return any_rule(trial.threshold_rule)
    held_out, device = on_validation(trial), torch.device(method.settings.device)
    answers = ask(method, store, held_out, ways, progress)
    if "best_pairing" in ways:
        answers = _paired(answers, store, held_out, device)
    found = overlaps(answers.maps, store, held_out, CANDIDATES, device.type)
    return any_rule(best_rule(found, CANDIDATES))


def _scores_of_answers(
    answers: Answers,
    store: Store,
    trial: Trial,
    ways: Iterable[str],
    rule: Rule,
    map_range: tuple[float, float] | None,
    device: torch.device,
    progress: bool,
    before: dict[str, list[Part]],
) -> dict[str, list[Part]]:
    """Return the scores of each way of asking, some mixtures at a time; what ranks pixels is that of ``before``."""
    from tqdm.auto import tqdm

    def sure(maps: Tensor) -> Part:
        """Return how sure the method is of its one source, 0..1; nothing where its maps do not say it."""
        if trial.sources > 1 or map_range is None:
            return {}
        low, high = map_range
        return {"sure": ((confidence(maps[:, 0]) - low) / (high - low)).cpu()}

    given = next((way for way in ways if way != "predicted"), None)
    scores: dict[str, list[Part]] = {}
    label = f"judge {trial.subset} {trial.geometry}"
    bar = tqdm(total=len(answers.mixtures), desc=label, unit="mixture", disable=not progress, leave=False)
    for number, part in enumerate(chunks(len(answers.mixtures), device)):
        truth = true_places(store, answers.mixtures[part], trial, device)
        ranking = {way: parts[number] for way, parts in before.items()}

        def large(maps: Tensor, part: slice = part, size: tuple[int, int] = truth.shape[-2:]) -> Tensor:
            return upsample(maps[part].to(device), size)

        maps = large(answers.maps)
        if given is not None:
            part_scores = score(maps, truth, rule, trial, ranking=ranking.get(given)) | sure(maps)
            if trial.counts_silence:
                silence = Silence.of(store, answers.mixtures[part], truth, trial)
                part_scores |= silence.score(maps, None if answers.every is None else large(answers.every))
            scores.setdefault(given, []).append(part_scores)
        if answers.named is not None:
            known = (answers.classes[part, :, None] == answers.named[part, None]).any(dim=2).to(device)
            joint = maps if answers.own is None else large(answers.own)  # what the method itself would show
            found = score(maps, truth, rule, trial, known, joint, ranking.get("predicted"))
            scores.setdefault("predicted", []).append(found | sure(maps))
        bar.update(len(truth))
    bar.close()
    return scores
