"""Settings of the generative baselines: models whose latent a linear classifier of few labels reads."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from .base import Positive, Section, Source
from .denoiser import ArchitectureConfig, DenoiserTrainingConfig

Baseline = Literal["diffae"]
"""Generative baselines; each has a recipe of its name below and a module that makes it."""


class BaselineTrainingConfig(DenoiserTrainingConfig):
    """How a stage of a baseline is trained: by the denoiser's own loop."""

    @field_validator("timestep_power")
    @classmethod
    def _uniform(cls, power: float) -> float:
        if power != 1:
            raise ValueError("expected 1: stages of baselines draw their timesteps uniformly")
        return power


class PriorTrainingConfig(BaselineTrainingConfig):
    """How a prior of latents is trained; its images are latents."""

    random_flip: bool = Field(False, description="Latents have no mirror image: false.")

    @field_validator("random_flip")
    @classmethod
    def _as_they_are(cls, flip: bool) -> bool:
        if flip:
            raise ValueError("expected false: latents have no mirror image")
        return flip


class MlpPriorConfig(Section):
    """The denoiser of latents that are vectors: a perceptron with skip connections from its input."""

    hidden_size: Positive
    num_layers: Annotated[int, Field(ge=2, le=50)]
    training: PriorTrainingConfig


class DiffAEConfig(Section):
    """A diffusion autoencoder: semantic encoder, a DDIM decoder conditioned on its latent, a latent DDIM."""

    latent_size: Annotated[int, Field(ge=1, le=4096)] = Field(description="Numbers of the semantic latent.")
    pool_size: Annotated[int, Field(ge=1, le=8)] = Field(
        description="Cells a side that the encoder's maps are averaged to before the linear map to the latent."
    )
    architecture: ArchitectureConfig = Field(description="Widths of the decoder, and of the encoder.")
    prior: MlpPriorConfig


class BaselinesConfig(Section):
    """Generative baselines of Table 1; one is made if ``attributes.methods`` names it."""

    source: Source = Field(description="Of their weights. train: on the spot; store: the stored ones (`make restore`).")
    training: BaselineTrainingConfig = Field(description="Of what makes images from latents: the same for all.")
    diffae: DiffAEConfig
