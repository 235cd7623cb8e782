"""Street scenes and photographs: each set in its published layout, written here, with the traps that loaders fall into.

Sources of the layouts: cityscapesScripts (labels.py, json2instanceImg.py, createPanopticImgs.py), EfficientPS
(tools/convert_kitti.py), panopticapi (sample_data), Mapillary's demo script and Mask2Former's registration,
CSAILVision/sceneparsing and Mask2Former (prepare_ade20k_pan_seg.py), AutoNUE/public-code (createLabels.py).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pano_med.data import card, load, load_split
from pano_med.data.codecs import coco_panoptic
from pano_med.data.codecs.scenes import distinct
from pano_med.data.items import Item
from pano_med.formats import read_coco_folder
from pano_med.formats.coco import rgb_from_ids
from pano_med.types import Sample

SCENES = {
    "ade20k": (50, 100),
    "cityscapes": (11, 8),
    "coco_panoptic": (53, 80),
    "idd": (17, 9),
    "kitti_panoptic": (11, 8),
    "mapillary_vistas_v12": (28, 37),
    "mapillary_vistas_v20": (46, 70),
}
SIZE = (8, 12)


def put(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photo(path: Path, size: tuple[int, int] = SIZE) -> None:
    put(path, np.full((*size, 3), 120, np.uint8))


def columns(*values: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(H, W) int64: vertical stripes of these numbers."""
    return np.repeat(np.array(values), size[1] // len(values))[None].repeat(size[0], 0)


def drawn(sample: Sample) -> list[tuple[str, bool, int]]:
    """(class, crowd, area) of each segment of a sample, sorted."""
    truth = sample.truth
    assert truth is not None
    return sorted((truth.taxonomy[s.category_id].name, s.iscrowd, s.area) for s in truth.segments)


def ignored(sample: Sample) -> int:
    return 0 if sample.ignore is None else int(sample.ignore.sum())


@pytest.mark.parametrize("name", SCENES)
def test_the_class_tables(name: str) -> None:
    it = card(name)
    assert (it.own.num_stuff, it.own.num_things) == SCENES[name]
    assert it.taxonomy == it.own
    assert set(it.known) == {c.name for c in it.own.all}


# --- Cityscapes: {id} or 1000 x id + instance in 16 bits


def cityscapes(
    root: Path, numbers: np.ndarray, dtype: type = np.uint16, split: str = "train", city: str = "ulm"
) -> Path:
    name = f"{city}_000001_000019"
    photo(root / "cityscapes" / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png")
    return put(root / "cityscapes" / "gtFine" / split / city / f"{name}_gtFine_instanceIds.png", numbers.astype(dtype))


def test_cityscapes(tmp_path: Path) -> None:
    # road, two cars, a group of persons, static (void), a caravan (void although it has an instance)
    path = cityscapes(tmp_path, columns(7, 26000, 26001, 24, 4, 29000))
    put(path.with_name(path.name.replace("instanceIds", "labelIds")), columns(7, 26, 26, 24, 4, 29).astype(np.uint8))
    (sample,) = load("cityscapes", tmp_path)
    assert drawn(sample) == [("car", False, 16), ("car", False, 16), ("person", True, 16), ("road", False, 16)]
    assert ignored(sample) == 32
    assert (sample.group, sample.name, sample.pixel_size_um) == ("ulm", "ulm_000001_000019", None)


def test_cityscapes_parts_follow_the_folders(tmp_path: Path) -> None:
    cityscapes(tmp_path, columns(7, 8))
    cityscapes(tmp_path, columns(7, 8), split="val", city="lindau")
    split = load_split("cityscapes", tmp_path)
    assert [s.group for s in split.train] == ["ulm"]
    assert [s.group for s in split.validation] == ["lindau"]


def test_cityscapes_ids_are_not_train_ids(tmp_path: Path) -> None:
    cityscapes(tmp_path, columns(7, 11))  # ids: road, building; as trainIds: traffic sign, person
    assert drawn(load("cityscapes", tmp_path)[0]) == [("building", False, 48), ("road", False, 48)]
    cityscapes(tmp_path, columns(0, 255))  # trainIds: road, void
    with pytest.raises(ValueError, match=r"instanceIds.png has class codes \[255\], known are \["):
        load("cityscapes", tmp_path)


def test_cityscapes_read_as_8_bits(tmp_path: Path) -> None:
    cityscapes(tmp_path, columns(7, 26001), np.uint8)
    with pytest.raises(ValueError, match="is an 8-bit grey image, its numbers need a 16-bit grey or colour one"):
        load("cityscapes", tmp_path)


def test_a_resize_with_interpolation_invents_ids(tmp_path: Path) -> None:
    path = cityscapes(tmp_path, columns(24003, 7))
    with Image.open(path) as image:
        image.resize((18, 12), Image.Resampling.BICUBIC).resize(SIZE[::-1], Image.Resampling.BILINEAR).save(path)
    with pytest.raises(ValueError, match="instanceIds.png has (class codes|instances of stuff)"):
        load("cityscapes", tmp_path)
    cityscapes(tmp_path, columns(24003, 12002))  # the mean of 24003 and 7 falls on wall
    with pytest.raises(ValueError, match=r"has instances of stuff: \[12002\]; no annotator draws these, a resize"):
        load("cityscapes", tmp_path)


def document(path: Path, name: str, rows: list[tuple[int, int, int]]) -> None:
    """A COCO panoptic JSON of one PNG; rows are (id, category, iscrowd)."""
    segments = [{"id": i, "category_id": c, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]} for i, c, crowd in rows]
    annotation = {"image_id": name, "file_name": name, "segments_info": segments}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": [], "annotations": [annotation], "categories": []}))


# --- KITTI panoptic: the same rule in three bytes; labels of another size than the image


def test_kitti(tmp_path: Path) -> None:
    base = tmp_path / "kitti_panoptic" / "training"
    photo(base / "images" / "a.png", (4, 6))
    put(base / "annotations" / "a.png", rgb_from_ids(columns(7, 26001, 24, 0)))
    (sample,) = load("kitti_panoptic", tmp_path)
    assert sample.size == SIZE, "the image takes the size of its labels, never the reverse"
    assert drawn(sample) == [("car", False, 24), ("person", True, 24), ("road", False, 24)]
    assert ignored(sample) == 24


# --- COCO


def coco(root: Path, ids: np.ndarray, rows: list[tuple[int, int, int]], alpha: bool = False) -> Path:
    base, split = root / "coco_panoptic", "val"
    photo(base / f"{split}2017" / "000000000139.jpg")
    rgb = rgb_from_ids(ids)
    rgb = np.dstack([rgb, np.full(SIZE, 255, np.uint8)]) if alpha else rgb
    document(base / "annotations" / f"panoptic_{split}2017.json", "000000000139.png", rows)
    return put(base / "annotations" / f"panoptic_{split}2017" / "000000000139.png", rgb)


ROWS = [(3937500, 1, 0), (5, 1, 1), (16777215, 200, 0)]


@pytest.mark.parametrize("alpha", [False, True])
def test_coco(alpha: bool, tmp_path: Path) -> None:
    coco(tmp_path, columns(3937500, 5, 16777215, 0), ROWS, alpha)
    (sample,) = load("coco_panoptic", tmp_path)
    assert drawn(sample) == [("person", False, 24), ("person", True, 24), ("rug-merged", False, 24)]
    assert ignored(sample) == 24


def test_coco_png_and_json_that_disagree(tmp_path: Path) -> None:
    coco(tmp_path, columns(3937500, 5, 16777215, 9), ROWS)
    with pytest.raises(ValueError, match=r"must name the same segments; only in the PNG: \[9\], only in the"):
        load("coco_panoptic", tmp_path)


def test_coco_resized_with_interpolation(tmp_path: Path) -> None:
    path = coco(tmp_path, columns(3937500, 5, 16777215, 0), ROWS)
    with Image.open(path) as image:
        image.resize((24, 16), Image.Resampling.BICUBIC).resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path)
    with pytest.raises(ValueError, match=r"must name the same segments; .* \(was the PNG resized with"):
        load("coco_panoptic", tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no COCO panoptic JSON or is cut short"),
        ('{"annotations": []}', "names 0 PNGs, 000000000139.png is none of them; get the JSON of the same split"),
        (None, "there is no .*; it names the classes of the PNGs, so put it there"),
    ],
)
def test_coco_without_its_json(text: str | None, sentence: str, tmp_path: Path) -> None:
    coco(tmp_path, columns(5, 0), [(5, 1, 0)])
    path = tmp_path / "coco_panoptic" / "annotations" / "panoptic_val2017.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        load("coco_panoptic", tmp_path)


