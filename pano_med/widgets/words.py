"""Numbers of segments in words."""

from __future__ import annotations

from collections import Counter

from pano_med.types import Panoptic


def counted(panoptic: Panoptic) -> str:
    """What a map holds, for example "3 x tumour nucleus, 1 x lymphocyte; tissue: tumour"."""
    names = Counter(panoptic.taxonomy[s.category_id].name for s in panoptic.things)
    regions = sorted({panoptic.taxonomy[s.category_id].name for s in panoptic.stuff})
    parts = [", ".join(f"{n} x {name}" for name, n in names.most_common()) or "no things"]
    return "; ".join([*parts, *(["regions: " + ", ".join(regions)] if regions else [])])
