"""The pictures of a model card: reliability of the scores, the worst fields, and one typical mistake of each kind.

Marks never rest on colour: what is right has a thin white line, what is wrong a thick one and a sign of its own.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from card_fields import Field
from card_tables import Calibrated, number
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from pano_med.data import card
from pano_med.metrics import Separation, ThingTable, separation_errors
from pano_med.pictures import inner_border, scale_bar, stack
from pano_med.pictures.text import line_height, text_width, write
from pano_med.types import OKABE_ITO, Panoptic

#: Bytes of a picture at most; colours are taken away until it fits.
MOST_BYTES = 700_000
#: Side of a field in the picture, gap, height of letters, fields shown, fewest things of a field that counts as worst.
SIDE, GAP, LETTERS, ROWS, LEAST = 400, 10, 22, 3, 5
#: A field is cut to about this many median things, so that single ones can be seen.
THINGS_ACROSS = 18
RIGHT, WRONG, DARK = (255, 255, 255), OKABE_ITO["yellow"], (0, 0, 0)
CROSS, TRIANGLE = "cross", "triangle"
#: Names of the kinds of mistakes under close-ups.
KINDS = {"missed": "missed", "joined": "several joined", "pieces": "in pieces", "invented": "nothing there",
         "outline": "poor outline"}  # fmt: skip


@dataclass(frozen=True)
class Failures:
    """The picture of failures and what is said below it.

    Attributes:
        picture: (H, W, 3) uint8.
        captions: one Markdown line for each field and for the close-ups.
        credits: one Markdown line for each data set that is shown.
    """

    picture: np.ndarray
    captions: tuple[str, ...]
    credits: tuple[str, ...]


def reliability_figure(measured: Calibrated, what: str, shipped: float) -> Figure:
    """Share of things that match against their score, with 95 % ranges, and how many there are of each score.

    Args:
        measured: by `card_tables.calibrated`.
        what: name of a thing.
        shipped: cut on the score.
    """
    whole, ranges = measured
    used = whole.n > 0
    low, high = np.array(ranges)[used].T
    score, share = whole.score[used], whole.share[used]
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    blue = tuple(c / 255 for c in OKABE_ITO["blue"])
    above.plot([0, 1], [0, 1], "--", color="black", lw=1.5, label="as many as the score says")
    error = np.clip([share - low, high - share], 0, None)
    above.errorbar(score, share, error, fmt="o-", color=blue, lw=2.5, ms=8, capsize=4, label="measured, 95 %")
    above.set_ylabel(f"share that match a true {what}", fontsize=14)
    above.set(xlim=(0, 1), ylim=(0, 1.02))
    below.bar(whole.edges[:-1], whole.n, np.diff(whole.edges), align="edge", color=blue, edgecolor="white")
    below.set_ylabel("things", fontsize=14)
    below.set_xlabel("score", fontsize=14)
    for axes in (above, below):
        axes.axvline(shipped, color="black", lw=1.5, ls=":", label=f"shipped cut, {shipped:g}")
        axes.tick_params(labelsize=13)
        axes.grid(alpha=0.3)
    above.legend(fontsize=13, loc="upper left", framealpha=1)
    return figure


def worst(fields: Sequence[Field], cut: float, rows: int = ROWS) -> list[Field]:
    """The fields of lowest PQ with a licence that lets them be shown, one of each group, worst first."""
    fair = [f for f in fields if may_show(f.sample.source) and len(f.tables[cut].truth_id) >= LEAST]
    chosen: dict[str, Field] = {}
    for f in sorted(fair, key=lambda f: (f.by_cut[cut].mean("things")[0], f.sample.name)):
        chosen.setdefault(f.sample.group, f)
    return list(chosen.values())[:rows]


def may_show(source: str) -> bool:
    """Whether the card of a data set says that its images may be passed on."""
    return card(source).front["licence"]["redistribution"] is True


def failures(fields: Sequence[Field], cut: float) -> Failures | None:
    """Draw the worst fields and a typical mistake of each kind; None where no licence allows it."""
    shown = worst(fields, cut)
    if not shown:
        return None
    rows, captions = [_headings()], []
    for letter, f in zip("ABCDEFGH", shown, strict=False):
        rows.append(_row(f, cut, letter))
        captions.append(_caption(f, cut, letter))
    close = _closeups([f for f in fields if may_show(f.sample.source)])
    if close:
        rows.append(_line(["typical mistakes: thin white = label, thick yellow = prediction"], 3 * SIDE + 2 * GAP))
        rows.append(_beside([picture for picture, _ in close]))
        captions.append("**Bottom row**, a mistake of each kind, of the median size of its kind: "
                        + "; ".join(said for _, said in close) + ".")  # fmt: skip
    sources = sorted({f.sample.source for f in (*shown, *(f for f in fields if may_show(f.sample.source)))})
    return Failures(stack(rows), tuple(captions), tuple(_credit(s) for s in sources))


def png(picture: np.ndarray, most: int = MOST_BYTES) -> bytes:
    """A PNG of at most `most` bytes: with fewer colours, then smaller, until it fits."""
    image = Image.fromarray(picture)
    while True:
        for colours in (256, 128, 64):
            out = io.BytesIO()
            image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
            if out.tell() <= most:
                return out.getvalue()
        image = image.resize((image.width * 9 // 10, image.height * 9 // 10), Image.Resampling.LANCZOS)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure so that the same figure gives the same bytes."""
    figure.savefig(path, dpi=100, metadata={"Software": None})


