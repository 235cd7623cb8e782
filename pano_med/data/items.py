"""Which files belong together: the images of a set, their labels, and what the paths say of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pano_med.data.files import count

#: Named groups of a mask's path that do not take part in the pairing.
PART, ANNOTATOR = "part", "annotator"


@dataclass(frozen=True)
class Item:
    """One image of a set with its label files.

    Attributes:
        name: unique in its set.
        image: file of the image; with `index`, a stack of images.
        masks: its label files in order of path.
        groups: what the named groups of the paths and the columns of the table say.
        folder: the set's folder.
        index: place in the stack, or None.
    """

    name: str
    image: Path
    masks: tuple[Path, ...]
    groups: Mapping[str, str]
    folder: Path
    index: int | None = None


@dataclass(frozen=True)
class Layout:
    """How the files of a set lie below its folder; paths are regular expressions whose named groups name an item.

    Attributes:
        image: path of an image.
        codec: name of the function in `codecs` that reads the labels.
        mask: path of a label file. It belongs to the image with the same values of the groups that both have; `part`
            tells several files of one image apart, `annotator` makes one item for each annotator. None where the
            codec finds the labels itself.
        parts: the values of `part` that every image must have; none if any will do.
        options: keyword arguments of the codec.
        item: name of an item, a template over the groups; "" stands for {stem}, or {stem}_{index} in a stack.
        group: patient or case, a template over the groups; "" stands for the item's own name.
        group_pattern: regular expression that is searched in the group; its first bracket is kept.
        swapped: True where red and blue are exchanged in the image files (seen as blue red-cells, brown nuclei).
        resize_image: True where image and labels differ in size by design: the image is resized to its labels.
        pixel_size_um: side of a pixel where this layout differs from the rest of the card.
        partial: True where this layout never holds all images of the written split.
        stack: True where one file (.npy or .parquet) holds many images, the first axis counting them.
        table: a CSV that says more of the items: `path` (regular expression), `columns` (group: column), and either
            `key` (the column that holds the item's name or the value of the template `item`) or rows in stack order.
    """

    image: str
    codec: str
    mask: str | None = None
    parts: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    item: str = ""
    group: str = ""
    group_pattern: str = ""
    swapped: bool = False
    resize_image: bool = False
    pixel_size_um: float | None = None
    partial: bool = False
    stack: bool = False
    table: Mapping[str, Any] | None = None

    def group_of(self, item: Item) -> str:
        """Patient or case of an item.

        Raises:
            ValueError: `group_pattern` is nowhere in its group.
        """
        text = self.group.format(**item.groups) if self.group else item.name.partition("@")[0]
        hit = re.search(self.group_pattern, text)
        if hit is None:
            raise ValueError(f"the pattern {self.group_pattern!r} must find the patient in {text!r} of {item.name}")
        return hit[1] if self.group_pattern else text


def find_items(folder: Path, layout: Layout, what: str) -> list[Item]:
    """The items of a layout in order of name; none if no image matches.

    Args:
        folder: where the set lies.
        layout: its paths.
        what: name of the set, for messages.

    Raises:
        FileNotFoundError: an image without labels, or a table that is not there.
        ValueError: labels without image, two images of one item, a stack whose files differ in length, an image that
            the table lacks.
    """
    images, masks = _matches(folder, layout)
    items: dict[str, Item] = {}
    for item in _with_table(list(_stacked(_paired(folder, images, masks, layout, what), layout)), folder, layout, what):
        if item.name in items:
            first = items[item.name].image.name
            raise ValueError(f"{what}: {first} and {item.image.name} are images of one item, keep one")
        items[item.name] = item
    return [items[name] for name in sorted(items)]


Found = list[tuple[Path, dict[str, str]]]
Key = tuple[object, ...]


def _matches(folder: Path, layout: Layout) -> tuple[Found, Found]:
    image, mask = re.compile(layout.image), re.compile(layout.mask or r"(?!)")
    images: Found = []
    masks: Found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if hit := image.fullmatch(relative):
            images.append((path, _said(hit)))
        elif hit := mask.fullmatch(relative):
            masks.append((path, _said(hit)))
    return images, masks


def _said(hit: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in hit.groupdict().items() if value is not None}


def _paired(folder: Path, images: Found, masks: Found, layout: Layout, what: str) -> Iterator[Item]:
    shared = [n for n in re.compile(layout.image).groupindex if n in re.compile(layout.mask or "").groupindex]
    by_key: dict[Key, dict[str, list[tuple[Path, dict[str, str]]]]] = {}
    for path, said in masks:
        owner = by_key.setdefault(tuple(said.get(n) for n in shared), {})
        owner.setdefault(said.get(ANNOTATOR, ""), []).append((path, said))
    first: dict[Key, Path] = {}
    for path, said in images:
        if (twin := first.setdefault(tuple(said.items()), path)) != path:
            raise ValueError(f"{what}: {twin.name} and {path.name} are images of one item, keep one")
    used = set()
    for path, said in images:
        key = tuple(said.get(n) for n in shared)
        used.add(key)
        if layout.mask and key not in by_key:
            raise FileNotFoundError(f"{what}: image {path} has no mask; add it or remove the image")
        for annotator, own in by_key.get(key, {"": []}).items():
            if lost := sorted(set(layout.parts) - {more.get(PART) for _, more in own}):
                raise FileNotFoundError(f"{what}: image {path} lacks its labels {lost}; add them or remove the image")
            groups = {name: value for _, more in own for name, value in more.items() if name != PART} | said
            suffix = f"@{annotator}" if annotator else ""
            name = path.stem if layout.stack else _fill(layout.item or "{stem}", groups, what)
            yield Item(name + suffix, path, tuple(p for p, _ in own), groups, folder)
    if images:
        for key, owners in by_key.items():
            if key not in used:
                lost = next(iter(owners.values()))[0][0]
                raise ValueError(f"{what}: mask {lost} has no image; add it or remove the mask")


def _stacked(items: Iterator[Item], layout: Layout) -> Iterator[Item]:
    for item in items:
        if not layout.stack:
            yield item
            continue
        lengths = {path: count(path) for path in (item.image, *item.masks)}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{path.name} {n}" for path, n in lengths.items())
            raise ValueError(f"the files of a stack must hold the same number of images, {item.folder} has {said}")
        for index in range(lengths[item.image]):
            groups = {"stem": item.image.stem, **item.groups, "index": f"{index:05d}"}
            name = (layout.item or "{stem}_{index}").format(**groups) if not layout.table else ""
            yield replace(item, name=name, groups=groups, index=index)


def _with_table(items: list[Item], folder: Path, layout: Layout, what: str) -> Iterator[Item]:
    """Groups from the columns of the table; a stack's names may be made of them."""
    if not layout.table or not items:
        yield from items
        return
    wanted = layout.table["path"]
    tables = (p for p in sorted(folder.rglob("*.csv")) if re.fullmatch(wanted, p.relative_to(folder).as_posix()))
    if (path := next(tables, None)) is None:
        raise FileNotFoundError(f"{what}: the table {wanted} is not in {folder}; it says whose images are whose")
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    key = layout.table.get("key")
    by_key: dict[object, dict[str, str]] = {row.get(key, "") if key else i: row for i, row in enumerate(rows)}
    for item in items:
        wanted = layout.table.get("item", "{stem}").format(**item.groups) if key else item.index
        if wanted not in by_key:
            raise ValueError(f"{what}: {path.name} has no row for {wanted!r}; add it or remove the image")
        row = by_key[wanted]
        missing = [column for column in layout.table["columns"].values() if row.get(column) is None]
        if missing:
            raise ValueError(f"{what}: {path.name} must have the columns {missing}, it has {list(row)}")
        groups = {**item.groups, **{name: row[column] for name, column in layout.table["columns"].items()}}
        name = item.name or _fill(layout.item or "{stem}_{index}", groups, what)
        yield replace(item, name=name, groups=groups)


def _fill(template: str, groups: Mapping[str, str], what: str) -> str:
    try:
        return template.format(**groups)
    except KeyError as error:
        said = sorted(groups)
        raise ValueError(f"{what}: the template {template!r} asks for {error}, the paths say {said}") from None
