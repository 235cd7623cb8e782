# ---
# lesson:
#   title: EfficientPS from the inside
#   learn:
#     - why a separable convolution needs about nine times fewer weights than a plain one, and write one
#     - how the two-way pyramid lets detail climb and context descend, with both loops from your own hand
#     - how far each branch of the dense prediction cell looks, measured by gradient
#     - how 32,640 anchors become a handful of nuclei, and why RoIAlign samples between cells
#     - where the 40,891,080 parameters of the paper's network sit
#   prerequisites: lesson 01, and a rough idea of what a convolution does; lesson 02 helps but is not needed
# ---

# %% tags=["imports"]
import time

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn
from torch.nn import functional as F
from torchvision.ops import roi_align, roi_pool

from pano_med import check
from pano_med.demo import NotFetched, fetch_hgsc, he_region
from pano_med.lessons import show
from pano_med.lessons.insides import bare, bars, curves, fields, frame, panels, stride_grids, who_hears_whom
from pano_med.lessons.layers import record
from pano_med.models import EfficientPS
from pano_med.models.efficientps import pad_batch
from pano_med.models.semantic import DPC
from pano_med.predict import load_segmenter
from pano_med.synthetic import he_tile
from pano_med.widgets import Guess, LayerLens

_ = torch.manual_seed(0)

# %% [markdown]
# ## One image, four scales
# EfficientPS has four parts. A **backbone** turns the image into features at four scales, a **two-way pyramid** mixes
# the scales, a **semantic head** names every pixel, an **instance head** finds every nucleus. In this lesson you open
# each part and rebuild its core in a few lines.
#
# We look at the edge of a tumour nest in a high-grade serous carcinoma of the ovary: large tumour nuclei, small dark
# lymphocytes. The piece is 64 µm wide, enlarged to the 0.25 µm per pixel that the network works at. Without an internet
# connection a painted tile takes its place.

# %%
try:
    region = he_region(fetch_hgsc())
    crop = Image.fromarray(region.image[1150:1278, 760:888])
    image = np.asarray(crop.resize((256, 256), Image.Resampling.BICUBIC))
    print("Real tissue:", region.source)
except NotFetched as why:
    image = he_tile(1215, (256, 256), pixel_size_um=0.25).image
    print(f"A painted tile, because {why}.")

show(stride_grids(image, [4, 8, 16, 32]),
     alt="One piece of tissue under four grids: a nucleus covers many cells at stride 4, about one at stride 32.",
     caption="One square is one cell. At stride 32 a whole nucleus falls into a single cell.")

# %% [markdown]
# The backbone, an EfficientNet, halves the image again and again. After 2, 3, 4 and 5 halvings its result is kept:
# C4, C8, C16 and C32, named by their stride. Fewer cells, more channels: each cell says more about a larger place.

# %%
net = load_segmenter("he-nano", device="cpu").model  # its parts are taken out by hand: the same numbers everywhere
pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255  # (3, 256, 256), 0..1
with torch.no_grad():
    ends = net.backbone((pixels[None] - net.mean) / net.std)
for stride, end in zip((4, 8, 16, 32), ends, strict=True):
    print(f"C{stride:<3} {end.shape[1]:>5} channels of {end.shape[2]:>2} x {end.shape[3]:>2} cells")

# %% [markdown]
# ## A cheaper convolution
# A plain 3 × 3 convolution has one 3 × 3 filter **for each pair** of an input and an output channel. A **separable**
# convolution divides the work: a *depthwise* half filters each input channel alone, one 3 × 3 filter per channel; then
# a *pointwise* half, 1 × 1, mixes the channels. Neither half has a bias, because a batch norm follows.
#
# **Exercise 3.1.** Count the weights of both.

# %% tags=["stub"] exercise="3.1"
def weights(inputs, outputs, kernel):
    """(plain, separable): the weights of a kernel x kernel convolution without bias, both ways."""
    raise NotImplementedError("exercise 3.1: write weights(inputs, outputs, kernel)")

