"""From files to the dictionary of the transforms."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from pano_med.formats import write_coco, write_png
from pano_med.transforms import LoadPanopticd
from pano_med.types import HE_CORE, Panoptic, Segment

TUMOUR, NUCLEUS = HE_CORE["tumour"].id, HE_CORE["nucleus"].id


def test_files_to_tensors(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (12, 15, 3), dtype=np.uint8)
    ids = np.repeat(np.arange(12, dtype=np.int32)[:, None] // 4, 15, 1)
    truth = Panoptic(ids, (Segment(1, TUMOUR, area=60), Segment(2, NUCLEUS, area=60, iscrowd=True)), HE_CORE, 0.25)
    write_png(tmp_path / "he.png", image)
    write_coco(truth, tmp_path / "map.png", tmp_path / "map.json")
    record = {"image": tmp_path / "he.png", "truth": tmp_path / "map.png"}
    data = LoadPanopticd()(record)
    np.testing.assert_array_equal(data["image"].permute(1, 2, 0).numpy(), image)
    np.testing.assert_array_equal(data["ids"][0].numpy(), ids)
    assert data["categories"] == {1: TUMOUR, 2: HE_CORE.VOID}
    assert data["taxonomy"] == HE_CORE
    assert data["known"] == {c.id for c in HE_CORE.all}
    assert (data["pixel_size_um"], data["name"]) == (0.25, "he.png")
    assert LoadPanopticd()({**record, "known": [TUMOUR], "pixel_size_um": 0.5})["known"] == {TUMOUR}
    assert LoadPanopticd()({"image": tmp_path / "he.png"})["taxonomy"] is None
    tifffile.imwrite(tmp_path / "he.tif", image, resolution=(1e4 / 0.4, 1e4 / 0.4), resolutionunit="CENTIMETER")
    from_tiff = LoadPanopticd()({**record, "image": tmp_path / "he.tif"})
    assert from_tiff["pixel_size_um"] == pytest.approx(0.4)  # the image file comes before the truth
    with pytest.raises(KeyError, match="needs the path of its image"):
        LoadPanopticd()({"truth": tmp_path / "map.png"})
