"""GeoJSON: contours run along pixel edges, so that rasterising gives the map back, pixel by pixel."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import ndimage

from pano_med.formats import features, read_geojson, write_features, write_geojson
from pano_med.formats.contours import outline, rasterise
from pano_med.types import HE_CORE, Panoptic

quiet = settings(deadline=None, derandomize=True, max_examples=100)
masks = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
maps = hnp.arrays(int, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.integers(0, 4))
CLASSES = {1: 2, 2: 4, 3: 5, 4: 7}


def corners(text: str) -> list[list[list[list[int]]]]:
    mask = np.array([[c == "#" for c in line] for line in text.split()])
    return [[ring.tolist() for ring in rings] for rings in outline(mask)]


def test_one_pixel_is_a_square():
    assert corners("... ..#") == [[[[3, 1], [3, 2], [2, 2], [2, 1]]]]


def test_straight_edges_keep_their_ends_only():
    (rings,) = corners("#### ####")
    assert sorted(rings[0]) == [[0, 0], [0, 2], [4, 0], [4, 2]]


def test_a_hole_is_a_ring_of_its_own():
    (rings,) = corners("### #.# ###")
    assert [sorted(r) for r in rings] == [[[0, 0], [0, 3], [3, 0], [3, 3]], [[1, 1], [1, 2], [2, 1], [2, 2]]]


def test_pixels_that_meet_at_a_corner_are_two_parts():
    assert [len(rings) for rings in corners("#. .#")] == [1, 1]


def test_a_hole_closed_by_a_corner_is_a_hole():
    """The part is connected the long way round; its outer ring must not touch itself at the corner."""
    (rings,) = corners("### #.# ##. ###".replace(" ", "\n"))
    assert [len(r) for r in rings] == [8, 4]
    (rings,) = corners("#### #.## ##.# ####")  # two holes that meet at a corner
    assert [len(r) for r in rings] == [4, 4, 4]


def shoelace(ring: np.ndarray) -> float:
    """Area, positive for an outer ring."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True)) / 2


