"""Seams of the real network: PQ in the band along seams against the inside (columns: PQ in place of seconds)"""

import os
import tempfile
from pathlib import Path

from pano_med.lessons.a_slide import write_slide
from pano_med.predict import load_segmenter
from pano_med.slides import open_slide
from pano_med.slides.run import segment_slide
from pano_med.slides.seams import certify
from pano_med.synthetic import Knobs, he_tile

REAL = "wsi_cmu1_small_region/CMU-1-Small-Region.svs"


def run(side: int = 4096, places: int = 24, **grid: int) -> list[dict]:
    """Rows for `benchmarks/run.py`; the real slide needs PANO_MED_DATA. `grid`: tile and overlap, to try others."""
    segmenter = load_segmenter()
    rows = []
    with tempfile.TemporaryDirectory() as home:
        paths = {"synthetic slide": synthetic(Path(home) / "synthetic.tif", side)}
        if os.environ.get("PANO_MED_DATA"):
            paths["real slide (CMU-1)"] = Path(os.environ["PANO_MED_DATA"]) / REAL
        for name, path in paths.items():
            with open_slide(path) as slide:
                result = segment_slide(slide, segmenter, Path(home) / path.stem, **grid)
                rows.append(row(name, result.manifest["grid"], certify(result, slide, segmenter, places)))
    return rows


def row(name: str, grid: dict, c) -> dict:
    """One certificate as a row; the target is a difference of at most 0.01, no duplicate, no more straight edges."""
    note = (f"{c.verdict}; inside less band {c.difference}; {c.duplicates} duplicates; straight edges "
            f"{c.straight_band:.2%} along seams, {c.straight_inside:.2%} inside; density {c.density_ratio}; "
            f"{c.objects[0]} and {c.objects[1]} nuclei at {c.places} places; tile {grid['tile']}, overlap "
            f"{grid['overlap']}")  # fmt: skip
    return {"what": f"nuclei PQ along seams, {name}", "against": "inside of the same tiles, target -0.01",
            "ours_s": c.band_pq, "theirs_s": c.interior_pq, "ratio": c.band_pq / c.interior_pq, "note": note}


def synthetic(path: Path, side: int) -> Path:
    """A painted slide of `side` x `side` px at 0.25 um, crowded."""
    return write_slide(path, he_tile(3, (side, side), Knobs(crowding=1.5), pixel_size_um=0.25).image, 0.25)
