"""What a run gives away: a folder with its best weights, settings, classes and results, a model card and checksums.

Such a folder is opened like a run's own. Its files are tensors (safetensors), JSON and text: nothing is unpickled. The
checksums tell a damaged or altered file from the one that was written, not who wrote it.
"""

import hashlib
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from avnb.errors import RunError, printable
from avnb.paths import shown, whole_file

SHIPPED = Path(__file__).parents[1] / "weights"  # <method>/: runs of the quick preset that come with avnb
SEAL = "checksums.json"
PARTS = ("settings.json", "data.json", "metrics.json", "history.json", "README.md", SEAL, "weights-*.safetensors")
HUB = "hf://"  # user/name: a repository on the Hugging Face Hub
COLUMNS = ("subset", "sources", "geometry", "classes", "threshold_rule", "clips")  # of a row, before its numbers
LEFT_OUT = ("method", "benchmark", "origin", *COLUMNS)
_MARKS = re.compile(r"[\\`*_\[\]|~$]|(?<=http)s?:|(?<=www)\.", re.IGNORECASE)  # what Markdown would obey inside a line


def seal(folder: Path) -> None:
    """Write the checksum of every file that is published in ``folder``."""
    parts = [path for part in PARTS if part != SEAL for path in folder.glob(part)]
    with whole_file(folder / SEAL) as temporary:
        sums = {path.name: _digest(path) for path in sorted(parts)}
        temporary.write_text(json.dumps({"sha256": sums}, indent=1) + "\n", encoding="utf-8")


def check_seal(folder: Path) -> None:
    """Raise RunError for the first file of a published folder that is missing or not as it was written."""
    try:
        sums = json.loads((folder / SEAL).read_text(encoding="utf-8"))["sha256"].items()
        there = {path.name for part in PARTS if part != SEAL for path in folder.glob(part)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{shown(folder / SEAL)} cannot be read ({error!r}). Fetch the folder again.") from None
    for name, digest in sums:
        if name not in there:
            raise RunError(f'{shown(folder)} lacks "{name}", which was published with it. Fetch the folder again.')
        if _digest(folder / name) != digest:
            raise RunError(
                f'{shown(folder)}: "{name}" is not what was published (its checksum differs): it was damaged on the '
                "way, or changed. Fetch the folder again."
            )
    if unknown := sorted(there - {name for name, _ in sums}):
        raise RunError(f'{shown(folder)} holds "{unknown[0]}", which was not published with it. Fetch it again.')


def card(method: str, data: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Return the model card, in Markdown: what it is, what it was trained on, and how it was judged."""
    real = data["origin"] == "real"
    rows = [row for row in metrics["rows"] if "clips" in row]
    measured = list(dict.fromkeys(name for row in rows for name in row if name not in LEFT_OUT))
    head = ["method", *(name.replace("_", " ") for name in COLUMNS), *map(markdown_text, measured)]
    lines = [" | ".join(_cell(row.get(name)) for name in ("method", *COLUMNS, *measured)) for row in rows]
    origin = (
        "Real clips; their pictures and sounds are their owners'."
        if real
        else "A drawn stand-in with synthetic sound: **nothing here compares with a published number**, and what it "
        "knows of real pictures comes from its trunk's ImageNet weights alone."
    )
    return "\n".join(
        [
            "---", "license: mit", "library_name: avnb", "tags: [audio-visual, sound-source-localization]", "---", "",
            f"# {markdown_text(method)}, trained on {markdown_text(data['benchmark'])}", "",
            f"Trained by avnb with the settings of settings.json (preset {metrics['settings']['preset']}, "
            f"seed {metrics['settings']['seed']}). {origin}", "",
            f"Classes, in the order of its outputs: {', '.join(map(markdown_text, data['classes']))}.", "",
            "```python", "import avnb", "", 'method = avnb.load("the folder, or hf://user/name")',
            'avnb.localize_video("concert.mp4", method)', "```", "",
            "## How it was judged", "",
            "Percentages, or dB for SDR, SIR and SAR. Rows named centre, whole, tile_* and oracle need no model: what "
            "does not beat them is worth nothing. `classes` says whether the true classes were given.", "",
            " | ".join(head), " | ".join("---" for _ in head), *lines, "",
            "The protocol of every row stands in metrics.json.",
        ]
    ) + "\n"  # fmt: skip


def upload(folder: Path, name: str) -> str:
    """Put a published folder into a repository of the Hub, made where there is none; return its address."""
    hub = _hub()
    try:
        hub.create_repo(name, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=str(folder), allow_patterns=list(PARTS))
    except Exception as error:  # no network, no token, no right: the Hub's client has a class for each
        raise RunError(f"{HUB}{name} cannot be written: {type(error).__name__}: {error}") from None
    return f"{HUB}{name}"


def download(name: str) -> Path:
    """Return the folder into which the published files of a Hub's repository were fetched."""
    hub = _hub()
    try:
        return Path(hub.snapshot_download(name, allow_patterns=list(PARTS)))
    except Exception as error:  # as above
        raise RunError(f"{HUB}{name} cannot be fetched: {type(error).__name__}: {error}") from None


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise RunError(f"Names with {HUB} need the Hub's client: pip install huggingface_hub") from None
    return huggingface_hub


def markdown_text(text: str) -> str:
    r"""Return text as Markdown prints it, on one line: no HTML, no column, link or formula, whatever its characters.

    >>> print(markdown_text("a_b | <b>"))
    a\_b \| &lt;b&gt;
    """
    line = html.escape(printable(re.sub(r"\s", " ", text)), quote=False)
    return _MARKS.sub(lambda found: "".join(f"\\{mark}" if not mark.isalpha() else mark for mark in found[0]), line)


def _cell(value: Any) -> str:
    if value is None or value != value:  # nothing could be counted
        return ""
    return f"{value:.1f}" if isinstance(value, float) else markdown_text(str(value))


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