def _row(f: Field, cut: float, letter: str) -> np.ndarray:
    truth, things = f.sample.truth, f.tables[cut]
    assert truth is not None
    window, scale = _window(f, things)
    found, missed = _split(things.truth_id, things.truth_iou)
    right, wrong = _split(things.found_id, things.found_iou)
    image = f.image[window]
    plain = _enlarged(image, scale)
    write(plain, letter, 4, 8, 2 * LETTERS, halo=True)
    if f.sample.pixel_size_um:
        plain = scale_bar(plain, f.sample.pixel_size_um / scale)
    labels = _outlined(image, truth.ids[window], found, missed, CROSS, scale)
    said = _outlined(image, f.found.ids[window], right, wrong, TRIANGLE, scale)
    return _beside([plain, labels, said])


def _window(f: Field, things: ThingTable) -> tuple[tuple[slice, slice], float]:
    """The square with most mistakes, about `THINGS_ACROSS` median things wide, and how much it is enlarged."""
    truth = f.sample.truth
    assert truth is not None
    area = np.median([s.area for s in truth.things])
    side = int(min(THINGS_ACROSS * np.sqrt(area), *truth.size))
    missed, false = _split(things.truth_id, things.truth_iou)[1], _split(things.found_id, things.found_iou)[1]
    weight = np.zeros(truth.size)
    for ids, wrong in ((truth.ids, missed), (f.found.ids, false)):
        for r, c in _middles(np.where(np.isin(ids, wrong), ids, 0)):
            weight[r, c] += 1
    sums = np.pad(weight.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    best = np.argwhere(inside == inside.max())
    top, left = best[len(best) // 2]
    return (slice(int(top), int(top) + side), slice(int(left), int(left) + side)), SIDE / side


def _middles(ids: np.ndarray) -> list[tuple[int, int]]:
    numbers = np.unique(ids)
    numbers = numbers[numbers > 0]
    return [(int(r), int(c)) for r, c in ndimage.center_of_mass(ids > 0, ids, numbers)] if len(numbers) else []


def _split(ids: np.ndarray, ious: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids of the right ones and of the wrong ones."""
    return ids[ious > 0], ids[ious == 0]


def _enlarged(image: np.ndarray, scale: float) -> np.ndarray:
    size = tuple(round(n * scale) for n in image.shape[1::-1])
    return np.array(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BICUBIC))


def _enlarged_ids(ids: np.ndarray, scale: float) -> np.ndarray:
    rows, columns = (((np.arange(round(n * scale)) + 0.5) / scale).astype(int).clip(max=n - 1) for n in ids.shape)
    return ids[rows][:, columns]


def _outlined(image: np.ndarray, ids: np.ndarray, right: np.ndarray, wrong: np.ndarray, sign: str, scale: float
              ) -> np.ndarray:
    picture, large = _enlarged(image, scale), _enlarged_ids(ids, scale)
    _draw(picture, np.where(np.isin(large, right), large, 0), RIGHT, 1)
    bad = np.where(np.isin(large, wrong), large, 0)
    _draw(picture, bad, WRONG, 3)
    for r, c in _middles(bad):
        _sign(picture, r, c, sign)
    return picture


def _draw(picture: np.ndarray, ids: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    """A line along the inside of each region, with a dark rim outside that lifts it off, in place."""
    outside = ndimage.binary_dilation(ids > 0) & (ids == 0)
    picture[outside] = (picture[outside] * 0.4).astype(np.uint8)
    picture[inner_border(ids, width)] = colour


def _sign(picture: np.ndarray, row: int, column: int, sign: str, reach: int = 8) -> None:
    """A black cross or triangle with a white rim, in place; at the edge as much of it as fits."""
    r, c = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    if sign == CROSS:
        mark = (np.abs(np.abs(r) - np.abs(c)) <= 1) & (np.abs(r) <= reach - 3)
    else:
        mark = (r <= reach - 4) & (np.abs(c) * 1.7 <= r + reach - 3)
    rim = ndimage.binary_dilation(mark, iterations=2)
    for shape, colour in ((rim, (255, 255, 255)), (mark, DARK)):
        y, x = (n[shape] + at for n, at in ((r, row), (c, column)))
        fits = (y >= 0) & (x >= 0) & (y < picture.shape[0]) & (x < picture.shape[1])
        picture[y[fits], x[fits]] = colour


def _closeups(fields: Sequence[Field]) -> list[tuple[np.ndarray, str]]:
    """For each kind of mistake the one of median size, drawn, and where it is."""
    places: dict[str, list[tuple[int, str, Field, np.ndarray]]] = {kind: [] for kind in KINDS}
    for f in fields:
        assert f.sample.truth is not None
        for kind, mask in _mistakes(f.sample.truth, f.found, separation_errors(f.sample.truth, f.found, f.ignore)):
            places[kind].append((int(mask.sum()), f.sample.name, f, np.argwhere(mask)))
    side = (3 * SIDE + 2 * GAP - (len(KINDS) - 1) * GAP) // len(KINDS)
    out = []
    for kind, rows in places.items():
        rows = [row for row in rows if row[3].min() > 0 and (row[3].max(0) < np.array(row[2].sample.size) - 1).all()]
        if rows:
            _, _, f, pixels = sorted(rows, key=lambda row: row[:2])[len(rows) // 2]
            out.append((_closeup(f, pixels, side, KINDS[kind]), f"{KINDS[kind]} ({_place(f)})"))
    return out


def _mistakes(truth: Panoptic, found: Panoptic, errors: Separation) -> list[tuple[str, np.ndarray]]:
    kinds = {
        "missed": [truth.ids == t for t in errors.missed],
        "joined": [np.isin(truth.ids, m.truths) for m in errors.merges],
        "pieces": [truth.ids == s.truth for s in errors.splits],
        "invented": [found.ids == p for p in errors.invented],
        "outline": [truth.ids == t for t, _ in errors.poor],
    }
    return [(kind, mask) for kind, masks in kinds.items() for mask in masks]


def _closeup(f: Field, pixels: np.ndarray, side: int, title: str) -> np.ndarray:
    """A square around some pixels, labels in white and prediction in yellow, under a title."""
    assert f.sample.truth is not None
    low, high = pixels.min(0), pixels.max(0) + 1
    reach = int(min(max(2.2 * max(high - low), 24), *f.sample.size))
    top, left = (int(min(max((a + b - reach) // 2, 0), n - reach)) for a, b, n in zip(low, high, f.sample.size,
                                                                                      strict=True))  # fmt: skip
    window, scale = (slice(top, top + reach), slice(left, left + reach)), side / reach
    picture = _enlarged(f.image[window], scale)
    things = [_things(p, window) for p in (f.found, f.sample.truth)]
    _draw(picture, _enlarged_ids(things[0], scale), WRONG, 4)
    _draw(picture, _enlarged_ids(things[1], scale), RIGHT, 2)
    r, c = ((pixels.mean(0) + 0.5 - (top, left)) * scale).astype(int)
    _sign(picture, int(r), int(c), TRIANGLE if title == KINDS["invented"] else CROSS)
    return stack([_line([title], side), picture])


def _things(panoptic: Panoptic, window: tuple[slice, slice]) -> np.ndarray:
    ids = panoptic.ids[window]
    return np.where(np.isin(ids, [s.id for s in panoptic.things]), ids, 0)


def _headings() -> np.ndarray:
    return _line(["image", "label: missed = thick, cross", "prediction: false = thick, triangle"], 3 * SIDE + 2 * GAP)


def _line(words: Sequence[str], width: int) -> np.ndarray:
    """Words on white at equal distances."""
    strip = np.full((line_height(LETTERS) + 6, width, 3), 255, np.uint8)
    for i, text in enumerate(words):
        size = LETTERS
        while text_width(text, size) > width // len(words) - 6 and size > 10:
            size -= 1
        write(strip, text, 3, i * (SIDE + GAP) + 2, size)
    return strip


def _beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height in a row, with white below."""
    white = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    row = np.concatenate([part for p in pictures for part in (p, white)][:-1], 1)
    return np.concatenate([row, np.full((GAP, row.shape[1], 3), 255, np.uint8)])


def _place(f: Field) -> str:
    """A field for people: set, group and both ends of a long name."""
    name = f.sample.name if len(f.sample.name) <= 24 else f"{f.sample.name[:8]}...{f.sample.name[-4:]}"
    return f"{f.sample.source}, {f.sample.group}, {name}" if name != f.sample.group else f"{f.sample.source}, {name}"


def _caption(f: Field, cut: float, letter: str) -> str:
    c = f.by_cut[cut]
    tp, fp, fn = (int(n.sum()) for n in (c.tp, c.fp, c.fn))
    return (f"**{letter}**, {_place(f)}: {tp + fn} labelled, {tp} of them matched, {fn} missed, {fp} false, PQ "
            f"{number(c.mean('things')[0])}.")  # fmt: skip


def _credit(source: str) -> str:
    front = card(source).front
    return f"{source}: {front['citation']}; {front['url']}; {front['licence']['name']}; outlines drawn by this project"
