# ---
# lesson:
#   title: Start here
#   learn:
#     - check that everything is installed
#     - make a panoptic map of a picture, also of one of your own
#     - "name its three steps: separate, paint, classify"
#     - read an area and a count from the map
#   prerequisites: none; you can run a cell (Shift + Enter)
# ---

# %% tags=["imports"]
import numpy as np
import torch

from pano_med import check
from pano_med.cli.doctor import findings
from pano_med.demo import NotFetched, fetch_hgsc, he_region
from pano_med.lessons import show
from pano_med.lessons.maps import three_steps
from pano_med.predict import load_segmenter
from pano_med.synthetic import he_tile
from pano_med.widgets import Guess, PanopticViewer, PictureUpload

# %% [markdown]
# ## Is everything there?
#
# The doctor looks at this installation. Lines that begin with *missing* name a part that you may want later, *broken*
# one that you need now, each with its remedy. (In a terminal: `pano-med doctor`.)

# %%
for found in findings():
    if found.level != "ok" or found.what in ("pano-med", "processor", "accelerator", "memory"):
        print(f"{found.level:8}{found.what:12} {found.value}" + (f"  -> {found.remedy}" if found.remedy else ""))

# %% [markdown]
# ## Choose a picture
#
# Below is a corner of a real H&E section: a carcinoma of the ovary. Take it, or choose a picture of your own: PNG,
# JPEG, TIFF, whatever you have. It stays on the machine that runs this notebook. The program learned H&E (the pink and
# violet stain); it will also answer for a photograph of your cat, and that answer means nothing.
#
# If you know how large a pixel is, say so: 40x scanners make about 0.25 µm per pixel, 20x about 0.5.

# %%
try:
    region = he_region(fetch_hgsc())  # comes over the network once, then from a folder on this machine
    picture, mpp = region.image[1010:1410, 800:1200], region.pixel_size_um
except NotFetched as reason:
    print(f"The real section is not here ({reason}), so you see a painted one.")
    picture, mpp = he_tile(7, (400, 400)).image, 0.5
upload = PictureUpload(picture, mpp, side=1536 if torch.accelerator.is_available() else 512)
upload

# %% [markdown] tags=["instructor"]
# *For the teacher.* Ask somebody to upload a photograph that is no H&E: below, a line that begins with "Note:" will say
# that the colours are wrong, and the map is nonsense with sharp outlines. That is worth more than a warning from you.

# %% [markdown]
# ## A panoptic map
#
# **Panoptic** means "all-seeing": each pixel gets one class, and each object a number of its own. How many nuclei will
# the program find? Count a corner and multiply.

# %%
count = Guess("How many nuclei are in the picture?", low=0, high=400, step=5)
count

# %%
used = upload.picture
segmenter = load_segmenter()
result = segmenter(used.array, used.pixel_size_um)
panoptic = result.panoptic
for warning in result.warnings:
    print("Note:", warning)

# %%
count.reveal(len(panoptic.things))

# %% [markdown]
# Walk over it: point, click, or use the arrow keys, `+` and `-`. Each nucleus has a line around it. What kind of cell
# it belongs to, the program keeps to itself: nobody has checked its guesses on other patients. Lesson 06 looks at them.

# %%
PanopticViewer(used.array, panoptic)

# %% [markdown]
# ## Three steps: separate, paint, classify
#
# What has been done to the picture can be told in three steps:
#
# 1. **Separate**: draw a border around everything that is one. Each piece is a **segment**.
# 2. **Paint**: give every pixel the number of its segment. A pixel that belongs to none is **void**, number 0.
# 3. **Classify**: give every segment a class. Classes whose objects are counted are **things** (nuclei), the others are
#   **stuff** (tissue).

# %%
show(three_steps(used.array, panoptic), alt="Three pictures: borders; a colour for each segment; one for each class.")

