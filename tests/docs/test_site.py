"""make site: every page that a reader is sent to is one of the site's."""

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = runpy.run_path(str(ROOT / "docs" / "site" / "conf.py"))


def test_every_notebook_and_every_page_is_in_the_contents():
    listed = {page for pages in SITE["PAGES"].values() for page in pages}
    there = {
        path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("notebooks/[0-9]*.ipynb"), *ROOT.glob("docs/*.md"))
    }
    assert there <= listed
    assert all((ROOT / page).is_file() for page in listed)


def test_the_first_page_has_the_contents_and_links_to_folders_are_text():
    source = ["See [the tests](tests/docs) and [the house](docs/house.md)."]
    SITE["for_the_site"](None, "README", source)
    assert source[0].startswith("See the tests and [the house](docs/house.md).")
    assert "notebooks/04_avgn\n" in source[0]
    source = ["[methods](../avnb/models)"]
    SITE["for_the_site"](None, "docs/house", source)
    assert source == ["methods"]
