"""A finished slide for other programs: nothing lost, nothing moved, no gap between tissues, no torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from slide_results import MPP, SCALE, SLIDE, painted, write_result
from typer.testing import CliRunner

from pano_med.cli.app import app
from pano_med.formats import read_coco, read_geojson
from pano_med.slides import region_map as region_maps
from pano_med.slides.export import COLUMNS, export
from pano_med.slides.objects import contours
from pano_med.slides.outlines import fill_things, outlines, tissue_map
from pano_med.slides.region_map import region_map
from pano_med.slides.regions import Region, qupath_origin
from pano_med.slides.store import SCHEMA, Result
from pano_med.types import HE_CORE

sizes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14)
maps = hnp.arrays(np.uint8, sizes, elements=st.integers(0, 3))
quiet = settings(deadline=None, derandomize=True, max_examples=80)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return write_result(tmp_path_factory.mktemp("slide"), *painted())


def features(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["features"]


def shape(feature: dict) -> shapely.Geometry:
    return shapely.from_geojson(json.dumps(feature["geometry"]))


@quiet
@given(maps, st.sampled_from([1.0, 2.5]))
def test_outlines_that_keep_all_corners_are_the_pixels(labels, step):
    found = outlines(labels, step, tolerance=0)
    assert set(found) == set(np.unique(labels)) - {0}
    for label, polygons in found.items():
        whole = shapely.multipolygons(polygons)
        assert whole.is_valid
        assert whole.area == pytest.approx((labels == label).sum() * step**2)
        y, x = (labels == label).nonzero()
        assert shapely.contains_xy(whole, (x + 0.5) * step, (y + 0.5) * step).all()


@quiet
@given(maps.map(lambda a: a.repeat(4, 0).repeat(4, 1)))
def test_simplified_neighbours_leave_no_gap_and_do_not_overlap(labels):
    polygons = [p for group in outlines(labels).values() for p in group]
    together = shapely.union_all(polygons)
    assert together.area == pytest.approx(sum(p.area for p in polygons))  # no overlap
    if polygons:
        assert shapely.coverage_is_valid(polygons)  # neighbours share each corner of their border
    if labels.all():
        assert together.geom_type == "Polygon"
        assert not together.interiors  # no gap


def test_stairs_become_slopes():
    labels = np.where(np.add.outer(np.arange(60), np.arange(60)) < 60, 1, 2)
    assert all(shapely.get_num_coordinates(p) < 12 for group in outlines(labels).values() for p in group)
    assert sum(shapely.get_num_coordinates(p) for g in outlines(labels, tolerance=0).values() for p in g) > 200


def test_nuclei_are_filled_with_the_tissue_around_them_never_with_void():
    classes = np.array([[0, 4, 3, 3, 5, 7, 7, 2]], np.uint8)
    filled = fill_things(classes, HE_CORE)[0].tolist()
    assert (filled[:5], filled[6:]) == ([0, 3, 3, 3, 3], [2, 2])
    assert classes[0, 1] == 4  # the caller's array is as it was
    assert not fill_things(np.full((2, 2), 4, np.uint8), HE_CORE).any()


def test_qupath_gets_every_nucleus_where_it_is(result, tmp_path):
    (path,) = export(result, ["qupath"], tmp_path)
    rows, table = features(path), result.instances()
    nuclei = [r for r in rows if r["properties"]["objectType"] == "detection"]
    assert [r["properties"]["objectType"] for r in rows] == ["annotation"] * 3 + ["detection"] * table.num_rows
    assert [r["properties"]["measurements"]["segment id"] for r in nuclei] == table["id"].to_pylist()
    assert [r["properties"]["classification"]["name"] for r in nuclei] == table["class"].to_pylist()
    shapes = [shape(r) for r in nuclei]
    assert all(s.is_valid and s.exterior.is_closed for s in shapes)
    np.testing.assert_allclose([s.area * MPP**2 for s in shapes], table["area_um2"].to_numpy())
    first = nuclei[0]["properties"]
    assert first["classification"] == {"name": "neoplastic nucleus", "color": [213, 94, 0]}
    assert first["measurements"] == {"segment id": 1, "area um2": 9, "score": 0.51}


def test_contours_have_the_area_of_their_pixels():
    """QuPath measures what is drawn; corners cut off stairs would make every nucleus 5 % too small."""
    y, x = np.indices((40, 80))
    labels = ((y - 20) ** 2 / 150 + (x - 20) ** 2 / 90 < 1) + 2 * ((y - 18) ** 2 / 40 + (x - 55) ** 2 / 300 < 1)
    found = contours(labels.astype(np.int32), 2, np.array([0, 0]), 2.0).to_pylist()
    areas = [shapely.Polygon(np.reshape(c, (-1, 2))).area for c in found]
    np.testing.assert_allclose(areas, np.bincount(labels.ravel())[1:] * 4, rtol=1e-4)


def test_the_house_reads_its_own_export_back(result, tmp_path):
    """QuPath's pixels to map pixels: every nucleus comes back pixel by pixel."""
    (path,) = export(result, ["qupath"], tmp_path)
    ids = np.asarray(result.ids(0)[:])
    back = read_geojson(path, ids.shape, HE_CORE, scale=SCALE)
    assert len(back.things) == ids.max()  # renumbered, as tissue has no number in the file
    np.testing.assert_array_equal(back.lookup({s.id: 1 for s in back.things}), ids > 0)


