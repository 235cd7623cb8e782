"""One row for each segment, for spreadsheets and statistics."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.measure import regionprops

from pano_med.formats.files import replacing
from pano_med.types import Panoptic, Segment

#: Columns of the table. Boxes are xyxy with the far edge exclusive, as everywhere; all lengths in pixels.
COLUMNS = (
    *("id", "class", "isthing", "score", "area_px", "area_um2", "box_x0", "box_y0", "box_x1", "box_y1"),
    *("centroid_row", "centroid_col", "perimeter_px", "eccentricity"),
)


def segments_table(panoptic: Panoptic) -> list[dict[str, Any]]:
    """A row for each segment in the order of ids; columns as `COLUMNS`, None where a value is unknown.

    Perimeter and eccentricity are skimage's (`regionprops`: the perimeter of Benkrid 2000, the eccentricity of the
    ellipse with the same second moments, 0 = circle) and are given for things only. Row and column of a centroid are
    those of pixel centres: one pixel at row 2, column 5 has the centroid (2, 5).

    Args:
        panoptic: the map.
    """
    number = {s.id: i for i, s in enumerate(panoptic.segments, 1)}
    dense = panoptic.lookup(number)
    things = panoptic.lookup({s.id: number[s.id] for s in panoptic.things})
    shapes = {int(p.label): (p.perimeter, p.eccentricity) for p in regionprops(things)}
    boxes = ndimage.find_objects(dense)
    rows = []
    for segment in panoptic.segments:
        i = number[segment.id]
        perimeter, eccentricity = shapes.get(i, (None, None))
        row = _place(dense[boxes[i - 1]] == i, boxes[i - 1])
        rows.append({**_facts(segment, panoptic), **row, "perimeter_px": perimeter, "eccentricity": eccentricity})
    return rows


def _facts(segment: Segment, panoptic: Panoptic) -> dict[str, Any]:
    category, side = panoptic.taxonomy[segment.category_id], panoptic.pixel_size_um
    return {
        "id": segment.id,
        "class": category.name,
        "isthing": int(category.isthing),
        "score": segment.score,
        "area_px": segment.area,
        "area_um2": None if side is None else segment.area * side**2,
    }


def _place(mask: np.ndarray, box: tuple[slice, slice]) -> dict[str, float]:
    rows, columns = box
    middle = (np.average(np.arange(n), weights=mask.sum(axis)) for axis, n in ((1, mask.shape[0]), (0, mask.shape[1])))
    row, column = (float(m) for m in middle)
    return {
        **{"box_x0": columns.start, "box_y0": rows.start, "box_x1": columns.stop, "box_y1": rows.stop},
        **{"centroid_row": rows.start + row, "centroid_col": columns.start + column},
    }


def write_csv(panoptic: Panoptic, path: str | Path) -> None:
    """Write `segments_table` as CSV (UTF-8, commas, empty where unknown), whole or not at all.

    Where the taxonomy has a note, each row of a thing carries it in a last column, so that sorting does not lose it.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    note = panoptic.taxonomy.note
    writer = csv.DictWriter(text, [*COLUMNS, "note"] if note else COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in segments_table(panoptic):
        more = {"note": note} if note and row["isthing"] else {}
        writer.writerow({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} | more)
    with replacing(path) as file:
        file.write(text.getvalue().encode())
