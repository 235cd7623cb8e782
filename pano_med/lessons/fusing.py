"""What the fusion lab needs: one prediction merged by any rule at any setting, and the reason of each fate (torch)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torchvision.ops import box_iou

from pano_med.fusion import Fused, FusionRules, HeuristicRules, TraceLayer, fuse, merge_heuristic
from pano_med.types import Instances, Prediction, Taxonomy

#: The rules that a `Merger` knows, with the numbers that stay as they are.
RULES: dict[str, Callable[[], FusionRules | HeuristicRules]] = {
    "paper": FusionRules.paper,
    "official code": FusionRules.official_code,
    "heuristic": lambda: HeuristicRules(min_stuff_um2=None),
    "this package": lambda: FusionRules(min_stuff_um2=None),
}


@dataclass(frozen=True)
class Candidate:
    """One thing of a prediction, before any merge.

    Attributes:
        number: 1 for the best score, 2 for the next, as people count.
        category_id: its class.
        score: 0..1.
        box: (x1, y1, x2, y2) in pixels.
    """

    number: int
    category_id: int
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Fate:
    """What a merge did with one instance.

    Attributes:
        kept: True if it owns pixels in the end.
        reason: "kept", or the word in `Fused.dropped`.
        why: the same as a sentence with its numbers.
    """

    kept: bool
    reason: str
    why: str


class Merger:
    """One prediction, ready to be merged by any rule at any setting.

    Args:
        prediction: semantic logits and instances of one image; a copy on the CPU is kept.

    Attributes:
        prediction: that copy.
        candidates: every instance, in the order of the prediction.
        semantic: (K, H, W) float32, the semantic logits.
        rules: names that the call takes.
    """

    def __init__(self, prediction: Prediction) -> None:
        if not isinstance(prediction, Prediction):
            raise TypeError(
                f"a Merger takes the Prediction of one image, got {type(prediction).__name__}; "
                "segmenter.predict(image, mpp) makes one"
            )
        found = prediction.instances
        own = Instances(
            found.boxes.detach().cpu().float().clone(),
            found.category_ids.detach().cpu().clone(),
            found.scores.detach().cpu().float().clone(),
            found.mask_logits.detach().cpu().float().clone(),
        )
        self.prediction = replace(
            prediction, semantic_logits=prediction.semantic_logits.detach().cpu().float().clone(), instances=own
        )
        order = torch.argsort(own.scores.double(), descending=True, stable=True).tolist()
        number = {index: place for place, index in enumerate(order, start=1)}
        rows = zip(own.category_ids.tolist(), own.scores.tolist(), own.boxes.tolist(), strict=True)
        self.candidates = tuple(Candidate(number[i], c, s, tuple(b)) for i, (c, s, b) in enumerate(rows))
        self.semantic: np.ndarray = self.prediction.semantic_logits.numpy()
        self.rules = tuple(RULES)
        self._layers: dict[str, dict[int, TraceLayer]] = {}

    @property
    def taxonomy(self) -> Taxonomy:
        """The table of classes."""
        return self.prediction.taxonomy

    @property
    def pixel_size_um(self) -> float | None:
        """Side of a pixel in micrometres, or None."""
        return self.prediction.pixel_size_um

    def __call__(self, rule: str = "paper", score: float = 0.5, overlap: float = 0.5, min_area: int = 0) -> Fused:
        """Merge, with every intermediate picture.

        Args:
            rule: a name in `rules`; "this package" is the paper's rule inside the boxes only.
            score: cut on the score, 0..1.
            overlap: largest share of a mask that better ones may have taken, 0..1.
            min_area: pixels; a stuff class that covers fewer in the whole image becomes void.

        Raises:
            ValueError: an unknown rule, a number out of range.
        """
        rules, threads = self.settings(rule, score, overlap, min_area), torch.get_num_threads()
        torch.set_num_threads(1)  # many small steps: threads would wait for each other longer than they help
        try:
            return (merge_heuristic if isinstance(rules, HeuristicRules) else fuse)(self.prediction, rules, trace=True)
        finally:
            torch.set_num_threads(threads)

    def settings(self, rule: str, score: float, overlap: float, min_area: int) -> FusionRules | HeuristicRules:
        """The rules that a call with these arguments uses."""
        if rule not in RULES:
            raise ValueError(f"the rule must be one of {self.rules}, got {rule!r}")
        height, width = self.prediction.size
        if not 0 <= min_area <= height * width:
            raise ValueError(f"the least area must lie between 0 and the image's {height * width} px, got {min_area}")
        share = max(min_area - 0.5, 0) / (height * width)  # half a pixel below: no rounding decides
        return replace(RULES[rule](), score=score, overlap=overlap, min_stuff_fraction=share)

    def layers(self, rule: str) -> dict[int, TraceLayer]:
        """ML_A, ML_B and FL of every instance, also of those that a setting would drop.

        Args:
            rule: a name in `rules`.

        Returns:
            Instance -> layer; an instance whose box holds no pixel centre has none.
        """
        if rule in self._layers:
            return self._layers[rule]
        everyone = replace(self.settings(rule, 0.0, 1.0, 0), nms=1.0)
        certain = replace(self.prediction.instances, scores=torch.ones(len(self.candidates)))
        all_in = replace(self.prediction, instances=certain)
        if isinstance(everyone, HeuristicRules):
            fused = merge_heuristic(all_in, everyone, trace=True)
        else:
            fused = fuse(all_in, replace(everyone, keep_empty=True), trace=True)
        assert fused.trace is not None
        self._layers[rule] = {layer.instance: layer for layer in fused.trace.layers}
        return self._layers[rule]

    def fates(self, fused: Fused, rule: str, score: float, overlap: float) -> tuple[Fate, ...]:
        """Why each instance was kept or dropped, in the order of the prediction; arguments as in the call."""
        area = {s.id: s.area for s in fused.panoptic.segments}
        shares = _Shares(self, fused)
        found = []
        for index, candidate in enumerate(self.candidates):
            if index in fused.kept:
                found.append(Fate(True, "kept", f"it owns {area[fused.kept[index]]} px"))
                continue
            reason = fused.dropped[index]
            if reason == "score":
                word = "is below" if rule == "heuristic" else "is not above"
                why = f"its score {candidate.score:.2f} {word} the cut {score:.2f}"
            elif reason == "nms":
                why = self._doubled(index, fused)
            elif reason == "overlap":
                share, better = shares.of(index)
                why = f"{share:.0%} of its mask is taken by {better}; more than {overlap:.0%} is too much"
            elif reason == "empty":
                why = "not one pixel of its mask is positive"
            elif rule == "heuristic":
                why = "it took part, but others had every pixel of its mask"
            else:
                why = "it took part, but at no pixel was its FL the largest"
            found.append(Fate(False, reason, why))
        return tuple(found)

    def _doubled(self, index: int, fused: Fused) -> str:
        boxes, me = self.prediction.instances.boxes, self.candidates[index]
        assert fused.trace is not None
        rivals = [i for i in fused.trace.after_nms if self.candidates[i].category_id == me.category_id
                  and self.candidates[i].number < me.number]
        iou = box_iou(boxes[index : index + 1], boxes[rivals])[0]
        best = int(iou.argmax())
        return (f"a double of #{self.candidates[rivals[best]].number}, same class and better score "
                f"(IoU of the boxes {iou[best]:.2f}, above 0.50)")


class _Shares:
    """How much of a mask better instances have taken, recounted for the sentence."""

    def __init__(self, merger: Merger, fused: Fused) -> None:
        assert fused.trace is not None
        self.merger, self.layers = merger, fused.trace.layers
        self.all = merger.layers("heuristic") if "overlap" in fused.dropped.values() else {}

    def of(self, index: int) -> tuple[float, str]:
        mine, me = self.all[index], self.merger.candidates[index].number
        y0, x0, y1, x1 = mine.window
        taken, takers = np.zeros((y1 - y0, x1 - x0), bool), []
        mask = mine.mask_logits > 0
        for layer in self.layers:
            number = self.merger.candidates[layer.instance].number
            a, b, c, d = layer.window
            top, left, bottom, right = max(a, y0), max(b, x0), min(c, y1), min(d, x1)
            if number > me or top >= bottom or left >= right:
                continue
            theirs = layer.mask_logits[top - a : bottom - a, left - b : right - b] > 0
            here = slice(top - y0, bottom - y0), slice(left - x0, right - x0)
            if (theirs & mask[here]).any():
                takers.append(f"#{number}")
            taken[here] |= theirs
        return float((taken & mask).sum() / mask.sum()), ", ".join(takers)
