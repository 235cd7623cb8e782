"""Where a run computes: one CPU or GPU, or several processes by Fabric's own strategies, and what those agree on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.strategies import DDPStrategy
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import nn

from pano_med.training.config import TrainConfig

#: Processes wait this long for the first one, which validates alone.
_PATIENCE = timedelta(days=1)


def make_fabric(config: TrainConfig) -> Fabric:
    """Fabric for a config; nothing is started yet.

    Data-parallel processes look for parameters that a step did not use, because a batch without any drawn thing uses
    no instance head.
    """
    device = Fabric(accelerator=config.accelerator, devices=1).device
    alone = config.strategy == "auto" and config.devices == config.num_nodes == 1
    start = "fork" if config.strategy == "ddp_notebook" else "popen"
    strategy = DDPStrategy(start_method=start, find_unused_parameters=True, timeout=_PATIENCE)
    precision = _precision(config, device)
    # a plugin, because Fabric would replace float16 on a CPU by bfloat16
    plugin = None if precision == "32-true" else MixedPrecision(precision, device.type)
    return Fabric(
        accelerator=config.accelerator, devices=config.devices, num_nodes=config.num_nodes,
        strategy="auto" if alone else strategy, precision=None if plugin else precision,
        plugins=[plugin] if plugin else None,
    )  # fmt: skip


def is_first() -> bool:
    """True in the process that writes and speaks, told from the environment: before Fabric has started others, too."""
    node = os.environ.get("GROUP_RANK") or os.environ.get("NODE_RANK") or 0
    return int(rank_zero_only.rank or 0) == int(node) == 0


def freeze_norms(model: nn.Module) -> None:
    """Batch norms keep and use their stored statistics until the next `train()`."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class Team:
    """What the processes of a run tell each other between passes; with one process, nothing at all."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric, self.first, self.size = fabric, fabric.global_rank == 0, fabric.world_size

    def any(self, *flags: bool) -> list[bool]:
        """Each flag, True where it is True in any process."""
        return list(flags) if self.size == 1 else [total > 0 for total in self._sums([float(f) for f in flags])]

    def mean(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The means over processes."""
        if self.size == 1:
            return dict(numbers)
        return {k: total / self.size for k, total in zip(numbers, self._sums(list(numbers.values())), strict=True)}

    def _sums(self, numbers: list[float]) -> list[float]:
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self._fabric.device)
        return [float(x) for x in self._fabric.all_reduce(tensor, reduce_op="sum")]


def _precision(config: TrainConfig, device: torch.device) -> str:
    if config.precision != "auto":
        return config.precision
    if device.type == "cpu":
        return "32-true"
    if config.strategy == "ddp_notebook":  # a GPU that was asked anything cannot be forked; all of them have float16
        return "16-mixed"
    old = torch.cuda.is_available() and not torch.cuda.is_bf16_supported(including_emulation=False)
    return "16-mixed" if old else "bf16-mixed"
