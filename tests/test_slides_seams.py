"""The seam certificate: it passes a stitching with owners and fails those that cut, double, lose or smear."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import zarr
from seam_cases import OVERLAP, Planted
from slide_cases import PaintedSlide, PerfectPredictor, write_pyramid
from typer.testing import CliRunner

from pano_med.cli import app
from pano_med.metrics import Interval
from pano_med.predict import load_segmenter
from pano_med.slides import open_slide
from pano_med.slides.run import segment_slide
from pano_med.slides.seam_certificate import Certificate, _at_least, _runs_error, judge
from pano_med.slides.seam_measures import _quality, _runs, _straight, twice
from pano_med.slides.seam_places import BAND, INSIDE, Place, Seams, all_places, choose
from pano_med.slides.seams import certify
from pano_med.synthetic import he_tile
from pano_med.tiles import Grid
from pano_med.types import HE_CORE, Panoptic


@pytest.fixture(scope="module")
def slide() -> PaintedSlide:
    """About 900 nuclei on nothing but tissue."""
    return PaintedSlide((1152, 1152), tissue=1.0, cell=30, fill=0.9)


def judged(slide: PaintedSlide, how: str, places: int = 6) -> Certificate:
    return certify(Planted(slide, how), slide, PerfectPredictor(slide), places)


def test_owned_nuclei_pass(slide: PaintedSlide) -> None:
    found = judged(slide, "owned")
    assert (found.verdict, found.reasons) == ("pass", [])
    assert (found.band_pq, found.interior_pq, found.duplicates) == (1.0, 1.0, 0)
    assert found.straight_band <= found.straight_inside
    assert found.density_ratio.value == 1
    assert found.places == 6
    assert min(found.objects) > 50


@pytest.mark.parametrize(
    ("how", "reasons"),
    [
        ("cut", ["PQ along the seams", "run straight"]),
        ("painted over", ["PQ along the seams", "run straight"]),
        ("doubled", ["there twice"]),
        ("dropped", ["PQ along the seams", "times as dense"]),
        ("other tissue", ["tissue along the seams"]),
    ],
)
def test_planted_faults_fail(how: str, reasons: list[str], slide: PaintedSlide) -> None:
    found = judged(slide, how)
    assert found.verdict == "fail"
    for reason in reasons:
        assert any(reason in r for r in found.reasons), found.reasons
    assert found.interior_pq > 0.85, "the inside is nearly as it was"


def test_the_file_says_all_that_reports_need(slide: PaintedSlide, tmp_path: Path) -> None:
    found = json.loads(judged(slide, "cut", 3).write(tmp_path).read_text(encoding="utf-8"))
    assert {"verdict", "reasons", "band_pq", "interior_pq", "difference", "duplicates", "straight_edges_band",
            "straight_edges_inside", "density_ratio", "places", "band_px"} <= set(found)  # fmt: skip
    assert (found["verdict"], found["band_px"], found["places"]) == ("fail", OVERLAP, 3)
    assert found["difference_interval"][0] <= found["difference"] <= found["difference_interval"][1]
    again = judged(slide, "cut", 3).to_dict()
    assert found == again, "the same seed says the same"


def test_one_tile_has_no_seam(slide: PaintedSlide) -> None:
    result = Planted(slide, "owned")
    result.manifest["grid"] = {"tile": 2048, "overlap": 64, "origin": [0, 0], "size": list(slide.size)}
    found = certify(result, slide, PerfectPredictor(slide))
    assert (found.verdict, found.places) == ("pass", 0)
    assert found.to_dict()["one_tile"] is True
    assert found.to_dict()["band_pq"] is None


def test_too_few_nuclei_say_nothing() -> None:
    glass = PaintedSlide((600, 600), tissue=1.0, cell=64, fill=0.05)
    found = judged(glass, "owned")
    assert found.verdict == "fail"
    assert "nuclei lie along the seams that were looked at; at least 30" in found.reasons[0]


def test_no_inside_to_compare_with_says_nothing() -> None:
    """With nothing inside every difference is nan, which is no pass: a cutter would slip through."""
    unknown = Interval(math.nan, math.nan, math.nan, 0.95, 9, 1.0)
    alone = Certificate(0.2, math.nan, unknown, 0, 0.9, math.nan, unknown, unknown, unknown, (400, 0), 9, 128)
    assert alone.reasons == ["only 0 nuclei lie inside of tiles; at least 30 are needed to say anything"]


def test_a_small_difference_by_chance_is_no_fault() -> None:
    even = Interval(0.0, -0.01, 0.01, 0.95, 9, 0.0)
    whole = replace(even, value=1.0, low=0.99, high=1.01)
    fine = Certificate(0.9, 0.9, even, 0, 0.01, 0.01, even, whole, even, (400, 900), 9, 128)
    assert fine.verdict == "pass"
    assert replace(fine, difference=Interval(0.02, -0.01, 0.05, 0.95, 9, 0.0)).verdict == "pass"
    unclear = replace(fine, difference=Interval(0.02, -0.03, 0.07, 0.95, 9, 0.0))  # it may be far more
    assert unclear.verdict == "fail"
    assert re.search(r"differ by 0\.02.*, too uncertain to certify: look at more places", unclear.reasons[0])
    assert replace(fine, difference=Interval(0.008, 0.004, 0.012, 0.95, 9, 0.0)).verdict == "pass"
    assert replace(fine, difference=Interval(0.02, 0.01, 0.03, 0.95, 9, 0.0)).verdict == "fail"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.manifest.update(state="running"), "planted is not finished: go on with"),
        (lambda r: r.manifest["slide"].update(fingerprint="x"), "was made from another slide"),
        (lambda r: r.manifest["slide"].update(mpp=0.5), r"made at 0\.5 um per pixel, .* opened with 0\.25: open"),
        (lambda r: r.manifest["model"].update(sha256="x"), r"made with other weights \(perfect\); name them"),
    ],
)
def test_what_does_not_belong_together(change: Any, message: str, slide: PaintedSlide) -> None:
    result = Planted(slide, "owned")
    change(result)
    with pytest.raises(ValueError, match=message):
        certify(result, slide, PerfectPredictor(slide))


def test_at_least_one_place(slide: PaintedSlide) -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        certify(Planted(slide, "owned"), slide, PerfectPredictor(slide), 0)


def test_damaged_places_are_skipped_and_told(slide: PaintedSlide) -> None:
    broken = PaintedSlide(slide.size, tissue=1.0, cell=30, fill=0.9, damaged=[(0, 0, 400, 400)])
    broken._fingerprint = slide.fingerprint
    found = certify(Planted(slide, "owned"), broken, PerfectPredictor(slide), 60)
    assert found.verdict == "pass"
    assert found.skipped
    assert "is damaged at" in found.skipped[0]
    result = Planted(slide, "owned")
    result.manifest["tiles"]["failed"] = [{"tile": i, "reason": ""} for i in range(len(result.grid)) if i % 6 < 3]
    looked = certify(result, broken, PerfectPredictor(slide), 60)
    assert (looked.skipped, looked.places < found.places) == ((), True)


def seams_of(size: tuple[int, int], tile: int = 256, overlap: int = 64) -> Seams:
    return Seams.of(Grid(size, tile, overlap), size, tile, overlap)


def test_seams_by_hand() -> None:
    seams = seams_of((500, 250))
    assert (seams.rows.tolist(), seams.columns.tolist()) == ([224, 416], [])
    assert seams.edges(seams.rows).tolist() == [192, 224, 256, 384, 416, 448]
    zone = seams.zone(np.array([0.0, 191, 192, 256, 257, 300]), np.zeros(6))
    assert zone.tolist() == [INSIDE, INSIDE, BAND, BAND, INSIDE, INSIDE]


def test_places_lie_on_every_seam_and_their_tiles_keep_the_stride() -> None:
    for size in ((1152, 1152), (500, 250), (250, 900)):
        places = all_places(seams_of(size), (0, 0))
        assert places
        for p in places:
            assert p.centre[0] in seams_of(size).rows or p.centre[1] in seams_of(size).columns
            assert p.rows[0] % 32 == p.columns[0] % 32 == 0
            assert p.rows[0] <= max(0, p.centre[0] - p.reach)
            assert p.rows[1] >= min(size[0], p.centre[0] + p.reach)
    assert all_places(seams_of((200, 200)), (0, 0)) == []


def test_places_without_tissue_are_never_drawn() -> None:
    places = all_places(seams_of((1152, 1152)), (0, 0))
    tissue = np.arange(len(places)) % 2.0
    drawn = choose(places, tissue, 5, seed=1)
    assert len(set(drawn)) == 5
    assert all(places.index(p) % 2 for p in drawn)
    assert choose(places, tissue, 5, seed=1) == drawn != choose(places, tissue, 5, seed=2)
    assert choose(places, np.zeros(len(places)), 5, 0) == []


#: A map of 40 x 100 with one seam, at column 50; the band is columns 40 to 60.
ONE = Seams(np.array([], np.int64), np.array([50]), 20, 100, (40, 100))
HERE = Place((20, 50), (0, 40), (0, 100), 100)


def panoptic(*boxes: tuple[int, int, int, int]) -> Panoptic:
    """Neoplastic boxes (top, left, bottom, right) on other tissue."""
    ids = np.full((40, 100), 1)
    for i, (top, left, bottom, right) in enumerate(boxes, start=2):
        ids[top:bottom, left:right] = i
    stuff, thing = HE_CORE["other tissue"].id, HE_CORE["neoplastic nucleus"].id
    return Panoptic.from_ids(ids, {1: stuff, **{i: thing for i in range(2, len(boxes) + 2)}}, HE_CORE)


def test_quality_by_hand() -> None:
    """A nucleus in the band is found with IoU 0.8, one is lost; inside one is right and one is too many."""
    truth = panoptic((2, 45, 12, 55), (20, 45, 30, 55), (2, 5, 12, 15))
    found = panoptic((2, 45, 10, 55), (2, 5, 12, 15), (20, 80, 30, 90))
    (band, inside), objects = _quality(HERE, ONE, found, truth)
    assert (band.tp.sum(), band.fp.sum(), band.fn.sum(), band.iou.sum()) == (1, 0, 1, pytest.approx(0.8))
    assert (inside.tp.sum(), inside.fp.sum(), inside.fn.sum(), inside.iou.sum()) == (1, 1, 0, 1)
    assert objects.tolist() == [[1, 2], [2, 1]]


def test_runs_by_hand() -> None:
    line, first, length, owner = _runs(np.array([[0, 7, 7], [0, 7, 9], [0, 0, 9]]))
    runs = sorted(zip(line.tolist(), first.tolist(), length.tolist(), owner.tolist(), strict=True))
    assert runs == [(1, 2, 1, 7), (1, 2, 1, 9), (2, 1, 1, 7)]


def test_straight_by_hand() -> None:
    """A box of 10 x 10 that ends at the seam is straight there; boxes inside are straight as well, discs are not."""
    assert _straight(HERE, ONE, panoptic((2, 40, 12, 50)))[0].tolist() == [20, 20, 200]  # on the seam and a tile's edge
    assert _straight(HERE, ONE, panoptic((2, 43, 12, 53)))[0].tolist() == [0, 0, 0]  # its sides lie on no line
    assert _straight(HERE, ONE, panoptic((2, 5, 12, 15)))[1].tolist() == [40, 40, 400]
    disc = np.hypot(*np.mgrid[-19.5:20, -49.5:50]) < 12
    ids = np.where(np.roll(disc, 30, axis=1), 2, 1)
    stuff, thing = HE_CORE["other tissue"].id, HE_CORE["neoplastic nucleus"].id
    straight = _straight(HERE, ONE, Panoptic.from_ids(ids, {1: stuff, 2: thing}, HE_CORE))
    assert straight[1][0] == 0 < straight[1][1]


def rows(*boxes: tuple[int, int, int, int, int]) -> pa.Table:
    """Boxes (tile, top, left, bottom, right) as rows of a table."""
    contours = [[x0, y0, x1, y0, x1, y1, x0, y1] for _, y0, x0, y1, x1 in boxes]
    return pa.table({
        "id": list(range(1, len(boxes) + 1)), "tile": [b[0] for b in boxes],
        "row": [(b[1] + b[3]) / 2 for b in boxes], "column": [(b[2] + b[4]) / 2 for b in boxes],
        "contour": pa.array(contours, pa.list_(pa.float32())),
    })  # fmt: skip


def test_twice_by_hand() -> None:
    one, more, less = (0, 0, 45, 10, 55), (1, 2, 46, 11, 56), (1, 6, 45, 16, 55)
    assert twice(rows(one, more), HERE, ONE, 1.0) == {(1, 2)}
    assert twice(rows(one, less), HERE, ONE, 1.0) == frozenset()  # they share 40 of 100 px
    assert twice(rows(one, (0, *more[1:])), HERE, ONE, 1.0) == frozenset()  # one tile's own are no duplicates
    assert twice(rows((0, 0, 5, 10, 15), (1, 0, 5, 10, 15)), HERE, ONE, 1.0) == frozenset()  # not in the band
    assert twice(rows(one), HERE, ONE, 1.0) == frozenset()


def test_nothing_seen_is_told_as_nothing() -> None:
    empty = judge([], 64)
    assert math.isnan(empty.band_pq)
    assert empty.verdict == "fail"
    assert "only 0 nuclei" in empty.reasons[0]


def test_what_segment_slide_leaves_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a file through `segment_slide` to the command, with a perfect network in the real one's place."""
    painted = PaintedSlide((640, 640), tissue=1.0, cell=30, fill=0.9)
    perfect = PerfectPredictor(painted)
    path = write_pyramid(tmp_path / "painted.tif", painted.region(0, 0, 640, 640), 0.25, levels=1)
    with open_slide(path) as slide:
        result = segment_slide(slide, perfect, tmp_path / "out", tile=256, overlap=32, origin=(32, 96))
        found = certify(result, slide, perfect, 9)
    assert (found.verdict, found.band_pq, found.interior_pq, found.duplicates) == ("pass", 1.0, 1.0, 0)
    monkeypatch.setattr("pano_med.cli.seams.load_segmenter", lambda *_, **__: perfect)
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["seams", str(tmp_path / "out"), "--places", "9"])
    assert told.exit_code == 0, told.output
    assert "PQ between stitched and shifted tiles: 1.000 in the band, 1.000 inside" in told.output
    assert json.loads((tmp_path / "out" / "seams.json").read_text(encoding="utf-8")) == found.to_dict()
    path.rename(tmp_path / "elsewhere.tif")
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["seams", str(tmp_path / "out")])
    assert told.exit_code == 1
    assert "the slide painted.tif is needed and does not lie beside" in told.output


