"""The arms of the ablation, the command that runs them, and the table it writes."""

import json
import math
from dataclasses import replace
from pathlib import Path

import ablation_table as table
import ablations
import numpy as np
import pytest
import timm
import torch
from training_fakes import CPU, FakeNet

from pano_med.models import EfficientPS, TwoNetworks, build
from pano_med.models.losses import hard_pixel_loss
from pano_med.training import Scores, TrainConfig, arms, loop
from pano_med.training.arms import ARMS, face_value, find_arm, merged, taxonomy_of, train_arm, unpainted
from pano_med.training.recipe import Ingredients, painted_tiles
from pano_med.transforms import train_pipeline
from pano_med.types import HE_CORE, Instances, LazySample, Panoptic, Prediction, Sample

#: Few small tiles do not show every class; an untrained network sees objects everywhere. Both are said.
pytestmark = pytest.mark.filterwarnings("ignore:no training sample shows", "ignore:more objects than the cap")

TILES = [replace(t, group=t.name) for t in painted_tiles(4, size=64)]
NUCLEI = replace(TILES[0], source="nuclei", known=frozenset({1, 7}))
PARTS = Ingredients([NUCLEI, *TILES[1:3]], [TILES[3], NUCLEI], {"nuclei": 1.0, "synthetic": 1.0})
CONFIG = TrainConfig(steps=3, crop_size=64, model_mpp=0.5, **(CPU | {"batch_size": 1}))
IMAGENET = timm.create_model("tf_efficientnet_lite0").state_dict()


class Tiny(FakeNet):
    """Learns tissue alone; after `Tiny.left` steps somebody presses Ctrl-C twice, and no checkpoint is written."""

    left = math.inf

    def forward(self, images, targets=None):
        if not self.training:
            return super().forward(images)
        Tiny.left -= 1
        if Tiny.left < 0:
            raise KeyboardInterrupt
        logits = self.head(self.norm(self.conv(torch.stack(images))).relu())
        return {"semantic": hard_pixel_loss(logits, torch.stack([t["allowed"] for t in targets]), 1.0)}


@pytest.fixture
def tiny(monkeypatch):
    """Every arm with a network of two convolutions, and steps that take a second."""
    small = {k: replace(a, network=lambda taxonomy, pretrained: Tiny()) for k, a in ARMS.items()}
    monkeypatch.setattr(arms, "ARMS", small)
    monkeypatch.setattr(ablations, "step_seconds", lambda log: [1.0])
    monkeypatch.setattr(table, "DRAWS", 20)
    monkeypatch.setattr(Tiny, "left", math.inf)


# --- arms


@pytest.mark.parametrize("arm", ["one-way pyramid", "plain semantic head", "no centre cue", "two networks"])
def test_an_arm_trains_and_is_judged(arm: str, tmp_path: Path) -> None:
    steps = []
    scores = train_arm(arm, PARTS, CONFIG, tmp_path, IMAGENET, on_step=steps.append)
    assert [s["step"] for s in steps] == [1, 2, 3]
    assert all(math.isfinite(s["loss"]) for s in steps)
    assert scores.row()["stuff_iou"] >= 0  # nan where nothing was judged
    assert scores.objects.fn.sum() + scores.objects.tp.sum() == sum(len(s.truth.things) for s in PARTS.validation)


def test_an_arm_begins_from_its_seed_and_a_finished_one_is_only_judged(tmp_path: Path, tiny: None) -> None:
    torch.manual_seed(1)
    first = train_arm("full", PARTS, CONFIG, tmp_path / "a", IMAGENET).row()
    torch.manual_seed(2)
    assert train_arm("full", PARTS, CONFIG, tmp_path / "b", IMAGENET).row() == first
    assert train_arm("full", PARTS, replace(CONFIG, seed=1), tmp_path / "c", IMAGENET).row() != first
    Tiny.left = 0  # a step would be an interruption
    assert train_arm("full", PARTS, CONFIG, tmp_path / "a", IMAGENET).row() == first


