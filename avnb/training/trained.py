"""Trained methods: the networks of the runs under outputs/, found, trained where there is none, and loaded.

Introduced in notebooks/09_tsne.ipynb.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from avnb.config import Settings, did_you_mean
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.store import Store
from avnb.datasets import locate, open_data, training_set
from avnb.devices import pick_device
from avnb.errors import RunError, SettingsError
from avnb.models import METHODS
from avnb.models.base import Method
from avnb.networks.encoders import filled_later
from avnb.paths import shown
from avnb.training.fit import fit
from avnb.training.runs import NOT_PART_OF_THE_RESULT, Run, find_runs, start_from

OF_THE_DATA = ("dataset", "origin", "seed", "preset", "limit")  # what a usual run may have been told


def load_method(run: Run, classes: int, device: str = "auto") -> Method:
    """Return the network that ``run`` trained, with its best epoch's weights, ready to be asked.

    ``classes`` is how many there are in the data it was trained on. Raises RunError where the run's settings cannot be
    read or do not fit its weights.
    """
    settings = replace(settings_of(run), device=pick_device(device))
    with filled_later():
        method = METHODS[settings.METHOD](settings, classes)
    run.load_best(method)
    return method.to(settings.device, memory_format=torch.channels_last).eval()


def train(settings: Settings, store: Store, progress: bool = True) -> tuple[Method, Run]:
    """Return the method that these settings make of the store's solo clips, ready to be asked, and its run.

    A finished run is loaded, one that was stopped goes on, and ``run.history`` has a row an epoch. Where another data
    set is trained on, the run is the store's own with that training's weights and history. Raises what
    `avnb.training.fit.fit` raises, and RunError where ``init_from`` is no run.
    """
    if other := training_set(settings, store):
        learner, lessons = open_data(settings.of_training(other), progress)
        method, trained = train(learner, lessons, progress)
        run = Run.of(settings, store.name, store.digest)
        run.borrow(trained)
        return method, run
    torch.manual_seed(settings.seed)
    method = METHODS[settings.METHOD](settings, len(store.classes))
    if start := getattr(settings, "init_from", ""):
        start_from(method, settings.METHOD, start)
    run = Run.of(settings, store.name, store.digest)
    fit(method, store, run, progress)
    return method.eval(), run


def load(name: str, dataset: str = "music", device: str = "auto") -> Method:
    """Return a trained method: of its finished run on ``dataset``, or the one in a run's folder under outputs/.

    >>> avnb.load("avgn"), avnb.load("outputs/avgn/music/paper-seed0-12ab34cd")  # doctest: +SKIP

    Raises SettingsError where ``name`` is neither, and RunError where no run of the method is finished.
    """
    return load_with_classes(name, dataset, device)[0]


def load_with_classes(name: str, dataset: str = "music", device: str = "auto") -> tuple[Method, tuple[str, ...]]:
    """Return what `load` returns, and the names of the classes that the method was trained on, in its order."""
    folder = Path(name)
    if (folder / "history.json").exists():
        run, info = Run(folder.resolve()), locate(folder.resolve().parent.name)
    else:
        check_names([name])
        info = locate(dataset)
        run = usual_run(name, info.name, info.origin)
    if run is None:
        raise RunError(
            f"No run of {name} on {info.name} is finished. Its notebook trains it, and so does avnb-train {name}."
        )
    return load_method(run, len(info.classes), device), info.classes


def check_names(names: Iterable[str]) -> None:
    """Raise SettingsError for the first name that is no method's."""
    for name in names:
        if name not in METHODS:
            raise SettingsError(
                f'There is no method "{name}".{did_you_mean(name, METHODS)} There are: {", ".join(METHODS)}.'
            )


def settings_of(run: Run) -> Settings:
    """Return the settings that ``run`` was trained with; raise RunError where they are missing or not understood."""
    path = run.folder / "settings.json"
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return METHODS[said["method"]].SETTINGS.from_dict(said)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{shown(path)} does not say how this run was trained ({error!r}); delete its folder to train anew."
        ) from None


def usual_run(name: str, benchmark: str, origin: str) -> Run | None:
    """Return the finished run by which a method is known: its preset as it is, no limit and the lowest seed first.

    Where there are only runs with other settings (an ablation, say) it is the newest of them; None without any on
    clips of this ``origin``, "real" or "stand-in".
    """
    runs = [run for run in find_runs(name, benchmark) if run.best is not None and _origin(run) == origin]
    usual = [run for run in runs if is_usual(settings_of(run))]
    return min(usual or runs[:1], key=lambda run: (settings_of(run).limit > 0, settings_of(run).seed), default=None)


def is_usual(settings: Settings, but_for: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Tell whether the settings are a preset's own, ``but_for`` what is named, whatever the data, seed and device."""
    told = {name: getattr(settings, name) for name in OF_THE_DATA} | dict(but_for)
    if settings.dataset in BENCHMARKS and settings.train_dataset == BENCHMARKS[settings.dataset].trained_on:
        told["train_dataset"] = settings.train_dataset
    preset = type(settings)(**told).resolve(settings.device)
    told_apart = preset.as_dict().keys() - set(NOT_PART_OF_THE_RESULT)
    return all(getattr(settings, name) == getattr(preset, name) for name in told_apart)


def trained_methods(
    names: Iterable[str], store: Store, settings: Settings, train: Iterable[str] = (), progress: bool = True
) -> dict[str, Method]:
    """Return the trained networks of the named methods, in their order, and print which run each is, or why it is not.

    A method without a run is trained if ``train`` names it (with ``settings``' preset, seed, limit, and epochs and
    batch size if given) and left out otherwise. Raises SettingsError for a method there is not.
    """
    names, wanted = list(names), set(train)
    check_names((*names, *wanted))
    found = {}
    for name in names:
        run = usual_run(name, store.name, store.origin)
        if run is None and name not in wanted:
            print(f"{name}: left out, since no run of it on {store.name} is finished; its notebook trains it")
            continue
        if run is not None:
            print(f"{name}: {shown(run.folder)}")
            found[name] = load_method(run, len(store.classes), settings.device)
            continue
        print(f"{name}: no run on {store.name} is finished, so it is trained now")
        found[name], run = _train_like(settings, name, store, progress)
        print(f"{name}: {shown(run.folder)}")
    return found


def _origin(run: Run) -> str:
    return json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["origin"]


def _train_like(settings: Settings, name: str, store: Store, progress: bool) -> tuple[Method, Run]:
    """Train a method with settings that agree with ``settings`` in what every method has."""
    given = {entry.name: getattr(settings, entry.name) for entry in fields(Settings)}
    return train(METHODS[name].SETTINGS(**given).resolve(settings.device), store, progress)
