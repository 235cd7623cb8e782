"""SlideViewer: a whole slide and its panoptic map to look into, through the notebook's own channel."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from pano_med.pictures.styles import blend
from pano_med.slides.looking import Counted, ResultMap, SlideMap, count_in
from pano_med.slides.pixels import TILE, SlidePixels, ThumbnailPixels, jpeg
from pano_med.slides.reader import Slide, open_slide
from pano_med.slides.store import THUMBNAIL, Result
from pano_med.types import OKABE_ITO, Taxonomy
from pano_med.widgets.base import Picture, code
from pano_med.widgets.layer import categories, id_png

#: How many nuclei a walk through the least certain or the largest may take.
WALK = 200
#: Ids travel as 24-bit colours; tiles with larger ones carry a table.
_LARGEST = 1 << 24
_SCRIPTS = ("parts/slide_layer.js", "parts/slide_panel.js", "parts/slide_tools.js")
_VENDOR = Path(__file__).parent / "vendor" / "openseadragon.min.js"


def _script() -> str:
    """OpenSeadragon in a box of its own (pages that have require.js or modules do not get hold of it), then ours."""
    library = _VENDOR.read_text(encoding="utf-8").rsplit("//# sourceMappingURL", 1)[0]
    box = f"const OpenSeadragon = ((define, module, exports) => {{\n{library}\nreturn OpenSeadragon;\n}})();\n"
    return box + code("slide_viewer", *_SCRIPTS)["_esm"]


class SlideViewer(Picture):
    """Zoom from the whole slide to single nuclei; classes on and off; counts of a region that you draw; distances.

    Tiles come through the comm channel when they are looked at: no port, no server, no request to anywhere. Nothing
    of the table of nuclei is read before somebody asks. No network is loaded: it shows what was found.

    Args:
        shown: a result folder (`pano_med.slides.store.Result`, or its path), a slide (`Slide`, or its path) without
            any map, or a map in the making (`pano_med.slides.looking.SlideMap`).
        slide: the slide (`Slide`, or its path) that the map belongs to; without it a result folder is shown over its
            thumbnail.
        title: a line above; the slide's name by default.

    Attributes:
        opacity: of the map, 0..1.
        fill: whether nuclei are filled, too.
        types: whether nuclei are drawn by their type. Off at first: types are a demonstration as a rule, finding is
            not. A plain map has none; then there is no switch either.
        hidden: category ids that are not drawn.
        selected: id of the nucleus that was clicked, 0 = none.
        region: (row, column) corners of the region that was drawn, in level-0 pixels.
        view: top, left, bottom, right of what is seen, in level-0 pixels.
        cursor: row and column where the pointer rests, told of maps in the making only.
        progress: how far a map in the making is.
        counted: what lies in `region`, or None.

    Raises:
        TypeError: `shown` is nothing of the above.
        ValueError: a slide of another size than the map's, or one whose pixel size nobody knows.
        OSError: a file or folder that can't be read.
    """

    _esm, _css = _script(), code("slide_viewer")["_css"]
    facts = traitlets.Dict().tag(sync=True)
    overview = traitlets.Bytes().tag(sync=True)
    opacity = traitlets.Float(0.8, min=0, max=1).tag(sync=True)
    fill = traitlets.Bool(False).tag(sync=True)
    types = traitlets.Bool(False).tag(sync=True)
    hidden = traitlets.List(traitlets.Int()).tag(sync=True)
    selected = traitlets.Int(0).tag(sync=True)
    region = traitlets.List().tag(sync=True)
    view = traitlets.List(traitlets.Float()).tag(sync=True)
    cursor = traitlets.List(traitlets.Float()).tag(sync=True)
    progress = traitlets.Unicode("").tag(sync=True)

    def __init__(self, shown: Any, slide: Slide | str | Path | None = None, title: str = "", **traits: Any) -> None:
        found, opened = _open(shown, slide)
        self._pixels = SlidePixels(opened) if isinstance(opened, Slide) else opened
        self._map: SlideMap | None = None
        self.counted: Counted | None = None
        super().__init__(overview=jpeg(self._pixels.overview()), title=title or self._pixels.name)
        self.show(found)
        self.set_trait("hidden", traits.pop("hidden", []))
        for name, value in traits.items():
            setattr(self, name, value)
        self.on_msg(self._message)
        self.observe(self._looked, ["view", "cursor"])

    def show(self, found: SlideMap | None) -> None:
        """Show another map of the same slide; None: the pixels alone. What is seen stays where it is.

        Raises:
            ValueError: a map of another size than the slide's.
        """
        if found is not None and tuple(found.size) != tuple(self._pixels.slide_size):
            raise ValueError(
                f"map and slide must have one size (H, W), got {tuple(found.size)} of the map and "
                f"{tuple(self._pixels.slide_size)} of {self._pixels.name}: is it the slide that the map was made from?"
            )
        self._leave()
        self._map, self.hidden, self.selected = found, [], 0
        self.facts = self._facts()
        listen = getattr(found, "listen", None)
        if listen is not None:  # a map in the making says where it changed
            listen(self._changed)
            self._looked()

    def _facts(self) -> dict[str, Any]:
        """What the page needs to know of slide and map before the first tile."""
        pixels, found = self._pixels, self._map
        mpp = pixels.mpp if found is None else found.mpp
        told = {"size": list(pixels.slide_size), "padded": list(pixels.size), "depth": pixels.depth, "tile": TILE,
                "mpp": mpp, "map": None, "live": hasattr(found, "look")}  # fmt: skip
        if found is not None:
            kinds = categories(found.taxonomy)
            told["map"] = {"scale": found.scale, "shapes": [list(s) for s in found.shapes], "categories": kinds,
                           "plain": _plain(found.taxonomy), "note": found.taxonomy.note}  # fmt: skip
        return told

    @traitlets.validate("hidden")
    def _known_categories(self, proposal: dict[str, Any]) -> list[int]:
        known = [] if self._map is None else [c.id for c in self._map.taxonomy.all]
        unknown = [i for i in proposal["value"] if i not in known]
        if unknown:
            raise traitlets.TraitError(f"`hidden` holds category ids, got {unknown}; this slide's map has {known}")
        return list(proposal["value"])

    # -- what the page asks -----------------------------------------------------------------------------------

    def _message(self, _: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = str(content.get("kind"))
        answers = {"color": self._color, "ids": self._ids, "nucleus": self._nucleus, "ranked": self._ranked,
                   "region": self._count}  # fmt: skip
        if kind in answers:
            said, parts = {"kind": kind, "seq": content["seq"]}, []
            try:
                more, parts = answers[kind](content)
                said |= more
            except (ValueError, OSError, KeyError, IndexError) as error:
                said["fault"] = " ".join(str(error).split())
            self.send(said, parts)

    def _color(self, ask: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        return {}, [self._pixels.jpeg(int(ask["level"]), int(ask["row"]), int(ask["column"]))]

    def _ids(self, ask: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """Ids, and below them the classes, as one lossless picture; nothing where nothing was found."""
        level = int(ask["level"])
        top, left = int(ask["row"]) * TILE, int(ask["column"]) * TILE
        h, w = self._the_map().shapes[level]
        ids, classes = self._the_map().window(level, top, left, min(top + TILE, h), min(left + TILE, w))
        if not classes.any() and not ids.any():
            return {"empty": True}, []
        table: list[bytes] = []
        if ids.max() >= _LARGEST:  # numbered anew; the page reads the true ids in the table
            names, ids = np.unique(ids, return_inverse=True)
            table = [names.astype("<u4").tobytes()]
        return {}, [id_png(np.concatenate([ids.reshape(classes.shape), classes])), *table]

    def _nucleus(self, ask: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        return {"nucleus": self._the_map().nucleus(int(ask["id"]))}, []

    def _ranked(self, ask: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        by = {"certain": "score", "large": "area_um2"}[ask["by"]]
        return {"nuclei": self._the_map().ranked(by, WALK)}, []

    def _count(self, ask: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        counted = self.count([(float(row), float(column)) for row, column in ask["corners"]])
        found = {str(k): [n, counted.per_mm2[k]] for k, n in counted.nuclei.items()}
        tissue = {str(k): area for k, area in counted.tissue_um2.items()}
        return {"area": counted.area_um2, "seen": counted.seen_um2, "nuclei": found, "tissue": tissue}, []

    def count(self, corners: list[tuple[float, float]]) -> Counted:
        """Counts, densities and tissue areas in a polygon of (row, column) corners, as the page shows them.

        Raises:
            ValueError: fewer than three corners, no area, or a slide without a map.
        """
        self.counted = count_in(self._the_map(), corners)
        self.region = [list(c) for c in corners]
        return self.counted

    def _the_map(self) -> SlideMap:
        if self._map is None:
            raise ValueError("nothing was found on this slide yet: segment it with `pano-med slide`, then look again")
        return self._map

    # -- a map in the making ----------------------------------------------------------------------------------

    def _changed(self, box: tuple[float, float, float, float] | None, progress: str) -> None:
        """The map changed inside top, left, bottom, right (level-0 pixels); called from any thread."""
        if self.comm is None:
            return  # it was closed
        self.progress = progress
        if box is not None:
            self.send({"kind": "changed", "box": list(box)})

    def _looked(self, _: Any = None) -> None:
        look = getattr(self._map, "look", None)
        if look is not None and len(self.view) == 4:
            look(tuple(self.view), tuple(self.cursor) if len(self.cursor) == 2 else None)

    def _leave(self) -> None:
        leave = getattr(self.__dict__.get("_map"), "leave", None)  # closed before it was made: `__del__` after an error
        if leave is not None:
            leave(self._changed)

    def close(self) -> None:
        """Take the widget away; a map in the making hears no more of it."""
        self._leave()
        super().close()

    # -- a static picture -------------------------------------------------------------------------------------

    def still(self) -> np.ndarray:
        """The whole slide with its map, small."""
        picture = self._pixels.overview().copy()
        if self._map is None:
            return picture
        level = len(self._map.shapes) - 1
        h, w = self._map.shapes[level]
        _, classes = self._map.window(level, 0, 0, h, w)
        size = picture.shape[1], picture.shape[0]
        drawn = np.asarray(Image.fromarray(classes.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))
        for kind in self._map.taxonomy.all:
            quiet = not kind.isthing and kind.color in (OKABE_ITO["black"], OKABE_ITO["purple"])
            if not quiet and kind.id not in self.hidden:
                color = tuple(_plain(self._map.taxonomy)["color"]) if kind.isthing and not self.types else kind.color
                blend(picture, drawn == kind.id, color, 0.75 if kind.isthing else 0.3)
        return picture

    def alt(self) -> str:
        """The slide's size and what was found."""
        h, w = self._pixels.slide_size
        mm = self.facts["mpp"] / 1000
        text = f"{self._pixels.name}: {h} x {w} pixels (rows x columns), {h * mm:.1f} x {w * mm:.1f} mm"
        return text + (", without a map." if self._map is None else ", with its panoptic map.")


