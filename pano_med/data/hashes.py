"""Are these the files that the card speaks of: SHA-256 of each, against the list beside the card."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pano_med.data.cards import Card
from pano_med.data.items import Item
from pano_med.data.reading import items
from pano_med.data.rules import UNKNOWN
from pano_med.formats import sha256_of

#: Above this many label files (one for each nucleus), an item's labels share one line of the list.
TOGETHER = 4
#: How many files a sentence names.
NAMED = 3


def digests(it: Card, root: str | Path) -> dict[str, str]:
    """SHA-256 of every file that reading the set touches, by its path below the set's folder, in order of path.

    Where an image has more than four label files, one line stands for all: the path of their folder with /*, and the
    SHA-256 of their SHA-256s (hexadecimal, in order of path).

    Raises:
        FileNotFoundError: a file or the folder is missing.
        OSError: a file cannot be read.
        ValueError: files that do not pair.
    """
    found, _, folder = items(it, root)
    lines: dict[str, str] = {}
    for item in found:
        lines |= {place: digest for place, digest in _lines(item, folder) if place not in lines}
    return dict(sorted(lines.items()))


def _lines(item: Item, folder: Path) -> list[tuple[str, str]]:
    masks = [(path.relative_to(folder).as_posix(), sha256_of(path)) for path in item.masks]
    if len(masks) > TOGETHER:
        joint = hashlib.sha256("".join(digest for _, digest in masks).encode()).hexdigest()
        masks = [(f"{Path(masks[0][0]).parent.as_posix()}/*", joint)]
    return [(item.image.relative_to(folder).as_posix(), sha256_of(item.image)), *masks]


def listed(it: Card) -> dict[str, str] | None:
    """The list beside the card (the format of `sha256sum`), None where the card has none.

    Raises:
        FileNotFoundError: the card names a list that is not there.
        ValueError: a line that is not a hash and a path.
    """
    if it.front["sha256"] == UNKNOWN:
        return None
    path = it.path.parent / it.front["sha256"]
    try:
        rows = [line.split(maxsplit=1) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise FileNotFoundError(f"the list {path} is missing; field 'sha256' of {it.path.name} names it") from None
    for number, row in enumerate(rows, 1):
        if len(row) != 2 or len(row[0]) != 64 or set(row[0]) - set("0123456789abcdef"):
            raise ValueError(f"{path}, line {number}: a line is a SHA-256 (64 hexadecimal digits), spaces and a path")
    return {place: digest for digest, place in rows}


def check_hashes(it: Card, root: str | Path) -> list[str]:
    """One sentence for each thing that is wrong with the files; none where all is well or the card has no list."""
    expected = listed(it)
    return [] if expected is None else compare(it.name, expected, digests(it, root))


def compare(name: str, expected: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """One sentence each for files that changed, that are missing, and that nobody listed."""
    if not set(expected) & set(found):
        return [f"{name}: none of the {len(expected)} listed files is here; they lie in another published layout"]
    changed = [place for place in found if place in expected and found[place] != expected[place]]
    groups = (
        (changed, "differ from the card's list; fetch them again, or find out who changed them"),
        (sorted(set(expected) - set(found)), "are listed and missing; fetch them again"),
        (sorted(set(found) - set(expected)), "are here and not listed; take them out, or list them"),
    )
    return [f"{name}: {len(places)} files {what}: {_some(places)}" for places, what in groups if places]


def _some(places: list[str]) -> str:
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return ", ".join(places[:NAMED]) + more
