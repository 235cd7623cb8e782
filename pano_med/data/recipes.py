"""The table of data sets. A new set is a new row; a new file format is a new function in `codecs`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pano_med.data import borders, codecs
from pano_med.data.codecs import Labels


@dataclass(frozen=True)
class Layout:
    """How the files of a set lie below its folder; paths are regular expressions whose named groups name an item.

    Attributes:
        image: path of an image.
        mask: path of a mask with the same groups; `part` tells several masks of one image apart.
        codec: reads the masks of one image.
        swapped: True where red and blue are exchanged in the image files (seen as blue red-cells, brown nuclei).
        group: patient or case by the names of groups, for items that the written split does not list.
        pixel_size_um: side of a pixel where this layout differs from the recipe's.
        partial: True where this layout never holds all images of the written split.
    """

    image: str
    mask: str
    codec: Callable[[Sequence[Path], Mapping[int, str]], Labels]
    swapped: bool = False
    group: str = "{stem}"
    pixel_size_um: float | None = None
    partial: bool = False


@dataclass(frozen=True)
class Recipe:
    """One data set.

    Attributes:
        folder: its folder below the data root.
        layouts: where files may lie; the first that finds an image counts.
        codes: what the codes of its masks mean, as category names of HE_CORE.
        known: names of the categories that its annotators labelled exhaustively.
        pixel_size_um: side of a pixel, by the start of the group's name ("" fits all).
        windows: parts of an image that become samples of their own: name and (top, left, bottom, right) in pixels.
            They count for images of exactly the size that they cover; others stay whole.
        borders: finds painted pixels.
        glass: True where the glass rule adds `background` to the regions.
        only_listed: True where the public set holds other images too: only those of the written split are read.
        training: False for a set that must never be trained on.
    """

    folder: str
    layouts: tuple[Layout, ...]
    codes: Mapping[int, str]
    known: tuple[str, ...]
    pixel_size_um: Mapping[str, float] = field(default_factory=dict)
    windows: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    borders: Callable[[np.ndarray, str], np.ndarray] = borders.nothing
    glass: bool = False
    only_listed: bool = False
    training: bool = True


NUCLEI = ("neoplastic nucleus", "inflammatory nucleus", "connective nucleus")
TISSUE = ("background", "tumour", "other tissue")
PAIRS = r"images/(?P<stem>[^/]+)\.(?:jpg|png)", r"masks/(?P<stem>[^/]+)\.(?:jpg|png)"

RECIPES: dict[str, Recipe] = {
    "dsb2018_tissue": Recipe(
        folder="dsb2018_tissue",
        layouts=(
            Layout(
                r"(?:stage1_train/)?(?P<stem>\w+)/images/(?P=stem)\.png",
                r"(?:stage1_train/)?(?P<stem>\w+)/masks/[^/]+\.png",
                codecs.one_file_per_object,
            ),
        ),
        codes={1: "nucleus"},
        known=("nucleus",),
        # not published: estimated from nuclei and red cells, see the data card
        pixel_size_um={"purple-low": 0.5, "purple-high": 0.25, "white": 0.33, "pink": 0.25},
        only_listed=True,
    ),
    "tnbc_breast_nuclei": Recipe(
        folder="tnbc_breast_nuclei",
        layouts=(
            Layout(*PAIRS, codecs.components),
            Layout(
                r"(?:.*/)?Slide_(?P<case>\d+)/(?P<stem>[^/]+)\.png",
                r"(?:.*/)?GT_(?P<case>\d+)/(?P<stem>[^/]+)\.png",
                codecs.components,
                group="patient-{case}",
                pixel_size_um=0.25,
            ),
        ),
        codes={1: "nucleus"},
        known=("nucleus",),
        pixel_size_um={"": 0.2},
        borders=borders.augmented,
    ),
    "histolytics_hgsc": Recipe(
        folder="histolytics_hgsc",
        layouts=(
            Layout(
                r"original/(?P<stem>hgsc_[a-z]+?)(?:_he)?\.jpg",
                r"derived/(?P<stem>hgsc_[a-z]+)_(?P<part>inst|type)\.png",
                codecs.instances_and_types,
                group="hgsc",
            ),
            Layout(
                r"(?:.*/)?(?P<stem>hgsc_nest)\.jpg",
                r"(?:.*/)?(?P<stem>hgsc_nest)_(?P<part>inst|type)_mask\.npz",
                codecs.instances_and_types,
                group="hgsc",
                partial=True,  # the wheel has masks of the nest only
            ),
        ),
        codes={1: "connective nucleus", 2: "inflammatory nucleus", 3: "neoplastic nucleus"},
        known=NUCLEI,
        pixel_size_um={"": 0.5},
        windows={"rows_0000_0999": (0, 0, 1000, 1500), "rows_1000_1499": (1000, 0, 1500, 1500)},
    ),
    "bcss_breast_tumour_regions": Recipe(
        folder="bcss_breast_tumour_regions",
        layouts=(Layout(*PAIRS, codecs.region, swapped=True),),
        codes={0: "other tissue", 1: "tumour"},
        known=TISSUE,
        pixel_size_um={"": 0.25},
        windows={"columns_0000_3071": (0, 0, 2048, 3072), "columns_3072_4095": (0, 3072, 2048, 4096)},
        glass=True,
    ),
    "ocdc_oral_tumour_regions": Recipe(
        folder="ocdc_oral_tumour_regions",
        layouts=(Layout(r"images/(?P<stem>[^/]+)\.jpg", r"masks/(?P<stem>[^/]+)\.jpg", codecs.region, swapped=True),),
        codes={0: "other tissue", 1: "tumour"},
        known=TISSUE,
        pixel_size_um={"": 0.5},
        glass=True,
    ),
    "csmp_cervix_panoptic": Recipe(
        folder="csmp_cervix_panoptic",
        layouts=(
            Layout(
                r"(?:.*/)?imgs/(?P<stem>[^/]+)\.png",
                r"(?:.*/)?masks/(?P<stem>[^/]+)\.mat",
                codecs.mat_panoptic,
            ),
        ),
        # types count up, regions count down
        codes={
            1: "neoplastic nucleus",
            2: "inflammatory nucleus",
            3: "connective nucleus",
            5: "nucleus",
            -1: "other tissue",
            -2: "tumour",
            -4: "other tissue",
        },
        known=(*TISSUE, *NUCLEI, "nucleus"),
        pixel_size_um={"": 0.5},
        borders=borders.mirrored,
        glass=True,
        training=False,
    ),
}
