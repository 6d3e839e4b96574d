"""Method x benchmark -> rows of separation: SDR, SIR, SAR, and the gain over the mixture.

The rows have the form of `avnb.evaluation.rows` and stand beside those of localization in a run's metrics.json.
Separation is judged on sums of two solo clips, whose sources are known, each source asked for by its own frame; beside
a method stand the mixture as it is, what separates without learning (NMF, RPCA), and the ideal masks of each rule,
which no mask can surpass by much. Introduced in notebooks/06_one_avm.ipynb.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.devices import autocast
from avnb.errors import SettingsError
from avnb.evaluation.chunks import chunks
from avnb.evaluation.retrieval import judge_retrieval
from avnb.evaluation.rows import IDEAL, WITHOUT_LEARNING, protocol_of, training_of
from avnb.evaluation.trials import Trial, duet_trial
from avnb.metrics.separation import Separation, separation
from avnb.models.base import Method, Separates
from avnb.models.baselines.nmf import separate_nmf
from avnb.models.baselines.rpca import separate_rpca
from avnb.networks.separation_masks import ideal_separation
from avnb.training.runs import Run

AT_ONCE = 256  # mixtures judged at once: enough for all cores, and a few hundred MB


@dataclass(frozen=True)
class Heard:
    """Duets taken apart, at ``rate`` Hz: the true sources, their sum, and what each named method makes of it."""

    references: Float[Tensor, "mixtures sources samples"]
    mixture: Float[Tensor, "mixtures samples"]
    estimates: Mapping[str, Float[Tensor, "mixtures sources samples"]]
    rate: int


def judge_listening(
    method: Method, store: Store, run: Run, others: Sequence[str] = (), limit: int = 0, progress: bool = True
) -> list[dict[str, Any]]:
    """Judge a method's separation and retrieval and write the rows beside the others in the run's metrics.json.

    ``others`` are judged with it: "nmf", "rpca", "ideal_half_mixture" and the other rules. Returns the new rows.
    """
    rows = judge_separation(method, store, others, limit, progress) if isinstance(method, Separates) else []
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
    trial = duet_trial(store, limit)
    found: dict[str, list[Separation]] = {}
    for heard in _gathered(separated(method, store, trial, others, progress)):
        estimates = {name: value.numpy() for name, value in heard.estimates.items()}
        named = heard.references.numpy(), estimates, heard.mixture.numpy()
        for name, part in separation(*named, best_pairing=WITHOUT_LEARNING, progress=progress).items():
            found.setdefault(name, []).append(part)
    rows = []
    for name, parts in found.items():
        scores = _joined(parts)
        way = "best_pairing" if name in WITHOUT_LEARNING else "none"  # their parts have no names
        trained = training_of(method.settings) if name == method.settings.METHOD else ""
        row = protocol_of(name, store, trial, int(scores.kept.sum()), way, trained=trained)
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
    for part in chunks(len(mixtures), device):
        batch = make_batch(store, mixtures[part], trial.recipe).to(device)
        heard = take_apart(method, batch.source_frames, batch.source_waveforms, others)
        estimates = {name: value.cpu() for name, value in heard.estimates.items()}
        yield Heard(heard.references.cpu(), heard.mixture.cpu(), estimates, heard.rate)
        bar.update(len(mixtures[part]))
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
    references = method.resampled(waveforms)
    mixture = references.sum(dim=1)
    with autocast(waveforms.device):
        own = method.separate(frames, waveforms.sum(dim=1)).float()
    estimates = {method.settings.METHOD: own}
    for name in others:
        if name == "nmf":
            estimates[name] = separate_nmf(mixture, method.rate, references.shape[1])
        elif name == "rpca":
            estimates[name] = separate_rpca(mixture)
        else:
            rule = name.removeprefix("ideal_")
            estimates[name] = ideal_separation(references, rule, *method.stft_window)
    return Heard(references, mixture, estimates, method.rate)


def _gathered(parts: Iterator[Heard]) -> Iterator[Heard]:
    """Yield the same mixtures, so many at once that judging them is worth every core."""
    waiting: list[Heard] = []
    for part in parts:
        waiting.append(part)
        if sum(len(heard.mixture) for heard in waiting) >= AT_ONCE:
            yield _one(waiting)
            waiting = []
    if waiting:
        yield _one(waiting)


def _one(parts: Sequence[Heard]) -> Heard:
    estimates = {name: torch.cat([part.estimates[name] for part in parts]) for name in parts[0].estimates}
    together = (torch.cat([getattr(part, name) for part in parts]) for name in ("references", "mixture"))
    return Heard(*together, estimates, parts[0].rate)


def _joined(parts: Sequence[Separation]) -> Separation:
    names = ("sdr", "sir", "sar", "mixture_sdr", "mixture_sir", "mixture_sar")
    return Separation(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _told(decibels: float) -> float | None:
    """Return a ratio to be shown and written: None where nothing was judged or nothing is wrong (100 dB)."""
    return round(decibels, 2) if decibels < 100 else None
