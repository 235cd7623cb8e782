"""PanopTILs on small copies of its two published layouts: folders of PNG and CSV, and one parquet."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from card_cases import at, boxes, names, picture, put
from PIL import Image

from pano_med import data


def panoptils(root: Path, **codes: int) -> None:
    """rgbs/*.png, masks/*.png (region, nucleus class), csv/*.csv with coords_x, coords_y (CellViT++, MuTILs)."""
    stem = "TCGA-A1-A0SK-DX1_roi0_left-10_top-20"
    put(root / "tcga" / "rgbs" / f"{stem}.png", picture(32, 32))
    region = boxes(32, 32, (0, 0, 32, 32, 1), (0, 24, 32, 32, 8), (28, 0, 32, 8, 0), (20, 0, 24, 8, 5))
    nuclei = np.full((32, 32), 9, np.uint8)
    nuclei[4:10, 4:16] = 1  # two cancer nuclei that touch
    nuclei[14:18, 4:8] = 4
    nuclei[14:18, 12:16] = codes.get("odd", 0)
    put(root / "tcga" / "masks" / f"{stem}.png", np.dstack([region, nuclei, np.zeros_like(region)]))
    (root / "tcga" / "csv").mkdir(exist_ok=True)
    (root / "tcga" / "csv" / f"{stem}.csv").write_text("group,coords_x,coords_y\nC,6.5,7\nC,13,7.2\n")


def test_panoptils_cuts_touching_nuclei_between_their_centres(tmp_path: Path) -> None:
    panoptils(tmp_path)
    (s,) = data.load("panoptils", tmp_path)
    assert names(s) == ["background", "inflammatory nucleus", "neoplastic nucleus", "neoplastic nucleus", "tumour"]
    assert sorted(t.area for t in s.truth.things) == [16, 36, 36]  # the one without centre is whole
    assert s.ignore[30, 2]  # excluded region
    assert s.ignore[15, 13]  # excluded nucleus
    assert s.ignore[21, 2]  # junk has no place in he-core
    assert s.ignore.sum() == 32 + 16 + 32
    assert s.group == "TCGA-A1-A0SK"
    assert at(data.load("panoptils", tmp_path, own=True)[0], 21, 2) == "junk"


def test_panoptils_with_strange_files(tmp_path: Path) -> None:
    panoptils(tmp_path, odd=11)
    with pytest.raises(ValueError, match=r"\.png has type codes \[11\], known are \[1, 2, 3, 4, 5, 6, 7, 8, 9\]"):
        data.load("panoptils", tmp_path)
    panoptils(tmp_path)
    next(tmp_path.rglob("*.csv")).write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"must have the columns coords_x and coords_y, it has \['x', 'y'\]"):
        data.load("panoptils", tmp_path)
    put(next(tmp_path.rglob("masks/*.png")), boxes(32, 32))
    with pytest.raises(ValueError, match=r"must have channels for regions and nuclei, .* has shape \(32, 32, 1\)"):
        data.load("panoptils", tmp_path)


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_panoptils_refined_is_one_parquet(tmp_path: Path) -> None:
    """Columns image, inst, type, sem with PNGs (torch-em)."""
    inst = boxes(16, 16, (2, 2, 6, 6, 700), (6, 2, 9, 6, 701), dtype=np.uint16)
    types, sem = boxes(16, 16, (2, 2, 6, 6, 1), (6, 2, 9, 6, 6)), boxes(16, 16, (0, 0, 16, 10, 2))
    row = {"image": png(picture(16, 16)), "inst": png(inst), "type": png(types), "sem": png(sem)}
    pq.write_table(pa.Table.from_pylist([row, row, row]), tmp_path / "panoptils_refined.parquet", row_group_size=2)
    samples = data.load("panoptils_refined", tmp_path)
    assert [s.name for s in samples] == ["00000", "00001", "00002"]
    assert all(names(s) == ["neoplastic nucleus", "nucleus", "other tissue"] for s in samples)
    assert samples[2].ignore.sum() == 16 * 6
    with pytest.raises(ValueError, match="splits.json has no place"):
        data.load_split("panoptils_refined", tmp_path)
    pq.write_table(pa.Table.from_pylist([{"image": row["image"]}]), tmp_path / "panoptils_refined.parquet")
    with pytest.raises(ValueError, match="must hold the columns inst, type, sem, it lacks inst, type, sem"):
        data.load("panoptils_refined", tmp_path)
    (tmp_path / "panoptils_refined.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(OSError, match="cannot read the table"):
        data.load("panoptils_refined", tmp_path)


