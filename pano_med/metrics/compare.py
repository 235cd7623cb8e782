"""Run every convention on a list of maps and lay the numbers side by side."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pano_med.metrics.bootstrap import Interval, bootstrap
from pano_med.metrics.conventions import CONVENTIONS
from pano_med.metrics.quality import PQCounts, total
from pano_med.metrics.record import Record
from pano_med.types import Panoptic


@dataclass(frozen=True)
class Row:
    """One number of a report.

    Attributes:
        name: the convention.
        value: the number, nan where there is nothing to score.
        interval: bootstrap interval, or None where it was not asked for or fewer than two units were given.
        definition: what the number is.
        source: whose rule it is.
    """

    name: str
    value: float
    interval: Interval | None
    definition: str
    source: str


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes:
        rows: one per convention, in the order of `CONVENTIONS`.
        counts: PQ's counts by the COCO rule, summed over images, for the table of classes.
        images: number of images.
        units: images, or groups (patients) where groups were given.
        notes: what a reader should know before trusting a row.
    """

    rows: tuple[Row, ...]
    counts: PQCounts
    images: int
    units: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> float:
        """The number of one convention.

        Raises:
            KeyError: no such row.
        """
        values = {row.name: row.value for row in self.rows}
        if name not in values:
            raise KeyError(f"the report has no row {name!r}; it has {', '.join(values)}")
        return values[name]

    def table(self) -> list[tuple[str, float, str]]:
        """(name, value, definition) of each row."""
        return [(row.name, row.value, row.definition) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers without a value are None."""
        rows = [
            {
                "name": row.name,
                "value": _number(row.value),
                "low": _number(row.interval.low) if row.interval else None,
                "high": _number(row.interval.high) if row.interval else None,
                "definition": row.definition,
                "source": row.source,
            }
            for row in self.rows
        ]
        level = next((row.interval.level for row in self.rows if row.interval), None)
        head = {"images": self.images, "units": self.units, "level": level, "notes": list(self.notes)}
        return {**head, "rows": rows, "pq": self.counts.to_dict()}

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [f"{row.name:{width}}  {_text(row):22}  {row.definition}" for row in self.rows]
        return "\n".join([f"{self.images} images, {self.units} units", *lines, *self.notes])


def evaluate(
    pairs: Iterable[tuple[str, Panoptic, Panoptic]],
    *,
    groups: Mapping[str, str] | None = None,
    tissues: Mapping[str, str] | None = None,
    known: Collection[int] | None = None,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Report:
    """Score predictions by every convention of the table.

    Maps are looked at one after the other and let go, so a generator that reads files needs memory for one pair.

    Args:
        pairs: (name, truth, prediction) of each image.
        groups: patient or case of each name; intervals then draw whole patients. None: images.
        tissues: organ of each name, for PanNuke's averages. None: all of one organ.
        known: ids of the categories that the truth draws exhaustively; PQ's rows then count these alone, and what is
            unlabelled is background to them. None: the COCO reading, the truth's void is unknown.
        samples: bootstrap draws, 0 for no intervals.
        level: share inside an interval.
        seed: of the draws.

    Raises:
        ValueError: no pairs, or a pair differs in size or taxonomy (the message names it).
        KeyError: an image has no group or tissue although the table is given.
    """
    names, kept, counts, untyped = [], [], [], 0
    for name, truth, prediction in pairs:
        tissue = _of(tissues, name, "tissue") if tissues is not None else ""
        record = Record.of(truth, prediction, name=name, tissue=tissue, known=known)
        names.append(name)
        kept.append({key: row.measure(record) for key, row in CONVENTIONS.items()})
        counts.append(record.coco)
        untyped += sum(truth.taxonomy[s.category_id] == truth.taxonomy.unclassed for s in truth.segments)
    if not names:
        raise ValueError("an evaluation needs at least one pair of truth and prediction, got none")
    units = names if groups is None else [_of(groups, name, "group") for name in names]
    number = len(names) if groups is None else len(set(units))
    draws = {"samples": samples, "level": level, "seed": seed} if samples and number > 1 else None
    rows = tuple(_row(key, [k[key] for k in kept], None if groups is None else units, draws) for key in CONVENTIONS)
    return Report(rows, total(counts), len(names), number, _notes(untyped, counts[0]))


def _row(name: str, measured: list[Any], groups: list[str] | None, draws: Mapping[str, Any] | None) -> Row:
    row = CONVENTIONS[name]
    interval = None if draws is None else bootstrap(measured, row.pool, groups=groups, **draws)
    return Row(name, interval.value if interval else row.pool(measured), interval, row.definition, row.source)


def _notes(untyped: int, counts: PQCounts) -> tuple[str, ...]:
    if not untyped or counts.taxonomy.unclassed is None:
        return ()
    return (
        f"{untyped} true objects are {counts.taxonomy.unclassed.name!r}, of no known type: rows by class count them "
        "as a class of their own, so look at the rows without types (PQ things untyped, bPQ, AJI, Dice, F1 detection).",
    )


def _of(table: Mapping[str, str], name: str, what: str) -> str:
    if name not in table:
        raise KeyError(f"each image needs a {what}, {name!r} has none in the table")
    return table[name]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _text(row: Row) -> str:
    if math.isnan(row.value):
        return "-"
    return str(row.interval) if row.interval else f"{row.value:.3f}"
