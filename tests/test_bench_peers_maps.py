"""What the peers of the benchmark learn from, and how their maps become nuclei."""

import numpy as np
import pytest
import torch
from peers import budget, hovernet, stardist, unet
from peers.peer import at_model_scale


def discs(*middles, size=(64, 96), radius=12):
    """Numbered discs, later ones over earlier ones."""
    rows, columns = np.indices(size)
    ids = np.zeros(size, np.int32)
    for number, (row, column) in enumerate(middles, 1):
        ids[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return ids


# --- targets


def test_hover_maps_run_from_one_edge_of_a_nucleus_to_the_other():
    ids = torch.zeros(9, 12, dtype=torch.int32)
    ids[2:7, 1:6], ids[2:7, 6:9] = 3, 8  # 5 x 5 and, touching it, 5 x 3
    horizontal, vertical = hovernet.hover_maps(ids)
    assert horizontal[4, 1:9].tolist() == [-1, -0.5, 0, 0.5, 1, -1, 0, 1]
    assert vertical[2:7, 3].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert horizontal[0].abs().sum() == vertical[:, 10].abs().sum() == 0  # no nucleus, no distance


def test_hover_targets_are_the_middle_of_the_crop():
    masks = torch.zeros(1, 256, 256, dtype=torch.bool)
    masks[0, 46:66, 40:60] = True  # the window's middle begins at 46
    made = hovernet.hover_targets({"masks": masks})
    assert made[hovernet.NP].shape == made[hovernet.HV].shape == (2, 164, 164)
    assert made[hovernet.NP][1, :20, :14].all()
    assert made[hovernet.NP][1].sum() == 20 * 14
    assert torch.equal(made[hovernet.NP].sum(0), torch.ones(164, 164))
    assert made[hovernet.HV][0, 0, 13] == 1  # of the whole nucleus, not of what is left of it
    assert made[hovernet.HV][0, 0, 0] > -0.5


def test_hovernet_says_which_crop_it_takes():
    with pytest.raises(ValueError, match="takes crops of 256 px, got \\(64, 64\\); use --crop 256"):
        hovernet.hover_targets({"masks": torch.zeros(0, 64, 64, dtype=torch.bool)})


def test_boundary_is_the_outer_two_pixels_between_neighbours_too():
    ids = np.zeros((12, 20), np.int32)
    ids[2:10, 2:10], ids[2:10, 10:18] = 1, 2
    row = unet.boundary_classes(ids)[5]
    assert row.tolist() == [0, 0, 2, 2, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 2, 2, 0, 0]


def test_the_border_of_the_image_is_no_boundary():
    ids = np.zeros((8, 8), np.int32)
    ids[:, :5] = 1
    assert unet.boundary_classes(ids)[0].tolist() == [1, 1, 1, 2, 2, 0, 0, 0]


def test_ignored_pixels_teach_neither_unet_nor_stardist():
    masks = torch.from_numpy(discs((32, 32)) > 0)[None]
    ignore = torch.zeros(64, 96, dtype=torch.bool)
    ignore[:, 80:] = True
    target = {"masks": masks, "ignore": ignore}
    assert (unet.boundary_targets(target)["classes"][:, 80:] == unet.IGNORED).all()
    ids = stardist.star_targets(target)["ids"]
    assert ids[32, 32] == 1
    assert (ids[:, 80:] == -1).all()
    classes = unet.boundary_targets(target)["classes"].long()[None]
    for truth in (classes, torch.full_like(classes, unet.IGNORED)):
        logits = torch.rand(1, 3, 64, 96).requires_grad_()
        sum(unet.pixel_losses(logits, truth).values()).backward()
        moved = logits.grad[0].abs().sum(0) > 0
        assert torch.equal(moved, truth[0] != unet.IGNORED)  # none at all where all is ignored, and no nan


def test_labels_of_no_nucleus_at_all():
    assert budget.labels(torch.zeros(0, 4, 5, dtype=torch.bool)).tolist() == [[0] * 5] * 4


# --- post-processing


def test_watershed_parts_two_touching_discs_of_perfect_probabilities():
    ids = discs((32, 30), (32, 52))
    shares = (unet.boundary_classes(ids)[None] == np.arange(3)[:, None, None]).astype(np.float32)
    found = unet.split(shares)
    assert len(np.unique(found)) == 3
    for number in (1, 2):
        mine = ids == number
        other = found == np.bincount(found[mine]).argmax()
        assert (mine & other).sum() / (mine | other).sum() > 0.95


def test_a_nucleus_too_thin_to_have_an_inside_is_kept_and_a_speck_is_not():
    shares = np.zeros((3, 40, 60), np.float32)
    shares[unet.BACKGROUND] = 1
    for place in (np.s_[10:14, 5:45], np.s_[30:33, 5:9]):
        shares[unet.BACKGROUND][place], shares[unet.BOUNDARY][place] = 0, 1
    found = unet.split(shares)
    assert len(np.unique(found)) == 2
    assert (found > 0).sum() == 4 * 40


@pytest.mark.filterwarnings("ignore")  # MONAI calls scikit-image by names that it is about to drop
def test_hovernet_parts_two_touching_discs_of_perfect_maps():
    ids = torch.from_numpy(discs((32, 30), (32, 52)))
    inside = (ids > 0).float()
    post = hovernet.Labeller(torch.nn.Identity()).post
    found = hovernet.hover_labels(torch.stack([1 - inside, inside]) * 20, hovernet.hover_maps(ids), post)
    kept = [np.bincount(found[(ids == n).numpy()]).argmax() for n in (1, 2)]
    assert 0 not in kept
    assert kept[0] != kept[1]


class Perfect(torch.nn.Module):
    """Reads what it should say from the colours of the window: nucleus, and the two distances as 0..1."""

    def forward(self, windows):
        assert windows.shape[2:] == (256, 256)
        middle = windows[:, :, 46:-46, 46:-46]
        return {hovernet.NP: torch.cat([1 - middle[:, :1], middle[:, :1]], 1) * 20, hovernet.HV: middle[:, 1:] * 2 - 1}


def test_windows_of_hovernet_join_without_a_shift():
    ids = discs((20, 20), (100, 163), (101, 185), (180, 60), size=(200, 210))  # the second is cut by a window's edge
    maps = hovernet.hover_maps(torch.from_numpy(ids))
    image = torch.cat([torch.from_numpy(ids > 0).float()[None], (maps + 1) / 2])
    found = hovernet.Labeller(Perfect())(image)
    assert np.array_equal(found > 0, ids > 0)
    assert len(np.unique(found)) == 5


def test_hovernet_finds_nothing_where_nothing_is():
    post = hovernet.Labeller(torch.nn.Identity()).post
    logits = torch.stack([torch.ones(40, 50), torch.zeros(40, 50)])
    assert not hovernet.hover_labels(logits, torch.zeros(2, 40, 50), post).any()


def test_numbers_come_back_on_the_grid_of_the_image():
    seen = []

    def label(image):
        seen.append(tuple(image.shape))
        ids = np.zeros(image.shape[1:], np.int32)
        ids[: image.shape[1] // 2] = 1
        return ids

    found = at_model_scale(label, 0.25)(np.zeros((80, 120, 3), np.uint8), 0.5)
    assert seen == [(3, 160, 240)]
    assert found.size == (80, 120)
    assert np.array_equal(found.ids > 0, np.arange(80)[:, None].repeat(120, 1) < 40)
