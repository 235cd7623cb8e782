"""The fixed deal into training and validation: written down in `splits.json`, or published with the set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from pano_med.data.cards import Card
from pano_med.types import Sample

TRAIN, VALIDATION, TEST, LEFT_OUT = "train", "validation", "test", "left_out"


class Split(NamedTuple):
    """Samples to learn from and samples to check on."""

    train: list[Sample]
    validation: list[Sample]


@dataclass(frozen=True)
class Written:
    """What `splits.json` says of one set.

    Attributes:
        same_slide: why training and validation share a group (one slide, unseen part), or "" where they do not.
        parts: "train", "validation" or "test" of each group; with `same_slide`, of each name.
        files: the group of each listed file name.
        left_out: names in the part of their group that nobody should learn from, because their labels are wrong.
    """

    same_slide: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Every listed sample."""
        return frozenset(self.files)

    def group(self, item: str) -> str | None:
        """The group of an image (also of one that is listed in several windows), None if it is not listed."""
        windows = (name for name in self.files if self.same_slide and name.startswith(f"{item}_"))
        return self.files.get(item) or self.files.get(next(windows, ""))

    def part(self, name: str, group: str) -> str | None:
        """The part of a sample, None if it is not listed."""
        return LEFT_OUT if name in self.left_out else self.parts.get(name if self.same_slide else group)


def written_split(name: str) -> Written:
    """The written split of one of the package's sets; an empty one for a set that has none."""
    return _written(Path(str(resources.files("pano_med.data").joinpath("splits.json"))), name)


def written_of(it: Card) -> Written:
    """The written split of a card: that of the package, or of the file that the card names beside itself.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is not JSON.
    """
    if it.front["split"]["source"] != "written":
        return Written()
    own = it.front["split"].get("file")
    return _written(it.path.parent / own, it.name) if own else written_split(it.name)


def _written(path: Path, name: str) -> Written:
    try:
        return _of_file(path, path.stat().st_mtime_ns, name)
    except FileNotFoundError:
        raise FileNotFoundError(f"the split {path} is missing; the card of {name} names it") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} must hold groups with lists of names for {name}, it does not ({error!r})") from error


@lru_cache
def _of_file(path: Path, changed: int, name: str) -> Written:
    row: Mapping[str, Any] = json.loads(path.read_text("utf-8")).get(name, {"groups": {}})
    files = {file: group for group, entry in row["groups"].items() for part in entry for file in entry[part]}
    left_out = frozenset(file for entry in row["groups"].values() for file in entry.get(LEFT_OUT, ()))
    if row.get("same_slide"):
        parts = {f: part for entry in row["groups"].values() for part in entry for f in entry[part]}
    else:
        if both := [group for group, entry in row["groups"].items() if len(entry.keys() - {LEFT_OUT}) > 1]:
            raise ValueError(f"a patient stands in one part, {both[:3]} in two")
        parts = {group: part for group, entry in row["groups"].items() for part in entry if part != LEFT_OUT}
    return Written(row.get("same_slide", ""), parts, files, left_out)


def part_of(it: Card, name: str, group: str, groups: Mapping[str, str]) -> str | None:
    """The part of a sample: by the published split (the group `split` of its path or table), by the written one, or
    dealt by the hash of its group.

    Raises:
        ValueError: a published split that the card does not explain.
    """
    rule = it.front["split"]
    if rule["source"] == "dealt":  # the same on every machine, and a new group moves no other
        draw = int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) / 2**32
        return VALIDATION if draw < rule["validation"] else TRAIN
    if rule["source"] != "files":
        return written_of(it).part(name, group)
    said = groups.get("split", "")
    if said not in it.parts:
        raise ValueError(f"{it.name}: the split of {name} is {said!r}, field 'split.parts' knows {sorted(it.parts)}")
    return it.parts[said]


def split(samples: Iterable[Sample]) -> Split:
    """Deal samples into training and validation by the written list.

    A group (patient, cluster of look-alike crops) is never divided. Where a set is one slide only, its validation
    part is a part of that slide which training does not see; `written_split(name).same_slide` says so, and scores on
    it must say so too.

    Raises:
        ValueError: a sample that the list does not know.
    """
    result = Split([], [])
    for s in samples:
        dealt(result, s, written_split(s.source).part(s.name, s.group))
    return result


def dealt(result: Split, s: Sample, part: str | None) -> None:
    """Put a sample where it belongs; "test" and "left_out" belong nowhere here.

    Raises:
        ValueError: a sample without a part.
    """
    if part is None:
        raise ValueError(
            f"splits.json has no place for {s.name!r} (group {s.group!r}, set {s.source!r}); "
            "add it there, or do not train on this set"
        )
    if part not in (TEST, LEFT_OUT):
        (result.train if part == TRAIN else result.validation).append(s)