# %% tags=["solution"] exercise="3.1"
def weights(inputs, outputs, kernel):
    """(plain, separable): the weights of a kernel x kernel convolution without bias, both ways."""
    plain = kernel * kernel * inputs * outputs
    separable = kernel * kernel * inputs + inputs * outputs
    return plain, separable

# %%
check.answer("3.1", weights)
# check.hint("3.1")      # stuck? take the first # away; a second call gives a second hint
# check.solution("3.1")

# %%
times_fewer = Guess("3 × 3, 256 channels in, 256 out: how many times fewer weights has the separable one?",
                    low=1, high=20, step=0.5, unit="times")
times_fewer

# %%
plain, separable_count = weights(256, 256, 3)
print(f"plain {plain:,}, separable {separable_count:,}")
times_fewer.reveal(round(plain / separable_count, 1))

# %% [markdown]
# Every weight is used once per cell, so multiplications shrink by the same factor. Seconds follow only roughly: they
# also depend on memory, on the order of the numbers in it, and on what else the machine does. Measure it.

# %%
x = torch.randn(1, 256, 64, 64).contiguous(memory_format=torch.channels_last)  # the order that the networks use
one = nn.Conv2d(256, 256, 3, padding=1, bias=False)
two = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1, groups=256, bias=False), nn.Conv2d(256, 256, 1, bias=False))


def seconds(module):
    """The fastest of five runs on `x`."""
    runs = []
    for _ in range(5):
        began = time.perf_counter()
        with torch.no_grad():
            module(x)
        runs.append(time.perf_counter() - began)
    return min(runs)


slow, quick = seconds(one), seconds(two)
fewer = one.weight.numel() / sum(half.weight.numel() for half in two)
print(f"plain {1000 * slow:.0f} ms, separable {1000 * quick:.0f} ms: {slow / quick:.1f} times faster on this machine, "
      f"with {fewer:.1f} times fewer multiplications")

# %% [markdown]
# A convolution can also look farther without more weights: with **dilation** *d* the nine taps stand *d* cells apart.
# Rows and columns may have dilations of their own; EfficientPS uses that.
#
# **Exercise 3.2.** Build the separable convolution itself. The map must keep its size: how much padding does that take?
# `F.conv2d(x, weight, padding=..., dilation=..., groups=...)` does the counting; `groups` equal to the number of
# channels makes a convolution depthwise.

# %% tags=["stub"] exercise="3.2"
def separable(x, depthwise, pointwise, dilation):
    """x (1, C, h, w), depthwise (C, 1, 3, 3), pointwise (K, C, 1, 1), dilation (rows, columns) -> (1, K, h, w)."""
    raise NotImplementedError("exercise 3.2: write separable(x, depthwise, pointwise, dilation)")

# %% tags=["solution"] exercise="3.2"
def separable(x, depthwise, pointwise, dilation):
    """x (1, C, h, w), depthwise (C, 1, 3, 3), pointwise (K, C, 1, 1), dilation (rows, columns) -> (1, K, h, w)."""
    filtered = F.conv2d(x, depthwise, padding=dilation, dilation=dilation, groups=x.shape[1])
    return F.conv2d(filtered, pointwise)

# %%
check.answer("3.2", separable)
# check.hint("3.2")
# check.solution("3.2")

# %% [markdown]
# Is it the network's own? Take the weights of the pyramid's first output convolution and compare. (The network adds a
# batch norm and a leaky ReLU behind; both are applied here too.)

# %%
layer = net.fpn.output[0]
features = torch.randn(1, 128, 16, 16)
with torch.no_grad():
    yours = layer[2](separable(features, layer[0].weight, layer[1].weight, (1, 1)))
    print("largest difference:", float((yours - layer(features)).abs().max()))

# %% [markdown]
# ## Two ways through the pyramid
# C4 knows exactly *where*, but sees little around. C32 sees much, but not where exactly. An ordinary feature pyramid
# (FPN) hands context **down**: each level adds the enlarged sum of the coarser one. EfficientPS runs a second,
# independent path **up**, so that detail reaches the coarse levels too. The outputs P4, P8, P16 and P32 are the sums
# of both paths.
#
# **Exercise 3.3.** Write both loops. `down` and `up` are lists of four maps, finest first, of equal channels. Resize by
# nearest neighbour, as the authors' code does, and only then add.

