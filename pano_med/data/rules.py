"""The rules of a card: `schema.json`, beside the cards, and what no schema can say."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, ValidationError

from pano_med.data.borders import BORDERS
from pano_med.data.codecs import CODECS, Code
from pano_med.types import HE_CORE

if TYPE_CHECKING:
    from pano_med.data.cards import Card, ClassRow

#: The value of a field that nobody published.
UNKNOWN = "unknown"
VOID = "void"
#: Value of `taxonomy` for sets whose classes are mapped.
MAPPED = "he-core"


def card_folder() -> Path:
    """Where the cards lie: in an installed package, or beside it in a checkout."""
    packed = Path(str(resources.files("pano_med"))) / "data_cards"
    return packed if packed.is_dir() else packed.parents[1] / "data_cards"


@lru_cache
def _schema() -> Draft202012Validator:
    return Draft202012Validator(json.loads((card_folder() / "schema.json").read_text("utf-8")))


def obey(front: Any, path: Path) -> None:
    """Refuse a front matter that breaks the schema; the rule in words is the `description` of the field.

    Raises:
        ValueError: one sentence with the field, the rule and what came.
    """
    errors = sorted(_schema().iter_errors(front), key=lambda e: (len(e.absolute_path), str(e.path)))
    if errors:
        place = ".".join(str(step) for step in errors[0].absolute_path)
        raise ValueError(f"{path}: {_sentence(errors[0], place)}")


def _sentence(error: ValidationError, place: str) -> str:
    if error.validator == "required":
        lost = [name for name in error.validator_value if name not in error.instance]
        return f"field {'.'.join(filter(None, [place, lost[0]]))!r} is missing; `unknown` is a value where nobody said"
    if error.validator == "additionalProperties":
        extra = sorted(set(error.instance) - set(error.schema.get("properties", ())), key=str)
        return f"field {'.'.join(filter(None, [place, str(extra[0])]))!r} is not one that a card has"
    rule = error.schema.get("description") or error.message
    return f"field {place!r} must be {rule}, it is {json.dumps(error.instance, default=str)[:80]}"


def agree(made: Card) -> None:
    """Refuse a card whose fields contradict each other, which a schema cannot see.

    Raises:
        ValueError: one sentence with the field and the rule.
    """
    faults = [
        (
            made.path.stem not in (made.name, "card"),  # card.md lies in the folder of the set itself
            f"field 'name' must be the file's name {made.path.stem!r}, it is {made.name!r}",
        ),
        (
            bool(strangers := [n for n in made.known if n not in made.taxonomy]),
            f"field 'known' must name classes of the taxonomy {made.taxonomy.name!r}, {strangers} are not",
        ),
        (
            bool(twice := _twice(made.rows)),
            f"field 'classes': a code may stand once among things and once among stuff, {twice} do not",
        ),
        (
            made.borders not in ("", *BORDERS),
            f"field 'reading.borders' must be one of {', '.join(BORDERS)}, it is {made.borders!r}",
        ),
    ]
    if made.taxonomy == HE_CORE:
        lost = [row.name for row in made.rows if row.kind != VOID and not _fits(row)]
        rule = "field 'classes': `as` must name a class of he-core of the same kind, or void"
        faults.append((bool(lost), f"{rule}; see {lost[:5]}"))
    for number, layout in enumerate(made.layouts):
        place = f"field 'reading.layouts.{number}"
        rule = f"{place}.codec' must be one of {', '.join(CODECS)}, it is {layout.codec!r}"
        faults.append((layout.codec not in CODECS, rule))
        for key in ("image", "mask", "group_pattern"):
            faults.append((not _pattern(getattr(layout, key) or ""), f"{place}.{key}' must be a regular expression"))
    if fault := next((text for wrong, text in faults if wrong), None):
        raise ValueError(f"{made.path}: {fault}")


def _fits(row: ClassRow) -> bool:
    if row.mapped == VOID:
        return True
    return row.mapped in HE_CORE and HE_CORE[row.mapped].isthing == (row.kind == "thing")


def _twice(rows: tuple[ClassRow, ...]) -> list[Code]:
    twice = []
    for kind in ("thing", "stuff"):
        codes = [code for row in rows if row.kind in (kind, VOID) for code in row.codes]
        twice += [code for code in codes if codes.count(code) > 1]
    return sorted(set(twice), key=str)


def _pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
