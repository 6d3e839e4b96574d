"""From a data set's name to a prepared folder: the real one where there is one, else the stand-in, and which it is."""

from pathlib import Path
from typing import TypeVar

from avnb.config import Settings, did_you_mean
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.build import open_store
from avnb.data.folder import DatasetInfo, read_info
from avnb.data.store import ClipShape, Store
from avnb.devices import pick_device
from avnb.errors import DataError, SettingsError
from avnb.models import METHODS
from avnb.paths import data_dir, say_where, shown

T = TypeVar("T", bound=Settings)

STAND_INS = {"music": "music-standin"}


def open_data(settings: T, progress: bool = True) -> tuple[T, Store]:
    """Return the settings with device and preset settled, and the store of the data set that they name.

    Where another data set is trained on and the method knows classes, the store counts them as that one does. Raises
    SettingsError or DataError, in a sentence, before anything is decoded or trained.
    """
    device = pick_device(settings.device)
    store = open_store(locate(settings.dataset, settings.origin, progress).folder, ClipShape(), progress)
    if settings.truth != "auto":
        store.truth = settings.truth
    method, other = METHODS.get(settings.METHOD), training_set(settings, store)
    if method is not None and other:
        try:
            lessons = locate(other, settings.origin, progress)
        except DataError as error:
            raise DataError(f'"{store.name}" is judged with what "{other}" teaches. {error}') from None
        store = store.in_classes(lessons.classes) if "oracle" in method.CLASSES else store
    return settings.resolve(device, store.origin), store


def training_set(settings: Settings, store: Store) -> str:
    """Return the name of the data set that is trained on in place of the settings' own; "" where it is that itself.

    That is ``train_dataset``, else, where a folder has no clips that the method can be trained on, what its benchmark's
    record names: solos, but scenes do for a method that takes them.
    """
    if settings.train_dataset not in ("", settings.dataset):
        return settings.train_dataset
    record = BENCHMARKS.get(store.name)
    if record is None or not record.trained_on:
        return ""
    there = any(split == "train" for split, _ in store.count())
    takes_scenes = settings.METHOD in METHODS and METHODS[settings.METHOD].TAKES_SCENES
    if there and (takes_scenes or len(store.solos("train"))):
        return ""
    return record.trained_on


def locate(name: str, origin: str = "any", progress: bool = True) -> DatasetInfo:
    """Return the prepared data set called ``name``; for "music" without data, render the stand-in first.

    Raises SettingsError where no such data set exists (naming the nearest) and DataError where its folder is empty or
    where ``origin`` "real" is asked for and only a stand-in is there. Introduced in notebooks/02_ez_vsl.ipynb.
    """
    folder = data_dir() / name
    prepared = sorted(path.parent.name for path in data_dir().glob("[!.]*/dataset.json"))
    if not name or Path(name).name != name or name.startswith(".") or len(name) > 200:
        raise SettingsError(f"dataset = {name!r} is not the name of a folder of {shown(data_dir())}.")
    if folder.is_symlink() and not folder.exists():
        raise DataError(f"{shown(folder)} is a link to {folder.readlink()}, where there is nothing. Mend or remove it.")
    if folder.is_dir() and not any(folder.iterdir()):
        raise DataError(f"{shown(folder)} is empty. Prepare it as data/README.md says, or remove it.")
    if folder.is_dir():
        info = read_info(folder)
        if origin == "real" and info.origin != "real":
            what = f"holds {info.stand_in_share} of a stand-in" if info.origins else "is a stand-in"
            raise DataError(f'{shown(folder)} {what} (its dataset.json says so), and origin = "real" was asked.')
        return info
    if name not in BENCHMARKS:
        known = sorted({*prepared, *BENCHMARKS})
        raise SettingsError(
            f'There is no data set "{name}".{did_you_mean(name, known)} Prepared in {shown(data_dir())}: '
            f"{', '.join(prepared) or 'none'}. Benchmarks of the papers: {', '.join(BENCHMARKS)}."
        )
    if name not in STAND_INS or origin == "real":
        raise DataError(
            f"{BENCHMARKS[name].title} is not prepared: {shown(folder)} does not exist. Its videos cannot be "
            "distributed; put your copy there in the format that data/README.md describes"
            + ("." if name not in STAND_INS else ', or leave out origin = "real" to use the embedded stand-in.')
        )
    standin = data_dir() / STAND_INS[name]
    if not (standin / "dataset.json").exists():
        from avnb.standin.build import render

        say_where("The stand-in for MUSIC is rendered", standin, "AVNB_DATA")
        render(standin, progress=progress)
    return read_info(standin)
