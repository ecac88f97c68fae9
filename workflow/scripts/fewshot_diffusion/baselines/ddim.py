"""A diffusion of anything, images or latents: what it is trained by, and how it draws."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..config.denoiser import ScheduleConfig
from ..config.sampling import SamplingConfig
from ..diffusion.sampling import sample_ddim
from ..diffusion.schedule import add_noise, label_of, make_scheduler, training_target
from ..seeds import SampleNoise

Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t [B, ...], timesteps [B] or [1]) -> eps, v or x_0 as the schedule says, shape of x_t."""


def diffusion_loss(network: Network, clean: Tensor, schedule: ScheduleConfig, stream: torch.Generator) -> Tensor:
    """Return the mean squared error of what the network predicts at uniformly drawn timesteps, float32 scalar.

    Args:
        network: What is trained.
        clean: x_0, float32 [B, ...], of about unit scale.
        schedule: Noise schedule and prediction type.
        stream: Draws noise and timesteps; on the device of ``clean``.
    """
    noise = torch.randn(clean.shape, generator=stream, device=clean.device)
    last = schedule.num_train_timesteps
    timesteps = torch.randint(last, (len(clean),), generator=stream, device=clean.device)
    alphas_cumprod = make_scheduler(schedule).alphas_cumprod.to(clean.device)
    alpha_bar_t = alphas_cumprod[timesteps].view(-1, *[1] * (clean.ndim - 1))
    output = network(add_noise(clean, noise, alpha_bar_t), timesteps)
    return F.mse_loss(output.float(), training_target(clean, noise, alpha_bar_t, schedule.prediction_type))


def draw_ddim(
    network: Network, noise: SampleNoise, schedule: ScheduleConfig, sampling: SamplingConfig, clip_sample: bool
) -> Tensor:
    """Return one batch of samples, float32, of the shape that the noise has.

    Args:
        network: Frozen.
        noise: Of the samples' own seeds.
        schedule: Noise schedule and prediction type.
        sampling: Steps, eta and spacing.
        clip_sample: Clip the clean estimate of every step to -1..1: images are there, latents are not.

    Raises:
        SamplingError: If a sample is not finite.
    """

    def predict(x_t: Tensor, timestep: int, _alpha_bar_t: Tensor) -> Tensor:
        return network(x_t, label_of(timestep, x_t)).float()

    scheduler = make_scheduler(schedule, clip_sample, sampling.timestep_spacing)
    return sample_ddim(predict, scheduler, noise, sampling.num_inference_steps, sampling.eta)