def test_coco_with_an_unknown_category(tmp_path: Path) -> None:
    coco(tmp_path, columns(5, 0), [(5, 12, 0)])  # 12 is one of COCO's gaps
    with pytest.raises(ValueError, match=r"panoptic_val2017.json has category codes \[12\], known are \[1, 10"):
        load("coco_panoptic", tmp_path)


def test_a_label_map_that_is_no_image(tmp_path: Path) -> None:
    path = coco(tmp_path, columns(5, 0), [(5, 1, 0)])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(OSError, match=r"cannot read the label map .*139\.png: "):
        load("coco_panoptic", tmp_path)


def test_the_real_sample_of_coco(data_root: Path) -> None:
    base = data_root / "coco_panoptic_sample"
    codes, segments, crowds = card("coco_panoptic").codes(card("coco_panoptic").own), 0, 0
    for name, truth in read_coco_folder(base / "panoptic_examples.json", base / "panoptic_examples"):
        png = base / "panoptic_examples" / name.replace(".jpg", ".png")
        labels = coco_panoptic(Item(png.stem, png, (png,), {}, base), codes, (0, 0), document="panoptic_examples.json")
        segments += len(labels.classes) + len(np.unique(labels.stuff[labels.stuff > 0]))
        crowds += len(labels.crowds)
        semantic = np.where(labels.things > 0, np.vectorize({0: 0, **labels.classes}.get)(labels.things), labels.stuff)
        assert np.array_equal(semantic, truth.semantic())
        assert np.array_equal(labels.void, truth.ids == 0)
        areas = sorted(s.area for s in truth.things)
        assert sorted(np.bincount(labels.things[labels.things > 0])[list(labels.classes)].tolist()) == areas
    assert (segments, crowds) == (50, 3)


