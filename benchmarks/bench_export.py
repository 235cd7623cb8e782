"""Export of a slide with a million nuclei: QuPath's GeoJSON, CSV and Parquet; time, peak memory, size.

Run `python benchmarks/bench_export.py`. Each export runs in a process of its own, so that its peak of resident memory
is its own, libraries included (Linux). Nuclei are 20-gons strewn over 100,000 x 100,000 px. The other side writes the
same features one Python object at a time, as `pano_med.formats.write_features` does for images; it is measured on a
part and scaled.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pano_med.formats import write_features
from pano_med.slides.export import KINDS, export
from pano_med.slides.rows import nuclei
from pano_med.slides.store import GROUP, MapWriter, Result, write_manifest
from pano_med.types import HE_CORE

NUCLEI, SIDE, CORNERS, PART = 1_000_000, 100_000, 20, 20_000


def write_slide(folder: Path, number: int) -> None:
    """A result folder with this many nuclei; its map is one coarse level, as only tissue is read from it."""
    folder.mkdir(parents=True)
    step = 32
    rows, columns = np.mgrid[: SIDE // step, : SIDE // step]
    waves = np.sin(rows / 90) + np.sin(columns / 70) + 0.3 * np.sin(rows / 9) * np.sin(columns / 11)
    classes = np.select([waves > 0.5, waves > -0.8], [2, 3], 1).astype(np.uint8)
    classes[::3, ::3] = 4  # nuclei, which tissue outlines have to fill
    size = classes.shape
    MapWriter(folder, size, 0.25 * step).write((0, size[0]), (0, size[1]), classes=classes)
    with pq.ParquetWriter(folder / "instances.parquet", _nuclei(1, 1).schema) as writer:
        for first in range(1, number + 1, PART):
            writer.write_table(_nuclei(first, min(PART, number + 1 - first)), row_group_size=GROUP)
    slide = {"name": "bench", "size": [SIDE, SIDE], "mpp": 0.25, "mpp_source": "given", "fingerprint": "0" * 16}
    manifest = {
        "format": 1,
        "slide": {**slide, "bounds": None},
        "model": {"name": "bench", "sha256": "0" * 64, "mpp": 8.0, "taxonomy": HE_CORE.to_dict(), "score": 0.5},
        "grid": {"tile": 1024, "overlap": 128, "origin": [0, 0], "size": list(classes.shape)},
        "scale": float(step),
        "counts": {"neoplastic nucleus": number},
        "areas_um2": {},
        "tiles": {"all": 1, "tissue": 1, "done": 1, "failed": []},
        "too_large": [],
        "state": "done",
    }
    write_manifest(folder, manifest)


def _nuclei(first: int, number: int) -> pa.Table:
    rng = np.random.default_rng(first)
    centre, radius = rng.random((number, 2)) * SIDE, rng.uniform(8, 24, (number, 1))
    turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    x, y = centre[:, 1:] + radius * np.cos(turn), centre[:, :1] + radius * np.sin(turn)
    contour = np.stack([x, y], -1).astype(np.float32).ravel()
    kinds = rng.integers(4, 7, number).astype(np.uint8)
    floats = {
        "score": rng.uniform(0.5, 1, number),
        "area_um2": np.pi * radius[:, 0] ** 2 / 16,
        "row": centre[:, 0],
        "column": centre[:, 1],
        "top": y.min(1),
        "left": x.min(1),
        "bottom": y.max(1),
        "right": x.max(1),
    }
    return pa.table(
        {
            "id": pa.array(np.arange(first, first + number, dtype=np.uint32)),
            "category_id": pa.array(kinds),
            "class": pa.array([HE_CORE[int(k)].name for k in kinds]),
            **{name: pa.array(values.astype(np.float32)) for name, values in floats.items()},
            "contour": pa.ListArray.from_arrays(np.arange(number + 1, dtype=np.int32) * CORNERS * 2, contour),
            "tile": pa.array(np.zeros(number, np.int32)),
        }
    )


def one_by_one(result: Result, path: Path, number: int) -> float:
    """Seconds for `number` nuclei, each a Python object."""

    def rows() -> Any:
        for table in nuclei(result, ["id", "category_id", "score", "area_um2", "contour"]):
            for row in table.to_pylist():
                ring = np.round(row["contour"], 1).reshape(-1, 2).tolist()
                category = result.taxonomy[row["category_id"]]
                yield {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                    "properties": {
                        "objectType": "detection",
                        "classification": {"name": category.name, "color": list(category.color)},
                        "measurements": {k: row[k] for k in ("id", "area_um2", "score")},
                    },
                }

    start, features = time.perf_counter(), rows()
    write_features((next(features) for _ in range(number)), path)
    return time.perf_counter() - start


def measured(folder: Path, kind: str) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and peak MiB of one export in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "--one", str(folder), kind]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(out[-3]), float(out[-2]), int(out[-1]) / 1024


def run(number: int = NUCLEI) -> list[dict[str, Any]]:
    """All rows: what, against, ours_s, theirs_s, ratio, note. About two minutes at full size."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "slide"
        write_slide(folder, number)
        part = min(PART, number)
        slow = one_by_one(Result(folder), Path(scratch) / "slow.geojson", part) * number / part
        for kind in ("qupath", "csv", "parquet"):
            seconds, busy, peak = measured(folder, kind)
            size = (folder / KINDS[kind][0]).stat().st_size / 2**20
            json_too = kind == "qupath"
            rows.append(
                {
                    "what": f"export of {number:,} nuclei to {kind}",
                    "against": f"json, one feature at a time ({part:,}, scaled)" if json_too else "",
                    "ours_s": seconds,
                    "theirs_s": slow if json_too else None,
                    "ratio": slow / seconds if json_too else None,
                    "note": f"{busy:.0f} s of CPU, peak memory {peak:.0f} MiB with all libraries, file {size:.0f} MiB",
                }
            )
    return rows


def _one(folder: Path, kind: str) -> None:
    start, busy = time.perf_counter(), time.process_time()
    export(Result(folder), [kind], folder)
    spent = time.perf_counter() - start, time.process_time() - busy
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(*spent, peak)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(Path(sys.argv[2]), sys.argv[3])
    else:
        for row in run():
            print(row)
