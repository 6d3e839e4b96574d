"""The on-disk format of a prepared benchmark: dataset.json, metadata.jsonl, frames/, audio/, masks/.

``dataset.json`` is ``{"name", "classes", "origin": "real" | "stand-in", "note"}``; where one clip is a stand-in, so is
the set, and ``"origins"`` says how many clips are of which. ``metadata.jsonl`` has a row a clip:
``{"id", "split", "subset", "file_name", "audio", "start", "mask", "objects", "labels", "video"}``; ``labels`` stands
where boxes are missing, ``video`` where several clips come from one recording (two of them are never mixed).
"""

import json
import re
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from avnb.data.scene import SceneObject
from avnb.data.scratch import enough_space, new_database
from avnb.errors import DataError
from avnb.paths import shown, whole_file

SPLITS = ("train", "val", "test")
KEYS = {"id", "split", "subset", "file_name", "audio", "start", "mask", "objects", "labels", "video"}
LONGEST = 1000  # bytes of a name
LATEST = 10_000_000  # seconds at which a sound may start: 115 days
MOST = 65_535  # classes, which are kept in 16 bits
REQUIRED = ("id", "split", "subset", "file_name", "audio")
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: JSON can spell it, no file can hold it


@dataclass(frozen=True)
class DatasetInfo:
    """What dataset.json says: the name, the ordered classes, where the clips come from, and a note for readers.

    ``origin`` is "stand-in" where any clip is; ``origins`` are how many clips are of which, where they are of both.
    """

    folder: Path
    name: str
    classes: tuple[str, ...]
    origin: Literal["real", "stand-in"]
    note: str
    origins: Mapping[str, int] = field(default_factory=dict)

    @property
    def stand_in_share(self) -> str:
        """In words, which of the clips are stand-ins: "", "all clips" or "3 of 12 clips"."""
        if self.origin == "real":
            return ""
        counts = self.origins
        return f"{counts['stand-in']:,} of {sum(counts.values()):,} clips" if counts else "all clips"


@dataclass(frozen=True)
class Row:
    """A line of metadata.jsonl, checked: every path inside the folder, every box ordered, every class known."""

    line: int
    id: str
    split: str
    subset: str
    frame: str
    audio: str
    start: float
    mask: str | None
    objects: tuple[SceneObject, ...]
    labels: tuple[str, ...]
    video: str


def read_info(folder: Path) -> DatasetInfo:
    """Read ``folder``/dataset.json; raise DataError where it is missing or not of the format."""
    path = Path(folder) / "dataset.json"
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))  # with or without Windows' byte order mark
    except FileNotFoundError:
        if command := _unfinished(folder):
            raise DataError(f"{shown(folder)} is not prepared to the end. Continue with: {command}") from None
        raise DataError(
            f"{shown(folder)} has no dataset.json, so it is not a prepared benchmark; data/README.md shows the format."
        ) from None
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, numbers of 5,000 digits, 5,000 brackets
        raise DataError(f"{shown(path)} is not JSON ({error}); data/README.md shows what it must hold.") from None
    if not isinstance(said, dict) or not _is_text(said.get("name")):
        raise DataError(f'{shown(path)} must be an object with "name", "classes", "origin" and "note".')
    if said["name"].startswith(".") or re.search(r"[/\\]", said["name"]):
        raise DataError(f'{shown(path)}: "name" must do as the name of a folder, which {said["name"]!r} does not.')
    classes = said.get("classes")
    if not isinstance(classes, list) or not classes or not all(_is_text(label) for label in classes):
        raise DataError(f'{shown(path)}: "classes" must be a list of names, at least one.')
    if len(classes) > MOST or max(len(label.encode()) for label in classes) > LONGEST:
        raise DataError(f'{shown(path)}: "classes" are at most {MOST:,} names of at most {LONGEST} bytes.')
    if len(set(classes)) < len(classes):
        twice = next(label for label in classes if classes.count(label) > 1)
        raise DataError(f'{shown(path)}: class "{twice}" is listed twice; every class has one place in the order.')
    if said.get("origin") not in ("real", "stand-in"):
        raise DataError(f'{shown(path)}: "origin" must be "real" or "stand-in", not {said.get("origin")!r}.')
    origins = said.get("origins", {})
    if not _counts_both(origins) or (origins and said["origin"] == "real"):
        raise DataError(
            f'{shown(path)}: "origins" counts the clips of a set that holds both, {{"real": 90, "stand-in": 10}}, '
            f'whose "origin" is "stand-in"; it is {origins!r}.'
        )
    return DatasetInfo(Path(folder), said["name"], tuple(classes), said["origin"], str(said.get("note", "")), origins)


