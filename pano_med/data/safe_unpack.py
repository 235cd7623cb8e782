"""Unpack a zip or tar from the internet: regular files below the folder and nothing else.

All members are looked at before the first byte is written. What a hostile archive can try is in the tests: paths that
climb out (zip-slip), absolute paths, links, devices, passwords, and bombs, which say themselves how large they become.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from pano_med.formats import make_folder

#: An archive that grows more than this is a bomb; label maps shrink to a two-hundredth, deflate can do 1032.
LARGEST_GROWTH = 400
#: Growth below this many bytes is never called a bomb.
HARMLESS_BYTES = 64 * 2**20
#: More entries than any published set has.
MOST_MEMBERS = 5_000_000


class UnsafeArchive(ValueError):
    """The archive tries something that no data set needs, so nothing of it was written."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    fault: str  # why its kind is refused, "" for a regular file
    open: Callable[[], IO[bytes]]


def is_archive(name: str) -> bool:
    """Does the file's name end as those that `unpack` reads?"""
    return re.search(r"\.(zip|tar|tar\.gz|tgz|tar\.bz2|tbz2?|tar\.xz|txz)$", name.lower()) is not None


def unpack(archive: Path, folder: Path, most_bytes: int | None = None) -> list[str]:
    """Unpack a zip or tar (plain, gz, bz2, xz) below `folder`; files of the same name are replaced.

    Members are written to a hidden folder first and moved when all are there, so a broken archive or a full disk
    leaves `folder` as it was.

    Args:
        archive: the file.
        folder: is made where it is missing.
        most_bytes: refuse more than this in all; default: `LARGEST_GROWTH` times the archive's own size.

    Returns:
        Paths of the files, relative to `folder`, in the order of the archive.

    Raises:
        UnsafeArchive: a member climbs out, is absolute, a link or a device, has a password, or all is too large.
        OSError: the archive is damaged, or the disk is full.
    """
    limit = most_bytes or max(LARGEST_GROWTH * archive.stat().st_size, HARMLESS_BYTES)
    make_folder(folder)
    try:
        total = _checked(archive, folder, limit)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as temporary:
            return _settle(_write(archive, Path(temporary), total), Path(temporary), folder)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError) as error:
        why = str(error).split("\n")[0].rstrip(":")
        raise OSError(f"{archive} is damaged, cut short or of an unknown kind ({why}); fetch it again") from error
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(
            f"{archive} could not be unpacked into {folder}: {error.strerror}; the archive is kept, "
            "make room or choose another folder and try again"
        ) from error


def safe_name(name: str) -> str | None:
    """The member's path as it may be written, or None where it is empty, absolute, has a drive or climbs out."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [p for p in path.parts if p != "."]
    odd = path.is_absolute() or ".." in parts or "\0" in name or (parts and re.match(r"[A-Za-z]:", parts[0]))
    return None if odd or not parts else "/".join(parts)


def _checked(archive: Path, folder: Path, limit: int) -> int:
    """Bytes that the archive says it holds, after every member was looked at."""
    total = 0
    with _members(archive) as members:
        for number, member in enumerate(members, 1):
            total += member.size
            fault = member.fault or ("" if safe_name(member.name) else "leads out of the folder")
            if fault:
                raise UnsafeArchive(f"{archive} was not unpacked: its member {member.name!r} {fault}; don't trust it")
            if total > limit or number > MOST_MEMBERS:
                raise UnsafeArchive(
                    f"{archive} was not unpacked: {number} members are {total} bytes already, the limit is {limit} "
                    f"bytes and {MOST_MEMBERS} members; it may be a bomb"
                )
    free = shutil.disk_usage(folder).free
    if total > free:
        raise OSError(
            f"{archive} was not unpacked: it needs {total} bytes in {folder}, {free} are free; "
            "the archive is kept, make room or choose another folder and try again"
        )
    return total


def _write(archive: Path, temporary: Path, total: int) -> list[str]:
    names = []
    with _members(archive) as members:
        for member in members:
            if (name := safe_name(member.name)) is None:  # the file changed since it was looked at
                raise UnsafeArchive(f"{archive} was not unpacked: its member {member.name!r} leads out of the folder")
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
            total -= target.stat().st_size
            if total < 0:
                raise UnsafeArchive(f"{archive} was not unpacked: it holds more bytes than it says; it may be a bomb")
            names.append(name)
    return names


def _settle(names: list[str], temporary: Path, folder: Path) -> list[str]:
    for name in dict.fromkeys(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary / name, folder / name)
    return list(dict.fromkeys(names))


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    """The files of an archive; folders are left out, they come with their files."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            yield (_zipped(pack, info) for info in pack.infolist() if not info.is_dir())
    else:
        with tarfile.open(archive) as pack:
            yield (_tarred(pack, info) for info in pack if not info.isdir())


def _zipped(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    fault = "has a password" if info.flag_bits & 1 else ""
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        fault = "is a link" if stat.S_ISLNK(mode) else "is no regular file"
    return _Member(info.filename, info.file_size, fault, lambda: pack.open(info))


def _tarred(pack: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    fault = "is a link" if info.issym() or info.islnk() else "" if info.isreg() else "is a device or pipe"
    return _Member(info.name, info.size, fault, lambda: pack.extractfile(info))  # type: ignore[arg-type, return-value]
