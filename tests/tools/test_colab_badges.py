"""Badges and Colab's lines: in every notebook if the project has an address, in none else, and of no harm elsewhere."""

import shutil
import sys
import types
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import colab_badges  # noqa: E402
from colab_badges import BADGE, INSTALLS, LACKING, repository, with_badge  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PLACE = "someone/avnb"


def imports_of(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells[2:] if cell.cell_type == "code")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_saved_notebook_is_as_the_project_s_address_has_it(path):
    saved = nbformat.read(path, as_version=4)
    again = with_badge(nbformat.read(path, as_version=4), path.name, repository(ROOT / "pyproject.toml"))
    assert saved == again


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_with_an_address_two_cells_change_and_nothing_that_was_saved(path):
    before, after = (nbformat.read(path, as_version=4) for _ in range(2))
    before = with_badge(before, path.name, "")
    with_badge(after, path.name, PLACE)
    changed = [
        number for number, cells in enumerate(zip(before.cells, after.cells, strict=True)) if cells[0] != cells[1]
    ]
    assert len(changed) == 2
    assert changed[0] == 0
    for number in changed:
        assert before.cells[number].get("outputs") == after.cells[number].get("outputs")
    assert f"/github/{PLACE}/blob/main/notebooks/{path.name})" in after.cells[0].source.splitlines()[2]
    assert len(imports_of(after).source.splitlines()) <= 40
    assert with_badge(nbformat.reads(nbformat.writes(after), as_version=4), path.name, PLACE) == after
    assert with_badge(after, path.name, "") == before
    assert not BADGE.search(after.cells[0].source)
    assert not INSTALLS.search(imports_of(after).source)


def test_the_lines_install_on_colab_alone_and_never_torch(monkeypatch):
    notebook = with_badge(nbformat.read(NOTEBOOKS[0], as_version=4), NOTEBOOKS[0].name, PLACE)
    source = imports_of(notebook).source
    lines = source[: INSTALLS.match(source).end()]
    ran = []
    shell = types.SimpleNamespace(run_line_magic=lambda *words: ran.append(words))
    code = compile(TransformerManager().transform_cell(lines), "cell", "exec")
    exec(code, {"get_ipython": lambda: shell})
    assert ran == []
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    exec(code, {"get_ipython": lambda: shell})
    assert [name for name, _ in ran] == ["pip", "pip"]
    assert "--no-deps" in ran[0][1]
    assert f"git+https://github.com/{PLACE}" in ran[0][1]
    assert not [word for _, words in ran for word in words.split() if word.startswith("torch")]


def test_what_colab_lacks_is_what_avnb_needs():
    text = (ROOT / "pyproject.toml").read_text()
    assert all(f'    "{name}' in text for name in LACKING)


def test_the_address_is_written_once_and_must_be_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(NOTEBOOKS[0], tmp_path / "notebooks")
    monkeypatch.setattr(colab_badges, "ROOT", tmp_path)
    for address in ("https://github.com/one/avnb", "https://github.com/two/avnb.git"):
        colab_badges.main([address])
    assert capsys.readouterr().out.splitlines()[-1] == "badges of two/avnb"
    assert (tmp_path / "pyproject.toml").read_text().count("[project.urls]") == 1
    assert "two/avnb" in nbformat.read(tmp_path / "notebooks" / NOTEBOOKS[0].name, as_version=4).cells[0].source
    with pytest.raises(SystemExit, match="no address on GitHub"):
        colab_badges.main(["https://example.org/avnb"])


def test_the_pictures_of_the_readme_are_under_a_megabyte_together():
    text = (ROOT / "README.md").read_text()
    pictures = [
        ROOT / part.split(")")[0] for part in text.split("](")[1:] if part.split(")")[0].endswith(("jpg", "gif"))
    ]
    assert pictures
    assert sum(path.stat().st_size for path in pictures) < 1_000_000
