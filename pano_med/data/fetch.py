"""Get a published set: its terms first, then its files, whole and unpacked; or the way to get it by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pano_med.data.cards import Card
from pano_med.data.download import NotFetched, OnBytes, download, size_of
from pano_med.data.safe_unpack import is_archive, safe_name, unpack
from pano_med.formats import make_folder, replacing

#: What was fetched already, so that an archive may be thrown away after it was unpacked.
RECORD = ".fetched.json"


class ByHand(NotFetched):
    """The set needs a registration, or no address is known; the message says where to go and what to do."""


@dataclass(frozen=True)
class Remote:
    """One file of a set as its card announces it; `size` (bytes) and `sha256` may be None, `to` is a folder below."""

    url: str
    size: int | None
    sha256: str | None
    unpack: bool
    to: str = "."

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Remote:
        """From a row of the card's `download.files`."""
        size, digest = row.get("bytes"), row.get("sha256")
        return cls(
            row["url"],
            size if isinstance(size, int) else None,
            None if digest in (None, "unknown") else str(digest).lower(),
            bool(row.get("unpack", is_archive(urlsplit(row["url"]).path))),
            row.get("to", "."),
        )

    @property
    def name(self) -> str:
        """File name, the last part of the address."""
        return PurePosixPath(unquote(urlsplit(self.url).path)).name or "download"


def remotes(card: Card) -> list[Remote]:
    """The files that `fetch` would get."""
    return [Remote.of(row) for row in card.front["download"].get("files") or []]


def home(card: Card, root: Path) -> Path:
    """The folder of a set: `root` itself where it has that name already."""
    return root if root.name == card.folder else root / card.folder


def terms(card: Card, root: Path) -> str:
    """What a person should read before saying yes: licence, whom to name, addresses, sizes, where it goes.

    A size that the card does not have is asked of the server.
    """
    licence = card.front["licence"]
    spread = {True: "may be passed on", False: "must not be passed on"}.get(
        licence["redistribution"], "may perhaps not be passed on, nobody says"
    )
    files = [r if r.size is not None else replace(r, size=size_of(r.url)) for r in remotes(card)]
    rows = [
        f"{card.name}: {card.front['url']}",
        f"licence: {licence['name']} ({licence.get('stated', 'stated by its publisher')}); the data {spread}",
        f"cite: {card.front['citation']}",
        f"use: {card.front['intended_use']}; {card.front['out_of_scope']}",
        *(f"file: {r.url} ({_bytes(r.size)}{'' if r.sha256 else ', no published sha256'})" for r in files),
    ]
    sizes = [r.size for r in files]
    total = "unknown size" if None in sizes else _bytes(sum(s for s in sizes if s))
    return "\n".join([*rows, f"in all: {total}, into {home(card, root)}"])


def fetch(
    card: Card,
    root: str | Path,
    accept: Callable[[str], bool],
    on_bytes: OnBytes | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Fetch every file of a set that is not there yet, check and unpack it.

    Args:
        card: the set's card.
        root: the folder of the data sets; the set gets its own folder below.
        accept: shown `terms`; nothing is fetched unless it returns True.
        on_bytes: told (bytes so far, bytes in all or None) of the file under way.
        say: told one line for each file.

    Returns:
        The set's folder.

    Raises:
        ByHand: a person has to register, or no address is known.
        NotFetched: not accepted, no connection, a wrong hash, a full disk.
        UnsafeArchive: an archive that tries to write elsewhere.
        OSError: an archive is damaged, or there is no room to unpack it.
    """
    how, note = card.front["download"]["how"], " ".join(card.front["download"]["note"].split()).rstrip(".")
    folder, files = home(card, Path(root)), remotes(card)
    if how != "open" or not files:
        why = _WHY[how].format(card.name, card.front["url"])
        raise ByHand(f"{why}; {note}; put its files into {folder} and run `pano-med data check {card.name}`")
    if not accept(terms(card, Path(root))):
        raise NotFetched(f"the terms of {card.name} were not accepted, so nothing was fetched")
    make_folder(folder)
    done = _record(folder)
    for remote in files:
        if done.get(remote.url, {}).get("sha256") == (remote.sha256 or done.get(remote.url, {}).get("sha256", "")):
            say(f"{remote.name} was fetched before")
            continue
        done[remote.url] = _one(remote, folder, on_bytes, say)
        with replacing(folder / RECORD) as file:
            file.write(json.dumps(done, indent=1).encode())
    return folder


_WHY = {
    "registration": "{} asks for a registration, so nothing was fetched: go to {}",
    "package": "{} comes inside a package, so nothing was fetched: see {}",
    "unknown": "no address is known for {}, so nothing was fetched: see {}",
    "open": "the card of {} names no file, so nothing was fetched: see {}",
}


def _one(remote: Remote, folder: Path, on_bytes: OnBytes | None, say: Callable[[str], None]) -> dict[str, Any]:
    if safe_name(f"x/{remote.to}") is None:
        raise NotFetched(f"`to` must be a folder below the set's own, {remote.url} has {remote.to!r}; mend the card")
    folder = folder / remote.to
    path = folder / remote.name
    digest = download(remote.url, path, remote.sha256, remote.size, on_bytes)
    row: dict[str, Any] = {"sha256": digest, "bytes": path.stat().st_size}
    if remote.unpack:
        names = unpack(path, folder)
        path.unlink()
        row["files"] = len(names)
    unpacked = f", {row['files']} files" if "files" in row else ""
    say(f"{remote.name}: {_bytes(row['bytes'])}, sha256 {digest}{unpacked}")
    return row


def _record(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _bytes(count: int | None) -> str:
    if count is None:
        return "unknown size"
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "bytes" else f"{count} bytes"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.3g} GB"
