"""FusionLab: every stage of the fusion of one small image, with its numbers, for any rule and any setting."""

from __future__ import annotations

import html
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import traitlets

from pano_med.metrics import PQCounts, panoptic_quality, things_quality
from pano_med.pictures import legend, overlay, side_by_side, stack
from pano_med.types import Panoptic, Taxonomy
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import as_rgb, categories, check_pair, image_bytes

if TYPE_CHECKING:
    from pano_med.fusion import Fused, TraceLayer

#: Flags beside the owner of a pixel in what travels to the page.
LEFTOVER, VOID = 1 << 14, 1 << 15
#: Larger images are no longer small.
MOST_PIXELS = 1024 * 1024
#: What `save_html` computes in advance, beside every rule.
SCORES = (0.25, 0.35, 0.45, 0.5, 0.55, 0.65, 0.75, 0.85, 0.95)
OVERLAPS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
AREA_SHARES = (0.0, 0.01, 0.1)


class Merge(Protocol):
    """What the lab needs to merge: `pano_med.lessons.fusing.Merger` is one."""

    taxonomy: Taxonomy
    pixel_size_um: float | None
    candidates: Sequence[Any]
    semantic: np.ndarray
    rules: tuple[str, ...]

    def __call__(self, rule: str, score: float, overlap: float, min_area: int) -> Fused:
        """Merge at one setting, with the trace."""

    def layers(self, rule: str) -> Mapping[int, TraceLayer]:
        """ML_A, ML_B and FL of every instance."""

    def fates(self, fused: Fused, rule: str, score: float, overlap: float) -> Sequence[Any]:
        """Why each instance was kept or dropped."""


