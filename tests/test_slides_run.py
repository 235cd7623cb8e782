"""A slide through a perfect predictor: the truth comes back, glass is skipped, what can't be done is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slide_cases import PaintedSlide, PerfectPredictor
from test_tiles import same_things

from pano_med.slides import store
from pano_med.slides.begin import Map
from pano_med.slides.objects import one_each
from pano_med.slides.run import segment_slide
from pano_med.slides.store import Result
from pano_med.tiles import Grid


def segmented(slide: PaintedSlide, out: Path, **options: object) -> Result:
    """A small slide in small tiles."""
    return segment_slide(slide, PerfectPredictor(slide), out, **{"tile": 160, "overlap": 64, **options})  # type: ignore[arg-type]


@settings(deadline=None, derandomize=True, max_examples=6)
@given(st.integers(0, 9), st.sampled_from([(160, 64), (192, 64), (256, 96)]), st.tuples(*[st.integers(0, 4)] * 2),
       st.tuples(*[st.integers(240, 420)] * 2))
def test_the_truth_comes_back_whatever_the_grid(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cut: tuple[int, int], steps: tuple[int, int],
    size: tuple[int, int],
) -> None:
    slide = PaintedSlide(size, tissue=1, seed=seed)
    out = tmp_path_factory.mktemp("r") / "out"
    result = segmented(slide, out, tile=cut[0], overlap=cut[1], origin=(32 * steps[0], 32 * steps[1]))
    ids, classes = slide.truth(0, 0, *size)
    looked = np.asarray(result.classes()[:]) > 0
    assert looked.all()
    np.testing.assert_array_equal(result.classes()[:], classes)
    assert same_things(np.asarray(result.ids()[:]).astype(np.int64), ids)
    table = result.instances()
    assert table["id"].to_pylist() == list(range(1, len(np.unique(ids[ids > 0])) + 1))
    areas = np.bincount(np.asarray(result.ids()[:]).ravel())[1:] * slide.mpp**2
    np.testing.assert_allclose(table["area_um2"].to_numpy(), areas, rtol=1e-5)


def test_glass_is_skipped_and_the_manifest_counts(tmp_path: Path) -> None:
    slide = PaintedSlide((1000, 1000), tissue=0.2)
    result = segmented(slide, tmp_path / "r")
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["state"] == "done"
    assert 0 < manifest["tiles"]["tissue"] == manifest["tiles"]["done"] < manifest["tiles"]["all"]
    assert (np.asarray(result.classes()[:48, :48]) == 0).all()
    assert sum(manifest["counts"].values()) == result.instances(["id"]).num_rows > 20
    assert not (tmp_path / "r" / "work").exists()


def test_a_blank_slide_is_a_finished_result_without_nuclei(tmp_path: Path) -> None:
    result = segmented(PaintedSlide((2048, 2048), tissue=0), tmp_path / "r")
    assert result.done
    assert result.manifest["tiles"]["tissue"] == result.instances().num_rows == 0


def test_an_object_larger_than_the_overlap_is_reported_not_cut(tmp_path: Path) -> None:
    slide = PaintedSlide((420, 420), tissue=1, giants=[(210, 210, 120)])
    result = segmented(slide, tmp_path / "r")
    (large,) = result.manifest["too_large"]  # many tiles see it, it is one
    assert large == {"tile": 1, "class": "neoplastic nucleus", "box": pytest.approx([91, 91, 330, 330], abs=3)}
    ids, _ = slide.truth(0, 0, 420, 420)
    giant = ids == ids[210, 210]
    assert not np.asarray(result.ids()[:])[giant].any()
    sides = result.instances(["top", "bottom"])
    assert (sides["bottom"].to_numpy() - sides["top"].to_numpy()).max() < 64


def test_what_is_too_large_is_one_object_only_where_tiles_side_by_side_saw_one_class_touching() -> None:
    grid = Grid((100, 300), 60, 20)

    def entry(tile: int, kind: str, left: float, right: float) -> dict[str, object]:
        return {"tile": tile, "class": kind, "box": [0.0, left, 30.0, right]}

    one = [entry(0, "a", 5, 60), entry(1, "a", 40, 100), entry(2, "a", 80, 130)]
    others = [entry(2, "b", 80, 130), entry(3, "a", 140, 180), entry(5, "a", 180, 240), entry(5, "a", 200, 260)]
    assert one_each(one + others, grid) == [entry(0, "a", 5, 130), *others]
    assert one[0] == entry(0, "a", 5, 60)  # the caller's stay as they are
    assert one_each([], grid) == []


def test_the_manifest_is_written_now_and_then_not_for_every_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = store.write_manifest

    def write(folder: Path, manifest: dict[str, Any]) -> None:
        written.append(manifest["tiles"]["done"])
        real(folder, manifest)

    monkeypatch.setattr(store, "write_manifest", write)
    slide = PaintedSlide((420, 420), tissue=1)
    monkeypatch.setattr("pano_med.slides.run.NOTE_EVERY", 1e9)
    total = segmented(slide, tmp_path / "a").manifest["tiles"]["done"]
    assert written == [0, 0, total, total]
    written.clear()
    monkeypatch.setattr("pano_med.slides.run.NOTE_EVERY", 0)
    segmented(slide, tmp_path / "b")
    assert set(written) == set(range(total + 1))


def test_a_damaged_part_is_named_and_skipped(tmp_path: Path) -> None:
    slide = PaintedSlide((420, 420), tissue=1, damaged=[(10, 10, 20, 20)])
    result = segmented(slide, tmp_path / "r")
    (failed,) = result.manifest["tiles"]["failed"]
    assert failed["tile"] == 0
    assert "is damaged at rows" in failed["reason"]
    assert result.instances(["id"]).num_rows > 10
    assert (np.asarray(result.classes()[:90, :90]) == 0).all()


@pytest.mark.parametrize(("options", "sentence"), [
    ({"tile": 100}, "the tile must be a multiple of 32 px, got 100"),
    ({"origin": (0, 5)}, "the origin must be a multiple of 32 px, got 0, 5"),
    ({"region": (900, 0, 10, 10)}, r"a region is top, left, height, width in pixels of the slide \(300 x 300\)"),
])  # fmt: skip
def test_numbers_that_do_not_fit(tmp_path: Path, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        segmented(PaintedSlide((300, 300), tissue=1), tmp_path / "r", **options)


def test_folders_that_may_not_be_used(tmp_path: Path) -> None:
    slide = PaintedSlide((260, 260), tissue=1)
    segmented(slide, tmp_path)
    with pytest.raises(FileExistsError, match="holds a result of this slide already, it is finished: choose another"):
        segmented(slide, tmp_path)
    with pytest.raises(ValueError, match="holds the result of another slide, painted-260x260-0.tif: choose another"):
        segmented(PaintedSlide((260, 260), tissue=1, seed=1), tmp_path)
    with pytest.raises(ValueError, match="was begun with other tiles .tile 160, .*; now tile 192"):
        segmented(slide, tmp_path, tile=192, resume=True)
    other = PaintedSlide((260, 260), tissue=1, mpp=0.5)
    other._fingerprint = slide.fingerprint
    with pytest.raises(ValueError, match=r"was begun with other micrometres per pixel \(0\.25; now 0\.5\): use"):
        segmented(other, tmp_path, resume=True)
    slide.path = Path("renamed.tif")
    assert segmented(slide, tmp_path, resume=True).done


def test_the_order_of_the_tiles_does_not_change_the_map(tmp_path: Path) -> None:
    slide = PaintedSlide((420, 420), tissue=1)
    forth = segmented(slide, tmp_path / "a")
    seen: list[int] = []
    back = segmented(slide, tmp_path / "b", order=lambda waiting: waiting[-1],
                     on_tile=lambda done, total, index, piece: seen.append(index))
    assert seen == sorted(seen, reverse=True)
    np.testing.assert_array_equal(forth.ids()[:], back.ids()[:])


@pytest.mark.parametrize(("mpp", "scale"), [(0.25, 1.0), (0.2527, 1.0), (0.499, 0.5), (0.125, 2.0)])
def test_the_map_has_pixels_of_the_models_size_on_whole_pixels_of_the_slide(mpp: float, scale: float) -> None:
    where = Map.of(PaintedSlide((640, 640), mpp=mpp), 0.25)
    assert where.scale == scale
    assert abs(where.mpp / 0.25 - 1) < 0.016
    assert where.size == (640 / scale, 640 / scale)
