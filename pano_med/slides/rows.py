"""The nuclei of a result in batches, those of a region only, with the columns of other tables beside their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from pano_med.slides.regions import Region
from pano_med.slides.store import Result

#: Nuclei in memory at a time.
BATCH = 20_000


def nuclei(
    result: Result, columns: Sequence[str], region: Region | None = None, beside: pa.Table | None = None
) -> Iterator[pa.Table]:
    """Tables of at most `BATCH` nuclei, in the order of ids; never an empty one.

    Args:
        result: an opened folder.
        columns: of its `instances.parquet`.
        region: only nuclei whose centre lies in it; None: all.
        beside: a table sorted by `id` that holds every nucleus; its other columns are appended.
    """
    needed = list(dict.fromkeys([*columns, "id", "row", "column"]))
    order = None if beside is None else beside["id"].to_numpy()
    for batch in result.batches(needed, BATCH):
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        if region is not None:
            table = table.filter(pa.array(region.holds(table["row"].to_numpy(), table["column"].to_numpy())))
        if not table.num_rows:
            continue
        out = table.select(list(columns))
        if beside is not None and order is not None:
            found = beside.take(pa.array(np.searchsorted(order, table["id"].to_numpy())))
            for name in (n for n in beside.column_names if n not in out.column_names):
                out = out.append_column(name, found[name])
        yield out.combine_chunks()
