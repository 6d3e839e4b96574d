"""List the decimals in the notebooks' prose that no saved output of the same notebook shows (``make prose``).

A number passes if an output has it (to the digits that the prose gives), if the parameters cell has it, or if the text
says where else it is from: a paragraph or a list's point that names a command (`-p ...`, `make ...`, `avnb-...`), or a
sentence that names the README, a notebook, the paper, or a table or figure of it. ``python tools/check_prose.py 04``
checks one.
"""

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
DECIMAL = re.compile(r"(?<![\w.,/])[-−]?\d+\.\d+(?![\w]|[.,/]\d)")
COMMAND = re.compile(r"`(?:-p |make |avnb-|papermill |python )")
SOURCE = re.compile(
    r"\b(?:README|paper|papers|published|printed|notebooks? \d\d|Tables? \d|Fig\. ?\d|released code)\b", re.I
)
SECTION = re.compile(r"\b(?:[Ss]ections?|[Pp]art|MIT) (?=\d+\.\d+)\d+\.\d+|\b[A-Z][\w-]*-?v?\d+\.\d+\b")


def untold(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each decimal that nothing in the notebook bears out, with the sentence in which it stands."""
    notebook = nbformat.read(path, as_version=4)
    shown = " ".join(_texts(notebook))
    known = [_plain(number) for number in DECIMAL.findall(shown)]
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for paragraph in re.split(r"\n\s*\n|\n(?=[-*] )", cell.source):
            if COMMAND.search(paragraph):
                continue
            for sentence in _sentences(paragraph):
                if SOURCE.search(sentence):
                    continue
                for number in map(_plain, DECIMAL.findall(SECTION.sub("", sentence))):
                    if not any(_same(number, other) for other in known):
                        yield number, " ".join(sentence.split())


def _texts(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Yield what a reader sees of the outputs as text, and the parameters cell."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if "parameters" in cell.metadata.get("tags", []):
            yield cell.source
        for output in cell.outputs:
            yield output.get("text", "")
            data = output.get("data", {})
            yield data.get("text/plain", "")
            yield html.unescape(
                re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", data.get("text/html", ""), flags=re.S)
            )


def _sentences(paragraph: str) -> list[str]:
    """Return the sentences of a paragraph; the point of an abbreviation ends none."""
    return re.split(r"(?<!eq\.)(?<!eqs\.)(?<!Fig\.)(?<=[.:?!])\s+(?=[A-Z(*$`])", paragraph)


def _plain(number: str) -> str:
    return number.replace("−", "-").lstrip("-")


def _same(said: str, shown: str) -> bool:
    """Tell whether the prose's number is the output's, to as many digits as the prose gives."""
    digits = len(said.split(".")[1])
    if len(shown.split(".")[1]) < digits:
        return False
    return abs(float(said) - float(shown)) <= 0.5 * 10**-digits + 1e-9


def main(chosen: list[str]) -> int:
    """Print what is not borne out and return how much of it there is."""
    count = 0
    for path in sorted(FOLDER.glob("[0-9]*.ipynb")):
        if chosen and not any(path.name.startswith(wanted) for wanted in chosen):
            continue
        for number, sentence in untold(path):
            count += 1
            print(f"{path.name}: {number} stands in no output and names no source: {sentence}")
    print(f"{count} decimals to mend" if count else "every decimal stands in an output or says where it is from")
    return count


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:]) else 0)
