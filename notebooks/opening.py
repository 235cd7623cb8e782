"""What every notebook begins with: the opening cell, the install cell, and the contents."""

import base64
import re
import tomllib
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

import pano_med
from minutes import Minutes

_HERE = Path(__file__).resolve().parent
_PROJECT = tomllib.loads((_HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY: str = _PROJECT["project"]["urls"]["Repository"]
TAG = f"v{pano_med.__version__}"


def headings(cells: list[NotebookNode]) -> list[tuple[int, str]]:
    """(level, text) of every heading in the Markdown cells; code blocks are no headings."""
    found = []
    for cell in cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"^(```|~~~).*?^\1", "", cell.source, flags=re.DOTALL | re.MULTILINE)
            found += [(len(m[1]), m[2].strip()) for m in re.finditer(r"^(#{1,6})\s+(.+?)\s*#*$", text, re.MULTILINE)]
    return found


def contents(cells: list[NotebookNode]) -> list[str]:
    """The headings of level 2."""
    return [text for level, text in headings(cells) if level == 2]


def anchor(heading: str) -> str:
    """The name that a heading's link leads to."""
    return "s-" + re.sub(r"\W+", "-", heading.lower()).strip("-")


def anchored(cell: NotebookNode) -> NotebookNode:
    """The cell with a link target before each heading of level 2."""
    if cell.cell_type == "markdown":
        for text in contents([cell]):
            mark = f'<a id="{anchor(text)}"></a>\n\n'
            cell.source = re.sub(
                rf"^##\s+{re.escape(text)}\s*#*$", lambda m, k=mark: k + m[0], cell.source, count=1, flags=re.MULTILINE
            )
    return cell


def opening_cell(
    header: dict[str, Any], number: int, path: str, time: Minutes, sections: list[str], kind: str
) -> NotebookNode:
    """The first cell: title, badge, what is learnt, minutes, prerequisites, contents.

    Args:
        header: the master's.
        number: the lesson's.
        path: the notebook's own, from the repository's root.
        time: of the lesson.
        sections: headings of level 2, in order.
        kind: "student" or "instructor".
    """
    link = f"{REPOSITORY.replace('https://github.com', 'https://colab.research.google.com/github')}/blob/{TAG}/{path}"
    learn = "\n".join(f"- {line}" for line in header["learn"])
    listed = "\n".join(f"1. [{text}](#{anchor(text)})" for text in sections)
    note = "\n*Instructor's notebook: the solutions are filled in.*\n" if kind == "instructor" else ""
    source = (
        f"# {number:02d} · {header['title']}\n\n[![Open in Colab](attachment:colab.png)]({link})\n{note}\n"
        f"**What you will learn**\n\n{learn}\n\n"
        f"**Time**: {time}.\n\n"
        f"**Before you start**: {header['prerequisites']}\n\n**Contents**\n\n{listed}"
    )
    picture = base64.b64encode((_HERE / "colab.png").read_bytes()).decode("ascii")
    badge = {"colab.png": {"image/png": picture}}  # inside the notebook: opening it asks nobody for a picture
    return nbformat.v4.new_markdown_cell(source, attachments=badge)


def install_cell() -> NotebookNode:
    """The second cell, which makes pano_med importable wherever it is not."""
    source = (_HERE / "install_cell.py").read_text(encoding="utf-8").rstrip()
    source = source.replace("{repository}", REPOSITORY).replace("{tag}", TAG)
    return nbformat.v4.new_code_cell(source, metadata={"tags": ["install"]})
