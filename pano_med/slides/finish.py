"""After the last tile: small stuff becomes void, the table is put together, the manifest says what was found."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pano_med.formats import replacing
from pano_med.slides import store
from pano_med.slides.objects import one_each
from pano_med.slides.work import Work
from pano_med.tiles import Grid
from pano_med.types import Taxonomy


def finish(out: Path, manifest: dict[str, Any], grid: Grid, work: Work, writer: store.MapWriter,
           cells: Sequence[int], rules: Any) -> None:
    """Finish a result whose cells all stand in the map. Doing it again after a crash changes nothing.

    Args:
        out: the folder.
        manifest: of the run.
        grid: the tiles.
        work: the folder of the run; gone in the end.
        writer: of the map.
        cells: those that were joined.
        rules: with `stuff_limit_px`; the area limit of stuff counts once, on the whole slide.
    """
    taxonomy = Taxonomy.from_dict(manifest["model"]["taxonomy"])
    mpp = float(manifest["slide"]["mpp"]) * manifest["scale"]
    counts, pixels, large = _table(out, work, cells, taxonomy)
    limit = rules.stuff_limit_px((1, sum(pixels.values())), mpp)
    small = [c for c in taxonomy.stuff if 0 < pixels[c.name] < limit]
    if small:
        _make_void(grid, work, writer, cells, {c.name: c.id for c in small})
    kept = [c for c in taxonomy.stuff if c not in small]
    manifest["counts"] = {c.name: counts[c.name] for c in taxonomy.all if c.isthing}
    manifest["areas_um2"] = {c.name: round(pixels[c.name] * mpp**2, 3) for c in kept}
    manifest["too_large"], manifest["state"] = one_each(large, grid), "done"
    store.write_manifest(out, manifest)
    shutil.rmtree(work.folder)


def _table(out: Path, work: Work, cells: Sequence[int],
           taxonomy: Taxonomy) -> tuple[Counter[str], Counter[str], list[dict[str, Any]]]:
    """Write instances.parquet; things and stuff pixels by class, and the objects that were too large."""
    counts, pixels, large = Counter[str](), Counter[str](), list[dict[str, Any]]()

    def tables() -> Iterator[pa.Table]:
        for index in cells:
            rows, facts = work.cell(index)
            pixels.update(facts["stuff"])
            large.extend(facts["too_large"])
            counts.update(rows["class"].to_pylist())
            yield rows

    schema = store.SCHEMA.with_metadata(store.metadata_of(taxonomy) or None)
    with replacing(out / store.TABLE) as file, pq.ParquetWriter(file, schema, compression="zstd") as parquet:
        for group in _groups(tables()):
            parquet.write_table(group)
    return counts, pixels, large


def _groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, about `store.GROUP` at a time."""
    held, count = [store.SCHEMA.empty_table()], 0
    for table in tables:
        held.append(table)
        count += table.num_rows
        if count >= store.GROUP:
            yield pa.concat_tables(held)
            held, count = [], 0
    if held:
        yield pa.concat_tables(held)


def _make_void(grid: Grid, work: Work, writer: store.MapWriter, cells: Sequence[int], small: dict[str, int]) -> None:
    """Take stuff that covers too little out of the map."""
    for index in cells:
        if small.keys() & work.cell(index)[1]["stuff"].keys():
            place = grid[index].cell_rows, grid[index].cell_columns
            classes = writer.read("classes", *place)
            writer.write(*place, classes=np.where(np.isin(classes, list(small.values())), 0, classes))
