"""Conversions between noise, clean estimate, score and v; schedules against known values."""

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from fewshot_diffusion.config.denoiser import ScheduleConfig
from fewshot_diffusion.diffusion.schedule import (
    add_noise,
    make_scheduler,
    output_of_epsilon,
    pred_epsilon,
    pred_original_sample,
    score_of_epsilon,
    training_target,
)

PREDICTION_TYPES = ["epsilon", "v_prediction", "sample"]
ALPHA_BARS = [0.9999, 0.5, 0.07780, 4.036e-5]


def normal(seed: int) -> Tensor:
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.fixture(params=[*ALPHA_BARS, "per sample"])
def alpha_bar_t(request: pytest.FixtureRequest) -> Tensor:
    """A scalar, and one value per sample."""
    if request.param == "per sample":
        return torch.tensor(ALPHA_BARS, dtype=torch.float64).view(-1, 1, 1, 1)
    return scalar(request.param)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_the_training_target_gives_back_the_clean_image_and_the_noise(
    prediction_type: str, alpha_bar_t: Tensor
) -> None:
    clean, noise = normal(0), normal(1)
    x_t = add_noise(clean, noise, alpha_bar_t)
    output = training_target(clean, noise, alpha_bar_t, prediction_type)
    x0_hat = pred_original_sample(output, x_t, alpha_bar_t, prediction_type)
    torch.testing.assert_close(x0_hat, clean, rtol=0, atol=1e-11)
    torch.testing.assert_close(pred_epsilon(output, x_t, alpha_bar_t, prediction_type), noise, rtol=0, atol=1e-11)


@pytest.mark.parametrize("prediction_type", PREDICTION_TYPES)
def test_output_and_epsilon_are_inverse_to_each_other(prediction_type: str, alpha_bar_t: Tensor) -> None:
    raw, x_t = normal(2), normal(3)
    eps = pred_epsilon(raw, x_t, alpha_bar_t, prediction_type)
    back = output_of_epsilon(eps, x_t, alpha_bar_t, prediction_type)
    torch.testing.assert_close(back, raw, rtol=0, atol=1e-10)


def test_the_targets_differ() -> None:
    clean, noise, alpha_bar_t = normal(0), normal(1), scalar(0.3)
    assert training_target(clean, noise, alpha_bar_t, "sample") is clean
    assert training_target(clean, noise, alpha_bar_t, "epsilon") is noise
    v = training_target(clean, noise, alpha_bar_t, "v_prediction")
    torch.testing.assert_close(v, 0.3**0.5 * noise - 0.7**0.5 * clean)


def test_the_score_is_that_of_the_gaussian_around_the_scaled_clean_image(alpha_bar_t: Tensor) -> None:
    clean, noise = normal(0), normal(1)
    x_t = add_noise(clean, noise, alpha_bar_t).requires_grad_()
    log_density = -(x_t - alpha_bar_t.sqrt() * clean).square() / (2 * (1 - alpha_bar_t))
    (score,) = torch.autograd.grad(log_density.sum(), x_t)
    torch.testing.assert_close(score_of_epsilon(noise, alpha_bar_t), score, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("beta_schedule", "timestep", "expected"),
    [
        ("linear", 500, 0.07780),
        ("linear", 999, 4.036e-5),
        ("squaredcos_cap_v2", 300, 0.78563),
        ("squaredcos_cap_v2", 800, 0.09314),
    ],
)
def test_cumulative_products_of_the_schedules(beta_schedule: str, timestep: int, expected: float) -> None:
    scheduler = make_scheduler(ScheduleConfig(beta_schedule=beta_schedule))
    # Off by one would change the fourth digit.
    assert float(scheduler.alphas_cumprod[timestep]) == pytest.approx(expected, rel=1.5e-4)


def test_the_scheduler_is_as_documented() -> None:
    scheduler = make_scheduler(ScheduleConfig(prediction_type="epsilon"), clip_sample=True)
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]
    leading = make_scheduler(ScheduleConfig(), timestep_spacing="leading")
    leading.set_timesteps(4)
    assert leading.timesteps.tolist() == [750, 500, 250, 0]
    assert len(scheduler.alphas_cumprod) == 1000
    assert float(scheduler.final_alpha_cumprod) == 1
    assert scheduler.config.prediction_type == "epsilon"
    assert scheduler.config.clip_sample
    assert not make_scheduler(ScheduleConfig()).config.clip_sample


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_any_schedule_of_diffusers_is_that_of_diffusers(beta_schedule: str) -> None:
    stated = {"num_train_timesteps": 4000, "beta_schedule": beta_schedule, "beta_start": 2.5e-5, "beta_end": 0.005}
    found = make_scheduler(ScheduleConfig.model_validate(stated)).alphas_cumprod
    assert torch.equal(found, DDPMScheduler(**stated).alphas_cumprod)


def test_usual_betas_are_not_written_so_that_earlier_weights_keep_their_identity() -> None:
    assert set(ScheduleConfig().model_dump(mode="json")) == {"num_train_timesteps", "beta_schedule", "prediction_type"}
    assert ScheduleConfig.model_validate_json(ScheduleConfig(beta_end=0.01).model_dump_json()).beta_end == 0.01