def unit_steps(ring: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """The pixel edges that a ring runs along."""
    steps = []
    for start, end in zip(ring, np.roll(ring, -1, 0), strict=True):
        assert (start == end).sum() == 1  # level or upright
        places = [tuple(start + (end - start) * i // abs(end - start).max()) for i in range(abs(end - start).max() + 1)]
        steps += list(itertools.pairwise(places))
    return steps


@quiet
@given(masks)
def test_outlines_are_valid_polygons_of_the_same_pixels(mask):
    polygons = outline(mask)
    assert len(polygons) == ndimage.label(mask)[1]
    assert sum(shoelace(ring) for rings in polygons for ring in rings) == mask.sum()
    back = np.zeros(mask.shape, bool)
    for rings in polygons:
        assert [shoelace(ring) > 0 for ring in rings] == [True] + [False] * (len(rings) - 1)
        walks = [unit_steps(ring) for ring in rings]
        for walk in walks:
            assert len({end for _, end in walk}) == len(walk)  # no ring meets itself, as OGC and so QuPath demand
        edges = [frozenset(step) for walk in walks for step in walk]
        assert len(set(edges)) == len(edges)  # and two rings share no edge
        box, inside = rasterise(rings, mask.shape)
        assert not (back[box] & inside).any()
        back[box] |= inside
    np.testing.assert_array_equal(back, mask)


@quiet
@given(st.lists(st.tuples(st.floats(-3, 12), st.floats(-3, 12)), min_size=3, max_size=8))
def test_rasterising_any_polygon_takes_the_centres_inside(points):
    """Oracle: count, for each pixel centre, the edges that a ray to the right crosses."""
    box, inside = rasterise([np.array(points)], (8, 9))
    drawn = np.zeros((8, 9), bool)
    drawn[box] = inside
    for row in range(8):
        for column in range(9):
            x, y, odd = column + 0.5, row + 0.5, False
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
                if (y0 <= y) != (y1 <= y):
                    odd ^= x0 + (y - y0) * ((x1 - x0) / (y1 - y0)) <= x
            assert drawn[row, column] == odd


@settings(quiet, max_examples=60)
@given(maps, st.sampled_from([(0, 0), (1000, 70), (0.25, -3.5)]), st.sampled_from([1.0, 2.0, 0.3, 3.7]))
def test_writing_and_reading_gives_the_same_map(tmp_path_factory, ids, offset, scale):
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    panoptic = Panoptic.from_ids(ids * 7, {i * 7: c for i, c in CLASSES.items()}, HE_CORE, 0.5, {14: 0.125}, [21])
    write_geojson(panoptic, path, offset, scale)
    back = read_geojson(path, panoptic.size, HE_CORE, offset, scale, 0.5)
    np.testing.assert_array_equal(back.ids, panoptic.ids)
    assert (back.segments, back.pixel_size_um) == (panoptic.segments, 0.5)


@pytest.fixture
def small() -> Panoptic:
    ids = np.array([[1, 1, 1, 2], [1, 3, 1, 1], [1, 1, 1, 2]])
    return Panoptic.from_ids(ids, {1: 2, 2: 4, 3: 5}, HE_CORE, 0.5, {3: 0.75})


def test_features_are_what_qupath_expects(small):
    tissue, pieces, nucleus = features(small, offset=(10, 100), scale=2)
    assert tissue["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "tumour", "color": [230, 159, 0]},
        "measurements": {"segment id": 1, "area px": 9, "area um2": 2.25},
    }
    assert nucleus["properties"]["objectType"] == "detection"
    assert nucleus["properties"]["measurements"] == {"segment id": 3, "area px": 1, "area um2": 0.25, "score": 0.75}
    assert tissue["geometry"]["type"] == "Polygon"
    assert len(tissue["geometry"]["coordinates"]) == 2  # the nucleus is a hole in it
    assert pieces["geometry"]["type"] == "MultiPolygon"
    assert len(pieces["geometry"]["coordinates"]) == 2
    square = [[104, 12], [104, 14], [102, 14], [102, 12], [104, 12]]  # x = 100 + 2 * column, y = 10 + 2 * row; closed
    assert nucleus["geometry"]["coordinates"] == [square]


def test_the_file_is_a_feature_collection_even_without_segments(tmp_path):
    empty = Panoptic(np.zeros((2, 2), int), (), HE_CORE)
    write_geojson(empty, tmp_path / "a.geojson")
    assert json.loads((tmp_path / "a.geojson").read_text()) == {"type": "FeatureCollection", "features": []}
    assert read_geojson(tmp_path / "a.geojson", (2, 2), HE_CORE).segments == ()


def test_features_are_written_one_at_a_time_and_a_failure_leaves_nothing(tmp_path, small):
    def failing():
        yield next(features(small))
        raise RuntimeError("the second one fails")

    with pytest.raises(RuntimeError, match="second"):
        write_features(failing(), tmp_path / "a.geojson")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"cannot write .*its folder does not exist"):
        write_geojson(small, tmp_path / "no" / "a.geojson")


def polygon(name: str | None, left: float, right: float, **properties) -> dict:
    ring = [[left, 0], [right, 0], [right, 2], [left, 2], [left, 0]]
    classification = None if name is None else {"name": name}
    geometry = {"type": "Polygon", "coordinates": [ring]}
    return {"type": "Feature", "geometry": geometry, "properties": {"classification": classification, **properties}}


def test_nuclei_lie_over_tissue_whatever_the_order_and_beyond_the_map_is_cut(tmp_path):
    old = [{"name": "score", "value": 0.5}]  # older QuPath: a list of names and values
    rows = [polygon("neoplastic nucleus", 1, 2, measurements=old), polygon("tumour", -5, 99), polygon("tumour", 40, 50)]
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(rows))  # a bare list, which QuPath also writes
    back = read_geojson(path, (2, 3), HE_CORE)
    assert back.ids.tolist() == [[2, 1, 2], [2, 1, 2]]
    assert [(s.category_id, s.score) for s in back.segments] == [(4, 0.5), (2, None)]


def test_what_cannot_be_read_gets_one_sentence(tmp_path, small):
    path = tmp_path / "a.geojson"
    with pytest.raises(FileNotFoundError, match=r"there is no file .*a\.geojson; check the name"):
        read_geojson(path, (2, 2), HE_CORE)
    point = {**polygon("tumour", 0, 1), "geometry": {"type": "Point", "coordinates": [1, 2]}}
    cases = {
        '{"type": "FeatureC': r"a\.geojson is not JSON, or is cut short",
        '{"type": "Feature"}': "must be a GeoJSON FeatureCollection",
        json.dumps([polygon("dragon", 0, 1)]): r"taxonomy 'he-core' has no class \['dragon'\]; rename them",
        json.dumps([polygon(None, 0, 1)]): r"has no class \['None'\]",
        json.dumps([point]): "must be a Polygon or MultiPolygon, one is Point",
    }
    for text, message in cases.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_geojson(path, (2, 2), HE_CORE)
    with pytest.raises(ValueError, match="scale must be positive"):
        write_geojson(small, path, scale=0)


def test_a_real_region(tmp_path, data_root):
    folder = data_root / "histolytics_hgsc" / "derived"
    nuclei = np.asarray(Image.open(folder / "hgsc_nest_inst.png")).astype(int)
    near = ndimage.binary_dilation(nuclei > 0, iterations=9)
    top = int(nuclei.max())
    ids = np.where(nuclei > 0, nuclei, np.where(near, top + 1, top + 2))
    categories = {i: 4 for i in range(1, top + 1)} | {top + 1: 2, top + 2: 3}
    panoptic = Panoptic.from_ids(ids, categories, HE_CORE)
    write_geojson(panoptic, tmp_path / "a.geojson")
    back = read_geojson(tmp_path / "a.geojson", panoptic.size, HE_CORE)
    np.testing.assert_array_equal(back.ids, panoptic.ids)
    assert back.segments == panoptic.segments
