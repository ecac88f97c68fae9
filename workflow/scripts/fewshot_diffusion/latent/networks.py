"""Networks of a latent diffusion: what is trained here, and what a folder of diffusers' describes."""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel
from torch import Tensor, nn

from ..config.latent import AutoencoderConfig, ConditionalUNetConfig
from ..diffusion.denoiser import LATENT, unet_config

UNETS = {"UNet2DConditionModel": UNet2DConditionModel, "UNet2DModel": UNet2DModel}
CODERS = {"AutoencoderKL": AutoencoderKL, "VQModel": VQModel}


class LatentNetwork(nn.Module):
    """All that a denoiser of latents computes with: network, coder, and the prompt that it is held at.

    Attributes:
        unet: A ``UNet2DConditionModel``; a ``UNet2DModel`` if there is no prompt.
        coder: An ``AutoencoderKL`` or a ``VQModel``.
        prompts: Embeddings of the negative prompt and the prompt, [2, L, D]; [0, 0, 0] if there is no prompt.
        text: Prompts and the weight of classifier-free guidance.
    """

    unet: Any
    coder: Any
    prompts: Tensor

    def __init__(self, unet: Any, coder: Any, prompts: Tensor, text: Mapping[str, Any]) -> None:
        super().__init__()
        self.unet, self.coder = unet, coder
        self.register_buffer("prompts", prompts)
        self.text = dict(text)

    @property
    def config(self) -> dict[str, Any]:
        """What builds this network again, JSON."""
        parts = {"unet": _named(self.unet), "coder": _named(self.coder)}
        return {"_class_name": LATENT, **parts, "prompts": list(self.prompts.shape), "text": self.text}

    @classmethod
    def without_prompt(cls, unet: Any, coder: Any) -> "LatentNetwork":
        """Return a network that no prompt steers."""
        return cls(unet, coder, torch.zeros(0, 0, 0), {})

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> "LatentNetwork":
        """Return an untrained network from the content of ``config.json``."""
        unet, coder = config["unet"], config["coder"]
        made = UNETS[unet["_class_name"]].from_config(unet), CODERS[coder["_class_name"]].from_config(coder)
        return cls(*made, torch.zeros(config["prompts"]), config["text"])


def build_autoencoder(settings: AutoencoderConfig, image_size: int) -> AutoencoderKL:
    """Return an untrained ``AutoencoderKL``."""
    levels = len(settings.block_out_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        latent_channels=settings.latent_channels,
        norm_num_groups=settings.norm_num_groups,
        sample_size=image_size,
    )


def build_conditional_unet(
    settings: ConditionalUNetConfig, sample_size: int, channels: int, text_size: int
) -> UNet2DConditionModel:
    """Return an untrained ``UNet2DConditionModel``: cross-attention on all resolutions but the coarsest.

    Args:
        settings: Widths.
        sample_size: Height and width of the latents.
        channels: Of the latents.
        text_size: Width of the prompt's embedding.
    """
    levels = len(settings.block_out_channels) - 1
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=channels,
        out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * levels + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * levels,
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        norm_num_groups=settings.norm_num_groups,
        attention_head_dim=settings.attention_heads,  # as in Stable Diffusion, where it is the number of heads
        cross_attention_dim=text_size,
    )


def latents_of(coder: Any, images: Tensor) -> Tensor:
    """Return the latents of images [B, 3, H, W], [-1, 1] scale: the mode, scaled to about unit variance."""
    coded = coder.encode(images)
    latents = coded.latent_dist.mode() if hasattr(coded, "latent_dist") else coded.latents
    scaled: Tensor = latents * coder.config.scaling_factor
    return scaled


def images_of(coder: Any, latents: Tensor) -> Tensor:
    """Return the images of latents, [B, 3, H, W], [-1, 1] scale, attached to their graph."""
    images: Tensor = coder.decode(latents / coder.config.scaling_factor).sample
    return images


def reduction_of(coder: Any) -> int:
    """Return the image size divided by the latents'."""
    return int(2 ** (len(coder.config.block_out_channels) - 1))


def _named(network: Any) -> dict[str, Any]:
    return {**unet_config(network), "_class_name": type(network).__name__}
