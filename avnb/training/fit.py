"""fit(): the only training loop.

Chance is a function of (seed, stage, epoch) and the learning rate of the step, so that a run that was interrupted and
resumed ends where an uninterrupted one does, to the bit on a CPU. Introduced in notebooks/04_avgn.ipynb.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avnb.config import Settings
from avnb.data.augment import augment
from avnb.data.clips import Batch, Recipe
from avnb.data.mixing import mixed
from avnb.data.store import Store
from avnb.devices import (
    agreed,
    autocast,
    fastest,
    first_before_others,
    from_all,
    process_count,
    process_number,
    repeatable,
    shared_batches,
    sum_of_all,
)
from avnb.errors import RunError
from avnb.metrics.localization import average_precision, in_best_order, upsample
from avnb.models.base import RATES, Method, Query, Stage, is_accuracy
from avnb.networks.statistics import average_statistics
from avnb.paths import shown
from avnb.training.examples import Examples, gather_examples
from avnb.training.launch import check_count, is_to_be_launched, launch
from avnb.training.processes import (
    check_shares,
    done_by_the_first,
    done_though_told_to_end,
    together,
    whole_loss,
)
from avnb.training.runs import Run, saved_state

WARM_UP = 0.1  # of a one-cycle schedule
ASKED_EVERY = 50  # steps after which a GPU is asked for its losses: each answer makes the next step wait


def fit(method: Method, store: Store, run: Run, progress: bool = True, wait: bool = False) -> list[dict[str, Any]]:
    """Train ``method`` on the store's solo clips and return the history, whose epochs are on the disk when it ends.

    Continues where ``run`` stands; leaves the weights of the epoch that counts, ``run.best``, in ``method``. Raises
    RunError on a loss that is not a number, naming the batch, and SettingsError on a batch larger than the split.
    Ctrl-C keeps every finished epoch. Raises RunInUseError where another process trains the run, unless it is to
    ``wait`` for that. With several processes all call it, with the same.
    """
    settings, stages = method.settings, method.stages()
    device = torch.device(settings.device)
    method.to(device, memory_format=torch.channels_last)
    check_count(settings)
    if process_count() > 1:
        check_shares(settings)
    progress = progress and process_number() == 0
    with first_before_others():
        examples = gather_examples(method, method.lessons(store), progress)
    for stage in stages:
        examples.validation(stage, settings.seed)  # clips that cannot be mixed stop the run now, not in an hour
    plan = [(number, epoch) for number, stage in enumerate(stages) for epoch in range(stage.epochs)]
    left = agreed(len(run.history) < len(plan))
    if left and is_to_be_launched(settings):
        launch(settings, store)
        run.reload()
    elif left:
        with run.alone(wait):
            together()
            run.reload()
            _check_disk(run)
            run.note_data(store)
            _train(method, examples, run, plan, progress)
            if examples.pool and process_number() == 0:
                method.listen.write_down()
            together()
    run.load_best(method)
    method.class_names = store.classes
    return run.history


def _check_disk(run: Run) -> None:
    """Raise RunError where a process does not see the run that the first one writes."""
    if agreed(len(run.history)) != len(run.history) or not run.folder.exists():
        raise RunError(f"{shown(run.folder)} is not the same for all processes; point AVNB_OUTPUTS to a shared disk.")


def _train(method: Method, examples: Examples, run: Run, plan: list[tuple[int, int]], progress: bool) -> None:
    """Train what ``run`` lacks of the ``plan``: the stage of each epoch, and the epoch's number in it."""
    from tqdm.auto import tqdm

    settings, optimizer = method.settings, _optimizer(method)
    beginning = {name: value.clone() for name, value in saved_state(method).items()}
    if run.history:
        run.load_last(method, optimizer)
    if settings.clips_on_gpu:
        examples = examples.kept_on(torch.device(settings.device))
    if settings.compile:
        _compile(method)
    loss = whole_loss(method)
    bar = tqdm(total=len(plan), initial=len(run.history), desc=settings.METHOD, unit="epoch", disable=not progress)
    try:
        for place in plan[len(run.history) :]:
            row = {"epoch": len(run.history) + 1, **_epoch(method, loss, examples, optimizer, place, bar)}
            # A stage begins where the one before ended, and is judged on other mixtures: its own best epoch counts.
            better = run.best is None or plan[run.best][0] != place[0] or _score(row) >= _score(run.history[run.best])
            run.save_epoch(method, optimizer, row, better or method.KEEPS == "last", at_once=False)
            bar.update()
    except (KeyboardInterrupt, RunError) as error:
        if not run.history:  # running again begins again, not from half an epoch
            method.load_state_dict(beginning, strict=False)
        if isinstance(error, KeyboardInterrupt) and process_number() == 0:
            kept = len(run.history)
            bar.write(f"Stopped in epoch {kept + 1}; the {kept} before it are kept. Run again to go on.")
        raise
    finally:
        done_though_told_to_end(run.write_epochs)
        bar.close()


