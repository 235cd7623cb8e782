"""GeoJSON for QuPath of a whole slide, written as a stream: a million nuclei in seconds, a few of them in memory.

The features are those of `pano_med.formats.geojson` (nuclei as detections, tissue as annotations, a segment's number
and score as measurements), in QuPath's pixels. The text of a batch is made column by column with pyarrow, because a
Python object for each of twenty million corners would take minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from pano_med.formats import replacing
from pano_med.formats.geojson import ID_NAME, head
from pano_med.slides.outlines import outlines, tissue_map
from pano_med.slides.regions import Region
from pano_med.slides.rows import nuclei
from pano_med.slides.store import Result
from pano_med.types import Category

#: Corners are rounded to this part of a level-0 pixel: about 0.03 um, a tenth of what a microscope resolves.
_STEP = 0.1


def write_qupath(
    result: Result,
    path: str | Path,
    region: Region | None = None,
    origin: tuple[float, float] = (0, 0),
    beside: pa.Table | None = None,
) -> int:
    """Write tissue and nuclei for QuPath, tissue first so that nuclei lie on top; whole or not at all.

    Args:
        result: an opened folder.
        path: the file.
        region: nuclei whose centre lies in it and the tissue in it; None: all.
        origin: (top, left) from which QuPath counts, see `regions.qupath_origin`.
        beside: the table of `consistency`; nuclei then get their re-weighted class and tell it as measurements.

    Returns:
        The number of nuclei.

    Raises:
        OSError: the file cannot be written.
    """
    count, first = 0, True
    with replacing(path) as file:
        file.write(head(result.taxonomy.note))
        for row in tissue_features(result, region, origin):
            file.write((b"\n" if first else b",\n") + json.dumps(row, ensure_ascii=False, allow_nan=False).encode())
            first = False
        for table in nuclei(result, ["id", "category_id", "score", "area_um2", "contour"], region, beside):
            file.write((b"\n" if first else b",\n") + _text(table, result, origin))
            count, first = count + table.num_rows, False
        file.write(b"\n]}\n")
    return count


def tissue_features(
    result: Result, region: Region | None = None, origin: tuple[float, float] = (0, 0)
) -> Iterator[dict[str, Any]]:
    """One annotation for each tissue; neighbours share their borders corner by corner. Arguments as `write_qupath`."""
    tissue = tissue_map(result)
    height, width = result.size
    for category_id, polygons in outlines(tissue.classes, tissue.step).items():
        shape = shapely.multipolygons(polygons)
        shape = shapely.transform(shape, lambda xy: np.minimum(xy, (width, height)))  # the last pixel may reach over
        if region is not None:
            parts = shapely.get_parts(shapely.intersection(shape, region.shape))
            shape = shapely.multipolygons(parts[shapely.get_dimensions(parts) == 2])  # where it touches only is a line
        if shapely.area(shape) == 0:
            continue
        shape = shapely.transform(shape, lambda xy: np.round(xy - origin[::-1], 1))
        area = shapely.area(shape)
        properties = {
            "objectType": "annotation",
            "classification": _classification(result.taxonomy[category_id]),
            "measurements": {"area um2": round(area * result.mpp**2, 1)},
        }
        yield {"type": "Feature", "geometry": json.loads(shapely.to_geojson(shape)), "properties": properties}


def _classification(category: Category) -> dict[str, Any]:
    return {"name": category.name, "color": list(category.color)}


def _text(table: pa.Table, result: Result, origin: tuple[float, float]) -> bytes:
    """The features of a batch, joined by commas and line ends."""
    category = table["class_reweighted_id" if "class_reweighted_id" in table.column_names else "category_id"]
    parts = [
        '{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[',
        _rings(table["contour"].combine_chunks(), origin),
        ']]]}, "properties": {"objectType": "detection", "classification": ',
        _look_up({c.id: json.dumps(_classification(c), ensure_ascii=False) for c in result.taxonomy.all}, category),
        f', "measurements": {{"{ID_NAME}": ',
        table["id"].cast(pa.string()),
        ', "area um2": ',
        _numbers(table["area_um2"], 0.01),
        pc.fill_null(pc.binary_join_element_wise(', "score": ', _numbers(table["score"], 0.0001), ""), ""),
    ]
    if "flag" in table.column_names:
        changed = pc.not_equal(table["class_reweighted_id"], table["category_id"])
        parts += [', "improbable here": ', _bit(table["flag"]), ', "class changed": ', _bit(changed)]
    rows = pc.binary_join_element_wise(*parts, "}}}", "")
    rows = rows.combine_chunks() if isinstance(rows, pa.ChunkedArray) else rows
    whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows), ",\n")
    return bytes(whole[0].as_buffer())


def _rings(contours: pa.ListArray, origin: tuple[float, float]) -> pa.Array:
    """ "x,y],[x,y" of each contour, its first corner again at the end, as GeoJSON wants it."""
    corners = contours.value_lengths().to_numpy() // 2
    xy = contours.flatten().to_numpy().reshape(-1, 2)
    ends = np.cumsum(corners + 1)
    starts = np.cumsum(corners) - corners
    order = np.arange(ends[-1]) - np.repeat(np.arange(len(corners)), corners + 1)
    order[ends - 1] = starts
    places = xy[order].astype(np.float64) - origin[::-1]
    pairs = pc.binary_join_element_wise(_numbers(places[:, 0], _STEP), _numbers(places[:, 1], _STEP), ",")
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32()), pairs), "],[")


def _numbers(values: Any, step: float) -> pa.Array:
    """Numbers as text, rounded to a step that is a power of ten, without exponents below 1e10; NaN is null."""
    rounded = np.rint(np.asarray(values, np.float64) / step) / round(1 / step)
    return pc.cast(pa.array(rounded + 0.0, from_pandas=True), pa.string())  # + 0.0: no "-0"


def _look_up(texts: dict[int, str], keys: Any) -> pa.Array:
    place = np.zeros(max(texts) + 1, np.int64)
    place[list(texts)] = np.arange(len(texts))
    return pa.array(list(texts.values())).take(pa.array(place[keys.to_numpy()]))


def _bit(values: Any) -> pa.Array:
    return pc.if_else(values, "1", "0")
