"""A small finished slide whose figures can be checked by head, written as a result folder by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pano_med.slides.store import SCHEMA, MapWriter, Result, write_manifest
from pano_med.types import HE_CORE, Taxonomy

#: Level-0 micrometres per pixel, and level-0 pixels per map pixel.
MPP, SCALE = 0.25, 2.0
SLIDE: dict[str, Any] = {"fingerprint": "0" * 16, "bounds": None}


def painted(side: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """(ids, classes) of a square map: glass to the left, tumour above a slope, other tissue below, void at the right.

    Nuclei are squares of 6 px, one in each cell of 16 px; in tumour neoplastic, in other tissue inflammatory and
    connective by turns. One more neoplastic one lies alone deep in the other tissue, one on glass.
    """
    rows, columns = np.mgrid[:side, :side]
    classes = np.where(rows < columns * 0.5 + side // 4, 2, 3).astype(np.uint8)
    classes[:, : side // 8], classes[:, -side // 16 :] = 1, 0
    ids, number = np.zeros((side, side), np.uint32), 0
    for top in range(5, side - 16, 16):
        for left in range(5, side - 16, 16):
            ground = classes[top : top + 6, left : left + 6]
            odd = (top // 16, left // 16) == (14, 4)
            kind = {2: 4, 3: 4 if odd else 5 + (top + left) // 16 % 2}.get(int(ground[3, 3]), 0)
            if len(np.unique(ground)) > 1 or not kind:
                continue
            number += 1
            ids[top : top + 6, left : left + 6], classes[top : top + 6, left : left + 6] = number, kind
    ids[120:126, 8:14], classes[120:126, 8:14] = number + 1, 5
    return ids, classes


def write_result(
    folder: Path, ids: np.ndarray, classes: np.ndarray, taxonomy: Taxonomy = HE_CORE, **changes: Any
) -> Result:
    """The folder of a map, as the engine leaves it.

    Args:
        folder: is made.
        ids: (h, w) uint32.
        classes: (h, w) uint8.
        taxonomy: the table.
        changes: parts of the manifest that differ.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_map(folder, ids, classes)
    table = _instances(ids, classes, taxonomy)
    pq.write_table(table, folder / "instances.parquet", row_group_size=64)
    size = [round(n * SCALE) for n in ids.shape]
    kinds = [c.name for c in taxonomy.all if c.isthing]
    um2 = (MPP * SCALE) ** 2
    manifest = {
        "format": 1,
        "slide": {"name": "a.svs", "size": size, "mpp": MPP, "mpp_source": "file", **SLIDE},
        "model": {"name": "m", "sha256": "ab" * 32, "mpp": MPP * SCALE, "taxonomy": taxonomy.to_dict(), "score": 0.5},
        "grid": {"tile": 128, "overlap": 32, "origin": [0, 0], "size": list(ids.shape)},
        "scale": SCALE,
        "counts": {k: table["class"].to_pylist().count(k) for k in kinds},
        "areas_um2": {c.name: float((classes == c.id).sum() * um2) for c in taxonomy.stuff},
        "tiles": {"all": 9, "tissue": 8, "done": 8, "failed": []},
        "too_large": [],
        "state": "done",
    }
    write_manifest(folder, manifest | changes)
    Image.fromarray(np.where(classes[..., None], 215, 255).astype(np.uint8).repeat(3, 2)).save(folder / "thumbnail.png")
    Image.fromarray(classes > 1).save(folder / "tissue.png")
    return Result(folder)


def _write_map(folder: Path, ids: np.ndarray, classes: np.ndarray) -> None:
    size = ids.shape
    MapWriter(folder, size, MPP * SCALE).write((0, size[0]), (0, size[1]), ids=ids, classes=classes)


def _instances(ids: np.ndarray, classes: np.ndarray, taxonomy: Taxonomy) -> pa.Table:
    rows = []
    for number in range(1, int(ids.max()) + 1):
        y, x = (ids == number).nonzero()
        top, left, bottom, right = (float(v * SCALE) for v in (y.min(), x.min(), y.max() + 1, x.max() + 1))
        kind = taxonomy[int(classes[y[0], x[0]])]
        row = {"id": number, "category_id": kind.id, "class": kind.name, "score": 0.5 + number % 50 / 100}
        row |= {"area_um2": len(y) * (MPP * SCALE) ** 2, "row": (top + bottom) / 2, "column": (left + right) / 2}
        row |= {"top": top, "left": left, "bottom": bottom, "right": right}
        corners = [left, top, right, top, right, bottom, left, bottom]
        rows.append({**row, "contour": corners, "tile": int(y[0] // 96 * 3 + x[0] // 96)})
    return pa.Table.from_pylist(rows, SCHEMA)
