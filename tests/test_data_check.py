"""`check` finds what is wrong: counts, classes, sizes, broken files, leaks between parts, names of patients."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from pano_med.data import read_card
from pano_med.data.cards import Card
from pano_med.data.checking import MOST, check
from pano_med.data.duplicates import near_duplicates, thumbnail
from pano_med.data.identifiers import identifiers

CARD = """---
name: tiny
version: unknown
doi: unknown
url: unknown
licence: {name: unknown, redistribution: unknown}
citation: unknown
intended_use: tests
out_of_scope: not for diagnosis
modality: unknown
stain: unknown
scanner: unknown
pixel_size_um: 0.5
pixel_size: stated
counts: {patients: 3, slides: unknown, tiles: 3, instances: 3, validation_tiles: 1}
sites: unknown
dates: unknown
consent: unknown
deidentification: unknown
annotators: unknown
tool: unknown
label_faults: []
real: true
maintainer: unknown
sha256: unknown
download: {how: unknown, note: none}
taxonomy: tiny
classes:
  - {id: 1, code: 1, name: nucleus, kind: thing, count: 3}
known: [nucleus]
split: {by: patient, source: files, parts: {train: train, val: validation}}
reading:
  folder: tiny
  layouts:
    - image: '(?P<split>train|val)/(?P<stem>(?P<who>[a-z]+)[^/]*)\\.(?:png|tif)'
      mask: 'labels/(?P<stem>[^/]+)\\.png'
      codec: label_image
      group: '{who}'
---

# Tiny

