"""COCO panoptic: an id-coded PNG (id = R + 256 G + 65536 B) and a JSON of segments.

The format is that of Kirillov et al. 2019 and panopticapi. We add `score` to a segment, `pixel_size_um` to an image,
and `taxonomy` (its name, the id of its `unclassed`, its note) to the file; other programs skip what they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from pano_med.formats.files import replacing
from pano_med.formats.images import no_pillow_limit
from pano_med.types import OKABE_ITO, Panoptic, Segment, Taxonomy

#: The largest segment id that three bytes hold.
MAX_ID = 2**24 - 1


def write_coco(panoptic: Panoptic, png_path: str | Path, json_path: str | Path, image_name: str = "") -> None:
    """Write one map as COCO panoptic PNG and JSON; both appear, or neither.

    Args:
        panoptic: the map.
        png_path: id-coded PNG.
        json_path: complete COCO panoptic file with this one image.
        image_name: file name of the picture the map belongs to; the PNG's name if empty.

    Raises:
        ValueError: a segment id beyond 2^24 - 1.
        OSError: the files cannot be written.
    """
    png_path, json_path = Path(png_path), Path(json_path)
    document = coco_document([(image_name or png_path.name, png_path.name, panoptic)])
    with replacing(png_path) as png, replacing(json_path) as text:
        Image.fromarray(rgb_from_ids(panoptic.ids)).save(png, format="PNG")
        text.write(json.dumps(document, ensure_ascii=False, allow_nan=False).encode())


def coco_document(maps: Sequence[tuple[str, str, Panoptic]]) -> dict[str, Any]:
    """The complete COCO panoptic JSON of several maps of one taxonomy.

    Args:
        maps: (picture's file name, PNG's file name, map); at least one.

    Raises:
        ValueError: no map, or maps of different taxonomies.
    """
    if not maps:
        raise ValueError("a COCO file needs at least one map, got none")
    taxonomy = maps[0][2].taxonomy
    strangers = [name for name, _, panoptic in maps if panoptic.taxonomy != taxonomy]
    if strangers:
        raise ValueError(f"the maps of one COCO file share one taxonomy, {strangers[:3]} differ from {taxonomy.name!r}")
    table = taxonomy.to_dict()
    description = ". ".join(["panoptic segmentation, not for diagnosis", *([taxonomy.note] if taxonomy.note else [])])
    return {
        "info": {"description": description, "contributor": "pano_med"},
        "licenses": [],
        "images": [_image_row(i, name, panoptic) for i, (name, _, panoptic) in enumerate(maps, 1)],
        "annotations": [
            {"image_id": i, "file_name": png, "segments_info": _segment_rows(panoptic)}
            for i, (_, png, panoptic) in enumerate(maps, 1)
        ],
        "categories": [_category_row(row) for row in table["categories"]],
        "taxonomy": {k: v for k, v in table.items() if k != "categories"},
    }


def _category_row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "isthing": int(row["isthing"]), "supercategory": "thing" if row["isthing"] else "stuff"}


def _image_row(number: int, name: str, panoptic: Panoptic) -> dict[str, Any]:
    height, width = panoptic.size
    return {"id": number, "file_name": name, "height": height, "width": width, "pixel_size_um": panoptic.pixel_size_um}


def _segment_rows(panoptic: Panoptic) -> list[dict[str, Any]]:
    dense = panoptic.lookup({s.id: i for i, s in enumerate(panoptic.segments, 1)})
    rows = []
    for segment, (rows_, columns) in zip(panoptic.segments, ndimage.find_objects(dense), strict=True):
        row: dict[str, Any] = {
            "id": int(segment.id),
            "category_id": int(segment.category_id),
            "area": int(segment.area),
        }
        row["bbox"] = [columns.start, rows_.start, columns.stop - columns.start, rows_.stop - rows_.start]
        row["iscrowd"] = int(segment.iscrowd)
        rows.append(row if segment.score is None else {**row, "score": float(segment.score)})
    return rows


def rgb_from_ids(ids: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of (H, W) ids.

    Raises:
        ValueError: an id beyond 2^24 - 1.
    """
    if ids.size and ids.max() > MAX_ID:
        raise ValueError(f"COCO's PNG holds ids up to {MAX_ID}, the map has {ids.max()}; renumber the segments")
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)


