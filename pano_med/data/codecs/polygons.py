"""Outlines in pixels of the image: Aperio XML, JSON of several programs, GeoJSON of QuPath."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from pano_med.data.codecs.labels import Code, Codes, Labels
from pano_med.data.items import Item
from pano_med.formats.contours import rasterise

#: A class and the rings of its outline, each (N, 2) x, y in pixels; holes are rings too.
Shape = tuple[Code, list[np.ndarray]]


def polygons(
    item: Item,
    codes: Codes,
    size: tuple[int, int],
    code: Code | None = None,
    attribute: str = "Name",
    scale: float = 1.0,
) -> Labels:
    """Draw outlines at their own coordinates; nothing is stretched to the image or to the outlines' bounds.

    A pixel belongs to an outline if its centre lies inside. Regions first, then objects, later ones over earlier ones,
    then void. Objects are numbered from 1.

    Args:
        item: its files (.xml, .json or .geojson); several are read one after the other.
        codes: of the classes.
        size: (H, W) of the image.
        code: class of every outline, where the files name none (MoNuSeg).
        attribute: in XML, the attribute of `<Attribute>` that holds the class.
        scale: pixels of the image for one unit of the coordinates.

    Raises:
        ValueError: an unknown class, or a file that holds no such outlines.
        OSError: unreadable.
    """
    things = np.zeros(size, np.int32)
    stuff, void = np.zeros(size, np.int32), np.zeros(size, bool)
    classes: dict[int, int] = {}
    shapes = [shape for path in item.masks for shape in _known(path, code, attribute, codes)]
    for name, rings in shapes:
        if len(rings[0]) < 3:
            continue  # a click, not an outline
        box, inside = rasterise([ring * scale for ring in rings], size)
        if name in codes.void:
            void[box] |= inside
        elif name in codes.stuff:
            stuff[box][inside] = codes.stuff[name]
            void[box] |= inside & (codes.stuff[name] == 0)
        elif inside.any():
            classes[len(classes) + 1] = codes.things[name]
            things[box][inside] = len(classes)
    return Labels(things, classes, stuff if codes.stuff else None, void if void.any() else None)


def _known(path: Path, code: Code | None, attribute: str, codes: Codes) -> Iterator[Shape]:
    try:
        read = _xml if path.suffix == ".xml" else _json
        shapes = [(name if code is None else code, rings) for name, rings in read(path, attribute)]
    except (ElementTree.ParseError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise OSError(f"cannot read the outlines {path}: {error}") from error
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{path} must hold outlines as Aperio XML, GeoJSON, or JSON of polygons: {error!r}") from error
    codes.check({name for name, _ in shapes}, {*codes.things, *codes.stuff}, "class", path)
    yield from shapes


def _xml(path: Path, attribute: str) -> Iterator[Shape]:
    """Aperio ImageScope: Annotations/Annotation/Regions/Region/Vertices/Vertex with X and Y."""
    for annotation in ElementTree.parse(path).getroot().iter("Annotation"):
        label = annotation.find("Attributes/Attribute")
        name = "" if label is None else label.get(attribute, "")
        for region in annotation.iter("Region"):
            points = [(float(v.attrib["X"]), float(v.attrib["Y"])) for v in region.iter("Vertex")]
            yield name, [np.array(points).reshape(-1, 2)]


#: JSON by its list of outlines: name of the list, of the class, of the points. PUMA's submissions; labelme;
#: Cityscapes and IDD.
_LISTS = (("polygons", "name", "path_points"), ("shapes", "label", "points"), ("objects", "label", "polygon"))


def _json(path: Path, attribute: str) -> Iterator[Shape]:
    document = json.loads(path.read_text("utf-8"))
    for where, name, points in _LISTS:
        if isinstance(document, dict) and where in document:
            for row in document[where]:
                yield row[name], [_ring(row[points])]
            return
    for feature in document["features"] if isinstance(document, dict) else document:
        label = feature["properties"]["classification"]["name"]
        geometry = feature["geometry"]
        yield label, [_ring(ring) for ring in _rings(geometry)]


def _rings(geometry: dict[str, Any]) -> list[Any]:
    if geometry["type"] == "Polygon":
        return list(geometry["coordinates"])
    if geometry["type"] == "MultiPolygon":
        return [ring for polygon in geometry["coordinates"] for ring in polygon]
    raise TypeError(f"a {geometry['type']} is not an area")


def _ring(points: Sequence[Sequence[float]]) -> np.ndarray:
    return np.array([point[:2] for point in points], float).reshape(-1, 2)
