"""Public sets of histology: each card on a small copy of its published layout, and the traps of each format.

The layouts are those of the publishers and of the readers that others wrote for them; every test names its source.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from card_cases import PINK, at, boxes, changed, mat, names, picture, put

from pano_med import data
from pano_med.types import HE_CORE

# --- stacks and maps


def pannuke(root: Path, fold: int = 1) -> None:
    """Fold k/images/foldk/images.npy and Fold k/masks/foldk/masks.npy, six channels (PanNuke-metrics, torch-em)."""
    images = np.full((2, 16, 16, 3), PINK, np.float64)
    masks = np.zeros((2, 16, 16, 6), np.float64)
    masks[0, 2:5, 2:5, 0] = 1  # the number 1 stands in two channels: two nuclei
    masks[0, 8:12, 8:12, 1] = 1
    masks[0, 12:14, 2:6, 3] = 7
    masks[..., 5] = 1 - masks[..., :5].max(-1).clip(0, 1)
    for kind, array in (("images", images), ("masks", masks)):
        path = root / f"Fold {fold}" / kind / f"fold{fold}" / f"{kind}.npy"
        path.parent.mkdir(parents=True)
        np.save(path, array)


def test_pannuke_counts_each_channel_for_itself(tmp_path: Path) -> None:
    pannuke(tmp_path)
    full, empty = data.load("pannuke", tmp_path)
    assert names(full) == ["inflammatory nucleus", "neoplastic nucleus", "nucleus"]
    found = at(full, 3, 3), at(full, 9, 9), at(full, 13, 3)
    assert found == ("neoplastic nucleus", "inflammatory nucleus", "nucleus")
    assert names(empty) == []
    assert (full.name, full.group) == ("fold1_00000", "fold1")
    assert full.image[:, 0, 0].tolist() == list(PINK)
    own = data.load("pannuke", tmp_path, own=True)[0]
    assert names(own) == ["dead nucleus", "inflammatory nucleus", "neoplastic nucleus"]


def test_published_folds_are_the_split(tmp_path: Path) -> None:
    for fold in (1, 2, 3):
        pannuke(tmp_path, fold)
    train, validation = data.load_split("pannuke", tmp_path)
    assert {s.group for s in train} == {"fold1"}
    assert {s.group for s in validation} == {"fold2"}
    assert {s.group for s in data.load("pannuke", tmp_path, part="test")} == {"fold3"}


def test_stacks_of_two_lengths(tmp_path: Path) -> None:
    pannuke(tmp_path)
    np.save(tmp_path / "Fold 1/masks/fold1/masks.npy", np.zeros((3, 16, 16, 6)))
    with pytest.raises(ValueError, match=r"same number of images, .* has images\.npy 2, masks\.npy 3"):
        data.load("pannuke", tmp_path)


def test_stacks_of_other_shapes(tmp_path: Path) -> None:
    pannuke(tmp_path)
    np.save(tmp_path / "Fold 1/masks/fold1/masks.npy", np.zeros((2, 16, 16, 4)))
    with pytest.raises(ValueError, match=r"must hold one channel for each of \[0, 1, 2, 3, 4\], it has \(16, 16, 4\)"):
        data.load("pannuke", tmp_path)
    np.save(tmp_path / "Fold 1/images/fold1/images.npy", np.zeros((2, 16, 16)))
    with pytest.raises(ValueError, match=r"a stack of images must be \(N, H, W, 3\), .* holds \(16, 16\) each"):
        data.load("pannuke", tmp_path)
    (tmp_path / "Fold 1/images/fold1/images.npy").write_bytes(b"no array")
    with pytest.raises(OSError, match=r"cannot read the stack .*images\.npy"):
        data.load("pannuke", tmp_path)


def consep(root: Path, part: str = "Train") -> None:
    """Train|Test/Images/*.png and Labels/*.mat with inst_map, type_map (hover_net, MONAI bundle)."""
    put(root / "CoNSeP" / part / "Images" / f"{part.lower()}_1.png", picture(16, 16, alpha=True))
    inst = boxes(16, 16, (0, 0, 4, 4, 1), (4, 4, 8, 8, 2), (10, 10, 14, 14, 9), dtype=np.float64)
    types = boxes(16, 16, (0, 0, 4, 4, 7), (4, 4, 8, 8, 4), (10, 10, 14, 14, 3), dtype=np.float64)
    mat(root / "CoNSeP" / part / "Labels" / f"{part.lower()}_1.mat", inst_map=inst, type_map=types)
    put(root / "CoNSeP" / part / "Overlay" / f"{part.lower()}_1.png", picture(16, 16))


def test_consep(tmp_path: Path) -> None:
    consep(tmp_path)
    consep(tmp_path, "Test")
    (s,) = data.load("consep", tmp_path, part="train")
    assert s.name == "train_1"
    assert (at(s, 1, 1), at(s, 5, 5), at(s, 11, 11)) == ("connective nucleus", "neoplastic nucleus", "nucleus")
    assert data.load_split("consep", tmp_path).validation == []  # nothing published
    assert [s.name for s in data.load("consep", tmp_path, part="test")] == ["test_1"]


def lizard(root: Path, ids: tuple[int, ...] = (5, 2), classes: tuple[int, ...] = (3, 2)) -> None:
    """Lizard_Images1/*.png, Labels/*.mat with inst_map, id, class; info.csv (read_label.py as shipped, torch-em)."""
    put(root / "lizard_images1" / "Lizard_Images1" / "consep_1.png", picture(16, 16))
    inst = boxes(16, 16, (0, 0, 4, 4, 2), (8, 8, 12, 12, 5), dtype=np.int32)
    labels = root / "lizard_labels" / "Lizard_Labels"
    lists = {"id": np.array(ids)[:, None], "class": np.array(classes)[:, None]}
    mat(labels / "Labels" / "consep_1.mat", inst_map=inst, **lists)
    (labels / "info.csv").write_text("Filename,Source,Split\nconsep_1,consep,2\n")


def test_lizard_goes_by_its_own_numbers_and_not_by_their_order(tmp_path: Path) -> None:
    lizard(tmp_path)  # the lists begin with nucleus 5, a lymphocyte
    (s,) = data.load("lizard", tmp_path, own=True)
    assert at(s, 9, 9) == "lymphocyte"
    assert at(s, 1, 1) == "epithelial nucleus"
    train, validation = data.load_split("lizard", tmp_path)
    assert (train, [v.name for v in validation]) == ([], ["consep_1"])


def test_lizard_with_a_list_that_does_not_fit(tmp_path: Path) -> None:
    lizard(tmp_path, ids=(5, 3))
    with pytest.raises(ValueError, match=r"consep_1\.mat must list every object of its map, ids \[2\] have no class"):
        data.load("lizard", tmp_path)
    lizard(tmp_path, classes=(3, 2, 2))
    with pytest.raises(ValueError, match="must list one class for each id, it has 3 for 2"):
        data.load("lizard", tmp_path)
    lizard(tmp_path, classes=(3, 9))
    with pytest.raises(ValueError, match=r"has type codes \[9\], known are \[1, 2, 3, 4, 5, 6\]"):
        data.load("lizard", tmp_path)


def test_a_table_without_the_image(tmp_path: Path) -> None:
    lizard(tmp_path)
    table = tmp_path / "lizard_labels" / "Lizard_Labels" / "info.csv"
    table.write_text("Filename,Source,Split\nother,consep,2\n")
    with pytest.raises(ValueError, match=r"info\.csv has no row for 'consep_1'; add it or remove the image"):
        data.load("lizard", tmp_path)
    table.write_text("Filename,Source\nconsep_1,consep\n")
    with pytest.raises(ValueError, match=r"info\.csv must have the columns \['Split'\], it has"):
        data.load("lizard", tmp_path)
    table.write_text("Filename,Source,Split\nconsep_1,consep,4\n")
    with pytest.raises(ValueError, match=r"the split of consep_1 is '4', field 'split.parts' knows \['1', '2', '3'\]"):
        data.load_split("lizard", tmp_path)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"the table .*info.* is not in .*; it says whose images are whose"):
        data.load("lizard", tmp_path)


def test_conic_deals_by_source_image(tmp_path: Path) -> None:
    """images.npy, labels.npy (instance, class), patch_info.csv with `consep_1-0000` (CoNIC notebooks)."""
    labels = np.zeros((3, 16, 16, 2), np.uint16)
    labels[:, 2:6, 2:6] = (1, 5)
    np.save(tmp_path / "images.npy", np.full((3, 16, 16, 3), PINK, np.uint8))
    np.save(tmp_path / "labels.npy", labels)
    (tmp_path / "patch_info.csv").write_text("patch_info\nconsep_1-0000\nconsep_1-0001\nglas_2-0000\n")
    samples = data.load("conic", tmp_path)
    assert [(s.name, s.group) for s in samples] == [
        ("consep_1-0000", "consep_1"),
        ("consep_1-0001", "consep_1"),
        ("glas_2-0000", "glas_2"),
    ]
    assert names(samples[0]) == ["inflammatory nucleus"]
    train, validation = data.load_split("conic", tmp_path)
    assert not {s.group for s in train} & {s.group for s in validation}


# --- label images


def test_nuinsseg_and_its_vague_areas(tmp_path: Path) -> None:
    """<organ>/tissue images/*.png, label masks modify/*.tif (torch-em); vague areas as the authors describe them."""
    organ = tmp_path / "human bladder"
    put(organ / "tissue images" / "human_bladder_01.png", picture(16, 16))
    (organ / "label masks modify").mkdir()
    inst = boxes(16, 16, (0, 0, 4, 4, 1), (4, 0, 8, 4, 2), dtype=np.uint16)
    tifffile.imwrite(organ / "label masks modify" / "human_bladder_01.tif", inst)
    put(organ / "label masks" / "human_bladder_01.png", picture(16, 16))  # not the one to use
    (plain,) = data.load("nuinsseg", tmp_path)
    assert plain.ignore is None
    put(organ / "vague areas" / "mask binary" / "human_bladder_01.png", boxes(16, 16, (2, 0, 12, 8, 255)))
    (s,) = data.load("nuinsseg", tmp_path)
    assert [t.area for t in s.truth.things] == [16, 16]  # touching nuclei stay two
    assert s.ignore.sum() == 10 * 8 - 6 * 4  # vague, where no nucleus was drawn
    assert (s.name, s.group) == ("human bladder/human_bladder_01", "human bladder")
    put(organ / "vague areas" / "mask binary" / "human_bladder_01.png", boxes(16, 15))
    with pytest.raises(ValueError, match=r"masks of one image must have one size, .* has \(16, 15\), not \(16, 16\)"):
        data.load("nuinsseg", tmp_path)


def test_cryonuseg_keeps_all_mark_ups(tmp_path: Path) -> None:
    """tissue images/*.tif, Annotator 1 (biologist)/label masks modify/*.tif, the other two in folders of themselves
    (torch-em)."""
    put(tmp_path / "tissue images" / "Human_Larynx_01.tif", picture(16, 16))
    again = "Annotator 1 (biologist second round of manual marks up)"
    places = ("Annotator 1 (biologist)", f"{again}/{again}", *["Annotator 2 (bioinformatician)/" * 2])
    for size, place in enumerate(places, 4):
        path = tmp_path / place / "label masks modify" / "Human_Larynx_01.tif"
        path.parent.mkdir(parents=True)
        tifffile.imwrite(path, boxes(16, 16, (0, 0, size, size, 3), dtype=np.uint32))
    samples = data.load("cryonuseg", tmp_path)
    areas = {s.name: s.truth.things[0].area for s in samples}
    assert areas == {
        "Human_Larynx_01@1 (biologist)": 16,
        "Human_Larynx_01@1 (biologist second round of manual marks up)": 25,
        "Human_Larynx_01@2 (bioinformatician)": 36,
    }
    assert {s.group for s in samples} == {"Human_Larynx_01"}


# --- outlines


def ring(top: float, left: float, bottom: float, right: float) -> list[list[float]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def aperio(path: Path, **outlines: list[list[list[float]]]) -> None:
    rows = []
    for name, rings in outlines.items():
        points = ["".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in r) for r in rings]
        regions = "".join(f"<Region><Vertices>{p}</Vertices></Region>" for p in points)
        label = f'<Attributes><Attribute Name="{name}"/></Attributes>'
        rows.append(f"<Annotation>{label}<Regions>{regions}</Regions></Annotation>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<Annotations>{''.join(rows)}</Annotations>")


def test_monuseg_keeps_the_first_nucleus(tmp_path: Path) -> None:
    """Tissue Images/*.tif with Annotations/*.xml; MonuSegTestData/*.tif beside *.xml (challenge, torch-em)."""
    base = tmp_path / "MoNuSeg 2018 Training Data"
    put(base / "Tissue Images" / "TCGA-18-5592-01Z-00-DX1.tif", picture(16, 16))
    outlines = [ring(1, 1, 4, 4), ring(4, 4, 8, 9), [[2, 2]]]
    aperio(base / "Annotations" / "TCGA-18-5592-01Z-00-DX1.xml", Description=outlines)
    put(tmp_path / "MoNuSegTestData" / "TCGA-2Z-A9J9-01A-01-TS1.tif", picture(16, 16))
    aperio(tmp_path / "MoNuSegTestData" / "TCGA-2Z-A9J9-01A-01-TS1.xml", Description=[ring(0, 0, 2, 2)])
    (s,) = data.load("monuseg", tmp_path, part="train")
    assert [t.area for t in s.truth.things] == [9, 20]
    assert (at(s, 2, 2), at(s, 5, 5), at(s, 0, 0)) == ("nucleus", "nucleus", "")
    assert s.group == "TCGA-18-5592"
    (t,) = data.load("monuseg", tmp_path, part="test")
    assert t.name.startswith("TCGA-2Z-A9J9")


def monusac(root: Path, **outlines: list[list[list[float]]]) -> None:
    place = root / "MoNuSAC Testing Data and Annotations" / "TCGA-2Z-A9JG-01Z-00-DX1"
    put(place / "TCGA-2Z-A9JG-01Z-00-DX1_1.tif", picture(16, 20, alpha=True))
    aperio(place / "TCGA-2Z-A9JG-01Z-00-DX1_1.xml", **outlines)


def test_monusac_classes_and_ambiguous_areas(tmp_path: Path) -> None:
    """PATIENT/*.tif beside *.xml, classes in the attribute's name, alpha in some images (challenge, torch-em)."""
    monusac(tmp_path, Epithelial=[ring(0, 0, 4, 4)], Neutrophil=[ring(6, 6, 9, 9)], Ambiguous=[ring(8, 8, 16, 16)])
    (s,) = data.load("monusac", tmp_path)
    assert names(s) == ["inflammatory nucleus", "nucleus"]
    assert s.image.shape == (3, 16, 20)
    assert s.image[:, 0, 0].tolist() == list(PINK)  # alpha is dropped, not laid over white
    assert s.ignore.sum() == 63  # a drawn nucleus stays
    assert s.ignore[15, 15]
    assert s.known == {HE_CORE["inflammatory nucleus"].id}
    monusac(tmp_path, Macrofage=[ring(0, 0, 4, 4)])
    with pytest.raises(ValueError, match=r"_1\.xml has class codes \['Macrofage'\], known are \['Epithelial', 'Ly"):
        data.load("monusac", tmp_path)


def geojson(path: Path, *features: tuple[str, dict]) -> None:
    rows = [
        {"type": "Feature", "geometry": geometry, "properties": {"classification": {"name": name}}}
        for name, geometry in features
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": rows}))


def polygon(*rings: list[list[float]]) -> dict:
    return {"type": "Polygon", "coordinates": list(rings)}


def puma(root: Path, *nuclei: tuple[str, dict]) -> None:
    """training_set_*_roi_NNN.tif (RGBA, one .tiff), _nuclei.geojson, _tissue.geojson (torch-em, HF card)."""
    stem = "training_set_metastatic_roi_103"
    put(root / "01_training_dataset_tif_ROIs" / f"{stem}.tiff", picture(64, 64, alpha=True))
    put(root / "01_training_dataset_tif_context_ROIs" / f"{stem}_context.tif", picture(80, 80))
    tissue = {"type": "MultiPolygon", "coordinates": [[ring(0, 0, 32, 64), ring(4, 4, 12, 12)], [ring(40, 0, 64, 10)]]}
    geojson(root / "geojson_tissue" / f"{stem}_tissue.geojson", ("tissue_tumor", tissue),
            ("tissue_white_background", polygon(ring(32, 32, 64, 64))))
    geojson(root / "geojson_nuclei" / f"{stem}_nuclei.geojson", *nuclei)


def test_puma_is_drawn_where_it_stands(tmp_path: Path) -> None:
    # the nuclei's bounds are 20 to 30: a reader that stretches them to the image fills it
    tumour, lymphocyte = polygon(ring(20, 20, 24, 25)), polygon(ring(24, 20, 30, 26))
    puma(tmp_path, ("nuclei_tumor", tumour), ("nuclei_lymphocyte", lymphocyte))
    (s,) = data.load("puma", tmp_path)
    assert s.image.shape == (3, 64, 64)
    assert s.image[:, 0, 0].tolist() == list(PINK)
    assert sorted(t.area for t in s.truth.things) == [20, 36]
    assert (at(s, 22, 22), at(s, 26, 22)) == ("neoplastic nucleus", "inflammatory nucleus")
    assert (at(s, 1, 1), at(s, 50, 5), at(s, 50, 50)) == ("tumour", "tumour", "background")
    assert (at(s, 8, 8), at(s, 35, 5)) == ("", "")  # in a hole, and beyond
    assert s.pixel_size_um == 0.2263
    own = data.load("puma", tmp_path, own=True)[0]
    assert at(own, 26, 22) == "lymphocyte"
    assert names(own) == ["lymphocyte", "tumour", "tumour nucleus", "white background"]


def test_puma_without_its_tissue_or_with_lines(tmp_path: Path) -> None:
    puma(tmp_path, ("nuclei_tumor", {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}))
    with pytest.raises(ValueError, match=r"_nuclei\.geojson must hold outlines .*a LineString is not an area"):
        data.load("puma", tmp_path)
    puma(tmp_path, ("tumour", polygon(ring(0, 0, 2, 2))))
    with pytest.raises(ValueError, match=r"has class codes \['tumour'\], known are \['nuclei_apoptosis'"):
        data.load("puma", tmp_path)
    next(tmp_path.rglob("*_tissue.geojson")).unlink()
    with pytest.raises(FileNotFoundError, match=r"puma: image .*103\.tiff lacks its labels \['tissue'\]; add them or"):
        data.load("puma", tmp_path)
    puma(tmp_path)
    next(tmp_path.rglob("*_nuclei.geojson")).write_text('{"features": [')
    with pytest.raises(OSError, match=r"cannot read the outlines .*_nuclei\.geojson"):
        data.load("puma", tmp_path)


@pytest.mark.parametrize(
    "document",
    [
        {"polygons": [{"name": "a", "path_points": [[1, 1, 0], [5, 1, 0], [5, 4, 0], [1, 4, 0]]}]},
        {"shapes": [{"label": "a", "points": [[1, 1], [5, 1], [5, 4], [1, 4]]}]},
        {"objects": [{"label": "a", "polygon": [[1, 1], [5, 1], [5, 4], [1, 4]]}]},
    ],
)
def test_json_of_several_programs(tmp_path: Path, document: dict) -> None:
    """PUMA's submissions (evaluation repository), labelme, Cityscapes and IDD."""
    put(tmp_path / "images" / "x.png", picture(8, 8))
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "x.json").write_text(json.dumps(document))
    layout = {"image": r"images/(?P<stem>\w+)\.png", "mask": r"masks/(?P<stem>\w+)\.json", "codec": "polygons"}
    row = {"id": 1, "code": "a", "name": "nucleus", "kind": "thing", "count": "unknown", "as": "nucleus"}
    reading = {"folder": "own", "layouts": [layout]}
    card = changed("puma", tmp_path, name="own", classes=[row], known=["nucleus"], reading=reading)
    (s,) = data.load(card, tmp_path)
    assert [t.area for t in s.truth.things] == [12]
