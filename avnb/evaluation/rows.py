"""A row of results: what was judged, how, and the numbers; one form for all that evaluation writes and tables read.

Introduced in notebooks/04_avgn.ipynb.
"""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from avnb.config import Settings
from avnb.data.store import Store, published_truth
from avnb.evaluation.trials import Trial
from avnb.metrics import trivial
from avnb.models.baselines.named import NamedSettings
from avnb.networks.separation_masks import RULES

# What a row says of how its numbers came about; all else in a row, but for "method" and "classes", is a number.
PROTOCOL = (
    "benchmark", "subset", "sources", "geometry", "protocol", "threshold_rule", "truth", "clips", "dropped", "gallery",
    "trained", "origin",
)  # fmt: skip

# In which ways a method can be asked for its sources; the first it has is the one it is ranked by.
ASKED = {
    "oracle": "true classes given", "best_pairing": "maps matched to the truth", "none": "",
    "predicted": "its own classes",
}  # fmt: skip

WITHOUT_LEARNING = ("nmf", "rpca")  # what separates without training
NO_TRAINING = (NamedSettings.METHOD,)  # what localizes real photographs without training
IDEAL = tuple(f"ideal_{rule}" for rule in RULES)  # masks made of the true sources
NO_MODEL = (*trivial.NAMES, *trivial.TILED, "flat", *IDEAL)
DECIBELS = ("SDR", "SIR", "SAR", "SDR gain")
FROM_ZERO_TO_ONE = ("NMI",)  # everything else is a percentage


def protocol_of(
    method: str, store: Store, trial: Trial, clips: int, classes: str = "none", rule: str = "none", trained: str = ""
) -> dict[str, Any]:
    """Return the beginning of a row: who was judged, on what and how; "truth" where it is not the benchmark's own."""
    row = {
        "method": method, "benchmark": store.name, "subset": trial.subset, "sources": trial.sources,
        "geometry": trial.geometry, "classes": classes, "threshold_rule": rule, "clips": clips,
        "origin": store.origin,
    }  # fmt: skip
    judged = {} if rule == "none" else {"protocol": trial.protocol}
    truth = {} if store.truth == published_truth(store.name) else {"truth": store.truth}
    return row | judged | truth | ({"trained": trained} if trained else {})


def training_of(settings: Settings) -> str:
    """Return how long a method was trained, stage by stage: "8 epochs", or for DSOL "3 + 7 + 9 epochs".

    What was trained in no run of ours says so itself.
    """
    if hasattr(settings, "TRAINED"):
        return settings.TRAINED
    counts = [getattr(settings, field.name) for field in fields(settings) if field.name.endswith("epochs")]
    return f"{' + '.join(map(str, counts))} epoch{'' if counts == [1] else 's'}"


RULED = ("IoU", "CIoU", "AUC", "Precision", "F1", "max-F1", "mean IoU", "IIoU", "IAUC", "statement AP", "LocAcc")


def needs_a_rule(metric: str) -> bool:
    """Tell whether a metric is of regions, which a threshold rule cuts from maps."""
    return metric.partition("@")[0] in RULED


def pick(rows: Iterable[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows whose entries are as wanted: ``pick(rows, subset="duet", classes=("oracle", "none"))``."""
    allowed = {name: value if isinstance(value, tuple) else (value,) for name, value in wanted.items()}
    return [row for row in rows if all(row[name] in values for name, values in allowed.items())]
