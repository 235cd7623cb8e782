"""The coffee cup of scikit-image with a panoptic truth drawn by hand: the first picture of lesson 1."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.interpolate import CubicSpline
from skimage.data import coffee
from skimage.draw import polygon

from pano_med.types import OKABE_ITO, Category, Panoptic, Taxonomy

#: Cup and saucer are both dishes: two things of one class that touch, as nuclei do.
COFFEE_TABLE = Taxonomy(
    "coffee-table",
    (
        Category(1, "table", False, OKABE_ITO["vermillion"]),
        Category(2, "coffee", False, OKABE_ITO["orange"]),
        Category(3, "dish", True, OKABE_ITO["sky"]),
        Category(4, "spoon", True, OKABE_ITO["yellow"]),
    ),
)
#: Ids of the segments in the truth; the dark corner beyond the table is void: nobody can tell what is there.
TABLE, COFFEE, SAUCER, CUP, SPOON = 1, 2, 3, 4, 5

# Outlines as points (x, y) in pixels of the 600 x 400 picture, clicked along the edges at sixfold enlargement.
_CORNER = ((-1, -1), (154.5, -1), (121, 23), (100, 38.5), (80, 52.5), (60, 66.5), (40, 81), (20, 93.5), (-1, 108.5))
_SAUCER = (
    (160.7, 79.6), (141, 92.5), (121, 109.2), (100, 134), (86.7, 160), (80.4, 178), (77.2, 199), (76.4, 215),
    (78, 240), (82, 259.5), (90.3, 280), (100.5, 297), (120, 320), (140, 339.5), (160, 354.7), (180, 367.3),
    (200, 377), (220, 383.7), (240, 387.7), (260, 389.9), (280, 390.8), (300, 390.4), (320, 388.5), (340, 384.9),
    (360, 379.2), (380, 371), (400, 360.3), (420, 346), (440, 326.3), (460, 298.5), (472, 272.5), (477.5, 248),
    (479.4, 228), (478.6, 210), (475.4, 193.5), (469, 175.5), (460.5, 158.5), (440, 125.5), (429, 114), (418.5, 105.5),
    (380, 82), (330, 64), (280, 57), (230, 58), (185, 67.5),
)  # fmt: skip
_RIM = (
    (173, 106), (177, 84), (182.5, 70.5), (190.5, 59.3), (200, 49.3), (220, 34.5), (240, 25.3), (260, 20), (280, 17.8),
    (300, 18.3), (320, 22), (340, 28.8), (360, 39.5), (380, 54.7), (391.8, 67.5), (400.2, 81), (405.5, 95), (408, 111),
)  # fmt: skip
_CUP = (
    *_RIM, (408, 123), (406.3, 135), (402, 154.5), (396.4, 175), (389.8, 197), (383, 210), (375, 230), (366, 240),
    (340, 256), (329, 265), (320.3, 273.5), (308.6, 280), (296.9, 283.6), (280.8, 284.8), (267.7, 283.3), (259, 281.3),
    (253.5, 283), (244.3, 292), (235.5, 299.8), (229.5, 301.5), (226.8, 305.5), (224, 308.5), (219.4, 309),
    (210.7, 305.7), (201.9, 300.2), (197.2, 293.5), (195.6, 284.7), (196.6, 274.5), (200.5, 264.3), (207.8, 253),
    (215, 242.2), (218.7, 235.5), (211.4, 231.4), (204, 226.3), (198.6, 219.7), (192.4, 210.7), (186.4, 200),
    (182, 188.5), (177.4, 170), (174.6, 151.2), (173, 129),
)  # fmt: skip
_COFFEE = (
    (203.2, 145), (206.6, 136), (214.5, 122), (225, 107.5), (240, 101), (257.7, 97.4), (278.2, 95), (300, 96.4),
    (320, 101.3), (340, 109.7), (353.2, 121.3), (362.5, 136), (368, 150), (369.5, 163.5), (360, 173.5), (340, 184.2),
    (320, 191), (300, 193.7), (280, 193), (260, 188.6), (240, 179.7), (220, 164.5), (210.5, 155.5),
)  # fmt: skip
_HANDLE = (
    (396, 77), (397.5, 72.5), (401.5, 68.8), (408.9, 66.8), (416.9, 68.6), (422.6, 73.3), (424, 79), (421.5, 90.5),
    (417.8, 104.3), (413.9, 115.8), (410.5, 127.2), (407.5, 136), (400, 125), (400, 90),
)  # fmt: skip
_BOWL = (
    (389.2, 198.5), (387, 205.3), (384.2, 221.4), (383.6, 232.8), (387, 244), (395, 253.3), (401.8, 262.5),
    (405.7, 274.2), (405.4, 285.6), (400.2, 299.4), (391.7, 311), (380.2, 320), (371, 323.7), (361.5, 325.2),
    (350, 323.5), (340.7, 318.6), (332.2, 309.3), (327.6, 298), (326, 286.7), (328.2, 273.4), (333, 263), (340.7, 253),
    (352, 246.7), (361.5, 243), (367.1, 239.4), (371.5, 234.7), (373.2, 226.2), (375.6, 218.6), (379.4, 212),
    (385.1, 204.4),
)  # fmt: skip
#: Painted in this order, farthest first: what lies in front covers what lies behind.
_LAYERS = ((0, _CORNER), (SAUCER, _SAUCER), (SPOON, _HANDLE), (CUP, _CUP), (COFFEE, _COFFEE), (SPOON, _BOWL))


def coffee_truth() -> tuple[np.ndarray, Panoptic]:
    """The picture, (400, 600, 3) uint8, and its truth: table and coffee as stuff, two dishes and a spoon as things.

    The spoon is one thing in two parts, because the cup hides its middle; the dark corner is void.
    """
    image = coffee()
    ids = np.full(image.shape[:2], TABLE, np.int32)
    for number, points in _LAYERS:
        x, y = _smooth(points) if number else np.array(points).T
        rows, columns = polygon(y, x, ids.shape)
        ids[rows, columns] = number
    ids = _without_crumbs(ids)
    classes = {TABLE: "table", COFFEE: "coffee", SAUCER: "dish", CUP: "dish", SPOON: "spoon"}
    return image, Panoptic.from_ids(ids, {i: COFFEE_TABLE[name].id for i, name in classes.items()}, COFFEE_TABLE)


def _without_crumbs(ids: np.ndarray, least: int = 10) -> np.ndarray:
    """The same map without the single pixels that curves leave where they nearly touch; a neighbour takes them."""
    crumbs = np.zeros(ids.shape, bool)
    for number in np.unique(ids):
        parts, _ = ndimage.label(ids == number)
        crumbs |= (parts > 0) & (np.bincount(parts.ravel())[parts] < least)
    rows, columns = ndimage.distance_transform_edt(crumbs, return_distances=False, return_indices=True)
    return ids[rows, columns]


def _smooth(points: tuple[tuple[float, float], ...], step: float = 0.5) -> np.ndarray:
    """(2, N): a closed curve through the points, one new point every half pixel; a corner stays near a corner."""
    closed = np.array([*points, points[0]], float)
    length = np.hypot(*np.diff(closed, axis=0).T)
    at = np.concatenate([[0], np.cumsum(np.sqrt(length))])  # centripetal: no loops where points lie close
    fine = np.interp(np.arange(0, length.sum(), step), np.concatenate([[0], np.cumsum(length)]), at)
    curve: np.ndarray = CubicSpline(at, closed, bc_type="periodic")(fine).T
    return curve