# %% tags=["stub"] exercise="3.3"
def two_way(down, up):
    """Two lists of four maps (1, C, h, w), finest first -> the list of the four sums."""
    raise NotImplementedError("exercise 3.3: write two_way(down, up)")

# %% tags=["solution"] exercise="3.3"
def two_way(down, up):
    """Two lists of four maps (1, C, h, w), finest first -> the list of the four sums."""
    down, up = list(down), list(up)
    for i in (2, 1, 0):
        down[i] = down[i] + F.interpolate(down[i + 1], size=down[i].shape[-2:], mode="nearest")
    for i in (1, 2, 3):
        up[i] = up[i] + F.interpolate(up[i - 1], size=up[i].shape[-2:], mode="nearest")
    return [d + u for d, u in zip(down, up, strict=True)]

# %%
check.answer("3.3", two_way)
# check.hint("3.3")
# check.solution("3.3")

# %% [markdown]
# Now a signal goes in at one level only, everything else is zero. Where does it come out?

# %%
hears = Guess("With the path down alone, at how many of the four levels does a signal from C4 come out?",
              options=["1", "2", "3", "4"])
hears


# %%
def one_way(down, up):
    """The ordinary pyramid: the path down only."""
    down = list(down)
    for i in (2, 1, 0):
        down[i] = down[i] + F.interpolate(down[i + 1], size=down[i].shape[-2:], mode="nearest")
    return down


def table(pyramid):
    """(4, 4) bool: row = level where a signal goes in, column = level where it comes out."""
    heard = np.zeros((4, 4), bool)
    for source in range(4):
        maps = [torch.full((1, 1, 32 >> i, 32 >> i), float(i == source)) for i in range(4)]
        heard[source] = [bool(out.any()) for out in pyramid(maps, maps)]
    return heard


ways = {"path down only": table(one_way), "two ways": table(two_way)}
show(who_hears_whom(ways, [4, 8, 16, 32]),
     alt="Two tables. With the path down alone, signals reach their own and finer levels; with two ways, all levels.")
hears.reveal(str(ways["path down only"][0].sum()))

# %% [markdown]
# ## The semantic head
# Three small modules, all of separable convolutions:
#
# - **LSFE** (large scale feature extractor), on P4 and P8: two 3 × 3 convolutions. Fine levels have detail enough.
# - **DPC** (dense prediction cell), on P16 and P32: five dilated convolutions *a* to *e* gather what is far away.
#   *b*, *c* and *d* read *a*; *e* reads *d*; all five are joined.
# - **MC** (mismatch correction), between scales: two more convolutions adapt coarse features before they are enlarged
#   and added to finer ones.
#
# | branch | *a* | *b* after *a* | *c* after *a* | *d* after *a* | *e* after *d* |
# |---|---|---|---|---|---|
# | dilation (rows, columns) | (1, 6) | (1, 1) | (6, 21) | (18, 15) | (6, 3) |
#
# **Exercise 3.4.** How many rows and columns does a chain of dilated 3 × 3 convolutions span, from its first to its
# last cell?

# %% tags=["stub"] exercise="3.4"
def span(dilations):
    """[(rows, columns), ...] of a chain of 3 x 3 convolutions -> (rows, columns) that one output cell spans."""
    raise NotImplementedError("exercise 3.4: write span(dilations)")

# %% tags=["solution"] exercise="3.4"
def span(dilations):
    """[(rows, columns), ...] of a chain of 3 x 3 convolutions -> (rows, columns) that one output cell spans."""
    rows = 1 + 2 * sum(d[0] for d in dilations)
    columns = 1 + 2 * sum(d[1] for d in dilations)
    return rows, columns

# %%
check.answer("3.4", span)
# check.hint("3.4")
# check.solution("3.4")

# %%
widest = Guess("Which branch of DPC sees the most columns?", options=["a", "b", "c", "d", "e"])
widest

# %% [markdown]
# Do not trust the formula: ask the network. The gradient of one output cell is zero wherever the input could not have
# mattered. Here is the reach of each branch, drawn from that gradient.

