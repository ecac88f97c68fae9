"""Diffusion-decoding with contrastive representations: an autoencoder whose latents are contrasted, and their DDIM.

Source: Sinha et al. 2021, "D2C: Diffusion-decoding models for few-shot conditional generation".
"""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, UNet2DModel
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from ..config.baselines import AugmentationConfig, D2CConfig
from ..config.denoiser import ArchitectureConfig, ScheduleConfig
from ..config.sampling import SamplingConfig
from ..seeds import host_seed
from .base import LatentModel, seeded_noise
from .ddim import diffusion_loss, draw_ddim


class ContrastedAutoencoder(nn.Module):
    """An ``AutoencoderKL`` of images in patches, and the projection that contrasts its latents.

    Patches spare the convolutions at full size, which take most of the time of an ``AutoencoderKL`` and see little.
    """

    def __init__(self, settings: D2CConfig, image_size: int) -> None:
        super().__init__()
        widths, patch = settings.block_out_channels, settings.patch_size
        self.patch_size, self.pool_size = patch, settings.pool_size
        self.coder = AutoencoderKL(
            in_channels=3 * patch**2,
            out_channels=3 * patch**2,
            down_block_types=("DownEncoderBlock2D",) * len(widths),
            up_block_types=("UpDecoderBlock2D",) * len(widths),
            block_out_channels=widths,
            layers_per_block=settings.layers_per_block,
            latent_channels=settings.latent_channels,
            norm_num_groups=settings.norm_num_groups,
            sample_size=image_size // patch,
        )
        pooled = settings.latent_channels * settings.pool_size**2
        size = settings.projection_size
        self.projection = nn.Sequential(nn.Linear(pooled, 2 * size), nn.SiLU(), nn.Linear(2 * size, size))

    def posterior(self, clean: Tensor) -> DiagonalGaussianDistribution:
        """Return q(z | x), float32, z [B, C, h, w], of images [B, 3, H, W], -1..1."""
        hidden = self.coder.encoder(F.pixel_unshuffle(clean, self.patch_size))
        return DiagonalGaussianDistribution(self.coder.quant_conv(hidden).float())

    def decode(self, latents: Tensor) -> Tensor:
        """Return images, float32 [B, 3, H, W], of latents [B, C, h, w]."""
        return F.pixel_shuffle(self.coder.decode(latents).sample.float(), self.patch_size)

    def project(self, latents: Tensor) -> Tensor:
        """Return what is contrasted of latents [B, C, h, w]: float32 [B, P], not normalised."""
        projected: Tensor = self.projection(F.adaptive_avg_pool2d(latents, self.pool_size).flatten(1))
        return projected.float()


