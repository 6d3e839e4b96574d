"""Pages find their scripts and styles, and every page has a mark of its own."""

import tomllib
from pathlib import Path

from avnb.viewing.page import asset, filled, page_mark

ROOT = Path(__file__).resolve().parents[2]
ASSETS = sorted(path.name for path in (ROOT / "avnb" / "viewing" / "assets").iterdir())


def test_every_asset_is_found_as_an_installed_package_finds_it():
    assert ASSETS
    assert all(asset(name).strip() for name in ASSETS)


def test_values_are_filled_in_at_once_so_that_no_value_is_searched_for_words():
    script = filled("tsne.js", MARK="DATA", SHEET="MARK", DATA="{}")
    assert 'getElementById("DATA"), d = {}, sheet = "MARK"' in script


def test_the_same_page_has_the_same_mark_and_another_has_another():
    assert page_mark("book", "a") == page_mark("book", "a") != page_mark("book", "b")


def test_an_installed_package_has_every_asset():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = ROOT / "avnb" / "viewing"
    assert {path for pattern in patterns["avnb.viewing"] for path in folder.glob(pattern)} >= {
        folder / "assets" / name for name in ASSETS
    }
