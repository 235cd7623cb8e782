"""`make book`: lessons with their pictures, guides and the reference of all public doors as one static site.

Everything is copied to `build/book/source` in the places it has in the repository, so links between files hold, and
Sphinx makes `build/book/html` of it. The site asks nothing of other machines.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Iterator
from html import escape
from itertools import zip_longest
from pathlib import Path

import nbformat
import yaml
from sphinx.cmd.build import build_main

ROOT = Path(__file__).parents[2]
BOOK = Path(__file__).parent
sys.path.insert(0, str(ROOT / "notebooks"))
from execute import NOTEBOOKS, executed  # noqa: E402  the folder of notebooks is no package

#: What the site shows, beside the lessons.
PAGES = (
    *("README.md", "CHANGELOG.md", "docs/*.md", "docs/*.png", "docs/cards/*.png"),
    *("data_cards/*.md", "pano_med/weights/*.md"),
)
#: A page outside the site's frame: links lead to it as it is, and the lesson shows it in place of a picture.
LAB = "docs/fusion_lab.html"
ALONE = (r"\[([^\]]+)\]\(((?:\.\./)?" + re.escape(LAB) + r")\)", r'<a href="\2">\1</a>')
FRAME = (
    f'<p><a href="../{LAB}">The lab on a page of its own</a></p>'
    f'<iframe class="lab" title="Fusion lab" src="../{LAB}" loading="lazy"></iframe>'
)
#: The public doors, in the order of the tour.
DOORS = (
    *("types", "predict", "fusion", "metrics", "pictures", "formats", "outputs", "report", "tiles", "models"),
    *("weights", "data", "transforms", "synthetic", "training", "lessons", "check", "widgets"),
    "slides",
)
#: In the text of a lesson: the badge becomes a plain link, places to link to become MyST's (and differ from lesson to
#: lesson), and what is meant for teachers goes.
TEXT = (
    (r"(colab\.research\.google\.com/\S+/notebooks/)instructor/", r"\1"),
    (r"\[!\[([^\]]*)\]\([^)]*\)\]\((https?://[^)]*)\)", r"[\1](\2)"),
    (r'<a id="([^"]+)"></a>\n', r"(NAME-\1)="),
    (r"\]\(#", "](#NAME-"),
    (r"\n\*Instructor's notebook:[^\n]*\*\n", "\n"),
)
#: Fields of a data card that are for programs: patterns and tables.
MACHINE = ("classes", "split", "reading", "download")
SOLUTION = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
VIEW = "application/vnd.jupyter.widget-view+json"
#: The class of the picture that a widget leaves beside its view.
STILL = "pano-still-"
#: What the result of a guess says to somebody who made none; a reader cannot.
NO_GUESS = re.compile(r"<tr>((?!<tr>).)*your guess((?!<tr>).)*no guess.*?</tr>|<strong>You did not guess.*?</strong>")


def main(arguments: list[str] | None = None) -> int:
    """Builds the site; returns Sphinx's exit status, where a warning is an error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "book")
    out = parser.parse_args(arguments).out
    source, site = out / "source", out / "html"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    gather(source)
    folders = ["-c", str(BOOK), "-d", str(out / "doctrees"), str(source), str(site)]
    status = build_main(["--fail-on-warning", "--quiet", "--fresh-env", *folders])
    if (ROOT / LAB).exists():
        shutil.copyfile(ROOT / LAB, site / LAB)
    if status == 0:
        print(f"the book: {site / 'index.html'}")
    return status


def gather(source: Path) -> None:
    """Writes every page of the site, as Markdown or as an executed notebook, into `source`."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    shutil.copyfile(BOOK / "index.md", source / "index.md")
    for card in (source / "data_cards").glob("*.md"):
        card.write_text(facts_shown(card.read_text("utf-8")), "utf-8")
    (source / "notebooks").mkdir()
    for path in sorted((NOTEBOOKS / "instructor").glob("*.ipynb")):
        notebook = for_reading(nbformat.read(executed(path), as_version=4), path.stem)
        nbformat.write(notebook, source / "notebooks" / path.name)
    for page in source.rglob("*.md"):
        page.write_text(with_links_that_hold(page.read_text("utf-8"), page.parent), "utf-8")
    (source / "api").mkdir()
    for number, door in enumerate(DOORS):
        (source / "api" / f"{number:02}_{door}.md").write_text(reference(f"pano_med.{door}"), "utf-8")


def for_reading(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """A lesson as a page: no install cell, solutions folded away, links and pictures that need nobody else."""
    notebook.cells = [cell for cell in notebook.cells if "install" not in cell.metadata.get("tags", [])]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.pop("attachments", None)
            for old, new in TEXT:
                cell.source = re.sub(old, new.replace("NAME", name), cell.source)
        else:
            cell.outputs = list(_still(cell.outputs))
            if "FusionLab(" in cell.source and (ROOT / LAB).exists():
                cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": FRAME})]
            if "solution" in cell.metadata.get("tags", []):
                cell.metadata["tags"] = ["hide-input"]
                cell.metadata["mystnb"] = SOLUTION
    return notebook


def _still(outputs: list[nbformat.NotebookNode]) -> Iterator[nbformat.NotebookNode]:
    """Outputs without live views: a widget is its picture or, if it has none, its text."""
    for output, after in zip_longest(outputs, outputs[1:]):
        if VIEW in output.get("data", {}):
            if STILL in "".join((after or {}).get("data", {}).get("text/html", "")):
                continue
            del output.data[VIEW]
            if output.data["text/plain"].startswith("Guess: "):
                output.data["text/html"] = f"<p><strong>{escape(output.data['text/plain'])}</strong></p>"
        if NO_GUESS.search(output.get("data", {}).get("text/html", "")):
            output.data["text/html"] = NO_GUESS.sub("", output.data["text/html"])
        yield output


def with_links_that_hold(text: str, folder: Path) -> str:
    """A page in `folder` whose links to files that the site does not have, as the code, are plain words."""
    text = re.sub(*ALONE, text)

    def here(link: re.Match[str]) -> str:
        return link[0] if (folder / link[2]).is_file() else link[1]

    return re.sub(r"(?<!!)\[([^\[\]]+)\]\(([\w./-]+)\)", here, text)


def facts_shown(card: str) -> str:
    """A data card with its front matter at the end: facts as a table, what programs read of it as it stands."""
    _, front, text = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    rows = [f"| {name} | {_plain(value)} |" for name, value in facts.items() if name not in MACHINE]
    read = yaml.safe_dump({k: v for k, v in facts.items() if k in MACHINE}, sort_keys=False, allow_unicode=True)
    block = ["## How it is read", "```yaml", read.strip(), "```", ""] if read.strip() != "{}" else []
    return "\n".join([text.strip(), "", "## Facts", "| | |", "|---|---|", *rows, "", *block])


def _plain(value: object) -> str:
    """YAML's values as a reader would write them, for one cell of a table."""
    if isinstance(value, dict):
        return "<br>".join(f"{name}: {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "<br>".join(_plain(inner) for inner in value)
    return str(value).replace("|", "\\|")


def reference(module: str) -> str:
    """The page of one public door: its own words, then everything that it lists in `__all__`."""
    return f"# {module}\n```{{eval-rst}}\n.. automodule:: {module}\n   :members:\n```\n"


if __name__ == "__main__":
    sys.exit(main())
