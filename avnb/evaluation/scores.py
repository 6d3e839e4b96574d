"""From maps and the truth to a row's numbers: the same for methods and for what needs no model."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from avnb.data.mixing import grid_truth, sounding_classes, truth_of
from avnb.data.store import Store
from avnb.evaluation.trials import Trial, judged_together
from avnb.metrics import protocols
from avnb.metrics.localization import (
    area_under_curve,
    average_precision,
    class_mean,
    f1_at,
    iou,
    max_f1,
    nsa,
    piap,
    precision_at,
    region_of,
    success_rate,
)

Part = dict[str, Tensor]  # the scores of some mixtures: a value a source or a mixture


def true_places(
    store: Store, mixtures: Int[np.ndarray, "mixtures clips"], trial: Trial, device: torch.device
) -> Float[Tensor, "mixtures sources height width"]:
    """Return where each source truly is."""
    truth = truth_of(store, mixtures, trial.recipe)
    return truth.reshape(-1, trial.sources, *truth.shape[2:]).to(device)


def score(
    maps: Float[Tensor, "batch sources height width"],
    truth: Float[Tensor, "batch sources height width"],
    rule: protocols.Rule,
    trial: Trial,
    named: Bool[Tensor, "batch sources"] | None = None,
    joint: Float[Tensor, "batch sources height width"] | None = None,
    ranking: Part | None = None,
) -> Part:
    """Return "ap" and "iou" per source, [batch, sources], 0 where not ``named``, and "piap" per image, [batch].

    Source-wise and of the union, which ask nobody whose a map is, the maps that are judged are those of ``joint``; the
    union's "iou" is one an image, [batch]. ``ranking`` are the scores of the same maps under another protocol or rule,
    whose "ap" and "piap" are the same.
    """
    flat, flat_truth = maps.flatten(0, 1), truth.flatten(0, 1)
    shown = maps if joint is None else joint
    if ranking is None:
        ap = average_precision(flat, flat_truth).reshape(truth.shape[:2])
        ranking = {"ap": (ap if named is None else ap * named).cpu(), "piap": piap(shown, truth).cpu()}
    if trial.protocol == protocols.SOURCE_WISE:
        overlap = protocols.source_wise(shown, truth, rule, trial.tiles)
    elif trial.protocol == protocols.UNION:
        overlap = protocols.union(shown, truth, rule)
    else:
        overlap = iou(region_of(rule, flat, flat_truth), flat_truth).reshape(truth.shape[:2])
        overlap = overlap if named is None else overlap * named
    return {"ap": ranking["ap"], "iou": overlap.cpu(), "piap": ranking["piap"]}


@dataclass(frozen=True)
class Silence:
    """What is to be quiet: which classes do not sound and, in 2x2 scenes, where the two silent objects are."""

    truth: Float[Tensor, "batch sources height width"]
    unheard: Bool[Tensor, "batch classes"]
    places: Float[Tensor, "batch silent height width"] | None = None
    classes: Int[Tensor, "batch silent"] | None = None

    @classmethod
    def of(cls, store: Store, mixtures: Int[np.ndarray, "batch clips"], truth: Tensor, trial: Trial) -> "Silence":
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


def recordings_of(
    store: Store, trial: Trial, mixtures: Int[np.ndarray, "mixtures clips"]
) -> Int[Tensor, " mixtures"] | None:
    """Return of which picture each clip is, where the benchmark asks for all sounds of a picture; None elsewhere."""
    if not judged_together(store.name, trial.subset):
        return None
    return torch.from_numpy(np.unique(store.clips["video"][mixtures[:, 0]], return_inverse=True)[1])


def summary(
    parts: list[Part], trial: Trial, at: float, recordings: Int[Tensor, " mixtures"] | None = None
) -> dict[str, float]:
    """Return the numbers of a row, in percent; of one source also those that ask for an IoU of ``at``.

    With ``recordings`` there are "IIoU" and "IAUC" too: of the worst of each picture's sounds.

    "sure" among the parts is how sure the method is of each image, 0..1; who has no confidence always speaks.
    """
    ap, overlap, joint = (torch.cat([part[name] for part in parts]) for name in ("ap", "iou", "piap"))
    single = trial.sources == 1
    row = {"AP" if single else "CAP": float(class_mean(ap).nanmean())}
    if trial.in_one_picture:
        row["PIAP"] = float(joint.nanmean())
    elif single:
        row["PIAP"] = row["AP"]  # one map against one truth; OneAVM prints it so
    row |= protocols.numbers(trial.protocol, overlap, trial.in_one_picture)
    if single and trial.protocol == protocols.FRAME_WISE:
        image_iou = class_mean(overlap)
        sure = torch.cat([part["sure"] if "sure" in part else torch.ones(len(part["iou"])) for part in parts])
        judged = image_iou, sure, at, torch.ones_like(sure, dtype=torch.bool)
        row |= {
            f"Precision@{at}": precision_at(image_iou, at), f"F1@{at}": f1_at(*judged),
            f"max-F1@{at}": max_f1(*judged),
        }  # fmt: skip
    if recordings is not None and trial.protocol == protocols.FRAME_WISE:
        worst = torch.full((int(recordings.max()) + 1,), torch.inf, dtype=overlap.dtype)
        worst = worst.scatter_reduce(0, recordings, overlap[:, 0].nan_to_num(torch.inf), "amin")
        row |= {"IIoU": success_rate(worst, 0.5), "IAUC": area_under_curve(worst)}
    extra = {"nsa": "NSA", "sounding": "on sounding", "silent": "on silent"}
    row |= {
        title: float(torch.cat([part[name] for part in parts]).nanmean())
        for name, title in extra.items()
        if name in parts[0]
    }
    return {name: round(100 * value, 2) for name, value in row.items()}
