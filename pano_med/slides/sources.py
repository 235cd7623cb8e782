"""Which reader opens which file."""

from __future__ import annotations

from pathlib import Path

import openslide
import tifffile

from pano_med.formats import MAX_PIXELS
from pano_med.slides.source import Source
from pano_med.slides.source_openslide import OpenSlideSource
from pano_med.slides.source_plain import PlainSource
from pano_med.slides.source_tiff import TiffSource

#: Names that scanners give. Such a file is a slide or broken; as a plain image it would be a thumbnail or a label.
VENDOR_SUFFIXES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".dcm", ".zvi", ".czi")


def open_source(path: Path) -> Source:
    """OpenSlide where it knows the vendor; tifffile for OME-TIFF and pyramids in SubIFDs; else a plain image.

    Raises:
        OSError: nobody can open it; one sentence.
        ValueError: a plain image that is too large for memory.
    """
    vendor = openslide.OpenSlide.detect_format(str(path))
    if vendor is None and path.suffix.lower() in VENDOR_SUFFIXES:
        raise OSError(f"{path} has the name of a slide, but {_reason(path)}")
    if vendor in (None, "generic-tiff") and _for_tifffile(path, tiled=vendor is not None):
        return TiffSource(path)
    return PlainSource(path) if vendor is None else OpenSlideSource(path)


def _for_tifffile(path: Path, tiled: bool) -> bool:
    """A pyramid in SubIFDs or sizes in OME-XML, of both of which OpenSlide knows nothing; or strips beyond memory."""
    try:
        with tifffile.TiffFile(path) as tiff:
            first = tiff.pages.first
            large = first.imagelength * first.imagewidth > MAX_PIXELS
            return bool(first.subifds or (tiled and tiff.is_ome) or (large and not tiled))
    except (tifffile.TiffFileError, OSError, ValueError, IndexError):
        return False


def _reason(path: Path) -> str:
    """Why OpenSlide does not know this file, and what to do."""
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and not (folder / "Slidedat.ini").is_file():
        what = "the file Slidedat.ini in its folder" if folder.is_dir() else "the folder"
        return f"{what} {folder.name} beside it is missing; copy the whole slide, file and folder"
    with path.open("rb") as file:
        tiff = file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    if tiff:
        return "it is cut short or of a kind that is unknown here; copy it again, or export it as OME-TIFF"
    return "its content is not that of one; get the slide again, or export it as OME-TIFF"
