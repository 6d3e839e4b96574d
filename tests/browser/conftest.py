"""A data set whose names would run scripts and ask for files, and a real browser that opens a page made of it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from foreign_names import HOSTILE, NAMES
from lab import chromium
from tiny_classes import CLASSES

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Comes near everything and puts the focus on it, as a reader's mouse and keyboard would.
TOUCH = """() => { for (const one of document.querySelectorAll('*')) {
  for (const kind of ['mouseover', 'mouseenter', 'focus']) one.dispatchEvent(new Event(kind));
  if (one.focus) one.focus();
} return window.hit }"""


@pytest.fixture(scope="session")
def hostile_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny data set, with hostile names of its own, its classes, its clips, its subsets and its recordings."""
    folder = tmp_path_factory.mktemp("hostile") / "data" / "<img src=x onerror=window.hit=7>"
    shutil.copytree(tiny_folder, folder)
    names = dict(zip(CLASSES, HOSTILE, strict=False))
    said = json.loads((folder / "dataset.json").read_text())
    said |= {"name": folder.name, "classes": [names[label] for label in said["classes"]], "note": HOSTILE[1]}
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row |= {"id": f"{NAMES[number % len(NAMES)]} {number}", "subset": row["subset"] + HOSTILE[2]}
        row["objects"] = [thing | {"label": names[thing["label"]]} for thing in row["objects"]]
    (folder / "dataset.json").write_text(json.dumps(said))
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[test]' brings playwright")
    if chromium() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or name one in AVNB_CHROMIUM")
    with playwright.sync_playwright() as player:
        running = player.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: "Browser", tmp_path: Path) -> Callable[[str], str]:
    """Return a function that opens HTML, sees that no name in it has become more than text, and returns its words."""

    def open_page(shown: str) -> str:
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><meta charset=utf-8><body>{shown}<p id=end>end</p>")
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url[:200]))
        page.goto(path.as_uri())
        hit = page.evaluate(TOUCH)
        foreign = page.locator("img[src=x], iframe, [onload], [onerror], [onmouseover]").count()
        end, words = page.locator("#end").is_visible(), page.evaluate("document.body.textContent")
        page.close()
        assert hit is None
        assert foreign == 0
        assert end  # no name has swallowed the rest, or hidden it
        assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
        return words

    return open_page
