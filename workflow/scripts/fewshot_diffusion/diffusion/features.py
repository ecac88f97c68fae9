"""Activations of the frozen denoiser: one function for training heads and for guidance."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .schedule import label_of


@dataclass(frozen=True)
class FeatureTap:
    """A module of the denoiser whose output is used as a feature map.

    Attributes:
        module: Dotted name within the denoiser, e.g. ``mid_block`` or ``up_blocks.1``.
        num_chs: Channels of the output.
        reduction: Image size divided by the output's size.
    """

    module: str
    num_chs: int
    reduction: int


class _DeepestTapReached(Exception):
    """Ends a forward pass of which no later activation is wanted."""


def describe_taps(unet: UNet2DModel, modules: Sequence[str]) -> list[FeatureTap]:
    """Return the taps at these modules, with channels and reduction read off one forward pass.

    Raises:
        ConfigError: If the denoiser has no such module.
    """
    size = int(unet.config.sample_size)
    blank = torch.zeros(1, int(unet.config.in_channels), size, size, device=unet.device)
    with torch.no_grad():
        maps = extract(unet, blank, 0, modules)
    shapes = zip(modules, maps, strict=True)
    return [FeatureTap(name, found.shape[1], size // found.shape[-1]) for name, found in shapes]


def extract(unet: UNet2DModel, sample: Tensor, timestep: int | Tensor, modules: Sequence[str]) -> list[Tensor]:
    """Return activations of the denoiser; the pass ends at the deepest of the modules.

    Args:
        unet: Frozen denoiser.
        sample: What is fed to it, [B, C, H, W], [-1, 1] scale: a clean image, x0_hat or x_t.
        timestep: Timestep label, scalar or [B].
        modules: Names of the modules, in the order of the result.

    Returns:
        One map per module, [B, num_chs, H / reduction, W / reduction], attached to the graph of ``sample``.

    Raises:
        ConfigError: If the denoiser has no such module.
    """
    with _collecting(unet, modules, stop=True) as maps, suppress(_DeepestTapReached):
        unet.forward(sample, label_of(timestep, sample))  # not compiled: a hook ends it
    return [maps[name] for name in modules]


def forward_with_features(
    unet: UNet2DModel, sample: Tensor, timestep: int | Tensor, modules: Sequence[str]
) -> tuple[Tensor, list[Tensor]]:
    """Return the denoiser's output and activations of the same pass; arguments as for ``extract``."""
    with _collecting(unet, modules, stop=False) as maps:
        output = unet.forward(sample, label_of(timestep, sample)).sample
    return output, [maps[name] for name in modules]


@contextmanager
def _collecting(unet: UNet2DModel, modules: Sequence[str], stop: bool) -> Iterator[dict[str, Tensor]]:
    maps: dict[str, Tensor] = {}
    handles = []

    def hook_for(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            # Down blocks return (sample, skips). Of a module that runs twice, the first output counts.
            maps.setdefault(name, output[0] if isinstance(output, tuple) else output)
            if stop and len(maps) == len(set(modules)):
                raise _DeepestTapReached

        return hook

    try:
        for name in modules:
            handles.append(_submodule(unet, name).register_forward_hook(hook_for(name)))
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _submodule(unet: UNet2DModel, name: str) -> nn.Module:
    try:
        module: nn.Module = unet.get_submodule(name)
        if module is unet or isinstance(module, nn.ModuleList):
            raise AttributeError(f"{name!r} has no output of its own")
    except AttributeError as error:
        blocks = ["mid_block", *(f"up_blocks.{i}" for i in range(len(unet.up_blocks)))]
        raise ConfigError(
            f"head.taps: the denoiser has no module {name!r}; its usual taps are {', '.join(blocks)}."
        ) from error
    return module


def levels_around(levels: Sequence[int], timestep: int) -> tuple[int, int, float]:
    """Return the positions of the ascending levels below and above a timestep, and its share of the way between."""
    if timestep <= levels[0]:
        return 0, 0, 0.0
    for i, (low, high) in enumerate(pairwise(levels)):
        if timestep <= high:
            return i, i + 1, (timestep - low) / (high - low)
    return len(levels) - 1, len(levels) - 1, 0.0


def pool(maps: Sequence[Tensor], pool_size: int) -> Tensor:
    """Return means and standard deviations of activations over a grid of cells.

    Args:
        maps: Activations, each [B, C, h, w].
        pool_size: Cells a side; a map smaller than that is pooled to its own size.

    Returns:
        float32 [B, D], D = sum over maps of 2 C cells^2.
    """
    parts = []
    for activation in maps:
        activation = activation.float()
        cells = min(pool_size, activation.shape[-1])
        mean = F.adaptive_avg_pool2d(activation, cells)
        square = F.adaptive_avg_pool2d(activation.square(), cells)
        # The offset keeps the square root differentiable where a cell is constant.
        deviation = (square - mean.square()).clamp_min(0).add(1e-4).sqrt()
        parts += [mean.flatten(1), deviation.flatten(1)]
    return torch.cat(parts, dim=1)
