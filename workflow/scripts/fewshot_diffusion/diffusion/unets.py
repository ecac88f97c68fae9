"""Networks from ``config.json``, including two things that a plain ``UNet2DModel`` cannot be told.

* ``attention_head_dim`` as a list, one number a level, finest first: improved-diffusion has 4 heads on 384 channels
  and on 512. diffusers takes one number; a plain ``UNet2DModel`` stops at the list with a ``TypeError``.
* ``timestep_scale``: the network reads ``timestep_scale * timestep``. Trained on 4,000 timesteps, improved-diffusion's
  networks read a quarter of them. It goes with such a list alone, so that no plain ``UNet2DModel`` overlooks it.

Both are attributes of layers that diffusers has, set after it has built them: the class stays ``UNet2DModel``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from torch import nn

from ..errors import WeightsError


def unet_of_config(config: Mapping[str, Any]) -> UNet2DModel:
    """Return an untrained network from the content of ``config.json``.

    Raises:
        WeightsError: If ``attention_head_dim`` does not fit the levels, or ``timestep_scale`` comes without a list.
    """
    head_dims, scale = config.get("attention_head_dim"), config.get("timestep_scale")
    if not isinstance(head_dims, list | tuple):
        if scale is not None:
            raise WeightsError("config.json: timestep_scale needs attention_head_dim as a list, one number a level.")
        return UNet2DModel.from_config(dict(config))
    plain = {key: value for key, value in config.items() if key != "timestep_scale"}
    unet = UNet2DModel.from_config({**plain, "attention_head_dim": None})
    _set_head_dims(unet, head_dims)
    unet.time_proj.scale = 1 if scale is None else scale
    unet.register_to_config(attention_head_dim=list(head_dims), timestep_scale=unet.time_proj.scale)
    return unet


def _set_head_dims(unet: UNet2DModel, head_dims: Sequence[int]) -> None:
    levels = len(unet.down_blocks)
    if len(head_dims) != levels:
        raise WeightsError(f"config.json: attention_head_dim has {len(head_dims)} numbers, expected {levels}.")
    blocks = [*unet.down_blocks, unet.mid_block, *unet.up_blocks]
    for block, head_dim in zip(blocks, [*head_dims, head_dims[-1], *reversed(head_dims)], strict=True):
        for attention in _attentions(block):
            if attention.inner_dim % head_dim:
                raise WeightsError(f"config.json: heads of {head_dim} do not divide {attention.inner_dim} channels.")
            attention.heads = attention.sliceable_head_dim = attention.inner_dim // head_dim
            attention.scale = head_dim**-0.5


def _attentions(block: nn.Module | None) -> list[Any]:
    return [module for module in block.modules() if isinstance(module, Attention)] if block is not None else []
