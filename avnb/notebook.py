"""How every notebook opens, and how a method's notebook begins to be written.

``python -m avnb.notebook METHOD`` writes the skeleton of a method's notebook into notebooks/; where the method has a
notebook, its parameters cell alone is brought to what the method's settings are now.
"""

import dataclasses
import json
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from avnb.config import Settings, did_you_mean, read_parameters
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.store import Store
from avnb.datasets import open_data
from avnb.errors import AvnbError, SettingsError
from avnb.models import METHODS
from avnb.paths import project_root, shown, whole_file

if TYPE_CHECKING:
    import nbformat

T = TypeVar("T", bound=Settings)

VERSIONS = ("torch", "torchvision", "torchaudio", "numpy")


def start(cls: type[T], namespace: Mapping[str, Any], progress: bool = True) -> tuple[T, Store]:
    """Return the checked settings, with the preset's values filled in, and the opened store of the data set.

    Prints versions, device and clips, and shows a banner that says whether the clips are real. Raises SettingsError
    or DataError, in a sentence, before anything is trained.
    """
    settings, store = open_data(read_parameters(cls, namespace), progress)
    told = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    print(f"Python {platform.python_version()}, {told}; device {settings.device}, preset {settings.preset}")
    print(store.report)
    for sentence in _lacking(store, settings.METHOD):
        print(sentence)
    _banner(store)
    return settings, store


def parameters_cell(cls: type[Settings]) -> str:
    """Return a parameters cell that has every setting of ``cls``, so that papermill knows each one's name and meaning.

    A line is the field's name, type, default and doc, and in brackets the values that it may take.
    """
    return "\n".join(
        f"{entry.name}: {entry.type.__name__} = {_literal(entry.default)}  # {_meaning(entry)}"
        for entry in dataclasses.fields(cls)
    )


