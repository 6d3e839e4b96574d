"""Numbers in the notebooks' prose: each stands in a saved output, or says where it is from."""

import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from check_prose import untold  # noqa: E402


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_decimal_of_a_saved_notebook_is_borne_out(path):
    assert list(untold(path)) == []


def notebook(tmp_path, prose, output="AP 62.84, gain 5.0", html=""):
    cells = nbformat.v4.new_notebook()
    shown = [nbformat.v4.new_output("stream", text=output)]
    if html:
        shown.append(nbformat.v4.new_output("display_data", {"text/html": html}))
    cells.cells = [nbformat.v4.new_code_cell("print()", outputs=shown), nbformat.v4.new_markdown_cell(prose)]
    nbformat.write(cells, tmp_path / "one.ipynb")
    return [number for number, _ in untold(tmp_path / "one.ipynb")]


@pytest.mark.parametrize(
    "prose",
    [
        "The AP is 62.8.",
        "It gains 5.0 dB.",
        "With `-p sweep alpha` it is 74.2.",
        "The paper has 50.6.",
        "Section 3.3 says how.",
        "There are 132 clips.",
    ],
)
def test_a_number_passes_that_is_shown_or_says_where_it_is_from(tmp_path, prose):
    assert notebook(tmp_path, prose) == []


@pytest.mark.parametrize(
    ("prose", "found"),
    [
        ("The AP is 62.9.", ["62.9"]),  # rounded the wrong way
        ("The AP is 62.845.", ["62.845"]),  # more digits than are shown
        ("It gains 4.1 dB. The paper has 50.6.", ["4.1"]),  # the source is another sentence's
        ("- with `-p gate none` 48.1\n- without 52.3", ["52.3"]),  # the command is another point's
        ("It falls by −1.2.", ["1.2"]),
    ],
)
def test_a_number_is_listed_that_nothing_bears_out(tmp_path, prose, found):
    assert notebook(tmp_path, prose) == found


def test_a_table_counts_as_shown_but_its_style_does_not(tmp_path):
    html = "<style>td {opacity: 0.65}</style><td>91.3</td>"
    assert notebook(tmp_path, "It is 91.3, and 0.65.", html=html) == ["0.65"]