# %%
cell = DPC(4, 4).eval()
maps = torch.randn(1, 4, 65, 65, requires_grad=True)
a = cell.a(maps)
d = cell.d(a)
branches = {"a": a, "b": cell.b(a), "c": cell.c(a), "d": d, "e": cell.e(d)}
touched = {}
for name, out in branches.items():
    gradient = torch.autograd.grad(out[0, :, 32, 32].sum(), maps, retain_graph=True)[0]
    touched[name] = (gradient[0] != 0).any(0).numpy()

show(fields(touched), alt="Five dot patterns, the cells that each branch of DPC reads around its middle; c is widest.",
     caption="Black: cells that matter for the circled one. 65 × 65 cells are drawn.")
columns = {name: np.ptp(np.flatnonzero(cells.any(0))) + 1 for name, cells in touched.items()}
widest.reveal(max(columns, key=columns.get))

# %%
print("your formula:", {"a": span([(1, 6)]), "c": span([(1, 6), (6, 21)]), "e": span([(1, 6), (18, 15), (6, 3)])})

# %% [markdown]
# 55 columns are 1,760 pixels at stride 32. That suits the street scenes of 2048 × 1024 pixels for which the pattern was
# found by search. P32 of our tile has 8 × 8 cells: there most taps of *c* fall beside the image and read padding. What
# is good for streets is not tuned for tissue.
#
# ## The instance head: from anchors to nuclei
# The **region proposal network** (RPN) stands on every cell of every level and judges several boxes of fixed shapes,
# the **anchors**: is there anything inside? In the small network each cell has 6 anchors, 2 sizes × 3 shapes.

# %%
count = Guess("How many anchors are judged in this tile of 256 × 256 pixels?", low=0, high=60000, step=500)
count

# %%
batch = pad_batch([pixels])
rpn = net.instance_head.rpn
with torch.no_grad():
    pyramid = net.pyramid(batch.tensors)
    objectness = [logits.sigmoid()[0].amax(0) for logits in rpn.head(list(pyramid))[0]]  # best anchor of each cell
    proposals = rpn(batch, dict(enumerate(pyramid)))[0][0]
    found, _ = net.instance_head.detect(batch, pyramid)[0]
anchors = rpn.anchor_generator(batch, list(pyramid))[0]

figure, axes = panels(5, 3.1, 3.4)
bare(axes[0], image, "anchors of three cells")
for shapes, middle, color in zip(rpn.anchor_generator.cell_anchors, ((45, 45), (190, 60), (120, 170)),
                                 ("#0072B2", "#D55E00", "black"), strict=False):
    for shape in shapes:
        frame(axes[0], shape.numpy() + np.tile(middle, 2), color, dashed=color == "#D55E00", width=1.2)
for axis, stride, seen in zip(axes[1:4], (4, 8, 16), objectness, strict=False):
    bare(axis, seen.numpy(), f"P{stride}: “something here?”", cmap="viridis", vmin=0, vmax=1)
bare(axes[4], image, "what is left in the end")
for box, score in zip(found.boxes, found.scores, strict=True):
    if score > 0.5:
        frame(axes[4], box.numpy(), width=1.5)
show(figure, alt="Anchors; objectness, with small nuclei bright at P4 and P8 and large ones at P16; the final boxes.",
     caption="Yellow: surely something. Each level answers to nuclei of its own size.")
print(f"{len(anchors):,} anchors, {len(proposals)} proposals after suppression of doubles (at most 80), "
      f"{int((found.scores > 0.5).sum())} boxes with a score above 0.5")
count.reveal(len(anchors))

# %% [markdown]
# ## RoIAlign: reading between the cells
# Each proposal is cut out of the pyramid as 7 × 7 features for its class and 14 × 14 for its mask. A box rarely ends
# on a cell's border. The older **RoIPool** rounds the box to whole cells. **RoIAlign** (Mask R-CNN) rounds nothing: it
# reads values *between* cells by bilinear interpolation.
#
# **Exercise 3.5.** Write that reading. Cell (0, 0) covers the square from 0 to 1, so its value belongs to its middle,
# (0.5, 0.5). Outside the outermost middles the outermost value goes on.