# %% [markdown]
# (The network does not walk through them one after the other; lessons 02 to 04 show what it does.) What remains is a
# table of numbers as large as the picture, `ids`, and a list that says what each number is:

# %%
print("along the middle row:", panoptic.ids[panoptic.size[0] // 2, ::25])
for segment in panoptic.segments[:2] + panoptic.segments[-2:]:
    kind = panoptic.taxonomy[segment.category_id]
    print(f"segment {segment.id}: {kind.name}, {'thing' if kind.isthing else 'stuff'}, {segment.area} pixels")

# %% [markdown]
# ## Two numbers from the map
#
# ### Exercise 0.1: the area of a segment
# In square micrometres. `mpp` is the side of a pixel in micrometres.

# %% tags=["stub"] exercise="0.1"
def area_um2(ids, number, mpp):
    """Area of one segment in square micrometres.

    ids: (H, W) whole numbers, the segment of each pixel
    number: the segment
    mpp: side of a pixel in micrometres
    """
    raise NotImplementedError("exercise 0.1: write area_um2(ids, number, mpp)")


# %% tags=["solution"] exercise="0.1"
def area_um2(ids, number, mpp):
    """Area of one segment in square micrometres.

    ids: (H, W) whole numbers, the segment of each pixel
    number: the segment
    mpp: side of a pixel in micrometres
    """
    return (ids == number).sum() * mpp**2


# %%
check.answer("0.1", area_um2)
# check.hint("0.1")      # stuck? take the first # away; a second call gives a second hint
# check.solution("0.1")

# %% [markdown]
# ### Exercise 0.2: count the things
# How many different things have a pixel in `ids`? Stuff and void do not count.

# %% tags=["stub"] exercise="0.2"
def count_things(ids, isthing):
    """How many things are in a map.

    ids: (H, W) whole numbers, the segment of each pixel, 0 = void
    isthing: dict, segment id -> True for a thing, False for stuff
    """
    raise NotImplementedError("exercise 0.2: write count_things(ids, isthing)")


# %% tags=["solution"] exercise="0.2"
def count_things(ids, isthing):
    """How many things are in a map.

    ids: (H, W) whole numbers, the segment of each pixel, 0 = void
    isthing: dict, segment id -> True for a thing, False for stuff
    """
    return sum(isthing[number] for number in np.unique(ids) if number != 0)


# %%
check.answer("0.2", count_things)
# check.hint("0.2")
# check.solution("0.2")

# %% [markdown]
# Both at work: how many nuclei are in the left half of your picture, and how large is a nucleus?

# %%
isthing = {s.id: panoptic.taxonomy[s.category_id].isthing for s in panoptic.segments}
print("nuclei that reach into the left half:", count_things(panoptic.ids[:, : panoptic.size[1] // 2], isthing))
areas = [area_um2(panoptic.ids, s.id, result.mpp) for s in panoptic.things]
if areas:
    print(f"median area of a nucleus: {np.median(areas):.0f} µm², of the largest: {max(areas):.0f} µm²")

# %% [markdown]
# Do not trust these numbers yet. How good a map is, lesson 01 measures; where this program fails, lesson 06 shows.
# Nothing here is for diagnosis.
#
# ## Summary
#
# - A panoptic map gives every pixel the number of one segment, and every segment a class.
# - Things are counted, stuff has an area, void is what nobody named.
# - An area needs the size of a pixel, squared.
#
# ## Where to go next
#
# - Lesson 01: stuff and things, and how good a map is. Then 04, the fusion lab, and 06, a tumour.
# - Whole images: `pano-med segment slide.png --out results` in a terminal; results open in QuPath and in a spreadsheet.
#
# ## Sources
#
# - A. Kirillov and others: *Panoptic Segmentation*, CVPR 2019, [arXiv 1801.00868](https://arxiv.org/abs/1801.00868).
# - The section: histolytics 0.3.0 (O. Lehtonen and others, HautaniemiLab), BSD-3-Clause.
