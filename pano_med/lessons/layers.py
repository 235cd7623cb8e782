"""record: watch an image flow through a network, module by module, by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pano_med.lessons.recorded import Layer
from pano_med.models import EfficientPS, TwoNetworks
from pano_med.models.efficientps import pad_batch, padded_size

#: Channels kept of a layer, cells kept along a side of a map, and layers kept in all.
CHANNELS, SIDE, MOST = 64, 64, 200
#: Without `names`, modules down to this depth are recorded ("fpn.output.0" has depth 3).
DEPTH = 3
#: Shares of the gradient that lie inside the two marked fields.
SHARES = (0.5, 0.95)
#: Sides of an image that fit the time and memory of a lesson.
SMALLEST, LARGEST = 32, 768


def record(model: nn.Module, image: np.ndarray, names: Sequence[str] | None = None, sees: bool = True
           ) -> tuple[Layer, ...]:
    """Send one image through a network and keep what its modules made of it.

    The network is used as in prediction (its mode is put back afterwards). A module that is called several times, once
    for each pyramid level, becomes several layers. Of modules that work on cut-out regions the first, most certain
    region is kept.

    Args:
        model: `EfficientPS`, `TwoNetworks`, or any module that takes (1, 3, H, W) pixels 0..1.
        image: (H, W, 3) uint8, 32 to 768 pixels a side.
        names: patterns of module names, e.g. ["backbone.blocks.*", "fpn.output.*"], where * stands for anything
            between two dots; None = all modules down to depth 3.
        sees: also measure how far each cell looks (one backward pass a layer, the slow part).

    Returns:
        The layers in the order in which the image reached them; see `Layer` for how they are kept small.

    Raises:
        ValueError: not such an image, or no module has such a name.
        TypeError: the model is not a torch module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"record needs a torch module, got {type(model).__name__}; load_segmenter().model is one")
    _check(image)
    found = _chosen(model, names)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255)
    pixels = pixels.to(next(model.parameters(), pixels).device).requires_grad_(sees)
    caught: list[tuple[Layer, Tensor]] = []
    probes: dict[int, Tensor | None] = {}  # by output: a Sequential and its last part return one tensor
    calls: dict[str, int] = {}

    def keep(name: str, module: nn.Module, out: object) -> None:
        for tensor in _maps(out)[: MOST - len(caught)]:
            calls[name] = calls.get(name, 0) + 1
            label = name if calls[name] == 1 else f"{name} #{calls[name]}"
            caught.append((_layer(label, module, tensor), tensor))
            if id(tensor) not in probes:
                probes[id(tensor)] = _probe(tensor) if sees else None

    was = model.training
    try:
        with _hooks(found, keep), torch.set_grad_enabled(sees):
            _run(model.eval(), pixels)
    finally:
        model.train(was)
    if not caught:
        raise ValueError(f"none of the {len(found)} chosen modules was used for this image or made maps; "
                         "choose others with `names`")
    span = padded_size(pixels) if isinstance(model, (EfficientPS, TwoNetworks)) else (pixels.shape[1], pixels.shape[2])
    fields = {key: _field(probe, pixels) for key, probe in probes.items()}
    return tuple(_placed(layer, span, fields[id(out)]) if len(out) == 1 else layer for layer, out in caught)


def activation_bytes(model: nn.Module, image: np.ndarray) -> int:
    """Bytes of everything that the innermost modules write while one image flows through.

    Training has to keep (nearly) all of it for the backward pass; prediction may forget it at once.

    Args:
        model: as for `record`.
        image: as for `record`.
    """
    _check(image)
    total = 0

    def add(_: str, __: nn.Module, out: object) -> None:
        nonlocal total
        total += sum(t.numel() * t.element_size() for t in _flat(out))

    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255)
    leaves = {name: m for name, m in model.named_modules() if not list(m.children())}
    with _hooks(leaves, add), torch.no_grad():
        _run(model.eval(), pixels.to(next(model.parameters(), pixels).device))
    return total


def _check(image: np.ndarray) -> None:
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"an image must be (H, W, 3) uint8, got {image.shape} of {image.dtype}")
    if min(image.shape[:2]) < SMALLEST or max(image.shape[:2]) > LARGEST:
        raise ValueError(f"the image must have {SMALLEST} to {LARGEST} pixels a side, got {image.shape[:2]}; "
                         "cut a part out of it")