class D2C(LatentModel):
    """Autoencoder with a contrastive term, and a latent DDIM of its posterior means."""

    stages = {"autoencoder": "images", "prior": "latents"}  # noqa: RUF012  a constant
    settings: D2CConfig

    def __init__(self, settings: D2CConfig, schedule: ScheduleConfig, image_size: int) -> None:
        side = image_size // settings.reduction
        super().__init__(settings.latent_channels * side**2, image_size)
        self.latent_shape = (settings.latent_channels, side, side)
        self.settings, self.schedule = settings, schedule
        self.autoencoder = ContrastedAutoencoder(settings, image_size)
        self.prior = build_latent_unet(settings.prior.architecture, self.latent_shape)
        self.views = random_views(settings.augmentation, image_size)

    def loss(self, stage: str, examples: Tensor, done: float, stream: torch.Generator) -> Tensor:
        """Return the error of the latent DDIM, or what an autoencoder costs: |x - x'| + (x - x')^2 + KL + contrast.

        Error and divergence are means, over pixels and over the numbers of the latent.
        """
        if stage == "prior":
            return diffusion_loss(self._predict, self._maps(examples), self.schedule, stream)
        views = [augmented(examples, self.views, stream) for _ in range(2)]
        posterior = self.autoencoder.posterior(torch.cat([examples, *views]))
        own = DiagonalGaussianDistribution(posterior.parameters[: len(examples)])
        decoded = self.autoencoder.decode(own.sample(stream))
        error = F.l1_loss(decoded, examples) + F.mse_loss(decoded, examples)
        divergence: Tensor = own.kl().mean() / self.latent_size
        _, first, second = self.autoencoder.project(posterior.mean).chunk(3)
        contrast = nt_xent(first, second, self.settings.temperature)
        return error + self.settings.kl_weight * divergence + self.settings.contrastive_weight * contrast

    def posterior_mean(self, clean: Tensor) -> Tensor:
        """Return the posterior means of images, flat: channel by channel."""
        mean: Tensor = self.autoencoder.posterior(clean).mean
        return mean.flatten(1)

    def normalise(self, latents: Tensor) -> None:
        """Take mean and scale of each channel: a latent is a map, and alike everywhere to the prior's convolutions."""
        channels = self._maps(latents).transpose(0, 1).flatten(1)
        cells = self.latent_size // len(channels)
        self.latent_mean.copy_(channels.mean(1).repeat_interleave(cells))
        self.latent_scale.copy_(channels.std(1, correction=0).clamp_min(1e-3).repeat_interleave(cells))

    def draw_latents(self, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return latents of the latent DDIM."""
        noise = seeded_noise("d2c latent", seeds, self.latent_shape, self.latent_mean.device)
        return draw_ddim(self._predict, noise, self.schedule, sampling, clip_sample=False).flatten(1)

    def decode(self, latents: Tensor, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return the decoder's images: nothing else is random."""
        return self.autoencoder.decode(self._maps(self.unnormalised(latents)))

    def _maps(self, latents: Tensor) -> Tensor:
        return latents.view(-1, *self.latent_shape)

    def _predict(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        output: Tensor = self.prior(x_t, timesteps).sample
        return output


def build_latent_unet(settings: ArchitectureConfig, latent_shape: tuple[int, int, int]) -> UNet2DModel:
    """Return an untrained denoiser of latents [B, *latent_shape], built as the denoiser of images is."""
    channels, side, _ = latent_shape
    levels = len(settings.block_out_channels)
    return UNet2DModel(
        sample_size=side,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=settings.block_out_channels,
        layers_per_block=settings.layers_per_block,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        norm_num_groups=settings.norm_num_groups,
        attention_head_dim=settings.attention_head_dim,
    )


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of two views of each image, in nats, scalar.

    l(i, j) = -log exp(s_ij / temperature) / sum_{k != i} exp(s_ik / temperature) with cosine similarities s, averaged
    over all 2 B views i, of which j is the other view of the same image.

    Args:
        first: Projections of one view each, float32 [B, P]; B >= 2, or nothing is contrasted.
        second: Of the other.
        temperature: > 0.

    Source: Chen et al. 2020, "A simple framework for contrastive learning of visual representations", eq. 1.
    """
    views = F.normalize(torch.cat([first, second]), dim=1)
    with torch.autocast(views.device.type, enabled=False):  # a temperature of 0.1 makes errors ten times as large
        similarities = views @ views.T / temperature
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    others = torch.arange(len(views), device=views.device).roll(len(first))
    return F.cross_entropy(similarities.masked_fill(itself, -torch.inf), others)


def random_views(settings: AugmentationConfig, image_size: int) -> v2.Transform:
    """Return the transform that makes a view of an image, [3, H, W], 0..1: a crop, mirrored or not, in other colours.

    The hue stays, and saturation varies little: the colour of hair is among what a latent is read for.
    """
    return v2.Compose(
        [
            v2.RandomResizedCrop(image_size, scale=(settings.min_area, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(settings.brightness, settings.contrast, settings.saturation),
        ]
    )


def augmented(clean: Tensor, transform: v2.Transform, stream: torch.Generator) -> Tensor:
    """Return a view of each image, [B, 3, H, W], -1..1: each has draws of its own."""
    with torch.random.fork_rng(devices=[]):  # torchvision draws from the global stream
        torch.manual_seed(host_seed(stream))
        views = torch.stack([transform(image) for image in (clean + 1) / 2])
    return views * 2 - 1
