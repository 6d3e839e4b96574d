"""outputs/<method>/<benchmark>/<run>: settings, weights, optimizer state, history, metrics and maps of a run.

history.json is written last in every epoch and names the files that belong to it, so that a run killed at any moment
leaves its last complete epoch. Tensors are kept as safetensors: nothing here is ever unpickled.
"""

import errno
import glob
import hashlib
import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from avnb.config import Settings
from avnb.data.arrays import checksums
from avnb.data.locks import locked, remove_abandoned
from avnb.data.store import Store
from avnb.devices import agreed, process_number
from avnb.errors import RunError, RunInUseError
from avnb.paths import outputs_dir, shown, whole_file
from avnb.training.published import HUB, PARTS, SEAL, card, seal, upload

NOT_PART_OF_THE_RESULT = ("device", "devices", "resume", "ablation", "sweep", "repeatable", "compile", "clips_on_gpu")
SAID_BY_THE_FOLDER = ("dataset", "origin", "preset", "seed")  # of outputs/<method>/<benchmark>/<preset>-seed<seed>-...
ASKED_EVERY = 5.0  # seconds after which a run that another process trains is asked for again
WRITTEN_SHARE = 9  # times what writing an epoch took are trained before the next is written
TRAIN_ANEW = "If no process is training it now, delete its folder to train anew."
HALF = (2.0**-8, 65504.0)  # what the largest number of maps may be, to be kept in half precision
MAKE_ROOM = "Free some space, or point AVNB_OUTPUTS to a folder that can be written."