class FusionLab(Picture):
    """The fusion taken apart: both heads, who competes and why not, fused logits, winners, canvas, void, PQ.

    Args:
        image: (H, W, 3) or (H, W) uint8, at most a megapixel.
        merge: `pano_med.lessons.fusing.Merger(prediction)`.
        truth: map to score against, or None. Where it names no stuff, only things are scored.
        rule: the rule to start with.
        score: the score cut to start with, 0..1.
        overlap: the overlap to start with, 0..1.
        min_area: the least area of stuff to start with, pixels.
        title: a line above the widget.

    Raises:
        TypeError: `merge` is no Merger, or image or truth is of the wrong kind.
        ValueError: sizes or taxonomies differ, the image is too large, or a start value is out of range.
    """

    _esm, _css = code("fusion_lab").values()
    image = traitlets.Bytes().tag(sync=True)
    setup = traitlets.Dict().tag(sync=True)
    first = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        image: np.ndarray,
        merge: Merge,
        truth: Panoptic | None = None,
        *,
        rule: str = "paper",
        score: float = 0.5,
        overlap: float = 0.5,
        min_area: int = 0,
        title: str = "",
    ) -> None:
        rgb = as_rgb(image)
        _check(rgb, merge, truth)
        self._rgb, self._merge, self._truth = rgb, merge, truth
        self._start = {"rule": rule, "score": score, "overlap": overlap, "min_area": min_area}
        first = self.answer(**self._start)
        super().__init__(image=image_bytes(rgb), setup=self._setup(), first=first, title=title)
        self.on_msg(self._asked)

    def answer(self, rule: str, score: float, overlap: float, min_area: int) -> dict[str, Any]:
        """What the page shows at one setting.

        Returns:
            The setting itself; fates: [kept, reason, sentence] of each instance; scores: rows of PQ; void: share of
            pixels without a segment; maps: zlib of (H, W) uint16, owner of each pixel before cleaning (0 nobody,
            1 + c stuff channel c, 1 + number of stuff channels + i instance i) plus `LEFTOVER` and `VOID`.
        """
        fused = self._merge(rule, score, overlap, min_area)
        fates = self._merge.fates(fused, rule, score, overlap)
        return {
            **{"rule": rule, "score": score, "overlap": overlap, "min_area": min_area},
            "fates": [[fate.kept, fate.reason, fate.why] for fate in fates],
            "scores": [] if self._truth is None else _scores(self._truth, fused.panoptic),
            "void": float(fused.trace.void.mean()),
            "maps": zlib.compress(_owners(fused, self._merge.taxonomy.num_stuff).tobytes(), 1),
        }

    def _asked(self, _: Any, content: dict[str, Any], __: Any) -> None:
        if content.get("kind") == "ask":
            found = self.answer(**{key: content[key] for key in self._start})
            maps = found.pop("maps")
            self.send({"kind": "answer", **found}, [maps])

    def _setup(self, grids: dict[str, list[float]] | None = None) -> dict[str, Any]:
        """What does not depend on the setting."""
        merge, taxonomy = self._merge, self._merge.taxonomy
        order = [c.id for c in taxonomy.all]
        return {
            "size": list(self._rgb.shape[:2]),
            "pixel_size": merge.pixel_size_um,
            "categories": categories(taxonomy),
            "channels": [order.index(c.id) for c in taxonomy.channels],
            "num_stuff": taxonomy.num_stuff,
            "rules": list(merge.rules),
            "grids": grids or _fine(self._rgb.shape[:2], self._start),
            "start": self._start,
            "instances": [
                {"number": c.number, "category": order.index(c.category_id), "score": c.score, "box": list(c.box)}
                for c in merge.candidates
            ],
            "semantic": _halves([merge.semantic]),
            "windows": self._windows(),
            "truth": None if self._truth is None else self._true_things(),
        }

    def _windows(self) -> dict[str, Any]:
        """Windows and logits of every instance for each rule; a rule with the same ones as another names it."""
        found: dict[str, Any] = {}
        for rule in self._merge.rules:
            layers = self._merge.layers(rule)
            arrays = [a for i in sorted(layers) for a in _planes(layers[i])]
            places = {str(i): list(layers[i].window) for i in sorted(layers)}
            data = _halves(arrays)
            twin = next((r for r, w in found.items() if not isinstance(w, str) and w["data"] == data), None)
            fused = any(layer.fused_logits is not None for layer in layers.values())
            found[rule] = twin or {"places": places, "data": data, "fused": fused}
        return found

    def _true_things(self) -> bytes:
        """zlib of (H, W) uint16, the things of the truth."""
        assert self._truth is not None
        numbers = {s.id: n for n, s in enumerate(self._truth.things, start=1)}
        return zlib.compress(self._truth.lookup(numbers).astype(np.uint16).tobytes())

    # -- without a kernel -------------------------------------------------------------------------------------

    def save_html(self, path: str | Path, source: str = "") -> None:
        """Write the lab as one page with precomputed settings: no kernel, no server, no request.

        Args:
            path: the file.
            source: where the image comes from; stands under the title.
        """
        Path(path).write_text(self.html(source), encoding="utf-8")

    def html(self, source: str = "") -> str:
        """The text that `save_html` writes; the same inputs give the same text."""
        pixels = self._rgb.shape[0] * self._rgb.shape[1]
        grids = {
            "score": sorted({*SCORES, self._start["score"]}),
            "overlap": sorted({*OVERLAPS, self._start["overlap"]}),
            "min_area": sorted({*(int(share * pixels) for share in AREA_SHARES), self._start["min_area"]}),
        }
        kept = self.title, self.still_class
        self.title, self.still_class = "", "pano-still"
        page = self.page({"setup": self._setup(grids), "answers": self._answers(grids)})
        self.title, self.still_class = kept
        name = html.escape(self.title or "Fusion lab")
        intro = (
            f'<h1 style="font: 650 22px system-ui, sans-serif; margin: 8px">{name}</h1>'
            f'<p style="font: 15px/1.45 system-ui, sans-serif; margin: 8px; max-width: 60em">{_INTRO} '
            f"{html.escape(source)}</p>"
        )
        page = page.replace("<title>FusionLab</title>", f"<title>{name}</title>", 1)
        return page.replace('<div id="widget">', f'{intro}<div id="widget">', 1)

    def _answers(self, grids: dict[str, list[float]]) -> dict[str, Any]:
        """Every setting of the grids; equal maps, sentences and answers are kept once."""
        maps, words, answers = _Once(), _Once(), _Once()

        def place(rule: str, score: float, overlap: float, area: int) -> int:
            found = self.answer(rule, score, overlap, area)
            fates = tuple(words.place(tuple(fate)) for fate in found["fates"])
            scores = tuple(tuple(row.items()) for row in found["scores"])
            return answers.place((fates, scores, found["void"], maps.place(zlib.decompress(found["maps"]))))

        scores, overlaps, areas = grids["score"], grids["overlap"], grids["min_area"]
        index = {r: [[[place(r, s, o, a) for a in areas] for o in overlaps] for s in scores] for r in self._merge.rules}
        rows = [
            {"fates": list(f), "scores": [dict(row) for row in s], "void": v, "maps": m} for f, s, v, m in answers.items
        ]
        return {
            "index": index,
            "list": rows,
            "words": [list(word) for word in words.items],
            "maps": [zlib.compress(raw, 9) for raw in maps.items],
        }

    # -- the static picture -----------------------------------------------------------------------------------

    def still(self) -> np.ndarray:
        """Image and final map at the start setting."""
        panoptic = self._merge(**self._start).panoptic
        scale = max(1, 400 // max(panoptic.size))
        drawn = overlay(self._rgb, panoptic, scale=scale)
        image = np.repeat(np.repeat(self._rgb, scale, 0), scale, 1)
        image = np.pad(image, ((0, drawn.shape[0] - image.shape[0]), (0, 0), (0, 0)), constant_values=255)
        picture = side_by_side([image, drawn], ["image", f"merged by: {self._start['rule']}"])
        return stack([picture, legend(panoptic.taxonomy, picture.shape[1])])

    def alt(self) -> str:
        """The start setting in words."""
        fates = self.first["fates"]
        kept = sum(bool(fate[0]) for fate in fates)
        return (
            f"Fusion lab: {len(fates)} instances, {kept} kept by the rule {self._start['rule']!r} at score "
            f"{self._start['score']:g} and overlap {self._start['overlap']:g}; void {self.first['void']:.1%} of pixels."
        )


_INTRO = (
    "Two heads of one network looked at this image: one says how much each pixel looks like each class, the other "
    "found single things. The fusion makes one map of both. Move the sliders, change the rule, select a thing, and see "
    "what each step does. Everything on this page was computed in advance. For teaching, not for diagnosis. Image:"
)


class _Once:
    """Values in the order in which they first came, each kept once."""

    def __init__(self) -> None:
        self.where: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        return self.where.setdefault(value, len(self.where))

    @property
    def items(self) -> list[Any]:
        return list(self.where)


def _check(rgb: np.ndarray, merge: Any, truth: Panoptic | None) -> None:
    if not callable(merge) or not hasattr(merge, "candidates"):
        raise TypeError(
            f"`merge` must be a pano_med.lessons.fusing.Merger, got {type(merge).__name__}; "
            "Merger(segmenter.predict(image, mpp)) makes one"
        )
    size = rgb.shape[:2]
    if size != merge.semantic.shape[1:]:
        raise ValueError(f"image and prediction must have one size (H, W), got {size} and {merge.semantic.shape[1:]}")
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(
            f"the fusion lab shows a small image, at most {MOST_PIXELS} pixels, got {size[0]} x {size[1]}; "
            "cut out a part before you predict"
        )
    if truth is not None:
        check_pair(rgb, truth, "truth")
        if truth.taxonomy != merge.taxonomy:
            raise ValueError(
                "truth and prediction must speak one taxonomy, "
                f"got {truth.taxonomy.name!r} and {merge.taxonomy.name!r}"
            )


def _fine(size: tuple[int, int], start: dict[str, Any]) -> dict[str, list[float]]:
    """The stops of the sliders when Python answers."""
    pixels = size[0] * size[1]
    steps = [f * 10**e for e in range(7) for f in (1, 2, 5)]
    return {
        "score": sorted({*(i / 100 for i in range(101)), start["score"]}),
        "overlap": sorted({*(i / 20 for i in range(21)), start["overlap"]}),
        "min_area": sorted({0, *(a for a in steps if a <= pixels / 2), start["min_area"]}),
    }


def _owners(fused: Fused, num_stuff: int) -> np.ndarray:
    """(H, W) uint16, see `FusionLab.answer`."""
    trace = fused.trace
    table = np.array([*range(num_stuff + 1), *(num_stuff + 1 + layer.instance for layer in trace.layers)], np.uint16)
    return table[trace.intermediate] | (trace.leftovers * np.uint16(LEFTOVER)) | (trace.void * np.uint16(VOID))


def _planes(layer: TraceLayer) -> list[np.ndarray]:
    planes = layer.mask_logits, layer.semantic_logits, layer.fused_logits
    return [plane for plane in planes if plane is not None]


def _halves(arrays: Sequence[np.ndarray]) -> bytes:
    """zlib of the arrays as float16 one after the other: three digits, also of very small numbers."""
    return zlib.compress(b"".join(a.astype("<f2").tobytes() for a in arrays), 6)


def _scores(truth: Panoptic, panoptic: Panoptic) -> list[dict[str, Any]]:
    """Rows of PQ: things without their types; all classes too where the truth names stuff."""
    rows = [_row("things", things_quality(truth, panoptic), "things")]
    if truth.stuff:
        rows.append(_row("all classes", panoptic_quality(truth, panoptic), "all"))
    return rows


def _row(name: str, counts: PQCounts, kind: Any) -> dict[str, Any]:
    pq, sq, rq = (None if np.isnan(value) else round(value, 4) for value in counts.mean(kind))
    sums = {key: int(getattr(counts, key).sum()) for key in ("tp", "fp", "fn")}
    return {"name": name, "pq": pq, "sq": sq, "rq": rq, **sums}
