"""PanopticViewer: traits and errors without a browser, then used in JupyterLab as a person uses it."""

import io
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image
from widget_cases import INFLAMMATORY, TUMOUR, from_page, image, read_ids, tissue_map, void_map

from pano_med.types import OKABE_ITO, Category, Panoptic, Taxonomy
from pano_med.widgets import PanopticViewer


def test_image_and_ids_reach_the_page_unharmed() -> None:
    picture, panoptic = image(), tissue_map()
    kept = picture.copy()
    viewer = PanopticViewer(picture, panoptic, title="a tile")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(viewer.image))), kept)
    np.testing.assert_array_equal(picture, kept)
    np.testing.assert_array_equal(read_ids(viewer.panoptic["ids"]), panoptic.ids)
    assert viewer.truth == {}
    assert (viewer.pixel_size, viewer.title) == (0.5, "a tile")


def test_the_page_moves_traits_and_python_moves_them_too() -> None:
    viewer = PanopticViewer(image(), tissue_map(), tissue_map(first=11), mode="fill")
    from_page(viewer, hidden=[TUMOUR], opacity=0.8, pinned=3, pinned_truth=13, hovered=5)
    assert (viewer.hidden, viewer.opacity, viewer.hovered) == ([TUMOUR], 0.8, 5)
    assert (viewer.pinned, viewer.pinned_truth, viewer.fault) == (3, 13, "")
    viewer.pinned = 0
    assert viewer.pinned == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("pinned", 99, r"`pinned` is a segment id of `panoptic` or 0 for none, got 99; ids there: \[1, 2, 3, 4, 5\]"),
        ("pinned_truth", 1, r"`pinned_truth` is a segment id of `truth` or 0 for none, got 1; there are no segments"),
        ("hidden", [77], r"`hidden` holds category ids, got \[77\]; the taxonomy has 1 background, 2 tumour"),
        ("mode", "stripes", r"mode"),
        ("opacity", 1.5, r"opacity"),
    ],
)
def test_a_value_that_means_nothing_is_refused(name: str, value: Any, words: str) -> None:
    viewer = PanopticViewer(image(), tissue_map())
    before = getattr(viewer, name)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(viewer, name, value)
    assert getattr(viewer, name) == before


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"image and `panoptic` must have one size.*\(20, 32\) and \(24, 32\)"):
        PanopticViewer(image(20), tissue_map())
    with pytest.raises(ValueError, match=r"image and `truth` must have one size.*\(24, 32\) and \(4, 4\)"):
        PanopticViewer(image(), tissue_map(), void_map(4, 4))
    with pytest.raises(TypeError, match=r"`panoptic` must be a pano_med.types.Panoptic, got ndarray; Panoptic.fr"):
        PanopticViewer(image(), tissue_map().ids)
    with pytest.raises(ValueError, match=r"at most 36 megapixels, the image has 7000 x 7000 pixels; show a crop"):
        PanopticViewer(np.broadcast_to(np.uint8(0), (7000, 7000, 3)), tissue_map())
    other = Taxonomy("other", (Category(1, "tissue", False, OKABE_ITO["sky"]),))
    with pytest.raises(ValueError, match=r"must share one taxonomy, got 'he-core' and 'other'"):
        PanopticViewer(image(), tissue_map(), Panoptic.from_ids(np.zeros((24, 32), int), {}, other))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (24, 32)])
def test_a_map_without_segments_is_a_map(size: tuple[int, int]) -> None:
    viewer = PanopticViewer(image(*size), void_map(*size))
    assert "no things" in viewer.alt()
    assert viewer.still().shape[2] == 3
    assert viewer.panoptic["segments"]["id"] == []


def test_the_still_picture_says_what_it_shows() -> None:
    alone, both = PanopticViewer(image(), tissue_map()), PanopticViewer(image(), tissue_map(), tissue_map(first=7))
    assert alone.alt() == (
        "Image of 24 x 32 pixels (rows x columns) with 2 x neoplastic nucleus, 1 x inflammatory nucleus; "
        "regions: other tissue, tumour outlined."
    )
    assert "beside the truth with 2 x neoplastic nucleus" in both.alt()
    assert both.still().shape[1] > 1.5 * alone.still().shape[1]
    grey = PanopticViewer(image()[..., 0], tissue_map())
    assert grey.still().shape == alone.still().shape


