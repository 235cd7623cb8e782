"""What every widget stands on: lossless ids, faults that are seen, a static picture, JavaScript that stays at home."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from IPython.core.formatters import DisplayFormatter
from PIL import Image
from widget_cases import from_page, image, message_from_page, read_ids, tissue_map, void_map

import pano_med.widgets
from pano_med.types import HE_CORE, Panoptic
from pano_med.widgets import base
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, id_png, image_bytes, layer, png, shrunk

FOLDER = Path(pano_med.widgets.__file__).parent
TEXTS = sorted([*FOLDER.glob("*.js"), *FOLDER.glob("*.css")])


class Card(Picture):
    """The smallest widget there can be."""

    _esm, _css = code("viewer").values()
    number = traitlets.Int(0).tag(sync=True)

    def still(self) -> np.ndarray:
        return image()

    def alt(self) -> str:
        return 'A card with "quotes" & <signs>.'


# ---- bytes


@given(arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 2**24 - 1)))
def test_ids_come_back_as_they_went(ids: np.ndarray) -> None:
    np.testing.assert_array_equal(read_ids(id_png(ids)), ids)


def test_ids_beyond_24_bits_are_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"ids must lie within 0..16777215 \(24 bits\), got 5..16777216"):
        id_png(np.array([[5, 1 << 24]]))
    with pytest.raises(TypeError, match=r"ids must be an \(H, W\) integer array, got shape \(2, 2\) of float64"):
        id_png(np.zeros((2, 2)))


def test_small_pictures_are_exact_and_large_ones_small() -> None:
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(image())))), image())
    large = np.random.default_rng(0).integers(0, 255, (1100, 1000, 3)).astype(np.uint8)
    assert Image.open(io.BytesIO(image_bytes(image()))).format == "PNG"
    assert Image.open(io.BytesIO(image_bytes(large))).format == "JPEG"


def test_a_grey_image_gets_three_channels_and_nobody_edits_the_original() -> None:
    grey = np.array([[0, 255]], np.uint8)
    np.testing.assert_array_equal(as_rgb(grey), [[[0] * 3, [255] * 3]])
    np.testing.assert_array_equal(as_rgb(grey[..., None]), as_rgb(grey))
    assert as_rgb(np.zeros((2, 2, 4), np.uint8)).shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (np.zeros((4, 4, 3)), TypeError, r"must be uint8 \(0..255\), got float64; skimage.util.img_as_ubyte"),
        (np.zeros((3, 4, 5, 6), np.uint8), TypeError, r"must be \(H, W, 3\).*got shape \(3, 4, 5, 6\)"),
        (np.zeros((4, 4, 2), np.uint8), TypeError, r"got shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"has no pixels, its shape is \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_named(wrong: np.ndarray, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        as_rgb(wrong)


# ---- layers


def test_a_layer_tells_all_of_a_map() -> None:
    panoptic = tissue_map()
    told = layer(panoptic)
    columns = told["segments"]
    numbers = {s.id: i for i, s in enumerate(panoptic.segments, 1)}
    np.testing.assert_array_equal(read_ids(told["ids"]), panoptic.lookup(numbers))
    assert columns["id"] == [1, 2, 3, 4, 5]
    assert columns["area"] == [s.area for s in panoptic.segments]
    assert columns["score"] == [None, None, 0.9, 0.8, 0.7]
    assert [told["categories"][c]["name"] for c in columns["category"]][2:] == [
        *(["neoplastic nucleus"] * 2),
        "inflammatory nucleus",
    ]
    assert columns["place"][4] == [14, 20, 20, 27]
    assert (columns["row"][2], columns["col"][2]) == (6.5, 4.5)


def test_ids_of_any_size_are_numbered_anew() -> None:
    plain, huge = tissue_map(), tissue_map(first=2**31 - 10)
    assert layer(huge)["segments"]["id"][0] == 2**31 - 10
    np.testing.assert_array_equal(read_ids(layer(huge)["ids"]), read_ids(layer(plain)["ids"]))


def test_the_middle_of_a_ring_lies_on_the_ring() -> None:
    ids = np.zeros((30, 30), int)
    ids[2:28, 2:28], ids[8:22, 8:22] = 7, 0
    told = layer(Panoptic.from_ids(ids, {7: HE_CORE.things[0].id}, HE_CORE))["segments"]
    assert ids[round(told["row"][0]), round(told["col"][0])] == 7


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1)])
def test_a_layer_of_almost_nothing(size: tuple[int, int]) -> None:
    told = layer(void_map(*size))
    assert told["segments"]["id"] == []
    assert told["labels"] == []
    one = layer(Panoptic.from_ids(np.ones(size, int), {1: HE_CORE.stuff[1].id}, HE_CORE))
    assert one["segments"]["area"] == [size[0] * size[1]]


def test_letters_stand_in_their_own_tissue() -> None:
    panoptic = tissue_map()
    for number, row, col in layer(panoptic)["labels"]:
        assert panoptic.ids[round(row), round(col)] == number
    assert {number for number, _, _ in layer(panoptic)["labels"]} == {1, 2}


def test_shrinking_keeps_sides_and_pixel_size_together() -> None:
    picture, coarse = shrunk(image(), tissue_map(0.5), 12)
    assert picture.shape[:2] == coarse.size == (8, 11)
    assert coarse.pixel_size_um == 1.5
    assert shrunk(image(), tissue_map(), 32)[0].shape == (24, 32, 3)


# ---- a static picture


class _Images(HTMLParser):
    found: list[dict[str, str | None]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attrs))


def _only_image(text: str) -> dict[str, str | None]:
    parser = _Images()
    parser.found = []
    parser.feed(text)
    (found,) = parser.found
    return found


def test_the_mime_bundle_has_a_view_and_a_picture_with_alt_text() -> None:
    card = Card()
    data, metadata = card._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == card.model_id
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"])))), image())
    assert metadata["image/png"]["alt"] == card.alt()
    assert _only_image(data["text/html"])["alt"] == card.alt()
    assert data["text/plain"] == f"Card: {card.alt()}"


def test_showing_makes_a_view_and_a_picture_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    card, shown = Card(), []
    monkeypatch.setattr(base, "display", lambda data, metadata=None, raw=False: shown.append(data))
    assert DisplayFormatter().format(card) == ({}, {}), "the widget has shown itself"
    view, picture = shown
    assert "application/vnd.jupyter.widget-view+json" in view
    assert "text/html" not in view, "JupyterLab would show it instead of the view's error, but then never the view"
    found = _only_image(picture["text/html"])
    assert found["alt"] == card.alt()
    assert found["class"] == card.still_class
    assert card.still_class != Card().still_class


def test_a_closed_widget_shows_its_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    card, shown = Card(), []
    monkeypatch.setattr(base, "display", lambda data, metadata=None, raw=False: shown.append(data))
    card.close()
    data, _ = DisplayFormatter().format(card)
    (picture,) = shown or [data]  # ipywidgets 8 and 7 take different ways there
    assert _only_image(picture["text/html"])["alt"] == card.alt()
    assert "application/vnd.jupyter.widget-view+json" not in picture


# ---- faults


def test_a_fault_in_an_observer_is_shown_and_goes_away() -> None:
    card = Card()

    def fail(change: dict[str, Any]) -> None:
        if change["new"] == 3:
            raise RuntimeError("three is too many")

    card.observe(fail, "number")
    from_page(card, number=3)
    assert card.fault == "RuntimeError: three is too many"
    assert card.number == 3
    from_page(card, number=4)
    assert card.fault == ""
    with pytest.raises(RuntimeError, match="three is too many"):  # Python's own doing is Python's to hear
        card.number = 3


def test_a_value_that_a_trait_refuses_is_shown() -> None:
    card = Card()
    from_page(card, number="many")
    assert re.search(r"TraitError: .*'many'", card.fault)
    assert card.number == 0


def test_a_fault_in_a_message_handler_is_shown() -> None:
    card, heard = Card(), []
    card.on_msg(lambda widget, content, buffers: heard.append(content["wish"]))
    message_from_page(card, {"wish": 1})
    assert (heard, card.fault) == ([1], "")
    card.on_msg(lambda widget, content, buffers: content["nothing"])
    message_from_page(card, {"wish": 2})
    card.on_msg(lambda widget, content, buffers: heard.append("after the fault"))
    message_from_page(card, {"wish": 3})
    assert heard == [1, 2, 3, "after the fault"]
    assert card.fault == "KeyError: 'nothing'"


# ---- JavaScript as text


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.name)
def test_scripts_and_styles_ask_nobody(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    words = r"https?:|//cdn|\bimport\b|\bfetch\(|XMLHttp|WebSocket|@import|url\(|sendBeacon|\beval\(|new Function"
    assert not re.findall(words, text)


@pytest.mark.parametrize("path", [p for p in TEXTS if p.suffix == ".js"], ids=lambda p: p.name)
def test_scripts_end_as_the_house_ends_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ("export" in text) == (path.name != "common.js")
    assert max(map(len, text.splitlines())) <= 200


def test_the_package_ships_what_widgets_read() -> None:
    project = (FOLDER.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    shipped = re.search(r'^"\*" = (\[.*\])', project, re.M)
    assert shipped
    assert {f"*{path.suffix}" for path in TEXTS} <= set(re.findall(r'"([^"]+)"', shipped[1]))


def test_a_page_of_its_own_holds_everything() -> None:
    page = Card(number=5, title="<!-- <script></script><b>").page({"answers": {"1": b"\x00\xff"}})
    assert page.count("</script>") == 1
    assert '{"$bytes": "AP8="}' in page
    assert '"number": 5' in page
    assert "export default" not in page
