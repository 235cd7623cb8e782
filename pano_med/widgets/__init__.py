"""Interactive pictures for notebooks. They take results or a callable and never load models. No torch."""

import importlib
import importlib.util
from typing import Any

if not all(importlib.util.find_spec(name) for name in ("anywidget", "ipywidgets")):
    raise ModuleNotFoundError("the widgets need anywidget and ipywidgets: pip install 'pano-med[lab]'")

from pano_med.widgets.fusion_lab import FusionLab
from pano_med.widgets.guess import Guess
from pano_med.widgets.lens import LayerLens
from pano_med.widgets.quiz import StuffThingsQuiz
from pano_med.widgets.separation import SeparationLab
from pano_med.widgets.training_monitor import TrainingMonitor
from pano_med.widgets.upload import PictureUpload
from pano_med.widgets.viewer import PanopticViewer

__all__ = [
    "FusionLab",
    "Guess",
    "LayerLens",
    "PanopticViewer",
    "PictureUpload",
    "SeparationLab",
    "SlideViewer",
    "StuffThingsQuiz",
    "TrainingMonitor",
]


def __getattr__(name: str) -> Any:
    """SlideViewer brings the libraries of whole slides, which take a second: only when somebody asks for it."""
    if name == "SlideViewer":
        return importlib.import_module("pano_med.widgets.slide_viewer").SlideViewer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