def test_tissue_covers_what_was_looked_at_without_gap(result, tmp_path):
    (path,) = export(result, ["qupath"], tmp_path)
    tissue = [shape(r) for r in features(path)[:3]]
    looked_at = tissue_map(result)
    assert sum(t.area for t in tissue) == pytest.approx((looked_at.classes > 0).sum() * looked_at.step**2, rel=0.01)
    assert shapely.union_all(tissue).area == pytest.approx(sum(t.area for t in tissue))
    assert shapely.union_all(tissue).geom_type == "Polygon"
    names = [r["properties"]["classification"]["name"] for r in features(path)[:3]]
    assert names == ["background", "tumour", "other tissue"]


def test_a_slide_with_bounds_is_counted_from_their_corner(tmp_path):
    """QuPath crops to openslide's bounds and counts from there; with --no-crop it counts from level 0."""
    facts = {"name": "a.mrxs", "size": [512, 512], "mpp": MPP, "mpp_source": "file"}
    result = write_result(tmp_path / "r", *painted(), slide={**facts, **SLIDE, "bounds": [100, 30, 500, 480]})
    assert qupath_origin(result.manifest) == (100, 30)
    cropped, whole = (features(export(result, ["qupath"], tmp_path, crop=c)[0]) for c in (True, False))
    for a, b in zip(cropped, whole, strict=True):
        moved = shapely.transform(shape(a), lambda xy: xy + np.array([30, 100]))
        assert shapely.equals_exact(moved, shape(b), 0.01)
    drawn = tmp_path / "drawn.geojson"  # QuPath's file of a rectangle is moved back
    drawn.write_text(json.dumps({"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]]}))
    assert Region.parse(str(drawn), qupath_origin(result.manifest)).box == (100, 30, 109, 39)


def test_a_region_takes_the_nuclei_whose_centre_lies_in_it(result, tmp_path):
    everything = result.instances(["id", "row", "column"]).to_pylist()
    triangle = Region(shapely.Polygon([(60, 40), (400, 60), (80, 470)]))
    for region in (triangle, Region.of_box(100, 100, 300, 400)):
        inside = [r["id"] for r in everything if region.shape.intersects(shapely.Point(r["column"], r["row"]))]
        qupath, csv, parquet = export(result, ["qupath", "csv", "parquet"], tmp_path, region)
        assert 0 < len(inside) < len(everything)
        rows = features(qupath)
        nuclei = [r for r in rows if r["properties"]["objectType"] == "detection"]
        assert [r["properties"]["measurements"]["segment id"] for r in nuclei] == inside
        assert pa_csv.read_csv(csv)["id"].to_pylist() == pq.read_table(parquet)["id"].to_pylist() == inside
        tissue = [shape(r) for r in rows if r["properties"]["objectType"] == "annotation"]
        assert shapely.union_all(tissue).difference(region.shape.buffer(0.1)).is_empty  # rounding


def test_a_border_that_a_region_only_touches_is_no_line_in_the_file(tmp_path):
    """Two islands of tumour; the region takes half of one and ends where the other begins."""
    classes = np.zeros((64, 64), np.uint8)
    classes[8:24, 8:24] = classes[8:24, 40:56] = 2
    result = write_result(tmp_path / "r", np.zeros((64, 64), np.uint32), classes)
    (tissue,) = features(export(result, ["qupath"], tmp_path, Region.of_box(16, 30, 60, 80))[0])
    assert tissue["geometry"]["type"] == "MultiPolygon"
    assert shape(tissue).area == pytest.approx((48 - 30) * 32, rel=0.05)


def test_tables_hold_the_instances(result, tmp_path):
    csv, parquet = export(result, ["csv", "parquet"], tmp_path)
    assert pq.read_table(parquet).select(SCHEMA.names).equals(result.instances())
    table = pa_csv.read_csv(csv)
    assert table.column_names == list(COLUMNS)
    np.testing.assert_allclose(table["area_um2"], result.instances()["area_um2"])


def test_a_nucleus_without_score_is_written_without_one(result, tmp_path, monkeypatch):
    table = result.instances()
    scores = pa.array([None, *table["score"].to_pylist()[1:]], pa.float32())
    without = table.set_column(3, "score", scores)
    monkeypatch.setattr(Result, "batches", lambda self, columns, size: iter(without.select(columns).to_batches()))
    (path,) = export(result, ["qupath"], tmp_path)
    assert [r["properties"]["measurements"].get("score") for r in features(path)[3:5]] == [None, 0.52]


def test_coco_of_the_slide_and_of_a_region(result, tmp_path):
    png, text = export(result, ["coco"], tmp_path)
    back, ids = read_coco(png, text), np.asarray(result.ids(0)[:])
    np.testing.assert_array_equal(np.where(ids > 0, back.ids, 0), ids)  # things keep their numbers
    assert back.pixel_size_um == MPP * SCALE
    classes = np.asarray(result.classes(0)[:])
    np.testing.assert_array_equal(back.lookup({s.id: s.category_id for s in back.segments}), classes)
    assert {s.id: round(s.score, 4) for s in back.things}[1] == 0.51
    part = region_map(result, Region.of_box(100, 60, 301, 401))
    np.testing.assert_array_equal(part.ids, back.ids[50:151, 30:201])


def test_outside_a_polygon_a_map_is_void(result):
    triangle = Region(shapely.Polygon([(60, 40), (400, 60), (80, 470)]))
    found, (top, left, _, _) = region_map(result, triangle), triangle.box
    y, x = (np.indices(found.size).T + 0.5).T
    inside = shapely.intersects_xy(triangle.shape, (x + left // 2) * 2, (y + top // 2) * 2)
    assert (found.ids[~inside] == 0).all()
    assert (found.ids[inside] > 0).mean() > 0.95


def test_the_overview_is_a_picture_of_the_whole_slide(result, tmp_path):
    (path,) = export(result, ["png"], tmp_path)
    with Image.open(path) as picture:
        assert picture.width == tissue_map(result, 2048).classes.shape[1]
        assert picture.height > picture.width  # the legend


def test_a_region_in_numbers_is_a_corner_and_a_size():
    assert Region.parse("10,20,300,400").box == Region.parse(" 10, 20, 300, 400").box == (10, 20, 310, 420)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "or a GeoJSON file of polygons, got '1,2,3', which is neither"),
        ("5,5,0,9", "a region has a height and a width, got 0 x 9 px"),
        ("broken.geojson", r"broken\.geojson is not GeoJSON as QuPath writes it .*; export it again"),
        ("points.geojson", r"points\.geojson holds no polygon; draw one in QuPath"),
    ],
)
def test_a_region_that_is_none_gets_a_sentence(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    Path("broken.geojson").write_text('{"type": "Polygon", "coor')
    Path("points.geojson").write_text('{"type": "Point", "coordinates": [1, 2]}')
    with pytest.raises(ValueError, match=message):
        Region.parse(text)


def test_what_cannot_be_exported_gets_a_sentence(result, tmp_path, monkeypatch):
    box = Region.of_box(0, 0, 9, 9)
    with pytest.raises(ValueError, match="exported to qupath, coco, csv, parquet, png, got docx"):
        export(result, ["docx", "csv"], tmp_path / "no")
    with pytest.raises(ValueError, match="got nothing"):
        export(result, [], tmp_path)
    with pytest.raises(ValueError, match="an overview shows the whole slide; leave --region out"):
        export(result, ["png"], tmp_path, box)
    with pytest.raises(ValueError, match="the region lies outside the slide of 512 x 512 px"):
        region_map(result, Region.of_box(600, 0, 700, 9))
    monkeypatch.setattr(region_maps, "MAP_PIXELS", 100)
    with pytest.raises(ValueError, match="at most 100 px, this one has 256 x 256; name a smaller --region"):
        region_map(result)
    assert not (tmp_path / "no").exists()


def test_the_command_writes_files_and_refuses_an_unfinished_run(result, tmp_path):
    run = CliRunner()
    done = run.invoke(app, ["export", str(result.folder), "--to", "csv", "--to", "qupath", "-o", str(tmp_path / "x")])
    assert done.exit_code == 0, done.output
    assert {p.name for p in (tmp_path / "x").iterdir()} == {"nuclei.csv", "qupath.geojson"}
    write_result(tmp_path / "r", *painted(64), state="running")
    done = run.invoke(app, ["export", str(tmp_path / "r"), "--to", "csv"])
    assert done.exit_code == 1
    assert "is not finished, so its nuclei have no final numbers: go on with" in " ".join(done.output.split())


def test_exporters_and_report_import_no_torch():
    code = "import sys, pano_med.cli.slide_export; print(*{'torch', 'monai'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