def _counts_both(origins: Any) -> bool:
    return origins == {} or (
        isinstance(origins, dict)
        and origins.keys() == {"real", "stand-in"}
        and all(type(count) is int and count > 0 for count in origins.values())
    )


def read_rows(folder: Path, classes: Sequence[str]) -> Iterator[Row]:
    """Yield the checked rows of ``folder``/metadata.jsonl; raise DataError naming the file, the line and the mend."""
    path = Path(folder) / "metadata.jsonl"
    known, printed = frozenset(classes), shown(path)
    try:
        with enough_space(), closing(new_database()) as lines_of, open(path, encoding="utf-8-sig") as file:
            lines_of.execute("CREATE TABLE lines (id TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")
            row = None
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = _read_row(line, f"{printed}, line {number}", number, known)
                try:
                    lines_of.execute("INSERT INTO lines VALUES (?, ?)", (row.id, number))
                except sqlite3.IntegrityError:
                    (first,) = lines_of.execute("SELECT line FROM lines WHERE id = ?", (row.id,)).fetchone()
                    raise DataError(
                        f'{printed}, line {number}: id "{row.id}" is already that of line {first}.'
                    ) from None
                yield row
            if row is None:
                raise DataError(f"{printed} is empty; a benchmark needs at least one clip.")
    except FileNotFoundError:
        raise DataError(f"{shown(folder)} has no metadata.jsonl; data/README.md shows the format.") from None
    except OSError as error:
        raise DataError(f"{printed} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{printed} is not UTF-8 text ({error}).") from None


def write_dataset(
    folder: Path,
    name: str,
    classes: Sequence[str],
    origin: Literal["real", "stand-in"],
    note: str,
    rows: Iterable[dict[str, Any]],
    origins: Mapping[str, int] | None = None,
) -> None:
    """Write metadata.jsonl, then dataset.json: a folder without the latter is not yet a benchmark.

    ``origins`` counts the clips of a set that holds both kinds.
    """
    folder = Path(folder)
    with whole_file(folder / "metadata.jsonl") as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    info: dict[str, Any] = {"name": name, "classes": list(classes), "origin": origin, "note": note}
    if origins:
        info["origins"] = dict(origins)
    with whole_file(folder / "dataset.json") as temporary:
        temporary.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def _unfinished(folder: Path) -> str:
    """Return the command that continues a folder which avnb-prepare has begun; "" where there is none."""
    try:
        return str(json.loads((Path(folder) / ".prepare" / "command.json").read_text(encoding="utf-8"))["command"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read_row(line: str, where: str, number: int, classes: frozenset[str]) -> Row:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); every line is one clip.") from None
    if not isinstance(said, dict):
        raise DataError(f"{where}: a clip is a JSON object, this is a {type(said).__name__}.")
    if missing := [key for key in REQUIRED if not _is_text(said.get(key))]:
        raise DataError(f'{where}: "{missing[0]}" is missing or not text; needed are {", ".join(REQUIRED)}.')
    if unknown := sorted(said.keys() - KEYS):
        raise DataError(f'{where}: unknown key "{unknown[0]}"; known are {", ".join(sorted(KEYS))}.')
    if said["split"] not in SPLITS:
        raise DataError(f'{where}: split "{said["split"]}" is none of {", ".join(SPLITS)}.')
    start = said.get("start", 0.0)
    if not _is_number(start) or not 0 <= start <= LATEST:
        raise DataError(f'{where}: "start" is a time in seconds, from 0 to {LATEST:,}, not {start!r}.')
    if long := [key for key in ("id", "subset", "video") if len(str(said.get(key)).encode()) > LONGEST]:
        raise DataError(f'{where}: "{long[0]}" is longer than {LONGEST} bytes, which no name is.')
    mask = said.get("mask")
    for key in ("file_name", "audio", "mask"):
        if said.get(key) is not None:
            _check_path(said[key], key, where)
    objects = said.get("objects", [])
    if not isinstance(objects, list):
        raise DataError(f'{where}: "objects" is a list, empty where nothing is known.')
    scene = tuple(_read_object(thing, where, classes) for thing in objects)
    labels = said.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f'{where}: "labels" is a list of class names.')
    for label in labels:
        _check_class(label, where, classes)
    video = said["id"] if said.get("video") is None else said["video"]
    if not _is_text(video):
        raise DataError(f'{where}: "video" is the name of a recording, not {video!r}.')
    sounding = tuple(dict.fromkeys([*(thing.label for thing in scene if thing.sounding), *labels]))
    return Row(
        number, said["id"], said["split"], said["subset"], said["file_name"], said["audio"], float(start), mask,
        scene, sounding, video,
    )  # fmt: skip


