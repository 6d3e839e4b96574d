"""Official annotation files, read with care: whatever is in them, the result is what they say or a sentence."""

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from avnb.data.media_files import why_unusable
from avnb.errors import DataError
from avnb.paths import shown
from avnb.prepare.media_folder import walk
from avnb.prepare.plan import Box, Options

LARGEST = 512 * 2**20  # bytes; every published list is smaller by far
SLACK = 0.01  # a corner so little outside the frame is rounding, further out it is no number


def annotation_files(options: Options) -> list[Path]:
    """Return the files of ``--annotations``, those of a folder one by one; raise DataError where one is missing."""
    files: list[Path] = []
    for path in options.annotations:
        if path.is_dir():
            files += [path / name for name in sorted(walk(path))]
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"{shown(path)} does not exist; --annotations takes files, or folders of files.")
    return files


def read_text(path: Path) -> str:
    """Read a text file; raise DataError where it is none."""
    if why := why_unusable(path):
        raise DataError(f"{shown(path)} {why}.")
    try:
        if path.stat().st_size > LARGEST:
            raise DataError(f"{shown(path)} is larger than {LARGEST // 2**20} MB, which no annotation file is.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text ({error}); download it again.") from None


def read_json(path: Path) -> Any:
    """Read a JSON file; raise DataError where it is none."""
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{shown(path)} is not JSON ({error}); download it again.") from None
    except ValueError as error:  # a number of 5,000 digits
        raise DataError(f"{shown(path)} is not JSON ({error}).") from None


def read_table(path: Path) -> list[list[str]]:
    """Read the rows of a list, its cells divided by commas, semicolons or tabs; raise DataError where it is none.

    Empty rows are left out. The heading says which sign divides cells; without a comma in it, it is one of the others.
    """
    text = read_text(path)
    if "\0" in text:
        raise DataError(f"{shown(path)} holds NUL characters, so it is no list; download it again.")
    try:
        lines = text.splitlines()
        first = next((line for line in lines if line.strip()), "")
        sign = next((sign for sign in ",;\t" if sign in first), ",")
        rows = list(csv.reader(lines, skipinitialspace=True, delimiter=sign))
    except csv.Error as error:
        raise DataError(f"{shown(path)} is not a comma-separated list ({error}).") from None
    return [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file that declares no entities, which could grow without bound; raise DataError else."""
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{shown(path)} declares entities, which no annotation does; it is not read.")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{shown(path)} is not XML ({error}); download it again.") from None


def corners(box: Any) -> tuple[Box | None, str]:
    """Return a box given as x0, y0, x1, y1 in 0..1, cut to the frame, or None and why it is no box.

    >>> corners([0.1, 0.2, 0.5, 1.001])
    ((0.1, 0.2, 0.5, 1.0), '')
    >>> corners([0.5, 0.2, -2.9e16, 0.9])[1]
    'corner outside the frame (x1 = -2.9e+16)'
    """
    numbers = isinstance(box, Sequence) and all(type(value) in (int, float) for value in box)
    if not numbers or len(box) != 4 or not all(math.isfinite(value) for value in box):
        return None, "not four numbers"
    for name, value in zip(("x0", "y0", "x1", "y1"), box, strict=True):
        if not -SLACK <= value <= 1 + SLACK:
            return None, f"corner outside the frame ({name} = {value:.4g})"
    x0, y0, x1, y1 = (min(max(float(value), 0.0), 1.0) for value in box)
    if x1 <= x0 or y1 <= y0:
        return None, "no width or no height"
    return (x0, y0, x1, y1), ""


def from_width_and_height(box: Any) -> tuple[Box | None, str]:
    """Return a box given as x, y, width, height in 0..1 (DSOL, and AVGN's copies), or None and why it is no box.

    >>> from_width_and_height([0.25, 0.0, 0.5, 1.0])
    ((0.25, 0.0, 0.75, 1.0), '')
    """
    if not isinstance(box, Sequence) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        return None, "not four numbers"
    x, y, width, height = box
    return corners([x, y, x + width, y + height])


def must(found: Any, path: Path, what: str) -> Any:
    """Return ``found`` if there is anything; raise DataError saying that ``path`` does not hold ``what``."""
    if not found:
        raise DataError(f"{shown(path)} holds no {what}; is it the official file? data/README.md says which are read.")
    return found


def unread(path: Path, known: Iterable[str]) -> DataError:
    """Return the error for an annotation file of no known kind."""
    return DataError(f"{shown(path)} is none of the annotation files read here: {', '.join(known)}.")
