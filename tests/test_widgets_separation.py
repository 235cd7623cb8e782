"""SeparationLab without a browser: what it sends, what its sliders do, bad input."""

import subprocess
import sys
import time

import numpy as np
import pytest
from metrics_cases import SMALL

from pano_med.lessons import classical
from pano_med.metrics import separation_errors
from pano_med.synthetic import Knobs, he_tile
from pano_med.types import Panoptic
from pano_med.widgets import SeparationLab
from pano_med.widgets.panes import KINDS, things_only

TILE = he_tile(1, (128, 128), Knobs(crowding=2, tumour_fraction=1.0, tissue=1.0))


def scored(panoptic: Panoptic) -> Panoptic:
    """The same map with scores from 0.5 to 0.9 for its things."""
    names = [s.id for s in panoptic.things]
    scores = dict(zip(names, np.linspace(0.5, 0.9, len(names)).tolist(), strict=True))
    kinds = {s.id: s.category_id for s in panoptic.segments}
    return Panoptic.from_ids(panoptic.ids, kinds, panoptic.taxonomy, panoptic.pixel_size_um, scores)


@pytest.fixture
def lab() -> SeparationLab:
    return SeparationLab(TILE.image, scored(TILE.truth), TILE.truth)


def move(lab: SeparationLab, **values: float) -> None:
    """As the page does it."""
    lab.set_state(values)
    assert lab.fault == ""


def test_one_line_shows_all_four(lab: SeparationLab) -> None:
    nuclei = len(TILE.truth.things)
    assert (lab.ours["count"], lab.truth["count"]) == (nuclei, nuclei)
    assert lab.ours["pq"] == 1
    assert lab.ours["marks"] == []
    assert lab.threshold["count"] < lab.watershed["count"]
    assert lab.pixel_size == 0.5  # known from the map
    assert lab.watershed["count"] == len(classical.watershed(TILE.image, 0.5).segments)


def test_marks_are_the_errors_of_the_metric(lab: SeparationLab) -> None:
    truth = classical.as_panoptic(things_only(TILE.truth).ids)
    errors = separation_errors(truth, classical.watershed(TILE.image, 0.5))
    sizes = [len(e) for e in (errors.merges, errors.splits, errors.missed, errors.invented, errors.poor)]
    assert list(lab.watershed["errors"].values()) == sizes
    assert list(lab.watershed["errors"]) == list(KINDS)
    assert lab.watershed["errors"]["split"] > 0
    merge = next(m for m in lab.threshold["marks"] if m["kind"] == "merge")
    assert merge["text"] == f"{len(merge['truth'])} nuclei in one outline"
    assert 0 <= merge["row"] < 128


def test_each_slider_moves_its_own_picture(lab: SeparationLab) -> None:
    before = {name: getattr(lab, name) for name in ("threshold", "watershed", "ours", "truth")}

    def changed() -> set[str]:
        now = {name: getattr(lab, name) for name in before}
        different = {name for name in before if now[name] is not before[name]}
        before.update(now)
        return different

    move(lab, seed=8.0)
    assert changed() == {"watershed"}
    move(lab, stain=lab.stain * 1.5)
    assert changed() == {"threshold", "watershed"}
    move(lab, score=0.7)
    assert changed() == {"ours"}
    assert lab.ours["count"] == sum(s.score >= 0.7 for s in scored(TILE.truth).things)
    assert lab.ours["errors"]["missed"] == lab.truth["count"] - lab.ours["count"]


def test_a_slider_answers_at_once_on_512_pixels() -> None:
    tile = he_tile(3, (512, 512), Knobs(crowding=2, tumour_fraction=1.0, tissue=1.0))
    lab = SeparationLab(tile.image, tile.truth, tile.truth)
    best = 9.0
    for factor in (1.05, 1.1, 1.15, 1.2):
        start = time.process_time()
        move(lab, stain=lab.otsu * factor)
        best = min(best, time.process_time() - start)
    assert best < 0.3


