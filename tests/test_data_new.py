"""Own images become a data set: each kind of label, each decision, each mistake; and what is made can be trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pano_med.cli import app
from pano_med.data import load, load_split, read_card
from pano_med.data.checking import check
from pano_med.data.new import Wishes, new
from pano_med.types import Sample
from pano_med.weights import load as load_weights

SIZE = (40, 50)


def put(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def photo(path: Path, seed: int) -> Path:
    """Blots of its own, so that no two images are alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 10, 3), np.uint8)
    return put(path, np.asarray(Image.fromarray(coarse).resize(SIZE[::-1], Image.Resampling.BICUBIC)))


def objects(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """(H, W) uint16 with 1, 2, ... in boxes (top, left, bottom, right)."""
    numbers = np.zeros(SIZE, np.uint16)
    for number, (top, left, bottom, right) in enumerate(boxes, 1):
        numbers[top:bottom, left:right] = number
    return numbers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images of two patients, no labels yet."""
    for i, name in enumerate(("p1_a", "p1_b", "p2_a", "p2_b")):
        photo(tmp_path / "My Set" / "images" / f"{name}.png", i)
    return tmp_path / "My Set"


def made(folder: Path, **wishes: Any) -> tuple[list[Sample], list[str]]:
    told: list[str] = []
    path = new(folder, Wishes(**wishes), told.append)
    return load(read_card(path), folder), told


def drawn(sample: Sample) -> list[tuple[str, int]]:
    assert sample.truth is not None
    return sorted((sample.truth.taxonomy[s.category_id].name, s.area) for s in sample.truth.segments)


def label_all(folder: Path, numbers: np.ndarray, where: str = "labels/{}.png") -> None:
    for path in (folder / "images").iterdir():
        put(folder / where.format(path.stem), numbers)


# --- label maps


def test_numbers_that_are_objects(folder: Path) -> None:
    # objects 1 and 2 touch: components would make one of them
    label_all(folder, objects((2, 2, 12, 12), (2, 12, 12, 22), (20, 20, 23, 23)))
    samples, told = made(folder, rename={"object": "nucleus"}, pixel_size_um=0.5, patients=r"(p\d)_")
    assert drawn(samples[0]) == [("everything else", 2000 - 209), ("nucleus", 9), ("nucleus", 100), ("nucleus", 100)]
    assert [s.group for s in samples] == ["p1", "p1", "p2", "p2"]
    assert {s.pixel_size_um for s in samples} == {0.5}
    assert samples[0].known == {1, 2}
    assert "'nucleus' (3 in an image) is taken as objects; say --stuff 'nucleus' if it is not" in told
    assert "only objects are drawn, so all between them is the region 'everything else'" in told


@pytest.mark.parametrize("where", ["masks/{}.png", "labels/{}_mask.png", "x/{}-labels.tif", "{}_inst.npy"])
def test_labels_are_found_by_name(where: str, folder: Path) -> None:
    numbers = objects((2, 2, 12, 12))
    for path in (folder / "images").iterdir():
        target = folder / where.format(path.stem)
        target.parent.mkdir(exist_ok=True)
        np.save(target, numbers) if target.suffix == ".npy" else Image.fromarray(numbers).save(target)
    assert drawn(made(folder)[0][0]) == [("everything else", 1900), ("object", 100)]


def test_labels_beside_the_images(tmp_path: Path) -> None:
    photo(tmp_path / "a.png", 0)
    put(tmp_path / "a_mask.png", objects((2, 2, 12, 12)))
    assert drawn(made(tmp_path)[0][0]) == [("everything else", 1900), ("object", 100)]


def test_a_binary_mask_has_parts(folder: Path) -> None:
    label_all(folder, ((objects((2, 2, 12, 12), (20, 20, 23, 23)) > 0) * 255).astype(np.uint8))
    assert drawn(made(folder)[0][0]) == [("everything else", 1891), ("object", 9), ("object", 100)]


def test_numbers_that_are_classes(folder: Path) -> None:
    numbers = objects((0, 0, 20, 50), (20, 0, 40, 50))
    numbers[5:8, 5:8] = 2  # class 2 in two parts
    label_all(folder, numbers)
    samples, told = made(folder, rename={"class 1": "stroma", "class 2": "tumour"})
    assert drawn(samples[0]) == [("stroma", 991), ("tumour", 1009)]
    assert samples[0].truth is not None
    assert not samples[0].truth.things
    assert "'tumour' (1 in an image) is taken as a region; say --thing 'tumour' if it is not" in told


def test_a_palette_is_numbers_not_colours(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        image = Image.fromarray(objects((2, 2, 12, 12), (20, 20, 23, 23)).astype(np.uint8), "L").convert("P")
        image.putpalette([0, 0, 0, 200, 7, 7, 200, 0, 0])  # both colours have the same brightest channel
        (folder / "labels").mkdir(exist_ok=True)
        image.save(folder / "labels" / path.name)
    assert drawn(made(folder)[0][0]) == [("everything else", 1891), ("object", 9), ("object", 100)]


# --- QuPath and COCO


def square(top: int, left: int, side: int) -> list[list[int]]:
    corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side), (left, top)]
    return [list(c) for c in corners]


def feature(name: str | None, kind: str, top: int, left: int, side: int) -> dict[str, Any]:
    classification = {"classification": {"name": name, "color": [1, 2, 3]}} if name else {}
    geometry = {"type": "Polygon", "coordinates": [square(top, left, side)]}
    return {"type": "Feature", "geometry": geometry, "properties": {"objectType": kind, **classification}}


def test_qupath(folder: Path) -> None:
    rows = [feature("Tumor", "annotation", 0, 0, 30), feature("Immune", "cell", 2, 2, 5)]
    rows.append(feature(None, "cell", 9, 9, 4))
    rows[1]["nucleusGeometry"] = {"type": "Polygon", "coordinates": [square(3, 3, 3)]}
    for path in (folder / "images").iterdir():
        (folder / f"{path.stem}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": rows}))
    samples, _ = made(folder)
    assert drawn(samples[0]) == [("Immune", 9), ("Tumor", 900 - 25), ("object", 16)]
    assert samples[0].truth is not None
    assert {samples[0].truth.taxonomy[t.category_id].name for t in samples[0].truth.things} == {"Immune", "object"}


def test_annotations_in_large_numbers_are_objects(folder: Path) -> None:
    rows = [feature("Cell", "annotation", 2 * i, 2 * i, 1) for i in range(10)]
    for path in (folder / "images").iterdir():
        (folder / f"{path.stem}.geojson").write_text(json.dumps(rows))
    samples, told = made(folder)
    assert drawn(samples[0])[:2] == [("Cell", 1), ("Cell", 1)]
    assert "'Cell' (10 in an image) is taken as objects; say --stuff 'Cell' if it is not" in told
    assert drawn(made(folder, stuff=("Cell",))[0][0]) == [("Cell", 10)]


def coco(folder: Path, **more: Any) -> Path:
    names = sorted(p.name for p in (folder / "images").iterdir())
    rle = {"size": list(SIZE), "counts": [0, 5, 1995]}  # down the first column
    rows = []
    for i in range(len(names)):
        rows.append({"id": 9 * i, "image_id": i, "category_id": 1, "segmentation": [[0, 10, 8, 10, 8, 18, 0, 18]]})
        rows.append({"id": 9 * i + 1, "image_id": i, "category_id": 1, "segmentation": [[2, 12, 4, 12, 4, 14, 2, 14]]})
        rows.append({"id": 9 * i + 2, "image_id": i, "category_id": 2, "segmentation": rle, "iscrowd": 1})
    document = {
        "images": [{"id": i, "file_name": f"x/{n}", "height": 40, "width": 50} for i, n in enumerate(names)],
        "annotations": rows,
        "categories": [{"id": 1, "name": "cell"}, {"id": 2, "name": "bug"}],
        **more,
    }
    path = folder / "annotations" / "instances.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_coco_instances(folder: Path) -> None:
    coco(folder)
    samples, _ = made(folder)
    # the small ones lie on top
    assert drawn(samples[0]) == [("bug", 5), ("cell", 4), ("cell", 60), ("everything else", 1931)]
    assert samples[0].truth is not None
    assert [s.iscrowd for s in samples[0].truth.things] == [False, True, False]


def test_coco_panoptic_comes_back_as_it_went(folder: Path, tmp_path: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12), (2, 12, 12, 22)))
    first, _ = made(folder)
    other = tmp_path / "other"
    (other / "images").mkdir(parents=True)
    for path in (folder / "images").iterdir():
        (other / "images" / path.name).write_bytes(path.read_bytes())
    (folder / "pano_med_labels").rename(other / "truth")
    (folder / "pano_med_labels.json").rename(other / "truth.json")
    second, _ = made(other)
    assert [drawn(s) for s in second] == [drawn(s) for s in first]


# --- split


def test_patients_stay_together(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    split = load_split(read_card(new(folder, Wishes(patients=r"(p\d)_", validation=0.5))), folder)
    assert {s.group for s in split.train} & {s.group for s in split.validation} == set()
    assert len(split.train) == len(split.validation) == 2
    table = folder / "who.csv"
    table.write_text("file,patient\np1_a.png,x\np1_b.png,y\np2_a.png,x\np2_b.png,y\n")
    samples, _ = made(folder, patients=str(table))
    assert [s.group for s in samples] == ["x", "y", "x", "y"]
    front = read_card(folder / "card.md").front
    assert front["split"]["by"] == "patient"
    assert front["counts"]["patients"] == 2


def test_without_patients_a_warning(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    samples, told = made(folder)
    assert [s.group for s in samples] == [s.name for s in samples]
    warning = "split by image: tiles of one patient may stand in both parts and flatter the scores; say --patients"
    assert warning in told
    assert warning in (folder / "card.md").read_text()


def test_the_same_picture_twice_stays_in_one_part(folder: Path) -> None:
    with Image.open(folder / "images" / "p1_a.png") as image:
        image.rotate(90, expand=True).resize((60, 75)).save(folder / "images" / "p9_copy.jpg", quality=90)
    label_all(folder, objects((2, 2, 12, 12)))
    put(folder / "labels" / "p9_copy.png", np.ones((75, 60), np.uint8))
    samples, told = made(folder)
    groups = {s.name: s.group for s in samples}
    assert groups["p9_copy"] == groups["p1_a"]
    assert "pairs of images that show nearly the same picture stay in one part (1 pairs)" in told


def test_one_patient_is_all_for_training(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    _, told = made(folder, patients="(p)")
    assert "there is one patient only, or no share to keep, so nothing is kept for validation" in told


# --- the whole


def test_what_was_made_passes_its_own_check(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12), (2, 12, 12, 22)))
    report = check(read_card(new(folder)), folder)
    assert report.faults == []
    assert report.counts["instances"] == 8
    put(folder / "pano_med_labels" / "p1_a.png", np.zeros((*SIZE, 3), np.uint8))
    assert [line for line in check(read_card(folder / "card.md"), folder).faults if "p1_a" in line]


def test_again_after_an_image_was_taken_out(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    new(folder)
    (folder / "images" / "p1_a.png").unlink()
    (folder / "labels" / "p1_a.png").unlink()
    assert [s.name for s in made(folder)[0]] == ["p1_b", "p2_a", "p2_b"]


def test_images_without_label_are_left_out(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    (folder / "labels" / "p1_a.png").unlink()
    samples, told = made(folder)
    assert [s.name for s in samples] == ["p1_b", "p2_a", "p2_b"]
    assert "1 images have no label and are left out: p1_a" in told


def test_the_card_is_for_people(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    it = read_card(new(folder))
    assert it.name == "my_set"
    assert it.front["licence"]["redistribution"] == "unknown"
    assert it.front["counts"] | {"tiles": 4, "instances": 4} == it.front["counts"]
    assert "**To complete:** licence" in it.prose


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "classes"),
    [
        ("labels", {"everything else", "cell"}),
        ("qupath", {"Tumor", "Immune"}),
        ("coco", {"everything else", "cell"}),
    ],
)
def test_it_trains_without_a_line_of_code(kind: str, classes: set[str], folder: Path) -> None:
    if kind == "coco":
        document = json.loads(coco(folder).read_text())
        whole = [row for row in document["annotations"] if row["category_id"] == 1]
        coco(folder, annotations=whole, categories=document["categories"][:1])
    for path in (folder / "images").iterdir():
        if kind == "labels":
            put(folder / "labels" / path.name, objects((2, 2, 12, 12), (20, 20, 33, 33)))
        elif kind == "qupath":
            rows = [feature("Tumor", "annotation", 0, 0, 30), feature("Immune", "cell", 2, 2, 9)]
            (folder / f"{path.stem}.geojson").write_text(json.dumps(rows))
    card = new(folder, Wishes(rename={"object": "cell"} if kind == "labels" else {}))
    words = ["train", "--data-set", card, "--steps", 1, "--batch-size", 2, "--crop-size", 64, "--device", "cpu"]
    result = CliRunner().invoke(app, [str(word) for word in (*words, "--out", folder.parent / "run")])
    assert result.exit_code == 0, result.stderr
    assert "3 images to learn from, 1 to judge by" in result.stderr
    learned = load_weights(str(folder.parent / "run" / "run.safetensors")).model.taxonomy
    assert {c.name for c in learned.all} == classes


# --- mistakes


def wrong(folder: Path, kind: str) -> dict[str, Any]:
    """Make one mistake; the wishes that go with it."""
    label_all(folder, objects((2, 2, 12, 12)))
    first = folder / "labels" / "p1_a.png"
    if kind == "size":
        put(first, np.ones((4, 4), np.uint8))
    elif kind == "colour":
        put(first, np.dstack([objects((2, 2, 9, 9)).astype(np.uint8)] + [np.zeros(SIZE, np.uint8)] * 2))
    elif kind == "broken":
        first.write_bytes(b"no")
    elif kind == "empty":
        label_all(folder, objects())
    elif kind == "two kinds":
        coco(folder)
        (folder / "p1_a.geojson").write_text("[]")
    elif kind == "16 bit":
        put(folder / "images" / "p1_a.png", np.full(SIZE, 60_000, np.uint16))
    elif kind == "twice":
        photo(folder / "images" / "more" / "p1_a.jpg", 9)
    elif kind == "bad json":
        coco(folder).write_text("{")
    elif kind == "outline":
        coco(folder, annotations=[{"id": 7, "image_id": 0, "category_id": 1, "segmentation": []}])
    return {
        "class": {"things": ("tumour",)},
        "both": {"things": ("object",), "stuff": ("object",)},
        "pattern": {"patients": "p["},
        "bracket": {"patients": "p"},
        "lost": {"patients": "(q)"},
        "no csv": {"patients": "nowhere.csv"},
        "share": {"validation": 1.5},
    }.get(kind, {})


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("size", r"a label map has the size of its image, .*p1_a.png is \(4, 4\), not \(40, 50\)"),
        ("colour", "a label map holds one number a pixel, .*p1_a.png is a colour picture; save it as grey"),
        ("broken", "cannot read the label map .*p1_a.png"),
        ("empty", "the labels are empty: no image has an object or a region; draw some first"),
        ("two kinds", "the labels of one set must be of one kind, .* holds coco .* qupath .*; move the others away"),
        ("16 bit", "an image must be plain 8-bit grey or RGB, .*p1_a.png is not .*; save it as 8-bit RGB PNG"),
        ("twice", "each image needs a name of its own, .* share one; rename one"),
        ("bad json", "instances.json is not JSON, or is cut short .*; export it again"),
        ("outline", "instances.json: annotation 7 has no category or outline; export it again"),
        ("class", "no label has the class 'tumour'; there are object"),
        ("both", r"a class is a thing or stuff, \['object'\] are named as both"),
        ("pattern", r"--patients 'p\[' is no regular expression .* and no .csv"),
        ("bracket", r"--patients needs a bracket around the patient, as in '\(case\\d\+\)_\.\*', got 'p'"),
        ("lost", r"--patients '\(q\)' finds no patient in 4 file names, first 'p1_a'"),
        ("no csv", "there is no file nowhere.csv; --patients names a CSV of file name and patient"),
        ("share", "the share kept for validation lies between 0 and 1, got 1.5"),
    ],
)
def test_mistakes(kind: str, sentence: str, folder: Path) -> None:
    with pytest.raises((ValueError, OSError), match=sentence):
        made(folder, **wrong(folder, kind))


def test_nothing_to_work_with(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; make it and put your images into its"):
        new(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds 4 images and no labels; put one label map or GeoJSON of"):
        new(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no image; put PNG, JPEG or TIFF files into"):
        new(tmp_path / "empty")


def test_a_csv_that_lacks_an_image(folder: Path) -> None:
    label_all(folder, objects((2, 2, 12, 12)))
    (folder / "who.csv").write_text("p1_a.png,x\n")
    with pytest.raises(ValueError, match="who.csv has no patient for 3 images, first 'p1_b'; add rows of"):
        made(folder, patients=str(folder / "who.csv"))
