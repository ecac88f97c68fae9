"""Activations of the frozen denoiser: one function for training heads and for guidance."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from .errors import ConfigError


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
        unet(sample, timestep)
    return [maps[name] for name in modules]


def forward_with_features(
    unet: UNet2DModel, sample: Tensor, timestep: int | Tensor, modules: Sequence[str]
) -> tuple[Tensor, list[Tensor]]:
    """Return the denoiser's output and activations of the same pass; arguments as for ``extract``."""
    with _collecting(unet, modules, stop=False) as maps:
        output = unet(sample, timestep).sample
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