@pytest.mark.parametrize(("arm", "changed"), [
    ("full", {}),
    ("no stain augmentation", {"stain": False}),
    ("no painted tiles", {"source_weights": {"nuclei": 1.0}}),
])  # fmt: skip
def test_an_arm_changes_one_thing_of_the_run(arm: str, changed: dict, tmp_path: Path, tiny: None, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(loop, "train_pipeline", lambda *size, **how: asked.append(how) or train_pipeline(*size, **how))
    train_arm(arm, PARTS, CONFIG, tmp_path, IMAGENET)
    ran = TrainConfig.from_dict(json.loads((tmp_path / "last.json").read_text())["config"])
    assert ran == replace(CONFIG, **({"source_weights": PARTS.weights} | changed))
    assert asked == [{"by_class": False, "stain": changed.get("stain", True)}]


def test_a_mistaken_arm_or_recipe_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^no arm is called 'half'; there are full, one-way pyramid, .* tiles$"):
        train_arm("half", PARTS, CONFIG, "nowhere", IMAGENET)
    with pytest.raises(ValueError, match="an arm without painted tiles needs other images, the recipe has none"):
        unpainted(replace(PARTS, train=TILES[:1]))
    bare = [replace(TILES[0], truth=None, known=())]
    with pytest.raises(ValueError, match="needs labelled images"):
        taxonomy_of(Ingredients([], bare, {}))
    assert next(iter(ARMS)) == "full"
    assert find_arm("heuristic merge").trains_as == "full"


def test_files_that_cannot_be_read_are_named_and_left_out(tmp_path: Path, tiny: None) -> None:
    def gone() -> Sample:
        raise OSError("torn")

    lost = LazySample(gone, "lost.png", "synthetic")
    lazy = LazySample(lambda: NUCLEI, "n", "nuclei")
    parts = replace(PARTS, train=[lost, lazy, TILES[1]], validation=[lost, *PARTS.validation])
    with pytest.warns(UserWarning, match=r"lost.png cannot be read and judges nothing: torn"):
        judged = list(arms.validation(parts, 0.5))
    assert [s.name for s in judged] == [s.name for s in PARTS.validation]
    assert taxonomy_of(parts) == HE_CORE
    whole = arms.taken_at_face_value(parts).train
    assert whole[1].read().known == {c.id for c in HE_CORE.all}
    assert [s.source for s in unpainted(parts).train] == ["nuclei"]


# --- networks


def test_a_simpler_pyramid_and_head_have_the_same_doors_and_fewer_parameters() -> None:
    options = ({}, {"semantic": "plain"}, {"pyramid": "one-way"})
    full, plain, one_way = (EfficientPS.small(**more) for more in options)
    size = {net: sum(p.numel() for p in net.parameters()) for net in (full, plain, one_way)}
    assert size[plain] < size[full]
    assert size[full] - size[one_way] == sum(p.numel() for p in full.fpn.lateral_up.parameters())
    levels = [net.eval().pyramid(torch.rand(1, 3, 64, 96)) for net in (full, one_way)]
    assert [p.shape for p in levels[0]] == [p.shape for p in levels[1]]
    logits = [net.semantic_head(*levels[0], size=(64, 96)) for net in (full.eval(), plain.eval())]
    assert logits[0].shape == logits[1].shape == (1, len(HE_CORE.channels), 64, 96)


def test_fine_detail_climbs_in_the_two_way_pyramid_only() -> None:
    """A change at stride 4 reaches p32 by the second path; a change at stride 32 reaches p4 in both."""
    for kind, climbs in (("two-way", True), ("one-way", False)):
        fpn = EfficientPS.small(pyramid=kind).fpn.eval()
        ends = [torch.rand(1, c, 32 // s, 32 // s) for c, s in zip((24, 40, 112, 1280), (1, 2, 4, 8), strict=True)]
        before = fpn(*ends)
        fine, coarse = fpn(ends[0] + 1, *ends[1:]), fpn(*ends[:3], ends[3] + 1)
        assert torch.equal(fine[3], before[3]) is not climbs
        assert not torch.equal(coarse[0], before[0])


@pytest.mark.parametrize("options", [{"pyramid": "one-way"}, {"semantic": "plain"}])
def test_saved_weights_rebuild_an_arm(options: dict) -> None:
    net = EfficientPS.small(**options)
    again = build(json.loads(json.dumps(net.config)))
    again.load_state_dict(net.state_dict())
    old = {k: v for k, v in EfficientPS.small().config.items() if k not in ("pyramid", "semantic")}
    assert build(old).state_dict().keys() == EfficientPS.small().state_dict().keys()
    with pytest.raises(ValueError, match="must be one of .*, got 'wide'"):
        EfficientPS.small(**dict.fromkeys(options, "wide"))


# --- labels, stain, merge


def test_at_face_value_what_nobody_drew_is_not_there() -> None:
    ids = np.zeros((32, 32), np.int32)
    ids[:4], ids[8:20, 8:20] = 1, 2
    truth = Panoptic.from_ids(ids, {1: 1, 2: 7}, HE_CORE, 0.5)
    partial = Sample(torch.zeros(3, 32, 32), truth, 0.5, known={1, 7})
    whole = face_value(partial)
    pixels = {c: int((whole.truth.semantic() == c).sum()) for c in (0, 1, 3, 7)}
    assert pixels == {0: 0, 1: 128, 3: 752, 7: 144}
    assert whole.known == {c.id for c in HE_CORE.all}
    assert (truth.ids == ids).all()
    drawn = Panoptic.from_ids(np.where(ids == 1, 1, 5), {1: 2, 5: 3}, HE_CORE)
    regions = replace(partial, truth=drawn, known={1, 2, 3})
    (_, before), (_, after) = (train_pipeline(32)(s) for s in (regions, face_value(regions)))
    assert not before["things_known"]
    assert after["things_known"]  # nuclei that nobody drew are told to be none
    assert before["allowed"].sum() > after["allowed"].sum() >= 32 * 32


def test_without_stain_changes_all_else_is_drawn_alike() -> None:
    with_it, without = train_pipeline(32), train_pipeline(32, stain=False)
    same = []
    for seed in range(8):
        (a, target), (b, other) = (p.set_random_state(seed)(TILES[0]) for p in (with_it, without))
        assert torch.equal(target["allowed"], other["allowed"])
        same.append(torch.equal(a, b))
    assert not all(same)
    assert TrainConfig.from_dict({"steps": 5}).stain  # checkpoints from before the switch
    assert TrainConfig(steps=5).differences(TrainConfig(steps=5, stain=False)) == ["stain"]


def test_the_heuristic_merge_treats_leftovers_as_the_fusion_does() -> None:
    logits = torch.zeros(6, 32, 32)
    logits[1], logits[3] = 1.0, 2.0  # tumour, and everywhere a nucleus that no instance took
    none = Instances(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(0, 8, 8))
    assert (merged(Prediction(logits, none, HE_CORE, 0.5)).semantic() == 2).all()


# --- table


def test_the_interval_over_seeds_by_hand() -> None:
    two = table.over_seeds([0.1, 0.3])  # mean 0.2, standard error 0.1, t(0.975, 1) = 12.706
    assert [round(x, 4) for x in (two.value, two.low, two.high)] == [0.2, -1.0706, 1.4706]
    three = table.over_seeds([0.1, 0.2, 0.3])  # standard error 0.1 / sqrt(3), t(0.975, 2) = 4.3027
    assert round(three.high - three.value, 4) == round(4.3027 * 0.1 / 3**0.5, 4)
    assert math.isnan(table.over_seeds([0.1]).low)


def result(arm: str, seed: int, hits: tuple[int, int]) -> dict:
    """Two patients, two images with five nuclei each; so many of a patient's ten are found, with IoU 0.8."""
    images = []
    for patient, found in zip("ppqq", (max(0, hits[0] - 5), min(5, hits[0]), max(0, hits[1] - 5), min(5, hits[1])),
                              strict=True):  # fmt: skip
        scores = Scores(HE_CORE)
        place = len(HE_CORE.categories)  # the one class of things that have none
        scores.objects.tp[place], scores.objects.fn[place], scores.objects.iou[place] = found, 5 - found, 0.8 * found
        images.append({"name": f"image {len(images)}", "source": "s", "group": patient, "counts": table.flat(scores)})
    taxonomy = HE_CORE.to_dict()
    row = table.row_of(np.sum([i["counts"] for i in images], axis=0), HE_CORE)
    return {"arm": arm, "seed": seed, "row": {k: None if math.isnan(v) else v for k, v in row.items()},
            "images": images, "taxonomy": taxonomy, "parameters": 7, "seconds_per_step": 2.0, "machine": "a machine",
            "settings": {"steps": 5, "minutes": None, "batch_size": 4, "crop_size": 64, "model_mpp": 0.25}}  # fmt: skip


def pq(found: int, drawn: int) -> float:
    return 0.8 * found / (found + (drawn - found) / 2)


def test_the_interval_over_patients_by_hand() -> None:
    ours, theirs = [result("two networks", 0, (6, 8))], [result("full", 0, (8, 8))]
    interval = table.over_patients(ours, theirs, "objects_pq")
    assert interval.value == pytest.approx(pq(14, 20) - pq(16, 20))
    # both patients can be the first (one draw of four) or the second
    assert (interval.low, interval.high) == pytest.approx((pq(12, 20) - pq(16, 20), 0))
    with pytest.raises(ValueError, match="on the same images only"):
        table.over_patients([{**ours[0], "images": ours[0]["images"][:1]}], theirs, "objects_pq")


def test_the_table_says_what_is_sure_and_what_two_seeds_cannot_tell(monkeypatch) -> None:
    monkeypatch.setattr(table, "DRAWS", 200)
    found = {("full", 0): (8, 8), ("full", 1): (8, 8), ("two networks", 0): (5, 5), ("two networks", 1): (5, 5),
             ("heuristic merge", 0): (6, 8), ("heuristic merge", 1): (8, 9), ("no painted tiles", 7): (1, 1),
             ("one-way pyramid", 1): (7, 7)}  # fmt: skip
    page = table.markdown([result(*run, hits) for run, hits in found.items()])
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in page.splitlines() if line.startswith("| ")}
    assert rows["full"][1:3] == ["0.711", ""]
    assert rows["two networks"][2] == "**-0.178** [-0.178, -0.178] {-0.178, -0.178}"
    assert rows["heuristic merge"][2].startswith(f"{(pq(14, 20) + pq(17, 20)) / 2 - pq(16, 20):+.3f} [")
    assert "{" in rows["heuristic merge"][2]
    assert rows["one-way pyramid"][2].startswith(f"{pq(14, 20) - pq(16, 20):+.3f} [one seed] {{-")  # not bold
    assert "no painted tiles" not in rows  # its seed has no "full" to be compared with
    assert rows["two networks"][-1] == "2 |"
    assert "With 2 seeds the first is wide" in page
    assert ARMS["two networks"].question in page


# --- the command


def test_an_ablation_that_was_killed_ends_with_the_same_table(tmp_path: Path, tiny: None, capsys) -> None:
    todo = [(arm, seed) for seed in (0, 1) for arm in ("full", "heuristic merge", "no stain augmentation")]
    def go(place: str) -> int:
        return ablations.ablate(todo, PARTS, CONFIG, tmp_path / place, IMAGENET)

    assert go("whole") == 0
    Tiny.left = 3 + 1  # in the second step of the second network
    assert go("cut") == 130
    assert ("stopped: 2 of 6 runs are done, 4 left, next 'no stain augmentation' with seed 0; the same command goes on"
            in capsys.readouterr().out)  # fmt: skip
    Tiny.left = 3 * 3  # the finished network is not trained again
    assert [go("cut"), go("cut")] == [0, 0]
    whole, cut = ((tmp_path / place / "ablations.md").read_text() for place in ("whole", "cut"))
    assert whole == cut
    assert cut.count("\n| ") == 2 + 3
    folders = {f"{name}-{seed}" for name in ("full", "no-stain-augmentation") for seed in (0, 1)}
    assert {p.name for p in (tmp_path / "cut").iterdir()} == {"results", "ablations.md", *folders}


def test_results_of_other_settings_are_not_mixed(tmp_path: Path, tiny: None) -> None:
    ablations.ablate([("full", 0)], PARTS, CONFIG, tmp_path, IMAGENET)
    with pytest.raises(ValueError, match=r"full-0.json was made with another steps; give the same options as then"):
        ablations.ablate([("full", 0)], PARTS, replace(CONFIG, steps=4), tmp_path, IMAGENET)
    with pytest.raises(ValueError, match="was made with another images"):
        ablations.ablate([("full", 0)], replace(PARTS, validation=TILES[3:]), CONFIG, tmp_path, IMAGENET)
    path = ablations.result_file(tmp_path, "full", 0)
    old = json.loads(path.read_text())
    del old["settings"]["stain"]  # as if made before the switch
    path.write_text(json.dumps(old))
    Tiny.left = 0
    assert ablations.ablate([("full", 0)], PARTS, CONFIG, tmp_path, IMAGENET) == 0
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"full-0.json is broken \('settings'\); remove it"):
        ablations.ablate([("full", 0)], PARTS, CONFIG, tmp_path, IMAGENET)


@pytest.mark.parametrize(("options", "message"), [
    (["--arms", "no fusion"], "no arm is called 'no fusion'; there are full, one-way pyramid"),
    ([], "real images are needed: set PANO_MED_DATA or --data"),
    (["--data", "nowhere", "--steps", "5", "--minutes", "1"], "give either steps or minutes, got steps=5"),
    (["--data", "nowhere"], "nowhere"),
])  # fmt: skip
def test_a_mistake_is_one_sentence(options: list[str], message: str, monkeypatch, capsys) -> None:
    monkeypatch.delenv("PANO_MED_DATA", raising=False)
    with pytest.raises(SystemExit) as stopped:
        ablations.main([*options, "--out", "unused"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert message in said
    assert said.count("\n") == 1


def test_full_is_always_among_the_arms() -> None:
    assert ablations.chosen(["two networks", "one-way pyramid"]) == ["full", "one-way pyramid", "two networks"]
    assert TwoNetworks.small == ARMS["two networks"].network
