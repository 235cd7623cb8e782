"""Real images with labels: one card per data set, one small function per file format.

`load` turns a published data set into `Sample`s as its card says, `split` and `load_split` deal them into training and
validation, and `glass_mask` is the one place that says what empty glass is.
"""

from pano_med.data.cards import Card, card, card_names, read_card
from pano_med.data.clusters import look_alikes, same_field
from pano_med.data.glass import glass_mask
from pano_med.data.reading import OnBroken, items, load, load_split
from pano_med.data.splits import Split, split, written_split

__all__ = [
    "Card",
    "OnBroken",
    "Split",
    "card",
    "card_names",
    "glass_mask",
    "items",
    "load",
    "load_split",
    "look_alikes",
    "read_card",
    "same_field",
    "split",
    "written_split",
]