# %% tags=["stub"] exercise="3.5"
def bilinear(grid, y, x):
    """The value of a grid (h, w) at the point y, x, in cells from its upper left corner."""
    raise NotImplementedError("exercise 3.5: write bilinear(grid, y, x)")

# %% tags=["solution"] exercise="3.5"
def bilinear(grid, y, x):
    """The value of a grid (h, w) at the point y, x, in cells from its upper left corner."""
    h, w = grid.shape
    y, x = min(max(y - 0.5, 0), h - 1), min(max(x - 0.5, 0), w - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
    down, across = y - top, x - left
    above = (1 - across) * grid[top, left] + across * grid[top, right]
    below = (1 - across) * grid[bottom, left] + across * grid[bottom, right]
    return float((1 - down) * above + down * below)

# %%
check.answer("3.5", bilinear)
# check.hint("3.5")
# check.solution("3.5")

# %% [markdown]
# RoIAlign divides the box into bins and averages a few such readings in each bin. With your function it is three lines;
# torchvision's own must give the same.

# %%
level = pyramid[2][0, 0].numpy()  # one channel of P16: 16 x 16 cells
x1, y1, x2, y2 = found.boxes[0].numpy() / 16  # the surest box, in cells of P16
steps = (np.arange(14) + 0.5) / 14  # 7 bins of 2 readings each
readings = np.array([[bilinear(level, y1 + (y2 - y1) * v, x1 + (x2 - x1) * u) for u in steps] for v in steps])
by_hand = readings.reshape(7, 2, 7, 2).mean((1, 3))
library = roi_align(pyramid[2][:, :1], [found.boxes[:1]], 7, 1 / 16, sampling_ratio=2, aligned=True)[0, 0].numpy()
print("largest difference from torchvision:", float(np.abs(by_hand - library).max()))

# %%
lost = Guess("At stride 16, by how many pixels can rounding to whole cells move one edge of a box?",
             low=0, high=32, step=1, unit="pixels")
lost

# %% [markdown]
# A map whose value *is* the position, 16 pixels per cell. A box 32 pixels wide moves to the right, pixel by pixel, and
# we ask the cut-out where it believes to be.

# %%
ramp = ((torch.arange(16) + 0.5) * 16).expand(1, 1, 16, 16).contiguous()  # value = x of the cell's middle
shift = np.arange(0, 65)
boxes = torch.tensor([[0, 64 + s, 64, 96 + s, 96] for s in shift]).float()  # image, x1, y1, x2, y2
pooled = roi_pool(ramp, boxes, 1, 1 / 16)[:, 0, 0, 0].numpy()
aligned = roi_align(ramp, boxes, 1, 1 / 16, sampling_ratio=2, aligned=True)[:, 0, 0, 0].numpy()
truth = 80 + shift
error = {"RoIPool": pooled - truth - (pooled - truth).mean(), "RoIAlign": aligned - truth}
show(curves(shift, error, "the box moves by (pixels)", "error of its place (pixels)"),
     alt="Two lines: RoIPool's error is a saw tooth between about -8 and 8 pixels, RoIAlign's lies at zero.",
     caption="RoIPool's constant offset is taken out. At 0.25 µm per pixel 8 pixels are 2 µm.")

candidates = found.boxes[found.scores > 0.5].numpy()
rounded = np.round(candidates / 16) * 16
worst = np.abs(rounded - candidates).sum(1).argmax()
cut, nearest = candidates[worst], rounded[worst]
figure, axes = panels(1, 4.4, 4.8)
bare(axes[0], image, "a box, and the same rounded to stride 16")
frame(axes[0], cut)
frame(axes[0], nearest, "#D55E00", dashed=True)
show(figure, alt="A nucleus in its box, and the same box rounded to whole cells of 16 pixels, visibly off the nucleus.",
     caption="Solid: the box. Dashed: what RoIPool would cut out.")
lost.reveal(float(error["RoIPool"].max().round()))

# %% [markdown]
# ## The loss looks at the hardest pixels
# Most pixels of tissue are easy after a few minutes of training; averaged, they drown the others. EfficientPS trains
# its semantic head on the **hardest quarter** of an image's pixels only.
#
# **Exercise 3.6.** The mean of the largest losses. Keep `int(share * n)` of the *n* pixels, but at least one.

# %% tags=["stub"] exercise="3.6"
def hard_pixel_loss(loss, share=0.25):
    """The mean of the largest `share` of a (H, W) map of losses, as a number."""
    raise NotImplementedError("exercise 3.6: write hard_pixel_loss(loss, share)")

# %% tags=["solution"] exercise="3.6"
def hard_pixel_loss(loss, share=0.25):
    """The mean of the largest `share` of a (H, W) map of losses, as a number."""
    keep = max(1, int(share * loss.size))
    return float(np.sort(loss.ravel())[-keep:].mean())

# %%
check.answer("3.6", hard_pixel_loss)
# check.hint("3.6")
# check.solution("3.6")

# %%
near = Guess("Of the hardest quarter of the pixels, which share lies within 1 µm of an outline?",
             low=0, high=100, step=1, unit="%")
near

# %% [markdown]
# The truth of every pixel is needed for that, so this is a painted tile that the network has never seen.

# %%
tile = he_tile(1212, (256, 256), pixel_size_um=0.25)
said = net([torch.from_numpy(tile.image.copy()).permute(2, 0, 1).float() / 255])[0]
channel = {c.id: number for number, c in enumerate(net.taxonomy.channels)}
wanted = np.vectorize(channel.get)(tile.truth.semantic())
loss = F.cross_entropy(said.semantic_logits[None], torch.from_numpy(wanted)[None], reduction="none")[0].numpy()
hardest = loss >= np.sort(loss.ravel())[-loss.size // 4]
outline = sum(np.abs(np.diff(tile.truth.ids, axis=n, append=tile.truth.ids.take([-1], n))) for n in (0, 1)) > 0
close = ndimage.distance_transform_edt(~outline) <= 4  # 4 pixels = 1 um

figure, axes = panels(3)
bare(axes[0], tile.image, "painted tile")
bare(axes[1], np.log10(loss + 1e-3), "loss (logarithmic)", cmap="viridis")
painted = np.where(hardest[..., None], 0.4 * tile.image + 0.6 * np.array([213, 94, 0]), tile.image).astype(np.uint8)
bare(axes[2], painted, "the hardest quarter")
show(figure, alt="A painted tile, its loss map, and the hardest quarter of its pixels marked in vermillion.")
print(f"mean of all pixels {loss.mean():.3f}, of the hardest quarter {hard_pixel_loss(loss):.3f}; "
      f"{close.mean():.0%} of all pixels lie within 1 um of an outline")
near.reveal(round(100 * close[hardest].mean()))

# %% [markdown]
# Outlines hold a third of this tile's pixels and well over half of the hardest quarter: is a pixel on the edge nucleus
# or cytoplasm? Two people would not always agree. The rest of the hardest quarter are regions whose tissue the network
# is unsure of. Where tissue is outlined coarsely, the hardest pixels are mostly faults of the outline, so our small
# network is trained on all pixels now; the share is an option (`EfficientPS.small(hard_share=0.25)`).
#
# ## Look inside yourself
# `record` hangs a hook on each module and lets the image flow through; `LayerLens` shows what the modules wrote. Choose
# a module in the table, a channel among the small maps, and move over the large map. The right picture shows where the
# cell lies and how far it looks: half of what moves its value lies within the solid frame.
#
# Four things to look for:
#
# - `backbone.stem`: which maps are bright on nuclei, which in white gaps, which on edges of one direction?
# - `fpn.output.0` and `semantic_head.lsfe4`: find a map that answers to nuclei and nothing else.
# - `semantic_head`: six maps, one for each class. Which one is the white gaps' own?
# - Compare the solid frames of `backbone.blocks.1` and `fpn.output.0`. Both have cells of 4 pixels, but the pyramid has
#   handed one of them context from far away.

# %%
names = ["backbone.stem", "backbone.blocks.*", "fpn.output.*", "semantic_head.lsfe4", "semantic_head.dpc16",
         "semantic_head", "instance_head.rpn.head", "instance_head.mask_head.3", "instance_head.mask_head"]
layers = record(net, image, names)
LayerLens(layers, image, title="he-nano, from the inside")

# %% [markdown]
# ## Where the parameters are
# The network of the paper has an EfficientNet-B5 as its backbone and wider heads. Built on the device `meta`, it takes
# no memory: only shapes are kept, and shapes are enough to count.

# %%
largest = Guess("Which part of the paper's network holds the most parameters after the backbone?",
                options=["two-way pyramid", "semantic head", "proposal network", "box head", "mask head"])
largest

# %%
with torch.device("meta"):
    paper = EfficientPS.paper()
modules = {"backbone": paper.backbone, "two-way pyramid": paper.fpn, "semantic head": paper.semantic_head,
           "proposal network": paper.instance_head.rpn, "box head": paper.instance_head.box_head,
           "mask head": paper.instance_head.mask_head}
parts = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
show(bars(parts, f"the paper's network: {sum(parts.values()):,} parameters"),
     alt="Bars of parameters by part: backbone 23.1 million, box head 13.9 million, all others below 1.5 million each.")
print("total:", f"{sum(parts.values()):,}")
largest.reveal(max((name for name in parts if name != "backbone"), key=parts.get))

# %% [markdown]
# A third of the network are the two fully connected layers that classify boxes: 7 × 7 × 256 numbers times 1,024 units.
# He-nano keeps 128 channels and 256 units instead, and a smaller backbone.

# %%
print(f"he-nano: {sum(p.numel() for p in net.parameters()):,} parameters, "
      f"of which box head {sum(p.numel() for p in net.instance_head.box_head.parameters()):,}")

# %% [markdown] tags=["instructor"]
# ### For teachers
# - 3.3 takes longest. A student whose signals move one level only has the loop the wrong way round: let them print
#   which level changes in each step.
# - 3.5: nearly everybody forgets the half cell first. Draw a 2 × 2 grid and mark the four middles on the board.
# - The measured speed of the separable convolution differs from machine to machine, and falls below 1 where many
#   threads compete. That is the lesson, not a fault.
# - Without an internet connection all cells run on a painted tile; the numbers of anchors and parameters stay the same.

# %% [markdown]
# ## Summary
# - A separable convolution filters first and mixes afterwards: 8.7 times fewer weights and multiplications at 256
#   channels. How many seconds that saves must be measured.
# - The two-way pyramid lets every level hear every other one; an ordinary pyramid lets C4 speak to P4 only.
# - DPC reaches up to 55 columns with nine weights a branch and channel; its pattern was found for street scenes.
# - The RPN judges tens of thousands of anchors; suppression and the box head leave one box for each nucleus.
# - RoIAlign reads between the cells; rounding would move a box by up to 2 µm at stride 16.
# - The semantic loss keeps the hardest quarter of the pixels.
# - 40,891,080 parameters; more than half in the backbone, a third in the box head.
#
# ## Where to go next
# - **04 fusion lab**: what happens when the semantic and the instance head disagree.
# - **02 two networks**: what all this replaced, measured.
# - The code, a half-hour read: `docs/tour.md` in the repository; each part of this lesson is one short file of
#   `pano_med/models`.
#
# ## Sources
# - R. Mohan, A. Valada: EfficientPS: Efficient Panoptic Segmentation. IJCV 129 (2021), arXiv 2004.02307.
# - M. Tan, Q. Le: EfficientNet. ICML 2019, arXiv 1905.11946.
# - L.-C. Chen et al.: Searching for Efficient Multi-Scale Architectures for Dense Image Prediction. NeurIPS 2018,
#   arXiv 1809.04184 (the dense prediction cell).
# - S. Ren et al.: Faster R-CNN. NeurIPS 2015, arXiv 1506.01497 (anchors). K. He et al.: Mask R-CNN. ICCV 2017, arXiv
#   1703.06870 (RoIAlign).
# - Image: histolytics 0.3.0 (O. Lehtonen and others, HautaniemiLab), BSD-3-Clause.
