"""Trained methods: the networks of the runs under outputs/, found, trained where there is none, and loaded.

Introduced in notebooks/09_tsne.ipynb.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from avnb.config import Settings, did_you_mean
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.folder import DatasetInfo
from avnb.data.store import Store
from avnb.datasets import locate, open_data, training_set
from avnb.devices import first_before_others, pick_device
from avnb.errors import RunError, SettingsError
from avnb.models import METHODS
from avnb.models.base import Method
from avnb.models.baselines.named import Named, NamedSettings
from avnb.networks.encoders import filled_later
from avnb.paths import outputs_dir, say_where, shown
from avnb.training.fit import fit
from avnb.training.published import HUB, SEAL, SHIPPED, check_seal, download
from avnb.training.runs import NOT_PART_OF_THE_RESULT, Run, find_runs

OF_THE_DATA = ("dataset", "origin", "seed", "preset", "limit")  # what a usual run may have been told


def load_method(run: Run, classes: Sequence[str], device: str = "auto") -> Method:
    """Return the network that ``run`` trained, with its best epoch's weights, ready to be asked.

    ``classes`` are those of the data it is to be asked about. Raises RunError where the run was trained on others or in
    another order, and where its settings cannot be read or do not fit its weights.
    """
    if not of_classes(run, classes):
        raise RunError(
            f"{shown(run.folder)} was trained on other classes than the data has now, or in another order: "
            f"{', '.join(run.data['classes'])}. Train it anew, or bring the classes of dataset.json back."
        )
    settings = replace(settings_of(run), device=pick_device(device))
    with filled_later():
        method = METHODS[settings.METHOD](settings, len(classes))
    run.load_best(method)
    method.class_names = tuple(classes)
    return method.to(settings.device, memory_format=torch.channels_last).eval()


def train(settings: Settings, store: Store, progress: bool = True, wait: bool = False) -> tuple[Method, Run]:
    """Return the method that these settings make of the store's solo clips, ready to be asked, and its run.

    A finished run is loaded, one that was stopped goes on, and ``run.history`` has a row an epoch. Where another data
    set is trained on, the run is the store's own with that training's weights and history. A run that another process
    trains is an error, unless ``wait``. Raises what `avnb.training.fit.fit` raises, and RunError where ``init_from`` is
    no run.
    """
    if other := training_set(settings, store):
        learner, lessons = open_data(settings.of_training(other), progress)
        method, trained = train(learner, lessons, progress, wait)
        run = Run.of(settings, store.name, store.digest)
        with first_before_others():
            run.borrow(trained)
        return method, run
    torch.manual_seed(settings.seed)
    method = METHODS[settings.METHOD](settings, len(store.classes))
    if start := getattr(settings, "init_from", ""):
        start_from(method, settings.METHOD, start)
    run = Run.of(settings, store.name, store.digest)
    say_where(f"{settings.METHOD} has its run", run.folder, "AVNB_OUTPUTS")
    fit(method, store, run, progress, wait)
    return method.eval(), run


def start_from(model: nn.Module, method: str, name: str) -> None:
    """Put the best epoch of another run into ``model``, before it is trained (OneAVM, Table 4).

    ``name`` is "benchmark/run" as under outputs/<method>, or a run's folder. Raises RunError naming the runs there are.
    """
    places = outputs_dir() / method / name, Path(name)
    folder = next((place for place in places if (place / "history.json").exists()), None)
    if folder is None:
        there = sorted(path.parent for path in (outputs_dir() / method).glob("*/*/history.json"))
        known = ", ".join(f"{path.parent.name}/{path.name}" for path in there) or "none yet"
        raise RunError(f'init_from = "{name}" is no run of {method} with a finished epoch. There are: {known}.')
    Run(folder).load_best(model)


def load(name: str, dataset: str = "", device: str = "auto") -> Method:
    """Return a trained method: one that comes with avnb, that of your own run on ``dataset``, or a folder's.

    >>> avnb.load("avgn")  # trained on the drawn stand-in; it comes with avnb  # doctest: +SKIP
    >>> avnb.load("avgn", "music")  # your own finished run  # doctest: +SKIP
    >>> avnb.load("outputs/avgn/music/paper-seed0-12ab34cd")  # a run's folder  # doctest: +SKIP
    >>> avnb.load("hf://user/name")  # what `Run.publish` put there, or into a folder  # doctest: +SKIP
    >>> avnb.load("named", "music")  # what needs no training, about the data set's classes  # doctest: +SKIP

    Raises SettingsError where ``name`` is none of these, and RunError where there are no such weights, where a run of
    the method on ``dataset`` is not finished, or where a published file is not as it was published.
    """
    if name.startswith(HUB):
        return _load_published(download(name.removeprefix(HUB)), device)
    folder = Path(name)
    if (folder / SEAL).exists():
        return _load_published(folder, device)
    if (folder / "settings.json").exists():
        run = Run(folder.resolve())
        return load_method(run, run.data.get("classes") or locate(run.folder.parent.name).classes, device)
    if name == NamedSettings.METHOD:
        return Named(locate(dataset).classes if dataset else (), device=device)
    check_names([name])
    if not dataset:
        if not (SHIPPED / name / SEAL).exists():
            come = ", ".join(sorted(path.parent.name for path in SHIPPED.glob(f"*/{SEAL}"))) or "none"
            raise RunError(
                f"No weights of {name} come with avnb (there are: {come}). Train it, with avnb-train {name} or its "
                f'notebook, and name what it was trained on: avnb.load("{name}", "music").'
            )
        return _load_published(SHIPPED / name, device)
    info = locate(dataset)
    run = usual_run(name, info, any_classes=True)
    if run is None:
        raise RunError(
            f"No run of {name} on {info.name} is finished. Its notebook trains it, and so does avnb-train {name}."
        )
    return load_method(run, run.data.get("classes", info.classes), device)


def _load_published(folder: Path, device: str) -> Method:
    check_seal(folder)
    run = Run(folder)
    return load_method(run, run.data["classes"], device)


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


def of_classes(run: Run, classes: Sequence[str]) -> bool:
    """Tell whether the run was trained on these classes in this order; a run that does not say so is believed."""
    return run.data.get("classes", tuple(classes)) == tuple(classes)


def usual_run(name: str, data: Store | DatasetInfo, any_classes: bool = False) -> Run | None:
    """Return the finished run by which a method is known: its preset as it is, no limit and the lowest seed first.

    Where there are only runs with other settings (an ablation, say) it is the newest of them; None without any that was
    trained for ``data``: its name, its origin and, unless ``any_classes`` will do, its classes in their order.
    """
    runs = [run for run in find_runs(name, data.name) if run.best is not None and _origin(run) == data.origin]
    runs = [run for run in runs if any_classes or of_classes(run, data.classes)]
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
        run = usual_run(name, store)
        why = f"no run of it on {store.name} is finished{_with_other_classes(name, store)}"
        if run is None and name not in wanted:
            print(f"{name}: left out, since {why}; its notebook trains it")
            continue
        if run is not None:
            changed = run.data.get("digest", store.digest) != store.digest
            print(f"{name}: {shown(run.folder)}{', trained before the clips were changed' if changed else ''}")
            found[name] = load_method(run, store.classes, settings.device)
            continue
        print(f"{name}: {why}, so it is trained now")
        found[name], run = _train_like(settings, name, store, progress)
        print(f"{name}: {shown(run.folder)}")
    return found


def at_hand(name: str, store: Store, device: str = "auto") -> Method | None:
    """Return a method that need not be trained, and print which weights it has; None where there are none.

    They are those of its run on the store, else, for a stand-in of the classes that they know, those that come with
    avnb. Raises SettingsError for a method there is not. Introduced in notebooks/13_your_own_video.ipynb.
    """
    check_names([name])
    if run := usual_run(name, store):
        print(f"{name}: the weights of your run {shown(run.folder)}")
        return load_method(run, store.classes, device)
    said = Run(SHIPPED / name).data
    if (said.get("classes"), said.get("origin")) != (store.classes, store.origin):
        return None
    method = load(name, device=device)
    print(f"{name}: the weights that come with avnb, trained on the {said['origin']} (seed {method.settings.seed})")
    return method


def _with_other_classes(name: str, data: Store | DatasetInfo) -> str:
    """Return the words that say that there are runs, but of other classes; none where there are none."""
    others = [run for run in find_runs(name, data.name) if not of_classes(run, data.classes)]
    return f" ({shown(others[0].folder)} knows other classes, or in another order)" if others else ""


def _origin(run: Run) -> str:
    """Return on what a run was judged; "" with a warning where its metrics.json is damaged."""
    try:
        return str(json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["origin"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{shown(run.folder)} is passed over: its metrics.json is damaged ({error!r}).", stacklevel=3)
        return ""


def _train_like(settings: Settings, name: str, store: Store, progress: bool) -> tuple[Method, Run]:
    """Train a method with settings that agree with ``settings`` in what every method has."""
    given = {entry.name: getattr(settings, entry.name) for entry in fields(Settings)}
    return train(METHODS[name].SETTINGS(**given).resolve(settings.device), store, progress)
