"""Settings of the unconditional denoiser."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Compile, Count, Fraction, Positive, Precision, Section
from .latent import LatentConfig, LatentModelConfig

Beta = Annotated[float, Field(gt=0, lt=1)]


class ArchitectureConfig(Section):
    """A diffusers ``UNet2DModel`` without attention outside its middle block."""

    block_out_channels: tuple[Positive, ...] = Field(min_length=2, description="Channels per resolution, finest first.")
    layers_per_block: Positive = 1
    norm_num_groups: Positive = 16
    attention_head_dim: Positive = 32


class ScheduleConfig(Section):
    """The diffusion that the denoiser is trained on."""

    num_train_timesteps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "squaredcos_cap_v2"
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "v_prediction"
    # Not written where usual: what earlier weights say of themselves, and their digests, stays what it was.
    beta_start: Beta = Field(1e-4, exclude_if=lambda beta: beta == 1e-4, description="First beta, unless cosine.")
    beta_end: Beta = Field(0.02, exclude_if=lambda beta: beta == 0.02, description="Last beta, unless cosine.")

    @model_validator(mode="after")
    def _betas_grow(self) -> "ScheduleConfig":
        if self.beta_start >= self.beta_end:
            raise ValueError(f"beta_end: found {self.beta_end}, expected more than beta_start ({self.beta_start})")
        return self


class DenoiserTrainingConfig(Section):
    """How the denoiser is trained from scratch."""

    num_images: Positive = Field(description="Training length in images seen; not in steps.")
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    warmup_images: Count = Field(description="Linear warm-up, images.")
    decay_from: Fraction = Field(description="Fraction of training at which the cosine decay starts.")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="Decay of the weights' moving average, per step."
    )
    random_flip: bool = Field(description="Mirror half of the training images.")
    checkpoint_images: Positive = Field(description="A checkpoint is written every so many images.")
    seed: Count = 0
    timestep_power: Annotated[float, Field(gt=0)] = Field(
        1, description="Timesteps are drawn with a density proportional to t^(timestep_power - 1); 1 is uniform."
    )
    precision: Precision = "auto"
    cpu_threads: Positive = Field(1, description="Threads of the job; part of the bits of the weights.")
    compile: Compile = False


class CheckpointConfig(Section):
    """A public checkpoint, and the shape that it is planned by before it is there; what is found must agree."""

    layout: Literal["ddim_celeba", "adm", "improved_diffusion"] = Field(description="Whose files it is laid out as.")
    file: Path
    block_out_channels: tuple[Positive, ...] = Field(min_length=1, description="Channels per resolution, finest first.")
    layers_per_block: Positive
    attention_levels: list[Count] = Field(description="Resolutions with self-attention; 0 is the finest.")
    num_head_channels: Positive | None = Field(None, description="Where it is not as in the layout's public files.")
    num_heads: Positive | None = Field(None, description="In place of the former.")


class LatentRecipeConfig(Section):
    """All that a latent diffusion depends on that is trained here."""

    model: LatentModelConfig
    schedule: ScheduleConfig
    training: DenoiserTrainingConfig


class DenoiserConfig(Section):
    """The unconditional denoiser."""

    source: Literal["train", "store", "folder", "checkpoint", "latent"] = Field(
        description="train: from scratch; store: the stored weights (`make restore`); folder: your own; checkpoint: a "
        "public one, converted; latent: of latents, as section latent says."
    )
    folder: Path | None = Field(None, description="Weights folder, for source folder.")
    checkpoint: CheckpointConfig | None = Field(
        None, exclude_if=lambda found: found is None, description="The file, for source checkpoint."
    )
    latent: LatentConfig | None = Field(
        None, exclude_if=lambda found: found is None, description="The latent diffusion, for source latent."
    )
    architecture: ArchitectureConfig
    schedule: ScheduleConfig
    training: DenoiserTrainingConfig
    refinements: list[DenoiserTrainingConfig] = Field(
        [],
        exclude_if=lambda found: not found,
        description="Further trainings, each from the moving average of the one before: a lower rate, timesteps of "
        "which more are low, a seed of its own. As training, for what is trained here or stored.",
    )

    @property
    def recipes(self) -> list[DenoiserTrainingConfig]:
        """The training and its refinements, in turn."""
        return [self.training, *self.refinements]

    @property
    def images_seen(self) -> int:
        """Images seen in training, those of the refinements with them."""
        seen = self.recipes if self.source in ("train", "store") else [self.training]
        return sum(recipe.num_images for recipe in seen)

    @property
    def latent_recipe(self) -> LatentRecipeConfig:
        """What ``latent.source`` train trains."""
        assert self.latent
        assert self.latent.model
        return LatentRecipeConfig(model=self.latent.model, schedule=self.schedule, training=self.training)

    @model_validator(mode="after")
    def _folder_given(self) -> "DenoiserConfig":
        if self.source == "folder" and self.folder is None:
            raise ValueError("folder: denoiser.source is 'folder', expected the path of a weights folder")
        if self.source == "checkpoint" and self.checkpoint is None:
            raise ValueError("checkpoint: denoiser.source is 'checkpoint', expected its layout, file and shape")
        seeds = [recipe.seed for recipe in self.recipes]
        if len(set(seeds)) < len(seeds):
            raise ValueError(
                f"refinements: found seeds {seeds}, of training and each of them, expected different ones: two would "
                "draw the same noise"
            )
        if (self.source == "latent") != (self.latent is not None):
            raise ValueError("latent: expected a section where denoiser.source is 'latent', and null elsewhere")
        return self
