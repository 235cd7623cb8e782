# ---
# lesson:
#   title: A whole slide, from file to answer
#   learn:
#     - read a pyramid, and say what mpp is and what happens when it is wrong
#     - why a slide is cut into tiles, and what seams do to nuclei when nobody owns them
#     - segment a slide piece by piece into files that can be resumed
#     - certify the seams with a number instead of a look
#     - turn nuclei into a density map and a QuPath file
#   prerequisites: lesson 00; lesson 06 for counting helps
# ---

# %% tags=["imports"]
import tempfile
from pathlib import Path

import numpy as np

from pano_med import check
from pano_med.demo import NotFetched, fetch_hgsc, he_region
from pano_med.lessons import a_slide, show
from pano_med.lessons import slide_pictures as draw
from pano_med.predict import load_segmenter
from pano_med.slides import open_slide, tissue_mask
from pano_med.slides.export import export
from pano_med.slides.run import OVERLAP, TILE, segment_slide
from pano_med.slides.seams import certify
from pano_med.synthetic import Knobs, he_tile
from pano_med.tiles import Grid
from pano_med.widgets import Guess, SlideViewer

# %% [markdown]
# ## A slide for this lesson
#
# Real slides have 100,000 x 100,000 pixels, too many for a lesson. So we make a small one: two round cores on glass, as
# in a tissue microarray. The left core is real, an ovarian carcinoma from the package histolytics (pip fetches it
# once); the right one is painted, and its truth is known to the pixel. **Own slide?** Put its path in `own`: SVS, NDPI,
# MRXS, SCN, DICOM, TIFF and OME-TIFF are read. A large one takes long here; `pano-med explore` is made for that.

# %%
own = None  # for example "CMU-1-Small-Region.svs"

# %%
try:
    first = ("ovarian carcinoma", he_region(fetch_hgsc()).image)
except NotFetched as why:
    print(f"The left core is painted too; numbers differ from those in the text. {why}")
    first = ("painted tumour", he_tile(8, (1500, 1500), Knobs(tumour_fraction=0.4)).image)
painted = he_tile(9, (1000, 1000), Knobs(tumour_fraction=0.5, crowding=1.2))
folder = Path(tempfile.mkdtemp())
canvas, cores = a_slide.microarray([first, ("painted", painted.image)])
path = Path(own) if own else a_slide.write_slide(folder / "lesson.tif", canvas)
slide = open_slide(path)
print(f"{slide.name}: {slide.size[0]} x {slide.size[1]} px, {slide.mpp} µm per pixel (from the {slide.mpp_source})")
for number, level in enumerate(slide.levels):
    print(f"level {number}: {level.size[0]} x {level.size[1]} px, {slide.mpp * level.downsample:g} µm per pixel")

# %% [markdown]
# ## A file with several pictures in it
#
# Nobody can load a whole slide to show it on a screen. So the file holds the same picture several times, each time half
# (or a quarter) as large: a **pyramid**. A viewer reads the level that fits its zoom, and of it only the small tiles in
# view. All places are told in pixels of level 0.