def test_a_function_of_the_score_is_asked_for_maps() -> None:
    asked = []

    def network(score: float) -> Panoptic:
        asked.append(score)
        return TILE.truth

    lab = SeparationLab(TILE.image, network, score=0.4)
    move(lab, score=0.8)
    assert asked[-1] == 0.8
    assert asked[0] == 0.4


def test_a_fault_of_the_function_is_shown_in_the_widget() -> None:
    lab = SeparationLab(TILE.image, lambda score: TILE.truth if score < 0.6 else 1 / 0)
    lab.set_state({"score": 0.9})
    assert lab.fault == "ZeroDivisionError: division by zero"
    lab.set_state({"score": 0.3})
    assert lab.fault == ""


def test_without_truth_nothing_is_an_error() -> None:
    lab = SeparationLab(TILE.image, TILE.truth)
    assert lab.truth == {}
    assert "marks" not in lab.watershed
    assert "no truth given" in lab.alt()
    assert lab.least_score is None  # no scores, no slider


def test_without_a_pixel_size_lengths_are_pixels() -> None:
    bare = Panoptic.from_ids(TILE.truth.ids, {s.id: s.category_id for s in TILE.truth.segments}, TILE.truth.taxonomy)
    lab = SeparationLab(TILE.image, bare)
    assert (lab.pixel_size, lab.seed, lab.min_area) == (None, 4.0, 40.0)
    assert lab.watershed["count"] == len(classical.watershed(TILE.image, 0.5).segments)


def test_truth_and_network_may_speak_different_taxonomies() -> None:
    ids = things_only(TILE.truth).ids
    truth = Panoptic.from_ids(ids, dict.fromkeys(range(1, ids.max() + 1), 3), SMALL)
    assert SeparationLab(TILE.image, TILE.truth, truth).ours["pq"] == 1


def test_an_image_without_nuclei() -> None:
    white = np.full((40, 50, 3), 255, np.uint8)
    empty = Panoptic.from_ids(np.zeros((40, 50), int), {}, TILE.truth.taxonomy)
    lab = SeparationLab(white, empty, empty, 0.5)
    assert (lab.threshold["count"], lab.watershed["count"], lab.ours["pq"]) == (0, 0, None)
    assert lab.still().shape[2] == 3


def test_the_static_picture_and_its_words(lab: SeparationLab) -> None:
    picture = lab.still()
    assert picture.dtype == np.uint8
    assert picture.shape[0] > 2 * 128
    assert "watershed: " in lab.alt()
    assert "splits (S)" in lab.alt()
    assert 'alt="Nuclei of an image' in lab.still_html()


def test_the_callers_arrays_are_left_alone() -> None:
    image = TILE.image.copy()
    SeparationLab(image, TILE.truth, TILE.truth)
    np.testing.assert_array_equal(image, TILE.image)


def test_it_runs_without_torch() -> None:
    code = "import sys, pano_med.widgets.separation; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize(
    ("error", "match", "arguments"),
    [
        (TypeError, "`ours` must be a pano_med.types.Panoptic, got ndarray", (TILE.image, TILE.truth.ids)),
        (TypeError, "`truth` must be a pano_med.types.Panoptic, got str", (TILE.image, TILE.truth, "truth")),
        (ValueError, r"image and `ours` must have one size", (TILE.image[:64], TILE.truth)),
        (TypeError, "`ours` must be a pano_med.types.Panoptic, got int", (TILE.image, lambda score: 3)),
        (TypeError, "the image must be uint8", (TILE.image / 255, TILE.truth)),
        (ValueError, "pixel_size_um must be a positive number", (TILE.image, TILE.truth, None, -1.0)),
        (ValueError, "at most 1,500,000 pixels, got 2000 x 2000; give a part",
         (np.zeros((2000, 2000, 3), np.uint8), TILE.truth)),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_sentence(error: type[Exception], match: str, arguments: tuple) -> None:
    with pytest.raises(error, match=match):
        SeparationLab(*arguments)
