"""SeparationLab: touching nuclei taken apart by threshold, watershed and a network, beside the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from pano_med.lessons import classical
from pano_med.pictures import overlay, scale_bar, side_by_side, stack
from pano_med.pictures.text import text_width, write
from pano_med.types import Panoptic, check_pixel_size
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, check_pair, image_bytes
from pano_med.widgets.panes import KINDS, pane, things_only

#: A slider has to answer while it moves; larger images are for `pano-med segment`.
MOST_PIXELS = 1_500_000
#: The pictures, in the order in which they stand.
PANES = ("threshold", "watershed", "ours", "truth")
#: Lengths and areas in pixels where the size of a pixel is unknown: those of the usual rules at 0.5 um.
_UNKNOWN = classical.Rules(smooth_um=1.0, seed_um=4.0, min_um2=40.0)


class SeparationLab(Picture):
    """Threshold, distance-transform watershed, a network and the truth side by side, with a slider for each choice.

    All four move together. With a truth, merges, splits, missed and invented nuclei are marked and listed; a click in
    the list goes there. A table gives area, eccentricity and haematoxylin of each nucleus.

    Args:
        image: (H, W, 3) uint8 H&E, at most 1.5 million pixels; 512 x 512 answers fastest.
        ours: the network's map; the slider then hides nuclei of lower score. Or a function from a cut on the score
            (0..1) to the map.
        truth: the annotators' map, or None: nothing is then called an error.
        pixel_size_um: side of a pixel; None = that of the maps; if they do not know, lengths are in pixels.
        title: a line above.

    Attributes:
        stain: haematoxylin above which a pixel is nucleus; at the start Otsu's cut.
        smooth: standard deviation of the smoothing, um (px where the pixel size is unknown).
        seed: seeds closer than this become one, um (px).
        min_area: smaller areas are no nuclei, um2 (px).
        score: cut on the network's score, 0..1.
        method: whose errors and nuclei are listed: "threshold", "watershed" or "ours".

    Raises:
        TypeError: not an H&E image, not a Panoptic.
        ValueError: sizes differ, the image is too large, or a pixel size that is not positive.
    """

    _esm, _css = code("separation").values()
    image = traitlets.Bytes().tag(sync=True)
    pixel_size = traitlets.Float(None, allow_none=True).tag(sync=True)
    kinds = traitlets.List().tag(sync=True)
    threshold = traitlets.Dict().tag(sync=True)
    watershed = traitlets.Dict().tag(sync=True)
    ours = traitlets.Dict().tag(sync=True)
    truth = traitlets.Dict().tag(sync=True)
    otsu = traitlets.Float(0.0).tag(sync=True)
    most_stain = traitlets.Float(1.0).tag(sync=True)
    least_score = traitlets.Float(0.0, allow_none=True).tag(sync=True)
    stain = traitlets.Float(0.0).tag(sync=True)
    smooth = traitlets.Float(0.5, min=0, max=20).tag(sync=True)
    seed = traitlets.Float(2.0, min=0.1, max=100).tag(sync=True)
    min_area = traitlets.Float(10.0, min=0, max=10_000).tag(sync=True)
    score = traitlets.Float(0.0, min=0, max=1).tag(sync=True)
    method = traitlets.Enum(PANES[:3], "watershed").tag(sync=True)

    def __init__(
        self,
        image: np.ndarray,
        ours: Panoptic | Callable[[float], Panoptic],
        truth: Panoptic | None = None,
        pixel_size_um: float | None = None,
        title: str = "",
        **traits: Any,
    ) -> None:
        self._rgb = as_rgb(image)
        if self._rgb.shape[0] * self._rgb.shape[1] > MOST_PIXELS:
            raise ValueError(
                f"the lab takes images of at most {MOST_PIXELS:,} pixels, got {self._rgb.shape[0]} x "
                f"{self._rgb.shape[1]}; give a part, for example image[:512, :512], and the same part of the maps"
            )
        check_pixel_size(pixel_size_um)
        if truth is not None:
            check_pair(self._rgb, truth, "truth")
        self._source, self._score = self._network(ours, traits)
        known = [p.pixel_size_um for p in (self._source(self._score), truth) if p is not None and p.pixel_size_um]
        self._pixel = pixel_size_um or (known[0] if known else None)
        self._truth = None if truth is None else things_only(truth)
        self._density = classical.haematoxylin(np.ascontiguousarray(self._rgb))
        self._maps: dict[str, Panoptic] = {}
        rules = classical.Rules() if self._pixel else _UNKNOWN
        stain = classical.smoothed(self._density, rules, self._pixel or 1.0)
        otsu = classical.otsu(stain)
        most = max(float(np.quantile(stain, 0.999)), 0.01)
        start = {"stain": min(otsu, most), "smooth": rules.smooth_um, "seed": rules.seed_um}
        start |= {"min_area": rules.min_um2, "score": self._score, "least_score": self._least}
        super().__init__(
            image=image_bytes(self._rgb),
            pixel_size=self._pixel,
            kinds=[[kind, sign, word] for kind, (sign, word) in KINDS.items()],
            otsu=min(otsu, most),
            most_stain=most,
            truth={} if self._truth is None else pane(self._truth, self._density),
            title=title,
            **{**start, **traits},
        )
        self._classical()
        self._learned()
        self.observe(self._classical, ["stain", "smooth", "min_area", "seed"])
        self.observe(self._learned, "score")

    # -- the methods --------------------------------------------------------------------------------------------

    def _network(
        self, ours: Panoptic | Callable[[float], Panoptic], traits: dict[str, Any]
    ) -> tuple[Callable[[float], Panoptic], float]:
        """The network as a function of the cut, and the cut to begin with."""
        if isinstance(ours, Panoptic) or not callable(ours):
            check_pair(self._rgb, ours, "ours")  # says what came where it is no map
            scores = [s.score for s in ours.things if s.score is not None]
            self._least = np.floor(min(scores) * 100) / 100 if scores else None
            return lambda cut: things_only(ours, cut), traits.get("score", self._least or 0.0)
        self._least = 0.05

        def called(cut: float) -> Panoptic:
            found = ours(cut)
            check_pair(self._rgb, found, "ours")
            return things_only(found)

        return called, traits.get("score", 0.5)

    def _classical(self, change: Any = None) -> None:
        """Threshold and watershed anew; the seed distance leaves the threshold alone."""
        rules = classical.Rules(self.stain, self.smooth, self.seed, self.min_area)
        pixel = self._pixel or 1.0
        if change is None or change.name != "seed":
            self._mask = classical.nuclear_mask(self._density, rules, pixel)
            self._set_map("threshold", classical.as_panoptic(classical.connected(self._mask), self._pixel))
        pieces = classical.split_touching(self._mask, rules, pixel)
        self._set_map("watershed", things_only(classical.as_panoptic(pieces, self._pixel)))

    def _learned(self, _: Any = None) -> None:
        self._set_map("ours", self._source(self.score))

    def _set_map(self, name: str, panoptic: Panoptic) -> None:
        self._maps[name] = panoptic
        setattr(self, name, pane(panoptic, self._density, self._truth))

    # -- without a kernel ---------------------------------------------------------------------------------------

    def still(self) -> np.ndarray:
        """The four pictures two by two; merges and splits carry their letters."""
        scale = max(1, min(3, 450 // max(self._rgb.shape[:2])))
        drawn = [self._drawn(name, scale) for name in PANES]
        titles = [self._counted(name) for name in PANES]
        rows = [side_by_side(drawn[i : i + 2], titles[i : i + 2]) for i in (0, 2)]
        return stack(rows)

    def _drawn(self, name: str, scale: int) -> np.ndarray:
        panoptic = self._truth if name == "truth" else self._maps[name]
        if panoptic is None:
            return np.asarray(Image.fromarray(self._rgb).resize([n * scale for n in self._rgb.shape[1::-1]]))
        picture = overlay(self._rgb, panoptic, scale=scale, bar=False)
        for mark in getattr(self, name).get("marks", ()):
            if mark["kind"] in ("merge", "split"):
                sign, size = KINDS[mark["kind"]][0], 18
                column = round(mark["col"] * scale) - text_width(sign, size) // 2
                row = min(max(round(mark["row"] * scale) - size // 2, 0), picture.shape[0] - size)
                write(picture, sign, row, min(max(column, 0), picture.shape[1] - size), size, halo=True)
        return scale_bar(picture, self._pixel / scale) if self._pixel else picture

    def _counted(self, name: str) -> str:
        found = getattr(self, name)
        if not found:
            return "image (no truth given)"
        text, errors = f"{name}: {_many(found['count'], 'nucleus', 'nuclei')}", found.get("errors")
        if not errors:
            return text
        return f"{text}, {_many(errors['merge'], 'merge')} (M), {_many(errors['split'], 'split')} (S)"

    def alt(self) -> str:
        """Counts of each method in words."""
        height, width = self._rgb.shape[:2]
        counts = "; ".join(self._counted(name) for name in PANES)
        return f"Nuclei of an image of {height} x {width} pixels, outlined by each method. {counts}."


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"
