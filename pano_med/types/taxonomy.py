"""Category and Taxonomy: the one table of classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Okabe & Ito (2008): eight colours that people with any common colour blindness tell apart.
OKABE_ITO: dict[str, tuple[int, int, int]] = {
    "orange": (230, 159, 0),
    "sky": (86, 180, 233),
    "green": (0, 158, 115),
    "yellow": (240, 228, 66),
    "blue": (0, 114, 178),
    "vermillion": (213, 94, 0),
    "purple": (204, 121, 167),
    "black": (0, 0, 0),
}


#: What is said wherever types are shown that nobody has checked on other patients.
DEMONSTRATION = "Types of nuclei are a demonstration: nobody has checked them on other patients."


@dataclass(frozen=True)
class Category:
    """One class of a taxonomy.

    Attributes:
        id: positive number that stands for the class in files and arrays.
        name: what people read.
        isthing: True for things (countable objects), False for stuff (regions).
        color: RGB, 0..255.
    """

    id: int
    name: str
    isthing: bool
    color: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.id < 1:
            raise ValueError(f"a category id must be at least 1 (0 is void), got {self.id} for {self.name!r}")
        if not self.name:
            raise ValueError(f"a category needs a name, category {self.id} has none")
        if len(self.color) != 3 or not all(0 <= c <= 255 for c in self.color):
            raise ValueError(f"a colour is three numbers from 0 to 255, got {self.color} for {self.name!r}")
        object.__setattr__(self, "color", tuple(int(c) for c in self.color))


@dataclass(frozen=True)
class Taxonomy:
    """The one table of classes; no class number is written anywhere else.

    A network that speaks this taxonomy has one semantic channel per category in the order of `channels` (all stuff,
    then all things) and one box label per thing, 1..`num_things` in the order of `things` (0 is the background of
    the box head).

    Attributes:
        name: name of the table, e.g. "he-core".
        categories: stuff and things; ids and names are unique.
        unclassed: the thing class of an object whose type nobody annotated ("nucleus"). It is legal in truths and
            in files but has no channel in a network. None where the taxonomy has no such thing.
        note: one sentence that everybody who reads these classes must know, such as `DEMONSTRATION`; every file and
            picture of a map carries it. Not a part of what makes two tables equal.

    Raises:
        ValueError: an id or a name twice, or an `unclassed` that is stuff.
    """

    name: str
    categories: tuple[Category, ...]
    unclassed: Category | None = None
    note: str = field(default="", compare=False)

    #: The id of pixels that belong to no segment, in every taxonomy and every file.
    VOID = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "categories", tuple(self.categories))
        for what in ("id", "name"):
            values = [getattr(c, what) for c in self.all]
            twice = sorted({v for v in values if values.count(v) > 1})
            if twice:
                raise ValueError(f"each category {what} may stand once in a taxonomy, {self.name!r} repeats {twice}")
        if self.unclassed is not None and not self.unclassed.isthing:
            raise ValueError(f"`unclassed` must be a thing, {self.unclassed.name!r} of {self.name!r} is stuff")

    @property
    def all(self) -> tuple[Category, ...]:
        """Every category a segment may have: `categories`, then `unclassed` where there is one."""
        return self.categories if self.unclassed is None else (*self.categories, self.unclassed)

    @property
    def stuff(self) -> tuple[Category, ...]:
        """The stuff categories in table order."""
        return tuple(c for c in self.categories if not c.isthing)

    @property
    def things(self) -> tuple[Category, ...]:
        """The thing categories that a network tells apart, in table order (without `unclassed`)."""
        return tuple(c for c in self.categories if c.isthing)

    @property
    def channels(self) -> tuple[Category, ...]:
        """The semantic channels of a network: stuff first, then things."""
        return self.stuff + self.things

    @property
    def num_stuff(self) -> int:
        """Number of stuff categories."""
        return len(self.stuff)

    @property
    def num_things(self) -> int:
        """Number of thing categories that a network tells apart."""
        return len(self.things)

    def plain(self) -> Taxonomy:
        """The same stuff and one thing without types: `unclassed`, else "object"; itself where it has but one thing."""
        things = [c for c in self.all if c.isthing]
        if len(things) < 2:
            return self
        one = self.unclassed or Category(things[0].id, "object", True, things[0].color)
        return Taxonomy(f"{self.name}-plain", (*self.stuff, one))

    def __getitem__(self, key: int | str) -> Category:
        """The category with this id or name.

        Raises:
            KeyError: no such category; the message lists those there are.
        """
        for c in self.all:
            if key in (c.id, c.name):
                return c
        known = ", ".join(f"{c.id} {c.name}" for c in self.all)
        raise KeyError(f"taxonomy {self.name!r} has no category {key!r}; it has {known}")

    def __contains__(self, key: object) -> bool:
        return any(key in (c.id, c.name) for c in self.all)

    def channel(self, key: int | str) -> int:
        """Semantic channel of a category (0-based).

        Raises:
            KeyError: unknown category, or `unclassed`, which has no channel.
        """
        category = self[key]
        if category == self.unclassed:
            raise KeyError(f"{category.name!r} of taxonomy {self.name!r} has no channel: it means 'type unknown'")
        return self.channels.index(category)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form; `from_dict` gives the same taxonomy back."""
        rows = [{"id": c.id, "name": c.name, "isthing": c.isthing, "color": list(c.color)} for c in self.all]
        unclassed = None if self.unclassed is None else self.unclassed.id
        note = {"note": self.note} if self.note else {}
        return {"name": self.name, "categories": rows, "unclassed": unclassed, **note}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Taxonomy:
        """Inverse of `to_dict`.

        Raises:
            ValueError: a field is missing or broken.
        """
        try:
            rows = [
                Category(int(r["id"]), r["name"], bool(r["isthing"]), tuple(r["color"])) for r in table["categories"]
            ]
            unclassed = table.get("unclassed")
            own = tuple(c for c in rows if c.id != unclassed)
            return cls(table["name"], own, next((c for c in rows if c.id == unclassed), None), table.get("note", ""))
        except (KeyError, TypeError) as error:
            raise ValueError(f"a taxonomy needs name and categories (id, name, isthing, color): {error!r}") from error


#: The taxonomy of the weights that we ship: tissue as stuff, nuclei as things.
HE_CORE = Taxonomy(
    "he-core",
    (
        Category(1, "background", False, OKABE_ITO["black"]),
        Category(2, "tumour", False, OKABE_ITO["orange"]),
        Category(3, "other tissue", False, OKABE_ITO["sky"]),
        Category(4, "neoplastic nucleus", True, OKABE_ITO["vermillion"]),
        Category(5, "inflammatory nucleus", True, OKABE_ITO["blue"]),
        Category(6, "connective nucleus", True, OKABE_ITO["green"]),
    ),
    unclassed=Category(7, "nucleus", True, OKABE_ITO["yellow"]),
)
