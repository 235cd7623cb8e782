"""A finished slide as files for other programs: QuPath, COCO panoptic, CSV, Parquet, an overview picture. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from PIL import Image

from pano_med.formats import make_folder, replacing, write_coco, write_png
from pano_med.pictures import overlay
from pano_med.slides.consistency import write_consistency
from pano_med.slides.geojson_stream import write_qupath
from pano_med.slides.outlines import tissue_map
from pano_med.slides.region_map import region_map
from pano_med.slides.regions import Region, qupath_origin
from pano_med.slides.rows import nuclei
from pano_med.slides.store import SCHEMA, THUMBNAIL, Result, metadata_of
from pano_med.types import Panoptic

#: What can be written, and the files of each.
KINDS: Mapping[str, tuple[str, ...]] = {
    "qupath": ("qupath.geojson",),
    "coco": ("panoptic.png", "panoptic.json"),
    "csv": ("nuclei.csv",),
    "parquet": ("nuclei.parquet",),
    "png": ("overview.png",),
}
#: Columns of the tables, in level-0 pixels and micrometres; Parquet has the contours too.
COLUMNS = (
    *("id", "class", "category_id", "score", "area_um2", "row", "column", "top", "left", "bottom", "right", "tile"),
)


def export(
    result: Result,
    kinds: Sequence[str],
    out: str | Path,
    region: Region | None = None,
    crop: bool = True,
    reweight: bool = False,
) -> list[Path]:
    """Write a result in one or more formats; each file is whole or not there.

    Args:
        result: an opened, finished folder.
        kinds: keys of `KINDS`.
        out: folder; made where it is missing.
        region: only this part; None: the whole slide. Tables and QuPath take nuclei whose centre lies in it.
        crop: False if QuPath opened the slide with `--no-crop`, see `regions.qupath_origin`.
        reweight: judge nuclei by the tissue around them, write `consistency.parquet` into `out`, give QuPath the
            re-weighted classes and the tables the columns tissue, probability, flag and class_reweighted.

    Returns:
        The files.

    Raises:
        ValueError: an unknown kind, an overview of a region, a COCO map that is too large.
        OSError: a file cannot be written.
    """
    unknown = [k for k in kinds if k not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"a slide is exported to {', '.join(KINDS)}, got {', '.join(unknown) or 'nothing'}")
    if region is not None and "png" in kinds:
        raise ValueError("an overview shows the whole slide; leave --region out, or png")
    make_folder(out)
    folder = Path(out)
    beside = write_consistency(result, folder) if reweight else None
    png, text = KINDS["coco"]
    writers: dict[str, Callable[[], object]] = {
        "qupath": lambda: write_qupath(
            result, folder / "qupath.geojson", region, qupath_origin(result.manifest, crop), beside
        ),
        "coco": lambda: write_coco(
            region_map(result, region), folder / png, folder / text, result.manifest["slide"]["name"]
        ),
        "csv": lambda: write_csv(result, folder / "nuclei.csv", region, beside),
        "parquet": lambda: write_parquet(result, folder / "nuclei.parquet", region, beside),
        "png": lambda: write_png(folder / "overview.png", overview(result)),
    }
    files = []
    for kind in dict.fromkeys(kinds):
        writers[kind]()
        files += [folder / name for name in KINDS[kind]]
    return files


def write_csv(result: Result, path: str | Path, region: Region | None = None, beside: pa.Table | None = None) -> None:
    """Write `COLUMNS` and those of the table `beside` as CSV (UTF-8, commas, empty where unknown).

    Where the taxonomy has a note, a last column carries it.

    Raises:
        OSError: the file cannot be written.
    """
    schema = _schema(result, COLUMNS, beside)
    note = pa.field("note", pa.string())
    if result.taxonomy.note:
        schema = schema.append(note)
    with replacing(path) as file, pa_csv.CSVWriter(file, schema) as writer:
        for table in nuclei(result, COLUMNS, region, beside):
            if result.taxonomy.note:
                table = table.append_column(note, pa.array([result.taxonomy.note] * len(table)))
            writer.write_table(table.cast(schema))


def write_parquet(
    result: Result, path: str | Path, region: Region | None = None, beside: pa.Table | None = None
) -> None:
    """Write the whole table of nuclei, contours too, and the columns of the table `beside` as Parquet.

    Raises:
        OSError: the file cannot be written.
    """
    columns = (*COLUMNS, "contour")
    schema = _schema(result, columns, beside)
    with replacing(path) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in nuclei(result, columns, region, beside):
            writer.write_table(table.cast(schema))


def _schema(result: Result, columns: Sequence[str], beside: pa.Table | None) -> pa.Schema:
    """The columns, with the note of the taxonomy as metadata."""
    fields = [SCHEMA.field(name) for name in columns]
    more = [] if beside is None else [f for f in beside.schema if f.name not in columns]
    return pa.schema([pa.field(f.name, f.type) for f in (*fields, *more)], metadata_of(result.taxonomy))


def overview(result: Result, longest: int = 2048, legend: bool = True) -> np.ndarray:
    """The slide's thumbnail with its tissue tinted and outlined, a scale bar and a legend.

    Args:
        result: an opened folder.
        longest: longest side of the picture without its legend, in pixels.
        legend: append the legend below.

    Returns:
        (H, W, 3) uint8.
    """
    tissue = tissue_map(result, longest)
    classes, um = tissue.classes, result.mpp * tissue.step
    scale = min(longest / max(classes.shape), 1.0)
    size = tuple(max(1, round(n * scale)) for n in classes.shape)
    classes = np.asarray(Image.fromarray(classes).resize(size[::-1], Image.Resampling.NEAREST))
    with Image.open(result.folder / THUMBNAIL) as thumbnail:
        image = np.asarray(thumbnail.convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC))
    ids = classes.astype(np.int32)
    categories = {int(i): int(i) for i in np.unique(ids) if i}
    return overlay(image, Panoptic.from_ids(ids, categories, result.taxonomy, um / scale), thickness=2, legend=legend)
