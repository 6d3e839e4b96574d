"""Where data/ and outputs/ are, what files are called, and files that are whole or absent.

Names come from other people's files: `file_name` is the one way from a name to a part of a path.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from avnb.errors import DataError, printable

LONGEST = 150  # bytes of a name as a part of a file's name, which most systems hold to 255
_UMASK = os.umask(0)
os.umask(_UMASK)
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


def say_where(what: str, folder: Path, variable: str) -> None:
    """Print that something is made in ``folder``, where nobody has said that it should be made there.

    That is so where the working folder is in no checkout, and neither AVNB_ROOT nor ``variable`` names a place.
    """
    at_home = all((project_root() / marker).exists() for marker in ROOT_MARKERS)
    if not at_home and not os.environ.get("AVNB_ROOT") and not os.environ.get(variable):
        where = printable(folder.as_posix())
        print(f"{what} in {where}, since this is no checkout of avnb; {variable} names another place.")


def shown(path: Path) -> str:
    """Return ``path`` as it is printed: relative to the project, so that saved notebooks name no machine."""
    path = Path(path)
    for root in (project_root(), data_dir().parent, outputs_dir().parent):
        if path.is_relative_to(root):
            return printable(path.relative_to(root).as_posix())
    return printable(path.as_posix())


def worker_environment() -> dict[str, str]:
    """Return the environment of a process that decodes: it finds this package wherever that lies, on one thread.

    Such a process is started with ``python -P``: a file called numpy.py in the working folder is not run.
    """
    home = Path(__file__).resolve().parents[1]
    own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if "site-packages" not in home.parts:  # not installed, or from its sources
        own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH", ""))))
    return os.environ | own


def file_name(name: str, longest: int = LONGEST) -> str:
    """Return ``name`` as a part of a file's name on any system; different names stay different.

    It is no path, is not hidden, is no option of a command and no pattern. One that is too long is cut, and a digest
    of all of it takes the place of the rest.

    >>> file_name("take 1"), file_name("../a:b"), file_name("-x")
    ('take 1', '%2e.%2fa%3ab', '%2dx')
    """
    spelt = re.sub(r"^[-.~ ]|[ .]$|[^\w .,+=()@~-]", lambda found: spell(found[0]), name) or "%"
    return shortened(spelt, longest)


def is_inside(name: Any) -> bool:
    """Tell whether a name, from a file perhaps, is a path that stays inside its folder, on any system."""
    if not isinstance(name, str) or not name or printable(name) != name or "\\" in name:
        return False
    return all(part not in ("", ".", "..") and len(part.encode()) <= 250 for part in name.split("/"))


def inside(folder: Path, name: str) -> Path:
    """Return a file's path in a folder; raise DataError where the name, or a link on the way, leads out of it."""
    path = folder / name
    if not is_inside(name) or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise DataError(f'"{name}" leads out of {shown(folder)}; nothing is written there.')
    return path


def spell(characters: str) -> str:
    """Return characters as a percent sign and two digits a byte."""
    return "".join(f"%{byte:02x}" for byte in characters.encode(errors="surrogateescape"))


def shortened(name: str, longest: int = LONGEST) -> str:
    """Return a name of at most so many bytes: cut, with a digest of all of it, where it is longer."""
    whole = name.encode(errors="surrogateescape")
    if len(whole) <= longest:
        return name
    return f"{whole[: longest - 13].decode(errors='ignore')}~{hashlib.sha256(whole).hexdigest()[:12]}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary neighbour of ``path`` that takes its place when the block ends, and vanishes if it fails.

    A reader, or a machine that loses power, finds the old file or the new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{shortened(path.name, 200)}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # a link, perhaps, that would be written through
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # some libraries write for the owner alone
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the system write down which files a folder holds (where it can be asked to)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError:  # some network disks
            pass
        finally:
            os.close(handle)
