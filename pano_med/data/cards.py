"""A data card: what a set is and how it is read, in one Markdown file for people and programs.

The YAML front matter is checked by `rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from pano_med.data.codecs import Code, Codes
from pano_med.data.items import Layout
from pano_med.data.rules import MAPPED, UNKNOWN, VOID, agree, card_folder, obey
from pano_med.types import HE_CORE, OKABE_ITO, Category, Taxonomy

__all__ = ["UNKNOWN", "VOID", "Card", "ClassRow", "card", "card_names", "read_card"]


@dataclass(frozen=True)
class ClassRow:
    """A row of the label table.

    Attributes:
        codes: how the class stands in the files; none for a class that no file holds.
        kind: "thing", "stuff" or "void" (codes that say nothing is known there).
        name: published name.
        id: category id in the set's own taxonomy; 0 for void.
        mapped: name in HE_CORE, "void" where it has no place there, "" where the set is not mapped.
        exhaustive: True where every one of the class was drawn.
    """

    codes: tuple[Code, ...]
    kind: str
    name: str
    id: int = 0
    mapped: str = ""
    exhaustive: bool = True


@dataclass(frozen=True)
class Card:
    """A data set.

    Attributes:
        path: the card's file.
        front: the whole front matter; the fields that reading needs are attributes of their own.
        prose: what stands below it.
        name: name of the set and of the card's file.
        rows: its label table.
        own: the set's own taxonomy, from the table.
        taxonomy: what samples come in by default: HE_CORE or `own`.
        known: categories of `taxonomy` that were labelled exhaustively.
        layouts: where files may lie; the first that finds an image counts.
        folder: its folder below the data root.
        pixel_size_um: side of a pixel in micrometres by the start of the group's name ("" fits all).
        windows: parts of an image that become samples of their own: name and (top, left, bottom, right) in pixels.
            They count for images of exactly the size that they cover; others stay whole.
        borders: rule of `borders` that finds painted pixels, or "".
        glass: True where the glass rule adds `background` to the regions.
        only_listed: True where the public set holds other images too: only those of the written split are read.
        training: False for a set that must never be trained on.
        parts: "train", "validation" or "test" for each value of the group `split`, where the split is published.
    """

    path: Path
    front: Mapping[str, Any]
    prose: str
    name: str
    rows: tuple[ClassRow, ...]
    own: Taxonomy
    taxonomy: Taxonomy
    known: tuple[str, ...]
    layouts: tuple[Layout, ...]
    folder: str
    pixel_size_um: Mapping[str, float] = field(default_factory=dict)
    windows: Mapping[str, tuple[int, int, int, int]] = field(default_factory=dict)
    borders: str = ""
    glass: bool = False
    only_listed: bool = False
    training: bool = True
    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The heading of the prose."""
        return self.prose.partition("\n")[0].lstrip("# ").strip()

    @property
    def counts(self) -> Mapping[str, int | str]:
        """What the card says of patients, slides, tiles and instances; "unknown" where nobody said."""
        return dict(self.front["counts"])

    def codes(self, taxonomy: Taxonomy) -> Codes:
        """The label table in the ids of a taxonomy: HE_CORE, or the set's own."""
        tables: dict[str, dict[Code, int]] = {"thing": {}, "stuff": {}, VOID: {}}
        for row in self.rows:
            for code in row.codes:
                tables[row.kind][code] = row.id if taxonomy == self.own else _mapped(row)
        return Codes(tables["thing"], tables["stuff"], frozenset(tables[VOID]))

    def known_ids(self, taxonomy: Taxonomy) -> frozenset[int]:
        """Ids of the categories that were labelled exhaustively."""
        if taxonomy == self.taxonomy:
            return frozenset(taxonomy[name].id for name in self.known)
        return frozenset(row.id for row in self.rows if row.kind != VOID and row.exhaustive)

    def pixel_size(self, group: str) -> float | None:
        """Side of a pixel in micrometres for a group, None where nobody said."""
        return next((um for start, um in self.pixel_size_um.items() if group.startswith(start)), None)


def read_card(path: str | Path) -> Card:
    """Read and check a card.

    Args:
        path: of the card, or of the folder that it lies in as `card.md`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no front matter, not YAML, a field that breaks its rule, or fields that contradict each other.
    """
    path = Path(path)
    path = path / "card.md" if path.is_dir() else path
    try:
        parts = re.split(r"^---\s*$", path.read_text("utf-8"), maxsplit=2, flags=re.MULTILINE)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no card {path}; check the name") from None
    if len(parts) != 3 or parts[0].strip() or not parts[2].lstrip().startswith("# "):
        raise ValueError(f"{path}: a card is YAML between two lines of ---, then a heading (# ...) and prose")
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: the front matter is not YAML: {' '.join(str(error).split())}") from error
    obey(front, path)
    return _card(path, front, parts[2].strip())


@lru_cache
def card_names() -> tuple[str, ...]:
    """The sets that this package has a card for."""
    return tuple(sorted(path.stem for path in card_folder().glob("*.md")))


@lru_cache
def card(name: str) -> Card:
    """The card of a set.

    Raises:
        KeyError: there is none.
    """
    if name not in card_names():
        raise KeyError(f"no card for the data set {name!r}; there are {', '.join(card_names())}")
    return read_card(card_folder() / f"{name}.md")


def _card(path: Path, front: Mapping[str, Any], prose: str) -> Card:
    reading, name = front["reading"], front["name"]
    rows = tuple(_row(row) for row in front["classes"])
    layouts = tuple(Layout(**row) for row in reading["layouts"])
    mapped = front["taxonomy"] == MAPPED
    try:
        own = _own(name if mapped else front["taxonomy"], front["classes"])
    except ValueError as error:
        raise ValueError(f"{path}: field 'classes': {error}") from error
    size = front["pixel_size_um"]
    made = Card(
        path=path,
        front=front,
        prose=prose,
        name=name,
        rows=rows,
        own=own,
        taxonomy=HE_CORE if mapped else own,
        known=tuple(front["known"]),
        layouts=layouts,
        folder=reading["folder"],
        pixel_size_um={} if size == UNKNOWN else dict(size) if isinstance(size, dict) else {"": float(size)},
        windows={key: tuple(box) for key, box in reading.get("windows", {}).items()},
        borders=reading.get("borders", ""),
        glass=reading.get("glass", False),
        only_listed=reading.get("only_listed", False),
        training=reading.get("training", True),
        parts=front["split"].get("parts", {}),
    )
    agree(made)
    return made


def _row(row: Mapping[str, Any]) -> ClassRow:
    codes = row.get("code", [])
    return ClassRow(
        codes=tuple(codes) if isinstance(codes, list) else (codes,),
        kind=row["kind"],
        name=row.get("name", VOID),
        id=row.get("id", 0),
        mapped=row.get("as", ""),
        exhaustive=row.get("exhaustive", True),
    )


def _own(name: str, table: list[Mapping[str, Any]]) -> Taxonomy:
    colors = cycle(OKABE_ITO.values())
    rows = [
        (Category(row["id"], row["name"], row["kind"] == "thing", tuple(row.get("color") or next(colors))), row)
        for row in table
        if row["kind"] != VOID
    ]
    unclassed = next((category for category, row in rows if row.get("unclassed")), None)
    return Taxonomy(name, tuple(category for category, _ in rows if category != unclassed), unclassed)


def _mapped(row: ClassRow) -> int:
    return HE_CORE[row.mapped].id if row.mapped in HE_CORE else Taxonomy.VOID
