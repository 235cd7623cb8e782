"""Stain transforms: colour deconvolution against its formula, Macenko on made and real tiles, and its guard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import hed_from_rgb
from torch.testing import assert_close

from pano_med.transforms import (
    RUIFROK,
    MacenkoNormalized,
    RandHEDJitterd,
    RandPhotometricd,
    jitter_hed,
    macenko_normalize,
    optical_density,
    stain_vectors,
)
from pano_med.transforms.macenko import REFERENCE_AMOUNTS, REFERENCE_STAINS

quiet = settings(deadline=None, derandomize=True, max_examples=40)


def noise(*shape: int, seed: int = 0, low: float = 0.02) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * (1 - low) + low


def two_stains(stains: torch.Tensor, amounts: torch.Tensor, seed: int = 0, size: int = 96) -> torch.Tensor:
    """A tile without noise: dark blue nuclei on pale pink, by the law of Beer and Lambert."""
    rng = torch.Generator().manual_seed(seed)
    nuclei = torch.kron(torch.rand(size // 8, size // 8, generator=rng) < 0.3, torch.ones(8, 8))
    eosin = torch.rand(size, size, generator=rng) * 0.5 + 0.5
    shares = torch.stack([nuclei * (0.6 + 0.4 * torch.rand(size, size, generator=rng)), eosin * (1 - nuclei)])
    return (-(stains.T @ (shares * amounts[:, None, None]).flatten(1))).exp().view(3, size, size)


def test_no_jitter_gives_the_image_back():
    image = noise(2, 3, 9, 7)
    assert_close(jitter_hed(image, torch.ones(3), torch.zeros(3)), image, rtol=0, atol=1e-5)


def test_white_glass_stays_white_and_black_stays_finite():
    image = torch.stack([torch.ones(3, 4, 4), torch.zeros(3, 4, 4)])
    out = jitter_hed(image, torch.tensor([1.4, 0.7, 1.2]), torch.zeros(3))
    assert_close(out[0], image[0], rtol=0, atol=1e-5)
    assert torch.isfinite(out).all()


def test_haematoxylin_alone_changes_haematoxylin_alone():
    """Amounts by scikit-image's matrix: the first is multiplied, the other two are as before."""
    amounts = torch.rand(3, 50, generator=torch.Generator().manual_seed(1)) * 0.5
    image = (-(RUIFROK.T @ amounts)).exp().view(3, 5, 10)
    out = jitter_hed(image, torch.tensor([1.5, 1.0, 1.0]), torch.tensor([0.0, 0.1, 0.0]))
    scale = np.linalg.norm(np.linalg.inv(hed_from_rgb), axis=1)  # scikit-image leaves its rows longer or shorter than 1
    before, after = (optical_density(x).flatten(1).T.double().numpy() @ hed_from_rgb * scale for x in (image, out))
    np.testing.assert_allclose(after, before * [1.5, 1, 1] + [0, 0.1, 0], atol=1e-5)


def test_a_batch_is_jittered_image_by_image():
    image, gain, bias = noise(4, 3, 6, 5), noise(4, 3, seed=1) + 0.5, noise(4, 3, seed=2) * 0.1
    one_by_one = torch.stack([jitter_hed(*x) for x in zip(image, gain, bias, strict=True)])
    assert_close(jitter_hed(image, gain, bias), one_by_one)


@quiet
@given(st.integers(0, 10_000), st.sampled_from([RandHEDJitterd(prob=1), RandPhotometricd()]), st.booleans())
def test_random_changes_are_repeatable_stay_in_range_and_edit_nothing(seed, transform, blank):
    image = torch.ones(3, 17, 31) if blank else noise(3, 17, 31, seed=seed, low=0)
    kept = image.clone()
    outs = [transform.set_random_state(seed)({"image": image, "name": "x"}) for _ in range(2)]
    assert_close(outs[0]["image"], outs[1]["image"], rtol=0, atol=0)
    assert_close(image, kept, rtol=0, atol=0)
    assert outs[0]["name"] == "x"
    assert outs[0]["image"].dtype == torch.float32
    assert 0 <= outs[0]["image"].min() <= outs[0]["image"].max() <= 1
    other = transform.set_random_state(seed + 1)({"image": image})["image"]
    assert blank or not torch.equal(outs[0]["image"], other)


def test_probability_zero_does_nothing():
    image = noise(3, 5, 5)
    assert RandHEDJitterd(prob=0)({"image": image})["image"] is image


def test_bad_strength():
    with pytest.raises(ValueError, match="must be at least 0, got -1"):
        RandHEDJitterd(gain=-1)


OTHER_LAB = torch.nn.functional.normalize(torch.tensor([[0.70, 0.65, 0.30], [0.15, 0.90, 0.40]]), dim=1)


def test_macenko_finds_the_stains_that_painted_the_tile():
    found = stain_vectors(two_stains(OTHER_LAB, torch.tensor([1.6, 0.8])))
    assert_close(found, OTHER_LAB, rtol=0, atol=0.02)


