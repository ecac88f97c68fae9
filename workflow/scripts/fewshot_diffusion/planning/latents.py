"""Denoisers of latents as a plan counts them: without weights, from the configuration or from small files."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from ..config.latent import LatentConfig, LatentModelConfig
from ..config.model import Config
from ..latent.denoiser import LatentDenoiser
from ..latent.description import LatentDescription, describe_pipeline
from ..latent.networks import CODERS, UNETS, LatentNetwork, build_autoencoder, build_conditional_unet
from ..runtime import CPU
from ..storage.files import read_json
from .networks import BACKWARD, DenoiserCosts, built, on_image
from .work import Run, Work, write_denoiser

STABLE_DIFFUSION: dict[str, Any] = {"sample_size": 64, "cross_attention_dim": 768}
"""Versions 1, where they differ from diffusers' defaults; what a repository of the hub is counted as."""

STABLE_CODER: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
}
TOKENS = 77


def latent_costs(config: Config, settings: LatentConfig) -> DenoiserCosts:
    """Return what a denoiser of latents costs: one prediction is both passes of classifier-free guidance."""
    network = built(lambda: planned_network(config, settings))
    return DenoiserCosts(LatentDenoiser(config.denoiser.schedule, "", CPU, network))


def planned_network(config: Config, settings: LatentConfig) -> LatentNetwork:
    """Return the network of a configuration; on the device that is current."""
    if settings.source == "hub":
        unet, coder = UNet2DConditionModel(**STABLE_DIFFUSION), AutoencoderKL(**STABLE_CODER)
    elif settings.source == "train" and settings.model:
        unet, coder = _trained(settings.model, config.data.image_size)
    else:
        here = Path("results", config.data.name, "stable_diffusion")
        unet, coder = _described(describe_pipeline(settings.folder or here))
    width = unet.config.get("cross_attention_dim") if isinstance(unet, UNet2DConditionModel) else None
    if width is None:
        return LatentNetwork.without_prompt(unet, coder)
    return LatentNetwork(unet, coder, torch.zeros(2, TOKENS, width), settings.held_at.model_dump(mode="json"))


def _trained(model: LatentModelConfig, image_size: int) -> tuple[Any, Any]:
    size, channels = image_size // model.autoencoder.reduction, model.autoencoder.latent_channels
    unet = build_conditional_unet(model.unet, size, channels, model.text_encoder.hidden_size)
    return unet, build_autoencoder(model.autoencoder, image_size)


def _described(found: LatentDescription) -> tuple[Any, Any]:
    unet, coder = (read_json(found.folder / name / "config.json") for name in ("unet", found.coder_name))
    return UNETS[found.kinds[0]].from_config(unet), CODERS[found.kinds[1]].from_config(coder)


def train_autoencoder(run: Run) -> Work:
    """Train the autoencoder on the split train."""
    latent = run.config.denoiser.latent
    assert latent
    assert latent.model
    recipe, size = latent.model.autoencoder, run.config.data.image_size
    forward = on_image(built(lambda: build_autoencoder(recipe, size)), size)
    return Work(recipe.epochs * run.images("train") * BACKWARD * forward, write_denoiser(run).size)


def train_latent_denoiser(run: Run) -> Work:
    """Train U-Net and text encoder; the text's products are too few to count, and of captions there is one pass."""
    denoiser = run.networks.denoiser
    assert isinstance(denoiser, LatentDenoiser)
    passes = 1 if denoiser.classifier_free_scale == 1 else 2
    found = run.trained(run.config.denoiser.training.num_images)
    return Work(found.flops / passes, found.size)


JOBS = {
    "train_autoencoder": train_autoencoder,
    "train_latent_denoiser": train_latent_denoiser,
    "adopt_latent_denoiser": write_denoiser,
}
