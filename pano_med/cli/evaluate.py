"""`pano-med evaluate`: pair the files of two folders, print the table, write the JSON."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pano_med.cli.app import one_line, say
from pano_med.formats import read_coco, replacing
from pano_med.metrics import PQCounts, Report
from pano_med.metrics import evaluate as score
from pano_med.metrics.overlap import alike, check_taxonomies
from pano_med.training.torchscores import torch_scores
from pano_med.types import Panoptic

#: `pano-med segment` ends its PNGs so; other tools name them like the picture.
ENDING = "_panoptic"


def index(folder: Path) -> dict[str, tuple[Path, Path]]:
    """(PNG, JSON) of each map in a folder, by the PNG's name without ending and without `_panoptic`.

    Raises:
        OSError: no such folder, or a JSON that cannot be read.
        ValueError: no map in it, or two maps of one name.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder; give the folder that holds the PNG and JSON files")
    found: dict[str, tuple[Path, Path]] = {}
    for table in sorted(folder.glob("*.json")):
        for png in _pngs(table):
            key = png.stem.removesuffix(ENDING)
            if key in found:
                raise ValueError(
                    f"each map may stand once in a folder, {key} is in {found[key][1].name} and {table.name}"
                )
            found[key] = (png, table)
    if not found:
        raise ValueError(f"{folder} holds no COCO panoptic JSON; `pano-med segment` writes NAME_panoptic.json")
    return found


def _pngs(table: Path) -> Iterator[Path]:
    """The PNGs that a COCO panoptic JSON names; nothing where the file is another kind of JSON."""
    try:
        document = json.loads(table.read_bytes())
    except ValueError:
        yield table.with_suffix(".png")  # broken: `read_coco` will say how, under this name
        return
    for row in document.get("annotations", []) if isinstance(document, dict) else []:
        if isinstance(row, dict) and "segments_info" in row and "file_name" in row:
            yield table.parent / Path(row["file_name"]).name


@dataclass
class Pairs:
    """Reads pairs one by one; a pair that fails costs a line on standard error and is left out."""

    truth: dict[str, tuple[Path, Path]]
    prediction: dict[str, tuple[Path, Path]]
    failed: list[str] = field(default_factory=list)
    plain: bool = False

    def __iter__(self) -> Iterator[tuple[str, Panoptic, Panoptic]]:
        for name in sorted(self.truth):
            try:
                if name not in self.prediction:
                    raise FileNotFoundError("there is no prediction of this name")
                pair = self.read(name)
                check_taxonomies(pair[0].taxonomy, pair[1].taxonomy)
                if pair[0].size != pair[1].size:
                    raise ValueError(f"truth is {pair[0].size}, prediction {pair[1].size} (rows, columns)")
            except (OSError, ValueError) as error:
                self.failed.append(name)
                say(f"{name}: {one_line(error)}")
            else:
                yield name, *pair

    def again(self) -> Iterator[tuple[str, Panoptic, Panoptic]]:
        """The pairs that were read well, once more."""
        for name in sorted(set(self.truth) - set(self.failed)):
            yield name, *self.read(name)

    def read(self, name: str) -> tuple[Panoptic, Panoptic]:
        """Truth and prediction; the types of the truth are left out where the prediction has none."""
        truth, prediction = read_coco(*self.truth[name]), read_coco(*self.prediction[name])
        spoken = truth.taxonomy, prediction.taxonomy
        if not alike(*spoken) and alike(spoken[0].plain(), spoken[1]):
            self.plain, truth = True, truth.plain()
        return truth, prediction


def run(truth: Path, prediction: Path, out: Path | None, known: list[str], groups: Path | None, quiet: bool) -> int:
    """Do it; the exit code is 1 where a pair failed."""
    pairs = Pairs(index(truth), index(prediction))
    strangers = sorted(set(pairs.prediction) - set(pairs.truth))
    if strangers:
        say(f"{len(strangers)} predictions have no truth and are not scored: {', '.join(strangers[:5])}")
    report = score(pairs, groups=_groups(groups), known=_categories(known, pairs))
    others = torch_scores(pairs.again())
    if pairs.plain:
        say("note: the predictions have no types of things, so those of the truth are left out too")
    if not quiet:
        _show(report, others)
    if out:
        rows = [{"name": n, "value": None if math.isnan(v) else v, "definition": d} for n, v, d in others]
        document = {**report.to_dict(), "torchmetrics": rows, "failed": pairs.failed}
        with replacing(out) as file:
            file.write(json.dumps(document, indent=1, ensure_ascii=False).encode())
    if pairs.failed:
        say(f"{len(pairs.failed)} of {len(pairs.truth)} images could not be scored; the figures are of the others")
    return int(bool(pairs.failed))


def _categories(names: list[str], pairs: Pairs) -> set[int] | None:
    if not names:
        return None
    taxonomy = read_coco(*next(iter(pairs.truth.values()))).taxonomy
    for name in pairs.truth:
        with suppress(KeyError, OSError, ValueError):  # of a pair that fails, `Pairs` tells
            taxonomy = pairs.read(name)[0].taxonomy
            break
    return {taxonomy[name].id for name in names}


def _groups(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if not all(len(row) == 2 for row in rows):
        raise ValueError(
            f"{path} must hold name,group on each line, this one does not: {next(r for r in rows if len(r) != 2)}"
        )
    return {name: group for name, group in rows}


def _show(report: Report, others: Iterable[tuple[str, float, str]]) -> None:
    """Two tables; without a terminal they are as wide as they need, so that nothing is cut."""
    console = Console(width=None if sys.stdout.isatty() else 240)
    table = Table(
        "measure", "value", "95 % interval", "what it is", box=None, title=_title(report), title_justify="left"
    )
    for row in report.rows:
        interval = f"{row.interval.low:.3f} to {row.interval.high:.3f}" if row.interval else ""
        table.add_row(row.name, _number(row.value), interval, row.definition)
    for name, value, definition in others:
        table.add_row(name, _number(value), "", definition)
    console.print(table)
    console.print()
    console.print(_classes(report.counts))
    for note in report.notes:
        say(f"note: {note}")


def _title(report: Report) -> str:
    units = "" if report.units == report.images else f" of {report.units} groups"
    return f"{report.images} image{'s' * (report.images != 1)}{units}"


def _classes(counts: PQCounts) -> Table:
    table = Table("class", "PQ", "SQ", "RQ", "found", "wrong", "missed", box=None)
    for row in counts.to_dict()["classes"]:
        if row["tp"] + row["fp"] + row["fn"]:
            figures = [_number(math.nan if row[k] is None else row[k]) for k in ("pq", "sq", "rq")]
            table.add_row(row["name"], *figures, *(str(row[k]) for k in ("tp", "fp", "fn")))
    return table


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
