"""The autoencoder of a small latent diffusion: reconstruction and a divergence; no adversary, whom cartoons spare."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from ..config.latent import AutoencoderConfig
from ..data.image_set import load_image_set
from ..diffusion.denoiser import unet_config
from ..images import to_signed
from ..progress import Progress
from ..runtime import Runtime, make_runtime
from ..storage.rows import Rows
from ..storage.tensors import pixel_digest
from ..storage.weights import load_module, save_module
from ..supervised import augment, fit
from .networks import build_autoencoder, latents_of

BATCH_SIZE = 50


class _Loss(nn.Module):
    """Maps images to what each costs: the mean error of its pixels, and of its latents the divergence."""

    def __init__(self, autoencoder: AutoencoderKL, kl_weight: float) -> None:
        super().__init__()
        self.autoencoder, self.kl_weight = autoencoder, kl_weight

    def forward(self, images: Tensor) -> Tensor:
        """Return |x - x'| + (x - x')^2 + kl_weight KL(q(z | x) || N(0, 1)) of uint8 images [B, 3, H, W], [B]."""
        clean = to_signed(images)
        found = self.autoencoder.encode(clean).latent_dist
        decoded = self.autoencoder.decode(found.sample()).sample.float()
        error = F.l1_loss(decoded, clean, reduction="none") + F.mse_loss(decoded, clean, reduction="none")
        divergence: Tensor = found.kl().float() / found.mean[0].numel()
        return error.mean((1, 2, 3)) + self.kl_weight * divergence


def fit_autoencoder(images: Rows, settings: AutoencoderConfig, runtime: Runtime) -> AutoencoderKL:
    """Train an autoencoder; its scaling factor makes the latents of the images vary by 1.

    Args:
        images: uint8 [N, 3, H, W], 0..255.
        settings: Widths and recipe.
        runtime: Device and precision.
    """
    torch.manual_seed(settings.seed)
    autoencoder = build_autoencoder(settings, images.shape[-1])
    loss = _Loss(autoencoder, settings.kl_weight)

    def mirrored(batch: Tensor, targets: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        return augment(batch, stream), targets

    fit(loss, (images, images), lambda losses, _: losses.mean(), mirrored, settings, runtime)
    autoencoder.register_to_config(scaling_factor=1.0)
    deviation = float(encode_all(autoencoder, images[:1000], runtime).std())
    autoencoder.register_to_config(scaling_factor=round(1 / deviation, 5))
    return autoencoder


def encode_all(autoencoder: AutoencoderKL, images: Rows, runtime: Runtime) -> Tensor:
    """Return the latents of images, uint8 [N, 3, H, W], float32 [N, C, h, w] on the host."""
    found = []
    for batch in Progress(list(images.split(BATCH_SIZE)), desc="latents", unit="batch"):
        with torch.no_grad(), runtime.autocast():
            found.append(latents_of(autoencoder, to_signed(batch.to(runtime.device))).float().cpu())
    return torch.cat(found)


def train_autoencoder(settings: AutoencoderConfig, images: Path, output: Path, device: str = "auto") -> None:
    """Train the autoencoder of a latent diffusion.

    Args:
        settings: Section denoiser.latent.model.autoencoder, JSON.
        images: Split that it is trained on, parquet.
        output: Weights folder to write.
        device: auto, cpu, cuda or cuda:<n>.
    """
    runtime = make_runtime(device, settings.precision, cpu_threads=1)
    pixels = load_image_set(images).images
    autoencoder = fit_autoencoder(pixels, settings, runtime)
    about = {"recipe": settings.model_dump(mode="json"), "images": pixel_digest(pixels)}
    save_module(autoencoder, unet_config(autoencoder), output, about)


def load_autoencoder(folder: Path) -> AutoencoderKL:
    """Load an autoencoder that ``train_autoencoder`` wrote, frozen; raise ``WeightsError`` if files are missing."""
    return load_module(AutoencoderKL.from_config, folder)[0]
