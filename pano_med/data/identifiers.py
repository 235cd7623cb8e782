"""Words in image headers that may say who a patient is: TIFF and slides, PNG and JPEG, NIfTI, DICOM.

A header is searched, never the picture itself: a name burnt into the pixels or written on a slide's label is for eyes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nibabel
import tifffile
from nibabel.filebasedimages import ImageFileError
from PIL import ExifTags, Image

try:
    import pydicom
except ImportError:  # comes with the [dicom] extra
    pydicom = None

#: "key = value" pairs of free texts (Aperio, Hamamatsu, ImageJ, comments) whose key points at a person or a case.
_PAIRS = re.compile(
    r"(?i)\b((?:patient|subject|person)[\w ]{0,12}|(?:case|accession|medical ?record|mrn|barcode|specimen)[\w ]{0,8}"
    r"|(?:first|last|full|given|family) ?name|date of birth|birth ?date|dob|user|operator|physician)"
    r"\s*[=:]\s*([^|;\r\n]{1,80})"
)
#: TIFF and EXIF tags that hold names of people, machines or places.
_TAGS = {"Artist", "HostComputer", "DocumentName", "PageName", "CameraOwnerName", "BodySerialNumber", "XPAuthor"}
#: DICOM: identity, institution, people, free text (PS3.15 Annex E lists many more; these are the plain ones).
_DICOM = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientAddress", "PatientTelephoneNumbers", "PatientComments"),
    *("OtherPatientIDs", "OtherPatientNames", "IssuerOfPatientID", "PatientMotherBirthName", "AccessionNumber"),
    *("InstitutionName", "InstitutionAddress", "StationName", "StudyID", "OperatorsName", "RequestingPhysician"),
    *("ReferringPhysicianName", "PerformingPhysicianName"),
)
_EMPTY = {"", "none", "unknown", "anonymous", "anonymized", "anonymised", "deidentified", "removed", "n/a", "0", "-"}
_SLIDES = (".tif", ".tiff", ".svs", ".ndpi", ".scn", ".bif")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_VOLUMES = (".nii", ".nii.gz")


def identifiers(path: Path) -> list[str]:
    """What the header of one file says of a person: sentences, none if nothing was found or the kind is not known.

    Args:
        path: TIFF or slide, PNG, JPEG, WebP, NIfTI or DICOM.

    Returns:
        "FILE: its field FIELD holds 'VALUE'", or why the file could not be looked at.
    """
    try:
        found = list(_look(path))
    except (OSError, ValueError, SyntaxError, KeyError, tifffile.TiffFileError, ImageFileError) as error:
        return [f"{path.name}: its header cannot be read ({' '.join(str(error).split())[:100]}), so nobody looked"]
    rows = [(field, " ".join(str(value).split())) for field, value in found]
    told = {field: value for field, value in rows if value.lower() not in _EMPTY}
    return [f"{path.name}: its field {field} holds {value[:60]!r}" for field, value in told.items()]


def _look(path: Path) -> Iterator[tuple[str, object]]:
    name = path.name.lower()
    if name.endswith(_SLIDES):
        yield from _tiff(path)
    elif name.endswith(_PICTURES):
        yield from _picture(path)
    elif name.endswith(_VOLUMES):
        yield from _nifti(path)
    elif name.endswith((".dcm", ".dicom")) or _is_dicom(path):
        yield from _dicom(path)


def _pairs(text: object) -> Iterator[tuple[str, object]]:
    for key, value in _PAIRS.findall(str(text)):
        yield " ".join(key.split()), value


def _tiff(path: Path) -> Iterator[tuple[str, object]]:
    with tifffile.TiffFile(path) as tiff:
        for tag in tiff.pages.first.tags:
            if tag.name in _TAGS:
                yield tag.name, tag.value
            elif isinstance(tag.value, str):
                yield from _pairs(tag.value)
        for series in tiff.series:
            if series.name.lower() in ("label", "macro"):
                yield f"image {series.name!r}", "a photograph of the glass, with what is written on its label"


def _picture(path: Path) -> Iterator[tuple[str, object]]:
    with Image.open(path) as image:
        exif = image.getexif()
        for number, value in [*exif.items(), *exif.get_ifd(ExifTags.IFD.Exif).items()]:
            name = ExifTags.TAGS.get(number, "")
            if name in _TAGS:
                yield name, value
            elif isinstance(value, str):
                yield from _pairs(value)
        if exif.get_ifd(ExifTags.IFD.GPSInfo):
            yield "GPS", "the place where it was taken"
        for key, value in image.info.items():
            if isinstance(value, str | bytes) and key not in ("exif", "icc_profile", "jfif"):
                text = value.decode("latin1") if isinstance(value, bytes) else value
                yield from _pairs(text)
                if str(key).lower() in ("author", "artist"):
                    yield str(key), text


def _nifti(path: Path) -> Iterator[tuple[str, object]]:
    header = nibabel.load(path).header
    for field in ("db_name", "aux_file", "descrip"):
        if field in header:
            text = bytes(header[field].tobytes()).rstrip(b"\0 ").decode("latin1")
            # descrip is usually the name of a program: only what looks like a person counts
            yield from [(field, text)] if field == "db_name" else _pairs(text)
    for extension in getattr(header, "extensions", []):
        code = extension.get_code()
        if code == 2:
            yield "extension DICOM", "a whole DICOM header"
        elif code in (4, 6):  # AFNI, comment
            content = extension.get_content()
            yield from _pairs(content.decode("latin1") if isinstance(content, bytes) else content)


def _is_dicom(path: Path) -> bool:
    if path.suffix:
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _dicom(path: Path) -> Iterator[tuple[str, object]]:
    if pydicom is None:
        raise ValueError('DICOM needs pydicom: pip install "pano-med[dicom]"')
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    for keyword in _DICOM:
        if keyword in header:
            yield keyword, header[keyword].value
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        yield "BurnedInAnnotation", "writing in the picture itself"
