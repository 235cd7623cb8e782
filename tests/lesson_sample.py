"""A small master for the tests of the machinery; the real ones are in notebooks/src."""

NAME = "99_sample"

MASTER = '''# ---
# lesson:
#   title: A sample
#   learn:
#     - what intersection over union is
#     - how a guess works
#   prerequisites: fractions
# ---

# %% tags=["imports"]
import numpy as np

from pano_med import check
from pano_med.lessons import show
from pano_med.widgets import Guess

# %% [markdown]
# ## How much do two masks share?
# Two squares.
#
# ```
# ## no heading
# ```

# %%
a, b = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
a[1:5, 1:5] = True
b[3:7, 3:7] = True
show(np.stack([a, b, a & b], -1), alt="Two squares that share a corner")

# %%
shared = Guess("Which part do they share?", low=0, high=100, unit="%")
shared

# %% tags=["stub"] exercise="99.1"
def iou(a, b):
    """Intersection over union."""
    raise NotImplementedError("exercise 99.1: write iou(a, b)")

# %% tags=["solution"] exercise="99.1"
def iou(a, b):
    """Intersection over union."""
    return (a & b).sum() / (a | b).sum()

# %%
check.answer("99.1", iou)
# check.hint("99.1")
# check.solution("99.1")

# %%
shared.reveal(100 * iou(a, b))

# %% [markdown] tags=["instructor"]
# Some divide by the sum of both areas.

# %% [markdown]
# ## Summary
# ### Where to go next
# Home.
'''