class Run:
    """A run's folder. ``history`` has a row per finished epoch; the row with the best validation is ``best``."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._unwritten: dict[str, dict[str, Tensor]] = {}  # by the name of the file that they will be
        self._write_seconds, self._written_at = 0.0, -math.inf
        self.reload()

    def reload(self) -> None:
        """Read the history again: another process may have trained since."""
        self.history: list[dict[str, Any]] = []
        self.best: int | None = None
        self.checks: dict[str, list[int]] = {}  # of weights and optimizer states: length and checksum
        if (self.weights_folder / "history.json").exists():
            self.history, self.best, self.checks = _read_history(self.weights_folder / "history.json")
        self.epochs_written = len(self.history)

    @property
    def weights_folder(self) -> Path:
        """Where the weights and the history lie: in the run's own folder, or in that of a run on other data."""
        try:
            return outputs_dir() / str(json.loads((self.folder / "trained.json").read_text(encoding="utf-8"))["run"])
        except (FileNotFoundError, NotADirectoryError):  # what cannot be written is said where it is written
            return self.folder
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{shown(self.folder)}/trained.json is damaged ({error!r}); delete the folder.") from None

    def borrow(self, trained: "Run") -> None:
        """Take the weights and the history of a run that was trained on other data, which stay where they are."""
        self.write_json("trained.json", {"run": trained.folder.relative_to(outputs_dir()).as_posix()})
        self.reload()

    def note_data(self, store: Store) -> None:
        """Keep what the run is trained on: its classes in their order, and the digest of its clips."""
        said = {"benchmark": store.name, "origin": store.origin, "classes": store.classes, "digest": store.digest}
        self.write_json("data.json", said)

    @property
    def data(self) -> dict[str, Any]:
        """What `note_data` kept; empty for a run that is older than it. Raises RunError where it cannot be read."""
        path = self.weights_folder / "data.json"
        if not path.exists():
            return {}
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            return {**said, "classes": tuple(str(name) for name in said["classes"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{shown(path)} does not say what this run was trained on ({error!r}); delete its folder to train anew."
            ) from None

    @contextmanager
    def alone(self, wait: bool = False) -> Iterator[None]:
        """Let one process at a time train the run; raise RunInUseError in the second, unless it is to ``wait``.

        The lock is the system's, which takes it back when the process ends, however that ends. Processes that train
        together are one, of which the first holds the lock. What a process that was killed was writing is deleted.
        """
        told = False
        while True:
            with self._taken() as free:
                if agreed(free):
                    yield
                    return
            if not wait:
                raise RunInUseError(
                    f"{shown(self.folder)} is being trained by another process. Wait for it to end, or train with "
                    "resume = False, which takes a folder of its own."
                )
            if not told and not process_number():
                print(f"{shown(self.folder)} is being trained by another process, which is waited for.", flush=True)
            told = True
            time.sleep(ASKED_EVERY)

    @contextmanager
    def _taken(self) -> Iterator[bool]:
        """Hold the run's lock; yield False where another process has it. Of several together the first holds it."""
        if process_number():
            yield True
            return
        with locked(self.folder / "lock") as free:
            if free:
                for kind in ("weights", "optimizer", "history", "data"):  # which nobody writes without the lock
                    for leftover in self.folder.glob(f".{kind}*.tmp"):
                        leftover.unlink(missing_ok=True)
                remove_abandoned(self.folder)
            yield free

    @classmethod
    def of(cls, settings: Settings, benchmark: str, data: str = "") -> "Run":
        """Return the run of these settings on this data: the one on disk if there is one, else a new one.

        A run is known by what differs from its preset, so that an option that comes later, at its default, leaves the
        runs of before found. ``data`` is what tells two data sets of one name apart (`Store.digest`). A folder of its
        own is taken with ``settings.resume`` false, and where a preset has changed since the folder was written.
        """
        asked = {name: value for name, value in _unusual(settings).items() if name not in SAID_BY_THE_FOLDER}
        mark = hashlib.sha256(json.dumps([asked, data], sort_keys=True).encode()).hexdigest()[:8]
        base = outputs_dir() / settings.METHOD / benchmark / f"{settings.preset}-seed{settings.seed}-{mark}"
        folders = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in count(1))
        run = cls(agreed(next(it for it in folders if not it.exists() or (settings.resume and _agrees(it, settings)))))
        run._keep("settings.json", {"method": settings.METHOD, "benchmark": benchmark, **settings.as_dict()})
        return run

    def _keep(self, name: str, said: Any) -> None:
        """Write a JSON file unless it says just that already: a finished run may lie on a disk that is read-only."""
        try:
            if json.loads((self.folder / name).read_text(encoding="utf-8")) == json.loads(json.dumps(said)):
                return
        except (OSError, ValueError):
            pass
        self.write_json(name, said)

    def save_epoch(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        row: dict[str, Any],
        better: bool,
        at_once: bool = True,
    ) -> None:
        """Count an epoch as finished: its weights and optimizer state on the disk, then the history that says so.

        Unless ``at_once``, it is kept in memory where writing would take more than a tenth of the time; `write_epochs`
        writes it then. Raises RunError where the disk is full; what was written before is still whole then.
        """
        number, before = len(self.history), self._unwritten
        best = number if better else self.best
        if process_number():  # the first writes
            self.history, self.best = [*self.history, row], best
            return
        tensors = {f"weights-{number:04d}": saved_state(model), f"optimizer-{number:04d}": _flat(optimizer)}
        wanted = {*tensors, f"weights-{best:04d}"}
        self._unwritten = {name: value for name, value in before.items() if name in wanted} | tensors
        history = [*self.history, row]
        if at_once or time.monotonic() - self._written_at >= WRITTEN_SHARE * self._write_seconds:
            try:
                self._write(history, best)
            except BaseException:
                if len(self.history) == number:
                    self._unwritten = before
                raise
        else:
            for name, state in tensors.items():
                self._unwritten[name] = {key: value.detach().to("cpu", copy=True) for key, value in state.items()}
            self.history, self.best = history, best

    def write_epochs(self) -> None:
        """Write what `save_epoch` has kept in memory; raise RunError where the disk is full.

        What stops it in its midst leaves a run that is whole, and may call it again.
        """
        if self._unwritten:
            self._write(self.history, self.best)

    def _write(self, history: list[dict[str, Any]], best: int | None) -> None:
        started = time.monotonic()
        kept = f"epoch {self.epochs_written}" if self.epochs_written else "nothing yet"
        advice = f"Kept: {kept}. Free some space and run again: training continues from there."
        checks = dict(self.checks)
        with _writing(f"Epoch {len(history)} cannot be written to {shown(self.folder)}", advice):
            for name, tensors in self._unwritten.items():
                _save(self.folder / f"{name}.safetensors", tensors, self._header(int(name.split("-")[1])))
                checks[name] = _check(self.folder / f"{name}.safetensors")
            stay = {f"{kind}-{number:04d}" for kind in ("weights", "optimizer") for number in (best, len(history) - 1)}
            checks = {name: check for name, check in checks.items() if name in stay}
            _save_json(self.folder / "history.json", {"best": best, "epochs": history, "checks": checks})
        self.history, self.best, self.checks = history, best, checks  # before what they do not name is deleted
        self._unwritten, self.epochs_written = {}, len(history)
        for kind, wanted in (("weights", {len(history) - 1, best}), ("optimizer", {len(history) - 1})):
            for path in self.folder.glob(f"{kind}-*.safetensors"):
                if int(path.stem.split("-")[1]) not in wanted:
                    path.unlink(missing_ok=True)
        self._written_at = time.monotonic()
        self._write_seconds = self._written_at - started

    def load_last(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the last finished epoch into ``model`` and ``optimizer``."""
        number = len(self.history) - 1
        load_weights(model, self._checked(f"weights-{number:04d}"), self._method())
        _unflatten(optimizer, _load(self._checked(f"optimizer-{number:04d}"), self._method()))

    def load_best(self, model: nn.Module) -> None:
        """Put the epoch that did best on the validation split into ``model``."""
        if self.best is None:
            raise RunError(f"{shown(self.folder)} has no finished epoch; train it first.")
        load_weights(model, self._checked(f"weights-{self.best:04d}"), self._method())

    def _checked(self, name: str) -> Path:
        """Return the path of weights or of an optimizer's state; raise RunError where they are not what was written."""
        path = self.weights_folder / f"{name}.safetensors"
        if name in self.checks and path.exists() and _check(path) != self.checks[name]:
            raise RunError(
                f"{shown(path)} is truncated or damaged: it is not what was written. Pickled checkpoints (.pt, .pth) "
                f"are never opened, since they can run code. {TRAIN_ANEW}"
            )
        return path

    def write_json(self, name: str, said: Any) -> None:
        """Write a JSON file of the run, whole or not at all; raise RunError where that cannot be."""
        if process_number():  # the first writes
            return
        path = self.folder / name
        with _writing(f"{shown(path)} cannot be written", MAKE_ROOM):
            _save_json(path, said)

    def save_maps(self, maps: Mapping[str, Tensor]) -> None:
        """Write localization maps and what they belong to; raise RunError where that cannot be.

        In half precision, but for maps whose numbers are too large or too small for it (sums of energies).
        """
        tensors = {name: _in_half_if_it_holds(value) for name, value in maps.items()}
        path = self.folder / "maps.safetensors"
        with _writing(f"{shown(path)} cannot be written", MAKE_ROOM):
            _save(path, tensors, self._header(len(self.history)))

    def load_maps(self) -> dict[str, Tensor]:
        """Return what ``save_maps`` wrote."""
        return _load(self.folder / "maps.safetensors", self._method())

    def publish(self, to: str | Path, half: bool = False) -> str:
        """Give the run away: its best weights, settings, classes, results and a model card, in a folder of their own.

        ``to`` is a folder, or "hf://user/name" for a repository on the Hugging Face Hub; ``half`` keeps the weights in
        half precision. `avnb.load` opens what is returned. Raises RunError for a run that was not judged, for a folder
        that holds anything else, and where it cannot be written.
        """
        if self.best is None or not self.data or not (self.folder / "metrics.json").exists():
            raise RunError(f"{shown(self.folder)} was not trained and judged to its end; open its notebook first.")
        if str(to).startswith(HUB):
            with TemporaryDirectory() as folder:
                self.publish(Path(folder) / "run", half)
                return upload(Path(folder) / "run", str(to).removeprefix(HUB))
        folder = Path(to)
        if folder.exists() and not (folder / SEAL).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"{shown(folder)} holds something else; name a folder that is new or empty.")
        with _writing(f"{shown(folder)} cannot be written", "Free some space, or name another folder."):
            folder.mkdir(parents=True, exist_ok=True)
            for old in (path for part in PARTS for path in folder.glob(part)):
                old.unlink()
            places = dict.fromkeys(("settings", "metrics"), self.folder) | dict.fromkeys(
                ("data", "history"), self.weights_folder
            )
            said = {name: json.loads((at / f"{name}.json").read_text(encoding="utf-8")) for name, at in places.items()}
            said["history"].pop("checks", None)  # the seal takes their place
            for name, values in said.items():
                _save_json(folder / f"{name}.json", values)
            name = f"weights-{self.best:04d}.safetensors"
            tensors = _load(self.weights_folder / name, self._method())
            if half:
                tensors = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
            _save(folder / name, tensors, self._header(self.best))
            text = card(self._method(), said["data"], said["metrics"])
            (folder / "README.md").write_text(text, encoding="utf-8")
            seal(folder)
        return str(folder)

    def _method(self) -> str:
        settings = self.folder / "settings.json"
        if (self.folder / SEAL).exists():  # a published run lies anywhere
            return str(json.loads(settings.read_text(encoding="utf-8"))["method"])
        return self.folder.parents[1].name

    def _header(self, epoch: int) -> dict[str, str]:
        return {"method": self._method(), "epoch": str(epoch)}


def _unusual(settings: Settings) -> dict[str, Any]:
    """Return the settings that differ from their preset's, as far as they can change a result."""
    usual = type(settings)(preset=settings.preset).resolve(settings.device).as_dict()
    return {
        name: value
        for name, value in settings.as_dict().items()
        if value != usual[name] and name not in NOT_PART_OF_THE_RESULT
    }


def _agrees(folder: Path, settings: Settings) -> bool:
    """Tell whether a run's settings.json contradicts ``settings`` in nothing that both know."""
    try:
        said = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True  # killed before it was written: nothing is contradicted
    told = {name: value for name, value in settings.as_dict().items() if name in said}
    apart = (*NOT_PART_OF_THE_RESULT, *SAID_BY_THE_FOLDER)
    return all(said[name] == value for name, value in told.items() if name not in apart)


def find_runs(method: str = "*", benchmark: str = "*") -> list[Run]:
    """Return the finished runs of a method on a benchmark, the newest first; a warning names those that are damaged."""
    method, benchmark = (name if name == "*" else glob.escape(name) for name in (method, benchmark))
    folders = [path.parent for path in outputs_dir().glob(f"{method}/{benchmark}/*/metrics.json")]
    found = []
    for folder in sorted(folders, key=lambda path: -(path / "metrics.json").stat().st_mtime):
        try:
            found.append(Run(folder))
        except RunError as error:
            warnings.warn(f"{shown(folder)} is passed over: {error}", stacklevel=2)
    return found


def saved_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state that a run keeps: everything but frozen trunks, which come with the packages."""
    frozen = tuple(f"{name}." for name, module in model.named_modules() if getattr(module, "frozen", False))
    return {name: value for name, value in model.state_dict().items() if not name.startswith(frozen)}


def load_weights(model: nn.Module, path: Path, method: str) -> None:
    """Load a weights file into ``model``; raise RunError where it is another method's, or no such file."""
    state = _load(path, method)
    shapes = [{name: value.shape for name, value in there.items()} for there in (state, saved_state(model))]
    differs = [name for name in shapes[0].keys() | shapes[1].keys() if shapes[0].get(name) != shapes[1].get(name)]
    if differs:
        raise RunError(
            f'{shown(path)} does not fit this model: "{sorted(differs)[0]}" and {len(differs) - 1} others differ. '
            "It was trained with other settings; settings.json beside it tells which."
        )
    if lost := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise RunError(
            f'{shown(path)} holds values that are no numbers ("{lost[0]}"): the training diverged, or the file is '
            f"damaged. {TRAIN_ANEW}"
        )
    model.load_state_dict(state, strict=False)


def _check(path: Path) -> list[int]:
    """Return a file's length and checksums."""
    return [path.stat().st_size, *checksums(path)]


def _read_history(path: Path) -> tuple[list[dict[str, Any]], int | None, dict[str, list[int]]]:
    """Return the rows of the finished epochs, the number of the best, and the checksums of the files."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        rows, best = list(said["epochs"]), said["best"]
        if rows:
            rows[best]  # one of them
        return rows, best, dict(said.get("checks", {}))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{shown(path)} is damaged ({error!r}); delete its folder to train anew.") from None


@contextmanager
def _writing(what: str, advice: str) -> Iterator[None]:
    """Make a sentence of what a disk says that does not take a file."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT) or "space" in str(error)
        reason = "no space is left on the device" if full else getattr(error, "strerror", None) or str(error)
        raise RunError(f"{what}: {reason}. {advice}") from None


def _save_json(path: Path, said: Any) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _in_half_if_it_holds(value: Tensor) -> Tensor:
    """Return numbers in half precision, or in single where the largest would be infinite or lose its digits there."""
    if not value.is_floating_point():
        return value
    largest = value.abs().amax().item() if value.numel() else 0.0
    return value.half() if largest == 0 or HALF[0] <= largest <= HALF[1] else value.float()


def _save(path: Path, tensors: Mapping[str, Tensor], header: dict[str, str]) -> None:
    with whole_file(path) as temporary:
        save_file({name: value.detach().contiguous() for name, value in tensors.items()}, temporary, header)


def _load(path: Path, method: str) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            trained = (file.metadata() or {}).get("method")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise RunError(f"{shown(path)} is missing; delete its folder to train anew.") from None
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"{shown(path)} is truncated or no safetensors file ({error}). Pickled checkpoints (.pt, .pth) are never "
            "opened, since they can run code; delete the run's folder to train anew."
        ) from None
    if trained != method:
        raise RunError(f'{shown(path)} holds weights of "{trained}", not of "{method}".')
    return tensors


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, entry in state.items() for name, value in entry.items()}


def _unflatten(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `_flat` returned, laid out in memory as the weights are: a fused step takes that for granted."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    said = optimizer.state_dict()
    said["state"] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        weight = weights[int(number)]
        if value.shape == weight.shape:
            value = torch.empty_like(weight, requires_grad=False).copy_(value)
        said["state"].setdefault(int(number), {})[name] = value
    optimizer.load_state_dict(said)
