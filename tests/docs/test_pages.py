"""The pages for people who carry on the work: links that lead somewhere, examples that work, whole lists."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avnb import papers
from avnb.data.build import open_store
from avnb.data.store import ClipShape

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page):
    examples = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)  # their links are of files that they tell to write
    text = examples.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_house_has_every_folder_of_the_package():
    said = (ROOT / "docs" / "house.md").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "avnb").glob("*/__init__.py")}
    assert {name for name in folders if f"| `avnb/{name}` |" not in said or f"{name}/<br/>" not in said} == set()


def test_the_citation_names_the_papers_as_they_are_named_here():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    for paper in papers.PAPERS:
        assert paper.title in text
        assert f"https://arxiv.org/abs/{paper.arxiv}" in text
        assert all(name.split()[-1] in text for name in paper.authors)


@pytest.mark.parametrize("name", papers.NAMES)
def test_a_paper_is_linked_where_its_method_is_named(name):
    [paper] = [paper for paper in papers.PAPERS if paper.__name__.endswith(f".{name}")]
    [notebook] = (ROOT / "notebooks").glob(f"[0-9][0-9]_{name}.ipynb")
    for path in (ROOT / "README.md", ROOT / "avnb" / "models" / f"{name}.py", notebook):
        assert f"https://arxiv.org/abs/{paper.arxiv}" in path.read_text(encoding="utf-8"), path.name


def test_the_example_of_a_data_set_of_ones_own_is_read(tmp_path):
    page = (ROOT / "docs" / "add_a_dataset.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"`data/birds/(\S+)`.*?\n```json\n(.*?)```", page, re.S):
        (tmp_path / name).write_text(text)
    row = json.loads((tmp_path / "metadata.jsonl").read_text())
    for name in (row["file_name"], row["audio"]):
        (tmp_path / name).parent.mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / row["file_name"])
    soundfile.write(tmp_path / row["audio"], np.zeros(8000), 8000)
    store = open_store(tmp_path, ClipShape(size=32, rate=8000, seconds=1.0), progress=False)
    assert (store.name, store.classes[1], store.clip(0).labels) == ("birds", "wren", ("wren",))
