"""The book: built without a warning, readable on a telephone, and asking nothing of other machines."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab import Faults

pytest.importorskip("myst_nb", reason="Sphinx and its friends come with the [book] extra")
ROOT = Path(__file__).parents[1]
BOOK = ROOT / "docs" / "book"
LESSONS = sorted(p.stem for p in (ROOT / "notebooks" / "instructor").glob("*.ipynb"))


@pytest.fixture(scope="module")
def make_book() -> Iterator[Any]:
    """docs/book/make_book.py as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BOOK))
        yield pytest.importorskip("make_book")


def _lesson(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=list(cells))


def test_a_lesson_loses_what_only_a_notebook_needs(make_book: Any) -> None:
    text = (
        "# 01 · Stuff\n\n[![Open in Colab](attachment:colab.svg)](https://colab.research.google.com/github/a/b/blob/v1/"
        "notebooks/instructor/01_x.ipynb)\n\n*Instructor's notebook: the solutions are filled in.*\n\n"
        "1. [Cups](#s-cups)"
    )
    page = make_book.for_reading(
        _lesson(
            nbformat.v4.new_markdown_cell(text, attachments={"colab.svg": {"image/svg+xml": "PHN2Zy8+"}}),
            nbformat.v4.new_code_cell("pip", metadata={"tags": ["install"]}),
            nbformat.v4.new_markdown_cell('<a id="s-cups"></a>\n\n## Cups'),
            nbformat.v4.new_code_cell("def f(): ...", metadata={"tags": ["solution"], "exercise": "1.1"}),
        ),
        "01_x",
    )
    top, cups, solution = page.cells
    link = "[Open in Colab](https://colab.research.google.com/github/a/b/blob/v1/notebooks/01_x.ipynb)"
    assert top.source == f"# 01 · Stuff\n\n{link}\n\n\n1. [Cups](#01_x-s-cups)"
    assert cups.source == "(01_x-s-cups)=\n## Cups"
    assert "attachments" not in top
    assert solution.metadata.tags == ["hide-input"]


def test_a_widget_becomes_its_picture_or_its_words(make_book: Any) -> None:
    def output(**data: Any) -> nbformat.NotebookNode:
        return nbformat.v4.new_output("display_data", {key.replace("_", "/"): value for key, value in data.items()})

    view = output(text_plain="a widget")
    view.data[make_book.VIEW] = {"model_id": "x"}
    still = output(text_html='<img class="pano-still-1">')
    page = make_book.for_reading(
        _lesson(
            nbformat.v4.new_code_cell("viewer", outputs=[view, still]),
            nbformat.v4.new_code_cell("guess", outputs=[view.copy()]),
        ),
        "01_x",
    )
    assert page.cells[0].outputs == [still]
    assert page.cells[1].outputs == [output(text_plain="a widget")]


def test_a_guess_asks_the_reader_and_tells_the_result_only(make_book: Any) -> None:
    widgets = pytest.importorskip("pano_med.widgets", reason="widgets come with the [lab] extra")
    guess = widgets.Guess(f"How {'many ' * 30}<nuclei>?", low=0, high=10)
    view = guess._repr_mimebundle_()
    result = {"text/html": guess.reveal(4).markup, "text/plain": ""}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (view, result)]
    page = make_book.for_reading(_lesson(nbformat.v4.new_code_cell("", outputs=outputs)), "01_x")
    asked, told = (output.data["text/html"] for output in page.cells[0].outputs)
    assert asked == f"<p><strong>Guess: How {'many ' * 30}&lt;nuclei&gt;? [0 to 10]</strong></p>"
    assert "guess" not in told.replace("guess and result on a line", "")
    assert ">4</td>" in told
    assert told.count("<tr>") == told.count("</tr>") == 1


def test_the_facts_of_a_card_are_read_by_people_too(make_book: Any) -> None:
    card = "---\nname: x\ncounts: {samples: 4, nuclei: 16}\nlabel_faults:\n  - a|b\n  - c\n---\n\n# Title\n\nText.\n"
    shown = make_book.facts_shown(card)
    assert shown.startswith("# Title\n\nText.")
    assert "| counts | samples: 4<br>nuclei: 16 |" in shown
    assert "| label_faults | a\\|b<br>c |" in shown
    assert "```" not in shown
    patterns = make_book.facts_shown(card.replace("name: x", "name: x\nreading: {image: '[^/]+_.png'}"))
    assert patterns.endswith("## How it is read\n```yaml\nreading:\n  image: '[^/]+_.png'\n```\n")


def test_links_lead_to_pages_or_are_words(make_book: Any, tmp_path: Path) -> None:
    (tmp_path / "tour.md").write_text("# Tour")
    text = "[tour](tour.md), [`types`](../pano_med/types), ![x](no.png), [lab](docs/fusion_lab.html), [a](https://b.c)"
    held = '[tour](tour.md), `types`, ![x](no.png), <a href="docs/fusion_lab.html">lab</a>, [a](https://b.c)'
    assert make_book.with_links_that_hold(text, tmp_path) == held


