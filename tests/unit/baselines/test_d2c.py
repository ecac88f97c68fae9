"""D2C: its loss, its contrast against a case by hand, its views, its latents and its samples."""

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from fewshot_diffusion.baselines.d2c import D2C, augmented, nt_xent, random_views
from fewshot_diffusion.config.baselines import AugmentationConfig, D2CConfig
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.seeds import generator
from latent_model_helpers import CLEAN, D2C_RECIPE, SAMPLING, batch_makes_no_difference, changed, every_parameter_learns


@pytest.fixture
def model() -> D2C:
    torch.manual_seed(0)
    return D2C(D2CConfig.model_validate(D2C_RECIPE), ScheduleConfig(), 16).eval()


def test_shapes_and_gradients(model: D2C) -> None:
    latents = model.encode(CLEAN)
    assert latents.shape == (4, model.latent_size) == (4, 4 * 4 * 4)
    assert model.decode(latents, range(4), SAMPLING).shape == CLEAN.shape
    assert torch.equal(latents, model.encode(CLEAN)), "encoding draws nothing"
    every_parameter_learns(model, "autoencoder", CLEAN)
    every_parameter_learns(model, "prior", latents.detach())


def test_the_loss_is_a_function_of_its_stream(model: D2C) -> None:
    losses = []
    for seed in (0, 0, 1):
        torch.rand(3)  # the global stream must not matter
        losses.append(float(model.loss("autoencoder", CLEAN, 0.5, generator("test", seed)).detach()))
    assert losses[0] == losses[1] != losses[2]


def test_the_terms_of_the_loss_are_weighed(model: D2C) -> None:
    def loss(**weights: float) -> float:
        model.settings = D2CConfig.model_validate(D2C_RECIPE | {"kl_weight": 0, "contrastive_weight": 0} | weights)
        return float(model.loss("autoencoder", CLEAN, 0.5, generator("test", 0)).detach())

    posterior, bare = model.autoencoder.posterior(CLEAN), loss()
    wanted = torch.distributions.Normal(posterior.mean, posterior.std)
    divergence = torch.distributions.kl_divergence(wanted, torch.distributions.Normal(0.0, 1.0)).mean()
    assert loss(kl_weight=2.0) - bare == pytest.approx(2 * float(divergence.detach()), rel=1e-4)
    assert 0 < loss(contrastive_weight=1.0) - bare < math.log(7) + 2 / D2C_RECIPE["temperature"]


def test_the_contrast_is_the_one_by_hand() -> None:
    # Two images, two views each, in the plane: similarities are cosines of 0, 60 and 90 degrees.
    first = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    second = torch.tensor([[0.5, 0.5 * math.sqrt(3)], [0.0, 1.0]])
    up = math.sqrt(3) / 2

    def cost(positive: float, *others: float, temperature: float = 0.5) -> float:
        weights = [math.exp(each / temperature) for each in (positive, *others)]
        return -math.log(weights[0] / sum(weights))

    by_hand = (cost(0.5, 0, 0) + cost(1, 0, up) + cost(0.5, up, up) + cost(1, 0, up)) / 4
    assert float(nt_xent(first, second, temperature=0.5)) == pytest.approx(by_hand, rel=1e-5)


def test_views_are_crops_in_other_colours_each_with_its_own_draws() -> None:
    settings = AugmentationConfig(min_area=0.3, brightness=0.2, contrast=0.2, saturation=0.2)
    image = CLEAN[:1].expand(6, -1, -1, -1)
    views = augmented(image, random_views(settings, 16), generator("test", 0))
    assert views.shape == image.shape and views.abs().max() <= 1
    assert len({tuple(view.flatten().tolist()) for view in views}) == 6
    still = AugmentationConfig(min_area=1, brightness=0, contrast=0, saturation=0)
    for view in augmented(image, random_views(still, 16), generator("test", 0)):
        mirror = min(F.mse_loss(view, image[0]), F.mse_loss(view, image[0].flip(-1)))
        assert mirror < F.mse_loss(view, CLEAN[1]) / 4, "without jitter and crop, an image or its mirror image is left"


def test_latents_are_normalised_by_channel(model: D2C) -> None:
    images = torch.rand(40, 3, 16, 16, generator=generator("test", 1)) * 2 - 1
    model.normalise(model.posterior_mean(images).detach())
    maps = model.encode(images).view(40, *model.latent_shape).transpose(0, 1).flatten(1)
    assert torch.allclose(maps.mean(1), torch.zeros(4), atol=1e-4)
    assert torch.allclose(maps.std(1, correction=0), torch.ones(4), atol=1e-3)
    assert torch.allclose(model.unnormalised(model.encode(images)), model.posterior_mean(images), atol=1e-5)


def test_a_sample_is_a_function_of_its_seed(model: D2C) -> None:
    batch_makes_no_difference(model)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("temperature", 0, "greater than 0"),
        ("kl_weight", -1, "greater than or equal to 0"),
        ("latent_channels", 65, "less than or equal to 64"),
        ("patch_size", 3, "1, 2, 4 or 8"),
        ("block_out_channels", [8, 9], "found \\[9\\], expected multiples of norm_num_groups \\(4\\)"),
        ("augmentation.min_area", 0, "greater than 0"),
        ("augmentation.saturation", 2, "less than or equal to 1"),
        ("prior.training.random_flip", True, "expected false: latents have no mirror image"),
    ],
)
def test_a_bad_recipe_is_refused_with_key_and_range(key: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?s){key}.*{said}"):
        D2CConfig.model_validate(changed(D2C_RECIPE, key, value))
