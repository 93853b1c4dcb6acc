"""The structure that docs/design.md describes: the rooms, their order, and names that exist once."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tinyedge"
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
MAX_ROOMS = 22


def list_rooms(page: str) -> list[str]:
    """Names of the rooms in a page's table, from top to bottom."""
    return re.findall(r"^\| `tinyedge/(\w+)/` \|", (ROOT / page).read_text(), re.MULTILINE)


def imported_rooms(tree: ast.AST) -> set[str]:
    """Rooms that a module imports, also inside functions; imports for annotations alone do not count."""
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: list[str] = []
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names]
    return {
        part[1] for part in parts if part[0] == "tinyedge" and len(part) > 1 and (PACKAGE / part[1]).is_dir()
    }


def test_no_module_stands_loose_at_the_root() -> None:
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "py.typed"}


@pytest.mark.parametrize("page", ["docs/design.md", "CONTRIBUTING.md"])
def test_the_tables_list_every_room_once(page: str) -> None:
    rooms = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert sorted(list_rooms(page)) == rooms
    assert len(rooms) <= MAX_ROOMS


@pytest.mark.parametrize("page", ["docs/design.md", "CONTRIBUTING.md"])
def test_a_room_imports_only_rooms_below_it(page: str) -> None:
    floor = {room: number for number, room in enumerate(list_rooms(page))}
    wrong = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, tree in TREES.items()
        if (room := path.relative_to(PACKAGE).parts[0]) in floor
        for other in imported_rooms(tree)
        if floor[other] < floor[room]
    ]
    assert wrong == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for annotations count here: they show which module cannot be understood without the other."""
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): tree for path, tree in TREES.items()}
    graph: dict[str, set[str]] = {}
    for module, tree in modules.items():
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        names = {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
        graph[module] = ({str(node.module) for node in imports} | names) & modules.keys()
    # A module that imports none of the modules that are left cannot be in a circle.
    while leaves := [module for module, imported in graph.items() if not imported & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert graph == {}


def test_no_class_name_stands_for_two_classes() -> None:
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_modules_stay_short() -> None:
    """At most 400 lines, so that a module can be read in one sitting."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in TREES}
    assert {name: length for name, length in lengths.items() if length > 400} == {}
