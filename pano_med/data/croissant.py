"""A card as Croissant JSON-LD (MLCommons, format 1.0), which search engines and other libraries read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from pano_med.data.cards import Card
from pano_med.data.hashes import listed
from pano_med.data.rules import UNKNOWN, VOID

#: The format's own words; each stands for cr:WORD.
_WORDS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
#: The context that the specification prescribes.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "sc": "https://schema.org/",
    **{word: f"cr:{word}" for word in _WORDS.split()},
}
_FORMATS = {".png": "image/png", ".jpg": "image/jpeg", ".tif": "image/tiff", ".zip": "application/zip"}
_TYPES = {"id": "sc:Integer", "name": "sc:Text", "kind": "sc:Text", "color": "sc:Text", "count": "sc:Text"}


def croissant(it: Card) -> dict[str, Any]:
    """The JSON-LD of a card: what it is, its licence, its files with their hashes, its label table.

    Fields that nobody published are left out, as the format asks.
    """
    front, licence = it.front, it.front["licence"]
    said = {
        "name": it.name,
        "description": f"{it.title}. {front['intended_use']}; {front['out_of_scope']}.",
        "url": front["url"],
        "license": _license(licence),
        "citeAs": front["citation"],
        # the format wants MAJOR.MINOR.PATCH
        "version": front["version"] if re.fullmatch(r"\d+\.\d+\.\d+", front["version"]) else UNKNOWN,
        "creator": {"@type": "sc:Organization", "name": front["maintainer"]},
        "keywords": [front["modality"], front["stain"], "panoptic segmentation"],
        "rai:dataLimitations": list(front["label_faults"]),
        "rai:dataUseCases": front["intended_use"],
        "rai:dataAnnotationProtocol": front["annotators"],
        "rai:personalSensitiveInformation": front["deidentification"],
    }
    files = _downloads(it) + _listed(it)
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        **{key: value for key, value in said.items() if value not in (UNKNOWN, [], None)},
        **({"distribution": files} if files else {}),
        "recordSet": [_classes(it)],
    }


def _license(licence: Mapping[str, Any]) -> str:
    """Never left out: a missing licence reads as if anything were allowed."""
    if licence.get("spdx", UNKNOWN) != UNKNOWN:
        return f"https://spdx.org/licenses/{licence['spdx']}.html"
    return "unknown; ask the authors" if licence["name"] == UNKNOWN else licence.get("url") or licence["name"]


def _downloads(it: Card) -> list[dict[str, Any]]:
    """What `fetch` gets, as far as hashes are known: the format wants one for every file object."""
    return [
        _file(PurePosixPath(row["url"]).name, row["url"], row["sha256"])
        for row in it.front["download"].get("files", [])
        if row.get("sha256", UNKNOWN) != UNKNOWN
    ]


def _listed(it: Card) -> list[dict[str, Any]]:
    rows = []
    for place, digest in (listed(it) or {}).items():
        if place.endswith("/*"):
            rows.append({"@type": "cr:FileSet", "@id": place, "name": place, "encodingFormat": "image/png",
                         "includes": place, "description": f"SHA-256 of the files' SHA-256s: {digest}"})
        else:
            rows.append(_file(place, place, digest))
    return rows


def _file(name: str, where: str, digest: str) -> dict[str, Any]:
    kind = _FORMATS.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")
    row = {"@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": where, "encodingFormat": kind}
    return {**row, "sha256": digest}


def _classes(it: Card) -> dict[str, Any]:
    """The label table as records."""
    table = [row for row in it.front["classes"] if row["kind"] != VOID]
    rows = [
        {
            "classes/id": row["id"],
            "classes/name": row["name"],
            "classes/kind": row["kind"],
            "classes/color": "#{:02x}{:02x}{:02x}".format(*it.own[row["id"]].color),
            "classes/count": str(row["count"]),
        }
        for row in table
    ]
    fields = [
        {"@type": "cr:Field", "@id": f"classes/{name}", "name": name, "dataType": kind} for name, kind in _TYPES.items()
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "the label table: categories of the set's own taxonomy",
        "key": {"@id": "classes/id"},
        "field": fields,
        "data": rows,
    }
