"""PanopticViewer: an image and its panoptic map to look into, alone or beside the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets

from pano_med.pictures import legend, overlay, side_by_side, stack
from pano_med.types import Panoptic
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, check_pair, image_bytes, layer, shrunk
from pano_med.widgets.words import counted

#: Longest side of the static picture before it is enlarged.
_STILL = 700


class PanopticViewer(Picture):
    """Zoom, pan, contours or fill, classes on and off, a table; hovering tells the segment, a click pins it.

    With a truth, both stand side by side and move together; a pin marks the segment and its best partner.

    Args:
        image: (H, W, 3) uint8; a grey (H, W) image is shown as it is.
        panoptic: the map of the same size.
        truth: a second map of that size and taxonomy, or None.
        title: a line above.

    Attributes:
        mode: "contours" or "fill".
        opacity: of the fill, 0..1; lines are full from 0.5 up.
        hidden: category ids that are not drawn.
        hovered: id of the segment of `panoptic` under the pointer, 0 = void or none.
        pinned: id of the pinned segment of `panoptic`, 0 = none.
        pinned_truth: id of the pinned segment of `truth`, 0 = none.

    Raises:
        TypeError: not an image, not a Panoptic.
        ValueError: sizes or taxonomies differ.
    """

    _esm, _css = code("viewer").values()
    image = traitlets.Bytes().tag(sync=True)
    panoptic = traitlets.Dict().tag(sync=True)
    truth = traitlets.Dict().tag(sync=True)
    pixel_size = traitlets.Float(None, allow_none=True).tag(sync=True)
    mode = traitlets.Enum(("contours", "fill"), "contours").tag(sync=True)
    opacity = traitlets.Float(0.5, min=0, max=1).tag(sync=True)
    hidden = traitlets.List(traitlets.Int()).tag(sync=True)
    hovered = traitlets.Int(0).tag(sync=True)
    pinned = traitlets.Int(0).tag(sync=True)
    pinned_truth = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, image: np.ndarray, panoptic: Panoptic, truth: Panoptic | None = None, title: str = "", **traits: Any
    ) -> None:
        rgb = as_rgb(image)
        check_pair(rgb, panoptic)
        if truth is not None:
            check_pair(rgb, truth, "truth")
            if truth.taxonomy != panoptic.taxonomy:
                raise ValueError(
                    "`panoptic` and `truth` must share one taxonomy, "
                    f"got {panoptic.taxonomy.name!r} and {truth.taxonomy.name!r}; `plain()` of both takes the types off"
                )
        self._rgb, self._maps = rgb, {"panoptic": panoptic, "truth": truth}
        super().__init__(
            image=image_bytes(rgb),
            panoptic=layer(panoptic),
            truth={} if truth is None else layer(truth),
            pixel_size=panoptic.pixel_size_um,
            title=title,
            **traits,
        )

    @traitlets.validate("pinned", "pinned_truth", "hovered")
    def _known_segment(self, proposal: dict[str, Any]) -> int:
        which = "truth" if proposal["trait"].name == "pinned_truth" else "panoptic"
        panoptic = self._maps[which]
        known = set() if panoptic is None else {s.id for s in panoptic.segments}
        if proposal["value"] not in known | {0}:
            raise traitlets.TraitError(
                f"`{proposal['trait'].name}` is a segment id of `{which}` or 0 for none, got {proposal['value']}; "
                + (f"ids there: {sorted(known)[:5]}..." if known else "there are no segments")
            )
        return int(proposal["value"])

    @traitlets.validate("hidden")
    def _known_categories(self, proposal: dict[str, Any]) -> list[int]:
        taxonomy = self._maps["panoptic"].taxonomy
        unknown = [i for i in proposal["value"] if i not in taxonomy]
        if unknown:
            names = ", ".join(f"{c.id} {c.name}" for c in taxonomy.all)
            raise traitlets.TraitError(f"`hidden` holds category ids, got {unknown}; the taxonomy has {names}")
        return list(proposal["value"])

    def still(self) -> np.ndarray:
        """The map drawn over its image (beside the truth), with a legend."""
        pairs = {"truth": self._maps["truth"], "prediction": self._maps["panoptic"]}
        drawn = {}
        for name, panoptic in pairs.items():
            if panoptic is not None:
                small, coarse = shrunk(self._rgb, panoptic, _STILL)
                drawn[name] = overlay(small, coarse, scale=max(1, min(8, 500 // max(coarse.size))))
        picture = side_by_side(list(drawn.values()), list(drawn) if len(drawn) > 1 else ())
        table = self._maps["panoptic"] if len(drawn) == 1 else self._maps["panoptic"].taxonomy
        return stack([picture, legend(table, max(picture.shape[1], 240), 14)])

    def alt(self) -> str:
        """Size of the image and what the maps hold."""
        height, width = self._rgb.shape[:2]
        text = f"Image of {height} x {width} pixels (rows x columns) with {counted(self._maps['panoptic'])} outlined"
        truth = self._maps["truth"]
        return text + (f", beside the truth with {counted(truth)}." if truth is not None else ".")
