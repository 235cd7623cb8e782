"""Which images show the same tissue: neighbouring crops by their shared seam, look-alikes by their stain.

Data sets of small crops often cut one field into several files without saying so. Two crops that lay side by side
continue each other at the edge; crops of one slide share its stain. Splits must keep both together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from pano_med.types import Sample

#: The step over a seam against the steps inside both crops. In dsb2018_tissue the 106 true seams lie at 0.58-1.02,
#: every other pair at 1.65 or more.
SEAM = 1.3
#: How far the stains of two fields may differ (optical density) and still count as one look.
LOOK = 0.06


def same_field(samples: Sequence[Sample], limit: float = SEAM) -> list[tuple[int, int]]:
    """Pairs of images (i < j) that are one image or continue each other at an edge.

    The mean step between the facing edges is compared with the mean step between the last two rows of each image
    (plus half a grey level, for blank edges). Images of different size along an edge are never neighbours.
    """
    edges = [_edges(s.image.numpy().astype(np.float32)) for s in samples]
    small = [s.image.numpy()[:, ::8, ::8].astype(np.float32) for s in samples]
    pairs = []
    for i, a in enumerate(edges):
        for j in range(i + 1, len(edges)):
            b = edges[j]
            twin = small[i].shape == small[j].shape and np.abs(small[i] - small[j]).mean() < 2
            sides = ((a[1], b[0]), (b[1], a[0]), (a[3], b[2]), (b[3], a[2]))
            if twin or min(_seam(x, y) for x, y in sides) < limit:
                pairs.append((i, j))
    return pairs


def look_alikes(samples: Sequence[Sample], limit: float = LOOK) -> np.ndarray:
    """(N,) int: number of the cluster of each sample; crops of one field and fields of one stain share a number.

    Fields come from `same_field`. A field is described by the optical density of its nuclei (median), of the rest
    (median and 10th percentile) and a tenth of the logarithm of the median nucleus area; fields closer than `limit`
    are joined (single linkage, so a chain of neighbours is one cluster).
    """
    pairs = np.array(same_field(samples) or np.empty((0, 2)), int)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(samples),) * 2)
    count, fields = connected_components(graph, directed=False)
    if count < 2:
        return np.zeros(len(samples), int)
    looks = np.array([_look([s for s, f in zip(samples, fields, strict=True) if f == field]) for field in range(count)])
    return fcluster(linkage(looks, "single"), limit, "distance")[fields] - 1


def _edges(image: np.ndarray) -> tuple[np.ndarray, ...]:
    """The two outermost lines of top, bottom, left and right, outermost first: each (2, 3, length)."""
    top, bottom = image[:, :2], image[:, :-3:-1]
    left, right = image[:, :, :2], image[:, :, :-3:-1]
    return top.swapaxes(0, 1), bottom.swapaxes(0, 1), left.transpose(2, 0, 1), right.transpose(2, 0, 1)


def _seam(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return np.inf
    inside = (np.abs(a[0] - a[1]).mean() + np.abs(b[0] - b[1]).mean()) / 2
    return float(np.abs(a[0] - b[0]).mean() / (inside + 0.5))


def _look(field: Sequence[Sample]) -> np.ndarray:
    density = np.concatenate([-np.log10((s.image.numpy().reshape(3, -1).T + 1.0) / 256) for s in field])
    nucleus = np.concatenate([(s.truth.ids > 0).ravel() for s in field])
    areas = [t.area for s in field for t in s.truth.things] or [1]
    rest, inside = density[~nucleus], density[nucleus] if nucleus.any() else density
    return np.r_[np.median(rest, 0), np.percentile(rest, 10, 0), np.median(inside, 0), 0.1 * np.log(np.median(areas))]
