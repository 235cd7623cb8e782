"""The generator of model cards: looks, shapes, tables, pictures and markers, on painted fields with known mistakes."""

import io
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import card_fields
import card_pictures
import card_tables
import model_card
import numpy as np
import pytest
import torch
from card_fields import Field, Once, measure, never_drawn, validation
from card_looks import Look, bin_names, binned, gaps_px, look_of, quarters, shapes_of
from model_card import BEGIN, END, replaced
from PIL import Image
from scipy import ndimage

from pano_med.data import Split
from pano_med.metrics import bootstrap, panoptic_quality, things_quality, things_table, total
from pano_med.predict import Segmenter
from pano_med.types import HE_CORE, OKABE_ITO, Category, Instances, Panoptic, Prediction, Sample, Taxonomy
from pano_med.weights import LoadedWeights

NUCLEUS, MPP = HE_CORE["nucleus"].id, 0.5
#: Painted nuclei: row, column, half height, half width, and what the network makes of each.
PLACES = {
    "found": (30, 30, 8, 8), "also found": (30, 80, 8, 8), "unsure": (80, 30, 6, 6), "long, missed": (80, 80, 3, 14),
    "at the edge": (0, 60, 8, 8), "never drawn": (115, 40, 7, 7),
}  # fmt: skip
SCORES = {"found": 0.95, "also found": 0.9, "unsure": 0.4, "at the edge": 0.8, "never drawn": 0.7}


def canvas(*names: str) -> np.ndarray:
    """(128, 128) int32: rectangles numbered by their order in PLACES."""
    ids = np.zeros((128, 128), np.int32)
    for i, (name, (r, c, h, w)) in enumerate(PLACES.items(), 1):
        if name in names:
            ids[max(r - h, 0) : r + h, c - w : c + w] = i
    return ids


class Seer:
    """Sees the painted nuclei that it has a score for; its masks fill their boxes."""

    taxonomy = HE_CORE

    def __init__(self) -> None:
        self.calls = 0

    def to(self, device: torch.device) -> "Seer":
        return self

    def eval(self) -> "Seer":
        return self

    def __call__(self, images: list[torch.Tensor]) -> list[Prediction]:
        self.calls += 1
        size = images[0].shape[1:]
        spans = [ndimage.find_objects((canvas(name) > 0).astype(int))[0] for name in SCORES]
        boxes = torch.tensor([[x.start, y.start, x.stop, y.stop] for y, x in spans], dtype=torch.float32)
        kinds = torch.full((len(boxes),), HE_CORE.things[0].id)
        found = Instances(boxes, kinds, torch.tensor(list(SCORES.values())), torch.full((len(boxes), 4, 4), 5.0))
        logits = torch.zeros(len(HE_CORE.channels), *size)
        logits[2], logits[3] = 1, torch.from_numpy(canvas(*SCORES) > 0) * 4.0
        return [Prediction(logits, found, HE_CORE)]


def sample(group: str = "pink-1", name: str = "field", source: str = "dsb2018_tissue", known: set[int] | None = None
           ) -> Sample:
    ids = canvas(*(n for n in PLACES if n != "never drawn"))
    image = np.full((128, 128, 3), (200, 120, 190), np.uint8)
    image[canvas(*PLACES) > 0] = (90, 40, 130)
    truth = Panoptic.from_ids(ids, dict.fromkeys(range(1, 7), NUCLEUS), HE_CORE, MPP)
    return Sample(torch.from_numpy(image.transpose(2, 0, 1).copy()), truth, MPP, source, group,
                  {NUCLEUS} if known is None else known, name=name)  # fmt: skip


