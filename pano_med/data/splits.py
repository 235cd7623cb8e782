"""The fixed deal into training and validation, written down in `splits.json` so that nobody draws it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

from pano_med.types import Sample

TRAIN, VALIDATION = "train", "validation"


class Split(NamedTuple):
    """Samples to learn from and samples to check on."""

    train: list[Sample]
    validation: list[Sample]


@dataclass(frozen=True)
class Written:
    """What `splits.json` says of one set.

    Attributes:
        same_slide: why training and validation share a group (one slide, unseen part), or "" where they do not.
        parts: "train" or "validation" of each group; with `same_slide`, of each name.
        files: the group of each listed file name.
    """

    same_slide: str
    parts: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def names(self) -> frozenset[str]:
        """Every listed sample."""
        return frozenset(self.files)

    def group(self, item: str) -> str | None:
        """The group of an image (also of one that is listed in several windows), None if it is not listed."""
        windows = (name for name in self.files if self.same_slide and name.startswith(f"{item}_"))
        return self.files.get(item) or self.files.get(next(windows, ""))


@lru_cache
def _table() -> dict:
    return json.loads(resources.files("pano_med.data").joinpath("splits.json").read_text("utf-8"))


@lru_cache
def written_split(name: str) -> Written:
    """The written split of a data set; an empty one for a set that is never trained on."""
    row = _table().get(name, {"groups": {}})
    files = {file: group for group, entry in row["groups"].items() for part in entry for file in entry[part]}
    if row.get("same_slide"):
        parts = {f: part for entry in row["groups"].values() for part in entry for f in entry[part]}
    else:
        parts = {group: part for group, entry in row["groups"].items() for part in entry}
    return Written(row.get("same_slide", ""), parts, files)


def split(samples: Iterable[Sample]) -> Split:
    """Deal samples into training and validation by the written list.

    A group (patient, cluster of look-alike crops) is never divided. Where a set is one slide only, its validation
    part is a part of that slide which training does not see; `written_split(name).same_slide` says so, and scores on
    it must say so too.

    Raises:
        ValueError: a sample that the list does not know.
    """
    dealt = Split([], [])
    for s in samples:
        written = written_split(s.source)
        part = written.parts.get(s.name if written.same_slide else s.group)
        if part is None:
            raise ValueError(
                f"splits.json has no place for {s.name!r} (group {s.group!r}, set {s.source!r}); "
                "add it there, or do not train on this set"
            )
        (dealt.train if part == TRAIN else dealt.validation).append(s)
    return dealt
