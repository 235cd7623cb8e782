"""The folder of a segmented slide: a valid OME-Zarr, levels that agree, a table that is read as asked, also in work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from slide_cases import PaintedSlide, PerfectPredictor
from slide_results import MPP, SCALE, painted, write_result

from pano_med.slides.run import segment_slide
from pano_med.slides.store import ARRAYS, CHUNK, COARSEST, MapWriter, Result

SIZE = (1100, 2100)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A map of random ids, three levels high."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("store")
    ids, classes = painted()
    out = write_result(folder, ids, classes, grid={"tile": 128, "overlap": 32, "origin": [0, 0], "size": list(SIZE)})
    (folder / "map.zarr").rename(folder / "small.zarr")
    writer = MapWriter(folder, SIZE, MPP * SCALE)
    for top, left in ((0, 0), (0, 1021), (513, 0), (513, 1021)):  # odd seams, on no multiple of a level's step
        rows, columns = (top, 513 if top == 0 else 1100), (left, 1021 if left == 0 else 2100)
        shape = rows[1] - rows[0], columns[1] - columns[0]
        writer.write(rows, columns, ids=rng.integers(0, 2**32, shape, np.uint32),
                     classes=rng.integers(0, 9, shape).astype(np.uint8))  # fmt: skip
    return out


@pytest.mark.parametrize("name", list(ARRAYS))
def test_each_pyramid_is_ome_zarr_0_5(result: Result, name: str) -> None:
    """NGFF 0.5: "ome" in the group's attributes, one scale per level in the order of the axes, finest first."""
    group = json.loads((result.folder / "map.zarr" / name / "zarr.json").read_text(encoding="utf-8"))
    assert (group["zarr_format"], group["node_type"]) == (3, "group")
    ome = group["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (scales,) = ome["multiscales"]
    assert scales["axes"] == [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    assert [d["path"] for d in scales["datasets"]] == ["0", "1", "2"]
    for data, down in zip(scales["datasets"], (1, 2, 4), strict=True):
        assert data["coordinateTransformations"] == [{"type": "scale", "scale": [0.5 * down, 0.5 * down]}]
        array = json.loads((result.folder / "map.zarr" / name / data["path"] / "zarr.json").read_text(encoding="utf-8"))
        assert (array["zarr_format"], array["node_type"], array["data_type"]) == (3, "array", ARRAYS[name])
        assert array["dimension_names"] == ["y", "x"]
        assert array["shape"] == [-(-n // down) for n in SIZE]
        assert array["chunk_grid"]["configuration"]["chunk_shape"] == [CHUNK, CHUNK]
        assert array["fill_value"] == 0


@pytest.mark.parametrize("name", list(ARRAYS))
def test_every_level_is_the_finest_one_picked(result: Result, name: str) -> None:
    finest = np.asarray(getattr(result, name)(0)[:])
    assert finest.shape == SIZE
    for number, level in enumerate(result.levels):
        step = int(level.downsample)
        np.testing.assert_array_equal(getattr(result, name)(number)[:], finest[::step, ::step])
    assert max(result.levels[-1].size) <= COARSEST < max(result.levels[-2].size)


def test_what_was_not_looked_at_costs_nothing_and_is_0(tmp_path: Path) -> None:
    writer = MapWriter(tmp_path, (1200, 1200), 0.25)
    writer.write((0, 100), (0, 100), ids=np.full((100, 100), 7, np.uint32))
    chunks = {p.relative_to(tmp_path / "map.zarr") for p in tmp_path.glob("map.zarr/*/*/c/*/*")}
    assert chunks == {Path("ids/0/c/0/0"), Path("ids/1/c/0/0")}
    ids = np.asarray(zarr.open_array(str(tmp_path / "map.zarr" / "ids" / "0"), mode="r")[:])
    assert (ids[:100, :100] == 7).all()
    assert ids.sum() == 7 * 100**2
    assert not np.asarray(zarr.open_array(str(tmp_path / "map.zarr" / "classes" / "0"), mode="r")[:]).any()


def test_batches_come_in_order_and_in_the_size_asked_for(result: Result) -> None:
    total = result.instances(["id"]).num_rows
    batches = list(result.batches(["id", "class"], size=50))
    assert {b.schema.names[1] for b in batches} == {"class"}
    assert all(b.num_rows <= 50 for b in batches)
    assert [i for b in batches for i in b["id"].to_pylist()] == list(range(1, total + 1))


def test_a_nucleus_by_its_id(result: Result) -> None:
    row = result.nucleus(3)
    assert row == result.instances().to_pylist()[2]
    assert result.nucleus(3, ["class"]) == {"class": row["class"]}
    assert result.nucleus(0) is None
    assert result.nucleus(10**6) is None


def test_a_box_finds_what_touches_it(result: Result) -> None:
    row: dict[str, Any] = result.nucleus(3)  # type: ignore[assignment]
    box = row["top"], row["left"], row["bottom"], row["right"]
    assert result.instances(["id"], box)["id"].to_pylist() == [3]
    assert result.instances(["id"], (row["bottom"], 0, row["bottom"] + 1, 9999)).num_rows == 0


def test_a_running_folder_can_be_read(tmp_path: Path) -> None:
    slide, seen = PaintedSlide((300, 300), tissue=1), list[Result]()

    def look(done: int, *_: object) -> None:
        if done == 7:
            seen.append(Result(tmp_path))
            rows = seen[0].instances()
            assert 0 < rows.num_rows < seen[0].size[0]
            assert rows["id"].to_pylist() == list(range(1, rows.num_rows + 1))
            assert seen[0].nucleus(1)["id"] == 1  # type: ignore[index]
            assert sum(b.num_rows for b in seen[0].batches(["id"])) >= rows.num_rows
            assert np.asarray(seen[0].ids()[:90, :90]).any()

    done = segment_slide(slide, PerfectPredictor(slide), tmp_path, tile=160, overlap=64, on_tile=look)
    assert (seen[0].done, done.done) == (False, True)


@pytest.mark.parametrize(("text", "sentence"), [
    ('{"format": 1, "sli', "can't be read .*: it is damaged, or another program's"),
    ("", "can't be read .*: it is damaged, or another program's"),
    ("{", "can't be read .*: it is damaged, or another program's"),
    ("[1]", "can't be read .*: it is damaged, or another program's"),
    ('{"format": 99}', "has format 99, this version reads 1: update pano_med"),
    ('{"format": 1, "slide": {}}', "can't be read .model, grid, scale, tiles, state is missing.: it is damaged, or"),
])  # fmt: skip
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=f"manifest.json {sentence}"):
        Result(tmp_path)


def test_a_folder_without_a_result(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no segmented slide .manifest.json is missing.: make one with"):
        Result(tmp_path)
