"""The run's settings: typed, frozen, checked in seconds, and read from a notebook's parameters cell.

A method's own settings are a subclass of ``Settings`` in its model file, so that every papermill parameter is a field
of one flat dataclass. A field's default of 0, "" or -1 means, where the presets name the field: take the preset's.
"""

import ast
import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self, TypeVar

from avnb.errors import SettingsError

T = TypeVar("T", bound="Settings")


def setting(default: Any, *, low: float | None = None, high: float | None = None, among: tuple = (), doc: str) -> Any:
    """Return a dataclass field with its range, or the values it may take, and a line for the reader.

    The default need not be in the range: it may stand for "the preset's".
    """
    return field(default=default, metadata={"low": low, "high": high, "among": among, "doc": doc})


@dataclass(frozen=True)
class Settings:
    """What every run is told, whatever its method. Raises SettingsError on a wrong type, range or value.

    >>> Settings(epochs=3).epochs
    3
    >>> Settings(epochs=-1)
    Traceback (most recent call last):
    avnb.errors.SettingsError: epochs = -1 is out of range; it must be at least 0 and at most 100000 (0: the preset's).
    """

    METHOD: ClassVar[str] = ""
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {}, "paper": {}}

    dataset: str = setting("music", doc="a folder of data/, or a benchmark of the papers")
    train_dataset: str = setting("", doc='what is trained on instead; "": the dataset, or what its benchmark names')
    origin: str = setting("any", among=("any", "real"), doc='"real" refuses the stand-in')
    preset: str = setting("auto", among=("auto", "quick", "paper"), doc='"auto": paper on a GPU, if the clips are real')
    device: str = setting("auto", doc='"auto", "cpu", "cuda", "cuda:1", "mps"')
    devices: int = setting(1, low=1, high=4096, doc="GPUs (or processes on a CPU) that train together, a batch shared")
    shared_statistics: bool = setting(False, doc="several devices: batch norm sees the whole batch, not its own part")
    seed: int = setting(0, low=0, high=2**31 - 1, doc="of the weights, the mixtures and the stand-in's order")
    epochs: int = setting(0, low=0, high=100_000, doc="0: the preset's")
    batch_size: int = setting(0, low=0, high=65_536, doc="0: the preset's")
    learning_rate: float = setting(0.0, low=0.0, high=10.0, doc="0: the preset's")
    weight_decay: float = setting(-1.0, low=0.0, high=10.0, doc="-1: the preset's")
    schedule: str = setting("", among=("constant", "one_cycle"), doc='"": the preset\'s')
    crop: bool = setting(True, doc="cut training frames at random; has no effect on a frozen trunk's cached features")
    repeatable: bool = setting(False, doc="on a GPU too the same seed gives the same bits, more slowly")
    compile: bool = setting(False, doc="compile the networks on a GPU: a minute at first, then faster steps")
    clips_on_gpu: bool = setting(True, doc="keep training clips in the GPU's memory where they fit in about half of it")
    truth: str = setting("auto", among=("auto", "box", "mask"), doc='where an object is; "auto": as the papers judge')
    limit: int = setting(0, low=0, doc="at most so many clips of each split and subset; 0: all")
    resume: bool = setting(True, doc="continue, or load, the run with these settings if there is one")

    def __post_init__(self) -> None:
        for entry in fields(self):
            object.__setattr__(self, entry.name, _checked(entry, getattr(self, entry.name)))

    def resolve(self, device: str, origin: str = "stand-in") -> Self:
        """Return the settings with every "the preset's" filled in for a run on ``device`` and clips of this ``origin``.

        Only a field's default stands for the preset's: a weight decay of 0 that was asked for stays 0. ``origin`` is
        what the data's dataset.json says; a stand-in gets the quick preset on whatever device.
        """
        auto = "paper" if origin == "real" and device != "cpu" else "quick"
        preset = auto if self.preset == "auto" else self.preset
        unset = {entry.name for entry in fields(self) if getattr(self, entry.name) == entry.default}
        filled = {name: value for name, value in self.PRESETS[preset].items() if name in unset}
        return replace(self, preset=preset, device=device, **filled)

    def of_training(self, dataset: str = "") -> Self:
        """Return the settings of the run that is trained: on ``dataset``, else ``train_dataset``, if any."""
        other = dataset or self.train_dataset
        return replace(self, dataset=other, train_dataset="") if other else self

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Self:
        """Return the settings that settings.json holds; what else stands there (the method, say) is passed over."""
        known = {entry.name for entry in fields(cls)}
        return cls(**{name: value for name, value in said.items() if name in known})

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as they are written to settings.json."""
        return dataclasses.asdict(self)


def read_parameters(cls: type[T], namespace: Mapping[str, Any]) -> T:
    """Build ``cls`` from the names that a notebook's parameters cell (and papermill's ``-p``) put in ``namespace``.

    Raises SettingsError on a parameter that is no setting, so that a misspelt ``-p`` stops the run instead of being
    ignored, which is what papermill itself does with it.
    """
    known = {entry.name for entry in fields(cls)}
    for name in _assigned_names(namespace, known):
        if name not in known:
            raise SettingsError(_unknown(name, known, cls.METHOD))
    return cls(**{name: namespace[name] for name in known if name in namespace})


def did_you_mean(name: str, known: Any) -> str:
    """Return " Did you mean "x"?" where something known is close to ``name``, else nothing."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else ""


