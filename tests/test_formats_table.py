"""The table of segments: numbers that can be checked by head, and skimage's own."""

import csv

import numpy as np
import pytest

from pano_med.formats import COLUMNS, segments_table, write_csv
from pano_med.types import HE_CORE, Panoptic


@pytest.fixture
def panoptic() -> Panoptic:
    ids = np.full((20, 30), 5)
    ids[2:6, 10:12] = 9  # a bar of 4 x 2
    ids[10:13, 3:6] = 70000  # a square
    ids[19, 29] = 0
    return Panoptic.from_ids(ids, {5: 3, 9: 4, 70000: 6}, HE_CORE, 0.5, {9: 0.25})


def test_rows_of_stuff_and_things(panoptic):
    tissue, bar, square = segments_table(panoptic)
    assert list(bar) == list(COLUMNS)
    assert (bar["id"], bar["class"], bar["isthing"], bar["score"]) == (9, "neoplastic nucleus", 1, 0.25)
    assert (bar["area_px"], bar["area_um2"]) == (8, 2.0)
    assert [bar[f"box_{k}"] for k in ("x0", "y0", "x1", "y1")] == [10, 2, 12, 6]
    assert (bar["centroid_row"], bar["centroid_col"]) == (3.5, 10.5)
    assert bar["perimeter_px"] == 8  # through the centres of the border pixels: 3 + 1 + 3 + 1
    # the second moment of n pixel centres in a row is (n^2 - 1) / 12, so 3 / 12 and 15 / 12 here
    assert bar["eccentricity"] == pytest.approx(np.sqrt(1 - 3 / 15))
    assert square["eccentricity"] == 0
    assert (square["id"], square["centroid_row"], square["centroid_col"]) == (70000, 11, 4)
    assert (tissue["isthing"], tissue["score"], tissue["area_px"]) == (0, None, 600 - 8 - 9 - 1)
    assert (tissue["perimeter_px"], tissue["eccentricity"]) == (None, None)
    inside = np.argwhere(panoptic.ids == 5).mean(0)
    np.testing.assert_allclose([tissue["centroid_row"], tissue["centroid_col"]], inside)


def test_csv_leaves_empty_what_is_unknown(panoptic, tmp_path):
    unknown = Panoptic(panoptic.ids, panoptic.segments, HE_CORE)
    write_csv(unknown, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [r["area_um2"] for r in rows] == ["", "", ""]
    assert [r["perimeter_px"] for r in rows] == ["", "8.0", "8.0"]
    assert [r["score"] for r in rows] == ["", "0.25", ""]
    write_csv(panoptic, tmp_path / "a.csv")
    assert "5,other tissue,0,,582,145.5,0,0,30,20," in (tmp_path / "a.csv").read_text()


def test_a_map_without_segments_has_a_header_only(tmp_path):
    write_csv(Panoptic(np.zeros((2, 2), int), (), HE_CORE), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == ",".join(COLUMNS) + "\n"
    with pytest.raises(FileNotFoundError, match=r"cannot write .*its folder does not exist"):
        write_csv(Panoptic(np.zeros((2, 2), int), (), HE_CORE), tmp_path / "no" / "a.csv")