def test_macenko_brings_two_laboratories_together():
    reference = torch.nn.functional.normalize(REFERENCE_STAINS, dim=1)
    here = two_stains(reference, torch.tensor([1.2, 0.7]))
    there = two_stains(OTHER_LAB, torch.tensor([2.0, 1.0]))
    after = (macenko_normalize(here) - macenko_normalize(there)).abs().mean()
    assert after < 0.15 * (here - there).abs().mean()


def test_macenko_of_the_reference_is_nearly_the_identity():
    tile = two_stains(REFERENCE_STAINS, REFERENCE_AMOUNTS)
    assert_close(macenko_normalize(tile), tile, rtol=0, atol=0.06)


@pytest.mark.parametrize(
    "tile",
    [
        torch.ones(3, 40, 40),
        torch.zeros(3, 40, 40),
        torch.tensor([0.8, 0.4, 0.7])[:, None, None].expand(3, 40, 40),
        torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(3)).expand(3, 40, 40),  # grey: a line, no plane
        (torch.tensor([0.8, 0.5, 0.7])[:, None, None] + 0.01 * noise(3, 40, 40)),  # one stain and noise
        1 - 0.05 * noise(3, 40, 40),  # nearly blank glass
        two_stains(OTHER_LAB, torch.tensor([1.6, 0.8]))[:, :2, :2],  # too few pixels
        two_stains(OTHER_LAB.flip(0), torch.tensor([1.6, 0.8])),  # red nuclei on blue: no H&E
        torch.full((3, 1, 1), 0.5),
        torch.zeros(3, 0, 5),
    ],
    ids=["white", "black", "one colour", "grey", "one stain", "glass", "tiny", "swapped", "1 px", "0 px"],
)
def test_tiles_without_two_stains_come_back_unchanged(tile):
    assert_close(macenko_normalize(tile), tile, rtol=0, atol=0)
    eight_bit = (tile * 255).byte()
    assert torch.equal(macenko_normalize(eight_bit), eight_bit)


@quiet
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_macenko_is_never_nan(seed, low, contrast):
    image = (low + contrast * (noise(3, 30, 30, seed=seed, low=0) - 0.5)).clamp(0, 1)
    out = macenko_normalize(image, min_angle=0.0, min_dark=0.0)
    assert torch.isfinite(out).all()
    assert 0 <= out.min() <= out.max() <= 1


def test_macenko_measures_tissue_and_not_the_glass_around_it():
    """The same small piece of tissue comes out the same, however much glass lies around it."""
    tissue = two_stains(OTHER_LAB, torch.tensor([1.6, 0.8]), size=48)
    slide = torch.ones(3, 280, 280)
    slide[:, 100:148, 100:148] = tissue  # 3 % of the tile, of which a third is nuclei
    out = macenko_normalize(slide)
    assert_close(out[:, 100:148, 100:148], macenko_normalize(tissue), rtol=0, atol=1e-5)
    assert_close(out[:, :100], slide[:, :100], rtol=0, atol=1e-5)


def test_macenko_keeps_dtype_batch_and_input():
    tiles = [two_stains(OTHER_LAB, torch.tensor([1.6, 0.8]), seed=s) for s in range(2)]
    batch = torch.stack([*tiles, torch.ones(3, 96, 96)])
    eight_bit = (batch * 255).round().byte()
    kept = eight_bit.clone()
    out = MacenkoNormalized()({"image": eight_bit, "n": 1})
    assert out["image"].dtype == torch.uint8
    assert torch.equal(eight_bit, kept)
    assert torch.equal(out["image"][2], kept[2])
    assert not torch.equal(out["image"][0], kept[0])
    assert torch.equal(out["image"][1], macenko_normalize(kept[1]))
    assert_close(out["image"].float() / 255, macenko_normalize(batch), rtol=0, atol=0.03)


def test_macenko_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"takes \(\.\.\., 3, H, W\) images, got shape \(4, 8, 8\)"):
        macenko_normalize(torch.zeros(4, 8, 8))


def real(path) -> torch.Tensor:
    return torch.tensor(np.array(Image.open(path).convert("RGB"))[:512, :512]).permute(2, 0, 1).float() / 255


def test_macenko_on_real_tissue(data_root):
    image = real(next((data_root / "histolytics_hgsc" / "original").glob("hgsc_stromal*.jpg")))
    reference = torch.nn.functional.normalize(REFERENCE_STAINS, dim=1)
    before, after = (
        torch.rad2deg(torch.acos((stain_vectors(x) * reference).sum(1))).max()
        for x in (image, macenko_normalize(image))
    )
    assert after < 6 < 15 < before


def test_real_nuclei_without_eosin_are_left_alone(data_root):
    """Their darkest pixels would be taken for eosin and turn orange."""
    name = "15039b3acccc4257a1a442646a89b6e596b5eb4531637e6d8fa1c43203722c99"
    image = real(data_root / "dsb2018_tissue" / "stage1_train" / name / "images" / f"{name}.png")
    assert torch.equal(macenko_normalize(image), image)
    assert not torch.equal(macenko_normalize(image, min_dark=0), image)
