"""Small recipes of baselines, and what every one of them must do."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from fewshot_diffusion.baselines.base import LatentModel
from fewshot_diffusion.config.sampling import SamplingConfig
from fewshot_diffusion.seeds import generator

SAMPLING = SamplingConfig(
    num_inference_steps=3,
    eta=0.0,
    timestep_spacing="trailing",
    clip_sample=True,
    guidance_interval=(0, 999),
    unit_size=4,
    precision="float32",
)
CLEAN = torch.randint(256, (4, 3, 16, 16), generator=generator("baselines", 0)) / 127.5 - 1

TRAINING = {
    "num_images": 8,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "warmup_images": 0,
    "decay_from": 0.5,
    "ema_decay": 0.9,
    "checkpoint_images": 4,
}
D2C_RECIPE: dict[str, Any] = {
    "patch_size": 2,
    "block_out_channels": [8, 16],
    "norm_num_groups": 4,
    "latent_channels": 4,
    "kl_weight": 0.01,
    "contrastive_weight": 0.1,
    "temperature": 0.5,
    "pool_size": 2,
    "projection_size": 8,
    "augmentation": {"min_area": 0.4, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "prior": {
        "architecture": {"block_out_channels": [8, 16], "norm_num_groups": 4, "attention_head_dim": 8},
        "training": TRAINING,
    },
}
VAE_RECIPE: dict[str, Any] = {
    "patch_size": 2,
    "block_out_channels": [8, 16, 16],
    "cells_per_level": 1,
    "norm_num_groups": 4,
    "latents": [{"channels": 4, "groups": 2, "free_nats": 1.0}, {"channels": 2, "free_nats": 2.0}],
    "kl_weight": 1.0,
    "kl_warmup": 0.5,
    "temperature": 0.8,
}


def changed(recipe: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a recipe in which a key, dotted, has another value."""
    recipe = deepcopy(recipe)
    *sections, last = key.split(".")
    place: Any = recipe
    for section in sections:
        place = place[int(section) if section.isdigit() else section]
    place[last] = value
    return recipe


def every_parameter_learns(model: LatentModel, stage: str, examples: Tensor) -> None:
    """Require a finite gradient, not zero everywhere, of every parameter that a stage trains: resuming needs it."""
    loss = model.loss(stage, examples, 0.7, generator("baselines", 1))
    assert loss.shape == () and loss.dtype == torch.float32 and loss.isfinite()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.get_submodule(stage).named_parameters()}
    assert all(found is not None and found.isfinite().all() for found in gradients.values())
    still = [name for name, found in gradients.items() if found is not None and not found.any()]
    assert not still, f"{still} learn nothing"


def batch_makes_no_difference(model: LatentModel) -> None:
    """Require that a sample depends on its seed alone, and that seeds make a difference to latents and images."""
    with torch.no_grad():
        latents = model.draw_latents(range(3, 7), SAMPLING)
        images = model.decode(latents, range(3, 7), SAMPLING)
        alone = model.draw_latents([5], SAMPLING)
        assert torch.allclose(alone[0], latents[2], atol=1e-5)
        assert torch.allclose(model.decode(alone, [5], SAMPLING)[0], images[2], atol=1e-4)
    assert (latents[0] - latents[1]).abs().max() > 0.1
    assert (images[0] - images[1]).abs().max() > 1e-3
