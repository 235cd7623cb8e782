"""A folder of own images and labels becomes a data set: panoptic maps, a split by patient, and a card to complete."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from pano_med.data.duplicates import near_duplicates, thumbnail
from pano_med.data.files import read_rgb
from pano_med.data.identifiers import identifiers
from pano_med.data.own import MANY, MAPS_OUT, Drawn, Shape, labels, pictures
from pano_med.data.own_card import Facts, write_card
from pano_med.formats import coco_document, make_folder, read_image, replacing, write_png
from pano_med.formats.coco import rgb_from_ids
from pano_med.types import OKABE_ITO, Category, Panoptic, Taxonomy

#: Name of the region that is everything else, where only objects are drawn.
REST = "everything else"
#: Purple vanishes on H&E, black on dark pictures.
_COLORS = [rgb for name, rgb in OKABE_ITO.items() if name not in ("purple", "black")]


@dataclass(frozen=True)
class Wishes:
    """What a person may say of own data; everything else is found out.

    Attributes:
        things: classes that are objects.
        stuff: classes that are regions.
        rename: new name of a class.
        patients: a CSV of file name and patient, or a regular expression whose first bracket finds the patient in a
            file name; "" = each image is a patient of its own.
        validation: share of the images that are kept for validation; whole patients only.
        pixel_size_um: side of a pixel; None = what the files say.
        seed: of the draw.
    """

    things: tuple[str, ...] = ()
    stuff: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    patients: str = ""
    validation: float = 0.2
    pixel_size_um: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise ValueError(f"the share kept for validation lies between 0 and 1, got {self.validation}")
        if both := sorted(set(self.things) & set(self.stuff)):
            raise ValueError(f"a class is a thing or stuff, {both} are named as both")


def new(folder: str | Path, wishes: Wishes | None = None, say: Callable[[str], None] = lambda line: None) -> Path:
    """Make a data set of a folder. Images and labels stay as they are; what is written lies beside them.

    Written: `pano_med_labels/NAME.png` and `pano_med_labels.json` (the labels as COCO panoptic), `splits.json`,
    `card.sha256` and `card.md`. Run it again after a change; it replaces them.

    Args:
        folder: holds images (in `images`, or itself) and label maps, QuPath GeoJSON, or a COCO JSON.
        wishes: what the files cannot say.
        say: told each decision in a sentence.

    Returns:
        The card, for `read_card` and `pano-med train --data-set`.

    Raises:
        FileNotFoundError: no folder, images or labels.
        ValueError: labels that do not fit; an image that is not 8-bit; a patient that is not known.
        OSError: a file cannot be read or written.
    """
    folder, wishes = Path(folder), wishes or Wishes()
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; make it and put your images into its folder `images`")
    images = pictures(folder)
    sizes, um, small = _open(images, wishes)
    drawn, kind, _ = labels(folder, images, sizes)
    drawn = {stem: [_renamed(s, wishes.rename) for s in shapes] for stem, shapes in drawn.items()}
    left_out = sorted(set(images) - set(drawn))
    notes = [f"{len(left_out)} images have no label and are left out: {', '.join(left_out[:5])}"] if left_out else []
    taxonomy, more = _taxonomy(drawn, wishes, _name(folder))
    groups, split_by, told = _groups({s: images[s] for s in drawn}, {s: small[s] for s in drawn}, wishes)
    notes += more + told
    counts, objects, hidden = _write_maps(folder, images, sizes, um, drawn, taxonomy)
    if hidden:
        notes.append(f"{hidden} objects lie wholly under others and are left out")
    parts = _deal(groups, wishes)
    if not any("validation" in row for row in parts.values()):
        notes.append("there is one patient only, or no share to keep, so nothing is kept for validation")
    named = [line for path in images.values() for line in identifiers(path)]
    notes += named[:MANY] + ([f"... and {len(named) - MANY} more like this"] if len(named) > MANY else [])
    for line in notes:
        say(line)
    _put_json(folder / "splits.json", {_name(folder): {"groups": parts}})
    facts = Facts(_name(folder), folder, kind, images, groups, split_by, parts, um, taxonomy, counts, objects, notes)
    return write_card(facts)


def _name(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_")
    return name or "own_data"


def _open(
    images: Mapping[str, Path], wishes: Wishes
) -> tuple[dict[str, tuple[int, int]], dict[str, float | None], dict[str, np.ndarray]]:
    """Size, pixel size and thumbnail of each image; training must see the picture that a person sees."""
    sizes, um, small = {}, {}, {}
    for stem, path in images.items():
        image = read_image(path)
        if not np.array_equal(read_rgb(path), image.array):
            raise ValueError(
                f"an image must be plain 8-bit grey or RGB, {path} is not ({'; '.join(image.notes) or 'its colours'}); "
                "save it as 8-bit RGB PNG"
            )
        sizes[stem], small[stem] = image.size, thumbnail(image.array)
        um[stem] = wishes.pixel_size_um or image.pixel_size_um
    return sizes, um, small


def _renamed(shape: Shape, names: Mapping[str, str]) -> Shape:
    return Shape(names.get(shape.name, shape.name), shape.thing, shape.rows, shape.columns, shape.mask, shape.crowd)


def _taxonomy(drawn: Drawn, wishes: Wishes, name: str) -> tuple[Taxonomy, list[str]]:
    """Stuff first, then things; what the files do not say is decided by number and told."""
    shapes = [s for own in drawn.values() for s in own]
    classes = Counter(s.name for s in shapes)
    if strangers := sorted({*wishes.things, *wishes.stuff} - set(classes)):
        raise ValueError(f"no label has the class {strangers[0]!r}; there are {', '.join(sorted(classes)) or 'none'}")
    if not classes:
        raise ValueError("the labels are empty: no image has an object or a region; draw some first")
    things, notes = {}, []
    for label in sorted(classes):
        said = {s.thing for s in shapes if s.name == label} - {None}
        usual = classes[label] / max(1, sum(any(s.name == label for s in own) for own in drawn.values()))
        found = True in said or (not said and usual >= MANY)
        things[label] = label in wishes.things or (label not in wishes.stuff and found)
        if label not in (*wishes.things, *wishes.stuff):
            what, other = ("objects", "--stuff") if things[label] else ("a region", "--thing")
            notes.append(f"{label!r} ({usual:.3g} in an image) is taken as {what}; say {other} {label!r} if it is not")
    if all(things.values()):
        notes.append(f"only objects are drawn, so all between them is the region {REST!r}")
        things[REST] = False
    color = cycle(_COLORS)
    order = sorted(things, key=lambda label: things[label])  # stable
    rows = tuple(Category(i, label, things[label], next(color)) for i, label in enumerate(order, 1))
    return Taxonomy(name, rows), notes


def _groups(
    images: Mapping[str, Path], small: Mapping[str, np.ndarray], wishes: Wishes
) -> tuple[dict[str, str], str, list[str]]:
    """Patient of each image, and images that show the same picture joined."""
    told = []
    if wishes.patients.lower().endswith(".csv"):
        groups, by = _from_csv(Path(wishes.patients), images), "patient"
    elif wishes.patients:
        groups, by = _from_pattern(wishes.patients, images), "patient"
    else:
        groups, by = {stem: stem for stem in images}, "image"
        told = ["split by image: tiles of one patient may stand in both parts and flatter the scores; say --patients"]
    stems = list(images)
    pairs = near_duplicates([small[s] for s in stems], [small[s] for s in stems])
    joined = 0
    for i, j, _ in pairs:
        a, b = groups[stems[i]], groups[stems[j]]
        if a != b:
            joined += 1
            groups = {stem: a if group == b else group for stem, group in groups.items()}
    if joined:
        told.append(f"pairs of images that show nearly the same picture stay in one part ({joined} pairs)")
    return groups, by, told


def _from_pattern(pattern: str, images: Mapping[str, Path]) -> dict[str, str]:
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--patients {pattern!r} is no regular expression ({error}) and no .csv") from error
    if not rule.groups:
        raise ValueError(f"--patients needs a bracket around the patient, as in '(case\\d+)_.*', got {pattern!r}")
    hits = {stem: rule.search(path.name) for stem, path in images.items()}
    if lost := [stem for stem, hit in hits.items() if hit is None]:
        raise ValueError(f"--patients {pattern!r} finds no patient in {len(lost)} file names, first {lost[0]!r}")
    return {stem: hit[1] for stem, hit in hits.items() if hit}


def _from_csv(path: Path, images: Mapping[str, Path]) -> dict[str, str]:
    try:
        rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}; --patients names a CSV of file name and patient") from None
    told = {Path(row[0].strip()).stem: row[1].strip() for row in rows if len(row) > 1}
    if lost := sorted(set(images) - set(told)):
        raise ValueError(f"{path} has no patient for {len(lost)} images, first {lost[0]!r}; add rows of name, patient")
    return {stem: told[stem] for stem in images}


def _deal(groups: Mapping[str, str], wishes: Wishes) -> dict[str, dict[str, list[str]]]:
    """Whole groups, drawn until the share of images is reached; at least one is held and one is left."""
    members: dict[str, list[str]] = {}
    for stem, group in sorted(groups.items()):
        members.setdefault(group, []).append(stem)
    order = [sorted(members)[i] for i in np.random.default_rng(wishes.seed).permutation(len(members))]
    wanted, held, chosen = wishes.validation * len(groups), 0, set()
    for group in order:
        room = held == 0 or held + len(members[group]) <= wanted + 0.5
        if wanted and len(members) > 1 and held < wanted and room and len(chosen) < len(members) - 1:
            chosen.add(group)
            held += len(members[group])
    return {g: {"validation" if g in chosen else "train": members[g]} for g in sorted(members)}


def _write_maps(
    folder: Path,
    images: Mapping[str, Path],
    sizes: Mapping[str, tuple[int, int]],
    um: Mapping[str, float | None],
    drawn: Drawn,
    taxonomy: Taxonomy,
) -> tuple[Counter[int], dict[str, int], int]:
    """Write the maps one by one; objects of each category, of each image, and objects that vanished."""
    make_folder(folder / MAPS_OUT)
    for old in (folder / MAPS_OUT).glob("*.png"):
        if old.stem not in drawn:
            old.unlink()
    counts: Counter[int] = Counter()
    objects: dict[str, int] = {}
    hidden, document = 0, None
    for number, (stem, shapes) in enumerate(sorted(drawn.items()), 1):
        truth = paint(shapes, sizes[stem], taxonomy, um[stem])
        categories = [s.category_id for s in truth.things if not s.iscrowd]
        counts.update(categories)
        objects[stem] = len(categories)
        hidden += sum(taxonomy[s.name].isthing for s in shapes) - len(truth.things)
        write_png(folder / MAPS_OUT / f"{stem}.png", rgb_from_ids(truth.ids))
        page = coco_document([(images[stem].name, f"{stem}.png", truth)])
        page["images"][0]["id"] = page["annotations"][0]["image_id"] = number
        if document is None:
            document = page
        else:
            document["images"] += page["images"]
            document["annotations"] += page["annotations"]
    _put_json(folder / f"{MAPS_OUT}.json", document)
    return counts, objects, hidden


def paint(shapes: Sequence[Shape], size: tuple[int, int], taxonomy: Taxonomy, um: float | None = None) -> Panoptic:
    """One map of shapes: regions in their order, then objects, the smaller over the larger.

    Args:
        shapes: of classes of the taxonomy.
        size: (H, W).
        taxonomy: where it has the region `REST` and no shape of it, that is all that is left.
        um: side of a pixel.
    """
    ids = np.zeros(size, np.int32)
    if REST in taxonomy and not any(s.name == REST for s in shapes):
        ids[:] = taxonomy[REST].id
    classes = {c.id: c.id for c in taxonomy.stuff}
    crowds, number = [], max(classes, default=0)
    stuff = [s for s in shapes if not taxonomy[s.name].isthing]
    things = sorted((s for s in shapes if taxonomy[s.name].isthing), key=lambda s: -int(s.mask.sum()))
    for shape in [*stuff, *things]:
        category, value = taxonomy[shape.name], taxonomy[shape.name].id
        if category.isthing:
            number += 1
            value, classes[number] = number, category.id
            crowds += [number] if shape.crowd else []
        height, width = shape.mask.shape
        ids[shape.rows : shape.rows + height, shape.columns : shape.columns + width][shape.mask] = value
    return Panoptic.from_ids(ids, classes, taxonomy, um, crowds=crowds)


def _put_json(path: Path, document: Any) -> None:
    with replacing(path) as file:
        file.write(json.dumps(document, ensure_ascii=False, indent=1).encode())