def write_notebook(method: str, folder: Path) -> Path:
    """Write the skeleton of a method's notebook into ``folder``, under the first number that is free there.

    Where the method has a notebook, only its parameters cell is brought to what the settings are. Raises
    SettingsError on a method that is not in METHODS.
    """
    import nbformat

    if method not in METHODS:
        raise SettingsError(
            f'There is no method "{method}".{did_you_mean(method, METHODS)} See avnb/models/__init__.py.'
        )
    numbered = {int(path.name[:2]): path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    path = next((path for path in numbered.values() if path.stem[3:] == method), None)
    if path is None:
        number = next(number for number in range(1, 100) if number not in numbered)
        path, notebook = folder / f"{number:02d}_{method}.ipynb", skeleton(method)
    else:
        notebook = nbformat.read(path, as_version=4)
        cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        cell.source = parameters_cell(METHODS[method].SETTINGS)
    with whole_file(path) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return path


def skeleton(method: str) -> "nbformat.NotebookNode":
    """Return a notebook that trains, judges and shows a method: the cells that all have in common, and what to write.

    It runs as it is. What stands in italics is for its author.
    """
    import nbformat.v4 as build

    cls = METHODS[method]
    names = {"MODULE": cls.__module__, "METHOD": cls.__name__, "SETTINGS": cls.SETTINGS.__name__}
    notebook = build.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, (kind, source) in enumerate(_SKELETON):
        source = parameters_cell(cls.SETTINGS) if source == "PARAMETERS" else source.strip()
        for word, name in names.items():
            source = re.sub(rf"\b{word}\b", name, source)
        cell = build.new_markdown_cell(source) if kind == "text" else build.new_code_cell(source)
        cell["id"] = f"{method.replace('_', '-')}-{number:02d}"
        cell.metadata["tags"] = ["parameters"] if kind == "parameters" else []
        notebook.cells.append(cell)
    return notebook


def _lacking(store: Store, method: str) -> Iterator[str]:
    """Yield what a data set lacks that the notebook of ``method`` ("" or another name: of none) would ask for."""
    tested = store.select("test") if any(split == "test" for split, _ in store.count()) else np.empty(0, np.int64)
    if not store.has_truth(tested).any():
        yield "No test clip has a box or a mask: maps can be looked at, and nothing can be judged."
    record = BENCHMARKS.get(store.name)
    if record and not record.training_classes and "oracle" in getattr(METHODS.get(method), "CLASSES", ()):
        others = ", ".join(name for name, cls in METHODS.items() if "oracle" not in cls.CLASSES)
        yield (
            f"What sounds in the test clips of {record.title} is of no class that is trained on, and {method} is asked "
            f"for classes: its maps mean little here. These methods need none: {others}."
        )


def _banner(store: Store) -> None:
    from html import escape

    from IPython.display import HTML, display

    real = store.origin == "real"
    edge, back = ("#2a7f62", "#eaf5f0") if real else ("#b35c00", "#fdf1e3")
    word = "Real clips." if real else "Stand-in, not real clips."
    if store.info.origins:
        word = f"In part a stand-in: {store.info.stand_in_share} are none of the real ones."
    display(
        HTML(
            f'<div style="border-left:6px solid {edge};background:{back};color:#222;padding:8px 12px;margin:4px 0">'
            f"<b>{word}</b> {escape(store.info.note)}</div>"
        )
    )


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _meaning(entry: dataclasses.Field) -> str:
    among = entry.metadata["among"]
    return entry.metadata["doc"] + (f" [{' | '.join(map(str, among))}]" if among else "")


_SKELETON = (
    ("text", """
# METHOD: *the finding, in a few words*

*What is asked, what the method does about it and what this notebook shows, in four sentences; the paper with its
authors, venue and a link.*
"""),
    ("parameters", "PARAMETERS"),
    ("code", """
import torch

from avnb.data.mixing import make_batch
from avnb.evaluation import judge, pick, trials_of
from avnb.metrics.localization import average_precision, upsample
from MODULE import METHOD, SETTINGS
from avnb.notebook import start
from avnb.training.trained import train
from avnb.viewing import plots
from avnb.viewing.players import players
from avnb.viewing.results import results_table
from avnb.viewing.scrubber import scrub

settings, store = start(SETTINGS, globals())
"""),
    ("text", """
## The data

*What a clip is here, and what the training sees of it.*
"""),
    ("code", """
colours = plots.class_colours(store.classes)
trials = trials_of(store, settings.limit)
solos = trials[0].mixtures(store)[:, 0]
shown = solos[:: len(solos) // 3 + 1]
plots.show_clips([store.clip(i) for i in shown], columns=3, colours=colours)
"""),
    ("code", """
players({store.clip(i).labels[0]: store.clip(i).waveform for i in shown}, store.shape.rate)
"""),
    ("text", """
## The idea, in equations

*The equations of the paper, with their numbers; the next cell computes them by hand on a batch, before any training,
and compares with the method.*
"""),
    ("code", """
torch.manual_seed(settings.seed)
method = METHOD(settings, len(store.classes)).to(settings.device).eval()
batch = make_batch(store, solos[:8, None], trials[0].recipe).to(settings.device)
with torch.no_grad():
    features = method.embed(batch)
for name, value in features.items():
    print(f"{name:8s}{tuple(value.shape)}")
"""),
    ("text", """
## Training

*What a batch holds, which labels are used, and how the epoch is chosen.*
"""),
    ("code", """
method, run = train(settings, store)
print(f"{len(run.history)} epochs, the best on the validation split is epoch {run.best + 1}")
"""),
    ("code", "plots.show_curves(run.history, run.best)"),
    ("text", "*From what to what the losses go, and what chance would be.*"),
    ("text", """
## Results

*What the tables ask; `centre`, `whole_image` and `random` need no model, `oracle` is the best that any map can reach.*
"""),
    ("code", """
rows = judge(method, store, run, trials, progress=False)
results_table(pick(rows, subset=trials[0].subset))
"""),
    ("code", "results_table(pick(rows, sources=(2, 3)) or rows)"),
    ("text", "*The numbers that the two tables have just shown, beside the centre's and the ceiling.*"),
    ("text", """
## Looking at the maps

Each row is a test clip; the line is where the source truly is, the heat where the method puts it, scaled to its own
range. The last row is the worst of all.
"""),
    ("code", """
seen = run.load_maps()
name = f"{trials[0].subset}-{trials[0].geometry}"
truth = make_batch(store, seen[f"{name}/mixtures"].numpy(), trials[0].recipe, truth=True)
maps = upsample(seen[f"{name}/maps"].float(), truth.frames.shape[-2:])
ap = average_precision(maps[:, 0], truth.truth[:, 0])[:, None]
chosen = torch.cat([torch.linspace(0, len(ap) - 1, min(3, len(ap))).long(), ap[:, 0].argsort()[:1]])
labels = [[store.classes[k] for k in truth.source_classes[i]] for i in chosen]
plots.show_heatmaps(truth.frames[chosen], maps[chosen], truth.truth[chosen], labels, ap[chosen], colours)
"""),
    ("text", "*What the maps have in common, and why the worst is bad.*"),
    ("text", """
## The scrubber

All test mixtures with this run's maps: the slider (mouse or arrow keys) goes through them, the player plays what the
method heard, and `Order` brings the clips with the lowest AP to the front.
"""),
    ("code", "scrub(store, run)"),
    ("text", """
## Takeaways

- *What was found, with its number and the centre's.*
- *What the method cannot do, with the number that shows it.*

To try: *two or three settings to change with `-p`, and what to look for.*
"""),
)  # fmt: skip


def _main(words: list[str]) -> None:
    """Write the notebook of the method that the command names."""
    if len(words) not in (1, 2):
        sys.exit("usage: python -m avnb.notebook METHOD [FOLDER]")
    folder = Path(words[1]) if len(words) == 2 else project_root() / "notebooks"
    try:
        path = write_notebook(words[0], folder)
    except AvnbError as error:
        sys.exit(str(error))
    print(f"{shown(path)} has every setting of {words[0]}; what stands in italics there is yours to write.")


if __name__ == "__main__":
    _main(sys.argv[1:])
