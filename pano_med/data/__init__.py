"""Real images with labels: one row in a table per data set, one small function per file format.

`load` turns a published data set into `Sample`s under the `HE_CORE` taxonomy, `split` deals them into training and
validation by the fixed list in `splits.json`, and `glass_mask` is the one place that says what empty glass is.
"""

from pano_med.data.clusters import look_alikes, same_field
from pano_med.data.glass import glass_mask
from pano_med.data.reading import load
from pano_med.data.recipes import RECIPES, Recipe
from pano_med.data.splits import Split, split, written_split

__all__ = [
    "RECIPES",
    "Recipe",
    "Split",
    "glass_mask",
    "load",
    "look_alikes",
    "same_field",
    "split",
    "written_split",
]
