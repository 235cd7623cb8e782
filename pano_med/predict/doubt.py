"""A type is told where both heads say it: else a thing is of unknown type, because the evidence is thin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pano_med.types import Panoptic, Prediction


def doubted(panoptic: Panoptic, prediction: Prediction) -> Panoptic:
    """Things whose type the two heads disagree on become the taxonomy's `unclassed`.

    The instance head names one type for a box, the semantic head one for each pixel. The semantic head's word on a
    thing is the type of the largest mean probability over its pixels, among the types of things. The two learn from the
    same labels but look at different features, so their disagreement is a cheap sign of doubt; the thing itself, its
    mask and its score stay as they are.

    Args:
        panoptic: the merged map of `prediction`, with types.
        prediction: its `semantic_logits` lie on the map's own grid.

    Returns:
        The map; itself where the taxonomy has no `unclassed` or only one type, or where no thing is in doubt.
    """
    taxonomy = panoptic.taxonomy
    if taxonomy.unclassed is None or taxonomy.num_things < 2 or not panoptic.things:
        return panoptic
    shares = prediction.semantic_logits[taxonomy.num_stuff :].float().softmax(0).cpu().numpy()
    at = np.flatnonzero(np.isin(panoptic.ids, [s.id for s in panoptic.things]))
    numbers, rows = np.unique(panoptic.ids.ravel()[at], return_inverse=True)
    sums = np.stack([np.bincount(rows, share.ravel()[at], len(numbers)) for share in shares])
    channel = {category.id: i for i, category in enumerate(taxonomy.things)}
    labels = {s.id: channel.get(s.category_id) for s in panoptic.things}
    unsure = {int(n) for n, share in zip(numbers, sums.T, strict=True)
              if (mine := labels[int(n)]) is not None and share[mine] < share.max()}  # fmt: skip
    unknown = taxonomy.unclassed.id
    return replace(panoptic, segments=tuple(replace(s, category_id=unknown) if s.id in unsure else s
                                            for s in panoptic.segments))  # fmt: skip
