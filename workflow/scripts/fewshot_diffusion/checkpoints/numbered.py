"""The layout whose blocks are numbered through: improved-diffusion's, and guided-diffusion's (ADM) after it.

``input_blocks`` counts the first convolution, then every level's residual blocks and its downsampler;
``output_blocks`` the residual blocks alone, and an upsampler is the last part of its level's last block.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import WeightsError
from .files import State
from .layout import Flags, Layout, Places

MARK = "time_embed.0.weight"
_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "group_norm": "norm",
    "to_q": "qkv",
    "to_k": "qkv",
    "to_v": "qkv",
    "to_out.0": "proj_out",
}


def numbered_layout(defaults: Flags) -> Layout:
    """Return the layout with the flags of its public checkpoints."""
    return Layout(MARK, defaults, _config, _places)


def _config(state: State, flags: Flags) -> dict[str, Any]:
    if "label_emb.weight" in state:
        raise WeightsError("label_emb.weight: found a class-conditional network, expected an unconditional one.")
    layers, levels = _layers_and_levels(state)
    first = [f"input_blocks.{1 + i * (layers + 1)}" for i in range(levels)]
    channels = [_shape(state, f"{block}.0.out_layers.3.weight")[0] for block in first]
    attentive = [f"{block}.1.qkv.weight" in state for block in first]
    resampled = f"input_blocks.{layers + 1}.0.in_layers.0.weight" in state
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if resampled else ("DownBlock2D", "UpBlock2D")
    scaled = _shape(state, "input_blocks.1.0.emb_layers.1.weight")[0] == 2 * channels[0]
    return {
        "sample_size": flags.image_size,
        "in_channels": _shape(state, "input_blocks.0.0.weight")[1],
        "out_channels": _shape(state, "out.2.weight")[0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": ["AttnDownBlock2D" if here else plain[0] for here in attentive],
        "up_block_types": ["AttnUpBlock2D" if here else plain[1] for here in reversed(attentive)],
        "downsample_type": "resnet" if resampled else "conv",
        "upsample_type": "resnet" if resampled else "conv",
        "resnet_time_scale_shift": "scale_shift" if scaled else "default",
        "attn_norm_num_groups": 32,
        "time_embedding_dim": _shape(state, MARK)[0],
        **_heads(channels, attentive, flags),
    }


def _layers_and_levels(state: State) -> tuple[int, int]:
    """Read both off the upsamplers, which alone tell levels of equal width apart."""
    blocks = [k for k in range(len(state)) if f"output_blocks.{k}.0.in_layers.0.weight" in state]
    kinds = ("1.conv", "2.conv", "1.in_layers.0", "2.in_layers.0")
    ends = [k for k in blocks if any(f"output_blocks.{k}.{kind}.weight" in state for kind in kinds)]
    layers = ends[0] if ends else len(blocks) - 1
    inputs = {name.split(".")[1] for name in state if name.startswith("input_blocks.")}
    regular = layers >= 1 and [*ends, len(blocks) - 1] == list(range(layers, len(blocks), layers + 1))
    if not regular or len(inputs) != len(blocks):
        raise WeightsError(
            f"output_blocks: found {len(inputs)} input blocks and {len(blocks)} output blocks, upsampling in {ends}; "
            "expected as many of both, and upsampling at the end of every level but one. Resampling without weights "
            "(conv_resample False) has no place in diffusers."
        )
    return layers, len(ends) + 1


def _heads(channels: list[int], attentive: list[bool], flags: Flags) -> dict[str, Any]:
    """Return one width of heads for all levels, or, where that is not enough, one for each."""
    widths = {width for width, here in zip(channels, attentive, strict=True) if here} | {channels[-1]}  # and the middle
    unit = flags.num_head_channels or flags.num_heads
    if not unit or any(width % unit for width in widths):
        name = "num_head_channels" if flags.num_head_channels else "num_heads"
        raise WeightsError(f"{name}: found {unit}, expected a divisor of all widths with attention: {sorted(widths)}.")
    head_dims = [flags.num_head_channels or max(width // unit, 1) for width in channels]
    used = {flags.num_head_channels or width // unit for width in widths}
    scale = 1000 / flags.diffusion_steps if flags.rescale_timesteps and flags.diffusion_steps else 1
    if scale != 1:
        return {"attention_head_dim": head_dims, "timestep_scale": scale}
    return {"attention_head_dim": used.pop() if len(used) == 1 else head_dims}


def _shape(state: State, name: str) -> tuple[int, ...]:
    if name not in state:
        raise WeightsError(f"{name}: missing, expected in every checkpoint of this layout.")
    return tuple(state[name].shape)


def _places(config: Mapping[str, Any], flags: Flags) -> Places:
    modules = {
        "conv_in": "input_blocks.0.0",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for i, kind in enumerate(config["down_block_types"]):
        modules |= _level(i, kind.startswith("Attn"), config)
    return Places(modules, _LAYERS, lambda name, tensor: _own_rows(name, tensor, flags))


def _level(i: int, attentive: bool, config: Mapping[str, Any]) -> dict[str, str]:
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    down, up = f"down_blocks.{i}", f"up_blocks.{levels - 1 - i}"
    inputs, outputs = 1 + i * (layers + 1), (levels - 1 - i) * (layers + 1)
    convolved = config["downsample_type"] == "conv"
    modules = {
        f"{down}.downsamplers.0" + ".conv" * convolved: f"input_blocks.{inputs + layers}.0" + ".op" * convolved,
        f"{up}.upsamplers.0": f"output_blocks.{outputs + layers}.{1 + attentive}",
    }
    for j in range(layers + 1):
        modules |= {f"{down}.resnets.{j}": f"input_blocks.{inputs + j}.0"}
        modules |= {f"{down}.attentions.{j}": f"input_blocks.{inputs + j}.1"}
        modules |= {f"{up}.resnets.{j}": f"output_blocks.{outputs + j}.0"}
        modules |= {f"{up}.attentions.{j}": f"output_blocks.{outputs + j}.1"}
    return modules


def _own_rows(name: str, tensor: Tensor, flags: Flags) -> Tensor:
    """Return the rows of a query, key or value; diffusers orders them (heads, channels)."""
    part = next((k for k, layer in enumerate((".to_q.", ".to_k.", ".to_v.")) if layer in name), None)
    if part is None or tensor.numel() < 3:
        return tensor
    heads = flags.num_heads or max(len(tensor) // 3 // (flags.num_head_channels or 1), 1)
    if len(tensor) % (3 * heads):
        return tensor  # its shape will be refused
    if flags.use_new_attention_order:
        return tensor.chunk(3)[part]
    return tensor.reshape(heads, 3, -1, *tensor.shape[1:])[:, part].flatten(0, 1)
