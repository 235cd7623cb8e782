"""Data sets: reading by a card on small copies of published layouts, every error, and the glass rule.

The layouts are those of the publishers and of the mirrors that the cards name; every fixture names its source.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from pano_med import data
from pano_med.data import borders, codecs, files, reading
from pano_med.data.items import Item
from pano_med.types import HE_CORE

NUCLEUS = HE_CORE["nucleus"].id
PINK = (230, 150, 190)


def put(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def picture(h: int, w: int, color: tuple[int, int, int] = PINK) -> np.ndarray:
    return np.full((h, w, 3), color, np.uint8)


def squares(h: int, w: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """uint8 mask, 255 in boxes (top, left, bottom, right)."""
    mask = np.zeros((h, w), np.uint8)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = 255
    return mask


def names(sample: object) -> list[str]:
    return sorted(HE_CORE[s.category_id].name for s in sample.truth.segments)


@pytest.fixture
def dsb(tmp_path: Path) -> Path:
    """stage1_train/ID/images/ID.png in RGBA, masks/*.png one nucleus each (BBBC038v1; lopuhin's mended masks alike)."""
    base = tmp_path / "dsb2018_tissue" / "stage1_train" / "abc"
    put(base / "images" / "abc.png", np.dstack([picture(20, 30), np.full((20, 30), 255, np.uint8)]))
    put(base / "masks" / "one.png", squares(20, 30, (2, 3, 6, 9)))
    put(base / "masks" / "two.png", squares(20, 30, (5, 8, 9, 12)))
    return tmp_path


def test_one_png_per_nucleus(dsb: Path) -> None:
    (s,) = data.load("dsb2018_tissue", dsb)
    assert s.image.dtype == torch.uint8
    assert s.image.shape == (3, 20, 30)
    assert s.image[:, 0, 0].tolist() == list(PINK)
    assert s.known == {NUCLEUS}
    assert s.ignore is None
    assert s.name == s.group == "abc"
    assert [t.category_id for t in s.truth.things] == [NUCLEUS] * 2
    assert not s.truth.stuff
    # 4 x 6, and 4 x 4 less the pixel that the first mask holds already
    assert sorted(t.area for t in s.truth.things) == [15, 24]


def test_the_folder_of_the_set_itself_is_a_root_too(dsb: Path) -> None:
    (a,), (b,) = data.load("dsb2018_tissue", dsb), data.load("dsb2018_tissue", dsb / "dsb2018_tissue")
    np.testing.assert_array_equal(a.truth.ids, b.truth.ids)


def test_binary_mask_gives_components_and_drops_specks(tmp_path: Path) -> None:
    """images/X.png and masks/X.png, white on black (the mirror of TNBC that its card names, mini_test)."""
    put(tmp_path / "images" / "t.png", picture(40, 40))
    put(tmp_path / "masks" / "t.png", squares(40, 40, (0, 0, 8, 8), (8, 8, 16, 16), (30, 30, 36, 36), (20, 2, 22, 4)))
    (s,) = data.load("tnbc_breast_nuclei", tmp_path)
    # the two squares that touch at a corner are one nucleus, the 2 x 2 speck is none
    assert sorted(t.area for t in s.truth.things) == [36, 128]
    assert s.pixel_size_um == 0.2
    assert s.known == {NUCLEUS}


def test_original_layout_of_tnbc(tmp_path: Path) -> None:
    """Slide_NN/NN_k.png and GT_NN/NN_k.png, RGBA (the archive of Zenodo record 2579118)."""
    for case in ("01", "05"):
        rgba = np.dstack([picture(40, 40), np.full((40, 40), 255, np.uint8)])
        put(tmp_path / "TNBC" / f"Slide_{case}" / f"{case}_1.png", rgba)
        mask = squares(40, 40, (4, 4, 20, 20))
        put(tmp_path / "TNBC" / f"GT_{case}" / f"{case}_1.png", np.dstack([mask] * 3 + [np.full_like(mask, 255)]))
    a, b = data.load("tnbc_breast_nuclei", tmp_path)
    assert (a.group, b.group) == ("patient-01", "patient-05")
    assert a.pixel_size_um == 0.25
    assert [t.area for t in a.truth.things] == [256]
    assert data.split([a, b]).train == [a, b]


def hgsc(root: Path, kind: str, h: int = 1500) -> None:
    """histolytics/data of the package's wheel: a JPEG and two .npz with `nuc_raster`; or PNGs made from these."""
    inst, types = np.zeros((h, h), np.uint16), np.zeros((h, h), np.uint8)
    for number, (top, code) in enumerate([(10, 1), (990, 3), (1200, 2)], 1):
        inst[top : top + 20, 50:70], types[top : top + 20, 50:70] = number, code
    types[10:12, 50:70] = 2  # a border of another type does not change the class
    if kind == "derived":
        put(root / "original" / "hgsc_stromal_he.jpg", picture(h, h))
        put(root / "derived" / "hgsc_stromal_inst.png", inst)
        put(root / "derived" / "hgsc_stromal_type.png", types)
    else:
        put(root / "histolytics" / "data" / "hgsc_nest.jpg", picture(h, h))
        for part, array in (("inst", inst), ("type", types)):
            np.savez(root / "histolytics" / "data" / f"hgsc_nest_{part}_mask.npz", nuc_raster=array.astype(np.int32))


def test_a_set_that_lost_a_listed_image_is_incomplete(tmp_path: Path) -> None:
    hgsc(tmp_path, "derived")
    with pytest.raises(FileNotFoundError, match="is incomplete: 1 of 2 images are missing, first hgsc_nest"):
        data.load("histolytics_hgsc", tmp_path)


def test_the_wheel_holds_one_of_the_two_images(tmp_path: Path) -> None:
    hgsc(tmp_path, "wheel")
    top, bottom = data.load("histolytics_hgsc", tmp_path)
    assert (top.name, top.group) == ("hgsc_nest_rows_0000_0999", "hgsc")
    assert data.split([top, bottom]) == ([top], [bottom])
    assert names(top) == ["connective nucleus"]


def both_hgsc(root: Path) -> None:
    hgsc(root, "derived")
    for old in [*root.rglob("hgsc_stromal*")]:
        name = old.name.replace("stromal_he", "nest").replace("stromal", "nest")
        shutil.copy(old, old.with_name(name))


def test_instances_and_types(tmp_path: Path) -> None:
    both_hgsc(tmp_path)
    samples = data.load("histolytics_hgsc", tmp_path)
    top, bottom = samples[:2]
    assert (top.name, bottom.name) == ("hgsc_nest_rows_0000_0999", "hgsc_nest_rows_1000_1499")
    assert (top.size, bottom.size) == ((1000, 1500), (500, 1500))
    assert names(top) == ["connective nucleus"]
    assert names(bottom) == ["inflammatory nucleus"]
    assert top.ignore.sum() == 200
    assert bottom.ignore.sum() == 200
    assert top.ignore[995, 60]
    assert bottom.ignore[5, 60]
    assert top.known == {HE_CORE[n].id for n in ("neoplastic nucleus", "inflammatory nucleus", "connective nucleus")}
    assert [s.name for s in data.split(samples).validation] == [s.name for s in samples if "rows_1000_1499" in s.name]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("bcss_breast_tumour_regions", "a"),
        ("ocdc_oral_tumour_regions", "ocdc-1009009"),
        ("camelyon_lymphnode_tumour_regions", "camelyon-100"),
    ],
)
def test_region_masks_swapped_channels_and_glass(name: str, group: str, tmp_path: Path) -> None:
    """images/X.jpg and masks/X.jpg, both JPEG, tumour white (the mirrors that the three cards name, mini_test).

    JPEG has no pure black and white any more: a mask is cut in the middle, not at zero.
    """
    image = picture(160, 80, (190, 150, 230))
    image[:, 40:] = 245
    listed = [] if group == "a" else data.card(name).path.with_suffix(".sha256").read_text().split()
    stems = sorted({Path(word).stem for word in listed if "images/" in word}) or [group]
    for kind, array in (("images", image), ("masks", squares(160, 80, (0, 0, 80, 60)))):
        (tmp_path / kind).mkdir()
        for stem in stems:
            Image.fromarray(array).save(tmp_path / kind / f"{stem}.jpg", quality=75)
    with Image.open(tmp_path / "masks" / f"{stems[0]}.jpg") as stored:
        assert len(np.unique(stored)) > 2
    s, *rest = data.load(name, tmp_path)
    assert len(rest) == len(stems) - 1
    assert s.group == group
    red, green, blue = s.image[:, 0, 0].tolist()
    assert abs(red - 230) + abs(green - 150) + abs(blue - 190) < 12  # red and blue put right
    assert names(s) == ["background", "other tissue", "tumour"]
    assert s.known == {HE_CORE[n].id for n in ("background", "tumour", "other tissue")}
    assert not s.truth.things
    semantic = s.truth.semantic()
    assert semantic[10, 10] == HE_CORE["tumour"].id
    assert semantic[150, 10] == HE_CORE["other tissue"].id
    assert semantic[10, 55] == semantic[150, 75] == HE_CORE["background"].id


def mat(path: Path, **maps: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, maps)


def csmp(root: Path, code: int = 5, region: int = 2) -> None:
    """imgs/X.png and masks/X.mat with inst_map, type_map, sem_map (cellseg_models.pytorch, utils/tests/data)."""
    noise = np.random.default_rng(0).integers(90, 200, (32, 64, 3), dtype=np.uint8)
    noise[:, -8:] = noise[:, -17:-9][:, ::-1]
    put(root / "imgs" / "p.png", noise)
    inst, types, sem = np.zeros((3, 32, 64), np.int32)
    inst[2:8, 2:8], types[2:8, 2:8] = 7, 1
    inst[12:18, 2:8], types[12:18, 2:8] = 9, code
    sem[:, :20], sem[:, 20:] = region, 1
    mat(root / "masks" / "p.mat", inst_map=inst, type_map=types, sem_map=sem)


def test_mat_holds_things_and_stuff(tmp_path: Path) -> None:
    csmp(tmp_path)
    (s,) = data.load("csmp_cervix_panoptic", tmp_path)
    assert names(s) == ["neoplastic nucleus", "nucleus", "other tissue", "tumour"]
    assert {t.area for t in s.truth.things} == {36}
    areas = {HE_CORE[r.category_id].name: r.area for r in s.truth.stuff}
    assert areas == {"tumour": 32 * 20 - 72, "other tissue": 32 * 44}
    np.testing.assert_array_equal(s.ignore.numpy().any(0), np.arange(64) >= 56)
    with pytest.raises(ValueError, match=r"splits.json has no place for 'p'"):
        data.split([s])


# --- bad input: one sentence that names the item


def test_unknown_set(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no card for the data set 'dsb'; there are .*dsb2018_tissue"):
        data.load("dsb", tmp_path)


def test_missing_root_and_empty_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist; point PANO_MED_DATA"):
        data.load("tnbc_breast_nuclei", tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="holds no image of tnbc_breast_nuclei; expected files like images/"):
        data.load("tnbc_breast_nuclei", tmp_path)


def test_mask_without_image_and_image_without_mask(dsb: Path) -> None:
    base = dsb / "dsb2018_tissue" / "stage1_train"
    put(base / "lost" / "masks" / "m.png", squares(4, 4))
    with pytest.raises(ValueError, match=r"dsb2018_tissue: mask .*lost.* has no image"):
        data.load("dsb2018_tissue", dsb)
    shutil.rmtree(base / "lost")
    shutil.rmtree(base / "abc" / "masks")
    with pytest.raises(FileNotFoundError, match=r"image .*abc\.png has no mask"):
        data.load("dsb2018_tissue", dsb)


def test_two_images_of_one_item(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        put(tmp_path / "images" / name, picture(8, 8))
    with pytest.raises(ValueError, match=r"a\.jpg and a\.png are images of one item"):
        data.load("tnbc_breast_nuclei", tmp_path)


def test_sizes_that_differ(dsb: Path) -> None:
    put(dsb / "dsb2018_tissue/stage1_train/abc/masks/two.png", squares(20, 31, (5, 8, 9, 12)))
    with pytest.raises(ValueError, match=r"two\.png has \(20, 31\), not \(20, 30\)"):
        data.load("dsb2018_tissue", dsb)
    put(dsb / "dsb2018_tissue/stage1_train/abc/masks/one.png", squares(20, 31, (2, 3, 6, 9)))
    with pytest.raises(ValueError, match=r"mask \(20, 31\) and image \(20, 30\) of abc differ in size"):
        data.load("dsb2018_tissue", dsb)


def test_files_that_break(tmp_path: Path, dsb: Path) -> None:
    image = dsb / "dsb2018_tissue/stage1_train/abc/images/abc.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(OSError, match=r"cannot read the image .*abc\.png"):
        data.load("dsb2018_tissue", dsb)
    for name, reader in (("m.png", files.read_labels), ("m.npz", files.read_labels), ("m.mat", files.read_mat)):
        (tmp_path / name).write_bytes(b"not what it says")
        with pytest.raises(OSError, match=f"cannot read the mask .*{name}"):
            reader(tmp_path / name)
    np.savez(tmp_path / "deep.npz", np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match=r"a mask must be \(H, W\), .*deep\.npz holds shape \(2, 2, 2\)"):
        files.read_labels(tmp_path / "deep.npz")
    np.savez(tmp_path / "pickled.npz", np.array([{}], object))
    with pytest.raises(OSError, match=r"cannot read the mask .*pickled"):
        files.read_labels(tmp_path / "pickled.npz")
    mat(tmp_path / "poor.mat", inst_map=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="it lacks type_map"):
        files.read_mat(tmp_path / "poor.mat", "inst_map", "type_map")


def test_codes_nobody_wrote_down(tmp_path: Path) -> None:
    csmp(tmp_path, code=4)
    with pytest.raises(ValueError, match=r"p\.mat has type codes \[4\], known are \[1, 2, 3, 5\]"):
        data.load("csmp_cervix_panoptic", tmp_path)
    csmp(tmp_path, region=3)
    with pytest.raises(ValueError, match=r"p\.mat has region codes \[3\]"):
        data.load("csmp_cervix_panoptic", tmp_path)


def test_maps_that_differ(tmp_path: Path) -> None:
    put(tmp_path / "i.png", np.ones((4, 4), np.uint8))
    put(tmp_path / "t.png", np.ones((4, 5), np.uint8))
    item = Item("i", tmp_path / "x.png", (tmp_path / "i.png", tmp_path / "t.png"), {}, tmp_path)
    with pytest.raises(ValueError, match=r"t\.png has \(4, 5\), not \(4, 4\)"):
        codecs.instances_and_types(item, codecs.Codes({1: NUCLEUS}), (4, 4))
    with pytest.raises(ValueError, match=r"i must have 2 label files, it has 1: \['i.png'\]"):
        codecs.instances_and_types(replace(item, masks=item.masks[:1]), codecs.Codes({1: NUCLEUS}), (4, 4))


# --- rules


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.integers(0, 2**31))
def test_a_window_takes_out_exactly_the_things_it_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    things = np.kron(rng.integers(0, 5, (6, 6)), np.ones((2, 2), int)).astype(np.int32)
    labels = codecs.Labels(things, dict.fromkeys(range(1, 5), NUCLEUS))
    rows = slice(0, int(rng.integers(1, 12)))
    part, hidden = reading.uncut(labels, np.zeros_like(things, bool), rows, slice(None))
    for k in range(1, 5):
        inside, below = (things[rows] == k).any(), (things[rows.stop :] == k).any()
        assert (part.things == k).any() == ((things == k).any() and not (inside and below))
        assert hidden[things == k].all() if inside and below else not hidden[things == k].any()


def test_glass_is_clear_and_large() -> None:
    image = picture(200, 200)
    image[:60] = (240, 241, 243)  # 60 x 200 px of glass
    image[120:128, 20:28] = (240, 241, 243)  # a gap of 4 x 4 um
    image[150:] = (228, 218, 228)  # pale stroma
    glass = data.glass_mask(image, 0.5)
    assert glass[:57].all()
    assert not glass[63:].any()
    assert not data.glass_mask(picture(64, 64)).any()  # tissue only: the clearest spot is still tissue
    assert data.glass_mask(picture(64, 64, (243, 243, 243))).all()
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 RGB image, got shape \(4, 4\)"):
        data.glass_mask(np.zeros((4, 4), np.uint8))


def test_glass_can_be_added_to_nuclei_sets(tmp_path: Path) -> None:
    image = picture(200, 200)
    image[:80] = 245
    put(tmp_path / "images" / "t.png", image)
    put(tmp_path / "masks" / "t.png", squares(200, 200, (70, 70, 100, 100)))
    (plain,), (glassy,) = (data.load("tnbc_breast_nuclei", tmp_path, glass=g) for g in (False, True))
    assert glassy.known - plain.known == {HE_CORE["background"].id}
    assert names(glassy) == ["background", "nucleus"]
    np.testing.assert_array_equal(glassy.truth.semantic() == NUCLEUS, plain.truth.semantic() == NUCLEUS)


@pytest.mark.parametrize("degrees", [30, 150, 210])
def test_corners_filled_by_a_rotation(degrees: int) -> None:
    tissue = Image.fromarray(np.full((64, 64, 3), 255, np.uint8))
    turned = np.asarray(tissue.rotate(degrees))
    found = borders.augmented(turned, f"rotated_{degrees}_1001")
    assert found[turned[..., 0] == 0].all()
    assert (found & (turned[..., 0] == 255)).mean() < 0.2
    assert not found[24:40, 24:40].any()


def test_quarter_turns_fill_nothing_and_warps_leave_a_rim() -> None:
    image = picture(64, 64)
    assert not borders.augmented(image, "rotated_90_1006").any()
    assert not borders.augmented(image, "1014").any()
    image[50:, :14] = 0
    image[30, 30] = 0  # dark, but not at the edge: tissue
    rim = borders.augmented(image, "distorted_0.03_rsigma0.5_sigma40_1001")
    assert rim[50:, :14].all()
    assert rim[:2].all()
    assert not rim[10:40, 10:60].any()