def loaded(network: Seer | None = None) -> LoadedWeights:
    return LoadedWeights(network or Seer(), {"model_mpp": MPP, "score": 0.65, "config": {"name": "efficientps"}})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer draws; what is asserted of ranges does not depend on their number."""
    monkeypatch.setattr(card_tables, "bootstrap", partial(bootstrap, samples=50))


@pytest.fixture(scope="module")
def fields() -> list[Field]:
    segmenter = Once(loaded(), "cpu", types=True)
    rows = [("dsb2018_tissue", "pink-1", "a"), ("dsb2018_tissue", "white-3", "b"),
            ("tnbc_breast_nuclei", "patient-02", "c"), ("histolytics_hgsc", "hgsc", "d")]  # fmt: skip
    return [measure(segmenter, sample(group, name, source)) for source, group, name in rows]


def test_the_network_is_asked_once_and_the_map_is_the_segmenters() -> None:
    network = Seer()
    segmenter = Once(loaded(network), "cpu", types=True)
    field = measure(segmenter, sample())
    assert network.calls == 1
    assert sorted(field.by_cut) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9]
    assert segmenter.rules.score == 0.65
    for cut in (0.3, 0.65):
        alone = Segmenter(loaded(), "cpu", cut, types=True)(field.image, MPP).panoptic
        assert things_quality(field.sample.truth, alone).to_dict() == field.by_cut[cut].to_dict()


def test_types_are_told_beside_those_of_the_labels() -> None:
    everything = sample(known={c.id for c in HE_CORE.categories})
    assert everything.truth is not None
    first = everything.truth.things[0]
    labelled = tuple(replace(s, category_id=HE_CORE["connective nucleus"].id) if s is first else s
                     for s in everything.truth.segments)  # fmt: skip
    truth = replace(everything.truth, segments=labelled)
    field = measure(Once(loaded(), "cpu", types=True), replace(everything, truth=truth))
    assert _rows(card_tables.by_type([field])) == [  # neoplastic, inflammatory, connective, of no type, missed
        ["dsb2018_tissue", "connective nucleus", "1", "0", "0", "0", "0"],
        ["dsb2018_tissue", "nucleus", "2", "0", "0", "0", "2"],
    ]
    plain = measure(Once(loaded(), "cpu", types=True), sample())
    assert card_tables.by_type([plain]) == "", "labels without types tell nothing of types"


def test_things_are_taken_out_where_only_tissue_was_drawn() -> None:
    field = measure(Once(loaded(), "cpu", types=True), sample(known={2, 3}))
    assert not field.drawn
    assert not field.found.things
    assert set(field.stuff) == {2, 3}


def test_a_sample_without_truth_is_named() -> None:
    with pytest.raises(ValueError, match="needs a truth, field 7 has none"):
        measure(Once(loaded(), "cpu"), Sample(torch.zeros(3, 64, 64), name="field 7"))


def test_weights_of_a_taxonomy_that_no_card_speaks() -> None:
    strange = Taxonomy("cars", (Category(1, "car", True, (0, 0, 0)),))
    with pytest.raises(ValueError, match="no data card speaks the taxonomy 'cars'"):
        validation(strange, "anywhere")


def test_the_taxonomy_of_the_weights_decides_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(card_fields, "load_split", lambda name, root: asked.append(name) or Split([], []))
    monkeypatch.setattr(card_fields, "he_core", lambda root, tiles: asked.append("he_core") or Split([], []))
    validation(card_fields.card("ebhi_polyp_glands").taxonomy, ".")
    validation(HE_CORE, ".")
    assert asked == ["ebhi_polyp_glands", "he_core"]


def test_sets_that_no_training_drew_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_fields, "load", lambda name, root, glass: [name])
    assert never_drawn(HE_CORE, ".") == ["camelyon_lymphnode_tumour_regions", "csmp_cervix_panoptic"]
    assert never_drawn(card_fields.card("ebhi_polyp_glands").taxonomy, ".") == []
    monkeypatch.setattr(card_fields, "HE_CORE_WEIGHTS", {"csmp_cervix_panoptic": 1.0})
    with pytest.raises(ValueError, match="the recipe draws from csmp_cervix_panoptic now; take it out of NEVER_DRAWN"):
        never_drawn(HE_CORE, ".")


@pytest.mark.parametrize(("dye", "name"), [
    ((0.65, 0.70, 0.29), "haematoxylin prevails, medium"),
    ((0.07, 0.99, 0.11), "eosin prevails, pale"),
    ((0.36, 0.85, 0.20), "both dyes, medium"),
    ((1.95, 2.10, 0.87), "haematoxylin prevails, deep"),
])  # fmt: skip
def test_looks_of_pure_and_mixed_dyes(dye: tuple[float, ...], name: str) -> None:
    image = np.full((32, 32, 3), 255, np.uint8)
    image[:16] = np.rint(255 * np.exp(-np.array(dye)))
    assert look_of(image).name == name
    assert look_of(image) == look_of(image.copy())
    assert look_of(np.tile(image, (2, 2, 1))).haematoxylin == pytest.approx(look_of(image).haematoxylin)


def test_ignored_pixels_have_no_look_and_glass_has_none() -> None:
    image = np.full((32, 32, 3), 250, np.uint8)
    assert look_of(image).name == "no tissue"
    image[:, :8] = (20, 20, 20)
    padding = np.zeros((32, 32), bool)
    padding[:, :8] = True
    assert look_of(image, padding).name == "no tissue"
    assert Look(0.45, 0.9).name == "both dyes, deep"


def test_gaps_between_neighbours() -> None:
    dense = np.zeros((20, 40), int)
    dense[5:10, 2:7], dense[5:10, 7:12], dense[5:10, 16:20], dense[5:10, 30:34] = 1, 2, 3, 4
    assert gaps_px(dense, 4).tolist() == [0, 0, 4, 10]
    assert gaps_px(np.where(dense == 3, 1, 0), 1).tolist() == [math.inf]
    assert gaps_px(np.zeros((4, 4), int), 2).tolist() == [math.inf] * 2


def test_shapes_of_painted_nuclei() -> None:
    truth = sample().truth
    found = shapes_of(truth, [4, 1, 5], 0.5)
    assert found.area_um2.tolist() == [6 * 28 / 4, 16 * 16 / 4, 8 * 16 / 4]
    assert found.axes[0] == pytest.approx(math.sqrt((28**2 - 1) / (6**2 - 1)), rel=0.02)
    assert found.axes[1] == pytest.approx(1)
    assert found.whole.tolist() == [True, True, False]
    assert found.gap_um[0] == (66 - 36) / 2  # to the unsure one at its left


def test_bins_hold_their_lower_edge_and_say_so() -> None:
    assert binned(np.array([1.49, 1.5, 2.9, 3.0]), (1.5, 2, 3)).tolist() == [0, 1, 2, 3]
    assert bin_names((20.0, 40.0), "um2") == ["below 20 um2", "20 to 40 um2", "40 um2 and more"]
    assert quarters(np.arange(1.0, 102)) == (26, 51, 76)
    assert quarters(np.full(5, 7.0)) == (7,)


def test_markers_are_kept_and_what_lies_between_is_replaced() -> None:
    card = f"# he-nano\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"
    once = replaced(card, "## Measured\n\nnew")
    assert once == f"# he-nano\n\nBefore.\n\n{BEGIN}\n## Measured\n\nnew\n{END}\n\nAfter.\n"
    assert replaced(once, "## Measured\n\nnew") == once


@pytest.mark.parametrize("card", ["# none\n", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_missing_markers_are_one_clear_sentence(card: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"must hold one line {BEGIN} and below it one line {END}, this")):
        replaced(card, "new")


def test_tables_say_what_the_counts_say(fields: list[Field]) -> None:
    rows = _rows(card_tables.quality(fields, 0.65))
    pq = total([f.by_cut[0.65] for f in fields[:3]]).mean("things")[0]
    assert rows[0][:5] == ["unseen patients, all sets", "nucleus, type ignored", "3", "3", "15"]
    assert rows[0][5] == f"{pq:.3f} ({pq:.3f}-{pq:.3f})"
    assert pq == pytest.approx(3 / (3 + 0.5 + 1))  # 3 found, 1 false, 2 missed
    assert [r[0] for r in rows[1:]] == ["dsb2018_tissue", "histolytics_hgsc \\*", "tnbc_breast_nuclei"]
    assert rows[3][5] == f"{pq:.3f}"  # one image has no range


def test_glands_have_their_own_rows() -> None:
    taxonomy = card_fields.card("ebhi_polyp_glands").taxonomy
    truth = Panoptic.from_ids(canvas("found", "unsure") + 10, {10: 1, 11: 2, 13: 2}, taxonomy, 0.7)
    found = Panoptic.from_ids(canvas("found") + 10, {10: 1, 11: 2}, taxonomy, 0.7, {11: 0.9})
    image = torch.full((3, 128, 128), 128, dtype=torch.uint8)
    drawn = Sample(image, truth, 0.7, "ebhi_polyp_glands", "GTXC1", {1, 2}, name="polyp")
    stuff = {1: (int((truth.ids == 10).sum()), int((found.ids == 10).sum()))}
    counts = panoptic_quality(truth, found, void_is_background=True)
    field = Field(drawn, found, 0.5, Look(0.5, 1.0), counts, stuff, {0.5: things_quality(truth, found)},
                  {0.5: things_table(truth, found)})  # fmt: skip
    rows = {r[1]: (r[5], r[9]) for r in _rows(card_tables.quality([field], 0.5))}
    iou = stuff[1][0] / stuff[1][1]
    assert rows == {"gland": ("0.667", ""), "stroma": (f"{iou:.3f}", f"{iou:.3f}"),
                    "all classes": (f"{(2 / 3 + iou) / 2:.3f}", "")}  # fmt: skip


def test_calibration_says_how_scores_and_cuts_fare(fields: list[Field]) -> None:
    judged = card_tables.core(fields)
    assert {f.sample.source for f in judged} == {"dsb2018_tissue", "tnbc_breast_nuclei"}
    text = card_tables.calibration(judged, card_tables.calibrated(judged), 0.65)
    error = (0.05 + 0.1 + 0.6 + 0.2 + 0.7) / 5
    assert f"**{error:.3f}** over all of them" in text
    assert "| **0.65** (shipped) | 12 | 0.750 | 0.600 | 0.667 |" in text
    assert "| 0.1 | 15 | 0.800 | 0.800 | 0.800 |" in text
    assert "The best cut of this table is 0.3 (PQ 0.800), the shipped one 0.65 (PQ 0.667); from 0.1 to 0.3" in text
    assert "chosen on these very images" in text


def test_sizes_show_that_long_nuclei_are_missed(fields: list[Field]) -> None:
    text = card_tables.by_size(card_tables.core(fields), 0.65)
    assert text.startswith("12 true things; 3 more are cut by the edge of their image and left out.")
    rows = {(r[0], r[1]): r[2:] for r in _rows(text)}
    assert rows["length : width", "3 and more"] == ["3", "0.000 (0.000-0.000)", "n/a"]
    assert rows["length : width", "below 1.5"][:2] == ["9", "0.667 (0.667-0.667)"]
    assert rows["area", "40 to 80 um2"][:2] == ["9", "0.667 (0.667-0.667)"]


def test_images_with_wrong_labels_are_told_apart() -> None:
    segmenter = Once(loaded(), "cpu", types=True)
    bad = measure(segmenter, sample("patient-02", "distorted_0.02_1010", "tnbc_breast_nuclei"))
    fields = [measure(segmenter, sample("patient-03", "1014", "tnbc_breast_nuclei")), bad]
    assert (bad.misdrawn, fields[0].misdrawn) == (True, False)
    assert card_tables.core(fields) == fields[:1]
    rows = [(r[0], r[2]) for r in _rows(card_tables.quality(fields, 0.65))]
    assert rows == [("tnbc_breast_nuclei", "2"), ("tnbc_breast_nuclei, without the misdrawn", "1")]
    assert [r[3] for r in _rows(card_tables.by_stain(fields, 0.65))] == ["1"]


def test_stain_groups_name_their_images(fields: list[Field]) -> None:
    (row,) = _rows(card_tables.by_stain(fields, 0.65))
    assert row[0] == fields[0].look.name
    assert (row[3], row[6]) == ("4", "hgsc \\*: 1, patient-02: 1, pink-1: 1, white-3: 1")


def test_only_what_may_be_passed_on_is_shown(fields: list[Field], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.sample.name for f in card_pictures.worst(fields[:3], 0.65)] == ["a", "b", "c"]
    monkeypatch.setattr(card_pictures, "may_show", lambda source: source == "tnbc_breast_nuclei")
    drawn = card_pictures.failures(fields[:3], 0.65)
    assert drawn.captions[0] == ("**A**, tnbc_breast_nuclei, patient-02, c: 5 labelled, 3 of them matched, 2 missed, "
                                 "1 false, PQ 0.667.")  # fmt: skip
    assert "missed (tnbc" in drawn.captions[1]
    assert len(drawn.credits) == 1
    assert "CC BY 4.0" in drawn.credits[0]
    monkeypatch.setattr(card_pictures, "may_show", lambda source: False)
    assert card_pictures.failures(fields[:3], 0.65) is None


def test_what_is_wrong_has_a_thick_line_and_a_sign(fields: list[Field]) -> None:
    picture = card_pictures.failures(fields[:1], 0.65).picture
    side, gap = card_pictures.SIDE, card_pictures.GAP
    middle, last = picture[40 : 40 + side - 10, side + gap : 2 * side], picture[40 : 40 + side - 10, 2 * (side + gap) :]
    for panel in (middle, last):
        yellow = (panel == OKABE_ITO["yellow"]).all(-1)
        assert yellow.any()
        assert ndimage.binary_erosion(yellow, np.ones((3, 3))).any()  # three pixels wide
        assert (panel == 0).all(-1).any()
    assert not (picture[40 : 40 + side - 10, :side] == OKABE_ITO["yellow"]).all(-1).any()


def test_a_picture_fits_its_limit() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    made = card_pictures.png(noise, 5000)
    assert len(made) <= 5000
    assert made == card_pictures.png(noise, 5000)
    assert Image.open(io.BytesIO(made)).width < 90


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    samples = [sample("pink-1", "a"), sample("white-3", "b"), sample("patient-02", "c", "tnbc_breast_nuclei")]
    monkeypatch.setattr(model_card, "load_network", lambda place: LoadedWeights(*_seer()))
    monkeypatch.setattr(model_card, "validation", lambda taxonomy, root: samples)
    others = [sample("camelyon-100", "d", "camelyon_lymphnode_tumour_regions", known={2, 3})]
    monkeypatch.setattr(model_card, "never_drawn", lambda taxonomy, root: others)
    return tmp_path


def _seer() -> tuple[Seer, dict]:
    weights = loaded()
    return weights.model, weights.meta


def test_two_runs_give_the_same_bytes(here: Path) -> None:
    card = here / "cards" / "seer.md"
    card.parent.mkdir()
    card.write_text(f"# seer\n\nProse.\n\n{BEGIN}\n{END}\n\nMore prose.\n")
    ask = ["seer", "--data", ".", "--out", str(card), "--pictures", str(here / "pictures")]
    assert model_card.main(ask) == 0
    first = {p.name: p.read_bytes() for p in here.rglob("*.*") if p.is_file()}
    assert set(first) == {"seer.md", "seer_failures.png", "seer_reliability.png"}
    assert model_card.main(ask) == 0
    assert {p.name: p.read_bytes() for p in here.rglob("*.*") if p.is_file()} == first
    text = card.read_text()
    assert text.startswith(f"# seer\n\nProse.\n\n{BEGIN}\n## Measured\n")
    assert text.endswith(f"{END}\n\nMore prose.\n")
    assert "](../pictures/seer_failures.png)" in text
    assert " on 3 validation images at a cut " in text, "the sets that no training drew from are counted apart"
    assert text.count("camelyon_lymphnode_tumour_regions") == 2  # its pixel size is an estimate; and its row
    assert "### Sets that no training drew from\n1 images, all of patients and slides" in text


def test_a_card_that_cannot_take_figures_is_said_before_anything_is_predicted(
    here: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_card, "_fields", lambda *args: pytest.fail("predicted for nothing"))
    for text, words in ((None, "there is no card"), ("# prose\n", "a card must hold one line")):
        if text:
            (here / "card.md").write_text(text)
        with pytest.raises(SystemExit) as stop:
            model_card.main(["seer", "--data", ".", "--out", str(here / "card.md")])
        assert stop.value.code == 1
        assert words in capsys.readouterr().err


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")] for line in lines[2:]]
