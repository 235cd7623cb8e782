"""Both merges as MONAI transforms: array (one `Prediction` in, one `Fused` out) and dictionary."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform
from monai.utils import ensure_tuple

from pano_med.fusion import Fused, FusionRules, HeuristicRules, fuse, merge_heuristic
from pano_med.types import Prediction


class FusePanoptic(Transform):
    """The two-stage fusion of EfficientPS, see `pano_med.fusion.fuse`.

    Args:
        rules: every number and choice; None = `FusionRules()`.
        trace: keep every intermediate picture in `Fused.trace`.
    """

    def __init__(self, rules: FusionRules | None = None, trace: bool = False) -> None:
        self.rules, self.trace = rules or FusionRules(), trace

    def __call__(self, data: Prediction) -> Fused:
        """Merge one prediction; raises what `fuse` raises."""
        return fuse(_checked(data, "the input"), self.rules, self.trace)


class MergeHeuristic(Transform):
    """The heuristic merge of Kirillov et al., see `pano_med.fusion.merge_heuristic`.

    Args:
        rules: every number and choice; None = `HeuristicRules()`.
        trace: keep every intermediate picture in `Fused.trace`.
    """

    def __init__(self, rules: HeuristicRules | None = None, trace: bool = False) -> None:
        self.rules, self.trace = rules or HeuristicRules(), trace

    def __call__(self, data: Prediction) -> Fused:
        """Merge one prediction; raises what `merge_heuristic` raises."""
        return merge_heuristic(_checked(data, "the input"), self.rules, self.trace)


class _Merged(MapTransform):
    """Dictionary form: reads a `Prediction` under each key, writes a `Panoptic` and, if asked, the whole `Fused`."""

    def __init__(
        self,
        keys: KeysCollection,
        merge: FusePanoptic | MergeHeuristic,
        panoptic_keys: KeysCollection,
        fused_keys: KeysCollection | None,
        allow_missing_keys: bool,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.merge = merge
        self.panoptic_keys = _one_for_each("panoptic_keys", panoptic_keys, self.keys)
        self.fused_keys = (None,) * len(self.keys)
        if fused_keys is not None:
            self.fused_keys = _one_for_each("fused_keys", fused_keys, self.keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the dictionary with the new entries; the prediction stays where it was."""
        out = dict(data)
        for key, panoptic_key, fused_key in self.key_iterator(out, self.panoptic_keys, self.fused_keys):
            fused = self.merge(_checked(out[key], f"key {key!r}"))
            out[panoptic_key] = fused.panoptic
            if fused_key is not None:
                out[fused_key] = fused
        return out


class FusePanopticd(_Merged):
    """Dictionary form of `FusePanoptic`.

    Args:
        keys: where the predictions are; each holds one `Prediction`.
        panoptic_keys: where the `Panoptic` of each key goes.
        fused_keys: where the whole `Fused` (kept, dropped, trace) of each key goes; None = nowhere.
        rules: every number and choice; None = `FusionRules()`.
        trace: keep every intermediate picture in `Fused.trace`.
        allow_missing_keys: skip keys that the dictionary lacks.

    Raises:
        ValueError: not one output key for each key.
        TypeError: on call, a key that holds no `Prediction`.
    """

    def __init__(
        self,
        keys: KeysCollection = "prediction",
        panoptic_keys: KeysCollection = "panoptic",
        fused_keys: KeysCollection | None = None,
        rules: FusionRules | None = None,
        trace: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, FusePanoptic(rules, trace), panoptic_keys, fused_keys, allow_missing_keys)


class MergeHeuristicd(_Merged):
    """Dictionary form of `MergeHeuristic`; arguments as `FusePanopticd`, with `HeuristicRules`."""

    def __init__(
        self,
        keys: KeysCollection = "prediction",
        panoptic_keys: KeysCollection = "panoptic",
        fused_keys: KeysCollection | None = None,
        rules: HeuristicRules | None = None,
        trace: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, MergeHeuristic(rules, trace), panoptic_keys, fused_keys, allow_missing_keys)


FusePanopticD = FusePanopticDict = FusePanopticd
MergeHeuristicD = MergeHeuristicDict = MergeHeuristicd


def _checked(data: Any, where: str) -> Prediction:
    if not isinstance(data, Prediction):
        raise TypeError(f"a merge needs a Prediction, {where} is a {type(data).__name__}")
    return data


def _one_for_each(name: str, given: KeysCollection, keys: tuple[Hashable, ...]) -> tuple[Any, ...]:
    """One output key for each key; a single one for several keys would be overwritten."""
    out = ensure_tuple(given)
    if len(out) != len(keys) or len(set(out)) != len(out):
        raise ValueError(f"`{name}` must name one output for each of the {len(keys)} keys, got {out}")
    return out
