"""The rules of the house, read off the source: floors, imports, devices, docstrings, notebooks, the tour."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pano_med"
FILES = sorted(PACKAGE.rglob("*.py"))

#: Every room of the package stands here once; imports point to lower floors only.
FLOORS: dict[str, int] = {
    "types": 1,
    "formats": 2,
    "fusion": 2,
    "metrics": 2,
    "models": 2,
    "pictures": 2,
    "synthetic": 2,
    "tiles": 2,
    "data": 3,
    "outputs": 3,
    "training": 3,
    "transforms": 3,
    "weights": 3,
    "check": 4,
    "lessons": 4,
    "predict": 4,
    "report": 4,
    "slides": 4,
    "cli": 5,
    "demo": 5,
    "widgets": 5,
}
#: The steps on one floor, left room to right room; together they have no way round.
BESIDE = {
    ("check", "lessons"),
    ("cli", "demo"),
    ("cli", "widgets"),
    ("lessons", "predict"),
    ("lessons", "slides"),
    ("slides", "predict"),
    ("slides", "report"),
    ("training", "data"),
    ("training", "transforms"),
    ("training", "weights"),
}
#: Rooms that people may use without torch.
LIGHT = ("types", "formats", "pictures", "metrics", "lessons", "check", "widgets")


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(tree: ast.AST, path: Path) -> list[str]:
    """Absolute dotted names of everything a file imports, for example 'pano_med.types.HE_CORE'."""
    package = ["pano_med", *path.relative_to(PACKAGE).parts[:-1]]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{module}.{a.name}" for a in node.names]
    return names


def _typing_only(tree: ast.Module) -> set[ast.AST]:
    """Nodes under `if TYPE_CHECKING:`, which never run."""
    blocks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test).endswith("TYPE_CHECKING")]
    return {child for block in blocks for child in ast.walk(block)}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda p: str(p.relative_to(ROOT)))


def test_every_room_stands_on_a_floor_and_every_listed_room_is_there() -> None:
    rooms = {_room(f) for f in FILES} - {"__init__", "__main__"}
    assert rooms == set(FLOORS), "list a new room in FLOORS, take a lost one out"


def test_the_steps_on_one_floor_have_no_way_round() -> None:
    left = set(BESIDE)
    assert all(FLOORS[a] == FLOORS[b] for a, b in left)
    while left:
        ends = {b for _, b in left} - {a for a, _ in left}
        assert ends, f"rooms import each other in a circle: {sorted(left)}"
        left = {(a, b) for a, b in left if b not in ends}


@_each(FILES)
def test_imports_point_down(path: Path) -> None:
    room = _room(path)
    if room in ("__init__", "__main__"):
        return
    targets = {n.split(".")[1] for n in _imports(_tree(path), path) if n.startswith("pano_med.")} & set(FLOORS)
    up = {t for t in targets - {room} if FLOORS[t] >= FLOORS[room] and (room, t) not in BESIDE}
    assert not up, f"{room} (floor {FLOORS[room]}) may not import {sorted(up)}"


@_each([f for f in FILES if FLOORS.get(_room(f), 9) < 3 and _room(f) not in ("fusion", "models")])
def test_torch_is_for_fusion_models_and_the_floors_above(path: Path) -> None:
    tree = _tree(path)
    hidden = _typing_only(tree)
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) and n not in hidden]
    names = [name for n in nodes for name in _imports(n, path)]
    assert not [name for name in names if re.match(r"(torch\w*|monai|timm|lightning\w*)\b", name)]


@pytest.mark.parametrize("module", ["pano_med", *(f"pano_med.{room}" for room in LIGHT)])
def test_light_rooms_leave_torch_alone(module: str) -> None:
    code = f"import sys, {module}; print(*{{'torch', 'monai', 'torchmetrics'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, ""), f"{module} imports {done.stdout}{done.stderr}"


@_each(FILES)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


@_each(FILES)
def test_no_device_is_written_into_the_code(path: Path) -> None:
    strings = [n.value for n in ast.walk(_tree(path)) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert not [s for s in strings if re.fullmatch(r"cuda(:\d+)?", s)]


@_each(FILES)
def test_nothing_loaded_can_run_code(path: Path) -> None:
    tree = _tree(path)
    assert not [n for n in _imports(tree, path) if re.match(r"(pickle|cPickle|dill|joblib|shelve|marshal)\b", n)]
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        options = {k.arg: ast.unparse(k.value) for k in call.keywords}
        assert options.get("allow_pickle", "False") == "False", f"line {call.lineno}"
        if ast.unparse(call.func) == "torch.load":
            assert options.get("weights_only") == "True", f"line {call.lineno}: torch.load without weights_only=True"
        assert ast.unparse(call.func) not in ("eval", "exec"), f"line {call.lineno}"


@_each(FILES)
def test_public_names_explain_themselves(path: Path) -> None:
    tree = _tree(path)
    public = [n for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef) and not n.name.startswith("_")]
    methods = [m for c in public if isinstance(c, ast.ClassDef) for m in c.body if isinstance(m, ast.FunctionDef)]
    named = [n.name for n in [*public, *methods] if not n.name.startswith("_") and not _explained(n)]
    assert ast.get_docstring(tree), "a module says in its first line what it is for"
    assert not named, f"no docstring: {named}"


def _explained(node: ast.ClassDef | ast.FunctionDef) -> bool:
    """A docstring of its own; `forward` of a network part is told by its class."""
    return bool(ast.get_docstring(node)) or node.name == "forward"


@_each([f for f in FILES if _room(f) != "cli"])
def test_imports_stand_at_the_top(path: Path) -> None:
    functions = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    late = [i.lineno for f in functions for i in ast.walk(f) if isinstance(i, ast.Import | ast.ImportFrom)]
    assert not late, f"imports inside functions, lines {late}"


def test_the_lines_above_can_see_a_fault(tmp_path: Path) -> None:
    path = PACKAGE / "formats" / "x.py"  # not written; only its place matters
    assert _imports(ast.parse("from . import a\nfrom ..models import b\nimport torch.nn"), path) == [
        "pano_med.formats.a",
        "pano_med.models.b",
        "torch.nn",
    ]
    tree = ast.parse("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nimport numpy")
    assert [ast.unparse(n) for n in _typing_only(tree) if isinstance(n, ast.Import)] == ["import torch"]


def test_notebooks_import_public_names_only() -> None:
    for path in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in (c for c in cells if c["cell_type"] == "code"):
            source = "".join(line for line in cell["source"] if not line.lstrip().startswith(("%", "!")))
            names = [n for n in _imports(ast.parse(source), PACKAGE / "x.py") if n.startswith("pano_med")]
            private = [n for n in names if re.search(r"\._", n)]
            assert not private, f"{path.name} imports {private}"


def _code_lines(path: Path) -> int:
    """Lines that hold code: not blank, not comment, not docstring."""
    tree, lines = _tree(path), path.read_text(encoding="utf-8").splitlines()
    told: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            told |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return sum(bool(s.strip()) and not s.lstrip().startswith("#") and i not in told for i, s in enumerate(lines, 1))


def test_the_tour_fits_in_half_an_hour() -> None:
    tour = ROOT / "docs" / "tour.md"
    if not tour.exists():
        pytest.skip("there is no tour yet")
    listed = set(re.findall(r"pano_med/[\w/]+\.py", tour.read_text(encoding="utf-8")))
    missing = [name for name in sorted(listed) if not (ROOT / name).is_file()]
    assert listed, "the tour names no file"
    assert not missing, f"the tour leads to files that are not there: {missing}"
    counts = {name: _code_lines(ROOT / name) for name in sorted(listed)}
    assert sum(counts.values()) <= 1500, counts
