"""How every notebook opens: the settings checked, the data found, and said aloud what this run stands on."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, TypeVar

from avnb.config import Settings, read_parameters
from avnb.data.build import open_store
from avnb.data.store import ClipShape, Store
from avnb.datasets import locate
from avnb.devices import pick_device

T = TypeVar("T", bound=Settings)

VERSIONS = ("torch", "torchvision", "torchaudio", "numpy")


def start(cls: type[T], namespace: Mapping[str, Any], progress: bool = True) -> tuple[T, Store]:
    """Return the checked settings, with the preset's values filled in, and the opened store of the data set.

    Prints versions, device and clips, and shows a banner that says whether the clips are real. Raises SettingsError
    or DataError, in a sentence, before anything is trained.
    """
    settings = read_parameters(cls, namespace)
    device = pick_device(settings.device)
    store = open_store(locate(settings.dataset, settings.origin, progress).folder, ClipShape(), progress)
    settings = settings.resolve(device, store.origin)
    told = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    print(f"Python {platform.python_version()}, {told}; device {settings.device}, preset {settings.preset}")
    print(store.report)
    _banner(store)
    return settings, store


def data_mark(store: Store) -> str:
    """Return what tells two data sets of one name apart: a digest of their descriptions."""
    digest = hashlib.sha256()
    for name in ("dataset.json", "metadata.jsonl"):
        digest.update((store.info.folder / name).read_bytes())
    return digest.hexdigest()


def _banner(store: Store) -> None:
    from html import escape

    from IPython.display import HTML, display

    real = store.origin == "real"
    edge, back = ("#2a7f62", "#eaf5f0") if real else ("#b35c00", "#fdf1e3")
    word = "Real clips." if real else "Stand-in, not real clips."
    display(
        HTML(
            f'<div style="border-left:6px solid {edge};background:{back};color:#222;padding:8px 12px;margin:4px 0">'
            f"<b>{word}</b> {escape(store.info.note)}</div>"
        )
    )
