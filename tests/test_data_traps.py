"""What any set can do wrong: resized labels, large numbers, touching objects, groups without a patient."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from card_cases import boxes, changed, picture, put
from PIL import Image

from pano_med import data


def fitted(folder: Path, **more: object) -> data.Card:
    layout = {"image": r"images/(?P<stem>\w+)\.png", "mask": r"masks/(?P<stem>\w+)\.png", "codec": "label_image"}
    layout |= more
    return changed("nuinsseg", folder, name="own", pixel_size_um=0.5, pixel_size="stated",
                   reading={"folder": "own", "layouts": [layout]})


def test_labels_are_never_resized(tmp_path: Path) -> None:
    """A resize of 16-bit labels with Pillow's own filter invents numbers (24003 and 7 give 12002)."""
    labels = boxes(8, 12, (0, 0, 8, 6, 24003), (0, 6, 8, 12, 7), dtype=np.uint16)
    put(tmp_path / "images" / "x.png", picture(16, 24))
    put(tmp_path / "masks" / "x.png", labels)
    invented = np.unique(np.asarray(Image.fromarray(labels).resize((24, 16), Image.Resampling.BICUBIC)))
    assert len(invented) > 2  # the trap is real
    (s,) = data.load(fitted(tmp_path, resize_image=True), tmp_path)
    assert s.size == (8, 12)
    assert [t.area for t in s.truth.things] == [48, 48]
    assert s.pixel_size_um == 1.0
    with pytest.raises(ValueError, match=r"own: mask \(8, 12\) and image \(16, 24\) of x differ in size"):
        data.load(fitted(tmp_path), tmp_path)


def test_labels_that_someone_interpolated(tmp_path: Path) -> None:
    put(tmp_path / "images" / "x.png", picture(8, 12))
    (tmp_path / "masks").mkdir()
    tifffile.imwrite(tmp_path / "masks" / "x.tif", boxes(8, 12, (0, 0, 4, 4, 1), dtype=np.float32) / 2)
    with pytest.raises(ValueError, match=r"labels must be whole numbers, .*x\.tif holds fractions"):
        data.load(fitted(tmp_path, mask=r"masks/(?P<stem>\w+)\.tif"), tmp_path)


def test_large_numbers_survive(tmp_path: Path) -> None:
    put(tmp_path / "images" / "x.png", picture(8, 12))
    (tmp_path / "masks").mkdir()
    labels = boxes(8, 12, (0, 0, 4, 4, 70000), (4, 4, 8, 8, 70001), dtype=np.uint32)
    tifffile.imwrite(tmp_path / "masks" / "x.tif", labels)
    (s,) = data.load(fitted(tmp_path, mask=r"masks/(?P<stem>\w+)\.tif"), tmp_path)
    assert [t.area for t in s.truth.things] == [16, 16]


def test_touching_glands_are_a_fault_that_the_card_names(tmp_path: Path) -> None:
    put(tmp_path / "images" / "GTxc1-1-400-001.png", picture(64, 64))
    mask = boxes(64, 64, (0, 0, 20, 20, 255), (20, 20, 40, 40, 255), (50, 50, 60, 60, 255))
    put(tmp_path / "masks" / "GTxc1-1-400-001.png", mask)
    (s,) = data.load("ebhi_polyp_glands", tmp_path)
    assert [t.area for t in s.truth.things] == [800]  # one gland; the part under 200 px is none
    assert s.truth.stuff[0].area == 64 * 64 - 800
    assert s.known == {1, 2}
    assert any("touch" in fault for fault in data.card("ebhi_polyp_glands").front["label_faults"])


def test_groups_that_hold_no_patient(tmp_path: Path) -> None:
    put(tmp_path / "images" / "x.png", picture(8, 8))
    put(tmp_path / "masks" / "x.png", boxes(8, 8, (0, 0, 4, 4, 1)))
    card = fitted(tmp_path, group="{stem}", group_pattern="^(TCGA-..)")
    with pytest.raises(ValueError, match=r"the pattern '.*' must find the patient in 'x' of x"):
        data.load(card, tmp_path)
    with pytest.raises(ValueError, match=r"own: the template '\{case\}' asks for 'case', the paths say \['stem'\]"):
        data.load(fitted(tmp_path, item="{case}"), tmp_path)


def test_a_deal_by_hash_moves_no_group(tmp_path: Path) -> None:
    for number in range(40):
        put(tmp_path / "images" / f"x{number}.png", picture(4, 4))
        put(tmp_path / "masks" / f"x{number}.png", boxes(4, 4, (0, 0, 2, 2, 1)))
    card = fitted(tmp_path)
    train, validation = data.load_split(card, tmp_path)
    assert 3 <= len(validation) <= 14
    assert {s.name for s in train} | {s.name for s in validation} == {f"x{n}" for n in range(40)}
    (tmp_path / "images" / "x0.png").unlink()
    (tmp_path / "masks" / "x0.png").unlink()
    assert {s.name for s in data.load_split(card, tmp_path).validation} == {s.name for s in validation} - {"x0"}
    more = replace(card, front={**card.front, "split": {**card.front["split"], "validation": 0.9}})
    assert len(data.load_split(more, tmp_path).validation) > len(validation)
