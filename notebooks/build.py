"""Make the notebooks from their masters: `python notebooks/build.py` (or `make notebooks`); `--time` measures them.

A master, `notebooks/src/NN_name.py` (jupytext py:percent), gives three files, and the same ones each time:
`notebooks/NN_name.ipynb` for students (stubs), `notebooks/instructor/NN_name.ipynb` (solutions) and
`pano_med/check/solutions/NN.json`. None of them is edited by hand.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).resolve().parent))
import execute  # noqa: E402  (the files beside this one)
import minutes  # noqa: E402
import opening  # noqa: E402

#: What the student's notebook leaves out, and what the instructor's does.
LEFT_OUT = {"student": {"solution", "instructor"}, "instructor": {"stub", "student"}}
TAGS = {"imports", "stub", "solution", "instructor", "student"}
HEADER = {"title": str, "learn": list, "prerequisites": str}
SECONDS = "run_seconds.json"


class MasterError(ValueError):
    """A master breaks a rule; the message says which, where, and what to do."""


@dataclass(frozen=True)
class Lesson:
    """A master as read: its number and name, header and cells."""

    number: int
    name: str
    header: dict[str, Any]
    cells: list[NotebookNode]
    seconds: float

    @property
    def minutes(self) -> minutes.Minutes:
        """How long it takes."""
        return minutes.of_cells(self.cells, self.seconds)

    @property
    def solutions(self) -> dict[str, str]:
        """Exercise id -> source of its solution."""
        return {cell.metadata["exercise"]: cell.source for cell in self.cells if has(cell, "solution")}


def has(cell: NotebookNode, tag: str) -> bool:
    """Whether a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def read(text: str, name: str, seconds: float = 0.0) -> Lesson:
    """Read a master.

    Args:
        text: its py:percent source, with a header of YAML.
        name: its file's name without suffix, "01_stuff_vs_things".
        seconds: measured run time.

    Raises:
        MasterError: a rule of the masters is broken.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise MasterError(f"{name}: a master is named NN_name, lower case, for example 01_stuff_vs_things")
    first, *cells = jupytext.reads(text, fmt="py:percent").cells
    found = re.fullmatch(r"---\n(.*?)\n?---", first.source, re.DOTALL) if first.cell_type == "raw" else None
    header = (yaml.safe_load(found[1]) or {}).get("lesson") if found else None
    _check_header(name, header)
    _check_cells(name, cells)
    return Lesson(int(name[:2]), name, header, cells, seconds)


def _check_header(name: str, header: Any) -> None:
    if not isinstance(header, dict):
        raise MasterError(f"{name}: it begins with a header `# ---`, `# lesson:` and the lesson's keys, then `# ---`")
    if set(header) != set(HEADER):
        raise MasterError(
            f"{name}: the header has the keys {', '.join(HEADER)} and no other; it has {', '.join(header)}"
        )
    for key, kind in HEADER.items():
        if not isinstance(header[key], kind) or not header[key]:
            raise MasterError(f"{name}: the header's `{key}` must be a {kind.__name__} that is not empty")
    if not all(isinstance(line, str) for line in header["learn"]):
        raise MasterError(f"{name}: each line of the header's `learn` is text; put one that holds a colon in quotes")


def _check_cells(name: str, cells: list[NotebookNode]) -> None:
    lesson = int(name[:2])
    unknown = {tag for cell in cells for tag in cell.metadata.get("tags", [])} - TAGS
    if unknown:
        raise MasterError(f"{name}: unknown tags {sorted(unknown)}; there are {sorted(TAGS)}")
    if sum(has(cell, "imports") for cell in cells) != 1:
        raise MasterError(f'{name}: exactly one cell has tags=["imports"] and holds all imports')
    for number, cell in enumerate(cells):
        identifier = cell.metadata.get("exercise")
        if (has(cell, "stub") or has(cell, "solution")) != (identifier is not None):
            raise MasterError(f'{name}: a cell with exercise="..." is a stub or a solution: cell {number}')
        if identifier is not None and not re.fullmatch(rf"{lesson}\.\d+", identifier):
            raise MasterError(f'{name}: exercise {identifier!r} must be "{lesson}.1", "{lesson}.2", ...')
        after = cells[number + 1] if number + 1 < len(cells) else None
        if has(cell, "stub") and not (after and has(after, "solution") and after.metadata["exercise"] == identifier):
            raise MasterError(f"{name}: the stub of exercise {identifier} is followed at once by its solution")
        before = cells[number - 1] if number else None
        if has(cell, "solution") and not (before and has(before, "stub")):
            raise MasterError(f"{name}: the solution of exercise {identifier} has no stub before it")


def notebook(lesson: Lesson, kind: str) -> NotebookNode:
    """The notebook for `kind` "student" or "instructor", without outputs."""
    kept = [cell for cell in lesson.cells if not LEFT_OUT[kind] & set(cell.metadata.get("tags", []))]
    folder = "notebooks" if kind == "student" else "notebooks/instructor"
    path = f"{folder}/{lesson.name}.ipynb"
    cells = [_clean(cell) for cell in kept]
    top = opening.opening_cell(lesson.header, lesson.number, path, lesson.minutes, opening.contents(cells), kind)
    cells = [top, opening.install_cell(), *(opening.anchored(cell) for cell in cells)]
    _name(cells)
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.validate(made)
    return made


def _clean(cell: NotebookNode) -> NotebookNode:
    """The cell with its text, tags and exercise, and nothing else."""
    kept = {key: cell.metadata[key] for key in ("tags", "exercise") if key in cell.metadata}
    if cell.cell_type == "markdown":
        return nbformat.v4.new_markdown_cell(cell.source, metadata=kept)
    return nbformat.v4.new_code_cell(cell.source, metadata=kept)


def _name(cells: list[NotebookNode]) -> None:
    """Ids from the text, so that an edit renames no other cell."""
    seen: dict[str, int] = {}
    for cell in cells:
        key = f"{cell.cell_type}\n{cell.source}"
        seen[key] = seen.get(key, 0) + 1
        cell["id"] = hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:12]


def files(lesson: Lesson, root: Path = ROOT) -> dict[Path, str]:
    """Every file that the lesson gives, with its text."""
    made = {
        root / "notebooks" / f"{lesson.name}.ipynb": notebook(lesson, "student"),
        root / "notebooks" / "instructor" / f"{lesson.name}.ipynb": notebook(lesson, "instructor"),
    }
    texts = {path: nbformat.writes(nb, version=4).rstrip("\n") + "\n" for path, nb in made.items()}
    solutions = root / "pano_med" / "check" / "solutions" / f"{lesson.number:02d}.json"
    return texts | {solutions: json.dumps(lesson.solutions, indent=1, ensure_ascii=False) + "\n"}


def masters(root: Path = ROOT) -> list[Path]:
    """The masters, in order."""
    return sorted((root / "notebooks" / "src").glob("[0-9][0-9]_*.py"))


def lesson_at(path: Path) -> Lesson:
    """Read a master from its file, with its measured run time."""
    measured = path.with_name(SECONDS)
    seconds = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    return read(path.read_text(encoding="utf-8"), path.stem, seconds.get(path.stem, 0.0))


def write(paths: Iterable[Path], root: Path = ROOT) -> list[Path]:
    """Write every file of these masters; return those that changed."""
    changed = []
    for path, text in (item for master in paths for item in files(lesson_at(master), root).items()):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def note_seconds(paths: Iterable[Path]) -> None:
    """Run each master's instructor notebook and write its seconds beside the masters."""
    for master in paths:
        (execute.OUT / "instructor" / f"{master.stem}.ipynb").unlink(missing_ok=True)  # a time noted earlier is no time
        made = execute.executed(execute.NOTEBOOKS / "instructor" / f"{master.stem}.ipynb")
        seconds = nbformat.read(made, as_version=4).metadata["pano_med"]["seconds"]
        noted = master.with_name(SECONDS)
        table = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else {}
        table[master.stem] = round(seconds)
        noted.write_text(json.dumps(dict(sorted(table.items())), indent=1) + "\n", encoding="utf-8")
        print(f"{master.stem}: {seconds:.0f} s")


def main() -> None:
    """Build all lessons, or those whose numbers are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("lessons", nargs="*", help="numbers, for example 01 04; all if none")
    parser.add_argument("--time", action="store_true", help="run the instructor's notebooks and note their seconds")
    given = parser.parse_args()
    chosen = [path for path in masters() if not given.lessons or path.name[:2] in given.lessons]
    try:
        changed = write(chosen)
        if given.time:
            note_seconds(chosen)
            changed += write(chosen)
    except MasterError as error:
        raise SystemExit(str(error)) from None
    for path in dict.fromkeys(changed):
        print(path.relative_to(ROOT))
    print(f"{len(chosen)} lessons, {len(set(changed))} files changed")


if __name__ == "__main__":
    main()