@pytest.mark.slow
def test_a_real_network_passes_and_a_cut_through_its_map_fails(tmp_path: Path) -> None:
    """He-nano on a painted field; then nuclei that cross a seam are cut in two, as tiles without owners would."""
    segmenter, field = load_segmenter(device="cpu"), he_tile(3, (2048, 2048), pixel_size_um=0.25)
    path = write_pyramid(tmp_path / "field.tif", field.image, 0.25, levels=2)
    with open_slide(path) as slide:
        result = segment_slide(slide, segmenter, tmp_path / "out", tile=1024, overlap=256)
        found = certify(result, slide, segmenter, 4)
        assert found.duplicates == 0
        assert found.interior_pq - found.band_pq < 0.05  # a hundred nuclei; bench_seams.py has more
        seams = seams_of(tuple(result.manifest["grid"]["size"]), 1024, 256)
        ids = zarr.open_array(str(tmp_path / "out" / "map.zarr" / "ids" / "0"), mode="r+")
        cut = ids[:]
        for line in seams.rows:
            cut[line:] = np.where(cut[line:] > 0, cut[line:] + 10**5, 0)
        for line in seams.columns:
            cut[:, line:] = np.where(cut[:, line:] > 0, cut[:, line:] + 10**6, 0)
        ids[:] = cut
        planted = certify(result, slide, segmenter, 4)
    assert planted.verdict == "fail"
    assert any("run straight" in r for r in planted.reasons), planted.reasons
    assert planted.difference.value > found.difference.value + 0.05


def test_a_share_of_few_runs_has_a_wide_interval() -> None:
    """Four runs of 10 px in line with seams, one of them straight; a hundred inside, ten straight."""
    few = np.array([[10, 40, 4 * 100], [100, 1000, 100 * 100]])
    error = _runs_error(few)
    assert error == pytest.approx(np.sqrt(0.25 * 0.75 / 4 + 0.1 * 0.9 / 100))
    interval = _at_least(Interval(0.15, 0.15, 0.15, 0.95, 1, 0.0), error)
    assert (interval.low, interval.high) == pytest.approx((0.15 - 1.96 * error, 0.15 + 1.96 * error))
    assert _at_least(Interval(0.15, -2, 2, 0.95, 9, 0.0), error).low == -2