def ids_from_rgb(rgb: np.ndarray) -> np.ndarray:
    """(H, W) int32 ids of (H, W, 3) uint8; inverse of `rgb_from_ids`."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def read_coco(png_path: str | Path, json_path: str | Path) -> Panoptic:
    """Read one map. The taxonomy is the JSON's.

    Args:
        png_path: id-coded PNG.
        json_path: COCO panoptic JSON. With several images, the annotation that names this PNG is taken.

    Raises:
        ValueError: PNG and JSON disagree, or a category is unknown.
        OSError: a file cannot be read.
    """
    png_path, document = Path(png_path), _load(Path(json_path))
    annotations = document["annotations"]
    own = annotations if len(annotations) == 1 else [a for a in annotations if a.get("file_name") == png_path.name]
    if len(own) != 1:
        raise ValueError(
            f"{json_path} must hold one annotation for {png_path.name}, it holds {len(own)} among {len(annotations)}"
        )
    return _one_map(png_path, own[0], document, taxonomy_from_coco(document, Path(json_path)))


def read_coco_folder(json_path: str | Path, png_dir: str | Path) -> Iterator[tuple[str, Panoptic]]:
    """Read the maps of a COCO panoptic file one by one.

    Args:
        json_path: COCO panoptic JSON of any number of images.
        png_dir: folder of the PNGs it names.

    Yields:
        (file name of the picture, its map) in the order of the file.

    Raises:
        ValueError: as `read_coco`.
        OSError: as `read_coco`.
    """
    document = _load(Path(json_path))
    taxonomy = taxonomy_from_coco(document, Path(json_path))
    for annotation in document["annotations"]:
        image = _image_of(annotation, document)
        yield (
            image.get("file_name", annotation["file_name"]),
            _one_map(Path(png_dir) / annotation["file_name"], annotation, document, taxonomy),
        )


def taxonomy_from_coco(document: Mapping[str, Any], path: Path) -> Taxonomy:
    """The taxonomy of a COCO panoptic JSON; categories without a colour get one.

    Raises:
        ValueError: the categories are not those of a panoptic file.
    """
    ours = document.get("taxonomy") or {}
    colors = cycle(OKABE_ITO.values())
    rows = [{**row, "color": row.get("color") or next(colors)} for row in document["categories"]]
    table = {"name": path.stem, **ours, "categories": rows}
    try:
        return Taxonomy.from_dict(table)
    except ValueError as error:
        raise ValueError(f"{path} has no usable categories: {error}") from error


def _load(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}; a panoptic PNG needs its JSON beside it") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON, or is cut short ({error}); write it again") from error
    document = document if isinstance(document, dict) else {}
    missing = [key for key in ("images", "annotations", "categories") if key not in document]
    if missing:
        raise ValueError(f"a COCO panoptic file has images, annotations and categories, {path} lacks {missing}")
    return document


def _image_of(annotation: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((image for image in document["images"] if image["id"] == annotation["image_id"]), {})


def _one_map(png: Path, annotation: Mapping[str, Any], document: Mapping[str, Any], taxonomy: Taxonomy) -> Panoptic:
    image, ids = _image_of(annotation, document), _read_ids(png)
    listed = (image.get("height"), image.get("width"))
    if image and listed != ids.shape:
        raise ValueError(f"PNG and JSON disagree on the size (H, W) of {png}: {ids.shape} and {listed}")
    try:
        rows = [_segment(row, ids) for row in annotation["segments_info"]]
    except (KeyError, TypeError) as error:
        raise ValueError(f"each of segments_info needs id and category_id, those of {png} do not: {error!r}") from error
    strangers = sorted({s.category_id for s in rows} - {c.id for c in taxonomy.all})
    if strangers:
        owners = [s.id for s in rows if s.category_id in strangers]
        raise ValueError(f"{png}: segments {owners[:5]} have categories {strangers[:5]} that the JSON does not list")
    try:
        return Panoptic(ids, tuple(rows), taxonomy, image.get("pixel_size_um"))
    except ValueError as error:
        raise ValueError(f"PNG and JSON of {png} disagree: {error}") from error


def _segment(row: Mapping[str, Any], ids: np.ndarray) -> Segment:
    area = row["area"] if "area" in row else int((ids == row["id"]).sum())
    return Segment(int(row["id"]), int(row["category_id"]), row.get("score"), int(area), bool(row.get("iscrowd", 0)))


def _read_ids(png: Path) -> np.ndarray:
    if not png.is_file():
        raise FileNotFoundError(f"there is no panoptic PNG {png}; the JSON names it, so put it there")
    try:
        with no_pillow_limit(), Image.open(png, formats=("PNG",)) as image:
            if image.mode not in ("RGB", "RGBA"):
                raise ValueError(f"a panoptic PNG codes ids in red, green and blue, {png} has mode {image.mode}")
            return ids_from_rgb(np.asarray(image)[..., :3])
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise OSError(f"{png} is not a PNG, damaged or cut short ({error}); write it again") from error
