"""Names of output files, the five files, and the figures of a summary."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs_cases import IMAGE, small_map

from pano_med.formats import read_coco, read_image
from pano_med.outputs import FILES, Summary, draw, output_names, things_word, write_outputs
from pano_med.types import HE_CORE, Panoptic

ENDS = ("png", "tif")


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["x.png", "y.tif"], ["x", "y"]),
        (["a/x.png", "b/x.png"], ["a_x", "b_x"]),
        (["a/x.png", "b/X.png"], ["a_x", "b_X"]),
        (["a/x.png", "a/x.tif", "y.png"], ["a_x_png", "a_x_tif", "y"]),
        (["p/a/x.png", "q/a/x.png"], ["p_a_x_png", "q_a_x_png"]),
        (["d/a/x.png", "d/b/x.png", "d/a_x.png"], ["a_x_png", "b_x", "d_a_x"]),
    ],
)
def test_names_by_the_rule(tmp_path: Path, paths: list[str], names: list[str]) -> None:
    assert output_names([tmp_path / p for p in paths])[: len(names)] == names


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abA"), max_size=3), st.sampled_from("xXy"), st.sampled_from(ENDS)),
        min_size=1, max_size=8, unique_by=lambda t: ("/".join(t[0]) + "/" + ".".join(t[1:])).casefold(),
    )
)  # fmt: skip
def test_no_two_images_share_a_name(paths: list[tuple[list[str], str, str]]) -> None:
    names = output_names([Path("/", *folders, f"{stem}.{end}") for folders, stem, end in paths])
    assert len({n.casefold() for n in names}) == len(paths)


def test_paths_that_nothing_tells_apart(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a name of its own.*rename one"):
        output_names([tmp_path / "a_b" / "x.png", tmp_path / "a_b" / "x.png"])


def test_five_files_that_say_the_same(tmp_path: Path) -> None:
    panoptic = small_map()
    files = write_outputs(tmp_path / "new" / "folder", "tile", IMAGE, panoptic)
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(f"tile{e}" for e in FILES)
    back = read_coco(files["_panoptic.png"], files["_panoptic.json"])
    np.testing.assert_array_equal(back.ids, panoptic.ids)
    assert back.segments == panoptic.segments
    assert len(json.loads(files[".geojson"].read_text())["features"]) == len(panoptic.segments)
    assert len(files["_segments.csv"].read_text().splitlines()) == 1 + len(panoptic.segments)
    assert read_image(files["_overlay.png"]).array.shape[1] == IMAGE.shape[1]


def test_a_huge_image_gets_a_smaller_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draw(IMAGE, small_map())
    monkeypatch.setattr("pano_med.outputs.OVERLAY_PIXELS", IMAGE[..., 0].size // 4)
    assert draw(IMAGE, small_map()).shape[1] == 5
    assert whole.shape[1] == 10


def test_summary_checked_by_head() -> None:
    summary = Summary.of(small_map())
    assert summary.counts == {"neoplastic nucleus": 2, "inflammatory nucleus": 1, "connective nucleus": 0}
    assert summary.areas_px == {"background": 20, "other tissue": 43}
    assert (summary.area_px, summary.tissue_px) == (80, 50)  # 80 - 20 background - 10 void
    assert summary.areas()[-1] == ("under nuclei", pytest.approx(7 * 0.25e-6), 7 / 80)
    assert summary.mm2(80) == pytest.approx(20e-6)
    assert summary.per_mm2(3) == pytest.approx(3 / 12.5e-6)
    table = summary.to_dict()
    assert table["things"]["neoplastic nucleus"] == {"count": 2, "per_mm2": pytest.approx(2 / 12.5e-6)}
    assert json.loads(json.dumps(table)) == table


def test_summary_without_pixel_size_or_tissue() -> None:
    assert Summary.of(small_map(None)).mm2(80) is None
    assert Summary.of(small_map(None)).per_mm2(3) is None
    blank = Panoptic.from_ids(np.ones((4, 4), np.int32), {1: HE_CORE["background"].id}, HE_CORE, 0.5)
    assert Summary.of(blank).per_mm2(0) is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        Summary.of(blank).area_px = 1  # type: ignore[misc]


@pytest.mark.parametrize(("names", "word"), [
    (["neoplastic nucleus", "nucleus"], "nuclei"), (["gland"], "glands"), (["gland", "vessel"], "things"),
    ([], "things"),
])  # fmt: skip
def test_things_are_called_by_their_name(names: list[str], word: str) -> None:
    assert things_word(names) == word