# --- Mapillary Vistas


def mapillary(root: Path, numbers: np.ndarray, dtype: type = np.uint16, version: str = "") -> None:
    base = root / "mapillary_vistas" / "training"
    photo(base / "images" / "k.jpg")
    put(base / version / "instances" / "k.png", numbers.astype(dtype))


@pytest.mark.parametrize("version", ["", "v1.2"])
def test_mapillary_v12(version: str, tmp_path: Path) -> None:
    # 55 car, instances 0 and 255; 27 sky; 65 unlabelled: class = v // 256 (v // 255 makes car 255 a caravan)
    mapillary(tmp_path, columns(55 * 256, 55 * 256 + 255, 27 * 256, 65 * 256), version=version)
    (sample,) = load("mapillary_vistas_v12", tmp_path)
    assert drawn(sample) == [("Car", False, 24), ("Car", False, 24), ("Sky", False, 24)]
    assert ignored(sample) == 24
    assert sample.truth is not None
    assert {s.category_id for s in sample.truth.segments} == {56, 28}, "category id = index + 1"


def test_mapillary_read_as_8_bits(tmp_path: Path) -> None:
    mapillary(tmp_path, columns(1, 2), np.uint8)
    with pytest.raises(ValueError, match="k.png is an 8-bit grey image, its numbers need a 16-bit grey or colour one"):
        load("mapillary_vistas_v12", tmp_path)


def test_mapillary_v20(tmp_path: Path) -> None:
    base = tmp_path / "mapillary_vistas" / "training"
    photo(base / "images" / "k.jpg")
    ids = columns(70000, 2, 3, 4)
    put(base / "v2.0" / "panoptic" / "k.png", rgb_from_ids(ids))
    # 109 car, 22 road, 32 person group (void), 124 unlabelled
    rows = [(70000, 109, 0), (2, 22, 0), (3, 32, 0), (4, 124, 0)]
    document(base / "v2.0" / "panoptic" / "panoptic_2020.json", "k.png", rows)
    (sample,) = load("mapillary_vistas_v20", tmp_path)
    assert drawn(sample) == [("Car", False, 24), ("Road", False, 24)]
    assert ignored(sample) == 48