For tests.
"""


def picture(seed: int, size: int = 96) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def add(root: Path, place: str, image: np.ndarray, um: float | None = None) -> Path:
    """An image with one nucleus."""
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    dpi = {} if um is None else {"dpi": (25400 / um, 25400 / um)}
    Image.fromarray(image).save(path, **dpi)
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[2:6, 2:6] = 1
    (root / "labels").mkdir(exist_ok=True)
    Image.fromarray(mask).save(root / "labels" / f"{path.stem}.png")
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> tuple[Card, Path]:
    (tmp_path / "tiny.md").write_text(CARD)
    for seed, place in enumerate(("train/a1.png", "train/b1.png", "val/c1.png")):
        add(tmp_path / "tiny", place, picture(seed), 0.5)
    return read_card(tmp_path / "tiny.md"), tmp_path


def test_a_set_as_its_card_says(tiny: tuple[Card, Path]) -> None:
    report = check(*tiny)
    assert report.ok
    assert report.faults == []
    assert report.counts["patients"] == report.counts["instances"] == 3
    assert report.classes == {"nucleus": {"objects": 3, "pixels": 48}}
    assert report.notes == ["the card lists no sha256, so nobody can tell whether these are the published files"]
    assert report.to_dict()["ok"] is True


def test_counts_and_classes(tiny: tuple[Card, Path]) -> None:
    add(tiny[1] / "tiny", "train/d1.png", picture(9))
    faults = check(*tiny).faults
    assert "the card counts 3 tiles, here are 4" in faults
    assert "the card counts 3 patients, here are 4" in faults
    assert "the card counts 3 objects of class 'nucleus', here are 4" in faults


def test_a_patient_in_two_parts(tiny: tuple[Card, Path]) -> None:
    add(tiny[1] / "tiny", "val/a2.png", picture(9))
    assert "group 'a' lies in train and validation: scores on it mean nothing" in check(*tiny).faults


@pytest.mark.parametrize("how", ["copy", "turned", "mirrored", "smaller", "brighter", "jpeg"])
def test_a_picture_in_two_parts(how: str, tiny: tuple[Card, Path], tmp_path: Path) -> None:
    image = picture(0)
    if how == "turned":
        image = np.rot90(image)
    elif how == "mirrored":
        image = image[:, ::-1]
    elif how == "smaller":
        image = np.asarray(Image.fromarray(image).resize((70, 70)))
    elif how == "brighter":
        image = (image * 0.7 + 60).astype(np.uint8)
    elif how == "jpeg":
        Image.fromarray(image).save(tmp_path / "x.jpg", quality=60)
        image = np.asarray(Image.open(tmp_path / "x.jpg"))
    add(tiny[1] / "tiny", "val/z1.png", np.ascontiguousarray(image))
    alike = [line for line in check(*tiny).faults if "nearly the same picture" in line]
    assert len(alike) == 1
    assert alike[0].startswith("a1 (train) and z1 (validation) are nearly the same picture")


def test_empty_glass_is_no_duplicate() -> None:
    shade = np.linspace(239, 242, 50).astype(np.uint8)  # uneven light, the same in every picture
    glass = [thumbnail(np.broadcast_to((shade + np.uint8(i))[:, None], (50, 50, 3))) for i in range(3)]
    assert near_duplicates(glass, glass) == []
    assert near_duplicates([], glass) == []


def test_all_pairs_and_no_other() -> None:
    a = [thumbnail(picture(i)) for i in range(30)]
    b = [thumbnail(picture(i)) for i in range(20, 50)]
    assert [(i, j) for i, j, _ in near_duplicates(a, b)] == [(20 + i, i) for i in range(10)]


def test_pixel_sizes(tiny: tuple[Card, Path]) -> None:
    add(tiny[1] / "tiny", "train/a1.png", picture(0), 0.25)
    assert "a1.png says 0.25 um per pixel, the card 0.5" in check(*tiny).faults


def test_a_broken_image_is_named_and_the_rest_is_looked_at(tiny: tuple[Card, Path]) -> None:
    path = tiny[1] / "tiny" / "train" / "a1.png"
    path.write_bytes(path.read_bytes()[:60])
    report = check(*tiny)
    assert [line for line in report.faults if line.startswith("a1 cannot be read: cannot read the image")]
    assert report.counts["tiles"] == 2


def test_changed_files(tiny: tuple[Card, Path]) -> None:
    root = tiny[1]
    (root / "tiny.md").write_text(CARD.replace("sha256: unknown", "sha256: tiny.sha256"))
    (root / "tiny.sha256").write_text("".join(f"{'0' * 64}  train/{name}1.png\n" for name in "ab"))
    it = read_card(root / "tiny.md")
    assert any("differ from the card's list" in line for line in check(it, root).faults)
    assert check(it, root, hashes=False).ok


def test_long_lists_are_cut(tiny: tuple[Card, Path]) -> None:
    for i in range(MOST + 3):
        add(tiny[1] / "tiny", f"train/q{i}.png", picture(20 + i), 0.25)
    faults = [line for line in check(*tiny).faults if "um per pixel" in line or "more like" in line]
    assert len(faults) == MOST + 1
    assert faults[-1] == "... and 3 more like this"


# --- names of patients


def test_tiff(tmp_path: Path) -> None:
    path, image = tmp_path / "x.tif", np.zeros((16, 16, 3), np.uint8)
    text = "Aperio Image|AppMag = 20|MPP = 0.5|Patient Name = Doe, Jane|User = 7f3|Case ID: unknown"
    tifffile.imwrite(path, image, description=text, extratags=[("Artist", "s", 0, "Dr. Smith", False)], metadata=None)
    found = identifiers(path)
    assert "x.tif: its field Artist holds 'Dr. Smith'" in found
    assert "x.tif: its field Patient Name holds 'Doe, Jane'" in found
    assert "x.tif: its field User holds '7f3'" in found
    assert not [line for line in found if "Case" in line or "AppMag" in line]
    tifffile.imwrite(path, image, description="AppMag = 20|MPP = 0.5", metadata=None)
    assert identifiers(path) == []


def test_png_and_jpeg(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "J. Doe")
    info.add_text("Comment", "patient id: 4711")
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png", pnginfo=info)
    assert identifiers(tmp_path / "x.png") == [
        "x.png: its field Author holds 'J. Doe'",
        "x.png: its field patient id holds '4711'",
    ]
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (48.0, 0.0, 0.0)}
    Image.new("RGB", (4, 4)).save(tmp_path / "x.jpg", exif=exif)
    assert identifiers(tmp_path / "x.jpg") == ["x.jpg: its field GPS holds 'the place where it was taken'"]


def test_nifti(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    volume.header["descrip"] = b"FSL5.0"
    nibabel.save(volume, tmp_path / "x.nii.gz")
    assert identifiers(tmp_path / "x.nii.gz") == []
    volume.header["db_name"], volume.header["descrip"] = b"DOE^JANE", b"patient: Doe"
    volume.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"MRN=4711"))
    nibabel.save(volume, tmp_path / "x.nii.gz")
    found = identifiers(tmp_path / "x.nii.gz")
    assert "x.nii.gz: its field db_name holds 'DOE^JANE'" in found
    assert "x.nii.gz: its field patient holds 'Doe'" in found
    assert "x.nii.gz: its field MRN holds '4711'" in found


def test_dicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = pydicom.Dataset()
    header.PatientName, header.PatientID, header.AccessionNumber = "Doe^Jane", "4711", ""
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    for name in ("x.dcm", "IM0001"):
        header.save_as(tmp_path / name, enforce_file_format=False, implicit_vr=False, little_endian=True)
    (tmp_path / "IM0001").write_bytes(b"\0" * 128 + b"DICM" + (tmp_path / "x.dcm").read_bytes().partition(b"DICM")[2])
    found = identifiers(tmp_path / "x.dcm")
    assert found == ["x.dcm: its field PatientName holds 'Doe^Jane'", "x.dcm: its field PatientID holds '4711'"]
    monkeypatch.setattr("pano_med.data.identifiers.pydicom", None)
    (line,) = identifiers(tmp_path / "x.dcm")
    assert line == (
        'x.dcm: its header cannot be read (DICOM needs pydicom: pip install "pano-med[dicom]"), so nobody looked'
    )


def test_identifiers_are_faults(tiny: tuple[Card, Path]) -> None:
    path = tiny[1] / "tiny" / "train" / "a1.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "Patient: Jane Doe")
    Image.open(path).save(path, pnginfo=info)
    assert "a1.png: its field Patient holds 'Jane Doe'" in check(*tiny).faults


def test_other_files_have_no_header(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("patient = Jane")
    assert identifiers(tmp_path / "x.csv") == []
    (tmp_path / "x.png").write_bytes(b"no")
    assert "so nobody looked" in identifiers(tmp_path / "x.png")[0]