def _optimizer(method: Method) -> torch.optim.Optimizer:
    """Return AdamW over the trained weights, with those of the layers that learn faster in groups of their own."""
    groups: dict[float, list[torch.nn.Parameter]] = {1.0: []}
    for name, weight in method.named_parameters():
        if weight.requires_grad:
            groups.setdefault(method.FASTER.get(name.split(".")[0], 1.0), []).append(weight)
    settings = method.settings
    return torch.optim.AdamW(
        [{"params": weights, "faster": factor} for factor, weights in groups.items()],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True if torch.device(settings.device).type == "cuda" else None,  # one kernel instead of fifteen
    )


def _compile(method: Method) -> None:
    """Compile the networks in place: the losses, which are small, have shapes and branches that are not worth it."""
    for network in (method.trunk, getattr(method, "listen", None)):
        if network is not None and torch.device(method.settings.device).type == "cuda":
            network.compile()


def _epoch(
    method: Method,
    loss: Callable[[Batch], dict[str, Tensor]],
    examples: Examples,
    optimizer: torch.optim.Optimizer,
    place: tuple[int, int],
    bar: Any,
) -> dict[str, Any]:
    """Train an epoch of a stage, after what begins the stage, and return its row of the history."""
    settings, stages, (number, epoch) = method.settings, method.stages(), place
    stage, device = stages[number], torch.device(settings.device)
    torch.manual_seed(_seed(settings.seed, number, epoch))
    if epoch == 0 and stage.begin is not None:
        told = replace(stage, recipes=stage.begin_with or stage.recipes)
        done_by_the_first(method, partial(stage.begin, partial(examples.batches, told, settings, (number, 0))))
    started = time.perf_counter()
    steps = len(examples.train) // settings.batch_size
    first, last = _cycle(stages, number)
    before = sum(stage.epochs for stage in stages[:number]) + epoch - first  # epochs of the schedule that are over

    def rate(step: int) -> float:
        done = (before * steps + step) / ((last - first) * steps)
        return settings.learning_rate * _schedule(settings.schedule, done)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    kernels = repeatable(device, on_gpu=True) if settings.repeatable or device.type == "cpu" else fastest(device)
    with kernels:
        terms = _train_epoch(method, loss, examples, stage, optimizer, place, rate, bar)
    row = {"stage": stage.name, **terms, **validate(method, examples, stage)}
    seconds = time.perf_counter() - started
    row["seconds"] = round(seconds, 2)
    row["pairs_per_second"] = round(steps * settings.batch_size / seconds, 1)
    if device.type == "cuda":
        row["gpu_gigabytes"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 2)  # at most
    return row


def _train_epoch(
    method: Method,
    loss: Callable[[Batch], dict[str, Tensor]],
    examples: Examples,
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    place: tuple[int, int],
    rate: Callable[[int], float],
    bar: Any,
) -> dict[str, float]:
    """Take a step for every batch of an epoch, and return the mean of each term of the loss."""
    settings, device = method.settings, torch.device(method.settings.device)
    steps, started = len(examples.train) // settings.batch_size, time.perf_counter()
    losses = Losses(device)
    method.train()
    with shared_batches(settings.batch_size), closing(examples.batches_on(device, stage, settings, place)) as batches:
        for number, (mixture, recipe, raw) in enumerate(batches):
            batch = augment(mixed(raw, recipe), recipe, settings.crop, sound=not examples.pool)
            for group in optimizer.param_groups:
                group["lr"] = rate(number) * group["faster"]
            with autocast(device):
                terms = loss(batch)
            losses.add(terms, examples.store.ids[mixture[:3].flatten()])
            if device.type == "cpu" or number % ASKED_EVERY == 0 or number + 1 == steps:
                if refused := losses.not_a_number():
                    raise RunError(_not_a_number(*refused, stage, place, settings))
                if number % 5 == 0:
                    speed = (number + 1) * settings.batch_size / (time.perf_counter() - started)
                    now = terms["total"].item()
                    told = f"batch {number + 1}/{steps}, loss {now:.3f}, {speed:,.0f} pairs/s{_memory(device)}"
                    bar.set_postfix_str(told)
            optimizer.zero_grad(set_to_none=True)
            terms["total"].backward()
            optimizer.step()
    average_statistics(method)
    return losses.means()


