"""Downloads against a server on this machine: cut, resumed, changed, wrong, endless, and a full disk."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from local_server import Site, serving
from test_full_disk import on_disk

from pano_med.data.download import _CHUNK, NotFetched, download

BODY = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("pano_med.data.download.time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({"/a.bin": BODY}) as running:
        yield running


def test_a_whole_file_once(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "sub" / "a.bin"
    assert download(site.url("/a.bin"), target, SHA, len(BODY), lambda *n: seen.append(n)) == SHA
    assert target.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert [p.name for p in target.parent.iterdir()] == ["a.bin"]
    download(site.url("/a.bin"), target, SHA)
    assert len(site.asked) == 1, "what is there is not fetched again"


@pytest.mark.parametrize(("hashed", "tagged"), [(True, True), (True, False), (False, True)])
def test_a_cut_connection_goes_on_where_it_was_cut(hashed: bool, tagged: bool, site: Site, tmp_path: Path) -> None:
    site.cuts, site.tagged = [100_000, 50_000], tagged
    download(site.url("/a.bin"), tmp_path / "a.bin", SHA if hashed else None)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    starts = [int((r or "bytes=0-")[6:-1]) for _, r in site.asked]
    assert starts[0] == 0
    assert 100_000 - _CHUNK < starts[1] <= 100_000
    assert 150_000 - 2 * _CHUNK < starts[2] <= 150_000


def test_a_later_call_goes_on_too(site: Site, tmp_path: Path) -> None:
    site.cuts = [12 * _CHUNK, 0, 0, 0, 0]
    with pytest.raises(NotFetched, match=f"was cut; {12 * _CHUNK} bytes are kept in a.bin.part, the next try"):
        download(site.url("/a.bin"), tmp_path / "a.bin", SHA)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin.part", "a.bin.part.json"]
    site.cuts.clear()
    site.asked.clear()
    download(site.url("/a.bin"), tmp_path / "a.bin", SHA)
    assert site.asked == [("/a.bin", f"bytes={12 * _CHUNK}-")]
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_part_that_was_complete_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(BODY)
    download(site.url("/a.bin"), tmp_path / "a.bin", SHA)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert len(site.asked) == 1


def test_a_part_that_is_too_long_is_thrown_away(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(BODY + b"more")
    download(site.url("/a.bin"), tmp_path / "a.bin", SHA)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_two_versions_are_never_glued_together(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(NotFetched):
        download(site.url("/a.bin"), tmp_path / "a.bin")
    site.cuts.clear()
    site.files["/a.bin"] = BODY[::-1]
    download(site.url("/a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY[::-1]


def test_a_part_without_hash_or_tag_is_not_trusted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    download(site.url("/a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_server_that_cannot_resume(site: Site, tmp_path: Path) -> None:
    site.cuts, site.ranges = [100_000], False
    download(site.url("/a.bin"), tmp_path / "a.bin", SHA)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_wrong_hash_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match=r"a\.bin from http.* has not the sha256 of its card \(0{64}\), so it was del"):
        download(site.url("/a.bin"), tmp_path / "a.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_announced(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match="was not fetched: it is 300000 bytes, its card announces 1000"):
        download(site.url("/a.bin"), tmp_path / "a.bin", size=1000)


def test_more_bytes_than_the_disk_has(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("pano_med.data.download.shutil.disk_usage", lambda path: usage)
    with pytest.raises(NotFetched, match="needs 300000 more bytes in .*, 1000 are free; make room .* nothing came"):
        download(site.url("/a.bin"), tmp_path / "a.bin")


def test_no_such_file_and_no_server(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match="could not be fetched: the server answers 404 Not Found"):
        download(site.url("/b.bin"), tmp_path / "b.bin")
    with pytest.raises(NotFetched, match="there is no connection to the server .offline.*; nothing came"):
        download("http://127.0.0.1:9/a.bin", tmp_path / "a.bin")
    with pytest.raises(NotFetched, match="a download has an http or https address, a.bin has 'file:///etc/passwd'"):
        download("file:///etc/passwd", tmp_path / "a.bin")


def test_a_disk_that_fills_up_keeps_the_part(site: Site, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from pano_med.data import download as d
d.shutil.disk_usage = lambda path: type("Usage", (), {"free": 10**12})  # another program was quicker
try:
    d.download(sys.argv[1], Path(sys.argv[2]) / "a.bin", sys.argv[3])
except d.NotFetched as error:
    print(error, file=sys.stderr)
print((Path(sys.argv[2]) / "a.bin.part").stat().st_size)
"""
    done = on_disk("full", tmp_path, [sys.executable, "-c", program, site.url("/a.bin"), tmp_path, SHA])
    size, *left = done.stdout.splitlines()
    assert "the disk is full, so http://127.0.0.1" in done.stderr
    assert f"free some space and try again; {size} bytes are kept in a.bin.part" in done.stderr
    assert 0 < int(size) < 65536
    assert left == ["left: a.bin.part", "a.bin.part.json", "x_overlay.png old"]


def test_the_note_beside_a_part_is_json(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000, 0, 0, 0, 0]
    with pytest.raises(NotFetched):
        download(site.url("/a.bin"), tmp_path / "a.bin")
    assert json.loads((tmp_path / "a.bin.part.json").read_text())["url"] == site.url("/a.bin")
