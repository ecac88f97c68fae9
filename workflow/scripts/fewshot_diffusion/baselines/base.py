"""What all generative baselines have in common: a learnt latent, read by classifiers, drawn from a prior, decoded."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..config.base import Section
from ..config.denoiser import ScheduleConfig
from ..config.sampling import SamplingConfig
from ..seeds import SampleNoise, derive_seed

Examples = Literal["images", "latents"]


class LatentModel(nn.Module, ABC):
    """A generative model whose latent is learnt.

    Stages are trained one after another, each on the averaged weights of those before it. A stage bears the name of
    the submodule that it trains: every parameter of it must get a gradient, and no buffer of it may change in training
    (group norms, no batch norms), since a training's state is its parameters.

    A model computes in the autocast context of its caller: what it returns is float32.

    Attributes:
        stages: Stage -> what it is trained on: images, [B, 3, H, W] in -1..1, or latents, [B, D] as of ``encode``.
        settings: The model's recipe.
        schedule: Of its diffusions.
        latent_size: D, the length of a latent.
        latent_mean: What ``encode`` subtracts, [D].
        latent_scale: What ``encode`` divides by, [D].
    """

    stages: ClassVar[Mapping[str, Examples]]
    settings: Section
    schedule: ScheduleConfig
    latent_mean: Tensor
    latent_scale: Tensor

    def __init__(self, latent_size: int, image_size: int) -> None:
        super().__init__()
        self.latent_size, self.image_size = latent_size, image_size
        self.register_buffer("latent_mean", torch.zeros(latent_size))
        self.register_buffer("latent_scale", torch.ones(latent_size))

    @property
    def config(self) -> dict[str, Any]:
        """Arguments that build this model again, JSON."""
        sections = {"settings": self.settings, "schedule": self.schedule}
        return {
            **{name: section.model_dump(mode="json") for name, section in sections.items()},
            "image_size": self.image_size,
        }

    @abstractmethod
    def loss(self, stage: str, examples: Tensor, done: float, stream: torch.Generator) -> Tensor:
        """Return the loss of a stage, float32 scalar.

        Args:
            stage: Which one, of ``stages``.
            examples: What it is trained on: images, [B, 3, H, W] in -1..1, or latents, [B, D].
            done: Share of the stage's steps that are behind, 0..1: for weights that grow in training.
            stream: All randomness; it lives where the examples do.
        """

    @abstractmethod
    def posterior_mean(self, clean: Tensor) -> Tensor:
        """Return the latents of images before they are normalised, float32 [B, D]; always the same.

        Args:
            clean: Images, [B, 3, H, W], -1..1.
        """

    @abstractmethod
    def draw_latents(self, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return one latent of the prior per seed, normalised as those of ``encode``, float32 [B, D].

        Args:
            seeds: A latent is a function of its own alone; take noise from ``seeded_noise``.
            sampling: Steps, eta and spacing, where the prior is a diffusion.
        """

    @abstractmethod
    def decode(self, latents: Tensor, seeds: Sequence[int], sampling: SamplingConfig) -> Tensor:
        """Return images, float32 [B, 3, H, W], -1..1 up to the model's error.

        Args:
            latents: As of ``encode`` or ``draw_latents``, [B, D].
            seeds: Whatever else is random of a sample is a function of its own seed.
            sampling: Steps, eta, spacing and clipping, where the decoder is a diffusion.
        """

    def encode(self, clean: Tensor) -> Tensor:
        """Return the latents of images [B, 3, H, W], -1..1, as classifiers and the prior see them, float32 [B, D]."""
        return self.normalised(self.posterior_mean(clean))

    def normalised(self, latents: Tensor) -> Tensor:
        """Return latents [B, D] of ``posterior_mean`` as ``encode`` does."""
        return (latents - self.latent_mean) / self.latent_scale

    def unnormalised(self, latents: Tensor) -> Tensor:
        """Return latents [B, D] as they were before ``encode`` normalised them."""
        return latents * self.latent_scale + self.latent_mean

    def normalise(self, latents: Tensor) -> None:
        """Take mean and scale of ``encode`` from ``posterior_mean`` of many images, float32 [N, D].

        It is called once, behind the stages that are trained on images. Here each number of the latent has a mean and
        a scale of its own; a model whose latent is a map, or whose prior is fixed, does otherwise.
        """
        self.latent_mean.copy_(latents.mean(0))
        self.latent_scale.copy_(latents.std(0, correction=0).clamp_min(1e-3))

    def reconstruct(self, clean: Tensor, sampling: SamplingConfig) -> Tensor:
        """Return images [B, 3, H, W], -1..1, as they come through the latent; the seeds are their positions."""
        return self.decode(self.encode(clean), range(len(clean)), sampling)


def seeded_noise(purpose: str, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device) -> SampleNoise:
    """Return standard normal noise of samples: a row is a function of purpose and seed; ``draw`` gives [B, *shape]."""
    return SampleNoise([derive_seed(purpose, seed) for seed in seeds], shape, device)
