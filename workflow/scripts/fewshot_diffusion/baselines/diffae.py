"""A diffusion autoencoder: a semantic latent, and a DDIM decoder that it conditions by adaptive group norm.

Source: Preechakul et al. 2022, "Diffusion autoencoders: toward a meaningful and decodable representation".
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.autoencoders.vae import Encoder
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.baselines import DiffAEConfig
from ..config.denoiser import ScheduleConfig
from ..config.sampling import SamplingConfig
from .base import LatentModel, seeded_noise
from .ddim import diffusion_loss, draw_ddim
from .priors import MlpPrior


class SemanticEncoder(nn.Module):
    """Images to their semantic latent: down blocks, averages over cells, a linear map."""

    def __init__(self, settings: DiffAEConfig) -> None:
        super().__init__()
        widths = settings.architecture.block_out_channels
        self.patch_size, self.pool_size = settings.patch_size, settings.pool_size
        self.maps = Encoder(
            in_channels=3 * settings.patch_size**2,
            out_channels=widths[-1],
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            block_out_channels=widths,
            layers_per_block=settings.architecture.layers_per_block,
            norm_num_groups=settings.architecture.norm_num_groups,
            double_z=False,
        )
        self.linear = nn.Linear(widths[-1] * settings.pool_size**2, settings.latent_size)

    def forward(self, clean: Tensor) -> Tensor:
        """Return latents [B, D] of images [B, 3, H, W], -1..1."""
        maps = self.maps(F.pixel_unshuffle(clean, self.patch_size))
        latents: Tensor = self.linear(F.adaptive_avg_pool2d(maps, self.pool_size).flatten(1))
        return latents


class ConditionalDecoder(nn.Module):
    """A U-Net that a latent conditions: in every residual block, group norms are scaled and shifted by (t, z).

    y(h) = (1 + s(e)) GroupNorm(h) + b(e) with e = time(t) + linear(z): DiffAE's adaptive group norm, whose factors of
    t and of z add up here where they multiply there.
    """

    def __init__(self, settings: DiffAEConfig, image_size: int) -> None:
        super().__init__()
        widths, channels = settings.architecture.block_out_channels, 3 * settings.patch_size**2
        self.patch_size = settings.patch_size
        self.unet = UNet2DModel(
            sample_size=image_size // settings.patch_size,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=widths,
            layers_per_block=settings.architecture.layers_per_block,
            down_block_types=("DownBlock2D",) * len(widths),
            up_block_types=("UpBlock2D",) * len(widths),
            norm_num_groups=settings.architecture.norm_num_groups,
            attention_head_dim=settings.architecture.attention_head_dim,
            class_embed_type="identity",
            resnet_time_scale_shift="scale_shift",
        )
        self.condition = nn.Linear(settings.latent_size, 4 * widths[0])  # as wide as diffusers' embedding

    def forward(self, x_t: Tensor, timesteps: Tensor, latents: Tensor) -> Tensor:
        """Return eps, v or x_0 of noisy images [B, 3, H, W], at timesteps, [B] or [1], given latents [B, D]."""
        patches, condition = F.pixel_unshuffle(x_t, self.patch_size), self.condition(latents)
        output: Tensor = self.unet(patches, timesteps.expand(len(x_t)), class_labels=condition).sample
        return F.pixel_shuffle(output, self.patch_size)


class DiffAE(LatentModel):
    """Encoder and decoder, trained together, and a latent DDIM of their latents."""

    stages = {"autoencoder": "images", "prior": "latents"}  # noqa: RUF012  a constant
    settings: DiffAEConfig

    def __init__(self, settings: DiffAEConfig, schedule: ScheduleConfig, image_size: int) -> None:
        super().__init__(settings.latent_size, image_size)
        self.settings, self.schedule = settings, schedule
        decoder = ConditionalDecoder(settings, image_size)
        self.autoencoder = nn.ModuleDict({"encoder": SemanticEncoder(settings), "decoder": decoder})
        self.prior = MlpPrior(settings.latent_size, settings.prior)

    def loss(self, stage: str, examples: Tensor, done: float, stream: torch.Generator) -> Tensor:
        """Return the denoising error: of images given their own latents, or of latents."""
        if stage == "prior":
            return diffusion_loss(self.prior, examples, self.schedule, stream)
        return diffusion_loss(self._given(self.posterior_mean(examples)), examples, self.schedule, stream)

    def posterior_mean(self, clean: Tensor) -> Tensor:
        """Return the semantic latents of images: the encoder is deterministic."""
        latents: Tensor = self.autoencoder["encoder"](clean)
        return latents.float()

    def draw_latents(self, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return latents of the latent DDIM."""
        noise = seeded_noise("diffae latent", seeds, (self.latent_size,), self.latent_mean.device)
        return draw_ddim(self.prior, noise, self.schedule, sampling, clip_sample=False)

    def decode(self, latents: Tensor, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return images of the DDIM decoder, from noise of each sample's own seed."""
        noise = seeded_noise("diffae image", seeds, (3, self.image_size, self.image_size), self.latent_mean.device)
        network = self._given(self.unnormalised(latents))
        return draw_ddim(network, noise, self.schedule, sampling, sampling.clip_sample)

    def _given(self, latents: Tensor) -> Any:
        decoder = self.autoencoder["decoder"]
        return lambda x_t, timesteps: decoder(x_t, timesteps, latents)
