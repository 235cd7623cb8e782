"""What the two heads of a network say of each pixel together, before any merge decides between them."""

from __future__ import annotations

import numpy as np
import torch

from pano_med.fusion.candidates import check_prediction, select
from pano_med.fusion.paste import paste, windows
from pano_med.fusion.rules import FusionRules
from pano_med.metrics import contradiction_map
from pano_med.types import Prediction


@torch.no_grad()
def between_heads(prediction: Prediction, score: float = 0.5) -> np.ndarray:
    """Where semantic head and instances agree and contradict each other, for any network behind `Prediction`.

    Every instance above the score cut that survives class-wise NMS takes part, with the pixels where its mask logit
    is positive; the semantic head says its largest logit.

    Args:
        prediction: of one image.
        score: cut on the score of things, 0..1.

    Returns:
        (H, W) uint8, values of `pano_med.metrics.Story`; `Contradictions.of` counts them.

    Raises:
        ValueError: as `pano_med.fusion.fuse`.
    """
    check_prediction(prediction)
    found, taxonomy = prediction.instances, prediction.taxonomy
    spans = windows(found.boxes, prediction.size)
    chosen = [i for i in select(found, FusionRules(score=score)).after_nms if not spans[i].is_empty]
    channels = np.array([c.id for c in taxonomy.channels])
    semantic = channels[prediction.semantic_logits.argmax(0).cpu().numpy()]
    masks = [(paste(found.mask_logits[i], spans[i]) > 0).cpu().numpy() for i in chosen]
    categories, corners = found.category_ids.tolist(), [(spans[i].y0, spans[i].x0) for i in chosen]
    return contradiction_map(semantic, masks, [categories[i] for i in chosen], taxonomy, corners)