def large_map() -> tuple[np.ndarray, Panoptic]:
    """2048 x 2048 with 4,096 nuclei in one tissue."""
    rows, columns = np.ogrid[:2048, :2048]
    round_ = (rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2 < 150
    ids = np.where(round_, rows // 32 * 64 + columns // 32 + 2, 1)
    kinds = {1: TUMOUR, **dict.fromkeys(range(2, 4098), INFLAMMATORY)}
    picture = np.random.default_rng(0).integers(100, 200, (2048, 2048, 3)).astype(np.uint8)
    return picture, Panoptic.from_ids(ids, kinds, tissue_map().taxonomy, 0.5)


@pytest.mark.slow
def test_a_large_map_with_thousands_of_segments() -> None:
    picture, panoptic = large_map()
    viewer = PanopticViewer(picture, panoptic)
    np.testing.assert_array_equal(read_ids(viewer.panoptic["ids"]), panoptic.ids)
    assert len(viewer.panoptic["segments"]["id"]) == 4097
    assert max(viewer.still().shape) <= 1000


# ---- in a browser

SET_UP = """
from pano_med.synthetic import he_tile
from pano_med.types import Panoptic
from pano_med.widgets import PanopticViewer
tile = he_tile(3, (128, 128))
ids = tile.truth.ids.copy()
ids[:, :20] = 0
kinds = {s.id: s.category_id for s in tile.truth.segments}
ours = Panoptic.from_ids(ids, kinds, tile.truth.taxonomy, 0.5, {s.id: 0.9 for s in tile.truth.things})
"""


@pytest.mark.browser
def test_used_in_jupyterlab(lab: Any) -> None:
    from drive_viewer import drive_viewer, ink
    from playwright.sync_api import expect

    listen = "seen = set()\nviewer.observe(lambda change: seen.add(change['name']), ['pinned', 'hovered'])"
    cells = [
        f"{SET_UP}\nviewer = PanopticViewer(tile.image, ours, tile.truth, title='A tile')\n{listen}\nviewer",
        "print(viewer.pinned, viewer.pinned_truth, viewer.mode, viewer.opacity, viewer.hidden, len(seen))",
        "viewer.mode, viewer.opacity, viewer.hidden, viewer.pinned = 'fill', 0.3, [4], 0",
        "viewer.observe(lambda change: 1 / 0, 'pinned')",
    ]
    with lab.write("viewer", *cells) as notebook:
        outputs = notebook.run(0)
        assert [sorted(o["data"])[-1] for o in outputs] == ["text/plain", "text/plain"]
        widget = notebook.output(0).locator(".pano-viewer")
        drive_viewer(notebook, widget)
        assert not notebook.output(0).locator("img").is_visible(), "the live view hides its static picture"

        pinned, truth, mode, opacity, hidden, heard = notebook.run(1)[0]["text"].split()
        assert (mode, opacity, hidden, heard) == ("contours", "1.0", "[]", "2")
        assert int(pinned) > 0
        assert pinned == truth, "a nucleus and itself in the truth are partners"

        canvas = widget.get_by_role("application").last
        before = ink(canvas)
        notebook.run(2)  # Python moves the view
        expect(widget.get_by_label("fill")).to_be_checked()
        expect(widget.get_by_role("slider", name="opacity")).to_have_value("0.3")
        expect(widget.get_by_role("checkbox", name="neoplastic")).not_to_be_checked()
        assert ink(canvas) != before

        notebook.run(3)
        notebook.show(widget)
        widget.locator("tr[data-key]").nth(2).click()
        expect(widget.locator(".pano-fault")).to_have_text("ZeroDivisionError: division by zero")

        notebook.restart()  # nobody is behind the view, and it still answers
        notebook.show(widget)
        widget.locator("tr[data-key]").nth(3).click()
        expect(widget.locator(".pano-status")).to_contain_text("pinned")
        notebook.check_clean()


@pytest.mark.browser
def test_a_notebook_opened_again_shows_the_picture(lab: Any) -> None:
    from playwright.sync_api import expect

    with lab.write("again", f"{SET_UP}\nPanopticViewer(tile.image, ours)") as notebook:
        notebook.run(0)
        notebook.page.keyboard.press("Control+s")
        notebook.page.wait_for_timeout(1000)
    with lab.open(lab.folder / "again.ipynb") as notebook:
        picture = notebook.output(0).get_by_role("img")
        expect(picture).to_be_visible()
        assert "neoplastic nucleus" in picture.get_attribute("alt")
        assert not notebook.faults.requests


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_narrow_screen_nothing_sticks_out(browser: Any, tmp_path: Any, scheme: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(PanopticViewer(image(), tissue_map(), tissue_map(first=9), title="x" * 30).page(), "utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 700}, color_scheme=scheme)
    faults: list[str] = []
    page.on("console", lambda m: faults.append(m.text))
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert faults == []
    page.close()


@pytest.mark.browser
def test_the_page_reads_every_id_as_python_wrote_it(browser: Any) -> None:
    from pano_med.widgets.base import code
    from pano_med.widgets.layer import id_png

    ids = np.array([[0, 1, 255], [256, 65535, 65536], [2**24 - 1, 123456, 8388608]])
    page = browser.new_page()
    page.add_script_tag(content=code("viewer")["_esm"].split("async function render")[0])
    read = page.evaluate("async b => [...(await pano.decodeIds(new Uint8Array(b))).ids]", list(id_png(ids)))
    assert read == ids.ravel().tolist()
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("what", ["one pixel", "no segments", "thousands"])
def test_small_empty_and_large_are_drawn(browser: Any, tmp_path: Any, what: str) -> None:
    from playwright.sync_api import expect

    cases = {"one pixel": (image(1, 1), void_map(1, 1)), "no segments": (image(), void_map(24, 32))}
    viewer = PanopticViewer(*(cases[what] if what in cases else large_map()))
    path = tmp_path / "page.html"
    path.write_text(viewer.page(), "utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    if what == "thousands":
        expect(page.locator("tr[data-key]")).to_have_count(500)
        expect(page.locator(".pano-table .pano-note")).to_contain_text("The first 500 of 4,097 rows in this order")
    else:
        expect(page.locator(".pano-status")).to_have_text("This map has no segments: every pixel is void.")
        expect(page.locator(".pano-table .pano-note")).to_have_text("None here.")
    page.get_by_role("application").press("n")
    expect(page.locator(".pano-status")).to_contain_text("1 of 4097" if what == "thousands" else "No segment is shown")
    page.close()
