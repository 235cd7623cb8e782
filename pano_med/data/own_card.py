"""The card of own data: what was counted and decided is filled in, what only its owner knows says `unknown`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pano_med.data.cards import UNKNOWN, read_card
from pano_med.data.hashes import digests
from pano_med.data.own import MAPS_OUT, PICTURES
from pano_med.formats import replacing
from pano_med.types import Taxonomy

_KINDS = {"coco": "a COCO JSON", "qupath": "GeoJSON of QuPath", "maps": "label maps"}


@dataclass(frozen=True)
class Facts:
    """What `new` found out.

    Attributes:
        name: of the set.
        folder: where it lies.
        kind: of its labels: coco, qupath or maps.
        images: path by stem, unlabelled ones too.
        groups: patient of each labelled image.
        by: "patient" or "image".
        parts: group -> "train" or "validation" -> stems.
        um: pixel size of each image or None.
        taxonomy: its classes.
        counts: objects of each category id.
        objects: objects of each image.
        notes: what was decided, in sentences.
    """

    name: str
    folder: Path
    kind: str
    images: Mapping[str, Path]
    groups: Mapping[str, str]
    by: str
    parts: Mapping[str, Mapping[str, Sequence[str]]]
    um: Mapping[str, float | None]
    taxonomy: Taxonomy
    counts: Counter[int]
    objects: Mapping[str, int]
    notes: Sequence[str]


def write_card(facts: Facts) -> Path:
    """Write `card.md` and `card.sha256` into the set's folder.

    Raises:
        OSError: they cannot be written.
    """
    path = facts.folder / "card.md"
    text = yaml.safe_dump(_front(facts), sort_keys=False, allow_unicode=True, width=110)
    with replacing(path) as file:
        file.write(f"---\n{text}---\n\n{_prose(facts)}".encode())
    lines = "".join(f"{digest}  {place}\n" for place, digest in digests(read_card(path), facts.folder).items())
    with replacing(facts.folder / "card.sha256") as file:
        file.write(lines.encode())
    return path


def _front(facts: Facts) -> dict[str, Any]:
    held = [stem for row in facts.parts.values() for stem in row.get("validation", ())]
    size = _size(facts)
    blank = ("sites", "dates", "consent", "deidentification", "annotators", "tool")
    return {
        "name": facts.name,
        "version": UNKNOWN,
        "doi": UNKNOWN,
        "url": UNKNOWN,
        "licence": {"name": UNKNOWN, "redistribution": UNKNOWN},
        "citation": UNKNOWN,
        "intended_use": UNKNOWN,
        "out_of_scope": "not for diagnosis",
        "modality": UNKNOWN,
        "stain": UNKNOWN,
        "scanner": UNKNOWN,
        "pixel_size_um": size,
        "pixel_size": UNKNOWN if size == UNKNOWN else "stated",
        "counts": {
            "patients": len(facts.parts) if facts.by == "patient" else UNKNOWN,
            "slides": UNKNOWN,
            "tiles": len(facts.groups),
            "instances": sum(facts.objects.values()),
            "groups": len(facts.parts),
            "validation_tiles": len(held),
            "validation_instances": sum(facts.objects[stem] for stem in held),
        },
        **dict.fromkeys(blank, UNKNOWN),
        "label_faults": [],
        "real": True,
        "maintainer": UNKNOWN,
        "sha256": "card.sha256",
        "download": {"how": UNKNOWN, "note": "made from a folder of own files"},
        "taxonomy": facts.name,
        "classes": [
            {
                "id": c.id,
                "code": c.id,
                "name": c.name,
                "kind": "thing" if c.isthing else "stuff",
                "color": list(c.color),
                "count": facts.counts[c.id] if c.isthing else UNKNOWN,
            }
            for c in facts.taxonomy.all
        ],
        "known": [c.name for c in facts.taxonomy.all],
        "split": {"by": facts.by, "source": "written", "file": "splits.json"},
        "reading": {
            "folder": ".",
            "layouts": [
                {
                    "image": _pattern(facts),
                    "mask": f"{MAPS_OUT}/(?P<stem>[^/]+)\\.png",
                    "codec": "coco_panoptic",
                    "options": {"document": f"{MAPS_OUT}.json"},
                }
            ],
        },
    }


def _pattern(facts: Facts) -> str:
    """All pictures below `images`; where others must be told apart, their names."""
    endings = "|".join(ending[1:] for ending in PICTURES)
    below = "images/(?:.*/)?" if (facts.folder / "images").is_dir() else ""
    every = below and set(facts.groups) == set(facts.images)
    stems = "[^/]+" if every else "|".join(map(re.escape, sorted(facts.groups)))
    return rf"{below}(?P<stem>{stems})\.(?i:{endings})"


def _size(facts: Facts) -> Any:
    """One pixel size, one for each group, or unknown."""
    sizes = {facts.um[stem] for stem in facts.groups}
    if None in sizes:
        return UNKNOWN
    if len(sizes) == 1:
        return sizes.pop()
    by_group: dict[str, set[float | None]] = {}
    for stem, group in facts.groups.items():
        by_group.setdefault(group, set()).add(facts.um[stem])
    if any(len(own) > 1 for own in by_group.values()):
        return UNKNOWN
    # the longest name first, because a group's size is found by the start of its name
    return {group: by_group[group].pop() for group in sorted(by_group, key=len, reverse=True)}


def _prose(facts: Facts) -> str:
    notes = "\n".join(f"- {line}" for line in facts.notes) or "- nothing had to be guessed"
    return f"""# {facts.name}

{len(facts.groups)} images with labels, made into a data set from {_KINDS[facts.kind]}. The labels as they are read
lie in `{MAPS_OUT}` (COCO panoptic); images and original labels were not changed.

What was decided on the way, to be checked by a person:

{notes}

**To complete:** licence and whether the files may be passed on, whom to cite, what the set is for, stain, scanner,
sites and dates, consent, who drew the labels and with which program, known faults of the labels. Until then they say
`unknown`, and nobody should pass the set on.
"""
