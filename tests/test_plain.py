"""Nuclei without types by default; with them on demand, the same nuclei, and the sentence in every output."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from outputs_cases import IMAGE, small_map
from PIL import Image
from slide_cases import PaintedSlide, PerfectPredictor
from slide_results import painted as painted_result
from slide_results import write_result
from test_cli import call, picture, write_pair
from test_predict import MPP, Seer, painted
from test_slides_cohort import Now, fake
from typer.testing import CliRunner

from pano_med.cli import app
from pano_med.formats import read_coco, read_geojson
from pano_med.metrics import things_quality
from pano_med.models import EfficientPS
from pano_med.outputs import write_outputs
from pano_med.pictures import legend
from pano_med.predict import Segmenter
from pano_med.predict.doubt import doubted
from pano_med.slides.cohort import run_cohort
from pano_med.slides.cohort_work import Job
from pano_med.slides.export import export
from pano_med.slides.reader import fingerprint
from pano_med.slides.run import segment_slide
from pano_med.slides.seams import certify
from pano_med.types import DEMONSTRATION, HE_CORE, Category, Instances, Panoptic, Prediction, Taxonomy
from pano_med.weights import LoadedWeights, load, save, shipped

TYPED = replace(HE_CORE, note=DEMONSTRATION)
PLAIN = HE_CORE.plain()


class Typist(Seer):
    """A `Seer` that calls the nuclei of a tile by all types in turn."""

    def __init__(self, taxonomy: Taxonomy = HE_CORE) -> None:
        super().__init__()
        self.taxonomy = taxonomy

    def see(self, image: torch.Tensor) -> Prediction:
        said = super().see(image)
        kinds = torch.tensor([c.id for c in self.taxonomy.things])
        kinds = kinds[torch.arange(len(said.instances)) % len(kinds)]
        logits = said.semantic_logits[: len(self.taxonomy.channels)].clone()
        logits[self.taxonomy.num_stuff :] = said.semantic_logits[HE_CORE.num_stuff]
        found = said.instances
        return Prediction(logits, Instances(found.boxes, kinds, found.scores, found.mask_logits), self.taxonomy)


def typist(types: bool = False, taxonomy: Taxonomy = HE_CORE, **card: object) -> Segmenter:
    meta = {"model_mpp": MPP, "config": {"name": "efficientps"}, **card}
    return Segmenter(LoadedWeights(Typist(taxonomy), meta), "cpu", types=types)


def test_a_plain_table_has_the_same_stuff_and_one_thing() -> None:
    assert (PLAIN.stuff, PLAIN.things, PLAIN.unclassed) == (HE_CORE.stuff, (HE_CORE["nucleus"],), None)
    assert PLAIN.plain() is PLAIN
    other = Taxonomy("t", (*HE_CORE.stuff, *HE_CORE.things[1:]))
    assert other.plain().things == (Category(5, "object", True, HE_CORE[5].color),)
    only = Taxonomy("t", HE_CORE.stuff, HE_CORE.unclassed)
    assert only.plain() is only


def test_a_note_travels_with_a_table_and_makes_no_other_of_it() -> None:
    assert TYPED == HE_CORE
    assert Taxonomy.from_dict(TYPED.to_dict()).note == DEMONSTRATION
    assert "note" not in HE_CORE.to_dict()


def test_a_plain_map_is_the_same_map() -> None:
    full = small_map()
    plain = full.plain()
    assert [replace(s, category_id=0) for s in plain.segments] == [replace(s, category_id=0) for s in full.segments]
    assert {s.category_id for s in plain.things} == {HE_CORE["nucleus"].id}
    assert plain.stuff == full.stuff
    np.testing.assert_array_equal(plain.ids, full.ids)
    assert plain.pixel_size_um == full.pixel_size_um
    assert plain.plain() is plain


@pytest.mark.parametrize("size", [(200, 300), (1300, 1200)])
def test_types_change_the_class_and_nothing_else(size: tuple[int, int]) -> None:
    image, _ = painted(size)
    plain, typed = typist()(image, MPP), typist(types=True)(image, MPP)
    assert len({s.category_id for s in typed.panoptic.things}) == 3
    assert {s.category_id for s in plain.panoptic.things} == {HE_CORE["nucleus"].id}
    np.testing.assert_array_equal(plain.panoptic.ids, typed.panoptic.ids)
    assert typed.panoptic.plain().segments == plain.panoptic.segments
    assert (plain.panoptic.taxonomy, typed.panoptic.taxonomy.note) == (PLAIN, DEMONSTRATION)
    assert (DEMONSTRATION in typed.warnings, DEMONSTRATION in plain.warnings) == (True, False)


def test_a_type_on_which_the_heads_disagree_is_unknown() -> None:
    ids = np.array([[1, 1, 2, 2, 3, 3, 9, 9]], np.int32)
    kind = [c.id for c in HE_CORE.things]
    classes = {1: kind[0], 2: kind[1], 3: kind[2], 9: HE_CORE.stuff[0].id}
    scores = {1: 0.9, 2: 0.8, 3: 0.7}
    logits = torch.zeros(len(HE_CORE.channels), 1, 8)
    of = HE_CORE.num_stuff
    logits[of, 0, :2] = 5  # agrees
    logits[of + 2, 0, 2], logits[of + 1, 0, 3] = 5, 1  # on the whole for another type
    logits[of + 1, 0, 4], logits[of + 2, 0, 5] = 1, 5  # on the whole for its own
    nothing = Instances(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 2, 2))
    whole = Panoptic.from_ids(ids, classes, HE_CORE, MPP, scores)
    found = doubted(whole, Prediction(logits, nothing, HE_CORE))
    assert HE_CORE.unclassed is not None
    assert {s.id: s.category_id for s in found.segments} == classes | {2: HE_CORE.unclassed.id}
    assert {s.id: s.score for s in found.things} == scores
    np.testing.assert_array_equal(found.ids, ids)
    assert whole.segments[1].category_id == kind[1], "the caller's map stays as it is"
    again = doubted(found, Prediction(logits, nothing, HE_CORE))
    assert again.segments == found.segments
    table = Taxonomy("t", HE_CORE.categories)
    other = Panoptic.from_ids(ids, classes, table, MPP, scores)
    assert doubted(other, Prediction(logits, nothing, table)) is other


@pytest.mark.parametrize("types", [True, False])
def test_validated_types_and_a_single_class_stay_as_they_are(types: bool) -> None:
    validated = typist(types, types_validated=True)
    assert (validated.taxonomy, validated.taxonomy.note) == (HE_CORE, "")
    glands = Taxonomy("glands", (*HE_CORE.stuff, Category(9, "gland", True, (0, 114, 178))))
    alone = typist(types, glands)
    assert alone.taxonomy is glands
    found = alone(painted((100, 100))[0], MPP)
    assert {found.panoptic.taxonomy[s.category_id].name for s in found.panoptic.things} == {"gland"}
    assert found.warnings == ()


@pytest.fixture(scope="module")
def net() -> EfficientPS:
    torch.manual_seed(0)
    return EfficientPS.small()


def test_weights_say_whether_types_are_validated(net: EfficientPS, tmp_path: Path) -> None:
    for card, validated in (({}, False), ({"types_validated": True}, True)):
        path = save(net, tmp_path / f"{validated}.safetensors", {"model_mpp": 0.5, **card})
        assert json.loads(path.with_suffix(".json").read_text())["types_validated"] is validated
        assert load(path).types_validated is validated
        path.with_suffix(".json").unlink()  # the file alone says it too
        assert load(path).types_validated is validated
    assert not any(card.get("types_validated") for card in shipped().values())


@pytest.mark.parametrize("plain", [True, False])
def test_each_file_of_an_image_says_it_or_has_no_types(tmp_path: Path, plain: bool) -> None:
    typed = replace(small_map(), taxonomy=TYPED)
    files = write_outputs(tmp_path, "x", IMAGE, typed.plain() if plain else typed)
    for ending in (".geojson", "_segments.csv", "_panoptic.json"):
        text = files[ending].read_text(encoding="utf-8")
        assert (DEMONSTRATION in text, "neoplastic" in text) == (not plain, not plain), ending
    back = read_coco(files["_panoptic.png"], files["_panoptic.json"])
    assert (back.taxonomy, back.taxonomy.note) == ((PLAIN, "") if plain else (HE_CORE, DEMONSTRATION))
    assert len(read_geojson(files[".geojson"], back.size, back.taxonomy).things) == 3
    rows = list(csv.DictReader(files["_segments.csv"].read_text(encoding="utf-8").splitlines()))
    assert [r.get("note", "") for r in rows] == ["", "", *([""] * 3 if plain else [DEMONSTRATION] * 3)]


def test_the_sentence_stands_below_the_legend() -> None:
    typed = replace(small_map(), taxonomy=TYPED)
    bare, said = legend(replace(typed, taxonomy=HE_CORE), 300), legend(typed, 300)
    np.testing.assert_array_equal(said[: len(bare)], bare)
    below = said[len(bare) :]
    assert len(below) > 40  # it is wider than the strip, so it takes several lines
    assert (below < 128).any()
    assert (below[:, -12:] == 255).all(), "nothing is cut"
    tissue = Panoptic.from_ids(np.ones((4, 4), int), {1: 1}, TYPED)
    assert len(legend(tissue, 300)) < len(bare), "without nuclei there is nothing to say"


def test_the_command_tells_types_on_demand(net: EfficientPS, tmp_path: Path) -> None:
    weights = save(net, tmp_path / "nothing.safetensors", {"model_mpp": 0.5, "score": 0.0})
    words = ["segment", picture(tmp_path / "x.png"), "--weights", weights, "--mpp", 0.5, "--json", "--out"]
    plain, typed = call(*words, tmp_path / "plain"), call(*words, tmp_path / "typed", "--types")
    assert list(json.loads(plain.stdout)["things"]) == ["nucleus"]
    assert list(json.loads(typed.stdout)["things"]) == [c.name for c in HE_CORE.things]
    assert (DEMONSTRATION in plain.stderr, DEMONSTRATION in typed.stderr) == (False, True)
    assert DEMONSTRATION in json.loads(typed.stdout)["warnings"]
    assert np.asarray(Image.open(tmp_path / "plain" / "x_panoptic.png")).tobytes() == np.asarray(
        Image.open(tmp_path / "typed" / "x_panoptic.png")).tobytes()  # fmt: skip


def test_plain_predictions_are_compared_without_the_types_of_the_truth(tmp_path: Path) -> None:
    write_pair(tmp_path / "t", "a", small_map())
    write_pair(tmp_path / "p", "a", small_map().plain())
    words = ["evaluate", "--truth", tmp_path / "t", "--prediction", tmp_path / "p", "--json", tmp_path / "f.json"]
    result = call(*words)
    assert result.exit_code == 0, result.stderr
    assert "note: the predictions have no types of things, so those of the truth are left out too" in result.stderr
    assert json.loads((tmp_path / "f.json").read_text())["pq"]["all"]["pq"] == 1
    assert call(*words, "--known", "nucleus").exit_code == 0
    assert "has no category 'neoplastic nucleus'; it has" in call(*words, "--known", "neoplastic nucleus").stderr
    for pair in ((small_map(), small_map().plain()), (small_map().plain(), small_map())):
        assert things_quality(*pair).mean("things")[0] == 1


def perfect(slide: PaintedSlide, taxonomy: Taxonomy) -> PerfectPredictor:
    predictor = PerfectPredictor(slide)
    predictor.taxonomy = taxonomy
    return predictor


def test_a_slide_has_the_same_nuclei_with_and_without_types(tmp_path: Path) -> None:
    slide = PaintedSlide((700, 600), tissue=0.7)
    plain, typed = (
        segment_slide(slide, perfect(slide, t), tmp_path / t.name, tile=256, overlap=64) for t in (PLAIN, TYPED)
    )
    assert plain.manifest["counts"] == {"nucleus": sum(typed.manifest["counts"].values())}
    assert len(typed.manifest["counts"]) == 4
    np.testing.assert_array_equal(plain.ids()[:], typed.ids()[:])
    one, other = (r.instances().drop_columns(["category_id", "class"]) for r in (plain, typed))
    assert one.equals(other)
    stuff = np.isin(typed.classes()[:], [c.id for c in HE_CORE.stuff])
    np.testing.assert_array_equal(plain.classes()[:][stuff], typed.classes()[:][stuff])
    assert (typed.taxonomy.note, plain.taxonomy.note) == (DEMONSTRATION, "")
    for result in (plain, typed):  # the network that certifies says types; they are taken off as in the result
        assert certify(result, slide, PerfectPredictor(slide), 4).interior_pq == 1
    said = [(pq.read_schema(r.folder / "instances.parquet").metadata or {}).get(b"note") for r in (typed, plain)]
    assert said == [DEMONSTRATION.encode(), None]
    for begun, now in ((PLAIN, TYPED), (TYPED, PLAIN)):
        with pytest.raises(ValueError, match=r"was begun with other types of nuclei, see --types \(.*nucleus; now "):
            segment_slide(slide, perfect(slide, now), tmp_path / begun.name, tile=256, overlap=64, resume=True)


def test_files_of_a_slide_say_it(tmp_path: Path) -> None:
    result = write_result(tmp_path / "r", *painted_result(), TYPED)
    files = {path.suffix: path for path in export(result, ["qupath", "csv", "parquet"], tmp_path / "out")}
    assert json.loads(files[".geojson"].read_bytes())["note"] == DEMONSTRATION
    rows = csv.DictReader(files[".csv"].read_text(encoding="utf-8").splitlines())
    assert {row["note"] for row in rows} == {DEMONSTRATION}
    assert pq.read_schema(files[".parquet"]).metadata[b"note"] == DEMONSTRATION.encode()


@pytest.mark.parametrize(("types", "again"), [(False, True), (True, False)])
def test_a_cohort_does_not_take_a_slide_of_other_types_for_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, types: bool, again: bool
) -> None:
    monkeypatch.setattr("pano_med.slides.cohort.as_completed", lambda futures: futures)
    path = tmp_path / "a.svs"
    path.write_bytes(b"a slide")
    slide = {"name": "a.svs", "size": [512, 512], "mpp": 0.25, "fingerprint": fingerprint(path)}
    write_result(tmp_path / "out" / "a", *painted_result(), TYPED, slide=slide)
    (row,) = run_cohort([Job(str(path), str(tmp_path / "out"), "a", types=types)], tmp_path / "out", Now(), task=fake)
    assert (row.nuclei == len("a")) is again  # what `fake` counts


@pytest.mark.parametrize("command", ["segment", "slide", "explore", "cohort", "demo"])
def test_every_command_that_shows_nuclei_has_the_switch(command: str) -> None:
    told = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"}).invoke(app, [command, "--help"])
    assert "--types" in told.stdout
