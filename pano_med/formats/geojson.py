"""GeoJSON as QuPath reads and writes it: nuclei as detections, tissue as annotations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from pano_med.formats.contours import outline, rasterise
from pano_med.formats.files import replacing
from pano_med.types import Panoptic, Segment, Taxonomy

#: Name of the measurement that keeps a segment's number.
ID_NAME = "segment id"


def write_geojson(
    panoptic: Panoptic, path: str | Path, offset: tuple[float, float] = (0, 0), scale: float = 1.0
) -> None:
    """Write one feature for each segment: things as detections, stuff as annotations.

    Contours run along pixel edges, so `read_geojson` gives the map back exactly. Tissue comes first, so that QuPath
    draws nuclei on top.

    Args:
        panoptic: the map.
        path: the file.
        offset: (row, column) of the map's upper left corner in the slide, in slide pixels.
        scale: slide pixels for each pixel of the map.

    Raises:
        ValueError: a scale that is not positive.
        OSError: the file cannot be written.
    """
    write_features(features(panoptic, offset, scale), path, panoptic.taxonomy.note)


def write_features(rows: Iterable[Mapping[str, Any]], path: str | Path, note: str = "") -> None:
    """Write features one at a time as a FeatureCollection, one feature on each line.

    Args:
        rows: the features.
        path: the file.
        note: see `head`.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as file:
        file.write(head(note))
        for i, row in enumerate(rows):
            file.write((",\n" if i else "\n").encode() + json.dumps(row, ensure_ascii=False, allow_nan=False).encode())
        file.write(b"\n]}\n")


def head(note: str = "") -> bytes:
    """Where a FeatureCollection begins; a note stands in it as a member of its own, which other programs skip."""
    said = f'"note": {json.dumps(note, ensure_ascii=False)}, ' if note else ""
    return f'{{"type": "FeatureCollection", {said}"features": ['.encode()


def features(panoptic: Panoptic, offset: tuple[float, float] = (0, 0), scale: float = 1.0) -> Iterator[dict[str, Any]]:
    """GeoJSON features of a map, one at a time, stuff first; arguments as `write_geojson`."""
    if not scale > 0:
        raise ValueError(f"scale must be positive slide pixels per map pixel, got {scale}")
    number = {s.id: i for i, s in enumerate(panoptic.segments, 1)}
    dense = panoptic.lookup(number)
    boxes = ndimage.find_objects(dense)
    for segment in (*panoptic.stuff, *panoptic.things):
        rows, columns = boxes[number[segment.id] - 1]
        polygons = outline(dense[rows, columns] == number[segment.id])
        corner = (offset[1] + columns.start * scale, offset[0] + rows.start * scale)
        yield {
            "type": "Feature",
            "geometry": _geometry([[_closed(r, corner, scale) for r in rings] for rings in polygons]),
            "properties": _properties(segment, panoptic),
        }


def _closed(ring: np.ndarray, corner: tuple[float, float], scale: float) -> list[list[float]]:
    points = (ring if scale == 1 else ring * scale) + np.array(corner)
    if (points == np.rint(points)).all():
        points = points.astype(np.int64)
    return [*points.tolist(), points[0].tolist()]


def _geometry(polygons: list[Any]) -> dict[str, Any]:
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _properties(segment: Segment, panoptic: Panoptic) -> dict[str, Any]:
    category = panoptic.taxonomy[segment.category_id]
    measurements: dict[str, float] = {ID_NAME: int(segment.id), "area px": int(segment.area)}
    if panoptic.pixel_size_um is not None:
        measurements["area um2"] = segment.area * panoptic.pixel_size_um**2
    if segment.score is not None:
        measurements["score"] = float(segment.score)
    if segment.iscrowd:
        measurements["crowd"] = 1
    return {
        "objectType": "detection" if category.isthing else "annotation",
        "classification": {"name": category.name, "color": list(category.color)},
        "measurements": measurements,
    }


def read_geojson(
    path: str | Path,
    size: tuple[int, int],
    taxonomy: Taxonomy,
    offset: tuple[float, float] = (0, 0),
    scale: float = 1.0,
    pixel_size_um: float | None = None,
) -> Panoptic:
    """Read polygons into a map: tissue first, nuclei over it, later features over earlier ones.

    Reads what `write_geojson` wrote (then ids, scores and crowds come back too) and what QuPath exports, whose
    features get the next free numbers. Features that cover no pixel's centre are left out.

    Args:
        path: the file.
        size: (H, W) of the map.
        taxonomy: the table that the class names belong to.
        offset: as `write_geojson`.
        scale: as `write_geojson`.
        pixel_size_um: side of a pixel of the map.

    Raises:
        ValueError: not GeoJSON, a class that the taxonomy lacks, no class, a geometry that is not an area.
        OSError: the file cannot be read.
    """
    items = _items(Path(path))
    names = [_class_name(item) for item in items]
    strangers = sorted({name for name in names if name not in taxonomy})
    if strangers:
        raise ValueError(f"{path}: taxonomy {taxonomy.name!r} has no class {strangers[:5]}; rename them or add them")
    ids, numbers = np.zeros(size, np.int32), _numbers(items)
    order = sorted(range(len(items)), key=lambda i: taxonomy[names[i]].isthing)  # stable
    for i in order:
        for rings in _polygons(items[i], Path(path)):
            shifted = [(np.asarray(r, float)[:, :2] - offset[::-1]) / scale for r in rings]
            box, inside = rasterise(shifted, size)
            ids[box][inside] = numbers[i]
    measured = [_measurements(item) for item in items]
    return Panoptic.from_ids(
        ids,
        {n: taxonomy[name].id for n, name in zip(numbers, names, strict=True)},
        taxonomy,
        pixel_size_um,
        {n: m["score"] for n, m in zip(numbers, measured, strict=True) if "score" in m},
        [n for n, m in zip(numbers, measured, strict=True) if m.get("crowd")],
    )


def _items(path: Path) -> list[dict[str, Any]]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}; check the name and the folder") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, or is cut short ({error}); export it again") from error
    items = document.get("features") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise ValueError(f"{path} must be a GeoJSON FeatureCollection or a list of features; export it again")
    return items


def _class_name(item: Mapping[str, Any]) -> str:
    properties = item.get("properties") or {}
    return str((properties.get("classification") or {}).get("name"))


def _measurements(item: Mapping[str, Any]) -> dict[str, float]:
    """QuPath writes a map, older ones a list of name and value."""
    found = (item.get("properties") or {}).get("measurements") or {}
    return found if isinstance(found, dict) else {row["name"]: row["value"] for row in found}


def _numbers(items: list[dict[str, Any]]) -> list[int]:
    """The segment number of each feature: its own where all have one and none twice, else 1, 2, 3, ..."""
    own = [_measurements(item).get(ID_NAME) for item in items]
    if len(set(own)) == len(own) and all(isinstance(n, (int, float)) and 1 <= n < 2**31 for n in own):
        return [int(n) for n in own if n is not None]
    return list(range(1, len(items) + 1))


def _polygons(item: Mapping[str, Any], path: Path) -> list[list[Any]]:
    geometry = item.get("geometry") or {}
    if geometry.get("type") == "Polygon":
        return [geometry["coordinates"]]
    if geometry.get("type") == "MultiPolygon":
        return list(geometry["coordinates"])
    raise ValueError(f"{path}: a segment must be a Polygon or MultiPolygon, one is {geometry.get('type')}; remove it")
