"""The painter: same seed, same bytes; exact truth; every knob turns what it says."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import laplace

from pano_med.synthetic import Knobs, SyntheticTile, he_tile
from pano_med.synthetic.cells import KINDS, Cells
from pano_med.synthetic.noise import endless, smooth, spread
from pano_med.synthetic.nuclei import canvas, paint
from pano_med.synthetic.scanner import scan
from pano_med.synthetic.stain import LOOKS, Look, choose, light
from pano_med.types import HE_CORE

BUSY = {"tissue": 1.0, "tumour_fraction": 0.5}


def digest(tile: SyntheticTile) -> str:
    return hashlib.sha256(tile.image.tobytes() + tile.truth.ids.tobytes()).hexdigest()


def areas(tile: SyntheticTile, category: str) -> np.ndarray:
    """Areas in um2 of the whole nuclei of a class (those that touch the rim are cut)."""
    ids = tile.truth.ids
    rim = {*ids[0], *ids[-1], *ids[:, 0], *ids[:, -1]}
    wanted = HE_CORE[category].id
    return (
        np.array([s.area for s in tile.truth.things if s.category_id == wanted and s.id not in rim])
        * tile.pixel_size_um**2
    )


def share(tile: SyntheticTile, category: str) -> float:
    return float((tile.truth.semantic() == HE_CORE[category].id).mean())


# ---------------------------------------------------------------- same seed, same bytes


def test_the_same_seed_gives_the_same_bytes_in_other_processes() -> None:
    code = (
        "import hashlib; from pano_med.synthetic import he_tile; t = he_tile(11, (96, 160));"
        "print(hashlib.sha256(t.image.tobytes() + t.truth.ids.tobytes()).hexdigest())"
    )
    outside = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    ]
    assert outside == [digest(he_tile(11, (96, 160)))] * 2


def test_another_seed_gives_another_tile_and_the_global_generator_is_left_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert digest(he_tile(1, (64, 64))) != digest(he_tile(2, (64, 64)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_importing_the_painter_does_not_import_torch() -> None:
    code = "import sys, pano_med.synthetic; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


# ---------------------------------------------------------------- truth


@settings(deadline=None, derandomize=True, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    height=st.integers(32, 150),
    width=st.integers(32, 150),
    pixel=st.sampled_from([0.1, 0.25, 0.5, 1.0, 2.0]),
    crowding=st.sampled_from([0.0, 0.5, 3.0]),
    size=st.sampled_from([0.5, 1.0, 2.0]),
    tumour=st.sampled_from([None, 0.0, 0.5, 1.0]),
    tissue=st.sampled_from([None, 0.0, 0.5, 1.0]),
)
def test_every_pixel_has_a_class_at_any_size(seed, height, width, pixel, crowding, size, tumour, tissue) -> None:
    tile = he_tile(seed, (height, width), Knobs(crowding, 0.5, size=size, tumour_fraction=tumour, tissue=tissue), pixel)
    assert tile.image.shape == (height, width, 3)
    assert tile.image.dtype == np.uint8
    assert tile.truth.size == (height, width)
    assert tile.truth.pixel_size_um == tile.pixel_size_um == pixel
    assert tile.truth.taxonomy is HE_CORE
    assert tile.truth.ids.min() > 0  # no void
    assert len({s.category_id for s in tile.truth.stuff}) == len(tile.truth.stuff)  # one segment per class of stuff
    assert crowding > 0 or not tile.truth.things
    assert {s.category_id for s in tile.truth.things} <= {HE_CORE[k.category].id for k in KINDS.values()}


def test_the_truth_lies_where_the_ink_is() -> None:
    """Nuclei are darker than what surrounds them, background is the brightest thing in the picture."""
    knobs = Knobs(variation=0, blur=0.2, tissue=0.7, tumour_fraction=0.4)
    for seed in range(4):
        tile = he_tile(seed, (256, 256), knobs)
        red, semantic = tile.image[..., 0].astype(float), tile.truth.semantic()
        nuclei = np.isin(semantic, [c.id for c in HE_CORE.things])
        glass = semantic == HE_CORE["background"].id
        tissue = ~nuclei & ~glass
        # a randomly drawn nuclear pixel is darker in red than a tissue pixel, and that than a glass pixel
        rng = np.random.default_rng(0)
        dark, middle, bright = (rng.choice(red[m], 4000) for m in (nuclei, tissue, glass))
        assert (dark < middle).mean() > 0.93
        assert (middle < bright).mean() > 0.93


def test_a_single_nucleus_is_outlined_to_the_pixel() -> None:
    """Where nothing else lies, the dark pixels around a lone nucleus are those of its truth."""
    tile = he_tile(5, (256, 256), Knobs(crowding=0.1, variation=0, blur=0, tissue=1, tumour_fraction=0), 0.25)
    things = [s for s in tile.truth.things if s.area > 400]
    assert things
    for s in things:
        inside = tile.truth.ids == s.id
        rows, columns = np.nonzero(inside)
        window = slice(max(rows.min() - 4, 0), rows.max() + 5), slice(max(columns.min() - 4, 0), columns.max() + 5)
        alone = np.isin(tile.truth.ids[window], [t.id for t in tile.truth.things]) == inside[window]
        red = tile.image[window][..., 0]
        core = np.median(red[inside[window]])
        around = np.median(red[~inside[window] & alone])
        dark = red < (core + around) / 2
        both, either = (dark & inside[window])[alone].sum(), (dark | inside[window])[alone].sum()
        assert both / either > 0.6, f"nucleus {s.id}: {both / either:.2f}"


def two_lymphocytes(apart_um: float, overlap: float) -> tuple[np.ndarray, dict[int, str]]:
    """Ids and classes of two lymphocytes of 8 um side by side on an empty canvas of 0.5 um pixels."""
    centre = np.array([[12.0, 12.0], [12.0, 12.0 + apart_um]])
    pair = Cells(["lymphocyte"] * 2, centre, np.full((2, 2), 4.0), np.zeros(2), np.full((2, 16), 0.5))
    on = canvas(np.random.default_rng(0), np.zeros((48, 96), np.float32), np.zeros((48, 96), np.float32), 0.5)
    return on.ids, paint(on, pair, Knobs(overlap=overlap))


def test_where_nuclei_overlap_the_upper_one_wins() -> None:
    alone = two_lymphocytes(20, 0.0)[0]
    upper = np.roll(alone == 2, -32, axis=1)  # 16 um = 32 px to the left: 4 um apart
    ids, names = two_lymphocytes(4, 1.0)
    assert names == {1: "inflammatory nucleus", 2: "inflammatory nucleus"}
    np.testing.assert_array_equal(ids == 2, upper)
    np.testing.assert_array_equal(ids == 1, (alone == 1) & ~upper)
    assert 150 < (alone == 1).sum() < 260  # a disc of 16 px: 201


def test_a_nucleus_that_would_hide_too_much_is_left_out() -> None:
    """4 um apart, discs of radius 4 um share 39 % of their area: allowed from overlap 0.6 (40 %) on."""
    assert len(two_lymphocytes(4, 0.0)[1]) == len(two_lymphocytes(4, 0.4)[1]) == 1
    assert len(two_lymphocytes(4, 0.8)[1]) == len(two_lymphocytes(10, 0.0)[1]) == 2


@pytest.mark.parametrize("pixel", [0.25, 0.5])
def test_nuclei_have_the_size_of_real_ones(pixel) -> None:
    tiles = [he_tile(seed, (384, 384), Knobs(overlap=0, **BUSY), pixel) for seed in range(5)]
    for category, low, high in [
        ("neoplastic nucleus", 35, 150),
        ("inflammatory nucleus", 22, 52),
        ("connective nucleus", 20, 75),
    ]:
        found = np.concatenate([areas(t, category) for t in tiles])
        assert len(found) > 10
        assert low < np.median(found) < high, f"{category}: median {np.median(found):.0f} um2"
        assert found.max() < 400


# ---------------------------------------------------------------- knobs


def mean_over_seeds(measure, **knobs) -> float:
    return float(np.mean([measure(he_tile(seed, (160, 160), Knobs(**knobs))) for seed in range(4)]))


def count(tile: SyntheticTile) -> int:
    return len(tile.truth.things)


def test_crowding_adds_nuclei_and_zero_paints_none() -> None:
    low, mid, high = (mean_over_seeds(count, crowding=c, **BUSY) for c in (0.3, 1.0, 3.0))
    assert low * 1.5 < mid
    assert mid * 1.15 < high
    assert mean_over_seeds(count, crowding=0, **BUSY) == 0


def shared_rim(tile: SyntheticTile) -> float:
    """Pairs of neighbouring pixels that belong to two nuclei, per nucleus."""
    ids = np.where(np.isin(tile.truth.ids, [s.id for s in tile.truth.things]), tile.truth.ids, 0)
    pairs = [(ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1])]
    return sum(int(((a != b) & (a > 0) & (b > 0)).sum()) for a, b in pairs) / max(count(tile), 1)


def test_overlap_lets_nuclei_cover_each_other() -> None:
    none, some, much = (mean_over_seeds(shared_rim, overlap=o, crowding=2, **BUSY) for o in (0, 0.5, 1))
    assert none < some / 2
    assert some * 1.3 < much


def test_stain_darkens() -> None:
    pale, plain, dark = (mean_over_seeds(lambda t: t.image.mean(), stain=s, **BUSY) for s in (0.3, 1, 2))
    assert pale > plain + 10 > dark + 20


def test_variation_spreads_the_looks() -> None:
    def spread_of(v):
        return np.std(
            [he_tile(s, (64, 64), Knobs(crowding=0, variation=v, tissue=0)).image.mean((0, 1)) for s in range(12)],
            axis=0,
        ).mean()

    assert spread_of(0) < 0.5
    assert spread_of(1) > 5


def test_blur_softens() -> None:
    edges = lambda t: np.abs(laplace(t.image[..., 1].astype(float))).mean()  # noqa: E731
    sharp, plain, soft = (mean_over_seeds(edges, blur=b, variation=0, **BUSY) for b in (0, 0.5, 3))
    assert sharp > plain * 1.2 > soft * 1.2


def test_size_scales_the_nuclei() -> None:
    small, plain, large = (
        np.median(
            np.concatenate(
                [
                    areas(he_tile(s, (192, 192), Knobs(size=f, overlap=0, **BUSY)), "neoplastic nucleus")
                    for s in range(4)
                ]
            )
        )
        for f in (0.6, 1.0, 1.6)
    )
    assert 0.2 < small / plain < 0.6
    assert 1.6 < large / plain < 3.5


def test_tumour_fraction_fills_the_tile() -> None:
    bare = {"tissue": 1.0, "crowding": 0.0}
    none, half, full = (mean_over_seeds(lambda t: share(t, "tumour"), tumour_fraction=f, **bare) for f in (0, 0.5, 1))
    assert none == 0
    assert 0.2 < half < 0.7
    assert full > 0.7


def test_tissue_bares_the_glass() -> None:
    glass = [mean_over_seeds(lambda t: share(t, "background"), tissue=f) for f in (1, 0.5, 0)]
    assert glass[0] < 0.4
    assert glass[0] < glass[1] < 1
    assert glass[2] == 1
    assert mean_over_seeds(count, tissue=0) == 0


def test_look_and_camera_never_change_the_truth() -> None:
    plain = he_tile(3, (128, 128)).truth.ids
    for knobs in (Knobs(stain=2), Knobs(blur=3), Knobs(variation=0)):
        np.testing.assert_array_equal(he_tile(3, (128, 128), knobs).truth.ids, plain)


# ---------------------------------------------------------------- parts


def test_noise_has_mean_0_and_deviation_1_and_endless_noise_no_seam() -> None:
    rng = np.random.default_rng(0)
    field = smooth(rng, (400, 500), (5, 9))
    assert field.shape == (400, 500)
    assert abs(field.mean()) < 0.1
    assert abs(field.std() - 1) < 0.1
    tile = endless(rng, 64, (6, 16))
    inner = np.abs(np.diff(tile, axis=0)).max(), np.abs(np.diff(tile, axis=1)).max()
    assert np.abs(tile[0] - tile[-1]).max() <= inner[0]
    assert np.abs(tile[:, 0] - tile[:, -1]).max() <= inner[1]


def test_splines_reproduce_a_plane() -> None:
    """A cubic B-spline over values on a plane is that plane."""
    lattice = np.add.outer(np.arange(8.0), 3 * np.arange(9.0))
    rows, columns = np.linspace(1, 5.9, 11), np.linspace(1, 6.9, 13)
    np.testing.assert_allclose(spread(lattice, rows, columns), np.add.outer(rows, 3 * columns), atol=1e-4)


def test_light_follows_beer_and_lambert() -> None:
    look = Look(np.array([200.0, 100.0, 50.0]), np.array([1.0, 0.0, 2.0]), np.array([0.0, 1.0, 0.0]), np.zeros(3))
    got = light(
        look, np.array([[0.0, 1.0]], np.float32), np.array([[0.0, 2.0]], np.float32), np.zeros((1, 2), np.float32)
    )
    want = [[[200, 200 * np.exp(-1)]], [[100, 100 * np.exp(-2)]], [[50, 50 * np.exp(-2)]]]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_without_variation_every_tile_has_the_first_look() -> None:
    looks = [choose(np.random.default_rng(s), 1.0, 0.0) for s in range(3)]
    glass, blue, *_ = next(iter(LOOKS.values()))
    for look in looks:
        np.testing.assert_allclose(look.glass, glass)
        np.testing.assert_allclose(look.haematoxylin, blue)


def test_the_scanner_keeps_an_even_field_even() -> None:
    flat = np.full((3, 40, 50), 128, np.float32)
    out = scan(np.random.default_rng(0), flat, 0.5, 0.35, 0.0)
    assert out.shape == (40, 50, 3)
    assert abs(float(out.mean()) - 128) < 2
    assert out.std() < 4


def test_the_image_of_a_tile_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        he_tile(0, (32, 32)).image[0, 0] = 0


# ---------------------------------------------------------------- one clear sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crowding", -0.1),
        ("overlap", 1.1),
        ("stain", 0),
        ("variation", 2),
        ("blur", -1),
        ("size", 3),
        ("tumour_fraction", 1.5),
        ("tissue", -1),
        ("stain", float("nan")),
    ],
)
def test_a_knob_out_of_range_is_named(name, value) -> None:
    with pytest.raises(ValueError, match=f"knob {name} must lie between"):
        Knobs(**{name: value})


@pytest.mark.parametrize("value", ["much", None, True])
def test_a_knob_must_be_a_number(value) -> None:
    with pytest.raises(TypeError, match="knob crowding must be a number from 0 to 3, got"):
        Knobs(crowding=value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be an integer from 0"),
        ({"seed": 1.5}, ValueError, "seed must be an integer from 0"),
        ({"size": (31, 64)}, ValueError, r"size must be \(H, W\) of at least 32 pixels"),
        ({"size": (64, 64, 3)}, ValueError, r"size must be \(H, W\)"),
        ({"pixel_size_um": 0.01}, ValueError, "pixel_size_um must lie between 0.1 and 2.0 um, got 0.01"),
        ({"pixel_size_um": float("nan")}, ValueError, "pixel_size_um must lie between"),
        ({"knobs": {"stain": 1}}, TypeError, "knobs must be a Knobs, got dict"),
    ],
)
def test_bad_arguments_get_one_sentence(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        he_tile(**{"seed": 0, "size": (32, 32)} | arguments)


def test_a_tile_checks_its_image() -> None:
    tile = he_tile(0, (32, 40))
    with pytest.raises(ValueError, match=r"a tile's image must be \(H, W, 3\) uint8"):
        SyntheticTile(tile.image[:, :32], tile.truth, 0.5)
