"""Two small predictions for the fusion lab, offline: 8 x 8 pixels by hand, and a recorded tile of real H&E (torch)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pano_med.types import HE_CORE, OKABE_ITO, Category, Instances, Panoptic, Prediction, Taxonomy

RECORDED = Path(__file__).with_name("fusion_tile.safetensors")
#: The classes of the 8 x 8 example: two stuff classes and one thing class.
TINY = Taxonomy(
    "tiny",
    (
        Category(1, "tumour", False, OKABE_ITO["orange"]),
        Category(2, "other tissue", False, OKABE_ITO["sky"]),
        Category(3, "nucleus", True, OKABE_ITO["vermillion"]),
    ),
)


@dataclass(frozen=True)
class Example:
    """An image, what a network said of it, and what people (or we) say is right.

    Attributes:
        image: (H, W, 3) uint8.
        prediction: of the same size, before fusion.
        truth: the map to compare with.
        source: where it comes from and under which licence.
    """

    image: np.ndarray
    prediction: Prediction
    truth: Panoptic
    source: str


def tiny(fragment: bool = False) -> Example:
    """Two nuclei on the border of two tissues, 8 x 8 pixels, all logits small round numbers.

    Nucleus #1 (score 0.9) has its middle at row 3, column 3; nucleus #2 (score 0.8) at row 5, column 5; they share
    three pixels, of which #2 is surer. The semantic head disagrees with #1 at row 3, column 1, and sees a nucleus in
    the upper right corner that the instance head does not.

    Args:
        fragment: add a third instance (score 0.6), 3 x 3 pixels of which 8 lie on the two nuclei.
    """
    steps = np.abs(np.arange(8)[:, None] - np.arange(8))  # |row - column|, for distances in steps
    one, two = (steps[:, [m]] + steps[[m]] <= 2 for m in (3, 5))
    corner = np.zeros((8, 8), bool)
    corner[:2, 6:] = True
    left = np.broadcast_to(np.arange(8) < 4, (8, 8))
    nucleus = np.where(one | two | corner, 2.0, -2.0)
    nucleus[3, 1] = -3
    best = np.where(one | two | corner, 0.5, 1.5)
    semantic = np.stack([np.where(left, best, -1), np.where(left, -1, best), nucleus])
    mask = np.array([[-3, -1, 1, -1, -3], [-1, 2, 3, 2, -1], [1, 3, 4, 3, 1], [-1, 2, 3, 2, -1], [-3, -1, 1, -1, -3]])
    masks, boxes = [mask, np.where(mask > 0, mask + 1, mask)], [[1, 1, 6, 6], [3, 3, 8, 8]]
    if fragment:
        masks.append(np.pad(np.full((3, 3), 2), ((1, 1), (2, 0)), constant_values=-2))
        boxes.append([1, 3, 6, 8])
    found = Instances(
        torch.tensor(boxes, dtype=torch.float32),
        torch.full((len(masks),), 3),
        torch.tensor([0.9, 0.8, 0.6][: len(masks)]),
        torch.tensor(np.stack(masks), dtype=torch.float32),
    )
    ids = np.where(two, 2, np.where(one, 1, np.where(left, 3, 4))).astype(np.int32)
    image = np.array([[0] * 3, [92, 60, 130], [80, 50, 120], [222, 150, 190], [240, 214, 226]], np.uint8)[ids]
    truth = Panoptic.from_ids(ids, {1: 3, 2: 3, 3: 1, 4: 2}, TINY)
    return Example(image, Prediction(torch.tensor(semantic, dtype=torch.float32), found, TINY), truth, "made by hand")


def recorded() -> Example:
    """A tile of real H&E, 192 x 192 at 0.5 um, with the prediction of the weights he-nano, recorded before fusion.

    The truth names nuclei only: nobody labelled the tissue between them.

    Raises:
        FileNotFoundError: the package was installed without its data.
    """
    if not RECORDED.is_file():
        raise FileNotFoundError(f"{RECORDED.name} should stand in {RECORDED.parent}; reinstall the package")
    with safe_open(RECORDED, "pt") as file:
        part = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (safe_open is no mapping)
        facts = json.loads(file.metadata()["facts"])
    found = Instances(part["boxes"], part["category_ids"], part["scores"], part["mask_logits"].float())
    prediction = Prediction(part["semantic_logits"].float(), found, HE_CORE, facts["pixel_size_um"])
    classes = {int(i): c for i, c in facts["categories"].items()}
    truth = Panoptic.from_ids(part["truth"].numpy().astype(np.int32), classes, HE_CORE, facts["pixel_size_um"])
    return Example(part["image"].numpy(), prediction, truth, facts["source"])


def record(path: Path, example: Example) -> None:
    """Write what `recorded` reads; logits are kept as float16."""
    said, things = example.prediction, example.prediction.instances
    segments = {s.id: s.category_id for s in example.truth.segments}
    order = {old: new for new, old in enumerate(sorted(segments), start=1)}
    facts = {
        "pixel_size_um": said.pixel_size_um,
        "categories": {order[old]: category for old, category in segments.items()},
        "source": example.source,
    }
    tensors = {
        "image": torch.tensor(example.image),
        "truth": torch.tensor(example.truth.lookup(order).astype(np.uint8)),
        "semantic_logits": said.semantic_logits.half().cpu().contiguous(),
        "boxes": things.boxes.float().cpu(),
        "category_ids": things.category_ids.cpu(),
        "scores": things.scores.float().cpu(),
        "mask_logits": things.mask_logits.half().cpu().contiguous(),
    }
    save_file(tensors, path, {"facts": json.dumps(facts)})
