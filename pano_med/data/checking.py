"""Does a folder hold what its card says? Counts, hashes, pixel sizes, class histograms, leaks, names of patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from pano_med.data.cards import UNKNOWN, Card
from pano_med.data.duplicates import near_duplicates, thumbnail
from pano_med.data.hashes import check_hashes
from pano_med.data.identifiers import identifiers
from pano_med.data.items import Item
from pano_med.data.reading import items, samples_of
from pano_med.data.splits import part_of, written_of
from pano_med.formats.resolution import from_pillow, from_tiff
from pano_med.types import Sample

#: A pixel size that differs more than this share from the file's own is a fault.
SIZE_TOLERANCE = 0.05
#: At most so many sentences of one kind are told; the rest is counted.
MOST = 10


@dataclass
class Report:
    """What `check` found.

    Attributes:
        name: of the set.
        counts: measured, by the names of the card's `counts`.
        classes: measured objects and pixels of each class name of the set's own table.
        faults: sentences; the folder is not what the card says, or must not be used like this.
        notes: sentences that a person should know.
    """

    name: str
    counts: dict[str, int] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """No fault."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "ok": self.ok}


@dataclass
class _Seen:
    """What is kept of a sample after its pixels are gone."""

    name: str
    group: str
    part: str | None
    small: np.ndarray
    things: int


def check(
    card: Card, root: str | Path, *, hashes: bool = True, tell: Callable[[int, int], None] = lambda done, all_: None
) -> Report:
    """Compare a folder with its card. One image at a time is in memory.

    Args:
        card: the set's card.
        root: the folder that holds the set's folder, or that folder.
        hashes: also recompute the sha256 of every file.
        tell: told (images done, images in all) now and then.

    Raises:
        FileNotFoundError: the folder is not there, or holds no image of the set.
        ValueError: images and labels that do not pair up.
    """
    found, layout, _ = items(card, root)
    report, seen = Report(card.name), []
    pixels: Counter[int] = Counter()
    things: Counter[int] = Counter()
    broken, sizes, silent = [], [], []
    for number, item in enumerate(found, 1):
        group = written_of(card).group(item.name) or layout.group_of(item)
        try:
            for sample in samples_of(card, layout, item, group, False, card.own):
                seen.append(_look(card, item, sample, pixels, things))
        except (OSError, ValueError) as error:
            broken.append(f"{item.name} cannot be read: {error}")
        _size(item, layout.pixel_size_um or card.pixel_size(group), sizes, silent)
        tell(number, len(found))
    report.faults += _few(broken) + _few(sizes)
    report.notes += _few(silent)
    _count(card, found, seen, pixels, things, report)
    _compare(card, report)
    _leaks(seen, report, written_of(card).same_slide)
    if card.front["sha256"] == UNKNOWN:
        report.notes.append("the card lists no sha256, so nobody can tell whether these are the published files")
    elif hashes:
        report.faults += _few(check_hashes(card, root))
    report.faults += _few([line for path in _files(found) for line in identifiers(path)])
    return report


def _look(card: Card, item: Item, sample: Sample, pixels: Counter[int], things: Counter[int]) -> _Seen:
    assert sample.truth is not None
    for segment in sample.truth.segments:
        pixels[segment.category_id] += segment.area
    objects = [s.category_id for s in sample.truth.things if not s.iscrowd]
    things.update(objects)
    image = sample.image.numpy().transpose(1, 2, 0)
    part = part_of(card, sample.name, sample.group, item.groups)
    return _Seen(sample.name, sample.group, part, thumbnail(np.ascontiguousarray(image)), len(objects))


def _size(item: Item, written: float | None, faults: list[str], notes: list[str]) -> None:
    """Compare the pixel size in the image's header with the card's."""
    said = _header_um(item.image)
    if said is None:
        return
    if written is None:
        notes.append(f"{item.image.name} says {said:.4g} um per pixel, the card says nothing")
    elif abs(said - written) > SIZE_TOLERANCE * written:
        faults.append(f"{item.image.name} says {said:.4g} um per pixel, the card {written:.4g}")


def _header_um(path: Path) -> float | None:
    try:
        if path.suffix.lower() in (".tif", ".tiff", ".svs"):
            with tifffile.TiffFile(path) as tiff:
                return from_tiff(tiff, [])
        if path.suffix.lower() in (".png", ".bmp"):  # the dpi of a JPEG is a printer's
            with Image.open(path) as image:
                return from_pillow(image.info)
    except (OSError, SyntaxError, tifffile.TiffFileError):
        return None  # told already, as an image that cannot be read
    return None


def _count(
    card: Card, found: list[Item], seen: list[_Seen], pixels: Counter[int], things: Counter[int], report: Report
) -> None:
    held = [s for s in seen if s.part == "validation"]
    groups = len({s.group for s in seen})
    report.counts = {
        "images": len({(item.image, item.index) for item in found}),
        "tiles": len(seen),
        "instances": sum(s.things for s in seen),
        "groups": groups,
        "validation_tiles": len(held),
        "validation_instances": sum(s.things for s in held),
    }
    if card.front["split"].get("by") == "patient":
        report.counts["patients"] = groups
    for category in card.own.all:
        report.classes[category.name] = {"objects": things[category.id], "pixels": pixels[category.id]}


def _compare(card: Card, report: Report) -> None:
    for what, number in report.counts.items():
        said = card.counts.get(what, UNKNOWN)
        if said not in (UNKNOWN, number):
            report.faults.append(f"the card counts {said} {what.replace('_', ' ')}, here are {number}")
    for row in card.front["classes"]:
        said = row.get("count", UNKNOWN)
        if row["kind"] == "thing" and said != UNKNOWN and said != report.classes[row["name"]]["objects"]:
            here = report.classes[row["name"]]["objects"]
            report.faults.append(f"the card counts {said} objects of class {row['name']!r}, here are {here}")
    unseen = [name for name, found in report.classes.items() if not found["pixels"]]
    if unseen:
        report.notes.append(f"no image has {', '.join(unseen[:MOST])}" + (", ..." if len(unseen) > MOST else ""))


def _leaks(seen: list[_Seen], report: Report, same_slide: str) -> None:
    """A group in two parts, and pictures of one part that another part shows too."""
    where: dict[str, set[str]] = {}
    for s in seen:
        if s.part:
            where.setdefault(s.group, set()).add(s.part)
    shared = [f"group {g!r} lies in {' and '.join(sorted(parts))}" for g, parts in where.items() if len(parts) > 1]
    if same_slide:
        report.notes += _few([f"{line}, as the split says: {same_slide}" for line in shared])
    else:
        report.faults += _few([f"{line}: scores on it mean nothing" for line in shared])
    alike = []
    for first, second in combinations(sorted({s.part for s in seen if s.part}), 2):
        a, b = ([s for s in seen if s.part == part] for part in (first, second))
        for x, y, value in near_duplicates([s.small for s in a], [s.small for s in b]):
            pair = f"{a[x].name} ({first}) and {b[y].name} ({second})"
            alike.append(f"{pair} are nearly the same picture (correlation {value:.3f}); keep one")
    report.faults += _few(alike)


def _files(found: list[Item]) -> Iterator[Path]:
    """Each image and mask once."""
    yield from dict.fromkeys(path for item in found for path in (item.image, *item.masks))


def _few(lines: list[str]) -> list[str]:
    return lines[:MOST] + ([f"... and {len(lines) - MOST} more like this"] if len(lines) > MOST else [])