# --- ADE20K


def ade(root: Path, classes: np.ndarray | None, parts: dict[int, tuple[int, int]] | None, alpha: bool = False) -> None:
    """`parts`: for a stripe of six, (class of the instance map, number of the instance)."""
    base, name = root / "ade20k" / "ADEChallengeData2016", "ADE_train_00000001"
    photo(base / "images" / "training" / f"{name}.jpg")
    if classes is not None:
        put(base / "annotations" / "training" / f"{name}.png", classes.astype(np.uint8))
    if parts is not None:
        rgb = np.zeros((*SIZE, 4 if alpha else 3), np.uint8)
        rgb[..., 3:] = 255
        for stripe, (kind, number) in parts.items():
            rgb[:, 2 * stripe : 2 * stripe + 2, :2] = kind, number
        put(base / "annotations_instance" / "training" / f"{name}.png", rgb)


@pytest.mark.parametrize("alpha", [False, True])
def test_ade20k(alpha: bool, tmp_path: Path) -> None:
    # wall, wall under a bed's leg, two beds, a bed that nobody counted, other; bed is class 8 and instance class 1
    ade(tmp_path, columns(1, 1, 8, 8, 8, 0), {1: (1, 1), 2: (1, 1), 3: (1, 2)}, alpha)
    (sample,) = load("ade20k", tmp_path)
    assert drawn(sample) == [("bed", False, 16), ("bed", False, 32), ("wall", False, 16)]
    assert ignored(sample) == 32


def test_ade20k_instance_classes_count_apart(tmp_path: Path) -> None:
    ade(tmp_path, columns(1, 1, 1, 1, 1, 1), {0: (4, 1), 1: (100, 2)})
    assert drawn(load("ade20k", tmp_path)[0]) == [("flag", False, 16), ("person", False, 16), ("wall", False, 64)]


def test_ade20k_needs_both_maps(tmp_path: Path) -> None:
    ade(tmp_path, columns(1, 1), None)
    with pytest.raises(ValueError, match=r"ADE_train_00000001 must have a map in annotations and one in"):
        load("ade20k", tmp_path)


def test_ade20k_unknown_codes(tmp_path: Path) -> None:
    ade(tmp_path, columns(151, 1), {})
    with pytest.raises(ValueError, match=r"annotations/training/.* has class codes \[151\]"):
        load("ade20k", tmp_path)
    ade(tmp_path, columns(1, 1), {0: (101, 1)})
    with pytest.raises(ValueError, match=r"annotations_instance/training/.* has instance class codes \['i101'\]"):
        load("ade20k", tmp_path)


# --- IDD


def test_idd(tmp_path: Path) -> None:
    base = tmp_path / "idd"
    photo(base / "leftImg8bit" / "train" / "12" / "frame0001_leftImg8bit.png")
    # level 3: road 0, motorcycle 6 (`id` would be 9), a group of cars 9, vehicle fallback 12, unlabelled 255
    numbers = columns(0, 6000, 6001, 9, 12000, 255).astype(np.uint16)
    put(base / "gtFine" / "train" / "12" / "frame0001_gtFine_instancelevel3Ids.png", numbers)
    (sample,) = load("idd", tmp_path)
    fallback = "caravan / trailer / train / vehicle fallback"
    assert drawn(sample) == [
        ("car", True, 16),
        (fallback, False, 16),
        ("motorcycle", False, 16),
        ("motorcycle", False, 16),
        ("road", False, 16),
    ]
    assert ignored(sample) == 16
    assert (sample.group, sample.name) == ("12", "12_frame0001")


# --- speed of the core


@pytest.mark.parametrize("numbers", [[0, 3, 3, 1], [70_000_0, 5, 16_777_215, 5], [], [0]])
def test_distinct(numbers: list[int]) -> None:
    array = np.array(numbers, np.int32).reshape(1, -1)
    found, places = distinct(array)
    assert found.tolist() == sorted(set(numbers))
    assert np.array_equal(found[places], array) if numbers else places.shape == array.shape


