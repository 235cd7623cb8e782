"""The centre cue: its targets, its loss and its grouping, on two touching nuclei."""

import pytest
import torch

from pano_med.models import EfficientPS, build
from pano_med.models.centres import UNIT, CentreRules, centre_loss, centre_targets, regions
from pano_med.types import HE_CORE


def touching() -> torch.Tensor:
    """(2, 64, 64) masks of two long neighbours that share an edge."""
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 10:40, 10:20], masks[1, 10:40, 20:30] = True, True
    return masks


def said(masks: torch.Tensor) -> torch.Tensor:
    """What a perfect head gives for the masks."""
    closeness, offset, _ = centre_targets(masks)
    return torch.cat([closeness.clamp(1e-4, 1 - 1e-4).logit()[None], offset / UNIT])


def test_every_pixel_points_at_the_middle_of_its_own_thing() -> None:
    closeness, offset, thing = centre_targets(touching())
    assert thing.sum() == 600
    assert not thing[:, 40:].any()
    assert offset[:, 10, 10].tolist() == [14.5, 4.5]
    assert offset[:, 39, 29].tolist() == [-14.5, -4.5]
    assert closeness[24, 14] > 0.9
    assert closeness[24, 19] < closeness[24, 17]
    assert closeness[0, 0] == 0


def test_many_things_keep_their_own_middles_in_half_precision() -> None:
    masks = torch.zeros(400, 20, 20, dtype=torch.bool)
    masks.view(400, -1)[torch.arange(400), torch.arange(400)] = True  # one pixel each
    with torch.autocast("cpu", torch.bfloat16):
        _, offset, thing = centre_targets(masks)
    assert thing.all()
    assert not offset.any()


def test_touching_things_come_apart_exactly() -> None:
    masks = touching()
    boxes = regions(said(masks), masks.any(0).float(), CentreRules())
    assert boxes.tolist() == [[10, 10, 20, 40], [20, 10, 30, 40]]


def test_nothing_gives_nothing_and_specks_are_dropped() -> None:
    assert regions(torch.zeros(3, 32, 32), torch.zeros(32, 32), CentreRules()).shape == (0, 4)
    speck = torch.zeros(1, 32, 32, dtype=torch.bool)
    speck[0, 4:8, 4:8] = True
    assert regions(said(speck), speck[0].float(), CentreRules(min_pixels=24)).shape == (0, 4)
    assert regions(said(speck), speck[0].float(), CentreRules(min_pixels=16)).tolist() == [[4, 4, 8, 8]]


def test_the_surest_regions_are_kept_where_there_are_too_many() -> None:
    masks = touching()
    outputs = said(masks)
    outputs[0, 10:40, 10:20] -= 1.0  # the left one is less sure of its middle
    assert regions(outputs, masks.any(0).float(), CentreRules(most=1)).tolist() == [[20, 10, 30, 40]]


def test_the_loss_is_least_for_the_truth_and_blind_where_ignored() -> None:
    masks, ignore = touching(), torch.zeros(64, 64, dtype=torch.bool)
    target = {"masks": masks, "ignore": ignore}
    right = said(masks)
    wrong = right.clone()
    wrong[1:, 10:40, 10:20] += 1.0
    assert centre_loss(right[None], [target]) < centre_loss(wrong[None], [target])
    hidden = {"masks": masks, "ignore": masks[0]}
    assert centre_loss(right[None], [hidden]) == centre_loss(wrong[None], [hidden])


def test_an_image_without_things_has_a_loss_and_a_gradient() -> None:
    outputs = torch.zeros(1, 3, 32, 32, requires_grad=True)
    target = {"masks": torch.zeros(0, 32, 32, dtype=torch.bool), "ignore": torch.zeros(32, 32, dtype=torch.bool)}
    loss = centre_loss(outputs, [target])
    loss.backward()
    assert loss > 0
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_the_cue_is_part_of_the_configuration() -> None:
    torch.manual_seed(0)
    with_cue, without = EfficientPS.small(HE_CORE), EfficientPS.small(HE_CORE, centres=False)
    assert with_cue.config["centres"]
    assert build(with_cue.config).centre_head is not None
    assert without.centre_head is None
    assert build(without.config).centre_head is None
    old = {k: v for k, v in with_cue.config.items() if k != "centres"}
    assert build(old).centre_head is None  # weights from before the cue


def test_the_regions_become_proposals(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = EfficientPS.small(HE_CORE).eval()
    masks = touching()
    monkeypatch.setattr(net, "_centres", lambda p4, size: said(masks)[None])
    monkeypatch.setattr(net.semantic_head, "forward", lambda *_, size: thing_logits(masks)[None])
    seen = []
    monkeypatch.setattr(net.instance_head, "detect", spy(net.instance_head.detect, seen))
    net([torch.rand(3, 64, 64)])
    assert seen[0][0].tolist() == [[10, 10, 20, 40], [20, 10, 30, 40]]


def thing_logits(masks: torch.Tensor) -> torch.Tensor:
    """(K, 64, 64) semantic logits that are sure of the things."""
    logits = torch.zeros(len(HE_CORE.channels), 64, 64)
    logits[: HE_CORE.num_stuff] = torch.where(masks.any(0), -9.0, 9.0)
    return logits


def spy(detect, seen):
    """`detect` that notes the proposals it was given."""
    def noted(batch, pyramid, more):
        seen.append(more)
        return detect(batch, pyramid, more)

    return noted
