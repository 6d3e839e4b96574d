"""Method x benchmark -> rows, for what is heard: separation (SDR, SIR, SAR) and retrieval (IR-Acc, xNN-Acc, wNN-Acc).

The rows have the protocol keys of `avnb.evaluation.localization`'s and stand beside them in a run's metrics.json.
Separation is judged on sums of two solo clips, whose sources are known, each source asked for by its own frame; beside
a method stand the mixture as it is, what separates without learning (NMF, RPCA), and the ideal masks of each rule,
which no mask can surpass by much. Introduced in notebooks/06_one_avm.ipynb.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.errors import SettingsError
from avnb.evaluation.localization import CHUNK, Trial, trials_of
from avnb.metrics.retrieval import chance, retrieval
from avnb.metrics.separation import Separation, separation
from avnb.models.base import Method
from avnb.models.baselines.nmf import separate_nmf
from avnb.models.baselines.rpca import separate_rpca
from avnb.networks.separation_masks import RULES, ideal_separation
from avnb.training.runs import Run

WITHOUT_LEARNING = ("nmf", "rpca")
NAMELESS = WITHOUT_LEARNING  # their parts have no names and are given to the sources in the best order
IDEAL = tuple(f"ideal_{rule}" for rule in RULES)


@dataclass(frozen=True)
class Heard:
    """Duets taken apart, at ``rate`` Hz: the true sources, their sum, and what each named method makes of it."""

    references: Float[Tensor, "mixtures sources samples"]
    mixture: Float[Tensor, "mixtures samples"]
    estimates: Mapping[str, Float[Tensor, "mixtures sources samples"]]
    rate: int


def duet_trial(limit: int = 0, sources: int = 2) -> Trial:
    """Return the trial that separation is judged on: sums of solo clips, each source on its own frame."""
    return Trial("duet", sources, "separate", threshold_rule="none", limit=limit)


def judge_listening(
    method: Method, store: Store, run: Run, others: Sequence[str] = (), limit: int = 0, progress: bool = True
) -> list[dict[str, Any]]:
    """Judge a method's separation and retrieval and write the rows beside the others in the run's metrics.json.

    ``others`` are judged with it: "nmf", "rpca", "ideal_half_mixture" and the other rules. Returns the new rows.
    """
    rows = judge_separation(method, store, others, limit, progress) if hasattr(method, "separate") else []
    rows += judge_retrieval(method, store, limit, progress)
    path = run.folder / "metrics.json"
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
    kept = [row for row in said["rows"] if not {"SDR", "IR-Acc"} & row.keys()]
    said |= {"origin": store.origin, "settings": method.settings.as_dict(), "rows": kept + rows}
    run.write_json("metrics.json", said)
    return rows


def judge_separation(
    method: Method, store: Store, others: Sequence[str] = (), limit: int = 0, progress: bool = True
) -> list[dict[str, Any]]:
    """Return a row each for the method, the ``others`` and the mixture: SDR, SIR, SAR and the SDR's gain, in dB.

    Means over the sources of all clips but the "dropped", where a source or an estimate is silent. The mixture has no
    artefacts, so its SAR is None.
    """
    trial = duet_trial(limit)
    found: dict[str, list[Separation]] = {}
    for heard in separated(method, store, trial, others, progress):
        estimates = {name: value.cpu().numpy() for name, value in heard.estimates.items()}
        named = heard.references.cpu().numpy(), estimates, heard.mixture.cpu().numpy()
        for name, part in separation(*named, best_pairing=NAMELESS, progress=False).items():
            found.setdefault(name, []).append(part)
    rows = []
    for name, parts in found.items():
        scores = _joined(parts)
        row = _protocol(name, store, trial, int(scores.kept.sum()))
        row["classes"] = "best_pairing" if name in NAMELESS else "none"
        row["dropped"] = scores.dropped
        rows.append(row | {metric: _told(value) for metric, value in scores.means.items()})
    return rows


def separated(
    method: Method, store: Store, trial: Trial, others: Sequence[str] = (), progress: bool = True
) -> Iterator[Heard]:
    """Yield the trial's mixtures, some at a time, as they are, as they were, and as each method takes them apart.

    Raises SettingsError where one of ``others`` is not known.
    """
    from tqdm.auto import tqdm

    if unknown := [name for name in others if name not in WITHOUT_LEARNING + IDEAL]:
        raise SettingsError(
            f'There is no "{unknown[0]}" that separates without learning. There are: '
            f"{', '.join(WITHOUT_LEARNING + IDEAL)}."
        )
    mixtures = trial.mixtures(store)
    device = torch.device(method.settings.device)
    method.eval()
    bar = tqdm(total=len(mixtures), desc="separate", unit="mixture", disable=not progress, leave=False)
    for start in range(0, len(mixtures), CHUNK):
        batch = make_batch(store, mixtures[start : start + CHUNK], trial.recipe).to(device)
        yield take_apart(method, batch.source_frames, batch.source_waveforms, others)
        bar.update(len(mixtures[start : start + CHUNK]))
    bar.close()


@torch.inference_mode()
def take_apart(
    method: Method,
    frames: Tensor,
    waveforms: Float[Tensor, "mixtures sources time"],
    others: Sequence[str] = (),
) -> Heard:
    """Add the sources of each mixture up, and let the method and the ``others`` take the sum apart again.

    ``frames`` [mixtures, sources, 3, height, width] tell the method what to look for; the waveforms are the store's.
    """
    rate, front = method.rate, method.spectrogram
    references = method.resample(waveforms)
    mixture = references.sum(dim=1)
    with autocast(waveforms.device):
        own = method.separate(frames, waveforms.sum(dim=1)).float()
    estimates = {method.settings.METHOD: own}
    for name in others:
        if name == "nmf":
            estimates[name] = separate_nmf(mixture, rate, references.shape[1])
        elif name == "rpca":
            estimates[name] = separate_rpca(mixture)
        else:
            rule = name.removeprefix("ideal_")
            estimates[name] = ideal_separation(references, rule, front.n_fft, front.hop)
    return Heard(references, mixture, estimates, rate)


def judge_retrieval(method: Method, store: Store, limit: int = 0, progress: bool = True) -> list[dict[str, Any]]:
    """Return a row for the method and one for chance: IR-Acc, xNN-Acc and wNN-Acc, in percent.

    The gallery are all test clips with one sounding class; clips of one video are no neighbours of each other.
    """
    trial = next(trial for trial in trials_of(store, limit) if trial.sources == 1)
    clips = trial.mixtures(store)[:, 0]
    trial = replace(trial, threshold_rule="none")
    audio, visual = embeddings(method, store, clips, progress)
    classes = torch.from_numpy(store.labels[clips].argmax(axis=1))
    videos = torch.from_numpy(store.clips["video"][clips].astype(np.int64))
    rows = []
    for name, scores in (
        (method.settings.METHOD, retrieval(audio, visual, classes, videos)),
        ("random", chance(classes, videos)),
    ):
        row = _protocol(name, store, trial, len(clips)) | {"gallery": len(clips)}
        rows.append(row | {metric: None if math.isnan(value) else round(value, 2) for metric, value in scores.items()})
    return rows


@torch.inference_mode()
def embeddings(
    method: Method, store: Store, clips: Int[np.ndarray, " clips"], progress: bool = True
) -> tuple[Float[Tensor, "clips dim"], Float[Tensor, "clips dim"]]:
    """Return the "audio" and "visual" vectors that the method's embed() gives single clips, on the CPU."""
    from tqdm.auto import tqdm

    device, recipe = torch.device(method.settings.device), Trial("solo").recipe
    method.eval()
    found: dict[str, list[Tensor]] = {"audio": [], "visual": []}
    bar = tqdm(total=len(clips), desc="embed", unit="clip", disable=not progress, leave=False)
    for start in range(0, len(clips), CHUNK):
        batch = make_batch(store, clips[start : start + CHUNK, None], recipe).to(device)
        with autocast(device):
            vectors = method.embed(batch)
        for name, parts in found.items():
            parts.append(vectors[name][:, 0].float().cpu())
        bar.update(len(batch))
    bar.close()
    return torch.cat(found["audio"]), torch.cat(found["visual"])


def _protocol(name: str, store: Store, trial: Trial, clips: int) -> dict[str, Any]:
    return {
        "method": name, "benchmark": store.name, "subset": trial.subset, "sources": trial.sources,
        "geometry": trial.geometry, "classes": "none", "threshold_rule": "none", "clips": clips,
        "origin": store.origin,
    }  # fmt: skip


def _joined(parts: Sequence[Separation]) -> Separation:
    names = ("sdr", "sir", "sar", "mixture_sdr", "mixture_sir", "mixture_sar")
    return Separation(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _told(decibels: float) -> float | None:
    """Return a ratio to be shown and written: None where nothing was judged or nothing is wrong (100 dB)."""
    return round(decibels, 2) if decibels < 100 else None