# %%
middle = cores[0].centre if not own else tuple(n // 2 for n in slide.size)
place = (middle[0] - 64, middle[1] + 100, 128, 128)
mpps = [slide.mpp * level.downsample for level in slide.levels][:3]
show(
    draw.levels([slide.region(*place, mpp=mpp) for mpp in mpps], mpps),
    alt="The same nuclei from three levels; each is coarser, in the last they are blots of a few pixels.",
)

# %%
size = Guess("100,000 x 100,000 pixels in colour, uncompressed: how many gigabytes?", low=1, high=100, unit="GB")
size

# %%
size.reveal(round(100_000 * 100_000 * 3 / 1e9))

# %% [markdown]
# Scanners compress about 20 to 1. Read as numbers, the slide still has its 30 GB: no program that holds a slide in
# memory works for all slides.
#
# **mpp** is micrometres per pixel. "40x" is no measure: it names a lens, and scanners write 0.23 to 0.28 µm under it.
#
# ### Exercise 8.1: the level to read
# You want pixels of `wanted` µm. Which level do you read, if you then shrink what you read? The coarsest that is still
# fine enough; level 0 where none is.

# %% tags=["stub"] exercise="8.1"
def level_for(mpps, wanted):
    """Number of the level to read. mpps: µm per pixel of each level, finest first."""
    raise NotImplementedError("exercise 8.1: write level_for(mpps, wanted)")


# %% tags=["solution"] exercise="8.1"
def level_for(mpps, wanted):
    """Number of the level to read. mpps: µm per pixel of each level, finest first."""
    fine_enough = [number for number, mpp in enumerate(mpps) if mpp <= wanted]
    return max(fine_enough, default=0)


# %%
check.answer("8.1", level_for)
# check.hint("8.1")      # stuck? take the first # away; a second call gives a second hint
# check.solution("8.1")

# %% [markdown]
# ## When the mpp is wrong
#
# The network was trained at 0.25 µm per pixel, so every image is brought there first. If the file says something else
# than the truth, nuclei reach the network at a size that it never saw.

# %%
segmenter = load_segmenter()
small = slide.region(place[0] - 130, place[1] - 130, 320, 320)
wrong = Guess("The file says 1.0 µm instead of the true 0.5. Does the network find more or fewer nuclei?",
              options=["more", "fewer", "about as many"])
wrong

# %%
found = {}
for stated in (slide.mpp, slide.mpp / 2, slide.mpp * 2):
    nuclei = segmenter(small, stated).panoptic.things
    areas = [s.area * slide.mpp**2 for s in nuclei]
    found[stated] = len(nuclei)
    across = 2 * np.sqrt(np.median(areas) / np.pi) if areas else 0
    print(f"told {stated:g} µm: {len(nuclei)} nuclei, in truth {across:.1f} µm across (median)")
ratio = found[slide.mpp * 2] / found[slide.mpp]
wrong.reveal("more" if ratio > 1.1 else "fewer" if ratio < 0.9 else "about as many")

# %% [markdown]
# No error message comes: the result is simply worse, and every area is wrong by the **square** of the mistake.
# `pano-med slide` therefore looks at a few places first and says "this looks like 20x, the file says 40x" before an
# hour is lost.
#
# ## Skip the glass

# %%
tissue = tissue_mask(slide)
thumbnail = slide.thumbnail(900)
show(
    draw.tissue(thumbnail, tissue.mask, tissue.share),
    alt="The slide made small: two round pieces of tissue on pale glass, a blue line around each.",
)
print(f"{tissue.area_mm2:.2f} mm² of tissue")

# %% [markdown]
# Tissue has colour, glass has none. The rule works on a picture of 8 µm per pixel and costs nothing; on most slides it
# saves more than half of the work.
#
# ## Tiles, and what seams do
#
# The network sees a tile at a time. The simplest way: cut the slide into squares, segment each, lay the results side by
# side.

# %%
around = slide.region(middle[0] - 384, middle[1] - 384, 768, 768)
whole = segmenter(around, slide.mpp).panoptic
cut = Guess("In tiles of 128 µm side by side: by how much is the count of nuclei too high?", low=0, high=50, unit="%")
cut

# %%
side = 256
halves = a_slide.side_by_side(around, lambda tile: segmenter(tile, slide.mpp).panoptic, side)
on_lines = a_slide.on_lines(halves, side)
print(f"in one piece: {len(whole.things)} nuclei; side by side: {len(halves.things)}, {on_lines} of them end on a line")
cut.reveal(round(100 * (len(halves.things) / len(whole.things) - 1)))

# %%
line = halves.ids[side - 1 : side + 1]
cuts = np.flatnonzero((line[0] > 0) & (line[1] > 0))
at = (side, int(np.median(cuts)) if len(cuts) else side)
show(
    draw.seam(around, {"side by side": halves, "in one piece": whole}, at, slide.mpp),
    alt="Left: nuclei cut by a straight horizontal line in the middle. Right: the same nuclei whole.",
)

# %% [markdown]
# Each nucleus on a line is found twice, as two halves, or not at all. The cure has two parts:
#
# - Tiles **overlap** by more than the largest nucleus, so that some tile sees each nucleus whole.
# - Exactly one tile **owns** it: the one whose *core* holds its centre. Cores touch and never overlap.

# %%
# pixels of the map and of the picture
factor = slide.mpp / segmenter.loaded.model_mpp
grid = Grid(tuple(round(n * factor) for n in slide.size), TILE, OVERLAP)
boxes = [[t.rows[0], t.columns[0], t.size[0], t.size[1]] for t in grid]
chosen = [i for i, box in enumerate(boxes) if tissue.covers(*(v / factor for v in box)) > 0.01]
show(
    draw.tiles(thumbnail, grid.size[1] / thumbnail.shape[1], grid, chosen),
    alt="Overlapping square tiles over the slide; one is yellow, its core, a smaller square, is hatched blue.",
    caption=f"{len(chosen)} of {len(grid)} tiles hold tissue; the dotted ones are skipped.",
)

# %% [markdown]
# ### Exercise 8.2: where is it on the slide?
# A tile was read at `mpp` with its corner at level-0 pixel `corner`. A nucleus lies at (row, column) **of the tile**.
# Where is it in level-0 pixels, whose side is `mpp_0`?

# %% tags=["stub"] exercise="8.2"
def on_the_slide(row, column, corner, mpp, mpp_0):
    """(row, column) in level-0 pixels. corner: (row, column) of the tile's first pixel, in level-0 pixels."""
    raise NotImplementedError("exercise 8.2: write on_the_slide(row, column, corner, mpp, mpp_0)")


# %% tags=["solution"] exercise="8.2"
def on_the_slide(row, column, corner, mpp, mpp_0):
    """(row, column) in level-0 pixels. corner: (row, column) of the tile's first pixel, in level-0 pixels."""
    scale = mpp / mpp_0
    return corner[0] + row * scale, corner[1] + column * scale


# %%
check.answer("8.2", on_the_slide)
# check.hint("8.2")
# check.solution("8.2")

# %% [markdown]
# ### Exercise 8.3: who owns it?
# Neighbouring cores share their lines: the bottom of one is the top of the next. Let a core own its **top and left**
# lines, so that each centre has exactly one owner.

# %% tags=["stub"] exercise="8.3"
def owned(centres, core):
    """(N,) bool: which centres a tile owns. centres: (N, 2) row and column; core: top, left, bottom, right."""
    raise NotImplementedError("exercise 8.3: write owned(centres, core)")


# %% tags=["solution"] exercise="8.3"
def owned(centres, core):
    """(N,) bool: which centres a tile owns. centres: (N, 2) row and column; core: top, left, bottom, right."""
    top, left, bottom, right = core
    row, column = centres.T
    return (row >= top) & (row < bottom) & (column >= left) & (column < right)


# %%
check.answer("8.3", owned)
# check.hint("8.3")
# check.solution("8.3")

# %% [markdown]
# ### Exercise 8.4: blend the tissue
# Tissue has no owner. Where two tiles overlap, their scores are averaged, and each tile counts less the nearer its own
# edge is. `left` and `right` are what two neighbours say of the **same** strip of overlap. Let the left tile's weight
# fall evenly along the columns, from 1 in the first to 0 in the last.

# %% tags=["stub"] exercise="8.4"
def blend(left, right):
    """The blended scores of a strip, (H, W); both tiles' scores have that shape."""
    raise NotImplementedError("exercise 8.4: write blend(left, right)")


# %% tags=["solution"] exercise="8.4"
def blend(left, right):
    """The blended scores of a strip, (H, W); both tiles' scores have that shape."""
    weight = np.linspace(1, 0, left.shape[-1])
    return weight * left + (1 - weight) * right


# %%
check.answer("8.4", blend)
# check.hint("8.4")
# check.solution("8.4")

# %% [markdown]
# ## The whole slide
#
# `segment_slide` does all of this and writes as it goes. Memory does not grow with the slide. Stop it at any moment
# (or pull the plug): `resume=True` goes on, and the files end byte for byte the same.

# %%
out = folder / "result"
result = segment_slide(slide, segmenter, out, resume=True)
print({name: n for name, n in result.manifest["counts"].items() if n})
print({name: f"{um2 / 1e6:.2f} mm²" for name, um2 in result.manifest["areas_um2"].items()})
print("too large to be seen whole by a tile, left out:", len(result.manifest["too_large"]))
print(sorted(p.name for p in out.iterdir()))

# %% [markdown]
# The map is an **OME-Zarr** pyramid, the nuclei a **Parquet** table, both open formats that other programs read. Look
# around: zoom with the wheel, click a nucleus, draw a region, switch classes off.

# %%
SlideViewer(result, slide)

# %% [markdown]
# Types of nuclei rest on one patient, so the map has plain nuclei. `load_segmenter(types=True)` gives a map with types,
# and each of its files calls them a demonstration.
#
# ## Are the seams good? Certify, don't look
#
# At any zoom you will find no seam, but a look is no proof. A fair test needs care: a network answers a little
# differently wherever a tile's corner lies, **also far from seams**. So the question is not "does anything change when
# the tiles move?" but "does more change along seams than elsewhere?"
#
# At some places a tile is laid so that a seam runs through its middle. Its nuclei are compared with the slide's: in the
# band along the seam, and inside.

# %%
seam_loss = Guess("By how much will PQ in the band be below PQ inside?", low=0, high=0.3, step=0.01)
seam_loss

# %%
certificate = certify(result, slide, segmenter, places=6, seed=8)
print(f"PQ in the band {certificate.band_pq:.3f}, inside {certificate.interior_pq:.3f}; difference "
      f"{certificate.difference}")
print(f"boundary that runs straight: {certificate.straight_band:.1%} in line with seams, "
      f"{certificate.straight_inside:.1%} inside; nuclei that lie twice: {certificate.duplicates}")
print("verdict:", certificate.verdict, *certificate.reasons)
seam_loss.reveal(round(certificate.difference.value, 2))

# %% [markdown]
# PQ inside is not 1: that is how much this network changes its mind when the tile moves. Six places are few, so read
# the interval. `pano-med seams FOLDER` takes 24 places; the figures for a real slide stand in `docs/benchmarks.md`.
#
# How would a bad stitching fare? Think of `side_by_side` above: its nuclei end on lines, and its count is too high.
# The certificate's tests plant exactly such cutters and must see them fail.
#
# ## Where are the nuclei?
#
# The table gives the centre of each nucleus in level-0 pixels. Count them in squares of 50 µm and divide by the tissue
# **in each square**.
#
# ### Exercise 8.5: density

# %% tags=["stub"] exercise="8.5"
def density(counts, tissue_um2):
    """Nuclei per mm² of tissue in each square, nan where there is none. Both (h, w); tissue_um2 in µm²."""
    raise NotImplementedError("exercise 8.5: write density(counts, tissue_um2)")


# %% tags=["solution"] exercise="8.5"
def density(counts, tissue_um2):
    """Nuclei per mm² of tissue in each square, nan where there is none. Both (h, w); tissue_um2 in µm²."""
    return np.where(tissue_um2 > 0, counts / np.maximum(tissue_um2, 1e-9) * 1e6, np.nan)


# %%
check.answer("8.5", density)
# check.hint("8.5")
# check.solution("8.5")

# %%
step = round(50 / slide.mpp)  # side of a square in level-0 pixels
edges = [np.arange(0, n + step, step) for n in slide.size]
table = result.instances(["row", "column"])
counts = np.histogram2d(table["row"], table["column"], edges)[0]
areas = np.array([[tissue.covers(top, left, step, step) for left in edges[1][:-1]] for top in edges[0][:-1]]) * 50**2
areas[areas < 0.2 * 50**2] = 0  # a sliver of tissue makes no density
show(
    draw.density(thumbnail, density(counts, areas), 50),
    alt="The slide and its density of nuclei in squares; the tumour nest and the inflamed part are dense.",
)

# %% [markdown]
# The mask of the tissue is a little wider than the tissue, so squares at the rim look poorer than they are.
#
# ## To QuPath, and a report

# %%
written = export(result, ["qupath", "csv", "png"], folder / "export")
for file in written:
    print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# Open the slide in QuPath and drop `qupath.geojson` on it: nuclei are detections, tissue areas annotations, all in
# level-0 pixels. `pano-med slide-report FOLDER` writes one HTML page with counts, areas, the certificate and the worst
# tiles.
#
# The painted core has an exact truth. How many nuclei does it hold, and how many were found?

# %%
if own is None:
    core = cores[1]
    rows, columns = (table[name].to_numpy() for name in ("row", "column"))
    inside = np.hypot(rows - core.centre[0], columns - core.centre[1]) < core.radius
    centres = [np.argwhere(painted.truth.ids == s.id).mean(0) for s in painted.truth.things]
    middle_of_tile = np.array(painted.image.shape[:2]) / 2
    truly = sum(np.hypot(*(c - middle_of_tile)) < core.radius for c in centres)
    print(f"the painted core: {truly} nuclei painted, {inside.sum()} found")

# %% [markdown]
# ## Where to go next
#
# - `pano-med slide SLIDE --out FOLDER` does one slide, `--resume` goes on.
# - `pano-med cohort FOLDER --out RESULTS` does all slides of a folder, on this machine or a cluster; a slide that fails
#   is a row in the report, not the end. `docs/scaling.md` has costs.
# - `pano-med explore SLIDE` opens a slide without code; nuclei appear under the cursor while the page fills.
#
# ## Summary
#
# - A slide is a pyramid; places are level-0 pixels; mpp, not "40x", is the scale, and a wrong one fails silently.
# - Tiles overlap, one core owns each nucleus, tissue is blended.
# - Judge seams against the inside, with numbers.
# - Divide counts by the tissue in each square.
#
# Research and teaching only, **not for diagnosis**.
#
# ## Sources
#
# - Left core: histolytics 0.3.0, O. Lehtonen and others, BSD-3-Clause; `data_cards/histolytics_hgsc.md`.
# - One owner per object: M. Weigert, U. Schmidt, StarDist (`big.py`). Seamless networks and their limits: A. Azulay,
#   Y. Weiss, JMLR 20 (2019) 184.
# - OME-Zarr: J. Moore and others, Histochem Cell Biol 160 (2023) 223. QuPath: P. Bankhead and others, Sci Rep 7 (2017)
#   16878.
