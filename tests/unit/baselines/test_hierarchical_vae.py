"""The hierarchical VAE: its bound, term by term, its latents in units of the prior, and its samples."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.distributions import Normal, kl_divergence

from fewshot_diffusion.baselines.hierarchical_vae import (
    Gaussian,
    HierarchicalVAE,
    logistic_nats,
    residual_divergence,
)
from fewshot_diffusion.config.baselines import HierarchicalVAEConfig
from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.seeds import generator
from latent_model_helpers import CLEAN, SAMPLING, VAE_RECIPE, batch_makes_no_difference, changed, every_parameter_learns


def build(**changes: Any) -> HierarchicalVAE:
    torch.manual_seed(0)
    return HierarchicalVAE(HierarchicalVAEConfig.model_validate(VAE_RECIPE | changes), ScheduleConfig(), 16).eval()


def scales(*free_nats: float) -> list[dict[str, Any]]:
    return [{**scale, "free_nats": free} for scale, free in zip(VAE_RECIPE["latents"], free_nats, strict=True)]


def gaussian(seed: int) -> Gaussian:
    stream = generator("gaussian", seed)
    return Gaussian(*(torch.randn(2, 3, 4, 4, generator=stream) for _ in range(2)))


def test_shapes_and_gradients() -> None:
    model = build()
    latents = model.encode(CLEAN)
    assert latents.shape == (4, model.latent_size) == (4, 2 * 4 * 2 * 2)
    assert model.decode(latents, range(4), SAMPLING).shape == model.reconstruct(CLEAN, SAMPLING).shape == CLEAN.shape
    assert torch.equal(latents, model.encode(CLEAN)), "encoding draws nothing"
    every_parameter_learns(
        build(latents=[{**scale, "free_nats": 0} for scale in VAE_RECIPE["latents"]]), "network", CLEAN
    )


def test_the_posterior_is_residual_to_the_prior() -> None:
    prior, by = gaussian(0), gaussian(1)
    posterior = prior.moved(by)
    wanted = kl_divergence(*(Normal(each.mean, each.log_scale.exp()) for each in (posterior, prior)))
    assert torch.allclose(residual_divergence(prior, by), wanted, rtol=1e-4, atol=1e-5)
    nothing = Gaussian(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4))
    assert torch.equal(residual_divergence(prior, nothing), torch.zeros(2, 3, 4, 4))
    assert torch.equal(prior.place(torch.ones(2, 3, 4, 4)), prior.mean + prior.log_scale.exp())


def test_the_likelihood_is_one_of_256_levels() -> None:
    levels = torch.arange(256) / 127.5 - 1
    for mean, log_scale in ((0.1, -3.0), (-1.3, 0.0), (0.99, -7.0)):
        nats = logistic_nats(levels, torch.full((256,), mean), torch.full((256,), log_scale))
        assert float((-nats.double()).exp().sum()) == pytest.approx(1, abs=1e-4)
    near, far = logistic_nats(levels[100].expand(2), torch.stack([levels[100], levels[255]]), torch.tensor(-7.0))
    assert near < 0.1 and far.isfinite() and far > 1000


def test_free_bits_hold_each_scale_and_the_weight_grows() -> None:
    def loss(done: float, coarse: float, fine: float, weight: float = 1) -> float:
        scales = [
            {**scale, "free_nats": free} for scale, free in zip(VAE_RECIPE["latents"], (coarse, fine), strict=True)
        ]
        model = build(latents=scales, kl_weight=weight)
        found = model.loss("network", CLEAN, done, generator("test", 0)) * CLEAN[0].numel()
        return float(found.detach())

    bare, high = loss(0, 0, 0), 1e4
    assert loss(0, high, high) == bare, "at the start the divergence costs nothing"
    assert loss(0.25, high, high) - bare == pytest.approx(high, rel=1e-3), "half of it in the middle of kl_warmup"
    assert loss(0.25, high, high, weight=3) - bare == pytest.approx(3 * high, rel=1e-3)
    assert loss(0.5, high, high) - bare == pytest.approx(2 * high, rel=1e-3) == loss(1, high, high) - bare
    coarse, fine = (loss(1, 0, high) - bare - high, loss(1, high, 0) - bare - high)
    assert loss(1, 0, 0) - bare == pytest.approx(coarse + fine, rel=1e-2)
    assert coarse > 0 and fine > 0
    assert loss(1, coarse / 2, fine / 2) == loss(1, 0, 0), "less than the divergence changes nothing"


def test_the_loss_is_a_function_of_its_stream() -> None:
    model = build()
    losses = [float(model.loss("network", CLEAN, 0.5, generator("test", seed)).detach()) for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_a_latent_is_in_units_of_the_prior_and_leads_the_decoder() -> None:
    model = build()
    model.normalise(torch.full((5, model.latent_size), 7.0))
    assert torch.equal(model.encode(CLEAN), model.posterior_mean(CLEAN)), "the prior is fixed"
    only = build(latents=VAE_RECIPE["latents"][:1])
    wanted = only.reconstruct(CLEAN, SAMPLING)
    assert torch.allclose(only.decode(only.encode(CLEAN), range(4), SAMPLING), wanted, atol=1e-5)


def test_temperature_narrows_the_prior() -> None:
    wide, narrow = (build(temperature=each).draw_latents(range(50), SAMPLING) for each in (1.0, 0.5))
    assert torch.allclose(narrow, 0.5 * wide)
    assert float(wide.std()) == pytest.approx(1, abs=0.05)


def test_a_sample_is_a_function_of_its_seed() -> None:
    batch_makes_no_difference(build())


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("temperature", 1.5, "less than or equal to 1"),
        ("kl_weight", 0, "greater than 0"),
        ("kl_warmup", -0.1, "greater than or equal to 0"),
        ("cells_per_level", 0, "greater than 0"),
        ("latents", [], "at least 1 item"),
        ("latents", [VAE_RECIPE["latents"][1]] * 4, "found 4 scales, expected 1 to 3: one a resolution"),
        ("latents.0.free_nats", -1, "greater than or equal to 0"),
        ("latents.1.groups", 0, "greater than or equal to 1"),
        ("block_out_channels", [8, 10], "found \\[10\\], expected multiples of norm_num_groups \\(4\\)"),
    ],
)
def test_a_bad_recipe_is_refused_with_key_and_range(key: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?s){key}.*{said}"):
        HierarchicalVAEConfig.model_validate(changed(VAE_RECIPE, key, value))