def _not_a_number(batch: int, loss: float, clips: str, stage: Stage, place: tuple[int, int], settings: Settings) -> str:
    return (
        f"The loss is {loss} in batch {batch} of epoch {place[1] + 1} ({stage.name}), whose first clips are {clips}. "
        f"Lower learning_rate (now {settings.learning_rate:g}) and run again; the epochs before this one are kept."
    )


def _memory(device: torch.device) -> str:
    return f", {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB" if device.type == "cuda" else ""


class Losses:
    """The terms of an epoch's losses, added up on the device that computes them, and the first that was no number."""

    def __init__(self, device: torch.device) -> None:
        self.steps, self.totals = 0, {}
        self.names: dict[int, np.ndarray] = {}  # of the first clips of each batch since the device was asked
        self.bad = torch.zeros((), dtype=torch.int64, device=device)  # the first such batch, counted from 1
        self.value = torch.zeros((), device=device)

    def add(self, terms: Mapping[str, Tensor], ids: np.ndarray) -> None:
        """Add the terms of the next batch, whose first clips are ``ids``; nothing waits for them."""
        self.steps += 1
        self.names[self.steps] = ids
        for name, value in terms.items():
            self.totals[name] = self.totals.get(name, 0) + value.detach()
        total = terms["total"].detach().float()
        new = ~torch.isfinite(total) & (self.bad == 0)
        self.bad, self.value = torch.where(new, self.steps, self.bad), torch.where(new, total, self.value)

    def not_a_number(self) -> tuple[int, float, str] | None:
        """Return the first batch whose loss was no number, that loss and its first clips; wait for the device."""
        batch = int(self.bad)
        if batch:
            return batch, float(self.value), ", ".join(name.decode() for name in self.names[batch])
        self.names.clear()
        return None

    def means(self) -> dict[str, float]:
        """Return the mean of each term over the batches, and over the processes that shared them."""
        count = self.steps * process_count()
        return {name: float(sum_of_all(value)) / count for name, value in self.totals.items()}


@torch.no_grad()
def validate(method: Method, examples: Examples, stage: Stage) -> dict[str, float]:
    """Return "val_loss" and, where the validation clips have ground truth, "val_ap" (0..100), on fixed mixtures.

    ``val_ap`` is the mean pixel-wise AP over the sources of the stage's mixtures, classes given, or the maps in their
    best order where they have no names; "val_ap_predicted", where the method knows classes, the same with 0 for every
    source whose class it does not name. Of classes that are said to sound and to be seen (`Method.presence`) there are
    "val_audio_precision", "val_audio_recall", "val_audio_F1" and the same of "visual", over all mixtures together.
    """
    method.eval()
    settings, parts = method.settings, []
    judged = bool(examples.store.has_truth(examples.val).all())
    for recipe, mixtures in examples.validation(stage, settings.seed):
        size = min(settings.batch_size, len(mixtures))
        parts += [(recipe, mixtures[start : start + size]) for start in range(0, len(mixtures) - size + 1, size)]
    answers = []
    for number in range(process_number(), len(parts), process_count()):
        recipe, mixtures = parts[number]
        answers.append((number, _answer(method, examples.batch(mixtures, recipe, truth=judged), recipe, judged)))
    found = [answer for _, answer in sorted(from_all(answers), key=lambda numbered: numbered[0])]
    row = {"val_loss": float(np.mean([answer["loss"] for answer in found]))}
    row |= {f"val_{name}": 100 * float(np.mean([it[name] for it in found])) for name in found[0] if is_accuracy(name)}
    for name in found[0]["present"]:
        row |= {f"val_{name}_{rate}": value for rate, value in _rates(sum(it["present"][name] for it in found)).items()}
    if judged:
        scores = torch.cat([answer["scores"] for answer in found])
        row["val_ap"] = 100 * float(scores.nanmean())
    if judged and "named" in found[0]:
        named = torch.cat([answer["named"] for answer in found])
        row["val_ap_predicted"] = 100 * float((scores * named).nanmean())
    return row


