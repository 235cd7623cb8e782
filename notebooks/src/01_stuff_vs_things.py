# ---
# lesson:
#   title: Stuff and things
#   learn:
#     - tell things, which are counted, from stuff, which is not, on a table and in tissue
#     - say what a semantic, an instance and a panoptic map each know
#     - compute panoptic quality (PQ) by hand and with code of your own, and read its two halves, SQ and RQ
#     - know what void and crowds change, and where PQ misleads
#   prerequisites: lesson 00; you can read a short Python function and know that a NumPy array is a table of numbers
# ---

# %% tags=["imports"]
import numpy as np
from skimage.measure import label

from pano_med import check
from pano_med.lessons import show
from pano_med.lessons.coffee import coffee_truth
from pano_med.lessons.curves import iou_by_size
from pano_med.lessons.maps import instance_picture, three_maps, titled
from pano_med.lessons.tiny import TINY, overlap_squares, truth_and_prediction, two_maps
from pano_med.metrics import panoptic_quality, things_only, things_quality
from pano_med.pictures import inner_border
from pano_med.synthetic import Knobs, he_tile
from pano_med.types import HE_CORE, Panoptic
from pano_med.widgets import Guess, StuffThingsQuiz

# %% [markdown]
# ## A cup on a table
#
# Somebody asks about this picture: *what is here?* and *how many are there?* For the spoon both questions make sense.
# For the table the second does not: half of it is still table.
#
# - A **thing** is an object that is counted: a spoon, a dish, a nucleus.
# - **Stuff** has an extent and no number: coffee, a table top, connective tissue.
# - **Void** is what nobody can name, such as the dark corner beyond the table.
#
# Decide for each region.

# %%
coffee, coffee_map = coffee_truth()
StuffThingsQuiz(coffee, coffee_map)

# %% [markdown] tags=["instructor"]
# *For the teacher.* "Thing" is the usual answer for the coffee, because it has an outline. Ask: could you order two of
# *it*? (Two cups, yes.) In the next picture somebody will call a white gap a thing. Agree that a gland's lumen could be
# one, in another taxonomy, for another purpose.

# %% [markdown]
# The coffee has a clear outline, and still it is stuff: two coffees poured together are one coffee. Stuff or thing is
# not written in the pixels. People decide it for a purpose and write it into a table, the **taxonomy**.
#
# ## The same question in tissue
#
# This H&E section was painted by a computer, so the truth about each pixel is known. What would a pathologist count in
# it, and of what would only the area make sense?

# %%
tile = he_tile(seed=7, size=(256, 256), knobs=Knobs(crowding=1.5), pixel_size_um=0.5)
tissue = tile.truth
StuffThingsQuiz(tile.image, tissue, regions=[26, 3, 72, 2, 1])  # numbers of segments

# %% [markdown]
# ## One picture, three maps
#
# A program can answer in three ways. Each is a table of numbers as large as the picture.
#
# - A **semantic** map gives each pixel a class. It knows *what*, not *how many*.
# - An **instance** map gives each object a number. It knows *how many*, and nothing about the rest.
# - A **panoptic** map gives each pixel the number of its **segment**, and each segment a class. A segment is one thing,
#   or all stuff of one class. No pixel has two.
#
# Cup and saucer are both dishes. See what happens where they touch.

# %%
show(three_maps(coffee, coffee_map), alt="Semantic: cup and saucer are one. Instance: three objects. Panoptic: all.")

# %% [markdown]
# A panoptic map holds the other two. `ids` says which segment each pixel belongs to (0 = void), and a list says which
# class each segment has:

# %%
class_of = {segment.id: segment.category_id for segment in coffee_map.segments}
print("class of each segment:", class_of)
print("segments from the spoon to the right:", coffee_map.ids[285, 340::20])

# %% [markdown]
# ### Exercise 1.1: make the semantic map
# Turn segment numbers into classes. Void stays 0. Do not change `ids` itself.

