"""The networks: sizes, gradients, partial labels, and that they can learn one real tile by heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

from pano_med import weights
from pano_med.data import load
from pano_med.fusion import fuse
from pano_med.metrics import things_quality
from pano_med.models import BACKBONES, Backbone, EfficientPS, TwoNetworks, build
from pano_med.models.fcn import FCN
from pano_med.models.losses import class_loss, hard_pixel_loss, mask_loss, set_cross_entropy
from pano_med.models.mask_rcnn import rename_torchvision, resnet_mask_rcnn
from pano_med.models.rpn import centred_on
from pano_med.transforms import eval_pipeline
from pano_med.types import HE_CORE, Panoptic

K, T = len(HE_CORE.channels), HE_CORE.num_things
BOTH = [EfficientPS.small, TwoNetworks.small]


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def target(count: int, size: tuple[int, int] = (64, 64), seed: int = 0, known: bool = True) -> dict[str, torch.Tensor]:
    """Boxes of 8 to 24 px full of object, in tissue that is all tumour."""
    rng = np.random.default_rng(seed)
    masks = torch.zeros(count, *size, dtype=torch.bool)
    boxes = torch.zeros(count, 4)
    for i in range(count):
        h, w = rng.integers(8, 25, 2)
        y, x = rng.integers(0, size[0] - h + 1), rng.integers(0, size[1] - w + 1)
        masks[i, y : y + h, x : x + w] = True
        boxes[i] = torch.tensor([x, y, x + w, y + h])
    allowed = torch.zeros(K, *size, dtype=torch.bool)
    allowed[HE_CORE.channel("tumour")] = True
    return {
        "boxes": boxes, "masks": masks, "labels": torch.from_numpy(rng.integers(1, T + 1, count)),
        "allowed": allowed, "ignore": torch.zeros(size, dtype=torch.bool), "things_known": torch.tensor(known),
    }  # fmt: skip


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(losses.values())).sum()


@pytest.fixture(scope="module")
def small() -> EfficientPS:
    torch.manual_seed(0)
    return EfficientPS.small().eval()


def test_paper_counts_every_part() -> None:
    net = EfficientPS.paper(num_stuff=11, num_things=8)
    head = net.instance_head
    parts = [net.backbone, net.fpn, net.semantic_head, head.rpn, head.box_head, head.mask_head]
    counts = [parameters(p) for p in parts]
    assert counts == [23_148_912, 1_469_440, 1_198_867, 593_935, 13_941_805, 538_121]
    assert parameters(net) == sum(counts) == 40_891_080


def test_default_is_small() -> None:
    assert parameters(EfficientPS.small()) <= 8_000_000


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones_have_no_squeeze_excite_and_four_strides(name: str) -> None:
    net = Backbone(name)
    assert not [n for n, _ in net.named_modules() if "conv_reduce" in n]
    names = {type(m).__name__ for m in net.modules()}
    assert {n for n in names if "ReLU" in n or "SiLU" in n} == {"LeakyReLU"}
    if name in BACKBONES[:2]:
        ends = net.eval()(torch.zeros(1, 3, 64, 96))
        assert [e.shape[1] for e in ends] == list(net.channels)
        assert [tuple(e.shape[2:]) for e in ends] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_unknown_backbone_and_foreign_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="backbone must be one of"):
        Backbone("resnet18")
    with pytest.raises(ValueError, match="must fill the backbone, this one lacks"):
        Backbone("tf_efficientnet_lite0", {"conv_stem.weight": torch.zeros(1)})


@pytest.mark.parametrize("make", BOTH)
def test_gradients_reach_every_parameter(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = make().train()
    losses = net([torch.rand(3, 64, 64) for _ in range(2)], [target(4, seed=1), target(5, seed=2)])
    total(losses).backward()
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent


@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 100)])
@pytest.mark.filterwarnings("ignore:more objects than the cap")  # an untrained network sees them everywhere
def test_any_size_from_32(make, size: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = make().train()
    losses = net([torch.rand(3, *size)] * 2, [target(2, size), target(0, size)])
    assert set(losses) - {"centre"} == {"objectness", "proposal_box", "class", "box", "mask", "semantic"}
    assert ("centre" in losses) == (getattr(net, "centre_head", None) is not None)
    assert torch.isfinite(total(losses))
    prediction = net.eval()([torch.rand(3, *size)])[0]
    assert prediction.size == size
    assert prediction.instances.mask_logits.shape[1:] == (28, 28)


def test_nothing_to_find_and_degenerate_boxes_give_finite_losses(small: EfficientPS) -> None:
    flat = target(3)
    flat["boxes"][0, 2] = flat["boxes"][0, 0]  # no width
    flat["boxes"][1] = torch.tensor([5.0, 5.0, 4.0, 4.0])  # inside out
    small.train()
    for batch in ([target(0), target(0)], [flat, target(0)], [target(2, known=False), target(1, known=False)]):
        losses = small([torch.rand(3, 64, 64)] * 2, batch)
        assert torch.isfinite(total(losses))
    small.eval()


def test_images_of_other_sizes_share_a_training_batch() -> None:
    torch.manual_seed(0)
    net = EfficientPS.small().train()
    losses = net([torch.rand(3, 64, 64), torch.rand(3, 40, 90)], [target(2), target(1, (40, 90))])
    assert torch.isfinite(total(losses))


def test_bad_images_are_refused(small: EfficientPS) -> None:
    with pytest.raises(ValueError, match=r"at least 32 px on each side, image 1 is \(16, 64\)"):
        small([torch.rand(3, 64, 64), torch.rand(3, 16, 64)])
    with pytest.raises(ValueError, match=r"float tensors \(3, H, W\), image 0"):
        small([torch.zeros(3, 64, 64, dtype=torch.uint8)])
    with pytest.raises(ValueError, match="training needs a target"):
        EfficientPS.small().train()([torch.rand(3, 64, 64)])


@pytest.mark.parametrize("make", BOTH)
def test_batch_of_two_is_two_batches_of_one(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = make().eval()
    images = [torch.rand(3, 96, 64), torch.rand(3, 96, 64)]
    for one, both in zip((net([i])[0] for i in images), net(images), strict=True):
        assert_close(one.semantic_logits, both.semantic_logits, atol=1e-4, rtol=1e-4)
        assert_close(one.instances.boxes, both.instances.boxes, atol=1e-2, rtol=1e-4)
        assert_close(one.instances.scores, both.instances.scores, atol=1e-4, rtol=1e-4)
    mixed = net([images[0], torch.rand(3, 40, 40)])[0]
    assert_close(mixed.semantic_logits, net([images[0]])[0].semantic_logits)


@pytest.mark.parametrize("make", [*BOTH, pytest.param(TwoNetworks.resnet, marks=pytest.mark.slow)])
def test_state_dict_and_config_make_the_same_network(make) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    net = make().eval()
    copy = build(net.config).eval()
    copy.load_state_dict(net.state_dict())
    image = torch.rand(3, 64, 64)
    ours, theirs = net([image])[0], copy([image])[0]
    assert torch.equal(ours.semantic_logits, theirs.semantic_logits)
    assert torch.equal(ours.instances.mask_logits, theirs.instances.mask_logits)


def test_config_of_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="a model is efficientps, two_networks or two_resnets, got 'unet'"):
        build({"name": "unet", "taxonomy": HE_CORE.to_dict()})
    with pytest.raises(ValueError, match="'taxonomy' is missing"):
        build({"name": "efficientps"})


def test_set_loss_by_hand() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    cases = (([1, 0, 0], 0.5), ([1, 1, 0], 0.8), ([0, 1, 1], 0.5), ([1, 1, 1], 1.0), ([0, 0, 0], 1.0))
    for allowed, probability in cases:
        loss = set_cross_entropy(logits, torch.tensor([allowed], dtype=torch.bool))
        assert_close(loss, -torch.tensor([probability]).log(), atol=1e-6, rtol=1e-6)


def test_hard_pixel_loss_is_the_mean_of_the_worst_quarter() -> None:
    logits = torch.zeros(1, 2, 2, 2)
    logits[0, 0] = torch.tensor([[5.0, 5.0], [5.0, -3.0]])  # three easy pixels, one hard
    allowed = torch.zeros(1, 2, 2, 2, dtype=torch.bool)
    allowed[:, 0] = True
    assert_close(hard_pixel_loss(logits, allowed), torch.tensor(3.0).exp().add(1).log())
    assert hard_pixel_loss(logits, torch.ones_like(allowed)) == 0  # nothing known, nothing to learn


def test_loss_does_not_depend_on_the_split_of_the_batch() -> None:
    torch.manual_seed(0)
    logits, allowed = torch.randn(4, 3, 8, 8), torch.rand(4, 3, 8, 8) > 0.5
    halves = [hard_pixel_loss(logits[i : i + 2], allowed[i : i + 2]) for i in (0, 2)]
    assert_close(hard_pixel_loss(logits, allowed), torch.stack(halves).mean())


def test_an_object_of_unknown_class_trains_all_but_the_class() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]]))
    unknown = class_loss(logits, torch.tensor([4]), unknown=4)
    assert_close(unknown, -torch.tensor(0.9).log())
    assert_close(class_loss(logits, torch.tensor([2]), unknown=4), -torch.tensor(0.3).log())
    torch.manual_seed(0)
    net = EfficientPS.small().train()
    nameless = target(6)
    nameless["labels"][:] = T + 1
    losses = net([torch.rand(3, 64, 64)], [nameless])
    assert losses["mask"] > 0
    assert losses["box"] > 0


def test_image_without_thing_labels_trains_stuff_only() -> None:
    torch.manual_seed(0)
    net = EfficientPS.small().train()
    losses = net([torch.rand(3, 64, 64)] * 2, [target(3, known=False)] * 2)
    assert {k for k, v in losses.items() if v != 0} == {"semantic"}
    total(losses).backward()


def test_masks_without_rows_keep_a_gradient_path() -> None:
    logits = torch.zeros(0, 28, 28, requires_grad=True)
    mask_loss(logits, torch.zeros(0, 28, 28)).backward()
    assert logits.grad is not None


def test_ignored_pixels_are_no_background() -> None:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:4, 5] = True
    boxes = torch.tensor([[4.0, 1.0, 7.0, 5.0], [0.0, 0.0, 4.0, 4.0], [-20.0, -20.0, -4.0, -4.0]])
    assert centred_on(boxes, mask).tolist() == [True, False, False]


def test_caps_grow_with_the_area_and_reaching_one_is_said() -> None:
    torch.manual_seed(0)
    net = EfficientPS.small().eval()
    head = net.instance_head
    # random weights are sure of nothing; without cuts on the score they see objects everywhere
    head.rules = replace(head.rules, min_score=0.0, detections=5)
    head.rpn.rules = replace(head.rpn.rules, min_score=0.0)
    with pytest.warns(UserWarning, match="more objects than the cap of 5 "):
        net([torch.rand(3, 256, 256)])
    little = head.rpn.post_nms_top_n()
    with pytest.warns(UserWarning, match="more objects than the cap of 20 "):
        net([torch.rand(3, 512, 512)])
    assert head.rpn.post_nms_top_n() == 4 * little


@pytest.mark.parametrize(("variant", "ends"), [("32s", 1), ("16s", 2), ("8s", 3)])
def test_fcn_variants(variant: str, ends: int) -> None:
    net = FCN(Backbone(), 5, variant).eval()
    assert len(net.score) == ends
    assert net(torch.zeros(1, 3, 50, 70)).shape == (1, 5, 50, 70)
    with pytest.raises(ValueError, match="an FCN variant must be one of 32s, 16s, 8s"):
        FCN(Backbone(), 5, "4s")


@pytest.mark.slow
def test_resnet_mask_rcnn_is_torchvisions_layer_for_layer() -> None:
    """Same weights, same boxes, scores and masks as torchvision's own network."""
    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0).eval()
    ours = resnet_mask_rcnn(90).eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.endswith("num_batches_tracked")}
    missing, unexpected = ours.load_state_dict(rename_torchvision(state), strict=False)
    assert not missing
    assert not unexpected
    for module in ours.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 1e-5  # torchvision's random network has an ordinary batch norm
    ours.head.rules = replace(ours.head.rules, min_score=0.0)
    pixels = torch.randn(1, 3, 128, 128)
    images = ImageList(pixels, [(128, 128)])
    with torch.inference_mode():
        features = theirs.backbone(pixels)
        proposals, _ = theirs.rpn(images, features)
        expected, _ = theirs.roi_heads(features, proposals, [(128, 128)])
        found, masks = ours.detect(images, pixels)[0]
    n = min(20, len(found.scores))  # far down the list scores tie
    assert n >= 10
    assert_close(found.scores[:n], expected[0]["scores"][:n], atol=1e-5, rtol=1e-4)
    assert_close(found.boxes[:n], expected[0]["boxes"][:n], atol=1e-2, rtol=1e-3)
    assert_close(masks[:n].sigmoid(), expected[0]["masks"][:n, 0], atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_one_real_tile_is_learned_by_heart(data_root) -> None:  # type: ignore[no-untyped-def]
    """PQ of at least 0.95 on one crop of the ovarian carcinoma after a few hundred steps on it alone."""
    sample = next(s for s in load("histolytics_hgsc", data_root) if s.name.endswith("nest_rows_0000_0999"))
    ids = sample.truth.ids[400:528, 600:728]
    classes = {s.id: s.category_id for s in sample.truth.segments}
    truth = Panoptic.from_ids(ids, classes, HE_CORE, sample.pixel_size_um)
    crop = type(sample)(sample.image[:, 400:528, 600:728], truth, sample.pixel_size_um, known=sample.known)
    image, goal = eval_pipeline(mpp=0.25)(crop)
    torch.manual_seed(0)
    net = EfficientPS.small(pretrained=weights.imagenet_lite0()).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    steps = 300
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        total(net([image], [goal])).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    # the statistics that training saw, not their running average over a schedule
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        for _ in range(3):
            net([image], [goal])
    found = fuse(net.eval()([image])[0]).panoptic
    size = tuple(image.shape[-2:])
    at_model = np.zeros(size, np.int32)
    for i, mask in enumerate(goal["masks"], start=1):
        at_model[mask.numpy()] = i
    labels = dict(enumerate((HE_CORE.things[k - 1].id for k in goal["labels"].tolist()), start=1))
    assert things_quality(Panoptic.from_ids(at_model, labels, HE_CORE), found).mean("things")[0] >= 0.95
