"""Crops at any angle: places, ids and borders follow the picture."""

from typing import Any

import numpy as np
import pytest
import torch

from pano_med.transforms import RandScaleCropd
from pano_med.transforms.geometry import turned


def _crop(side: int = 41) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(0, 9, (1, side, side)).astype(np.int32))
    return {
        "image": (ids / 10).float().expand(3, -1, -1).clone(), "ids": ids, "pixel_size_um": 0.5,
        "ignore": torch.zeros(1, side, side, dtype=torch.bool), "categories": {}, "taxonomy": None,
    }  # fmt: skip


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_move_pixels_and_nothing_else(quarters: int) -> None:
    crop = _crop()
    made = turned(crop, quarters * np.pi / 2, 1.0, (21, 21))
    middle = torch.rot90(crop["ids"], quarters, (1, 2))[:, 10:31, 10:31]
    assert torch.equal(made["ids"], middle)
    torch.testing.assert_close(made["image"][0], middle[0] / 10, atol=1e-4, rtol=0)
    assert not made["ignore"].any()


def test_ids_follow_the_picture_at_any_angle() -> None:
    rows, columns = np.mgrid[:80, :80]
    disc = torch.from_numpy((np.hypot(rows - 30, columns - 52) < 9).astype(np.int32))[None]
    crop = {**_crop(80), "ids": disc, "image": disc.float().expand(3, -1, -1).clone(),
            "ignore": torch.zeros(1, 80, 80, dtype=torch.bool)}  # fmt: skip
    for angle in (0.3, 1.1, 2.5, 4.0):
        made = turned(crop, angle, 1.0, (56, 56))
        assert abs(int(made["ids"].sum()) - int(disc.sum())) <= 12
        assert ((made["image"][0] > 0.5) != (made["ids"][0] == 1)).sum() < 12


def test_a_stretch_keeps_the_area_and_changes_the_shape() -> None:
    rows, columns = np.mgrid[:80, :80]
    disc = torch.from_numpy((np.hypot(rows - 39.5, columns - 39.5) < 12).astype(np.int32))[None]
    crop = {**_crop(80), "ids": disc, "image": disc.float().expand(3, -1, -1).clone(),
            "ignore": torch.zeros(1, 80, 80, dtype=torch.bool)}  # fmt: skip
    made = turned(crop, 0.0, 1.2, (56, 56))["ids"][0] == 1
    height, width = int(made.any(1).sum()), int(made.any(0).sum())
    assert height < 22 < 26 < width
    assert abs(int(made.sum()) - int(disc.sum())) < 20


def test_what_lies_outside_is_black_void_and_ignored() -> None:
    crop = {**_crop(40), "ids": torch.ones(1, 40, 40, dtype=torch.int32), "image": torch.ones(3, 40, 40)}
    crop["ignore"] = torch.zeros(1, 40, 40, dtype=torch.bool)
    made = turned(crop, np.pi / 4, 1.0, (40, 40))
    corner = made["ignore"][0]
    assert corner[0, 0]
    assert corner[-1, -1]
    assert not corner[20, 20]
    assert not made["ids"][0][corner].any()
    assert (made["ids"][0][~corner] == 1).all()


def test_turned_crops_are_repeatable_and_of_the_size_asked() -> None:
    crop = _crop(100)
    make = RandScaleCropd((24, 32), 0.5, turn=1.0)
    first = make.set_random_state(3)(crop)
    again = make.set_random_state(3)(crop)
    other = make.set_random_state(4)(crop)
    assert first["image"].shape == (3, 24, 32)
    assert torch.equal(first["ids"], again["ids"])
    assert not torch.equal(first["ids"], other["ids"])


def test_a_turn_is_a_probability() -> None:
    with pytest.raises(ValueError, match="turn is a probability from 0 to 1, got 2"):
        RandScaleCropd(32, turn=2)
    with pytest.raises(ValueError, match="stretch is a factor of at least 1, got 0.5"):
        RandScaleCropd(32, turn=0.5, stretch=0.5)
