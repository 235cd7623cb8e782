"""PictureUpload without a browser: the pieces, the sentences, what it hands on."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pano_med.synthetic import he_tile
from pano_med.widgets import PictureUpload
from pano_med.widgets.upload import MOST_BYTES

TILE = he_tile(1, (96, 128)).image


def _png(height: int, width: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


class Page:
    """What the page does: it sends the next piece when it is asked for it."""

    def __init__(self, widget: PictureUpload, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widget, self.asked = widget, []
        monkeypatch.setattr(widget, "send", lambda content, buffers=None: self.asked.append(content))

    def tell(self, content: dict[str, Any], *buffers: bytes) -> None:
        self.widget._handle_custom_msg(content, [memoryview(b) for b in buffers])

    def upload(self, name: str, data: bytes, piece: int = 1000, number: int = 7) -> None:
        self.tell({"kind": "begin", "id": number, "name": name, "size": len(data)})
        while self.asked[-1]["kind"] == "more":
            have = self.asked[-1]["have"]
            self.tell({"kind": "part", "id": number}, data[have : have + piece])


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    return Page(PictureUpload(TILE, 0.5, side=128), monkeypatch)


def test_without_a_file_the_given_picture_is_used(page: Page) -> None:
    found = page.widget.picture
    assert not page.widget.own
    assert found.pixel_size_um == 0.5
    np.testing.assert_array_equal(found.array, TILE)


def test_a_file_arrives_piece_by_piece_and_replaces_the_picture(page: Page) -> None:
    data = _png(40, 50)
    page.upload("mine.png", data)
    assert [a["kind"] for a in page.asked] == ["more"] * -(-len(data) // 1000) + ["done"]
    assert page.widget.own
    assert page.widget.picture.size == (40, 50)
    assert page.widget.picture.pixel_size_um is None, "the old picture's pixel size is not the new one's"
    assert page.widget.said == "mine.png: 40 x 50 pixels (rows x columns)."
    assert (page.widget.refused, page.widget.fault) == ("", "")


def test_pieces_of_an_older_file_are_left_alone(page: Page) -> None:
    page.tell({"kind": "begin", "id": 1, "name": "old.png", "size": 5000})
    page.tell({"kind": "begin", "id": 2, "name": "new.png", "size": 5000})
    page.tell({"kind": "part", "id": 1}, b"x" * 5000)
    assert page.asked[-1] == {"kind": "more", "id": 2, "have": 0}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("report.pdf", b"%PDF-1.7 ...", "report.pdf is a PDF: .* export the picture as PNG, JPEG or TIFF"),
        ("empty.png", b"", r"empty.png is empty \(0 bytes\)"),
        ("half.png", _png(64, 64)[:6000], "half.png is damaged, cut short"),
        ("notes.txt", b"not a picture at all", "notes.txt is not an image that can be read here"),
    ],
)
def test_what_is_no_picture_gets_a_sentence_and_changes_nothing(page: Page, name: str, data: bytes, said: str) -> None:
    before = page.widget.said
    page.upload(name, data)
    assert page.asked[-1]["kind"] == "done"
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(page.widget.refused)
    assert page.widget.refused.endswith("Still in use: the picture of this lesson.")
    assert "pano-med-" not in page.widget.refused, "the name that the learner knows, not that of our own copy"
    assert (page.widget.said, page.widget.own, page.widget.fault) == (before, False, "")
    page.upload("mine.png", _png(40, 50))
    assert page.widget.refused == ""


def test_a_file_too_large_is_refused_before_it_travels(page: Page) -> None:
    page.tell({"kind": "begin", "id": 3, "name": "slide.svs", "size": MOST_BYTES + 1})
    assert page.asked == [{"kind": "done", "id": 3}]
    assert "slide.svs has 512 MB" in page.widget.refused
    assert "pano-med segment" in page.widget.refused


def test_a_large_picture_is_cut_or_made_smaller(page: Page, tmp_path: Path) -> None:
    picture = np.zeros((1000, 600, 3), np.uint8)
    picture[436:564, 236:364] = 255  # the middle
    Image.fromarray(picture).save(tmp_path / "large.png")
    page.widget.load(tmp_path / "large.png")
    page.widget.pixel_size = 0.25
    assert page.widget.large
    assert page.widget.picture.size == (128, 128)
    assert page.widget.picture.array.min() == 255
    assert page.widget.picture.pixel_size_um == 0.25
    page.widget.take = "whole"
    assert page.widget.picture.size == (128, 77)
    assert page.widget.picture.pixel_size_um == pytest.approx(0.25 * 1000 / 128)
    assert "made smaller" in page.widget.said


@pytest.mark.slow
def test_a_hundred_megapixels_are_no_trouble(page: Page, tmp_path: Path) -> None:
    Image.new("RGB", (10_000, 10_000), (210, 150, 190)).save(tmp_path / "photo.jpg")
    page.widget.load(tmp_path / "photo.jpg")
    assert page.widget.picture.size == (128, 128)
    assert "photo.jpg: 10000 x 10000 pixels" in page.widget.said
    assert len(page.widget.preview) < 1_000_000


def test_a_name_that_leads_nowhere_is_told(page: Page) -> None:
    page.widget.load("nowhere.png")
    assert "there is no file nowhere.png" in page.widget.refused


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_size_that_cannot_be_counts_as_unknown(page: Page, size: float) -> None:
    page.widget.pixel_size = size
    assert page.widget.picture.pixel_size_um is None


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(ValueError, match="the longest side must be at least 64 pixels, got 8"):
        PictureUpload(TILE, side=8)
    with pytest.raises(TypeError, match="the image must be uint8"):
        PictureUpload(TILE / 255)