def test_formulas_are_mathml_or_an_error(make_book: Any) -> None:
    conf = pytest.importorskip("conf")
    assert "<mfrac>" in conf.mathml(r"\frac{a}{b}", inline=True)
    assert conf.mathml(r"\sigma", inline=False).startswith('<div class="math"><math')
    with pytest.raises(ValueError, match="a command that MathML does not know: .nonsense"):
        conf.mathml(r"\nonsense{a}", inline=True)


def test_the_reference_lists_every_public_door(make_book: Any) -> None:
    rooms = {p.stem if p.is_file() else p.name for p in (ROOT / "pano_med").glob("[a-z]*")} - {"cli", "demo"}
    assert set(make_book.DOORS) == rooms, "a new room gets a page of reference"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built book; notebooks that ran already are not run again."""
    out = tmp_path_factory.mktemp("book")
    command = [sys.executable, str(BOOK / "make_book.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "html"


def _pictures(page: str) -> int:
    """How many pictures with alt text a page of the site shows."""
    return len(re.findall(r'<img\b[^>]*\balt="[^"]', page))


@pytest.mark.notebook
@pytest.mark.parametrize("name", LESSONS)
def test_a_lessons_page_shows_its_pictures(make_book: Any, site: Path, name: str) -> None:
    ran = nbformat.read(make_book.executed(ROOT / "notebooks" / "instructor" / f"{name}.ipynb"), as_version=4)
    cells = [cell for cell in ran.cells if cell.cell_type == "code" and "FusionLab(" not in cell.source]
    shown = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.outputs]
    made = sum(_pictures("".join(html)) for html in shown)
    assert made >= 3, "a lesson is made of pictures"
    assert _pictures((site / "notebooks" / f"{name}.html").read_text(encoding="utf-8")) >= made


@pytest.mark.notebook
def test_the_first_page_links_the_fusion_lab(site: Path) -> None:
    assert 'href="docs/fusion_lab.html"' in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "docs" / "fusion_lab.html").stat().st_size > 10_000


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_fits_and_asks_for_nothing(browser: Any, site: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    faults = Faults(context)
    page = context.new_page()
    pages = sorted(site.rglob("*.html"))
    assert {"index.html", "README.html", "tour.html", *(f"{name}.html" for name in LESSONS)} <= {p.name for p in pages}
    for path in pages:
        page.goto(path.as_uri())
        seen = page.evaluate(SEEN)
        assert seen["width"] <= width, f"{path.name} is {seen['width']} px wide"
        assert seen["broken"] == [], path.name
        assert seen["mute"] == [], path.name
        assert seen["viewport"], path.name
        assert seen["titles"] == 1 or path.name == "search.html", path.name
        faults.check_clean()
    context.close()


#: How wide a page is, which pictures are not there, and which have no alt text.
SEEN = """() => ({
  width: document.documentElement.scrollWidth,
  broken: [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 100)),
  mute: [...document.images].filter(i => !i.alt.trim()).map(i => i.src.slice(0, 100)),
  titles: document.querySelectorAll('h1').length,
  viewport: !!document.querySelector('meta[name=viewport]'),
})"""


@pytest.mark.browser
def test_the_search_works_without_a_server(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_role("textbox", name="Search").fill("merge_heuristic")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a").first
    found.wait_for()
    assert "fusion" in found.inner_text().lower()
    page.close()


@pytest.mark.browser
def test_solutions_are_folded_away_until_asked_for(browser: Any, site: Path) -> None:
    page = browser.new_page()
    page.goto((site / "notebooks" / f"{LESSONS[0]}.html").as_uri())
    fold = page.get_by_text("Show the solution").first
    code = page.locator("details:has-text('Show the solution') .highlight").first
    assert not code.is_visible()
    fold.click()
    assert code.is_visible()
    page.close()


@pytest.mark.browser
def test_the_fusion_lab_works_inside_its_lesson(browser: Any, site: Path) -> None:
    context = browser.new_context(viewport={"width": 400, "height": 800})
    faults = Faults(context)
    page = context.new_page()
    page.goto((site / "notebooks" / "04_fusion_lab.html").as_uri())
    expect = pytest.importorskip("playwright.sync_api").expect
    page.locator("iframe.lab").scroll_into_view_if_needed()
    inside = page.frame_locator("iframe.lab")
    status = inside.locator(".pano-status")
    expect(status).to_contain_text("kept")
    before = status.inner_text()
    inside.get_by_role("slider", name="score above").press("End")
    expect(status).not_to_have_text(before)
    faults.check_clean()
    context.close()