# %% tags=["stub"] exercise="1.1"
def semantic_map(ids, class_of):
    """The class of each pixel.

    ids: (H, W) whole numbers, the segment of each pixel, 0 = void
    class_of: dict, segment id -> class
    """
    raise NotImplementedError("exercise 1.1: write semantic_map(ids, class_of)")


# %% tags=["solution"] exercise="1.1"
def semantic_map(ids, class_of):
    """The class of each pixel.

    ids: (H, W) whole numbers, the segment of each pixel, 0 = void
    class_of: dict, segment id -> class
    """
    classes = np.zeros_like(ids)
    for number, category in class_of.items():
        classes[ids == number] = category
    return classes


# %%
check.answer("1.1", semantic_map)
# check.hint("1.1")      # stuck? take the first # away; a second call gives a second hint
# check.solution("1.1")

# %% [markdown]
# There is no way back. From a semantic map alone you can count connected areas of one class, as many programs do. The
# tile has 69 nuclei, and many touch.

# %%
areas = Guess("69 nuclei: how many connected areas are left in the semantic map?", low=20, high=80, step=1)
areas

# %%
show(three_maps(tile.image, tissue, 2), alt="Semantic: nuclei melt together. Instance: a colour each. Panoptic: both.")
semantic = semantic_map(tissue.ids, {segment.id: segment.category_id for segment in tissue.segments})
areas.reveal(sum(label(semantic == category.id, connectivity=1).max() for category in HE_CORE.things))

# %% [markdown]
# Too few, and most so where cells crowd, which is where it matters. Nuclei need instances, tissue needs classes.
#
# ## How good is a map? By hand
#
# Truth | prediction, small enough to count: `t` is tissue, `.` is glass, every other letter is one nucleus.

# %%
truth, prediction = two_maps("""
    t t t t t t . . t t t t  |  t t t t t t . . . t t t
    a a a a t t . . t t t t  |  t p p p p t . . . t t t
    a a a a t t . . t t t t  |  t p p p p t . . . t t t
    t t t t t t . . t t t t  |  t t t t t t . . . t t t
    t b b b t t . . t c c t  |  t q q q t t . . . t t t
    t b b b t t . . t c c t  |  t q q q t t . . . t r r
    t b b b t t . . t t t t  |  t t t t t t . . . t r r
    t t t t t t . . t t t t  |  t t t t t t . . . t t t
""")
show(truth_and_prediction(truth, prediction), alt="Two grids of 8 x 12. Truth: nuclei a, b, c. Prediction: p, q, r.")

# %% [markdown]
# Is nucleus `a` found? Lay `p` over it. Count the squares in **both**, and those in **at least one**. Their ratio is
# the **intersection over union**, **IoU**: 1 for the same pixels, 0 for none in common.

# %%
a, p = truth.ids == 3, prediction.ids == 3
show(overlap_squares(a, p)[:176, :264], alt="Squares around a and p: 2 of truth only, 6 of both, 2 of prediction only.")

# %% [markdown]
# ### Exercise 1.2: IoU
# For masks, arrays of True and False: `a & b` is True where both are, `a | b` where at least one is.

# %% tags=["stub"] exercise="1.2"
def iou(a, b):
    """Intersection over union of two masks, (H, W) arrays of True and False."""
    raise NotImplementedError("exercise 1.2: write iou(a, b)")


# %% tags=["solution"] exercise="1.2"
def iou(a, b):
    """Intersection over union of two masks, (H, W) arrays of True and False."""
    return (a & b).sum() / (a | b).sum()


# %%
check.answer("1.2", iou)
# check.hint("1.2")
# check.solution("1.2")

# %% [markdown]
# A true and a predicted segment **match** if they have the same class and **IoU > 0.5**. So there are three cases:
#
# - **TP**, true positive: a matched pair, counted once,
# - **FN**, false negative: a true segment without a match, missed,
# - **FP**, false positive: a predicted segment without a match, invented.
#
# ### Exercise 1.3: matches
# Return a dict, `{(true id, predicted id): IoU}`, with the matched pairs. Use your `iou`. Stuff follows the same rule:
# all tissue is *one* segment, on both sides of the glass.

