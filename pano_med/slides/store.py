"""The folder that a segmented slide leaves: its layout, and `Result`, the door to read it. No torch.

    manifest.json       what was done: slide, model, grid, counts, areas, failed tiles, state
    map.zarr            two OME-Zarr 0.5 pyramids: ids (uint32, 0 = no thing) and classes (uint8 category, 0 = void)
    instances.parquet   one row per thing, sorted by id; the columns of `SCHEMA`
    thumbnail.png, tissue.png
    work/               files of an unfinished run (`pano_med.slides.work`)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import zarr
from zarr.codecs import ZstdCodec

from pano_med.formats import make_folder, replacing
from pano_med.slides.source import Level
from pano_med.types import Taxonomy

#: Number of the layout, raised when it changes.
FORMAT = 1
MANIFEST, MAP, TABLE, WORK = "manifest.json", "map.zarr", "instances.parquet", "work"
THUMBNAIL, TISSUE = "thumbnail.png", "tissue.png"
#: Side of a chunk of the map. Measured: a cell of 1024 px in two pyramids takes 30 ms; without shards a chunk is one
#: file that is replaced whole, so a crash leaves no half of it.
CHUNK = 512
#: The coarsest level of the pyramid is at most this long.
COARSEST = 1024
#: Rows of `instances.parquet` that are read together; they lie in a few neighbouring tiles.
GROUP = 8192
#: Both pyramids and what they hold.
ARRAYS: Mapping[str, str] = {"ids": "uint32", "classes": "uint8"}

#: Columns of `instances.parquet`. Places are in pixels of the slide's level 0; a contour is x0, y0, x1, y1, ...
SCHEMA = pa.schema(
    [
        ("id", pa.uint32()),
        ("category_id", pa.uint8()),
        ("class", pa.string()),
        ("score", pa.float32()),
        ("area_um2", pa.float32()),
        *((name, pa.float32()) for name in ("row", "column", "top", "left", "bottom", "right")),
        ("contour", pa.list_(pa.float32())),
        ("tile", pa.int32()),
    ]
)

#: Without read-ahead: Arrow keeps all that it has read ahead until the last row, 200 MB of a million nuclei.
_PARQUET = pa.dataset.ParquetFileFormat(
    default_fragment_scan_options=pa.dataset.ParquetFragmentScanOptions(pre_buffer=False)
)


def metadata_of(taxonomy: Taxonomy) -> dict[str, str]:
    """What a table of things says beside its columns."""
    return {"note": taxonomy.note} if taxonomy.note else {}


class Result:
    """A segmented slide, finished or still in work. Nothing is read before it is asked for.

    Args:
        folder: what `segment_slide` or `pano-med slide` wrote.

    Attributes:
        folder: the folder.
        manifest: its manifest.json.
        taxonomy: of the categories.
        mpp: micrometres per level-0 pixel of the slide.
        scale: level-0 pixels per pixel of the map's finest level.
        size: (H, W) of the slide's level 0 in pixels.
        levels: the map's pyramid, finest first: (H, W) in pixels, and pixels of the finest level per pixel.

    Raises:
        FileNotFoundError: the folder holds no result.
        ValueError: a manifest that can't be read, or of a newer version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(self.folder)
        self.taxonomy = Taxonomy.from_dict(self.manifest["model"]["taxonomy"])
        slide, self.scale = self.manifest["slide"], float(self.manifest["scale"])
        self.mpp, self.size = float(slide["mpp"]), (int(slide["size"][0]), int(slide["size"][1]))
        self.levels = levels(tuple(self.manifest["grid"]["size"]))

    @property
    def done(self) -> bool:
        """Whether the run was finished."""
        return bool(self.manifest["state"] == "done")

    @property
    def map_mpp(self) -> float:
        """Micrometres per pixel of the map's finest level."""
        return self.mpp * self.scale

    def ids(self, level: int = 0) -> zarr.Array[Any]:
        """(H, W) uint32 of a level: the thing of each pixel, 0 = none."""
        return self._array("ids", level)

    def classes(self, level: int = 0) -> zarr.Array[Any]:
        """(H, W) uint8 of a level: the category of each pixel, 0 = void or not looked at."""
        return self._array("classes", level)

    def instances(self, columns: Sequence[str] | None = None,
                  box: tuple[float, float, float, float] | None = None) -> pa.Table:
        """The things as a table.

        Args:
            columns: of `SCHEMA`; None = all.
            box: top, left, bottom, right in level-0 pixels: only things whose boxes touch it. Parts of the file that
                hold none are not read.
        """
        return self._rows().to_table(None if columns is None else list(columns), filter=_touching(box))

    def batches(self, columns: Sequence[str] | None = None, size: int = GROUP) -> Iterator[pa.RecordBatch]:
        """The things in order of ids, at most `size` at a time, holding no more of the file than that."""
        return self._rows().to_batches(  # type: ignore[no-any-return]
            columns=None if columns is None else list(columns), batch_size=size, batch_readahead=1,
            fragment_readahead=1, use_threads=False,
        )

    def nucleus(self, number: int, columns: Sequence[str] | None = None) -> dict[str, Any] | None:
        """The row of one thing, or None where no thing has this id."""
        wanted = None if columns is None else list(columns)
        rows = self._rows().to_table(wanted, filter=pa.dataset.field("id") == pa.scalar(number, pa.uint32()))
        return rows.to_pylist()[0] if rows.num_rows else None

    def _array(self, name: str, level: int) -> zarr.Array[Any]:
        return zarr.open_array(str(self.folder / MAP / name / str(level)), mode="r")

    def _rows(self) -> pa.dataset.Dataset:
        table = self.folder / TABLE
        if table.is_file():
            return pa.dataset.dataset(table, schema=SCHEMA, format=_PARQUET)
        pieces = sorted(str(p) for p in (self.folder / WORK / "cells").glob("*.arrow"))
        return pa.dataset.dataset(pieces, schema=SCHEMA, format="ipc")


