"""Settings of the generative baselines: models whose latent a linear classifier of few labels reads."""

from typing import Annotated, Any, Literal, get_args

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

    @field_validator("compile")
    @classmethod
    def _eager(cls, wanted: bool) -> bool:
        if wanted:
            raise ValueError("expected false: baselines are not compiled")
        return wanted


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
    candidate_units: Positive | None = Field(
        None,
        description="Work units of latents that classifiers choose from; null: as many as the unguided pool has.",
    )
    diffae: DiffAEConfig | None = None

    def recipe(self, baseline: str) -> Any:
        """Return a baseline's own section. A stage that is trained on latents has a section of its name in it."""
        return getattr(self, baseline)

    def only(self, baseline: str) -> "BaselinesConfig":
        """Return what one baseline's weights depend on: the others' recipes make nothing of it stale."""
        others = dict.fromkeys(set(get_args(Baseline)) - {baseline})
        return self.model_copy(update={**others, "source": "train", "candidate_units": None})