# %% tags=["stub"] exercise="1.3"
def matches(truth, prediction, class_t, class_p):
    """The matched pairs and their IoU.

    truth, prediction: (H, W) whole numbers, the segment of each pixel, 0 = void
    class_t, class_p: dicts, segment id -> class
    """
    raise NotImplementedError("exercise 1.3: write matches(truth, prediction, class_t, class_p)")


# %% tags=["solution"] exercise="1.3"
def matches(truth, prediction, class_t, class_p):
    """The matched pairs and their IoU.

    truth, prediction: (H, W) whole numbers, the segment of each pixel, 0 = void
    class_t, class_p: dicts, segment id -> class
    """
    found = {}
    for t in class_t:
        for p in class_p:
            value = iou(truth == t, prediction == p)
            if class_t[t] == class_p[p] and value > 0.5:
                found[t, p] = value
    return found


# %%
check.answer("1.3", matches)
# check.hint("1.3")
# check.solution("1.3")

# %% [markdown] tags=["instructor"]
# *For the teacher.* Ask who wrote `>=`, and promise them "Deeper: why more than one half".

# %%
class_t, class_p = ({s.id: s.category_id for s in side.segments} for side in (truth, prediction))
for (t, p), value in matches(truth.ids, prediction.ids, class_t, class_p).items():
    print(f"true {t} = predicted {p}: {TINY[class_t[t]].name}, IoU {value:.3f}")

# %% [markdown]
# Segments 3, 4, 5 are `a`, `b`, `c` and `p`, `q`, `r`. Two nuclei match. `c` and `r` share one square of seven: `c` is
# missed, `r` invented. So *one* nucleus in slightly the wrong place makes *two* errors; hence the halves in **panoptic
# quality**, which each class has for itself:
#
# $$\text{PQ} = \frac{\sum \text{IoU of the matches}}{\text{TP} + \frac12\text{FP} + \frac12\text{FN}} =
# \underbrace{\frac{\sum \text{IoU}}{\text{TP}}}_{\text{SQ}} \cdot
# \underbrace{\frac{\text{TP}}{\text{TP} + \frac12\text{FP} + \frac12\text{FN}}}_{\text{RQ}}$$
#
# **SQ**, segmentation quality: how well do matched outlines fit? **RQ**, recognition quality, or F1: how many were
# found, how many invented? Take a pencil: TP = 2, FP = 1, FN = 1, IoU 6/10 and 6/9.

# %%
pq_nuclei = Guess("PQ of the nuclei?", low=0, high=1, step=0.02)
pq_nuclei

# %% [markdown]
# ### Exercise 1.4: SQ, RQ and PQ
# Without any match, all three are 0.

# %% tags=["stub"] exercise="1.4"
def quality(ious, fp, fn):
    """SQ, RQ and PQ of one class, in this order.

    ious: list, the IoU of each match
    fp, fn: how many predicted and true segments have no match
    """
    raise NotImplementedError("exercise 1.4: write quality(ious, fp, fn)")


# %% tags=["solution"] exercise="1.4"
def quality(ious, fp, fn):
    """SQ, RQ and PQ of one class, in this order.

    ious: list, the IoU of each match
    fp, fn: how many predicted and true segments have no match
    """
    tp = len(ious)
    if tp == 0:
        return 0.0, 0.0, 0.0
    sq = sum(ious) / tp
    rq = tp / (tp + fp / 2 + fn / 2)
    return sq, rq, sq * rq


# %%
check.answer("1.4", quality)
# check.hint("1.4")
# check.solution("1.4")

# %%
sq, rq, pq = quality([6 / 10, 6 / 9], fp=1, fn=1)
pq_nuclei.reveal(round(pq, 3))

# %% [markdown]
# `pano_med.metrics` says the same, for each class. The PQ of a map is the mean over classes, so three nuclei weigh as
# much here as all tissue.