def _open(shown: Any, slide: Slide | str | Path | None) -> tuple[SlideMap | None, Any]:
    """The map, and what gives its pixels: a slide, or a result folder's thumbnail."""
    if isinstance(shown, str | Path):
        shown = Result(Path(shown)) if Path(shown).is_dir() else open_slide(shown)
    if isinstance(slide, str | Path):
        slide = open_slide(slide, getattr(shown, "mpp", None))
    if isinstance(shown, Slide):
        return None, shown
    if isinstance(shown, Result):
        if slide is not None and slide.mpp is None:
            slide = open_slide(slide.path, shown.mpp)
        name = str(shown.manifest["slide"]["name"])
        return ResultMap(shown), slide or ThumbnailPixels(shown.folder / THUMBNAIL, shown.size, shown.mpp, name)
    if hasattr(shown, "window") and hasattr(shown, "slide"):
        return shown, slide or shown.slide
    raise TypeError(
        "SlideViewer shows a result folder (Result, or its path), a slide (Slide, or its path) or a map in the "
        f"making, got {type(shown).__name__}"
    )


@functools.cache
def _plain(taxonomy: Taxonomy) -> dict[str, Any]:
    """How nuclei are drawn when their types are not: as the class without a type."""
    one = next(c for c in taxonomy.plain().all if c.isthing)
    return next(c for c in categories(taxonomy) if c["id"] == one.id) | {"name": one.name, "line": [1.0, 1]}