def _touching(box: tuple[float, float, float, float] | None) -> pa.dataset.Expression | None:
    if box is None:
        return None
    field, (top, left, bottom, right) = pa.dataset.field, (float(v) for v in box)
    within = (field("bottom") > top) & (field("top") < bottom)
    return within & (field("right") > left) & (field("left") < right)


def levels(size: tuple[int, int]) -> tuple[Level, ...]:
    """The pyramid of a map of (H, W) pixels: halved until its longer side is at most `COARSEST`."""
    out = [Level(size, 1)]
    while max(out[-1].size) > COARSEST:
        (h, w), down = out[-1].size, int(out[-1].downsample)
        out.append(Level(((h + 1) // 2, (w + 1) // 2), 2 * down))
    return tuple(out)


class MapWriter:
    """Writes rectangles of the map into every level of both pyramids. Writing the same again changes nothing.

    Args:
        folder: of the result.
        size: (H, W) of the finest level.
        mpp: micrometres per pixel of it.
    """

    def __init__(self, folder: Path, size: tuple[int, int], mpp: float) -> None:
        self.levels = levels(size)
        root = folder / MAP
        if not (root / "zarr.json").is_file():
            self._create(root, mpp)
        self._arrays = {
            name: [zarr.open_array(str(root / name / str(n)), mode="r+") for n in range(len(self.levels))]
            for name in ARRAYS
        }

    def write(self, rows: tuple[int, int], columns: tuple[int, int], **parts: np.ndarray) -> None:
        """Write (h, w) arrays `ids` and `classes`, or one of them, to rows and columns of the finest level."""
        for name, part in parts.items():
            for level, array in zip(self.levels, self._arrays[name], strict=True):
                n = int(level.downsample)
                (top, bottom), (left, right) = ((-(-a // n), -(-b // n)) for a, b in (rows, columns))
                if top < bottom and left < right:
                    array[top:bottom, left:right] = part[top * n - rows[0] :: n, left * n - columns[0] :: n]

    def read(self, name: str, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
        """(h, w): a rectangle of the finest level."""
        return np.asarray(self._arrays[name][0][slice(*rows), slice(*columns)])

    def _create(self, root: Path, mpp: float) -> None:
        for name, dtype in ARRAYS.items():
            zarr.create_group(str(root / name), attributes=_multiscales(name, self.levels, mpp), overwrite=True)
            for n, level in enumerate(self.levels):
                zarr.create_array(
                    str(root / name / str(n)), shape=level.size, chunks=(CHUNK, CHUNK), dtype=dtype, fill_value=0,
                    compressors=ZstdCodec(level=1), dimension_names=("y", "x"), overwrite=True,
                )  # fmt: skip
        zarr.create_group(str(root))  # last: a map without it was not finished being made


def _multiscales(name: str, pyramid: tuple[Level, ...], mpp: float) -> dict[str, Any]:
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    datasets = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": [mpp * lv.downsample] * 2}]}
        for n, lv in enumerate(pyramid)
    ]
    multiscale = {"name": name, "type": "nearest", "axes": axes, "datasets": datasets}
    return {"ome": {"version": "0.5", "multiscales": [multiscale], "image-label": {}}}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a result folder.

    Raises:
        FileNotFoundError: the folder holds no result.
        ValueError: it can't be read, or is of a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no segmented slide ({MANIFEST} is missing): "
                                "make one with `pano-med slide SLIDE --out FOLDER`")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["format"]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path} can't be read ({error}): it is damaged, or another program's") from error
    if version != FORMAT:
        raise ValueError(f"{path} has format {version}, this version reads {FORMAT}: update pano_med")
    missing = [part for part in ("slide", "model", "grid", "scale", "tiles", "state") if part not in manifest]
    if missing:
        raise ValueError(f"{path} can't be read ({', '.join(missing)} is missing): it is damaged, or another program's")
    return dict(manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write manifest.json, whole or not at all."""
    make_folder(folder)
    with replacing(folder / MANIFEST) as file:
        file.write((json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
