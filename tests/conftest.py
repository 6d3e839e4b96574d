"""What the tests share: a small benchmark in the on-disk format, and data/ and outputs/ that are nobody's own.

The whole run checks jaxtyping's shapes with beartype (an int passes for a float, as PEP 484 has it). The hook must
stand before anything else of avnb is imported; settings are left out, since they check themselves, in sentences.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import install_import_hook

from avnb.config import Settings

Settings.__no_type_check__ = True  # nor are the settings of the methods, which inherit this
install_import_hook("avnb", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import soundfile  # noqa: E402
import torch  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402
from tiny_classes import CLASSES, COLOURS, PITCHES  # noqa: E402
from torch.nn.functional import adaptive_avg_pool2d  # noqa: E402

from avnb.data.build import open_store  # noqa: E402
from avnb.data.folder import write_dataset  # noqa: E402
from avnb.data.mixing import make_batch  # noqa: E402
from avnb.data.store import ClipShape, Store  # noqa: E402
from avnb.evaluation.trials import trials_of  # noqa: E402
from avnb.training.runs import Run  # noqa: E402

SLOWEST = (  # minutes each
    "tests/notebooks/test_nbval", "tests/rehearsal/", "tests/prepare/test_interrupted", "tests/standin/",
    "tests/notebooks/test_switches", "tests/prepare/test_official", "tests/notebooks/test_commands", "tests/browser/",
)  # fmt: skip
WIDTH, HEIGHT = 96, 80  # pixels of the tiny pictures
RATE = 8000  # Hz, for one second


@pytest.fixture(scope="session", autouse=True)
def _nobodys_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test out of the repository's data/ and outputs/."""
    root = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        _point_to(root, patch)
        yield


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own with an empty data/ and outputs/, where AVNB_DATA and AVNB_OUTPUTS point."""
    return _point_to(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared benchmark called "tiny", not to be changed: link or copy it into a workspace's data/.

    24 + 8 + 8 solos of four classes in train, val and test, and 8 duets in test: coloured shapes on noise, 96 x 80
    pixels, and one second of a class-specific pitch at 8 kHz. Every fourth clip has boxes but no mask; the first two
    training clips come from one video; the last training clip also shows a class that does not sound.
    """
    folder = tmp_path_factory.mktemp("prepared") / "tiny"
    rng = np.random.default_rng(7)
    rows = []
    for split, subset, count in (("train", "solo", 24), ("val", "solo", 8), ("test", "solo", 8), ("test", "duet", 8)):
        for k in range(count):
            sounding = [CLASSES[k % 4]] if subset == "solo" else [CLASSES[k % 4], CLASSES[(k + 1 + k // 4) % 4]]
            silent = [CLASSES[k % 4 - 1]] if (split, k) == ("train", 23) else []
            rows.append(_write_clip(folder, f"{split}_{subset}_{k:02d}", split, subset, sounding, silent, k, rng))
    rows[0]["video"] = rows[1]["video"] = "one_recording"
    write_dataset(folder, "tiny", CLASSES, "real", "coloured shapes and plain tones, made for the tests", rows)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path, workspace: Path) -> Path:
    """The tiny benchmark as data/tiny of a workspace."""
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    return workspace


@pytest.fixture(scope="session")
def tiny_store(tiny_folder: Path) -> Store:
    """The tiny benchmark's store: 64 x 64 pixels, one second at 8 kHz."""
    return open_store(tiny_folder, ClipShape(size=64, rate=RATE, seconds=1.0), progress=False)


@pytest.fixture(scope="session")
def judged_run() -> Callable[..., Run]:
    """A function that writes a run whose maps are the blurred truth among noise, as if a method had been judged.

    ``judged_run(store, folder, "avgn")``; ``folder`` takes the place of outputs/. No training, the same every time.
    """

    def write(store: Store, folder: Path, method: str = "avgn", noise: float = 1.0) -> Run:
        run = Run(folder / method / store.name / "quick-seed0-pretended")
        generator = torch.Generator().manual_seed(len(method))
        maps = {}
        for trial in trials_of(store):
            mixtures = trial.mixtures(store)
            batch = make_batch(store, mixtures, trial.recipe, truth=True)
            soft = adaptive_avg_pool2d(batch.truth, (14, 14 * batch.truth.shape[-1] // batch.truth.shape[-2]))
            seen = soft + noise * 0.2 * torch.rand(soft.shape, generator=generator)
            parts = {"maps": seen, "classes": batch.source_classes, "mixtures": torch.from_numpy(mixtures)}
            maps |= {f"{trial.key}/{name}": value for name, value in parts.items()}
        run.folder.mkdir(parents=True)
        run.save_maps(maps)
        run.write_json("metrics.json", {"origin": store.origin, "rows": []})
        return run

    return write


@pytest.fixture
def new_folder(workspace: Path) -> Callable[..., Path]:
    """A function that writes a prepared folder of the given rows into the workspace's data/ and returns its path.

    ``new_folder(rows, name="own")``; the files that the rows name are the test's own to write.
    """

    def write(rows: Sequence[dict[str, Any]], name: str = "own", origin: str = "real") -> Path:
        folder = workspace / "data" / name
        for part in ("frames", "audio", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        write_dataset(folder, name, CLASSES, origin, "made by a test", rows)
        return folder

    return write


def _point_to(root: Path, patch: pytest.MonkeyPatch) -> Path:
    for variable, name in (("AVNB_DATA", "data"), ("AVNB_OUTPUTS", "outputs")):
        (root / name).mkdir()
        patch.setenv(variable, str(root / name))
    return root


def _write_clip(
    folder: Path, name: str, split: str, subset: str, sounding: list[str], silent: list[str], k: int, rng: Any
) -> dict[str, Any]:
    """Write one clip's picture, sound and mask, and return its row."""
    for part in ("frames", "audio", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(rng.integers(90, 166, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    mask = Image.new("L", (WIDTH, HEIGHT))
    objects = []
    seen = [*sounding, *silent]
    for place, label in enumerate(seen):
        left = rng.integers(0, 12) if len(seen) == 1 else rng.integers(0, 8) + 48 * place
        top, width, height = rng.integers(2, 30), rng.integers(28, 39), rng.integers(30, 47)
        corners = tuple(int(value) for value in (left, top, left + width, top + height))
        for canvas, paint in ((picture, COLOURS[label]), (mask, place + 1)):
            draw = ImageDraw.Draw(canvas)
            (draw.ellipse if CLASSES.index(label) % 2 else draw.rectangle)(
                (corners[0], corners[1], corners[2] - 1, corners[3] - 1), fill=paint
            )
        box = [corners[0] / WIDTH, corners[1] / HEIGHT, corners[2] / WIDTH, corners[3] / HEIGHT]
        objects.append({"label": label, "xyxy": box, "sounding": label in sounding})
    time = np.arange(RATE) / RATE
    tones = [
        sum(0.2 / h * np.sin(2 * np.pi * PITCHES[label] * h * time + rng.uniform(0, 6)) for h in (1, 2, 3))
        for label in sounding
    ]
    sound = np.sum(tones, axis=0) + rng.normal(0, 0.003, RATE)
    frame, audio = f"frames/{name}.{'png' if k % 2 else 'jpg'}", f"audio/{name}.{'ogg' if k % 3 else 'wav'}"
    picture.save(folder / frame)
    soundfile.write(folder / audio, sound.astype(np.float32), RATE)
    row = {
        "id": name, "split": split, "subset": subset, "file_name": frame, "audio": audio, "start": 0.0,
        "mask": f"masks/{name}.png" if k % 4 < 3 else None, "objects": objects,
    }  # fmt: skip
    if row["mask"]:
        mask.save(folder / row["mask"])
    return row


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: the last of make test's two processes is waited for."""
    items.sort(
        key=lambda item: next((k for k, part in enumerate(SLOWEST) if part in item.path.as_posix()), len(SLOWEST))
    )


def pytest_terminal_summary(terminalreporter):
    """Print what each notebook took, and what became of those of the dress rehearsal."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    found = [dict(report.user_properties) for report in reports if hasattr(report, "user_properties")]
    if measured := sorted({one["notebook"] for one in found if "notebook" in one}):
        terminalreporter.section("notebooks, with parameters for a test", sep="-")
        for name, seconds, megabytes in measured:
            terminalreporter.write_line(f"{name:32} {seconds:5.0f} s  {megabytes:6,.0f} MB at most")
    if rehearsed := {tuple(one["rehearsed"][:2]): one["rehearsed"][2:] for one in found if "rehearsed" in one}:
        _print_grid(terminalreporter, rehearsed)


def _print_grid(terminalreporter, rehearsed: dict[tuple[str, str], tuple[str, float]]) -> None:
    """Print what became of each notebook on each miniature, and its seconds."""
    numbers = sorted({number for _, number in rehearsed})
    terminalreporter.section("dress rehearsal: ran, says why not, TRACEBACK; processor seconds", sep="-")
    terminalreporter.write_line(f"{'':22}" + "".join(f"{number:>12}" for number in numbers))
    for name in dict.fromkeys(name for name, _ in rehearsed):
        words = [
            f"{rehearsed[name, k][0]} {rehearsed[name, k][1]:.0f}" if (name, k) in rehearsed else "-" for k in numbers
        ]
        terminalreporter.write_line(f"{name:22}" + "".join(f"{word:>12}" for word in words))
    seconds = sum(seconds for _, seconds in rehearsed.values())
    terminalreporter.write_line(f"{seconds:.0f} s of a processor in notebooks")
