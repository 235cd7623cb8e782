"""The demo's sample: fetched by pip, checked, unpacked by name only; its truth and what it is judged on."""

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pano_med.data import load
from pano_med.demo import NotFetched, Quality, Region, fetch, fetch_hgsc, he_region, ihc_region, quality, region
from pano_med.types import HE_CORE, Panoptic

CONTENT = {name: name.encode() * 3 for name in fetch.FILES}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny wheel of the right name that pip accepts, in a folder that is all pip may look at."""
    path = tmp_path / "index" / "histolytics-0.3.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "histolytics-0.3.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: histolytics\nVersion: 0.3.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr("../escape.py", "raise SystemExit('never unpacked')")
        for name, (member, _) in fetch.FILES.items():
            archive.writestr(member, CONTENT[name])
    monkeypatch.setattr(fetch, "WHEEL_SHA256", digest(path.read_bytes()))
    monkeypatch.setattr(fetch, "FILES", {k: (member, digest(CONTENT[k])) for k, (member, _) in fetch.FILES.items()})
    for key, value in {"NO_INDEX": "1", "FIND_LINKS": str(path.parent), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{key}", value)
    return path


def test_fetch_keeps_the_data_files_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    folder = fetch_hgsc(tmp_path / "cache")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == CONTENT
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [folder.name]
    wheel.unlink()
    assert fetch_hgsc(tmp_path / "cache", offline=True) == folder  # the second time nothing is fetched


@pytest.fixture
def no_pip(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip needs seconds; one test above goes the whole way, here the wheel is simply handed over."""

    def hand_over(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetch.subprocess, "run", hand_over)


@pytest.mark.usefixtures("no_pip")
def test_a_broken_cache_is_fetched_again(tmp_path: Path) -> None:
    folder = fetch_hgsc(tmp_path / "cache")
    (folder / "hgsc_nest.jpg").write_bytes(b"half")
    with pytest.raises(NotFetched, match="not in the cache and --offline"):
        fetch_hgsc(tmp_path / "cache", offline=True)
    assert (fetch_hgsc(tmp_path / "cache") / "hgsc_nest.jpg").read_bytes() == CONTENT["hgsc_nest.jpg"]


@pytest.mark.usefixtures("no_pip")
def test_another_wheel_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "WHEEL_SHA256", "0" * 64)
    monkeypatch.setattr(fetch, "unpack", lambda *_: pytest.fail("opened"))
    with pytest.raises(NotFetched, match="not the published file"):
        fetch_hgsc(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_other_data_files_are_refused(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {k: (member, "0" * 64) for k, (member, _) in fetch.FILES.items()}
    monkeypatch.setattr(fetch, "FILES", changed)
    with pytest.raises(NotFetched, match="are not the published ones"):
        fetch.unpack(wheel, tmp_path / "files")


def test_a_wheel_without_the_files(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FILES", {"x.jpg": ("histolytics/data/x.jpg", "0" * 64)})
    with pytest.raises(NotFetched, match="does not hold the sample"):
        fetch.unpack(wheel, tmp_path / "files")
    (tmp_path / "no.whl").write_bytes(b"no archive")
    with pytest.raises(NotFetched, match="does not hold the sample"):
        fetch.unpack(tmp_path / "no.whl", tmp_path / "other")


def test_no_network(wheel: Path, tmp_path: Path) -> None:
    wheel.unlink()
    with pytest.raises(NotFetched, match=r"pip could not fetch histolytics==0\.3\.0: ERROR: No matching"):
        fetch_hgsc(tmp_path / "cache")


def test_a_cache_that_cannot_be_written(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotFetched, match="cannot be kept in"):
        fetch_hgsc(tmp_path / "file" / "cache")


def test_cache_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PANO_MED_CACHE", str(tmp_path))
    assert fetch.cache_folder() == tmp_path
    monkeypatch.delenv("PANO_MED_CACHE")
    assert "pano_med" in str(fetch.cache_folder())


@pytest.fixture(scope="module")
def real(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Region:
    folder = tmp_path_factory.mktemp("hgsc")
    for name in list(fetch.FILES)[:3]:
        (folder / name).write_bytes((data_root / "histolytics_hgsc" / "original" / name).read_bytes())
        assert digest((folder / name).read_bytes()) == fetch.FILES[name][1]
    return he_region(folder)


def test_the_real_region(real: Region, data_root: Path) -> None:
    assert real.image.shape == (1500, 1500, 3)
    assert real.truth is not None
    assert len(real.truth.segments) == 1294
    unseen = {s.name: s for s in load("histolytics_hgsc", data_root)}["hgsc_nest_rows_1000_1499"]
    found = quality(real.truth, real.truth)
    assert unseen.truth is not None
    assert found == Quality((1.0, 1.0, 1.0), 1.0, len(unseen.truth.segments))  # the same nuclei as validation has


def test_the_picture_that_is_always_there() -> None:
    region_ = ihc_region()
    assert region_.image.shape == (512, 512, 3)
    assert region_.truth is None
    assert region_.pixel_size_um is None


def small(*boxes: tuple[slice, slice], classes: tuple[str, ...]) -> Panoptic:
    ids = np.zeros((20, 20), np.int32)
    for i, box in enumerate(boxes, 1):
        ids[box] = i
    return Panoptic.from_ids(ids, {i: HE_CORE[c].id for i, c in enumerate(classes, 1)}, HE_CORE)


def test_quality_by_head() -> None:
    """Rows 10 and on: one nucleus found with the wrong kind, one missed; the one across row 10 is not judged."""
    a, b, across, above = np.s_[12:16, 0:4], np.s_[12:16, 10:14], np.s_[8:12, 16:20], np.s_[0:4, 0:4]
    kinds = ("neoplastic nucleus", "neoplastic nucleus", "connective nucleus", "connective nucleus")
    truth = small(a, b, across, above, classes=kinds)
    prediction = small(a, across, classes=("connective nucleus", "neoplastic nucleus"))
    found = quality(truth, prediction, row=10)
    assert found.labelled == 2
    assert found.nuclei == pytest.approx((1 / 1.5, 1.0, 1 / 1.5))  # 1 hit, 1 miss, nothing invented
    assert found.typed == 0
    assert region.TEST_ROW == 1000
