"""SlideViewer without a browser: tiles that fit at every level, ids that come back, counts, what the page may ask."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from PIL import Image
from slide_cases import PaintedSlide
from slide_files import write_pyramid
from slide_results import MPP, SCALE, painted, write_result
from widget_cases import from_page, message_from_page

import pano_med.widgets
from pano_med.slides import SlideReadError, open_slide
from pano_med.slides.looking import ResultMap, count_in, first
from pano_med.slides.pixels import TILE, SlidePixels
from pano_med.slides.store import Result
from pano_med.types import HE_CORE
from pano_med.widgets import SlideViewer

FOLDER = Path(pano_med.widgets.__file__).parent
TUMOUR, OTHER = HE_CORE["tumour"].id, HE_CORE["other tissue"].id


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return write_result(tmp_path_factory.mktemp("result") / "r", *painted())


class Page:
    """The page's side of a viewer."""

    def __init__(self, viewer: SlideViewer) -> None:
        self.viewer, self.heard = viewer, list[tuple[dict[str, Any], list[bytes]]]()
        viewer.send = lambda content, buffers=None: self.heard.append((content, list(buffers or [])))

    def ask(self, kind: str, **content: Any) -> tuple[dict[str, Any], list[bytes]]:
        message_from_page(self.viewer, {"kind": kind, "seq": len(self.heard), **content})
        return self.heard[-1]

    def tile(self, level: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and classes as the page reads them."""
        said, buffers = self.ask("ids", level=level, row=row, column=column)
        assert not said.get("empty")
        both = np.asarray(Image.open(io.BytesIO(buffers[0]))).astype(np.int64) @ [1, 256, 65536]
        ids, classes = np.split(both, 2)
        return (np.frombuffer(buffers[1], "<u4")[ids] if len(buffers) > 1 else ids), classes


# ---- pixels


def marked(height: int, width: int, step: int = 64) -> np.ndarray:
    """A white picture with black squares of half a step: any shift shows."""
    rows, columns = np.ogrid[:height, :width]
    dark = (rows % step < step // 2) & (columns % step < step // 2)
    return np.where(dark[..., None], 0, 255).repeat(3, 2).astype(np.uint8)


def test_every_level_shows_the_same_place(tmp_path: Path) -> None:
    picture = marked(1500, 1100)
    slide = open_slide(write_pyramid(tmp_path / "s.tif", picture, 0.5, levels=3))
    pixels = SlidePixels(slide)
    assert (pixels.depth, pixels.size) == (4, (1504, 1104))
    for level in range(pixels.depth):
        h, w = pixels.size[0] >> level, pixels.size[1] >> level
        rows = [[pixels.tile(level, r, c) for c in range(-(-w // TILE))] for r in range(-(-h // TILE))]
        whole = np.concatenate([np.concatenate(r, 1) for r in rows])
        assert whole.shape == (h, w, 3)
        step = 1 << level
        wanted = np.pad(picture, ((0, 4), (0, 4), (0, 0)), constant_values=255)
        wanted = wanted.reshape(h, step, w, step, 3).mean((1, 3))
        # a shift by half a pixel changes an edge by 128
        assert np.abs(whole[:-1, :-1].astype(float) - wanted[:-1, :-1]).max() < 40, f"level {level}"


def test_a_tile_that_is_not_there_and_one_that_is_damaged() -> None:
    pixels = SlidePixels(PaintedSlide((3000, 2600), damaged=[(0, 0, 300, 300)]))
    assert (pixels.tile(0, 0, 0) == 160).all(), "grey, not the end"
    assert (pixels.tile(0, 3, 3) != 160).any()
    with pytest.raises(ValueError, match="level 0 of .* has no tile 12, 0; it has 3008 x 2608 pixels"):
        pixels.tile(0, 12, 0)
    with pytest.raises(ValueError, match=r"has levels 0\.\.4 here, got 9"):
        pixels.tile(9, 0, 0)


def test_a_slide_without_a_pixel_size_is_asked_for(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "s.tif", marked(300, 300))
    with pytest.raises(ValueError, match="does not say how large its pixels are: give the micrometres per pixel"):
        SlideViewer(path)


# ---- ids


def test_ids_and_classes_reach_the_page_unharmed(result: Result) -> None:
    page = Page(SlideViewer(result))
    ids, classes = painted()
    for got, wanted in zip(page.tile(0, 0, 0), (ids, classes), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert "fault" in page.ask("ids", level=1, row=0, column=0)[0], "a map of 256 px has one level"


@pytest.mark.parametrize("big", [2**24 - 1, 2**24, 2**32 - 1])
def test_ids_beyond_24_bits_come_with_a_table(result: Result, monkeypatch: pytest.MonkeyPatch, big: int) -> None:
    ids = np.array([[0, 5, big], [big, 0, 5]], np.uint32)
    classes = np.array([[2, 4, 5], [5, 0, 4]], np.uint8)
    monkeypatch.setattr(ResultMap, "window", lambda self, *_: (ids, classes))
    got = Page(SlideViewer(result)).tile(0, 0, 0)
    np.testing.assert_array_equal(got[0], ids)
    np.testing.assert_array_equal(got[1], classes)


# ---- what is asked


def test_a_nucleus_and_the_walks(result: Result) -> None:
    page, table = Page(SlideViewer(result)), result.instances()
    said, _ = page.ask("nucleus", id=3)
    row = table.to_pylist()[2]
    assert (said["nucleus"]["category_id"], said["nucleus"]["row"]) == (row["category_id"], row["row"])
    assert page.ask("nucleus", id=10**6)[0]["nucleus"] is None
    certain = page.ask("ranked", by="certain")[0]["nuclei"]
    assert [n["score"] for n in certain] == pytest.approx(sorted(table["score"].to_pylist())[: len(certain)], abs=1e-3)
    large = page.ask("ranked", by="large")[0]["nuclei"]
    assert [n["id"] for n in large[:3]] == [1, 2, 3], "of equal ones the first"


def test_the_least_certain_come_first_and_unknown_scores_last() -> None:
    ids, values = np.arange(1, 6), np.array([0.9, np.nan, 0.2, 0.5, 0.2])
    assert first(ids, values, "score", 4).tolist() == [3, 5, 4, 1]
    assert first(ids, np.array([7.0, 9, 9, 1, 2]), "area_um2", 3).tolist() == [2, 3, 1]
    many = np.arange(1, 5001)
    assert first(many, np.where(many == 4000, 0.1, 0.5), "score", 4).tolist() == [4000, 1, 2, 3], "the first of equals"


def test_counts_in_a_rectangle_are_those_of_the_map(result: Result) -> None:
    ids, classes = painted()
    counted = SlideViewer(result).count([(0, 100), (0, 300), (404, 300), (404, 100)])
    part, kinds = ids[:202, 50:150], classes[:202, 50:150]
    centres = [tuple(np.argwhere(ids == n).mean(0) + 0.5) for n in np.unique(part) if n]
    inside = [c for c in centres if c[0] < 202 and 50 < c[1] < 150]
    assert sum(counted.nuclei.values()) == len(inside) > 20
    assert counted.area_um2 == pytest.approx(404 * 200 * MPP**2)
    for kind in (TUMOUR, OTHER):
        true = (kinds == kind).sum() * (MPP * SCALE) ** 2
        assert counted.tissue_um2[kind] == pytest.approx(true, rel=0.02)
    assert counted.seen_um2 == pytest.approx((kinds > 0).sum() * (MPP * SCALE) ** 2, rel=0.02)
    kind, number = next(iter(counted.nuclei.items()))
    assert counted.per_mm2[kind] == pytest.approx(number / counted.seen_um2 * 1e6)


def test_half_a_rectangle_has_half_of_it(result: Result) -> None:
    whole = count_in(ResultMap(result), [(0, 100), (0, 400), (300, 400), (300, 100)])
    half = count_in(ResultMap(result), [(0, 100), (0, 400), (300, 100)])
    assert half.area_um2 == pytest.approx(whole.area_um2 / 2)
    assert half.seen_um2 == pytest.approx(whole.seen_um2 / 2, rel=0.03)
    assert 0.4 < sum(half.nuclei.values()) / sum(whole.nuclei.values()) < 0.6


@pytest.mark.parametrize(
    ("corners", "words"),
    [([(0, 0), (5, 5)], "at least three corners, got 2"), ([(0, 0), (5, 5), (9, 9)], "no area on the slide"),
     ([(-9, -9), (-9, -2), (-2, -2)], "no area on the slide; draw a larger one")],
)  # fmt: skip
def test_a_region_that_is_none_is_refused_in_words(result: Result, corners: list[Any], words: str) -> None:
    viewer = SlideViewer(result)
    with pytest.raises(ValueError, match=words):
        viewer.count(corners)
    said, _ = Page(viewer).ask("region", corners=[list(c) for c in corners])
    assert re.search(words, said["fault"])


def test_the_page_hears_what_python_counted(result: Result) -> None:
    viewer = SlideViewer(result)
    said, _ = Page(viewer).ask("region", corners=[[0, 0], [0, 512], [512, 512], [512, 0]])
    assert viewer.counted is not None
    assert sum(n for n, _ in said["nuclei"].values()) == result.instances().num_rows
    assert viewer.region == [[0, 0], [0, 512], [512, 512], [512, 0]]


# ---- the widget


def test_opening_reads_no_table(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Result, "_rows", lambda self: pytest.fail("the table was opened"))
    page = Page(SlideViewer(result))
    page.tile(0, 0, 0)
    assert page.ask("color", level=0, row=0, column=0)[1]


def test_a_folder_a_slide_and_their_paths_are_shown(result: Result, tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", marked(512, 512), 0.25)
    assert SlideViewer(result.folder).facts["map"]["scale"] == SCALE
    alone = SlideViewer(path)
    assert alone.facts["map"] is None
    assert alone.title == "a.tif"
    assert "fault" in Page(alone).ask("nucleus", id=1)[0]
    both = SlideViewer(result, write_pyramid(tmp_path / "b.tif", marked(512, 512)))  # the result knows the pixel size
    assert both.facts["mpp"] == MPP
    wrong = write_pyramid(tmp_path / "w.tif", marked(512, 512), 0.5)  # the run was told better than the file knows
    assert SlideViewer(result.folder, wrong).facts["mpp"] == SlideViewer(result, open_slide(wrong)).facts["mpp"] == MPP
    with pytest.raises(ValueError, match=r"must have one size .*\(512, 512\) of the map and \(300, 300\) of c.tif"):
        SlideViewer(result, write_pyramid(tmp_path / "c.tif", marked(300, 300), 0.25))
    with pytest.raises(TypeError, match="shows a result folder .* or a map in the making, got int"):
        SlideViewer(7)
    with pytest.raises(FileNotFoundError, match="holds no segmented slide"):
        SlideViewer(tmp_path)


def test_traits_go_both_ways_and_nonsense_is_refused(result: Result) -> None:
    viewer = SlideViewer(result, opacity=0.5, types=True)
    from_page(viewer, hidden=[TUMOUR], opacity=0.3, view=[0, 0, 100, 100])
    assert (viewer.hidden, viewer.opacity, viewer.fault) == ([TUMOUR], 0.3, "")
    with pytest.raises(traitlets.TraitError, match=r"`hidden` holds category ids, got \[99\]"):
        viewer.hidden = [99]


def test_the_static_picture_shows_slide_and_map(result: Result) -> None:
    viewer = SlideViewer(result)
    data, metadata = viewer._repr_mimebundle_()
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))))
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 3, "the map is drawn"
    said = "a.svs: 512 x 512 pixels (rows x columns), 0.1 x 0.1 mm, with its panoptic map."
    assert metadata["image/png"]["alt"] == said


def test_a_fault_of_the_file_is_words_on_the_page(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise SlideReadError("the map is damaged at <b>rows 5</b>")

    monkeypatch.setattr(ResultMap, "window", broken)
    viewer = SlideViewer(PaintedSlide((512, 512)))
    viewer.show(ResultMap(result))
    said, buffers = Page(viewer).ask("ids", level=0, row=0, column=0)
    assert (said["fault"], buffers) == ("the map is damaged at <b>rows 5</b>", [])


def test_scripts_ask_nobody_and_write_no_html() -> None:
    texts = [p.read_text("utf-8") for p in [*(FOLDER / "parts").glob("*.js"), *FOLDER.glob("slide_*.js")]]
    assert len(texts) == 5
    words = r"https?:|\bimport\b|\bfetch\(['\"]|XMLHttp|WebSocket|url\(|sendBeacon|innerHTML|insertAdjacent|\beval\("
    assert not [found for text in texts for found in re.findall(words, text)]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 200


def test_openseadragon_is_in_the_package_with_its_licence() -> None:
    assert "OpenSeadragon contributors" in (FOLDER / "vendor" / "openseadragon.LICENSE.txt").read_text("utf-8")
    esm = str(SlideViewer._esm)
    assert esm.startswith("const OpenSeadragon = ((define, module, exports) => {")
    assert "sourceMappingURL" not in esm, "a browser would look for it"
