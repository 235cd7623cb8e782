"""The page of `pano-med explore`: a chooser, a viewer, and a network that looks at tiles while they are looked at."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np

from pano_med.slides import Slide, open_slide
from pano_med.slides.beside import slide_of
from pano_med.slides.explore import LiveMap
from pano_med.slides.store import MANIFEST, Result
from pano_med.tiles import Grid, Piece
from pano_med.widgets.slide_chooser import NoPixelSize, SlideChooser
from pano_med.widgets.slide_viewer import SlideViewer


class ExplorePage:
    """Everything on the page, in `box`.

    Args:
        start: folder that the chooser begins in.
        weights: see `pano_med.predict.load_segmenter`; None = ours.
        device: likewise.
        types: likewise; the viewer then shows types at once.
        mpp: micrometres per level-0 pixel of every slide that is opened; None = the file's.
        slide: opened at once: a slide, or a result folder.
    """

    def __init__(self, start: Path, weights: str | None = None, device: str | None = None, types: bool = False,
                 mpp: float | None = None, slide: Path | None = None) -> None:
        self._types, self._mpp, self._live, self._slide, self._viewer = types, mpp, None, None, None
        self._lock = threading.Lock()
        # torch and the network take seconds; they come while the person chooses
        self._segmenter: Future[Any] = ThreadPoolExecutor(1).submit(_load, weights, device, types)
        self.chooser = SlideChooser(start, self._open, self.close)
        self.box = ipywidgets.VBox([self.chooser])
        if slide is not None:
            self.chooser.take(slide)

    def close(self) -> None:
        """Stop looking, and let go of the slide."""
        with self._lock:
            live, viewer, slide = self._live, self._viewer, self._slide
            self._live = self._viewer = self._slide = None
        self.box.children = [self.chooser]
        for part in (viewer, live, slide):
            if part is not None:
                part.close()

    def _open(self, path: Path, mpp: float | None) -> None:
        """What the chooser asks for.

        Raises:
            NoPixelSize: nobody knows the pixel size.
            OSError, ValueError: not a slide.
        """
        if path.is_dir() and (path / MANIFEST).is_file():
            result = Result(path)
            own = None if (file := slide_of(result)) is None else open_slide(file, result.mpp)
            self._show(SlideViewer(result, own, types=self._types), own)
            return
        slide = open_slide(path, mpp or self._mpp)
        if slide.mpp is None:
            slide.close()
            raise NoPixelSize(
                f"{slide.name} does not say how large its pixels are. How many micrometres is one? 40x scanners give "
                "about 0.25, 20x about 0.5."
            )
        viewer = SlideViewer(slide, types=self._types)
        viewer.progress = "The network is being loaded."
        self._show(viewer, slide)
        threading.Thread(target=self._begin, args=(slide, viewer), name="pano-med load", daemon=True).start()

    def _show(self, viewer: SlideViewer, slide: Slide | None) -> None:
        self.close()
        self._viewer, self._slide = viewer, slide
        self.box.children = [self.chooser, viewer]

    def _begin(self, slide: Slide, viewer: SlideViewer) -> None:
        """When the network is there: a map in the making, shown by the viewer."""
        try:
            segmenter = self._segmenter.result()
            live = LiveMap(slide, segmenter.taxonomy, segmenter.loaded.model_mpp, _look_with(segmenter))
        except Exception as error:  # it would be lost in this thread
            viewer.progress = f"Nothing can be found: {' '.join(str(error).split()) or type(error).__name__}"
            return
        with self._lock:
            current = self._viewer is viewer
            self._live = live if current else self._live
        if not current:
            live.close()
            return
        viewer.show(live)
        live.start()


def show(start: str, weights: str | None, device: str | None, types: bool, mpp: float | None,
         slide: str | None) -> ipywidgets.VBox:
    """The page as one widget; what the notebook behind it calls."""
    return ExplorePage(Path(start), weights, device, types, mpp, None if slide is None else Path(slide)).box


def _load(weights: str | None, device: str | None, types: bool) -> Any:
    from pano_med.predict import load_segmenter

    return load_segmenter(*[weights] if weights else [], device=device, types=types)


def _look_with(segmenter: Any) -> Any:
    """The network as `LiveMap` calls it."""
    from pano_med.predict.segmenter import piece_of

    def look(grid: Grid, index: int, pixels: np.ndarray) -> Piece:
        said = segmenter.predict(pixels, segmenter.loaded.model_mpp)
        return piece_of(grid, index, said, segmenter.rules, segmenter.taxonomy)

    return look
