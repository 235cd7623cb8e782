"""Synthetic histology: believable H&E tiles with exact panoptic truth, painted in optical-density space.

from pano_med.synthetic import Knobs, he_tile
tile = he_tile(7, (512, 512), Knobs(crowding=1.5), pixel_size_um=0.5)
"""

from pano_med.synthetic.knobs import Knobs
from pano_med.synthetic.tile import SyntheticTile, he_tile

__all__ = ["Knobs", "SyntheticTile", "he_tile"]
