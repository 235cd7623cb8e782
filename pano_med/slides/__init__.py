"""Whole slides: read, find the tissue, segment, certify, export. Importing this room imports no torch."""

from pano_med.slides.plausible import Guess, doubt, guess_mpp
from pano_med.slides.reader import Slide, fingerprint, need_mpp, open_slide
from pano_med.slides.source import Level, SlideReadError
from pano_med.slides.tissue import Tissue, tissue_mask

__all__ = [
    "Guess",
    "Level",
    "Slide",
    "SlideReadError",
    "Tissue",
    "doubt",
    "fingerprint",
    "guess_mpp",
    "need_mpp",
    "open_slide",
    "tissue_mask",
]
