"""The rules of lessons as functions: each takes a lesson or notebook and gives what breaks the rule, in words."""

import ast
import itertools
import re
from collections.abc import Callable, Iterator

from nbformat import NotebookNode

import opening
from build import Lesson, has, notebook

#: Lesson 00 is an opening; every other has at least four exercises.
FEWEST = {0: 2}
#: Seconds that a lesson may take on two cores; 05 trains in front of the student.
LIMIT = 120
LONGER = {"05_training_on_gpu": 480}
ENDINGS = ("Summary", "Where to go next", "Sources")


def tree(cell: NotebookNode) -> ast.Module:
    """A code cell as syntax, without magics."""
    lines = ("" if line.lstrip().startswith(("%", "!")) else line for line in cell.source.splitlines())
    return ast.parse("\n".join(lines))


def codes(made: NotebookNode) -> list[NotebookNode]:
    """The code cells."""
    return [cell for cell in made.cells if cell.cell_type == "code"]


def functions(cell: NotebookNode) -> dict[str, str]:
    """Name -> arguments of the functions that a cell defines."""
    return {n.name: ast.unparse(n.args) for n in tree(cell).body if isinstance(n, ast.FunctionDef)}


def headings(lesson: Lesson) -> Iterator[str]:
    """One H1, at the top; no level is skipped; the lesson's endings are there."""
    for kind in ("student", "instructor"):
        found = opening.headings(notebook(lesson, kind).cells)
        levels = [level for level, _ in found]
        if levels.count(1) != 1 or levels[0] != 1:
            yield f"{kind}: one heading of level 1, the generator's; there are {levels.count(1)}"
        for (before, _), (level, text) in itertools.pairwise(found):
            if level > before + 1:
                yield f"{kind}: heading {text!r} skips from level {before} to {level}"
        yield from (f"{kind}: no section {end!r}" for end in ENDINGS if (2, end) not in found)
        texts = [text for level, text in found if level == 2]
        yield from (f"{kind}: two sections are named {t!r}" for t in set(texts) if texts.count(t) > 1)


def first_cells(lesson: Lesson) -> Iterator[str]:
    """The install cell is the first code cell, the imports are the second, and nothing is imported elsewhere."""
    for kind in ("student", "instructor"):
        cells = codes(notebook(lesson, kind))
        if not has(cells[0], "install") or not has(cells[1], "imports"):
            yield f"{kind}: the first code cell installs, the second imports"
        for cell in cells[2:]:
            if any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree(cell))):
                yield f"{kind}: an import outside the imports cell: {cell.source[:60]!r}"


def guesses(lesson: Lesson) -> Iterator[str]:
    """There is a guess, each is shown, and each reveal has its guess in an earlier cell."""
    known: set[str] = set()
    shown: set[str] = set()
    for cell in codes(notebook(lesson, "instructor")):
        body = tree(cell)
        for call in (n for n in ast.walk(body) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)):
            name = ast.unparse(call.func.value)
            if call.func.attr == "reveal" and name not in known:
                yield f"{name}.reveal(...) comes without a Guess in an earlier cell"
        for node in (n for n in body.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call)):
            if ast.unparse(node.value.func).endswith("Guess"):
                known |= {ast.unparse(target) for target in node.targets}
        last = body.body[-1] if body.body else None
        shown |= {ast.unparse(last.value)} if isinstance(last, ast.Expr) else set()
    yield from (f"the guess {name} is not the last line of a cell, so nobody sees it" for name in sorted(known - shown))
    if not known:
        yield "there is no Guess"


def exercises(lesson: Lesson) -> Iterator[str]:
    """Enough exercises, numbered in order; stub and solution alike; the check comes next; hints are offered."""
    ids = list(lesson.solutions)
    fewest = FEWEST.get(lesson.number, 4)
    if len(ids) < fewest or ids != [f"{lesson.number}.{n + 1}" for n in range(len(ids))]:
        yield f"at least {fewest} exercises, {lesson.number}.1, {lesson.number}.2, ...; there are {ids}"
    every = "\n".join(cell.source for cell in lesson.cells)
    for at, cell in enumerate(lesson.cells):
        if not has(cell, "stub"):
            continue
        name, right = cell.metadata["exercise"], lesson.cells[at + 1]
        if not functions(cell) or functions(cell) != functions(right):
            yield f"{name}: the stub defines {functions(cell)}, its solution {functions(right)}"
        if not re.search(rf'raise NotImplementedError\(\s*"exercise {re.escape(name)}: ', cell.source):
            yield f'{name}: the stub raises NotImplementedError("exercise {name}: ...")'
        call = re.search(
            rf'^check\.answer\("{re.escape(name)}", (\w+)\)', _next_code(lesson.cells[at + 2 :]), re.MULTILINE
        )
        if not call or call[1] not in functions(cell):
            yield f'{name}: the next code cell holds check.answer("{name}", FUNCTION)'
        lost = [f'check.{what}("{name}")' for what in ("hint", "solution") if f'check.{what}("{name}")' not in every]
        yield from (f"{name}: {call} is not offered" for call in lost)
    for cell in (c for c in lesson.cells if c.cell_type == "code"):
        if re.search(r"^check\.(hint|solution)\(", cell.source, re.MULTILINE):
            yield f"hints and solutions wait to be called: {cell.source[:60]!r}"


def _next_code(cells: list[NotebookNode]) -> str:
    return next((cell.source for cell in cells if cell.cell_type == "code"), "")


def alt_texts(lesson: Lesson) -> Iterator[str]:
    """Pictures in the text have alt text. Those that cells make are looked at in test_notebooks, after a run."""
    for cell in notebook(lesson, "instructor").cells:
        if cell.cell_type == "markdown":
            yield from (f"no alt text: {m[0]}" for m in re.finditer(r"!\[\s*\]\([^)]*\)", cell.source))
            yield from bare_images(cell.source)


def bare_images(markup: str) -> Iterator[str]:
    """<img> without alt text."""
    for image in re.findall(r"<img\b[^>]*>", markup):
        if not re.search(r'\balt="[^"]*\w[^"]*"', image):
            yield f"no alt text: {image[:80]}"


RULES: list[Callable[[Lesson], Iterator[str]]] = [headings, first_cells, guesses, exercises, alt_texts]
