"""Fetching a set by its card: terms first, registration explained, archives unpacked safely, nothing fetched twice."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_server import Site, serving

from pano_med.data import card
from pano_med.data.cards import Card
from pano_med.data.download import NotFetched
from pano_med.data.fetch import ByHand, fetch, terms
from pano_med.data.safe_unpack import UnsafeArchive


def zipped(**files: bytes) -> bytes:
    """A zip; two underscores in a name stand for a slash."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, body in files.items():
            pack.writestr(name.replace("__", "/"), body)
    return buffer.getvalue()


ZIP = zipped(images__a=b"picture", masks__a=b"mask")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("pano_med.data.download.time.sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving({"/a.zip": ZIP, "/list.csv": b"a,b"}) as running:
        yield running


def announced(site: Site, *files: dict[str, Any], how: str = "open") -> Card:
    """A card that offers these files of the server."""
    it = card("ade20k")
    rows = [{**row, "url": site.url(row["url"])} for row in files]
    return replace(it, front={**it.front, "download": {"how": how, "note": "Do this.", "files": rows}})


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def everything(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_set_is_fetched_once_and_unpacked(site: Site, tmp_path: Path) -> None:
    it = announced(site, {"url": "/a.zip", "bytes": len(ZIP), "sha256": sha(ZIP)}, {"url": "/list.csv", "to": "tables"})
    shown: list[str] = []
    told: list[str] = []
    folder = fetch(it, tmp_path, lambda text: not shown.append(text), say=told.append)
    assert folder == tmp_path / "ade20k"
    assert everything(folder) == {"images/a", "masks/a", "tables/list.csv", ".fetched.json"}
    assert told == [
        f"a.zip: {len(ZIP)} bytes, sha256 {sha(ZIP)}, 2 files",
        f"list.csv: 3 bytes, sha256 {sha(b'a,b')}",
    ]
    assert len(shown) == 1
    assert fetch(it, tmp_path, lambda text: True, say=told.append) == folder
    assert told[2:] == ["a.zip was fetched before", "list.csv was fetched before"]
    assert len(site.asked) == 2


def test_a_set_whose_archive_changed_is_fetched_again(site: Site, tmp_path: Path) -> None:
    fetch(announced(site, {"url": "/a.zip"}), tmp_path, lambda text: True)
    site.files["/a.zip"] = fresh = zipped(images__a=b"better")
    fetch(announced(site, {"url": "/a.zip", "sha256": sha(fresh)}), tmp_path, lambda text: True)
    assert (tmp_path / "ade20k" / "images" / "a").read_bytes() == b"better"


def test_the_terms_say_licence_and_size_before_anything_is_fetched(site: Site, tmp_path: Path) -> None:
    it = announced(site, {"url": "/a.zip", "bytes": 2_500_000_000, "sha256": sha(ZIP)}, {"url": "/list.csv"})
    text = terms(it, tmp_path)
    assert "licence: images non-commercial research only; annotations BSD-3-Clause" in text
    assert "the data must not be passed on" in text
    assert "Zhou et al." in text
    assert "a.zip (2.5 GB)" in text
    assert "list.csv (3 bytes, no published sha256)" in text, "a size that the card lacks is asked of the server"
    assert f"in all: 2.5 GB, into {tmp_path / 'ade20k'}" in text
    gone = terms(announced(site, {"url": "/gone.zip"}), tmp_path)
    assert "gone.zip (unknown size, no published sha256)" in gone
    assert "in all: unknown size, into" in gone
    with pytest.raises(NotFetched, match="the terms of ade20k were not accepted, so nothing was fetched"):
        fetch(it, tmp_path, lambda text: False)
    assert site.asked == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("registration", "ade20k asks for a registration, so nothing was fetched: go to https://.*; Do this; "),
        ("package", "ade20k comes inside a package, so nothing was fetched: see https://"),
        ("unknown", "no address is known for ade20k, so nothing was fetched"),
        ("open", "the card of ade20k names no file, so nothing was fetched"),
    ],
)
def test_sets_that_a_person_has_to_get(how: str, sentence: str, site: Site, tmp_path: Path) -> None:
    files = [{"url": "/a.zip"}] if how != "open" else []
    with pytest.raises(ByHand, match=sentence):
        fetch(announced(site, *files, how=how), tmp_path, lambda text: True)
    assert site.asked == []


def test_a_wrong_hash_unpacks_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match="has not the sha256 of its card"):
        fetch(announced(site, {"url": "/a.zip", "sha256": "0" * 64}), tmp_path, lambda text: True)
    assert everything(tmp_path) == set()


def test_a_zip_that_climbs_out(site: Site, tmp_path: Path) -> None:
    site.files["/a.zip"] = zipped(**{"..__..__evil": b"x"})
    with pytest.raises(UnsafeArchive, match="leads out of the folder"):
        fetch(announced(site, {"url": "/a.zip"}), tmp_path / "in", lambda text: True)
    assert everything(tmp_path) == {"in/ade20k/a.zip"}


def test_a_tar_with_a_link(site: Site, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as pack:
        info = tarfile.TarInfo("images/passwd")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        pack.addfile(info)
    site.files["/a.tar.gz"] = buffer.getvalue()
    with pytest.raises(UnsafeArchive, match=r"a\.tar\.gz was not unpacked: its member 'images/passwd' is a link"):
        fetch(announced(site, {"url": "/a.tar.gz"}), tmp_path, lambda text: True)
    assert everything(tmp_path) == {"ade20k/a.tar.gz"}
    assert not (tmp_path / "ade20k" / "images").exists()


def test_a_card_that_points_out_of_the_folder(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFetched, match="`to` must be a folder below the set's own, .* has '../x'; mend the card"):
        fetch(announced(site, {"url": "/a.zip", "to": "../x"}), tmp_path, lambda text: True)


def test_a_broken_record_is_no_excuse(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ade20k").mkdir()
    (tmp_path / "ade20k" / ".fetched.json").write_text("{")
    assert fetch(announced(site, {"url": "/a.zip"}), tmp_path, lambda text: True) == tmp_path / "ade20k"
    assert len(site.asked) == 1


def test_the_root_may_be_the_set_itself(site: Site, tmp_path: Path) -> None:
    assert fetch(announced(site, {"url": "/a.zip"}), tmp_path / "ade20k", lambda text: True) == tmp_path / "ade20k"
