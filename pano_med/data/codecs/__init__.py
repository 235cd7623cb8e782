"""One small function per way of writing labels down; each turns the label files of one image into `Labels`.

A card names its codec and the options. A new format is a new function here, a new data set is a new card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pano_med.data.codecs.labels import Code, Codes, Labels
from pano_med.data.codecs.maps import class_channels, instance_list, instances_and_types
from pano_med.data.codecs.masks import components, label_image, one_file_per_object, regions, seeded_classes
from pano_med.data.codecs.polygons import polygons
from pano_med.data.codecs.scenes import ade20k, class_instance, coco_panoptic

#: Each codec takes (item, codes, size of the image (H, W), **options of the card) and gives `Labels`.
CODECS: Mapping[str, Callable[..., Labels]] = {
    f.__name__: f
    for f in (
        ade20k,
        class_channels,
        class_instance,
        coco_panoptic,
        components,
        instance_list,
        instances_and_types,
        label_image,
        one_file_per_object,
        polygons,
        regions,
        seeded_classes,
    )
}

__all__ = ["CODECS", "Code", "Codes", "Labels", *CODECS]
