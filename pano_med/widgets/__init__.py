"""Interactive pictures for notebooks. They take results or a callable and never load models. No torch."""

import importlib.util

if not all(importlib.util.find_spec(name) for name in ("anywidget", "ipywidgets")):
    raise ModuleNotFoundError("the widgets need anywidget and ipywidgets: pip install 'pano-med[lab]'")

from pano_med.widgets.fusion_lab import FusionLab
from pano_med.widgets.guess import Guess
from pano_med.widgets.lens import LayerLens
from pano_med.widgets.quiz import StuffThingsQuiz
from pano_med.widgets.separation import SeparationLab
from pano_med.widgets.upload import PictureUpload
from pano_med.widgets.viewer import PanopticViewer

__all__ = ["FusionLab", "Guess", "LayerLens", "PanopticViewer", "PictureUpload", "SeparationLab", "StuffThingsQuiz"]
