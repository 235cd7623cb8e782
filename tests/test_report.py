"""The report: one file, no network, every text escaped, the figures of the map."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from outputs_cases import IMAGE, small_map
from PIL import Image

from pano_med.outputs import Summary
from pano_med.report import MAX_SIDE, Report, Score
from pano_med.types import HE_CORE


def report(**changes: object) -> Report:
    fields = dict(
        title="A <region> & more", lead="Lead.", image=IMAGE, picture=IMAGE // 2, taxonomy=HE_CORE,
        summary=Summary.of(small_map()), warnings=["<b>far</b> from training"],
        scores=[Score("PQ", "0.55", "of 1")], scores_note="Labels drawn by a model.",
        files=[("x.geojson", "for QuPath")], facts=[("version", "0.1.0")],
    )  # fmt: skip
    return Report(**{**fields, **changes})


class Pages(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    report().write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Pages()
    page.feed(text)
    assert page.open == []
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]
    images = [attrs for tag, attrs in page.tags if tag == "img" and attrs.get("class") != "sample"]
    assert len(images) == 2
    assert all(str(a["src"]).startswith("data:image/jpeg;base64,") and a["alt"] for a in images)
    outside = re.sub(r"data:image/(jpeg|png);base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?://|url\(|@import", outside)
    assert 'name="viewport"' in outside
    assert "Not for diagnosis" in outside


def test_figures_and_words_are_on_the_page() -> None:
    text = report().html()
    assert "A &lt;region&gt; &amp; more" in text
    assert "&lt;b&gt;far&lt;/b&gt;" in text
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", text)]
    rows = {first: rest for first, *rest in cells}
    assert rows["neoplastic nucleus"] == ["2", "67 %", "160,000"]
    assert rows["inflammatory nucleus"] == ["1", "33 %", "80,000"]
    assert rows["all"] == ["3", "100 %", "240,000"]
    assert rows["background"] == ["0.000", "25 %"]
    assert rows["PQ"] == ["0.55", "of 1"]
    legend = re.findall(r'class=sample src="data:image/png[^"]+" alt="">([^<]+)', text)
    assert legend == ["background", "O = other tissue", "neoplastic nucleus", "inflammatory nucleus"]


def test_without_pixel_size_labels_or_nuclei() -> None:
    text = report(summary=Summary.of(small_map(None)), scores=(), warnings=()).html()
    assert "unknown" in text
    assert "How good" not in text
    assert 'role="alert"' not in text


@pytest.mark.parametrize("side", [10, MAX_SIDE + 100])
def test_pictures_are_embedded_and_not_larger_than_needed(side: int) -> None:
    image = np.zeros((side, 8, 3), np.uint8)
    text = report(image=image, picture=image).html()
    data = base64.b64decode(re.findall(r"base64,([^\"]+)", text)[0])
    assert max(Image.open(io.BytesIO(data)).size) == min(side, MAX_SIDE)
    assert (image == 0).all()


def test_a_read_only_place_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot write.*folder does not exist"):
        report().write(tmp_path / "missing" / "report.html")
