"""Denoising diffusion implicit models' own checkpoints, CelebA at 64 pixels among them.

Of the file's list (model, optimiser, epoch, step, moving average) the moving average is taken. What diffusers must be
told so that it computes the same: strided convolutions pad right and below alone, timesteps are embedded as sines, then
cosines, of frequencies that reach 1 / 10,000, normalisations have an epsilon of 1e-6, and every attention one head.

Source: Song, Meng and Ermon 2021, "Denoising Diffusion Implicit Models"; Ho, Jain and Abbeel 2020, appendix B.
"""

from collections.abc import Mapping
from typing import Any

from .files import State
from .layout import Flags, Layout, Places

_LAYERS = {
    "time_emb_proj": "temb_proj",
    "conv_shortcut": "nin_shortcut",
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def _config(state: State, flags: Flags) -> dict[str, Any]:
    levels = _count(state, "down.{}.block.0.conv1.weight")
    attentive = [f"down.{i}.attn.0.q.weight" in state for i in range(levels)]
    return {
        "sample_size": flags.image_size,
        "in_channels": state["conv_in.weight"].shape[1],
        "out_channels": state["conv_out.weight"].shape[0],
        "block_out_channels": [state[f"down.{i}.block.0.conv1.weight"].shape[0] for i in range(levels)],
        "layers_per_block": _count(state, "down.0.block.{}.conv1.weight"),
        "down_block_types": ["AttnDownBlock2D" if here else "DownBlock2D" for here in attentive],
        "up_block_types": ["AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attentive)],
        "attention_head_dim": None,
        "downsample_padding": 0,
        "flip_sin_to_cos": False,
        "freq_shift": 1,
        "norm_eps": 1e-6,
    }


def _places(config: Mapping[str, Any], flags: Flags) -> Places:
    levels, layers = len(config["block_out_channels"]), config["layers_per_block"]
    modules = {
        "time_embedding.linear_1": "temb.dense.0",
        "time_embedding.linear_2": "temb.dense.1",
        "conv_norm_out": "norm_out",
        "mid_block.resnets.0": "mid.block_1",
        "mid_block.attentions.0": "mid.attn_1",
        "mid_block.resnets.1": "mid.block_2",
    }
    for i in range(levels):
        down, up = f"down_blocks.{i}", f"up_blocks.{levels - 1 - i}"
        modules |= {f"{down}.downsamplers.0": f"down.{i}.downsample", f"{up}.upsamplers.0": f"up.{i}.upsample"}
        for j in range(layers + 1):
            modules |= {f"{down}.resnets.{j}": f"down.{i}.block.{j}", f"{down}.attentions.{j}": f"down.{i}.attn.{j}"}
            modules |= {f"{up}.resnets.{j}": f"up.{i}.block.{j}", f"{up}.attentions.{j}": f"up.{i}.attn.{j}"}
    return Places(modules, _LAYERS)


def _count(state: State, pattern: str) -> int:
    return next(k for k in range(len(state) + 1) if pattern.format(k) not in state)


LAYOUT = Layout(
    mark="temb.dense.0.weight",
    defaults=Flags(image_size=64, diffusion_steps=1000, noise_schedule="linear"),
    config=_config,
    places=_places,
    fixed=frozenset({"diffusion_steps", "noise_schedule"}),
)
