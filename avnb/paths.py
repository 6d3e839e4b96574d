"""Where data/ and outputs/ are, whatever folder the kernel started in, and files that are whole or absent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT_MARKERS = ("pyproject.toml", "notebooks")


def project_root() -> Path:
    """Return the folder that holds notebooks/, data/ and outputs/.

    ``AVNB_ROOT`` names it outright; else it is the nearest parent of the working folder that looks like the
    repository; else, for an installed package used elsewhere, the working folder itself.
    """
    if named := os.environ.get("AVNB_ROOT"):
        return Path(named).expanduser().resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if all((folder / marker).exists() for marker in ROOT_MARKERS):
            return folder
    return here


def data_dir() -> Path:
    """Return the folder of the prepared benchmarks (``AVNB_DATA`` overrides it)."""
    return Path(os.environ.get("AVNB_DATA") or project_root() / "data").expanduser().resolve()


def outputs_dir() -> Path:
    """Return the folder of the runs (``AVNB_OUTPUTS`` overrides it)."""
    return Path(os.environ.get("AVNB_OUTPUTS") or project_root() / "outputs").expanduser().resolve()


def shown(path: Path) -> str:
    """Return ``path`` as it is printed: relative to the project, so that saved notebooks name no machine."""
    path = Path(path)
    for root in (project_root(), data_dir().parent, outputs_dir().parent):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of ``path`` that takes its place when the block ends, and vanishes if it fails.

    A reader, or a machine that loses power, finds the old file or the new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
