"""The house keeps its plan (docs/house.md): imports go down, no two files import each other, no room is too large."""

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "avnb"
FILES = {path.relative_to(PACKAGE).with_suffix("").as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

# From the lowest floor up. A file may import its own floor and those below; "" is avnb/__init__.py.
FLOORS = (
    ("paths", "errors"),
    ("data", "metrics", "papers", "networks", "devices", "config"),
    ("models", "prepare", "standin"),
    ("training", "datasets"),
    ("evaluation", "viewing", "notebook"),
    ("video",),
    ("",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

LONGEST_FILE = 450  # lines
LONGEST_FUNCTION = 50  # lines, the docstring aside; drawing code reads from top to bottom and is left out
AT_THE_ROOT = 8  # files
LARGEST_ROOM = 0.25  # of the package's lines


def room(module: str) -> str:
    """Return the folder (or the file at the root) that a module, "viewing/plots", belongs to."""
    return "" if module == "__init__" else module.split("/")[0]


def module_of(name: str) -> str | None:
    """Return the module that a dotted name means, "viewing/plots"; None for what is no file of the package."""
    place = "/".join(name.split(".")[1:])
    return next((one for one in (place, f"{place}/__init__".lstrip("/")) if one in FILES), None)


def imports(module: str) -> Iterator[tuple[str, int, bool]]:
    """Yield each module of the package that a module imports, the line, and whether that is when it is loaded."""
    tree = ast.parse(FILES[module].read_text())
    waiting: list[tuple[ast.AST, bool]] = [(tree, True)]
    while waiting:
        node, loading = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if module_of(name) else node.module for name in names]
        for name in dict.fromkeys(names):
            if name.split(".")[0] == "avnb" and (other := module_of(name)) and other != module:
                yield other, node.lineno, loading
        inside = loading and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        waiting += [(child, inside) for child in ast.iter_child_nodes(node)]


def line_of(module: str, line: int) -> str:
    return f"avnb/{module}.py, line {line}: {FILES[module].read_text().splitlines()[line - 1].strip()}"


def lengths() -> dict[str, int]:
    return {module: len(path.read_text().splitlines()) for module, path in FILES.items()}


def functions() -> Iterator[tuple[str, str, int, str]]:
    """Yield every function: its module, its name, its lines without the docstring, and its docstring."""
    for module, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node) or ""
                first = node.body[0]
                yield module, node.name, node.end_lineno - (first.end_lineno if text else node.lineno), text


def test_every_room_has_a_floor():
    assert {room(module) for module in FILES} <= set(FLOOR)


def test_no_import_goes_up():
    up = [
        line_of(module, line)
        for module in FILES
        for other, line, _ in imports(module)
        if FLOOR[room(other)] > FLOOR[room(module)]
    ]
    assert not up, "\n".join(["these lines import from a floor above:", *up])


def test_no_two_files_import_each_other():
    """Imports inside functions count too: they would hide a circle, not break it."""
    below = {module: {other: line for other, line, _ in imports(module)} for module in FILES}
    done: set[str] = set()

    def circle(module: str, trail: list[str]) -> list[str]:
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return []
        for other in below[module]:
            if found := circle(other, [*trail, module]):
                return found
        done.add(module)
        return []

    for module in FILES:
        ring = circle(module, [])
        lines = [line_of(a, below[a][b]) for a, b in pairwise(ring)]
        assert not ring, "\n".join(["these lines import in a circle:", *lines])


def test_prepares_workers_import_no_torch():
    seen, waiting = set(), ["prepare/cut"]
    while waiting:
        module = waiting.pop()
        seen.add(module)
        assert not re.search(r"^(import|from) torch", FILES[module].read_text(), re.M), f"avnb/{module}.py has torch"
        parents = ["/".join([*module.split("/")[:-1], "__init__"])] if "/" in module else []
        waiting += [one for one in parents if one not in seen]
        waiting += [other for other, _, loading in imports(module) if loading and other not in seen]


def test_no_file_is_longer_than_it_may_be():
    long = {module: lines for module, lines in lengths().items() if lines > LONGEST_FILE}
    assert not long, f"longer than {LONGEST_FILE} lines: {long}"


def test_no_room_holds_more_than_a_quarter():
    every = lengths()
    rooms: dict[str, int] = {}
    for module, lines in every.items():
        rooms[room(module)] = rooms.get(room(module), 0) + lines
    share = {name: round(lines / sum(every.values()), 3) for name, lines in rooms.items()}
    assert max(share.values()) <= LARGEST_ROOM, share


def test_few_files_stand_at_the_root():
    at_root = [path.name for path in PACKAGE.iterdir() if path.is_file()]
    assert len(at_root) <= AT_THE_ROOT, at_root


def test_no_function_is_longer_than_it_may_be():
    long = [
        f"avnb/{module}.py, {name}: {lines} lines"
        for module, name, lines, _ in functions()
        if lines > LONGEST_FUNCTION and room(module) != "standin"
    ]
    assert not long, "\n".join(long)


def test_a_notebook_that_is_said_to_introduce_a_name_uses_it():
    """ "Introduced in notebooks/X" sends a reader there: X uses the name (of a file: a public name in it)."""
    text = {}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        text[path.name] = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    lost = []
    for module, path in FILES.items():
        tree = ast.parse(path.read_text())
        for node in (node for node in ast.walk(tree) if isinstance(node, documented)):
            place = re.search(r"Introduced in\s+notebooks/(\w+\.ipynb)", ast.get_docstring(node) or "")
            if place is None:
                continue
            inside = [part.name for part in tree.body if isinstance(part, (ast.ClassDef, ast.FunctionDef))]
            names = inside if isinstance(node, ast.Module) else [node.name]
            if not any(re.search(rf"\b{name}\b", text.get(place[1], "")) for name in names):
                lost.append(f"avnb/{module}.py, {getattr(node, 'name', 'the file')}: {place[1]} does not use it")
    assert not lost, "\n".join(lost)
