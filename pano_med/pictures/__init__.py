"""Pictures for people: overlays, legends, comparisons. Colours come from the taxonomy. No torch."""

from pano_med.pictures.borders import inner_border
from pano_med.pictures.compare import triptych
from pano_med.pictures.layout import mark_row, scale_bar, side_by_side, stack
from pano_med.pictures.legend import legend
from pano_med.pictures.overlay import overlay
from pano_med.pictures.styles import Style, styles

__all__ = [
    "Style",
    "inner_border",
    "legend",
    "mark_row",
    "overlay",
    "scale_bar",
    "side_by_side",
    "stack",
    "styles",
    "triptych",
]