def _read_object(thing: Any, where: str, classes: frozenset[str]) -> SceneObject:
    if not isinstance(thing, dict) or not isinstance(thing.get("label"), str):
        raise DataError(f'{where}: an object is {{"label", "xyxy", "sounding"}}, not {thing!r}.')
    label = thing["label"]
    _check_class(label, where, classes)
    box = thing.get("xyxy")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise DataError(f'{where}: box of "{label}" is not four finite numbers: {box!r}; drop the box or mend it.')
    x0, y0, x1, y1 = (float(value) for value in box)
    for low, high, axis in ((x0, x1, "x"), (y0, y1, "y")):
        if high < low:
            raise DataError(
                f'{where}: box of "{label}" has {axis}1 < {axis}0 ({high:g} < {low:g}); boxes are x0, y0, x1, y1 in '
                "0..1. If these are x, y, w, h, write x + w and y + h in the last two places."
            )
        if low < 0 or high > 1:
            raise DataError(
                f'{where}: box of "{label}" leaves the frame ({axis} from {low:g} to {high:g}); boxes are fractions '
                "of the frame, 0..1: divide pixels by its width and height."
            )
    if not isinstance(thing.get("sounding", True), bool):
        raise DataError(f'{where}: "sounding" of "{label}" is true or false, not {thing["sounding"]!r}.')
    share = thing.get("share", 1.0)
    if not _is_number(share) or not 0 < share <= 1:
        raise DataError(f'{where}: "share" of "{label}" is above 0 and at most 1, not {share!r}.')
    return SceneObject(label, (x0, y0, x1, y1), thing.get("sounding", True), float(share))


def _check_class(label: str, where: str, classes: frozenset[str]) -> None:
    if label not in classes:
        raise DataError(f'{where}: class "{label}" is not among the {len(classes)} classes of dataset.json.')


def _check_path(path: Any, key: str, where: str) -> None:
    parts = path.replace("\\", "/").split("/") if _is_text(path) else []
    if all(part == "." for part in parts):
        raise DataError(f'{where}: "{key}" is a path inside the folder, not {path!r}.')
    if parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise DataError(f'{where}: "{key}" leaves the folder ({path}); paths are relative to it, without "..".')


def _is_number(value: Any) -> bool:
    """Tell whether a JSON value is a finite number (json.loads takes NaN, Infinity and numbers of any length)."""
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _is_text(value: Any) -> bool:
    """Tell whether a JSON value is text that can be a name or a path: not empty, encodable, without a NUL."""
    return isinstance(value, str) and value != "" and "\0" not in value and not _SURROGATE.search(value)