# %%
counts = panoptic_quality(truth, prediction)
for row in counts.to_dict()["classes"]:
    print("{name:8} TP {tp}  FP {fp}  FN {fn}   SQ {sq:.3f}  RQ {rq:.3f}  PQ {pq:.3f}".format(**row))
print(f"mean PQ {counts.mean()[0]:.3f}")

# %% [markdown]
# ## Two ways to be wrong
#
# Program A finds every nucleus of the tile and draws each outline one pixel too tight. Program B draws perfectly and
# overlooks every third nucleus.

# %%
real = things_only(tissue)
class_n = {segment.id: segment.category_id for segment in real.segments}
tight, sparse = real.ids.copy(), real.ids.copy()
tight[inner_border(tight)] = 0  # takes the outermost pixels of each nucleus away
sparse[np.isin(sparse, sorted(class_n)[::3])] = 0
program = {"A": Panoptic.from_ids(tight, class_n, HE_CORE), "B": Panoptic.from_ids(sparse, class_n, HE_CORE)}
drawn = titled([instance_picture(tile.image, x, 2) for x in (real, *program.values())], ["truth", "A", "B"])
show(drawn, alt="The same nuclei three times: truth; A, all a little smaller; B, every third one missing.")

# %%
better = Guess("Which has the higher PQ?", options=["A, clearly", "B, clearly", "nearly the same, within 0.05"])
better

# %%
scores = {name: things_quality(real, found).mean("things") for name, found in program.items()}
for name, values in scores.items():
    print("{}: PQ {:.2f} = SQ {:.2f} x RQ {:.2f}".format(name, *values))
gap = scores["A"][0] - scores["B"][0]
better.reveal("nearly the same, within 0.05" if abs(gap) <= 0.05 else "A, clearly" if gap > 0 else "B, clearly")

# %% [markdown]
# For counting, A is nearly perfect and B useless; for the size of nuclei it is the other way round. **Never read PQ
# without SQ and RQ.**
#
# ## Deeper: void and crowds, where nobody knows
#
# Where the truth is void (`?`), a prediction is neither rewarded nor punished: predicted pixels on void leave the
# union, and a predicted segment that lies mostly on void is no FP.

# %%
known, said = two_maps("""
    t t t t ? ?  |  t t t t t t
    t a a a ? ?  |  t p p p p t
    t a a a ? ?  |  t p p p p t
    t t t t t t  |  t t t t t t
""")
show(truth_and_prediction(known, said), alt="Truth: nucleus a beside 4 void squares. Prediction: p on a and on 2.")

# %%
print("IoU of a and p, all squares:  ", iou(known.ids == 3, said.ids == 3))
print("by pano_med, void left out:   ", panoptic_quality(known, said).sq[TINY["nucleus"].id])

# %% [markdown]
# A **crowd** is a region of things that nobody separated, such as a dense nest of lymphocytes; here the capital `B`. It
# is never matched and never missed, and what is predicted in it is excused.

# %%
crowded, guessed = two_maps("""
    t t t t B B B B  |  t t t t p p q q
    t a a t B B B B  |  t t t t p p q q
    t a a t B B B B  |  t t t t r r t t
    t t t t t t t t  |  t s s t r r t t
""")
show(truth_and_prediction(crowded, guessed), alt="Truth: nucleus a, crowd B. Prediction: p, q in B; r half in; s by a.")
wrong = Guess("How many of p, q, r, s are false positives?", low=0, high=4, step=1)
wrong

# %%
row = panoptic_quality(crowded, guessed).to_dict()["classes"][TINY.all.index(TINY["nucleus"])]
print("TP {tp}, FP {fp}, FN {fn}".format(**row))
wrong.reveal(row["fp"])

# %% [markdown]
# `p` and `q` are excused. `r` lies on the crowd with half of its squares, and *more* than half is asked for. `s` misses
# `a`, which is the one FN.
#
# ## Deeper: why more than one half
#
# Two nuclei of one size touch, and a program draws them as one:

# %%
pair, merged = two_maps("""
    t a a b b t  |  t p p p p t
    t a a b b t  |  t p p p p t
""")
print("IoU of a and p:", iou(pair.ids == 3, merged.ids == 3))
print("IoU of b and p:", iou(pair.ids == 4, merged.ids == 3))

# %% [markdown]
# With IoU ≥ 0.5, `p` would match both: one object, found twice. With > 0.5 it cannot: segments with an IoU above one
# half share more than half of each; `a` and `b` share no pixel, so not both can hold more than half of `p`. Matches are
# unique.
#
# ## Where PQ misleads
#
# Foucart, Debeir and Decaestecker (2023) argue that PQ should not be used for nuclei. Two of their reasons:
#
# **Nuclei are small.** No pathologist objects to an outline one pixel too wide. IoU does, the more the smaller the
# nucleus. A lymphocyte of 7 µm, scanned at 1 µm per pixel (10x), is 7 pixels wide.

# %%
small = Guess("7 pixels wide, drawn one pixel too wide all round: IoU?", low=0, high=1, step=0.05)
small

# %%
def disc(diameter, shift=0):
    """Mask of a disc, `shift` pixels right of the middle, on a grid of tenths of pixels."""
    rows, columns = np.mgrid[-22:22:0.1, -22:22:0.1]
    return rows**2 + (columns - shift) ** 2 < (diameter / 2) ** 2


widths = range(3, 41)
moved = [iou(disc(d), disc(d, shift=1)) for d in widths]
wider = [iou(disc(d), disc(d + 2)) for d in widths]
marks = {7: "lymphocyte\nat 10x", 14: "at 20x", 28: "at 40x"}
fig = iou_by_size(widths, {"moved by one pixel": moved, "one pixel too wide all round": wider}, marks)
show(fig, alt="IoU over width: one pixel costs small nuclei far more than large ones.")
small.reveal(round(float(iou(disc(7), disc(9))), 2))

# %% [markdown]
# So PQ at 10x and at 40x cannot be compared, nor PQ of lymphocytes and of tumour nuclei. Program A paid for this above.
#
# **One number mixes three questions:** found? outlined? named? Give all nuclei their perfect outlines, and call the
# inflammatory ones connective:

# %%
swap = {HE_CORE["inflammatory nucleus"].id: HE_CORE["connective nucleus"].id}
renamed = Panoptic.from_ids(real.ids, {i: swap.get(c, c) for i, c in class_n.items()}, HE_CORE)
for row in panoptic_quality(real, renamed).to_dict()["classes"][3:6]:
    print("{name:20} TP {tp:2}  FP {fp:2}  FN {fn:2}  PQ {pq:.2f}".format(**row))
print("without classes: PQ", things_quality(real, renamed).mean("things")[0])

# %% [markdown]
# A wrong class is punished twice, here as FN and there as FP, and its perfect outline counts for nothing. So report
# what you mean: RQ for finding, SQ or a distance in µm for outlines, a confusion table for classes, and the pixel size.
#
# ## Summary
#
# - Things are counted, stuff is not, void is unknown. A panoptic map gives each pixel one segment.
# - A match: same class and IoU > 0.5, strictly; so it is unique. Void and crowds are not judged.
# - PQ = SQ · RQ, FP and FN count half. Read both parts; a small object one pixel off may lose its match.
#
# ## Where to go next
#
# - Lesson 04, the fusion lab: two answers about one pixel. Who gets it? Lesson 06: nuclei of a real tumour.
# - `pano-med evaluate --truth A --prediction B` computes PQ and the field's other conventions.
#
# ## Sources
#
# - Kirillov and others: *Panoptic Segmentation*, CVPR 2019, [arXiv 1801.00868](https://arxiv.org/abs/1801.00868).
# - Foucart, Debeir, Decaestecker: *Panoptic quality should be avoided ...*, Scientific Reports 2023, [doi
#   10.1038/s41598-023-35605-7](https://doi.org/10.1038/s41598-023-35605-7).
# - The coffee: Rachel Michetti, from scikit-image (CC0); its truth was drawn for this lesson.
