"""What test_distributed.py has done by each of the processes that torchrun starts: python two_processes.py FOLDER DATA.

FOLDER takes what they find, and DATA is the tiny benchmark.
"""

import copy
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from unittest.mock import patch

import torch
from contract_batches import batch_for, build, through_stages
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d

from avnb.data.build import open_store
from avnb.data.clips import Batch
from avnb.data.store import ClipShape, Store
from avnb.devices import own_rows, process_count, process_number, shared_batches, sum_of_all
from avnb.models import METHODS
from avnb.networks.encoders import FrozenLite
from avnb.networks.spectrograms import FrontEnd
from avnb.networks.statistics import share_statistics
from avnb.training.fit import fit
from avnb.training.processes import joined, whole_loss
from avnb.training.runs import Run

ROWS = 4  # of the whole batch, of which either process has a pair


def gradients(name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield, for every stage and recipe of a method in doubles, each term of the loss and each weight's gradient.

    Networks train: their dropout is drawn, and their batch norms see the whole batch.
    """
    torch.manual_seed(0)
    method = build(name, "quick").double().train()
    for module in list(method.modules()):  # what counts in floats whatever it is given
        if isinstance(module, FrontEnd):
            module.float().forward = row_by_row(module.forward)
        if isinstance(module, FrozenLite):
            module.forward = colours
    share_statistics(method)
    loss = whole_loss(method)
    for stage in through_stages(method):
        for number, recipe in enumerate(stage.recipes):
            torch.manual_seed(1)
            method.zero_grad()
            with shared_batches(ROWS):
                terms = loss(own_part(in_doubles(batch_for(recipe, batch=ROWS))))
                terms["total"].backward()
            for term, value in terms.items():
                yield f"{stage.name}-{number}/{term}", sum_of_all(value) / process_count()
            for weight, value in method.named_parameters():
                if value.grad is not None:
                    yield f"{stage.name}-{number}/{weight}", value.grad.clone()


def row_by_row(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a network whose answer to a row is the same to the last bit, whatever rows come with it."""
    return lambda rows: torch.cat([network(row[None]) for row in rows]).double()


def colours(frames: Tensor) -> Tensor:
    """Return what stands in for the frozen trunk's maps: mean colours, added up in as many ways as it has channels."""
    ways = torch.linspace(-1, 1, 3 * FrozenLite.channels, dtype=torch.float64).view(FrozenLite.channels, 3)
    means = avg_pool2d(frames.double() / 255, FrozenLite.stride)
    return torch.einsum("c k, b k h w -> b c h w", ways.sin(), means).contiguous()


def own_part(batch: Batch) -> Batch:
    """Return this process's rows of a batch."""
    there = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(batch, **{name: own_rows(value) for name, value in there.items() if value is not None})


def in_doubles(batch: Batch) -> Batch:
    """Return a batch whose numbers that are not whole are doubles."""
    there = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return replace(
        batch, **{name: it.double() for name, it in there.items() if it is not None and it.is_floating_point()}
    )


def trained(name: str, store: Store, folder: Path) -> dict[str, object]:
    """Train a method through all its stages, and once more from where it stood after an epoch; return the facts."""
    known = [entry.name for entry in fields(METHODS[name].SETTINGS)]
    lengths = {setting: 1 for setting in known if setting.endswith("_epochs")}
    changes = {"epochs": 2, "batch_size": 8, "limit": 8, **({"dim": 16} if "dim" in known else {}), **lengths}
    whole, again = Run(folder / "whole"), folder / "again"
    save = Run.save_epoch

    def save_epoch(run: Run, *rest: object, **how: object) -> None:
        save(run, *rest, **how)
        if run is whole and len(run.history) == 1 and process_number() == 0:
            shutil.copytree(run.folder, again)

    with patch.object(Run, "save_epoch", save_epoch):
        method = build(name, "quick", **changes)
        new = copy.deepcopy(method)
        history = fit(method, store, whole, progress=False)
        other = fit(new, store, Run(again), progress=False)
    return {
        "stages": sorted({stage.name for stage in method.stages()} ^ {row["stage"] for row in history}),
        "losses": [[row["total"] for row in rows] for rows in (history, other)],
        "files": [path.name for path in sorted(whole.folder.glob("*.safetensors")) if not is_same(path, again)],
    }


def is_same(path: Path, folder: Path) -> bool:
    """Tell whether a folder holds the same tensors under the same name."""
    one, other = load_file(path), load_file(folder / path.name)
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def main(folder: Path, data: Path) -> None:
    """Write the gradients of every method, and what became of its training."""
    store = open_store(data, ClipShape(size=64, rate=8000, seconds=1.0), progress=False)
    facts = {}
    with joined():
        for name in METHODS:
            found = dict(gradients(name))
            if process_number() == 0:
                save_file({key: value.contiguous() for key, value in found.items()}, folder / f"{name}.safetensors")
        for name in METHODS:
            facts[name] = trained(name, store, folder / name / "tiny")
    if process_number() == 0:
        (folder / "trained.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
