"""Image in, map out: tiles, odd sizes, pixel size, device, warnings. The network is a fake that sees perfectly."""

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from scipy import ndimage
from torch import Tensor

from pano_med import data, synthetic
from pano_med.fusion import FusionRules, HeuristicRules
from pano_med.metrics import Contradictions, Story
from pano_med.predict import Segmenter, between_heads, estimate_mpp, load_segmenter, pick_device, strangeness
from pano_med.types import HE_CORE, Instances, Panoptic, Prediction
from pano_med.weights import LoadedWeights

MPP, NUCLEUS, STUFF = 0.25, HE_CORE.things[0].id, HE_CORE.num_stuff


class Seer:
    """Calls each dark red patch a nucleus and reads stuff from green: bright, middle, dark = channel 0, 1, 2."""

    taxonomy = HE_CORE

    def __init__(self, warn: str = "", spoil: float = 0.0, smallest: float = 0.0) -> None:
        self.warn, self.spoil, self.smallest, self.sizes = warn, spoil, smallest, []

    def to(self, device: torch.device) -> "Seer":
        return self

    def eval(self) -> "Seer":
        return self

    def __call__(self, images: list[Tensor]) -> list[Prediction]:
        if self.warn:
            warnings.warn(self.warn, stacklevel=1)
        return [self.see(image) for image in images]

    def see(self, image: Tensor) -> Prediction:
        self.sizes.append(tuple(image.shape[1:]))
        red, green = image[0].numpy(), image[1].numpy()
        spans = ndimage.find_objects(ndimage.label(red < 0.5)[0])
        boxes = [[x.start, y.start, x.stop, y.stop] for y, x in spans if y.stop - y.start >= self.smallest]
        n = len(boxes)
        found = Instances(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.full((n,), NUCLEUS),
                          torch.full((n,), 0.9), torch.full((n, 2, 2), 5.0))
        seen = np.where(red < 0.5, STUFF, np.where(green > 0.75, 0, np.where(green > 0.4, 1, 2)))
        logits = torch.stack([torch.from_numpy(seen == k).float() * 10 for k in range(len(HE_CORE.channels))])
        return Prediction(logits + self.spoil, found, HE_CORE)


def segmenter(name: str = "efficientps", meta: dict | None = None, types: bool = False, **kwargs) -> Segmenter:
    meta = {"model_mpp": MPP, "config": {"name": name}, **(meta or {})}
    return Segmenter(LoadedWeights(Seer(**kwargs), meta), "cpu", types=types)


