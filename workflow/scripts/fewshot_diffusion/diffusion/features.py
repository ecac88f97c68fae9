"""Activations of the frozen denoiser: one function for training heads and for guidance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
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


def extract(
    network: nn.Module, sample: Tensor, timestep: int | Tensor, modules: Sequence[str], **conditions: Tensor
) -> list[Tensor]:
    """Return activations of a denoiser's network; the pass ends at the deepest of the modules.

    Args:
        network: Frozen network of diffusers.
        sample: What is fed to it, [B, C, H, W]: x_0, x0_hat or x_t.
        timestep: Timestep label, scalar or [B].
        modules: Names of the modules, in the order of the result.
        conditions: What else a conditional network reads, by the names of its arguments.

    Returns:
        One map per module, [B, num_chs, H / reduction, W / reduction], attached to the graph of ``sample``.

    Raises:
        ConfigError: If the denoiser has no such module.
    """
    with _collecting(network, modules, stop=True) as maps, suppress(_DeepestTapReached):
        network.forward(sample, label_of(timestep, sample), **conditions)  # not compiled: a hook ends it
    return [maps[name] for name in modules]


def forward_with_features(
    network: nn.Module, sample: Tensor, timestep: int | Tensor, modules: Sequence[str], **conditions: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the network's output and activations of the same pass; arguments as for ``extract``."""
    with _collecting(network, modules, stop=False) as maps:
        output = network.forward(sample, label_of(timestep, sample), **conditions).sample
    return output, [maps[name] for name in modules]


def forward_shifted(
    network: nn.Module, sample: Tensor, timestep: int | Tensor, shifts: Mapping[str, Tensor], **conditions: Tensor
) -> Tensor:
    """Return the network's output with something added to activations on the way.

    Args:
        network: Frozen network of diffusers.
        sample: What is fed to it, [B, C, H, W].
        timestep: Timestep label, scalar or [B].
        shifts: Name of a module -> what is added to its output, [num_chs, h, w].
        conditions: As for ``extract``.

    Raises:
        ConfigError: If the denoiser has no such module.
    """

    def hook_for(shift: Tensor) -> Callable[..., Any]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
            if isinstance(output, tuple):  # of down blocks; their skips stay
                return (output[0] + shift.to(output[0]), *output[1:])
            return output + shift.to(output)

        return hook

    with ExitStack() as hooks:
        for name, shift in shifts.items():
            hooks.callback(_submodule(network, name).register_forward_hook(hook_for(shift)).remove)
        output: Tensor = network.forward(sample, label_of(timestep, sample), **conditions).sample
    return output


@contextmanager
def _collecting(network: nn.Module, modules: Sequence[str], stop: bool) -> Iterator[dict[str, Tensor]]:
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
            handles.append(_submodule(network, name).register_forward_hook(hook_for(name)))
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _submodule(network: nn.Module, name: str) -> nn.Module:
    try:
        module = network.get_submodule(name)
        if module is network or isinstance(module, nn.ModuleList):
            raise AttributeError(f"{name!r} has no output of its own")
    except AttributeError as error:
        decoder = network.get_submodule("up_blocks").named_children()
        blocks = ["mid_block", *(f"up_blocks.{level}" for level, _ in decoder)]
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
