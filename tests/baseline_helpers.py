"""A small diffusion autoencoder, and what tests of generative baselines share."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fewshot_diffusion.baselines.base import LatentModel
from fewshot_diffusion.baselines.models import build_baseline
from fewshot_diffusion.config.baselines import BaselineRecipeConfig, BaselinesConfig
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.data.image_set import ImageSet, save_image_set
from fewshot_diffusion.storage.weights import save_module

SIZE = 16
SCHEDULE = ScheduleConfig()
TRAINING: dict[str, Any] = {
    "num_images": 24, "batch_size": 4, "learning_rate": 1e-3, "warmup_images": 8, "decay_from": 0.5, "ema_decay": 0.9,
    "random_flip": True, "checkpoint_images": 8, "precision": "float32",
}  # fmt: skip
PRIOR = {"hidden_size": 8, "num_layers": 3, "training": {**TRAINING, "random_flip": False}}
DIFFAE: dict[str, Any] = {
    "patch_size": 2, "latent_size": 6, "pool_size": 2, "prior": PRIOR,
    "architecture": {"block_out_channels": [8, 16], "norm_num_groups": 4, "attention_head_dim": 8},
}  # fmt: skip
SAMPLING = SamplingConfig(
    num_inference_steps=2, eta=0, timestep_spacing="trailing", clip_sample=True, guidance_interval=(0, 999),
    unit_size=4, precision="float32",
)  # fmt: skip


def baselines(**changes: Any) -> BaselinesConfig:
    """Return a section of one small recipe, with other values for some keys of it."""
    section = {"source": "train", "training": TRAINING, "diffae": {**DIFFAE, **changes}}
    return BaselinesConfig.model_validate(section)


def recipe(**changes: Any) -> BaselineRecipeConfig:
    """Return all that the weights of the small model depend on."""
    return BaselineRecipeConfig(baseline="diffae", section=baselines(**changes), schedule=SCHEDULE)


def small_diffae() -> LatentModel:
    """Return an untrained model, frozen, whose latents have moments."""
    torch.manual_seed(0)
    model = build_baseline("diffae", baselines(), SCHEDULE, SIZE).requires_grad_(False).eval()
    model.normalise(model.posterior_mean(random_images(32)))
    return model


def random_images(number: int) -> torch.Tensor:
    """Return images of noise, float32 [N, 3, H, W], -1..1."""
    return torch.rand(number, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def write_diffae(folder: Path) -> Path:
    """Write the small model as a weights folder."""
    model = small_diffae()
    save_module(model, model.config, folder, {"baseline": "diffae"})
    return folder


def write_images(path: Path, number: int = 12) -> Path:
    """Write images whose attribute Dark can be seen: every second one is dark."""
    dark = torch.arange(number) % 2 == 0
    pixels = (random_images(number) * 60 + 128 + torch.where(dark, -60, 60).view(-1, 1, 1, 1)).to(torch.uint8)
    save_image_set(ImageSet(pixels, torch.arange(number), pd.DataFrame({"Dark": dark.numpy()})), path, {})
    return path
