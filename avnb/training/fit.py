"""fit(): the only training loop.

Chance is a function of (seed, stage, epoch) and the learning rate of the step, so that a run that was interrupted and
resumed ends where an uninterrupted one does, to the bit on a CPU. Introduced in notebooks/04_avgn.ipynb.
"""

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.arrays import cached_array
from avnb.data.augment import augment
from avnb.data.clips import Batch, Recipe
from avnb.data.mixing import draw_partners, grid_features, make_batch, shrunk, side_by_side
from avnb.data.store import Store
from avnb.devices import autocast, repeatable
from avnb.errors import RunError, SettingsError
from avnb.metrics.localization import average_precision, in_best_order, upsample
from avnb.models.base import Method, Query, Stage, is_accuracy
from avnb.training.runs import Run, saved_state

HELD_OUT = 0.1  # of the training clips, for validation where a benchmark has no such split
WARM_UP = 0.1  # of a one-cycle schedule


@dataclass(frozen=True)
class Examples:
    """The clips that a method is trained and validated on, and the frozen trunk's features of them."""

    store: Store
    train: Int[np.ndarray, " train_clips"]
    val: Int[np.ndarray, " val_clips"]
    features: np.ndarray | None
    half_features: np.ndarray | None = None  # of the frames at half their size: the tiles of a 2x2 scene

    def batch(self, mixture: Int[np.ndarray, "batch clips"], recipe: Recipe, truth: bool = False) -> Batch:
        """Return the batch of these mixtures, with the frozen trunk's features where they can be laid out."""
        batch = make_batch(self.store, mixture, recipe, truth)
        if recipe.geometry == "grid":
            if self.half_features is None:
                return batch
            tiles = torch.from_numpy(self.half_features[mixture]).float()
            return replace(batch, features=grid_features(tiles, mixture))
        if self.features is None:
            return batch
        tiles = torch.from_numpy(self.features[mixture]).float()
        if recipe.geometry == "separate":
            return replace(batch, features=rearrange(tiles, "b n c h w -> (b n) c h w"))
        if recipe.geometry == "first":
            return replace(batch, features=tiles[:, 0])
        return replace(batch, features=side_by_side(tiles))


