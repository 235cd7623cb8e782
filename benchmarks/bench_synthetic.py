"""How fast the painter is: one 512 x 512 tile against the target of half a second on one core."""

from __future__ import annotations

import time
from typing import Any

from pano_med.synthetic import Knobs, he_tile

TARGET_S = 0.5


def run() -> list[dict[str, Any]]:
    """Median seconds of a 512 x 512 tile, over twelve seeds, for typical and for crowded tissue."""
    rows = []
    for what, knobs in (("typical", Knobs()), ("crowded", Knobs(crowding=3, overlap=1, tissue=1, tumour_fraction=0.6))):
        he_tile(0, (512, 512), knobs)
        wall = []
        for seed in range(12):
            start = time.perf_counter()
            he_tile(seed, (512, 512), knobs)
            wall.append(time.perf_counter() - start)
        ours = sorted(wall)[len(wall) // 2]
        note = f"0.5 um/px, median of {len(wall)} seeds, slowest {max(wall):.2f} s"
        rows.append(
            {
                "what": f"synthetic H&E tile 512 x 512, {what}",
                "against": "target 0.5 s",
                "ours_s": ours,
                "theirs_s": TARGET_S,
                "ratio": TARGET_S / ours,
                "note": note,
            }
        )
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
