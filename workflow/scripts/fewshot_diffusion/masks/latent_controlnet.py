"""ControlNet for denoisers of latents: diffusers' own, on masks in the place of its picture of edges.

Source: Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models".
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Self

from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion.denoiser import Denoiser, unet_config
from ..errors import ConfigError
from ..latent.denoiser import LatentDenoiser
from ..latent.networks import reduction_of

HINT_CHANNELS = (16, 32, 96, 256)
"""Widths of the encoder of masks, diffusers' own; each but the first halves the size, down to the latents'."""


class LatentControlNet(nn.Module):
    """A ``ControlNetModel`` that reads masks, one channel per class: at step 0 it changes nothing."""

    def __init__(self, controlnet: Mapping[str, Any], classes: Sequence[str]) -> None:
        """Build a ControlNet from its ``config.json``; its encoder is still random."""
        super().__init__()
        self.model, self.classes = ControlNetModel.from_config(dict(controlnet)), list(classes)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this ControlNet."""
        return {"controlnet": unet_config(self.model), "classes": self.classes}

    @classmethod
    def beside(cls, denoiser: Denoiser, classes: Sequence[str]) -> Self:
        """Return a ControlNet of the denoiser's shape; raise ``ConfigError`` if diffusers has none for it."""
        unet, reduction = _network(denoiser), reduction_of(_latent(denoiser).network.coder)
        model = ControlNetModel.from_unet(
            unet,
            conditioning_embedding_out_channels=HINT_CHANNELS[: reduction.bit_length()],
            load_weights_from_unet=False,
            conditioning_channels=len(classes),
        )
        return cls(unet_config(model), classes)

    def copy_encoder(self, denoiser: Denoiser) -> None:
        """Start from the denoiser's own encoder."""
        unet = _network(denoiser)
        for name in ("conv_in", "time_embedding", "down_blocks", "mid_block"):
            getattr(self.model, name).load_state_dict(deepcopy(getattr(unet, name).state_dict()))

    def controlled(
        self, denoiser: Denoiser, x_t: Tensor, timesteps: Tensor, masks: Tensor, prompt_alone: bool
    ) -> Tensor:
        """Return the denoiser's raw output with this network's residuals added to its skips, [B, C, h, w].

        Args:
            denoiser: Frozen denoiser of latents.
            x_t: Noisy latents, [B, C, h, w].
            timesteps: int64 [B].
            masks: Wanted class ids, uint8 [B, H, W], of the images' size.
            prompt_alone: Leave classifier-free guidance out, as trainings do; else both passes are controlled.
        """
        latent = _latent(denoiser)
        prompts = latent.prompts_of(len(x_t), prompt_alone)
        times = len(prompts) // len(x_t) if prompts is not None else 1
        hint = F.one_hot(masks.long(), len(self.classes)).permute(0, 3, 1, 2).to(x_t.dtype)
        inputs = (x_t.repeat(times, 1, 1, 1), timesteps.repeat(times))
        skips, middle = self.model(*inputs, prompts, hint.repeat(times, 1, 1, 1), return_dict=False)
        output: Tensor = latent.network.unet(
            *inputs,
            encoder_hidden_states=prompts,
            down_block_additional_residuals=skips,
            mid_block_additional_residual=middle,
        ).sample
        return output if times == 1 else latent.joined(output)


def _latent(denoiser: Denoiser) -> LatentDenoiser:
    if not isinstance(denoiser, LatentDenoiser):
        raise ConfigError(f"controlnet: found a {type(denoiser).__name__}, expected one of latents.")
    return denoiser


def _network(denoiser: Denoiser) -> UNet2DConditionModel:
    unet = _latent(denoiser).network.unet
    if not isinstance(unet, UNet2DConditionModel):
        raise ConfigError(f"controlnet: found a {type(unet).__name__} of latents, expected one that reads a prompt.")
    return unet
