"""What a layout is, and how weights move from it into diffusers' network: each is found, fits, and none is left."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from diffusers import UNet2DModel
from torch import Tensor

from ..diffusion.unets import unet_of_config
from ..errors import WeightsError
from .files import State


@dataclass(frozen=True)
class Flags:
    """What the weights of a checkpoint do not say, in the words of the command that trained it.

    Attributes:
        image_size: Height and width of the images, pixels.
        num_heads: Heads of every self-attention.
        num_head_channels: Channels of a head, in place of a number of heads.
        use_new_attention_order: Rows of ``qkv`` are ordered (3, heads, channels) instead of (heads, 3, channels).
        diffusion_steps: Timesteps of the training.
        noise_schedule: ``linear`` (1e-4 to 0.02 at 1,000 timesteps) or ``cosine``.
        rescale_timesteps: The network reads timesteps on a scale of 1,000, whatever their number.
    """

    image_size: int | None = None
    num_heads: int | None = None
    num_head_channels: int | None = None
    use_new_attention_order: bool | None = None
    diffusion_steps: int | None = None
    noise_schedule: Literal["linear", "cosine"] | None = None
    rescale_timesteps: bool | None = None


@dataclass(frozen=True)
class Places:
    """Where the weights of diffusers' network lie in a checkpoint.

    Attributes:
        modules: Module of diffusers' -> module of the checkpoint; the deepest that is known stands for what is in it.
        layers: Layer within such a module -> its name in the checkpoint.
        pick: Takes its own part of a tensor, given the weight's name in diffusers' network.
    """

    modules: Mapping[str, str]
    layers: Mapping[str, str]
    pick: Callable[[str, Tensor], Tensor] = field(default=lambda name, tensor: tensor)

    def source(self, name: str) -> str:
        """Return the name in the checkpoint of a weight of diffusers' network."""
        module, kind = name.rsplit(".", 1)
        if module in self.modules:
            return f"{self.modules[module]}.{kind}"
        parts = module.split(".")
        for end in range(len(parts) - 1, 0, -1):
            if (place := ".".join(parts[:end])) in self.modules:
                layer = ".".join(parts[end:])
                return f"{self.modules[place]}.{self.layers.get(layer, layer)}.{kind}"
        return name


@dataclass(frozen=True)
class Layout:
    """A public layout of checkpoints.

    Attributes:
        mark: A weight by which it is known.
        defaults: Flags of the public checkpoints that have it.
        config: Reads the arguments of ``UNet2DModel`` off the weights' names and shapes.
        places: Says where each weight of the network with these arguments lies.
        fixed: Flags that are the same in all its checkpoints.
    """

    mark: str
    defaults: Flags
    config: Callable[[State, Flags], dict[str, Any]]
    places: Callable[[Mapping[str, Any], Flags], Places]
    fixed: frozenset[str] = frozenset()


def complete(given: Flags, layout: Layout, name: str) -> Flags:
    """Return flags with the layout's own for those that are not given.

    Raises:
        WeightsError: If one is given that has no meaning in this layout.
    """
    own, chosen = asdict(layout.defaults), {key: value for key, value in asdict(given).items() if value is not None}
    if odd := [key for key, value in chosen.items() if type(value) is int and value < 1]:
        raise WeightsError(f"{odd[0]}: found {chosen[odd[0]]}, expected a positive number.")
    if "num_heads" in chosen and "num_head_channels" in chosen:
        raise WeightsError("num_heads and num_head_channels: both are given, expected one.")
    heads = {"num_heads", "num_head_channels"}
    known = {key for key, value in own.items() if value is not None} - layout.fixed
    known |= heads if known & heads else set()
    if unknown := sorted(set(chosen) - known):
        raise WeightsError(f"{', '.join(unknown)}: layout {name} has no such flag, only {', '.join(sorted(known))}.")
    if set(chosen) & heads:
        own |= dict.fromkeys(heads)
    return Flags(**own | chosen)


def convert_state(state: State, config: Mapping[str, Any], places: Places) -> UNet2DModel:
    """Return diffusers' network with the weights of a checkpoint, in float32; weights that need no change are shared.

    Raises:
        WeightsError: If a weight is missing, left over, of another shape, or not a number. Names are the checkpoint's.
    """
    with torch.device("meta"):
        unet = unet_of_config(config)
    expected = unet.state_dict()
    sources = {name: places.source(name) for name in expected}
    if missing := sorted(set(sources.values()) - set(state)):
        raise WeightsError(f"{_some(missing)}: missing, expected of an architecture with {_told(config)}.")
    if left := sorted(set(state) - set(sources.values())):
        raise WeightsError(f"{_some(left)}: found, but no part of an architecture with {_told(config)}.")
    weights = {name: _weight(name, sources[name], state, places, expected[name]) for name in expected}
    unet.load_state_dict(weights, strict=True, assign=True)
    return unet.requires_grad_(False).eval()


def _weight(name: str, source: str, state: State, places: Places, expected: Tensor) -> Tensor:
    tensor = state[source]
    if not tensor.is_floating_point():
        raise WeightsError(f"{source}: found {tensor.dtype}, expected floating-point numbers.")
    tensor = places.pick(name, tensor)
    # Attention's matrices are kernels of one pixel in some layouts.
    if tensor.numel() != expected.numel() or _trimmed(tensor) != _trimmed(expected):
        raise WeightsError(f"{source}: found the shape {_shape(tensor)}, expected {_shape(expected)} for {name}.")
    tensor = tensor.reshape(expected.shape).to(torch.float32).contiguous()
    # A part of a larger storage would be written with all of it.
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def require_finite(unet: UNet2DModel, places: Places) -> None:
    """Raise ``WeightsError`` if a weight is infinite or not a number."""
    odd = [places.source(name) for name, weight in unet.state_dict().items() if not weight.isfinite().all()]
    if odd:
        raise WeightsError(f"{_some(odd)}: holds infinite values or values that are no numbers.")


def _trimmed(tensor: Tensor) -> tuple[int, ...]:
    shape = list(tensor.shape)
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "scalar"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _told(config: Mapping[str, Any]) -> str:
    told = ("block_out_channels", "layers_per_block", "down_block_types", "resnet_time_scale_shift")
    return ", ".join(f"{key} {config[key]}" for key in told if key in config)
