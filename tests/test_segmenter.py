"""From an array to a map: any size, any pixel size, and what is said of strange images."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from torch import nn

from pano_med.data import load, split
from pano_med.models import TwoNetworks
from pano_med.predict import Segmenter, estimate_mpp, load_segmenter, pick_device, strangeness
from pano_med.synthetic import he_tile
from pano_med.types import HE_CORE, Instances, Panoptic, Prediction
from pano_med.weights import LoadedWeights

MPP = 0.25


class Seer(nn.Module):
    """Sees every blue blob as a nucleus and everything else as tumour, at once and without error."""

    taxonomy = HE_CORE

    def __init__(self, warn: bool = False, logit: float = 8.0) -> None:
        super().__init__()
        self.calls, self.warn, self.logit = 0, warn, logit

    def forward(self, images: list[torch.Tensor]) -> list[Prediction]:
        self.calls += 1
        if self.warn:
            warnings.warn("more objects than the cap of 3", stacklevel=2)
        return [self.see(i) for i in images]

    def see(self, image: torch.Tensor) -> Prediction:
        inside = (image[0] < 0.5).numpy()
        found = ndimage.find_objects(ndimage.label(inside)[0])
        boxes = torch.tensor([[c.start, r.start, c.stop, r.stop] for r, c in found], dtype=torch.float32).reshape(-1, 4)
        logits = torch.full((len(HE_CORE.channels), *image.shape[1:]), -self.logit)
        logits[HE_CORE.channel("tumour")] = 1.0
        logits[HE_CORE.channel("inflammatory nucleus")][torch.from_numpy(inside)] = self.logit
        kind = HE_CORE["inflammatory nucleus"].id
        n = len(found)
        instances = Instances(boxes, torch.full((n,), kind), torch.full((n,), 0.9), torch.full((n, 28, 28), self.logit))
        return Prediction(logits, instances, HE_CORE)


def segmenter(model: nn.Module | None = None, **meta: object) -> Segmenter:
    facts = {"model_mpp": MPP, "config": {"name": "efficientps"}, **meta}
    return Segmenter(LoadedWeights(model or Seer(), facts), "cpu")


def squares(size: tuple[int, int], side: int, step: int) -> np.ndarray:
    """Pink tissue with blue squares."""
    image = np.full((*size, 3), (220, 150, 200), np.uint8)
    for row in range(step // 2, size[0] - side, step):
        for column in range(step // 2, size[1] - side, step):
            image[row : row + side, column : column + side] = (70, 40, 130)
    return image


@pytest.mark.parametrize("mpp", [0.25, 0.5, 0.125])
def test_tiles_give_the_whole_image(mpp: float) -> None:
    image = squares((1300, 1500), 24, 60)
    model = Seer()
    result = segmenter(model)(image, mpp)
    truth = image[..., 0] < 100
    kind = HE_CORE["inflammatory nucleus"].id
    assert len(result.panoptic.things) == ndimage.label(truth)[1]
    agree = (result.panoptic.semantic() == kind) == truth
    assert agree.mean() > (0.9999 if mpp == MPP else 0.98)  # resizing may move an edge by a pixel
    assert {s.category_id for s in result.panoptic.stuff} == {HE_CORE["tumour"].id}
    assert result.panoptic.pixel_size_um == mpp
    assert model.calls == {0.25: 4, 0.5: 12, 0.125: 1}[mpp]


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (31, 400)])
def test_small_images(size: tuple[int, int]) -> None:
    result = segmenter()(np.full((*size, 3), 200, np.uint8), MPP)
    assert result.panoptic.size == size
    assert not result.panoptic.things


def test_the_callers_image_is_left_alone() -> None:
    image = squares((100, 100), 20, 50)
    kept = image.copy()
    segmenter()(image, MPP)
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)),
                                   np.zeros((0, 4, 3), np.uint8)])  # fmt: skip
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"an image must be \(H, W, 3\) uint8"):
        segmenter()(image, MPP)


def test_bad_pixel_size_device_and_logits_are_refused() -> None:
    image = squares((64, 64), 20, 50)
    with pytest.raises(ValueError, match="pixel_size_um must be a positive number"):
        segmenter()(image, -1.0)
    with pytest.raises(ValueError, match="device must be one that this machine has, 'abacus' is not"):
        pick_device("abacus")
    with pytest.raises(ValueError, match="NaN"):
        segmenter(Seer(logit=float("nan")))(image, MPP)


def test_the_cap_is_said() -> None:
    result = segmenter(Seer(warn=True))(squares((64, 64), 20, 50), MPP)
    assert any("more objects than the cap" in w for w in result.warnings)


def test_pixel_size_is_guessed_from_nuclei() -> None:
    """Squares of 20 px whose circle of equal area has 22.6 px: 7 um nuclei mean 0.31 um per pixel."""
    result = segmenter(nucleus_um=7.0)(squares((600, 600), 20, 50), None)
    assert result.mpp == pytest.approx(7.0 / (2 * 20 / np.sqrt(np.pi)), rel=0.1)
    assert result.mpp_source == "estimated"
    assert any("is guessed from" in w for w in result.warnings)


def test_too_few_nuclei_are_no_guess() -> None:
    result = segmenter()(squares((200, 200), 20, 90), None)
    assert result.mpp == MPP
    assert any("too few nuclei were found" in w for w in result.warnings)
    empty = Panoptic.from_ids(np.zeros((8, 8), np.int32), {}, HE_CORE)
    assert estimate_mpp(np.zeros((8, 8, 3), np.uint8), lambda image, mpp: empty, 7.0, 0.25) == (0.25, 0)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((200, 200, 3), 245, np.uint8), "almost empty glass"),
        (np.pad(np.full((20, 20, 3), 200, np.uint8), ((90, 90), (90, 90), (0, 0))), "dark, as in fluorescence"),
        (data.coffee(), "not those of haematoxylin and eosin"),
        (data.chelsea(), "not those of haematoxylin and eosin"),
        (data.immunohistochemistry(), "not those of haematoxylin and eosin"),
    ],
)
def test_strange_images_are_named(image: np.ndarray, words: str) -> None:
    assert words in str(strangeness(image))
    assert any(words in w for w in segmenter()(image, MPP).warnings)


def test_stained_tissue_is_familiar() -> None:
    assert [strangeness(he_tile(seed, (256, 256)).image) for seed in range(6)] == [None] * 6


def test_every_validation_image_is_familiar(data_root) -> None:  # type: ignore[no-untyped-def]
    samples = split([s for n in ("tnbc_breast_nuclei", "histolytics_hgsc") for s in load(n, data_root)]).validation
    named = {s.name: strangeness(s.image.permute(1, 2, 0).numpy()) for s in samples}
    assert named == dict.fromkeys(named)


def test_two_networks_pass_the_same_door_with_the_heuristic_merge() -> None:
    torch.manual_seed(0)
    net = TwoNetworks.small().eval()
    loaded = LoadedWeights(net, {"model_mpp": MPP, "config": net.config})
    found = Segmenter(loaded, "cpu")(squares((64, 64), 20, 50), MPP)
    assert found.panoptic.size == (64, 64)


def test_shipped_weights_find_painted_nuclei() -> None:
    """A smoke test with teeth: most painted nuclei are found where they are."""
    tile = he_tile(3, (256, 256), pixel_size_um=0.5)
    result = load_segmenter(device="cpu")(tile.image, 0.5)
    truth = np.isin(tile.truth.ids, [s.id for s in tile.truth.things])
    found = np.isin(result.panoptic.ids, [s.id for s in result.panoptic.things])
    assert (truth & found).sum() / (truth | found).sum() > 0.5