def _checked(entry: dataclasses.Field, value: Any) -> Any:
    """Return ``value`` if it is of the field's type and range; whole numbers pass where a float is asked for."""
    name, wanted, meta = entry.name, entry.type, entry.metadata
    if type(value) is not wanted and (wanted, type(value)) != (float, int):
        hint = ""
        if wanted is str:
            hint = f" Write it in quotes, or for papermill -r {name} TEXT."
        elif isinstance(value, str):
            hint = f" Write it without quotes, or for papermill -p {name} VALUE."
        raise SettingsError(
            f"{name} = {value!r} is {_a(type(value))}, but {name} is {_a(wanted)} ({meta['doc']}).{hint}"
        )
    if value == entry.default:
        return wanted(value)
    if meta["among"] and value not in meta["among"]:
        choices = ", ".join(f'"{choice}"' for choice in meta["among"])
        raise SettingsError(f"{name} = {value!r} is none of {choices}.{did_you_mean(str(value), meta['among'])}")
    low, high = meta["low"], meta["high"]
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        bounds = " and ".join(
            text for text in (low is not None and f"at least {low}", high is not None and f"at most {high}") if text
        )
        raise SettingsError(f"{name} = {value!r} is out of range; it must be {bounds} ({meta['doc']}).")
    return wanted(value)


def _a(kind: type) -> str:
    return {bool: "True or False", int: "a whole number", float: "a number", str: "text"}.get(kind, kind.__name__)


def _unknown(name: str, known: set[str], method: str) -> str:
    return (
        f'There is no setting "{name}"{f" in {method}" if method else ""}.{did_you_mean(name, known)} '
        f"The settings are: {', '.join(sorted(known))}."
    )


def _assigned_names(namespace: Mapping[str, Any], known: set[str]) -> list[str]:
    """Return the names set by the parameter cells. Outside a notebook (a plain mapping) every name counts.

    The parameter cells are among those just before the running cell that only assign literals: the ones that set
    something known, and papermill's, which begins with "# Parameters". A cell in which a reader sets something of
    their own before running the settings again is neither.
    """
    history = namespace.get("In")
    if history is None:
        return [name for name in namespace if not name.startswith("_")]
    names: list[str] = []
    for source in reversed(history[1:-1]):
        assigned = _literal_assignments(source)
        if assigned is None:
            break
        if known.intersection(assigned) or source.lstrip().startswith("# Parameters"):
            names = assigned + names
    return names


def _literal_assignments(source: str) -> list[str] | None:
    """Return the names a cell assigns if it does nothing but assign literals, else None."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return None
    names = []
    for statement in statements:
        if not isinstance(statement, (ast.Assign, ast.AnnAssign)):
            return None
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        try:
            ast.literal_eval(statement.value)
            names += [target.id for target in targets]
        except (ValueError, AttributeError):  # a value that is no literal, a target that is no name
            return None
    return names