def painted(size: tuple[int, int], side: int = 12, step: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image and its truth by channel: three bands of stuff, jittered square nuclei (channel STUFF) upon them."""
    rng, (h, w) = np.random.default_rng(seed), size
    channel = np.broadcast_to(np.arange(w) * 3 // w, size).copy()
    for top in range(5, h - side - 10, step):
        for left in range(5, w - side - 10, step):
            r, c = top + rng.integers(0, 10), left + rng.integers(0, 10)
            channel[r : r + side, c : c + side] = STUFF
    look = np.array([[255, 255, 255], [230, 150, 220], [230, 60, 200], [60, 60, 130]], np.uint8)
    return look[channel], channel


def channels_of(panoptic: Panoptic) -> np.ndarray:
    table = {s.id: 1 + panoptic.taxonomy.channel(s.category_id) for s in panoptic.segments}
    return panoptic.lookup(table) - 1


@pytest.mark.parametrize("size", [(300, 200), (1500, 1300)])
def test_result_is_the_truth(size: tuple[int, int]) -> None:
    image, truth = painted(size)
    before = image.copy()
    result = segmenter()(image, MPP)
    np.testing.assert_array_equal(channels_of(result.panoptic), truth)
    labels, count = ndimage.label(truth == STUFF)
    assert len(result.panoptic.things) == count
    pairs = np.unique(np.stack([labels, result.panoptic.ids])[:, truth == STUFF], axis=1)
    assert pairs.shape[1] == count  # each nucleus has one id
    assert all(s.area == 144 and s.score == pytest.approx(0.9) for s in result.panoptic.things)
    assert (result.mpp, result.mpp_source, result.panoptic.pixel_size_um) == (MPP, "given", MPP)
    np.testing.assert_array_equal(image, before)


def test_large_image_goes_through_in_tiles() -> None:
    image, truth = painted((3000, 2600), step=120)
    ready, calls = segmenter(), []
    result = ready(image, MPP, lambda *done: calls.append(done))
    assert calls == [(n, 12) for n in range(1, 13)]  # ceil((3000 - 128) / 896) x ceil((2600 - 128) / 896)
    assert max(max(s) for s in ready.model.sizes) <= 1024
    np.testing.assert_array_equal(channels_of(result.panoptic), truth)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (1, 200)])
def test_tiny_images(size: tuple[int, int]) -> None:
    result = segmenter()(np.full((*size, 3), 255, np.uint8), MPP)
    assert result.panoptic.size == size
    assert not result.panoptic.segments  # below the area limit of stuff, so all void


def test_blank_image_is_one_background() -> None:
    result = segmenter()(np.full((90, 80, 3), 255, np.uint8), MPP)
    assert [(s.category_id, s.area) for s in result.panoptic.segments] == [(HE_CORE.stuff[0].id, 90 * 80)]
    assert any("almost empty glass" in w for w in result.warnings)


def test_small_stuff_is_judged_on_the_whole_image() -> None:
    image = np.full((1200, 1200, 3), 255, np.uint8)
    image[:39, :41] = (230, 60, 200)  # 1599 px = 99.9 um2 of channel 2
    assert len(segmenter()(image, MPP).panoptic.segments) == 1
    image[100, 100] = (230, 60, 200)
    assert len(segmenter()(image, MPP).panoptic.segments) == 2


@pytest.mark.parametrize("mpp", [0.125, 0.5])
def test_another_pixel_size_is_resized_to_the_network(mpp: float) -> None:
    image, truth = painted((400, 300), side=16)
    ready = segmenter()
    result = ready(image, mpp)
    assert ready.model.sizes == [(round(400 * mpp / MPP), round(300 * mpp / MPP))]
    assert len(result.panoptic.things) == ndimage.label(truth == STUFF)[1]
    assert (channels_of(result.panoptic) == truth).mean() > 0.96


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                                   np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)])  # fmt: skip
def test_not_an_image(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\) uint8 with at least one pixel, got \(.*\) of "):
        segmenter()(image, MPP)


@pytest.mark.parametrize("mpp", [0, -1, np.nan, np.inf])
def test_not_a_pixel_size(mpp: float) -> None:
    with pytest.raises(ValueError, match="positive number of micrometres or None, got"):
        segmenter()(painted((40, 40))[0], mpp)


def test_nan_from_the_network() -> None:
    with pytest.raises(ValueError, match=r"semantic logits must be finite, channel 0 \('background'\)"):
        segmenter(spoil=float("nan"))(painted((64, 64))[0], MPP)


def test_unknown_device() -> None:
    for call in (pick_device, lambda name: load_segmenter(device=name)):
        with pytest.raises(ValueError, match="one that this machine has, 'toaster' is not: try cpu"):
            call("toaster")
    assert pick_device("cpu") == torch.device("cpu")
    assert isinstance(pick_device(), torch.device)


def test_rules_follow_the_network_and_the_card() -> None:
    assert segmenter().rules == FusionRules(confine_positive=True)
    assert segmenter("two_networks", {"score": 0.3}).rules == HeuristicRules(score=0.3)
    with pytest.raises(ValueError, match="`score` must lie between 0 and 1, got 2"):
        Segmenter(segmenter().loaded, "cpu", 2)


def test_warnings_of_the_network_reach_the_reader_once() -> None:
    result = segmenter(warn="more objects than the cap")(painted((1500, 1300))[0], MPP)
    assert result.warnings.count("more objects than the cap") == 1


@pytest.mark.parametrize(("side", "smallest"), [(10, 0), (24, 0), (7, 12)])
def test_guessed_pixel_size(side: int, smallest: float) -> None:
    """Squares of a known size; with `smallest`, the network is blind to them until they are enlarged."""
    image = painted((400, 400), side)[0]
    result = segmenter(meta={"nucleus_um": 6.0}, smallest=smallest)(image)
    truth = 6.0 / (2 * side / np.sqrt(np.pi))
    assert result.mpp_source == "estimated"
    assert result.mpp == pytest.approx(truth, rel=0.1)
    said = f"{result.mpp:.2f} um is guessed from {len(result.panoptic.things)} nuclei"
    assert any(said in w for w in result.warnings)


def test_the_card_says_how_much_masks_count() -> None:
    assert segmenter(meta={"mask_gain": 4.0}).rules.mask_gain == 4
    assert segmenter().rules.mask_gain == 1


class Doubter(Seer):
    """Sure of its masks in boxes twice too wide; all its semantic logits are low, as on a stain that it never saw."""

    def see(self, image: Tensor) -> Prediction:
        said = super().see(image)
        boxes = said.instances.boxes + torch.tensor([-6.0, -6.0, 6.0, 6.0])
        masks = torch.full((len(boxes), 24, 24), -20.0)
        masks[:, 6:18, 6:18] = 20.0
        return replace(said, semantic_logits=said.semantic_logits - 12,
                       instances=replace(said.instances, boxes=boxes, mask_logits=masks))  # fmt: skip


def test_a_nucleus_does_not_fill_its_box_where_every_class_is_improbable() -> None:
    """FL(-20, -12) is nearly 0, and 0 is more than any stuff logit here: without the rule nuclei are rectangles."""
    image, truth = painted((300, 200))
    ready = Segmenter(LoadedWeights(Doubter(), {"model_mpp": MPP, "config": {"name": "efficientps"}}), "cpu")
    np.testing.assert_array_equal(channels_of(ready(image, MPP).panoptic) == STUFF, truth == STUFF)
    ready.rules = replace(ready.rules, confine_positive=False)
    areas = [s.area for s in ready(image, MPP).panoptic.things]
    assert min(areas) >= 24 * 24 - 60, "the rule that is tested makes no difference"


def test_weights_that_find_no_nuclei_guess_nothing() -> None:
    result = segmenter(meta={"nucleus_um": None})(painted((400, 400), 10)[0])
    assert (result.mpp, result.mpp_source) == (MPP, "estimated")
    assert any("these weights find no nuclei to guess it by: 0.25 um is assumed" in w for w in result.warnings)


def test_too_few_nuclei_for_a_guess() -> None:
    result = segmenter()(painted((120, 120))[0])
    assert (result.mpp, result.mpp_source) == (MPP, "estimated")
    assert any("too few nuclei were found to guess it: 0.25 um is assumed" in w for w in result.warnings)
    blank = np.full((30, 30, 3), 255, np.uint8)
    assert estimate_mpp(blank, lambda part, mpp: segmenter()(part, mpp).panoptic, 7.0, 0.5) == (0.5, 0)


def test_strange_images() -> None:
    rng = np.random.default_rng(0)
    glow = rng.integers(0, 12, (200, 200, 3)).astype(np.uint8)
    glow[50:70, 50:70, 2] = 220
    assert "dark, as in fluorescence" in strangeness(glow)
    assert "almost empty glass" in strangeness(np.full((50, 50, 3), 245, np.uint8))
    for name in ("coffee", "chelsea", "immunohistochemistry"):
        assert strangeness(getattr(skimage.data, name)()), name
    assert "not those of haematoxylin" in strangeness(skimage.data.immunohistochemistry())


def test_h_and_e_is_not_strange() -> None:
    assert [strangeness(synthetic.he_tile(seed, (256, 256)).image) for seed in range(6)] == [None] * 6


@pytest.mark.slow
def test_real_h_and_e_is_not_strange(data_root: Path) -> None:
    samples = data.load("tnbc_breast_nuclei", data_root) + data.split(data.load("dsb2018_tissue", data_root)).validation
    said = {s.name: strangeness(s.image.permute(1, 2, 0).numpy()) for s in samples}
    assert len(said) > 20
    assert {k: v for k, v in said.items() if v} == {}


SLIDE = """
import resource, sys
import numpy as np
sys.path.insert(0, "tests")
from test_predict import segmenter

side = int(sys.argv[1])
image = np.full((side, side, 3), (230, 150, 220), np.uint8)
image[100::500, 100::500] = 60  # nuclei of 1 px, one in 250,000
result = segmenter()(image, 0.25)
assert result.panoptic.size == (side, side)
assert len(result.panoptic.things) == len(range(100, side, 500)) ** 2
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9)
"""


@pytest.mark.slow
def test_whole_slide_fits_into_memory() -> None:
    pytest.importorskip("resource", reason="memory is read from the operating system")
    done = subprocess.run([sys.executable, "-c", SLIDE, "20000"], cwd=Path(__file__).parents[1], capture_output=True,
                          text=True, timeout=900)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 12  # GB; the image and its ids alone are 2.8


def test_heads_that_agree_and_heads_that_do_not() -> None:
    """The fake's heads agree; a semantic head that overlooks nuclei, or sees them alone, is found out to the pixel."""
    image, truth = painted((120, 120))
    said, nuclei = segmenter().predict(image, MPP), truth == STUFF
    assert Contradictions.of(between_heads(said)).pixels == ((~nuclei).sum(), nuclei.sum(), 0, 0, 0)
    alone = between_heads(said, score=0.95)  # cuts every instance away
    np.testing.assert_array_equal(alone == Story.NO_INSTANCE, nuclei)
    blind = nuclei & (np.arange(120) < 60)
    logits = said.semantic_logits.clone()
    logits[STUFF, torch.from_numpy(blind)] = -1.0
    found = between_heads(replace(said, semantic_logits=logits))
    np.testing.assert_array_equal(found == Story.INSTANCE_ON_STUFF, blind)
    assert 0 < Contradictions.of(found).on_stuff < 1
