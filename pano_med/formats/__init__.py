"""Files in and out: images, COCO panoptic, GeoJSON for QuPath, CSV. No torch."""

from pano_med.formats.coco import MAX_ID, coco_document, read_coco, read_coco_folder, write_coco
from pano_med.formats.files import make_folder, replacing, sha256_of, write_png
from pano_med.formats.geojson import features, read_geojson, write_features, write_geojson
from pano_med.formats.images import MAX_PIXELS, ImageFile, read_image
from pano_med.formats.table import COLUMNS, segments_table, write_csv

__all__ = [
    "COLUMNS",
    "MAX_ID",
    "MAX_PIXELS",
    "ImageFile",
    "coco_document",
    "features",
    "make_folder",
    "read_coco",
    "read_coco_folder",
    "read_geojson",
    "read_image",
    "replacing",
    "segments_table",
    "sha256_of",
    "write_coco",
    "write_csv",
    "write_features",
    "write_geojson",
    "write_png",
]