def fit(method: Method, store: Store, run: Run, progress: bool = True) -> list[dict[str, Any]]:
    """Train ``method`` on the store's solo clips, a checkpoint an epoch, and return the history.

    Continues where ``run`` stands; leaves the weights of the epoch that counts, ``run.best``, in ``method``. Raises
    RunError on a loss that is not a number, naming the batch, and SettingsError on a batch larger than the split.
    Ctrl-C keeps every finished epoch.
    """
    from tqdm.auto import tqdm

    settings = method.settings
    device = torch.device(settings.device)
    method.to(device, memory_format=torch.channels_last)
    examples = gather_examples(method, store, progress)
    optimizer = torch.optim.AdamW(
        _parameter_groups(method), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    stages = method.stages()
    for stage in stages:
        _validation_mixtures(examples, stage, settings)  # clips that cannot be mixed stop the run now, not in an hour
    beginning = {name: value.clone() for name, value in saved_state(method).items()}
    if run.history:
        run.load_last(method, optimizer)
    plan = [(number, epoch) for number, stage in enumerate(stages) for epoch in range(stage.epochs)]
    per_epoch = len(examples.train) // settings.batch_size
    bar = tqdm(total=len(plan), initial=len(run.history), desc=settings.METHOD, unit="epoch", disable=not progress)
    try:
        for done in range(len(run.history), len(plan)):
            number, epoch = plan[done]
            stage = stages[number]
            torch.manual_seed(_seed(settings.seed, number, epoch))
            if epoch == 0 and stage.begin is not None:
                told = replace(stage, recipes=stage.begin_with or stage.recipes)
                stage.begin(partial(_batches, examples, told, settings, (number, 0)))
            started = time.perf_counter()
            first, last = _cycle(stages, number)
            cycle = last - first, (done - first) * per_epoch
            with repeatable(device):
                steps = _train_epoch(method, examples, stage, optimizer, (number, epoch), *cycle, bar)
            row = {"epoch": done + 1, "stage": stage.name, **steps, **validate(method, examples, stage)}
            seconds = time.perf_counter() - started
            row["seconds"] = round(seconds, 2)
            row["pairs_per_second"] = round(per_epoch * settings.batch_size / seconds, 1)
            # A stage begins where the one before ended, and is judged on other mixtures: its own best epoch counts.
            better = run.best is None or plan[run.best][0] != number or _score(row) >= _score(run.history[run.best])
            better = better or method.KEEPS == "last"
            run.save_epoch(method, optimizer, row, better)
            bar.update()
    except KeyboardInterrupt:
        if not run.history:  # running again begins again, not from half an epoch
            method.load_state_dict(beginning, strict=False)
        bar.write(
            f"Stopped in epoch {len(run.history) + 1}; the {len(run.history)} before it are kept. Run again to go on."
        )
        raise
    finally:
        bar.close()
    run.load_best(method)
    return run.history


def gather_examples(method: Method, store: Store, progress: bool = True) -> Examples:
    """Choose the clips to train and validate on, and cache the features of a frozen trunk beside the store."""
    settings = method.settings
    train = _sources(store, "train")
    if ("val", "solo") in store.count():
        val = _sources(store, "val")
    else:  # whole videos are held out: clips of one are too much alike
        videos = store.clips["video"][train]
        order = np.random.default_rng(0).permutation(np.unique(videos))
        held = np.isin(videos, order[: max(1, round(HELD_OUT * len(order)))])
        train, val = train[~held], train[held]
    if settings.limit:
        train, val = (part[:: max(1, len(part) // settings.limit)][: settings.limit] for part in (train, val))
    if settings.batch_size > len(train):
        raise SettingsError(
            f'batch_size = {settings.batch_size} is larger than the training split of "{store.name}", which offers '
            f"{len(train)} solo clips{' under this limit' if settings.limit else ''}; take at most that many."
        )
    features = half = None
    if method.trunk.frozen:
        wanted = np.concatenate([train, val])
        features = cached_features(method.trunk, store, wanted, settings.device, progress)
        if any(recipe.geometry == "grid" for stage in method.stages() for recipe in stage.recipes + stage.validation):
            half = cached_features(method.trunk, store, wanted, settings.device, progress, shrink=2)
    return Examples(store, train, val, features, half)


def _sources(store: Store, split: str) -> Int[np.ndarray, " clips"]:
    """Return a split's clips that mixtures are made of: its solos, or all clips, with one sounding class."""
    clips = store.select(split, "solo" if (split, "solo") in store.count() else None)
    return clips[store.labels[clips].sum(axis=1) == 1]


def cached_features(
    trunk: torch.nn.Module,
    store: Store,
    wanted: Int[np.ndarray, " wanted"],
    device: str,
    progress: bool,
    shrink: int = 1,
) -> Float[np.ndarray, "clips channels rows columns"]:
    """Return the frozen trunk's maps of the wanted clips (half precision), computed at most once per store.

    With ``shrink`` 2, of their frames at half the size, which are the tiles of a 2x2 scene.
    """
    from tqdm.auto import tqdm

    trunk = trunk.to(device)
    rows = store.shape.size // shrink // trunk.stride

    def compute(array: np.ndarray) -> None:
        bar = tqdm(total=len(wanted), desc="features of the frozen trunk", unit="frame", disable=not progress)
        for chunk in np.array_split(wanted, math.ceil(len(wanted) / 32)):
            frames = store.read_frames(chunk).to(device)
            array[chunk] = trunk(frames if shrink == 1 else shrunk(frames)).cpu().numpy()
            bar.update(len(chunk))
        bar.close()

    mark = f"{type(trunk).__name__}-{'' if shrink == 1 else 'half-'}{hashlib.sha256(wanted.tobytes()).hexdigest()[:8]}"
    return cached_array(store.folder / f"{mark}~cache.npy", (len(store), trunk.channels, rows, rows), compute)


@torch.no_grad()
def validate(method: Method, examples: Examples, stage: Stage) -> dict[str, float]:
    """Return "val_loss" and, where the validation clips have ground truth, "val_ap" (0..100), on fixed mixtures.

    ``val_ap`` is the mean pixel-wise AP over the sources of the stage's mixtures, classes given, or the maps in their
    best order where they have no names; "val_ap_predicted", where the method knows classes, the same with 0 for every
    source whose class it does not name.
    """
    method.eval()
    settings, device = method.settings, torch.device(method.settings.device)
    losses, scores, named = [], [], []
    shares: dict[str, list[float]] = {}  # what a method's loss calls an accuracy
    size = min(settings.batch_size, len(examples.val))
    judged = examples.store.has_truth(examples.val).all()
    for recipe, mixtures in _validation_mixtures(examples, stage, settings):
        for start in range(0, len(mixtures) - size + 1, size):
            batch = examples.batch(mixtures[start : start + size], recipe, truth=bool(judged)).to(device)
            with autocast(device):
                terms = method.loss(batch)
                losses.append(terms["total"].item())
                for name in terms:
                    if is_accuracy(name):
                        shares.setdefault(name, []).append(terms[name].item())
                maps = method.localize(Query.of(batch))
                probabilities = method.recognize(batch.mixture)
            if judged and probabilities is not None:
                own = probabilities.topk(recipe.sources).indices
                named.append((batch.source_classes[:, :, None] == own[:, None]).any(dim=2).flatten())
            if judged:
                maps = upsample(maps.float(), batch.truth.shape[-2:])
                if "best_pairing" in method.CLASSES:
                    order = in_best_order(maps, batch.truth)
                    maps = maps[torch.arange(len(maps), device=maps.device)[:, None], order]
                maps = maps.flatten(0, 1)
                scores.append(average_precision(maps, batch.truth.flatten(0, 1)))
    row = {"val_loss": float(np.mean(losses))}
    row |= {f"val_{name}": 100 * float(np.mean(values)) for name, values in shares.items()}
    if judged:
        row["val_ap"] = 100 * float(torch.cat(scores).nanmean())
    if named:
        row["val_ap_predicted"] = 100 * float((torch.cat(scores) * torch.cat(named)).nanmean())
    return row


def _validation_mixtures(
    examples: Examples, stage: Stage, settings: Any
) -> list[tuple[Recipe, Int[np.ndarray, "mixtures clips"]]]:
    """Return the recipes a stage is judged on, with a mixture for every validation clip, the same in every epoch."""
    store, val = examples.store, examples.val
    recipes = stage.validation or stage.recipes
    generators = (np.random.default_rng([settings.seed, number]) for number in range(len(recipes)))
    return [
        (recipe, draw_partners(store, val, val, recipe.clips, generator, recipe.distinct_classes))
        for recipe, generator in zip(recipes, generators, strict=True)
    ]


def _train_epoch(
    method: Method,
    examples: Examples,
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    place: tuple[int, int],
    epochs: int,
    step: int,
    bar: Any,
) -> dict[str, float]:
    settings, device = method.settings, torch.device(method.settings.device)
    method.train()
    totals: dict[str, Tensor] = {}
    steps = len(examples.train) // settings.batch_size
    for number, (mixture, recipe, batch) in enumerate(_batches(examples, stage, settings, place)):
        batch = augment(batch.to(device), recipe, crop=settings.crop)
        for group in optimizer.param_groups:
            rate = settings.learning_rate * _schedule(settings.schedule, (step + number) / (epochs * steps))
            group["lr"] = rate * group["faster"]
        with autocast(device):
            terms = method.loss(batch)
        if not torch.isfinite(terms["total"]):
            ids = ", ".join(examples.store.ids[clip].decode() for clip in mixture[:3].flatten())
            raise RunError(
                f"The loss is {terms['total'].item()} in batch {number + 1} of epoch {place[1] + 1} ({stage.name}), "
                f"whose first clips are {ids}. Lower learning_rate (now {settings.learning_rate:g}) and run again; the "
                f"epochs before this one are kept."
            )
        optimizer.zero_grad(set_to_none=True)
        terms["total"].backward()
        optimizer.step()
        for name, value in terms.items():
            totals[name] = totals.get(name, 0) + value.detach()
        if number % 5 == 0:
            bar.set_postfix_str(f"batch {number + 1}/{steps}, loss {terms['total'].item():.3f}")
    return {name: float(value) / steps for name, value in totals.items()}


def _batches(
    examples: Examples, stage: Stage, settings: Any, place: tuple[int, int]
) -> Iterator[tuple[np.ndarray, Recipe, Batch]]:
    """Yield every training clip once, in mixtures of the stage's recipes, whose batches take turns."""
    generator = np.random.default_rng([settings.seed, *place])
    order = generator.permutation(examples.train)
    for number in range(len(order) // settings.batch_size):
        recipe = stage.recipes[number % len(stage.recipes)]
        anchors = order[number * settings.batch_size : (number + 1) * settings.batch_size]
        mixture = draw_partners(
            examples.store, anchors, examples.train, recipe.clips, generator, recipe.distinct_classes
        )
        yield mixture, recipe, examples.batch(mixture, recipe)


def _parameter_groups(method: Method) -> list[dict[str, Any]]:
    """Return the trained weights, and beside them those of the layers that learn faster."""
    groups: dict[float, list[torch.nn.Parameter]] = {1.0: []}
    for name, weight in method.named_parameters():
        if weight.requires_grad:
            groups.setdefault(method.FASTER.get(name.split(".")[0], 1.0), []).append(weight)
    return [{"params": weights, "faster": factor} for factor, weights in groups.items()]


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
