"""docs/equations.md: every function it names exists and speaks of the equation, every section is in its notebook."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^\| (\d+) \| .+? \| \[`(avnb\.[\w.]+)`\]\(\.\./(.+?)\) \| \[(.+?)\]\(\.\./(.+?)\) \|$", re.M)
LINES = LINE.findall((ROOT / "docs" / "equations.md").read_text(encoding="utf-8"))


def source_of(path, names):
    """The text of a function or class as it stands in its file (what the tests import is wrapped by jaxtyping)."""
    text = (ROOT / path).read_text(encoding="utf-8")
    node = ast.parse(text)
    for name in names:
        node = next(part for part in node.body if getattr(part, "name", None) == name)
    return ast.get_source_segment(text, node)


def equations_in(text):
    """The numbers after "eq." or "eqs.", ranges and lists spelt out: "eqs. 2-4 and 6" is 2, 3, 4, 6."""
    numbers = set()
    for listed in re.findall(r"\b[Ee]qs?\. ([\d ,and-]+)", text):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", listed):
            numbers |= set(range(int(first), int(last or first) + 1))
    return numbers


def test_the_page_has_the_equations_of_five_papers():
    assert len(LINES) == 41
    assert len({notebook for *_, notebook in LINES}) == 5


@pytest.mark.parametrize(("number", "name", "path", "section", "notebook"), LINES)
def test_the_function_names_the_equation_and_the_section_is_there(number, name, path, section, notebook):
    _, folder, file, *names = name.split(".")
    assert path == f"avnb/{folder}/{file}.py"
    source = source_of(path, names)
    assert int(number) in equations_in(source), f"{name} does not speak of eq. {number}"
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    titles = [line.lstrip("# ") for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert section in titles
