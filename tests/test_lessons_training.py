"""What lesson 05 stands on: painted glands, a start from trained weights, losses that teach nothing, pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from scipy.ndimage import label

from pano_med.data import card
from pano_med.lessons import class_experiment, short_training, training_pictures
from pano_med.lessons.painted_glands import GLANDS, painted_glands
from pano_med.lessons.short_training import Glands, begun, course, glands, losses, quality
from pano_med.models import EfficientPS
from pano_med.training.recipe import painted_tiles
from pano_med.transforms import eval_pipeline
from pano_med.types import HE_CORE, Sample
from pano_med.weights import load

STEM = "backbone.stem.0.weight"


@pytest.fixture(scope="module")
def painted() -> Glands:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(short_training.VARIABLE, raising=False)
        return glands(count=(2, 1))


@pytest.fixture(scope="module")
def model() -> EfficientPS:
    return begun(GLANDS)


def test_painted_glands_are_glands_with_an_exact_truth() -> None:
    (image, truth), (other, _) = painted_glands(2, 5)
    again = next(painted_glands(1, 5))[0]
    assert np.array_equal(image, again)
    assert not np.array_equal(image, other)
    assert image.shape == (256, 256, 3)
    assert truth.taxonomy == card("ebhi_polyp_glands").taxonomy, "the classes of the real set"
    assert len(truth.things) >= 3
    for gland in truth.things:
        mask = truth.ids == gland.id
        assert label(mask)[1] == 1
    whole = [s for s in truth.things if not _cut(truth.ids == s.id)]
    deep = truth.ids == max(whole, key=lambda s: s.area).id
    rows, columns = np.nonzero(deep)
    lumen = image[round(rows.mean()), round(columns.mean())]
    assert lumen.min() > 180, "an empty lumen in the middle"
    assert image[deep].mean() > lumen.mean() - 160
    assert truth.semantic().min() == 1, "no void: every pixel is stroma or gland"


def _cut(mask: np.ndarray) -> bool:
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def test_without_the_real_files_painted_ones_and_a_reason(painted: Glands, tmp_path: Path) -> None:
    assert not painted.real
    assert painted.words.startswith("Painted glands stand in for the real ones")
    assert "the variable PANO_MED_DATA names no folder" in painted.words
    assert (len(painted.train), len(painted.validation)) == (2, 1)
    names = {s.name for s in (*painted.train, *painted.validation)}
    assert len(names) == 3
    assert "does not exist" in glands(tmp_path / "lost", (0, 0)).words
    assert "holds no image of ebhi_polyp_glands" in glands(tmp_path, (0, 0)).words


def test_a_network_begins_from_what_fits(model: EfficientPS) -> None:
    trained, mine = load("he-nano").model.state_dict(), model.state_dict()
    assert torch.equal(mine[STEM], trained[STEM])
    shared = [k for k in mine if k in trained]
    new = [k for k in shared if mine[k].shape != trained[k].shape or not torch.equal(mine[k], trained[k])]
    assert {k.rpartition(".")[0] for k in new} == {"semantic_head.logits", "instance_head.box_head.cls_score"}
    assert torch.equal(begun(GLANDS).state_dict()[new[0]], mine[new[0]]), "the same seed, the same layers"
    assert not torch.equal(begun(GLANDS, seed=1).state_dict()[new[0]], mine[new[0]])
    body = begun(GLANDS, parts=("backbone.",)).state_dict()
    assert torch.equal(body[STEM], trained[STEM])
    name = next(k for k in body if k.startswith("fpn.") and k.endswith("weight") and body[k].ndim == 4)
    assert not torch.equal(body[name], trained[name])
    same = begun(HE_CORE).state_dict()
    assert all(torch.equal(v, trained[k]) for k, v in same.items() if k in trained)


def test_losses_teach_nothing(model: EfficientPS, painted: Glands) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.eval()
    one, two = (losses(model, painted.validation, 5.6) for _ in range(2))
    assert not model.training
    assert one == two
    assert one["loss"] == pytest.approx(sum(v for k, v in one.items() if k != "loss"))
    assert {"semantic", "objectness", "mask"} <= one.keys()
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert quality(model, painted.validation, 5.6).keys() >= {"objects_pq", "stuff_iou"}


def test_a_course_that_breaks_goes_on_as_nan(painted: Glands, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    def fit(model, train, val, config, out, on_step, progress):  # type: ignore[no-untyped-def]
        assert config.lr == 0.5
        on_step({"step": 1, "loss": 3.0})
        raise FloatingPointError("a gradient became nan in step 2")

    monkeypatch.setattr(short_training, "fit", fit)
    got = course(painted, 0.5, 3, 5.6)
    assert got[0] == 3.0
    assert np.isnan(got[1:]).all()
    assert "lr 0.5: a gradient became nan in step 2" in capsys.readouterr().out


# --- pictures


def test_targets_and_allowed_sets_are_drawn_with_their_names() -> None:
    tile = next(painted_tiles(1, 3, 96, 0.5))
    maps = {}
    for name, group in (("nuclei", HE_CORE.things), ("tissue", HE_CORE.stuff)):
        part: Sample = class_experiment.partly(tile, frozenset(c.id for c in group))
        image, target = eval_pipeline()(part)
        maps[name] = target["allowed"].numpy()
    pixels = image.permute(1, 2, 0).numpy()
    figure = training_pictures.allowed_maps(pixels, maps, HE_CORE)
    left, right = ([t.get_text() for t in axis.get_legend().get_texts()] for axis in figure.axes[1:])
    assert "background, tumour or other tissue" in left
    assert "other tissue or any nucleus" in right
    assert not any("any nucleus" in words for words in left)
    patches = [p for axis in figure.axes[1:] for p in axis.get_legend().get_patches()]
    looks = {p.get_label(): (p.get_hatch(), p.get_facecolor()) for p in patches}
    assert len({hatch for hatch, _ in looks.values()}) == len(looks), "no set is told by colour alone"
    boxes, masks = target["boxes"].numpy(), target["masks"].numpy()
    drawn = training_pictures.targets(pixels, boxes, masks, maps["nuclei"], HE_CORE)
    assert [a.get_title() for a in drawn.axes] == ["a crop", "boxes: 0 things", "masks: 0", "allowed in each pixel"]
    plt.close("all")


def test_nothing_known_is_said_so() -> None:
    words = training_pictures._named(np.ones(6, bool), HE_CORE)
    assert words == "anything: nothing is learnt here"


def test_curves_differ_in_more_than_colour() -> None:
    lines = {name: ([1, 2, 3], [3.0, 2.0, np.nan]) for name in "abcd"}
    axis = training_pictures.curves(lines, "step", "loss", log=True, marks={2: "here"}).axes[0]
    looks = [(x.get_linestyle(), x.get_marker()) for x in axis.lines[:4]]
    assert len(set(looks)) == 4
    assert axis.get_yscale() == "log"
    assert [t.get_text() for t in axis.texts] == ["here"]
    plt.close("all")


def test_maps_side_by_side() -> None:
    image, truth = next(painted_glands(1, 5, side=64))
    picture = training_pictures.three(image, {"a": truth, "b": truth}, scale=2)
    assert picture.shape[1] >= 2 * 128
