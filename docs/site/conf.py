"""How `make site` makes a site of README, docs/ and the notebooks as they are saved; nothing is run for it."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    "Notebooks": sorted(f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")),
    "Pages": [
        *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
        "data/README.md",
        "outputs/README.md",
    ],
    "About": ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"],
}

project = "avnb"
root_doc = "README"
include_patterns = ["README.md", *(page for pages in PAGES.values() for page in pages)]
extensions = ["myst_nb", "sphinx-mathjax-offline", "sphinxcontrib.mermaid"]
nb_execution_mode = "off"
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
html_theme = "sphinx_book_theme"
html_title = "avnb"
html_copy_source = False
html_extra_path = ["index.html"]


def for_the_site(app: Any, page: str, source: list[str]) -> None:
    """Give the first page the contents of the site; leave of links to folders, which are no pages, their text."""
    folder = (ROOT / page).parent

    def without_folder(link: re.Match[str]) -> str:
        return link[1] if (folder / link[2]).is_dir() else link[0]

    source[0] = re.sub(r"\[([^\[\]]+)\]\(([^()#:\s]+)\)", without_folder, source[0])
    if page == root_doc:
        for caption, pages in PAGES.items():
            names = "\n".join(re.sub(r"\.\w+$", "", name) for name in pages)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", for_the_site)
