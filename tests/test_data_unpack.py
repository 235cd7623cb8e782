"""Archives from strangers: what they may hold, and what is refused before a byte is written."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from test_full_disk import on_disk

from pano_med.data import safe_unpack
from pano_med.data.safe_unpack import UnsafeArchive, is_archive, safe_name, unpack

FILES = {"set/images/a.png": b"picture", "set/masks/a.png": b"mask", "set/README": b""}


def zipped(path: Path, files: dict[str, bytes], mode: int = 0) -> Path:
    """A zip; `mode` is the Unix mode of its members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, body in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            pack.writestr(info, body)
    return path


def tarred(path: Path, files: dict[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "", how: str = "w") -> Path:
    """A tar; `kind` and `link` count for its last member."""
    with tarfile.open(path, how) as pack:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            if name == list(files)[-1]:
                info.type, info.linkname = kind, link
            pack.addfile(info, io.BytesIO(body))
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_every_kind_comes_out_whole(ending: str, tmp_path: Path) -> None:
    archive = tmp_path / f"a.{ending}"
    how = {"tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}
    zipped(archive, FILES) if ending == "zip" else tarred(archive, FILES, how=how[ending])
    (tmp_path / "out" / "set").mkdir(parents=True)
    (tmp_path / "out" / "set" / "mine.txt").write_text("stays")
    assert unpack(archive, tmp_path / "out") == list(FILES)
    assert everything(tmp_path / "out") == FILES | {"set/mine.txt": b"stays"}
    assert is_archive(archive.name)
    assert not is_archive("a.tar.png")


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "..\\out.txt", "C:\\out.txt", "C:out.txt", "a/..\\..\\b"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_climbs_out(name: str, kind: str, tmp_path: Path) -> None:
    files = {"set/ok.txt": b"ok", name: b"evil"}
    archive = zipped(tmp_path / "a.zip", files) if kind == "zip" else tarred(tmp_path / "a.tar", files)
    with pytest.raises(UnsafeArchive, match="was not unpacked: its member '.*' leads out of the folder; don't"):
        unpack(archive, tmp_path / "in" / "deep")
    assert everything(tmp_path / "in") == {}
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [archive.name]


@pytest.mark.parametrize(("name", "safe"), [("./a//b", "a/b"), ("a\\b", "a/b"), ("", None), (".", None), ("\0", None)])
def test_names(name: str, safe: str | None) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is a device or pipe"),
        (tarfile.BLKTYPE, "is a device or pipe"),
        (tarfile.FIFOTYPE, "is a device or pipe"),
    ],
)
def test_links_and_devices_in_a_tar(kind: bytes, fault: str, tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", {"ok.txt": b"ok", "door": b""}, kind, "/etc")
    with pytest.raises(UnsafeArchive, match=f"its member 'door' {fault}; don't trust it"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


def test_a_link_in_a_zip(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchive, match="its member 'door' is a link"):
        unpack(zipped(tmp_path / "a.zip", {"door": b"/etc"}, 0o120777), tmp_path / "out")
    with pytest.raises(UnsafeArchive, match="its member 'door' is no regular file"):
        unpack(zipped(tmp_path / "b.zip", {"door": b""}, 0o020666), tmp_path / "out")


def test_a_zip_with_a_password(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.txt": b"x"})
    raw = bytearray(archive.read_bytes())
    for start in (raw.index(b"PK\3\4") + 6, raw.index(b"PK\1\2") + 8):
        raw[start] |= 1
    archive.write_bytes(raw)
    with pytest.raises(UnsafeArchive, match="its member 'a.txt' has a password"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_says_its_size_and_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_unpack, "HARMLESS_BYTES", 1000)
    body = {"a": bytes(3_000_000), "b": bytes(10)}
    path = tmp_path / f"a.{kind}"
    archive = zipped(path, body) if kind == "zip" else tarred(path, body, how="w:gz")
    with pytest.raises(UnsafeArchive, match="1 members are 3000000 bytes already, the limit is .* it may be a bomb"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == {}
    assert unpack(archive, tmp_path / "out", 3_000_010) == ["a", "b"]


def test_a_zip_that_lies_about_its_size(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a": bytes(100_000)})
    raw = archive.read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(raw)
    with pytest.raises(OSError, match="a.zip is damaged, cut short or of an unknown kind"):
        unpack(archive, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


@pytest.mark.parametrize("ending", ["zip", "tar.gz", "tar"])
def test_a_damaged_archive(ending: str, tmp_path: Path) -> None:
    body = {"a": np.random.default_rng(0).bytes(50_000), "b": b"x"}
    path = tmp_path / f"a.{ending}"
    zipped(path, body) if ending == "zip" else tarred(path, body, how="w:gz" if ending == "tar.gz" else "w")
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(OSError, match="is damaged, cut short or of an unknown kind .*; fetch it again"):
        unpack(path, tmp_path / "out")
    assert everything(tmp_path / "out") == {}


def test_no_room_for_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_unpack.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 5}))
    with pytest.raises(OSError, match="was not unpacked: it needs 11 bytes in .*, 5 are free; the archive is kept"):
        unpack(zipped(tmp_path / "a.zip", FILES), tmp_path / "out")


def test_a_disk_that_fills_up_while_unpacking(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"a": np.random.default_rng(0).bytes(200_000)})
    (tmp_path / "disk").mkdir()
    program = """
import sys
from pathlib import Path
from pano_med.data import safe_unpack as s
s.shutil.disk_usage = lambda path: type("Usage", (), {"free": 10**12})
try:
    s.unpack(Path(sys.argv[1]), Path(sys.argv[2]))
except OSError as error:
    print(error, file=sys.stderr)
"""
    done = on_disk("full", tmp_path / "disk", [sys.executable, "-c", program, archive, tmp_path / "disk"])
    assert "could not be unpacked into" in done.stderr
    assert "No space left on device; the archive is kept, make room" in done.stderr
    assert done.stdout.strip() == "left: x_overlay.png old"
