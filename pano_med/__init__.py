"""pano_med: panoptic segmentation of medical images, taught and done."""

__version__ = "0.1.0"
