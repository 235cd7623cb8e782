"""The rules check themselves; both merges as MONAI transforms, array and dictionary."""

import numpy as np
import pytest
import torch
from monai.transforms import Compose

from pano_med.fusion import FusionRules, HeuristicRules, fuse, merge_heuristic
from pano_med.transforms.fusing import FusePanoptic, FusePanopticd, MergeHeuristic, MergeHeuristicd
from pano_med.types import HE_CORE, Instances, Prediction


def prediction() -> Prediction:
    """16 x 16 with two overlapping nuclei, of which the one with the lower score has the larger FL."""
    semantic = torch.zeros(len(HE_CORE.channels), 16, 16)
    semantic[HE_CORE.channel("tumour")] = 3
    semantic[HE_CORE.channel("neoplastic nucleus")] = 2
    ids = torch.tensor([HE_CORE["neoplastic nucleus"].id, HE_CORE["connective nucleus"].id])
    boxes = torch.tensor([[1.0, 1, 9, 9], [6, 6, 14, 14]])
    return Prediction(semantic, Instances(boxes, ids, torch.tensor([0.8, 0.9]), torch.full((2, 4, 4), 3.0)), HE_CORE)


@pytest.mark.parametrize("kind", [FusionRules, HeuristicRules])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        *[(f, v, f"`{f}` must lie between 0 and 1, got {v}") for f in ("score", "nms", "overlap") for v in (-0.1, 1.1)],
        ("min_stuff_fraction", float("nan"), "`min_stuff_fraction` must lie between 0 and 1"),
        ("min_stuff_um2", -1.0, "`min_stuff_um2` must be an area of 0 um2 or more, or None, got -1.0"),
        ("leftovers", "keep", r"`leftovers` must be one of \('stuff', 'void'\), got 'keep'"),
    ],
)
def test_rules_check_themselves(kind, field: str, value, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{field: value})


def test_the_rules_of_fusion_check_their_own_fields() -> None:
    with pytest.raises(ValueError, match=r"`outside` must be one of \('never', 'zero'\), got 'inside'"):
        FusionRules(outside="inside")
    with pytest.raises(ValueError, match="`mask_gain` must be a positive number, got 0"):
        FusionRules(mask_gain=0)


# ------------------------------------------------------------------------------------------------ MONAI


def test_array_transforms_in_a_compose() -> None:
    p = prediction()
    fused, merged = Compose([FusePanoptic()])(p), Compose([MergeHeuristic()])(p)
    assert fused.panoptic.ids[7, 7] == fused.kept[0]
    assert merged.panoptic.ids[7, 7] == merged.kept[1]
    never = FusePanoptic(FusionRules(score=1.0), trace=True)(p)
    assert never.dropped == {0: "score", 1: "score"}
    assert never.trace is not None
    assert MergeHeuristic(HeuristicRules(score=1.0))(p).dropped == {0: "score", 1: "score"}


def test_dictionary_transforms_in_a_compose() -> None:
    data = {"prediction": prediction(), "name": "tile"}
    both = Compose([FusePanopticd(fused_keys="fused", trace=True), MergeHeuristicd(panoptic_keys="baseline")])
    out = both(data)
    assert set(out) == {"prediction", "name", "panoptic", "fused", "baseline"}
    assert set(data) == {"prediction", "name"}
    np.testing.assert_array_equal(out["panoptic"].ids, fuse(data["prediction"]).panoptic.ids)
    np.testing.assert_array_equal(out["baseline"].ids, merge_heuristic(data["prediction"]).panoptic.ids)
    assert out["fused"].panoptic is out["panoptic"]
    assert out["fused"].trace is not None
    two = FusePanopticd(("one", "two"), ("p1", "p2"), allow_missing_keys=True)({"two": data["prediction"]})
    assert set(two) == {"two", "p2"}


def test_transforms_refuse_what_they_cannot_use() -> None:
    with pytest.raises(TypeError, match="a merge needs a Prediction, the input is a Tensor"):
        FusePanoptic()(torch.zeros(4, 8, 8))
    with pytest.raises(TypeError, match="key 'prediction' is a list"):
        MergeHeuristicd()({"prediction": []})
    with pytest.raises(ValueError, match="`panoptic_keys` must name one output for each of the 2 keys"):
        FusePanopticd(("one", "two"))
    with pytest.raises(KeyError, match="prediction"):
        FusePanopticd()({})
