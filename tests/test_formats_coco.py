"""COCO panoptic: nothing is lost on the way through PNG and JSON, and disagreement is told by name."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pano_med.formats import MAX_ID, coco_document, read_coco, read_coco_folder, write_coco
from pano_med.types import HE_CORE, Category, Panoptic, Taxonomy

quiet = settings(deadline=None, derandomize=True, max_examples=60)


def assert_same(a: Panoptic, b: Panoptic) -> None:
    np.testing.assert_array_equal(a.ids, b.ids)
    assert (a.segments, a.taxonomy, a.pixel_size_um) == (b.segments, b.taxonomy, b.pixel_size_um)


@st.composite
def panoptics(draw) -> Panoptic:
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    choices = draw(st.lists(st.integers(1, MAX_ID), min_size=1, max_size=6, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    ids = rng.choice([0, *choices], size)
    category_ids = {i: int(rng.choice([c.id for c in HE_CORE.all])) for i in choices}
    scores = {i: float(rng.random()) for i in choices if rng.random() < 0.5}
    pixel_size = draw(st.none() | st.floats(0.01, 100))
    return Panoptic.from_ids(ids, category_ids, HE_CORE, pixel_size, scores, [i for i in choices if rng.random() < 0.3])


@quiet
@given(panoptics())
def test_writing_and_reading_gives_the_same_map(tmp_path_factory, panoptic):
    folder = tmp_path_factory.mktemp("coco")
    write_coco(panoptic, folder / "a.png", folder / "a.json")
    assert_same(read_coco(folder / "a.png", folder / "a.json"), panoptic)


@pytest.fixture
def small() -> Panoptic:
    ids = np.array([[1, 1, 70000], [0, 1, 70000]])
    return Panoptic.from_ids(ids, {1: 2, 70000: 5}, HE_CORE, 0.5, {70000: 0.75}, [70000])


@pytest.fixture
def files(tmp_path, small):
    write_coco(small, tmp_path / "a.png", tmp_path / "a.json", image_name="slide.tif")
    return tmp_path / "a.png", tmp_path / "a.json"


def test_the_json_is_a_complete_coco_file(files):
    document = json.loads(files[1].read_text())
    assert set(document) == {"info", "licenses", "images", "annotations", "categories", "taxonomy"}
    assert document["images"] == [{"id": 1, "file_name": "slide.tif", "height": 2, "width": 3, "pixel_size_um": 0.5}]
    assert document["annotations"] == [
        {
            "image_id": 1,
            "file_name": "a.png",
            "segments_info": [
                {"id": 1, "category_id": 2, "area": 3, "bbox": [0, 0, 2, 2], "iscrowd": 0},
                {"id": 70000, "category_id": 5, "area": 2, "bbox": [2, 0, 1, 2], "iscrowd": 1, "score": 0.75},
            ],
        }
    ]
    tumour = {"id": 2, "name": "tumour", "isthing": 0, "color": [230, 159, 0], "supercategory": "stuff"}
    assert document["categories"][1] == tumour
    assert document["taxonomy"] == {"name": "he-core", "unclassed": 7}


def test_the_png_codes_ids_in_red_green_and_blue(files):
    assert 112 + 17 * 256 + 65536 == 70000
    assert np.asarray(Image.open(files[0]))[0].tolist() == [[1, 0, 0], [1, 0, 0], [112, 17, 1]]


def test_a_map_of_void_alone(tmp_path):
    empty = Panoptic(np.zeros((3, 2), int), (), HE_CORE)
    write_coco(empty, tmp_path / "a.png", tmp_path / "a.json")
    assert_same(read_coco(tmp_path / "a.png", tmp_path / "a.json"), empty)


def test_ids_beyond_three_bytes_are_refused_and_nothing_is_left(tmp_path):
    high = Panoptic.from_ids(np.array([[MAX_ID + 1]]), {MAX_ID + 1: 1}, HE_CORE)
    with pytest.raises(ValueError, match=r"holds ids up to 16777215, the map has 16777216; renumber"):
        write_coco(high, tmp_path / "a.png", tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_if_the_json_cannot_be_written_there_is_no_png(tmp_path, small):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OSError, match=r"cannot write .*a\.json: a folder has that name"):
        write_coco(small, tmp_path / "a.png", tmp_path / "a.json")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def edit(path, change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def info(document) -> list:
    return document["annotations"][0]["segments_info"]


DISAGREEMENTS = {
    r"only in the map: \[70000\], only in the list: \[\]": lambda d: info(d).pop(),
    r"only in the map: \[\], only in the list: \[9\]": lambda d: info(d).append({"id": 9, "category_id": 1, "area": 1}),
    r"segment 1 says it covers 4 px, the map holds 3": lambda d: info(d)[0].update(area=4),
    r"each segment id may be listed once, got \[1, 1\]": lambda d: info(d)[1].update(id=1),
    r"size \(H, W\) of .*a\.png: \(2, 3\) and \(3, 3\)": lambda d: d["images"][0].update(height=3),
    r"segments \[70000\] have categories \[99\] that the JSON": lambda d: info(d)[1].update(category_id=99),
    r"needs id and category_id, those of .*a\.png do not": lambda d: info(d)[0].pop("category_id"),
    r"has no usable categories": lambda d: d["categories"][0].pop("isthing"),
    r"has images, annotations and categories, .* lacks \['categories'\]": lambda d: d.pop("categories"),
    r"must hold one annotation for a\.png, it holds 0 among 0": lambda d: d["annotations"].clear(),
}


@pytest.mark.parametrize("message", DISAGREEMENTS)
def test_disagreement_of_png_and_json_is_told_by_name(files, message):
    edit(files[1], DISAGREEMENTS[message])
    with pytest.raises(ValueError, match=message):
        read_coco(*files)


def test_missing_and_broken_files(files, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no panoptic PNG .*b\.png"):
        read_coco(tmp_path / "b.png", files[1])
    with pytest.raises(FileNotFoundError, match=r"there is no file .*b\.json; a panoptic PNG needs its JSON"):
        read_coco(files[0], tmp_path / "b.json")
    files[0].write_bytes(files[0].read_bytes()[:45])
    with pytest.raises(OSError, match=r"a\.png is not a PNG, damaged or cut short"):
        read_coco(*files)
    Image.new("L", (3, 2)).save(files[0])
    with pytest.raises(ValueError, match=r"codes ids in red, green and blue, .*a\.png has mode L"):
        read_coco(*files)
    files[1].write_text(files[1].read_text()[:50])
    with pytest.raises(ValueError, match=r"a\.json is not JSON, or is cut short"):
        read_coco(*files)


def test_files_of_other_programs_without_colours_areas_and_taxonomy(files, small):
    def strip(document) -> None:
        del document["taxonomy"]
        for row in (*document["categories"], *info(document)):
            row.pop("color", None)
            row.pop("area", None)

    edit(files[1], strip)
    read = read_coco(*files)
    np.testing.assert_array_equal(read.ids, small.ids)
    assert read.segments == small.segments
    assert read.taxonomy.name == "a"
    assert [(c.id, c.name, c.isthing) for c in read.taxonomy.all] == [(c.id, c.name, c.isthing) for c in HE_CORE.all]


def test_several_maps_in_one_file(tmp_path, small):
    maps = [("x.tif", "x.png", small), ("y.tif", "y.png", small)]
    (tmp_path / "all.json").write_text(json.dumps(coco_document(maps)))
    for _, png, panoptic in maps:
        write_coco(panoptic, tmp_path / png, tmp_path / "one.json")
    read = dict(read_coco_folder(tmp_path / "all.json", tmp_path))
    assert list(read) == ["x.tif", "y.tif"]
    assert_same(read["y.tif"], small)
    assert_same(read_coco(tmp_path / "y.png", tmp_path / "all.json"), small)
    with pytest.raises(ValueError, match="at least one map, got none"):
        coco_document([])
    other = Panoptic(np.zeros((1, 1), int), (), Taxonomy("other", (Category(1, "x", True, (0, 0, 0)),)))
    with pytest.raises(ValueError, match=r"share one taxonomy, \['z.tif'\] differ from 'he-core'"):
        coco_document([*maps, ("z.tif", "z.png", other)])


def test_the_sample_of_coco(data_root):
    folder = data_root / "coco_panoptic_sample"
    document = json.loads((folder / "panoptic_examples.json").read_text())
    read = dict(read_coco_folder(folder / "panoptic_examples.json", folder / "panoptic_examples"))
    assert [len(p.segments) for p in read.values()] == [18, 32]
    assert sum(s.iscrowd for p in read.values() for s in p.segments) == 3
    assert {len(p.taxonomy.all) for p in read.values()} == {133}
    ours = coco_document([(name, name, panoptic) for name, panoptic in read.items()])
    for theirs, own in zip(document["annotations"], ours["annotations"], strict=True):
        key = lambda row: row["id"]  # noqa: E731 - short and used twice
        assert sorted(theirs["segments_info"], key=key) == sorted(own["segments_info"], key=key)