def _answer(method: Method, batch: Batch, recipe: Recipe, judged: bool) -> dict[str, Any]:
    """Return a validation batch's "loss", what a method's loss calls an accuracy, and, ``judged``, its sources' APs.

    These are "scores", and "named" is which sources are of a class that the method names. "present" counts the classes
    that it says sound and are seen: those that do, all of them, and all that do.
    """
    device = torch.device(method.settings.device)
    batch = batch.to(device)
    with autocast(device), _answered_once(method):
        terms = method.loss(batch)
        maps, present = method.localize(Query.of(batch)), method.presence(batch)
        probabilities = present["audio"] if present else method.recognize(batch.mixture)
    said = {"loss": terms["total"].item()}
    said |= {name: value.item() for name, value in terms.items() if is_accuracy(name)}
    there = {"audio": batch.labels, "visual": torch.zeros_like(batch.labels).scatter_(1, batch.source_classes, 1.0)}
    said["present"] = {name: _counts(value > 0.5, there[name] > 0) for name, value in present.items()}
    if judged and probabilities is not None:
        own = probabilities.topk(recipe.sources).indices
        said["named"] = (batch.source_classes[:, :, None] == own[:, None]).any(dim=2).flatten().cpu()
    if judged:
        maps = upsample(maps.float(), batch.truth.shape[-2:])
        if "best_pairing" in method.CLASSES:
            order = in_best_order(maps, batch.truth)
            maps = maps[torch.arange(len(maps), device=maps.device)[:, None], order]
        said["scores"] = average_precision(maps.flatten(0, 1), batch.truth.flatten(0, 1)).cpu()
    return said


@contextmanager
def _answered_once(method: Method) -> Iterator[None]:
    """Let ``method(...)`` give again what it gave for the same tensors: its loss, maps and classes share a forward."""
    forward, known = method.forward, {}

    def answer(*asked: Tensor | None) -> Any:
        key = tuple(map(id, asked))
        if key not in known:
            known[key] = asked, forward(*asked)  # with the tensors, which keep their ids while they live
        return known[key][1]

    method.forward = answer
    try:
        yield
    finally:
        del method.forward


def _counts(named: Tensor, there: Tensor) -> Tensor:
    """Return how many classes are named and there, are named, and are there."""
    return torch.stack([(named & there).sum(), named.sum(), there.sum()]).cpu()


def _rates(counts: Tensor) -> dict[str, float]:
    """Return precision, recall and F1 in percent; what is not named is 0, not undefined."""
    right, named, there = counts.tolist()
    values = right / max(named, 1), right / max(there, 1), 2 * right / max(named + there, 1)
    return {name: 100 * value for name, value in zip(RATES, values, strict=True)}


def _cycle(stages: Sequence[Stage], number: int) -> tuple[int, int]:
    """Return the first epoch of the learning rate's schedule that a stage is part of, and the first after it."""
    begins = [0, *accumulate(stage.epochs for stage in stages)]
    anew = [place for place, stage in enumerate(stages) if place == 0 or stage.anew]
    first = max(place for place in anew if place <= number)
    return begins[first], begins[min((place for place in anew if place > number), default=len(stages))]


def _schedule(name: str, done: float) -> float:
    """Return the learning rate's factor when ``done`` (0..1) of the training is over."""
    if name == "constant":
        return 1.0
    if done < WARM_UP:
        return max(0.05, done / WARM_UP)
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _score(row: dict[str, Any]) -> float:
    """Return what the best epoch has most of: the mean of the APs with classes given and predicted, else -loss.

    A validation that is not a number never wins.
    """
    aps = [row[name] for name in ("val_ap", "val_ap_predicted") if name in row]
    score = sum(aps) / len(aps) if aps else -row["val_loss"]
    return score if math.isfinite(score) else -math.inf
