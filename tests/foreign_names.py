"""Names as somebody else's files may hold them, and where this package shows names."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import avnb.video
import avnb.viewing

# What asks a browser for a file, or runs a script in it, writes ``hit`` into the page's window.
HOSTILE = (
    "<img src=x onerror=window.hit=1>", "</script><script>window.hit=2</script>", "<svg onload=window.hit=3>",
    "\" onmouseover=window.hit=4 x=\"", "' autofocus onfocus=window.hit=5 '", "</style><style>*{display:none}</style>",
    "<!--<script>", "&lt;b&gt;", "<b>", "javascript:window.hit=6", "<iframe src=//127.0.0.1/x>",
)  # fmt: skip
AWKWARD = (
    "$x^{$", "$a$", "$$", "a$b", "\\$", "\\frac", "$\\frac{1}$", "a_b", "_hidden", "100%", "{0}", "%s", "DATA", "MARK",
    "\x1b[2Jscreen", "two\nlines", "tab\there", "\u202eright to left", "\U0001f600", "大提琴", "x" * 900, " ",
)  # fmt: skip
NAMES = (*HOSTILE, *AWKWARD)


def shown_by(*words: str) -> dict[str, Callable]:
    """Return the public functions and methods of avnb.viewing and avnb.video that return one of ``words``."""
    found = {}
    for package in (avnb.viewing, avnb.video):
        for module in pkgutil.iter_modules(package.__path__):
            part = importlib.import_module(f"{package.__name__}.{module.name}")
            for place in (part, *(value for _, value in inspect.getmembers(part, inspect.isclass))):
                for name, function in inspect.getmembers(place, inspect.isfunction):
                    returned = str(function.__annotations__.get("return", ""))
                    own = function.__module__ == part.__name__ and not name.startswith("_")
                    if own and any(word in returned for word in words):
                        found[f"{module.name}.{function.__qualname__}"] = function
    return found
