"""The diffusion that draws a baseline's latents, as guidance sees a denoiser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...baselines.base import LatentModel, seeded_noise
from ...baselines.d2c import D2C
from ...baselines.ddim import Network
from ...baselines.diffae import DiffAE
from ...config.sampling import SamplingConfig
from ...diffusion.guidance import Predictor
from ...diffusion.sampling import sample_ddim
from ...diffusion.schedule import label_of, make_scheduler
from ...runtime import Runtime


def _of_vectors(model: DiffAE) -> tuple[Network, tuple[int, ...]]:
    return model.prior, (model.latent_size,)


def _of_maps(model: D2C) -> tuple[Network, tuple[int, ...]]:
    return lambda x_t, timesteps: model.prior(x_t, timesteps).sample, model.latent_shape


NETWORKS: dict[str, Callable[[Any], tuple[Network, tuple[int, ...]]]] = {"diffae": _of_vectors, "d2c": _of_maps}
"""Baseline -> the network that denoises its latents, and their shape; a further one is a line here."""


@dataclass(frozen=True)
class LatentPrior:
    """A baseline's frozen latent DDIM.

    Attributes:
        baseline: Its name.
        model: The whole model.
        runtime: Device and precision.
    """

    baseline: str
    model: LatentModel
    runtime: Runtime

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one latent: [D], or [C, h, w]."""
        return NETWORKS[self.baseline](self.model)[1]

    @property
    def prediction_type(self) -> str:
        """What the network puts out: ``epsilon``, ``v_prediction`` or ``sample``."""
        return self.model.schedule.prediction_type

    def predict(self, x_t: Tensor, timestep: int) -> Tensor:
        """Return the network's raw output, float32 [B, *shape], of noisy latents; with gradients where wanted."""
        network, _ = NETWORKS[self.baseline](self.model)
        with self.runtime.autocast():
            return network(x_t, label_of(timestep, x_t)).float()

    def plain(self, x_t: Tensor, timestep: int, _alpha_bar_t: Tensor) -> Tensor:
        """Return the same without gradients: the predictor that follows nothing."""
        with torch.no_grad():
            return self.predict(x_t, timestep)

    def draw(self, seeds: Sequence[int], predictor: Predictor, sampling: SamplingConfig) -> Tensor:
        """Return one normalised latent per seed, float32 [B, D]; by ``plain``, those of ``LatentModel.draw_latents``.

        Args:
            seeds: A latent is a function of its own and of what the predictor follows.
            predictor: The prior, guided or not.
            sampling: Steps, eta and spacing.

        Raises:
            SamplingError: If a latent is not finite.
        """
        noise = seeded_noise(f"{self.baseline} latent", seeds, self.shape, self.model.latent_mean.device)
        scheduler = make_scheduler(self.model.schedule, timestep_spacing=sampling.timestep_spacing)
        steps = sampling.num_inference_steps
        return sample_ddim(predictor, scheduler, noise, steps, sampling.eta, self.plain).flatten(1)
