"""All generative baselines alike: recipes that fit the images, weights that the store can hold, a way back."""

from pathlib import Path

import pytest
import torch

from fewshot_diffusion.baselines.models import MODELS, build_baseline, load_baseline
from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.storage.weights import save_module
from latent_model_helpers import CLEAN
from support import default, smoke_config


@pytest.mark.parametrize("name", ["d2c", "hierarchical_vae"])
def test_shipped_weights_are_small(name: str) -> None:
    config = load_config(default())
    assert config.baselines
    with torch.device("meta"):
        model = build_baseline(name, config.baselines, config.denoiser.schedule, config.data.image_size)
    assert sum(2 * parameter.numel() for parameter in model.parameters()) <= 5 * 2**20, "bytes, as float16"


@pytest.mark.parametrize("name", MODELS)
def test_weights_make_the_same_model_again(name: str, tmp_path: Path) -> None:
    config = smoke_config()
    assert config.baselines
    model = build_baseline(name, config.baselines, config.denoiser.schedule, 16).requires_grad_(False).eval()
    model.normalise(model.posterior_mean(CLEAN))
    save_module(model, model.config, tmp_path, {"baseline": name})
    assert torch.equal(load_baseline(name, tmp_path).encode(CLEAN), model.encode(CLEAN))


@pytest.mark.parametrize(("name", "multiple"), [("d2c", 16), ("hierarchical_vae", 32)])
def test_images_that_a_recipe_cannot_halve_are_refused(name: str, multiple: int) -> None:
    raw = default()
    raw["attributes"]["methods"] = ["unguided", name]
    raw["data"]["image_size"] = 72
    with pytest.raises(ConfigError, match=f"baselines.{name}: .* for multiples of {multiple} pixels.*72.*out of attr"):
        load_config(raw)