def _chosen(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """Modules by name that match a pattern, or all down to `DEPTH`."""
    modules = {name: m for name, m in model.named_modules() if name}
    if names is None:
        return {name: m for name, m in modules.items() if name.count(".") < DEPTH}
    if isinstance(names, str):
        names = [names]
    for pattern in names:
        if not any(_fits(name, pattern) for name in modules):
            first = ", ".join(list(modules)[:3])
            raise ValueError(f"no module is called {pattern!r}; names look like {first}, "
                             "and * stands for anything between two dots")
    return {name: m for name, m in modules.items() if any(_fits(name, pattern) for pattern in names)}


def _fits(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatch, parts, wanted))


@contextmanager
def _hooks(modules: dict[str, nn.Module], keep: Callable[[str, nn.Module, object], None]) -> Iterator[None]:
    """While inside, `keep(name, module, output)` hears of every call of these modules."""
    def hear(name: str) -> Callable[..., None]:
        return lambda module, _, out: keep(name, module, out)

    handles = [module.register_forward_hook(hear(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(model: nn.Module, pixels: Tensor) -> None:
    """One image through everything, by the parts, because a network's own prediction keeps no gradient."""
    if not isinstance(model, (EfficientPS, TwoNetworks)):
        model(pixels[None])
        return
    batch = pad_batch([pixels])
    if isinstance(model, EfficientPS):
        pyramid = model.pyramid(batch.tensors)
        model.semantic_head(*pyramid, size=tuple(batch.tensors.shape[-2:]))
        model.instance_head.detect(batch, pyramid)
    else:
        normalised = (batch.tensors - model.mean) / model.std
        model.semantic_net(normalised)
        model.instance_net.detect(batch, normalised)


def _maps(out: object) -> list[Tensor]:
    """The (B, C, H, W) tensors in a module's output."""
    return [t for t in _flat(out) if t.ndim == 4 and t.numel()]


def _layer(name: str, module: nn.Module, out: Tensor) -> Layer:
    """The strongest channels of the first image or region, few cells, 256 steps."""
    maps = out.detach()[0].float()
    shrunk = max(1, ceil(max(maps.shape[-2:]) / SIDE))
    small = F.avg_pool2d(maps, shrunk, ceil_mode=True, count_include_pad=False) if shrunk > 1 else maps
    order = maps.flatten(1).std(1, correction=0).argsort(descending=True, stable=True)[:CHANNELS]
    small = small[order]
    low, high = small.amin((1, 2)), small.amax((1, 2))
    steps = (small - low[:, None, None]) * (255 / (high - low).clamp(min=1e-12))[:, None, None]
    return Layer(name, type(module).__name__, tuple(maps.shape), sum(p.numel() for p in module.parameters()),
                 order.cpu().numpy(), steps.round().byte().cpu().numpy(), low.cpu().numpy(), high.cpu().numpy(), shrunk)


def _probe(out: Tensor) -> Tensor | None:
    """The summed strength of the middle cell, the start of a backward pass; None for cut-out regions."""
    if len(out) != 1 or out.grad_fn is None:
        return None
    middle = out[0, :, out.shape[2] // 2, out.shape[3] // 2].clone()  # copied: layers may write in place
    return (middle * middle.detach().sign()).sum()


def _field(probe: Tensor | None, pixels: Tensor) -> list[list[tuple[int, int]]] | None:
    """For each of `SHARES`, the rows and the columns from which the probe's gradient comes."""
    if probe is None:
        return None
    grad = torch.autograd.grad(probe, pixels, retain_graph=True, allow_unused=True)[0]
    if grad is None or not grad.any():
        return None
    strength = grad.abs().sum(0)
    return [[_run_of(strength.sum(1), share), _run_of(strength.sum(0), share)] for share in SHARES]


def _run_of(profile: Tensor, share: float) -> tuple[int, int]:
    """First and last (excluded) pixel of the run that leaves equal parts of a 1-D profile on both sides."""
    inside, rest = profile.double().cumsum(0) / profile.double().sum(), (1 - share) / 2
    return int((inside <= rest).sum()), min(len(inside), int((inside < 1 - rest).sum()) + 1)


def _placed(layer: Layer, span: tuple[int, int], field: list[list[tuple[int, int]]] | None) -> Layer:
    """The layer with its place in the image; the field becomes relative to the middle of the cell that was probed."""
    if field is None:
        return replace(layer, span=span)
    y, x = ((n // 2 + 0.5) * side / n for n, side in zip(layer.shape[1:], span, strict=True))
    ends = tuple((y - rows[0], x - columns[0], rows[1] - y, columns[1] - x) for rows, columns in field)
    return replace(layer, span=span, sees=ends)


def _flat(out: object) -> list[Tensor]:
    """The tensors in a module's output, however nested."""
    if isinstance(out, dict):
        out = list(out.values())
    if isinstance(out, (list, tuple)):
        return [tensor for part in out for tensor in _flat(part)]
    return [out] if isinstance(out, Tensor) else []
