"""The maths of one diffusion step: noise, clean estimate and score; nothing learned.

x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps. A denoiser's raw output is eps, x_0
(``sample``) or v = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x_0 (Salimans and Ho 2022).
"""

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from ..config.denoiser import ScheduleConfig


def make_scheduler(
    settings: ScheduleConfig, clip_sample: bool = False, timestep_spacing: str = "trailing"
) -> DDIMScheduler:
    """Return the DDIM scheduler of a diffusion.

    Args:
        settings: Noise schedule and prediction type.
        clip_sample: Clip the clean estimate of every step to [-1, 1].
        timestep_spacing: ``trailing`` starts at the last timestep, where x_T is pure noise (Lin et al. 2024);
            ``leading`` starts up to a stride before it, as the paper does.
    """
    return DDIMScheduler(
        num_train_timesteps=settings.num_train_timesteps,
        beta_schedule=settings.beta_schedule,
        beta_start=settings.beta_start,
        beta_end=settings.beta_end,
        prediction_type=settings.prediction_type,
        clip_sample=clip_sample,
        set_alpha_to_one=True,
        timestep_spacing=timestep_spacing,
    )


def pred_original_sample(output: Tensor, x_t: Tensor, alpha_bar_t: Tensor, prediction_type: str) -> Tensor:
    """Return the clean estimate x0_hat, not clipped.

    epsilon:       x0_hat = (x_t - sqrt(1 - alpha_bar_t) eps) / sqrt(alpha_bar_t)
    v_prediction:  x0_hat = sqrt(alpha_bar_t) x_t - sqrt(1 - alpha_bar_t) v
    sample:        x0_hat is the output

    Args:
        output: The denoiser's raw output, [B, C, H, W].
        x_t: Noisy images, [B, C, H, W].
        alpha_bar_t: Cumulative product of alphas, scalar or [B, 1, 1, 1], in (0, 1].
        prediction_type: ``epsilon``, ``v_prediction`` or ``sample``.
    """
    if prediction_type == "epsilon":
        return (x_t - (1 - alpha_bar_t).sqrt() * output) / alpha_bar_t.sqrt()
    if prediction_type == "sample":
        return output
    return alpha_bar_t.sqrt() * x_t - (1 - alpha_bar_t).sqrt() * output


def pred_epsilon(output: Tensor, x_t: Tensor, alpha_bar_t: Tensor, prediction_type: str) -> Tensor:
    """Return the predicted noise eps.

    v:       eps = sqrt(alpha_bar_t) v + sqrt(1 - alpha_bar_t) x_t
    sample:  eps = (x_t - sqrt(alpha_bar_t) x0_hat) / sqrt(1 - alpha_bar_t)
    """
    if prediction_type == "epsilon":
        return output
    if prediction_type == "sample":
        return (x_t - alpha_bar_t.sqrt() * output) / (1 - alpha_bar_t).sqrt()
    return alpha_bar_t.sqrt() * output + (1 - alpha_bar_t).sqrt() * x_t


def output_of_epsilon(eps: Tensor, x_t: Tensor, alpha_bar_t: Tensor, prediction_type: str) -> Tensor:
    """Return the raw output that predicts ``eps``: the inverse of ``pred_epsilon``."""
    if prediction_type == "epsilon":
        return eps
    if prediction_type == "sample":
        return (x_t - (1 - alpha_bar_t).sqrt() * eps) / alpha_bar_t.sqrt()
    return (eps - (1 - alpha_bar_t).sqrt() * x_t) / alpha_bar_t.sqrt()


def score_of_epsilon(eps: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """Return the score grad log p(x_t) = -eps / sqrt(1 - alpha_bar_t). Source: Graikos et al. 2023, "Approach"."""
    return -eps / (1 - alpha_bar_t).sqrt()


def training_target(clean: Tensor, noise: Tensor, alpha_bar_t: Tensor, prediction_type: str) -> Tensor:
    """Return what the denoiser shall output: eps, x_0, or v = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x_0."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return clean
    return alpha_bar_t.sqrt() * noise - (1 - alpha_bar_t).sqrt() * clean


def add_noise(clean: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """Return x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps."""
    return alpha_bar_t.sqrt() * clean + (1 - alpha_bar_t).sqrt() * noise


def label_of(timestep: int | Tensor, beside: Tensor) -> Tensor:
    """Return a timestep label as a tensor on a device: of an int, a network would copy one from the host, and wait."""
    return timestep if isinstance(timestep, Tensor) else torch.full((1,), timestep, device=beside.device)
