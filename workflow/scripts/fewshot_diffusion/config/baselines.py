"""Settings of the generative baselines: models whose latent a linear classifier of few labels reads."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from .base import Fraction, Positive, Section, Source
from .denoiser import ArchitectureConfig, DenoiserTrainingConfig, ScheduleConfig

Baseline = Literal["diffae", "d2c", "hierarchical_vae"]
"""Generative baselines; each has a recipe of its name below and a module that makes it."""

PatchSize = Annotated[
    Literal[1, 2, 4, 8],
    Field(description="Pixels a side of the patches that the network sees images in: it spares what is widest."),
]


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

    patch_size: PatchSize
    latent_size: Annotated[int, Field(ge=1, le=4096)] = Field(description="Numbers of the semantic latent.")
    pool_size: Annotated[int, Field(ge=1, le=8)] = Field(
        description="Cells a side that the encoder's maps are averaged to before the linear map to the latent."
    )
    architecture: ArchitectureConfig = Field(description="Widths of the decoder, and of the encoder.")
    prior: MlpPriorConfig

    @property
    def multiple(self) -> int:
        """What the image size must be a multiple of, pixels."""
        return int(self.patch_size * 2 ** (len(self.architecture.block_out_channels) - 1))


class AugmentationConfig(Section):
    """What tells two views of an image apart; the hue stays, since the colour of hair is read from latents."""

    min_area: Annotated[float, Field(gt=0, le=1)] = Field(description="Least share of the image that a crop has.")
    brightness: Fraction = Field(description="Factors are drawn from 1 - brightness to 1 + brightness.")
    contrast: Fraction = Field(description="Factors, alike.")
    saturation: Fraction = Field(description="Factors, alike.")


class UNetPriorConfig(Section):
    """The denoiser of latents that are maps."""

    architecture: ArchitectureConfig
    training: PriorTrainingConfig


class D2CConfig(Section):
    """An autoencoder of images in patches with a contrastive term on its latents, and a latent DDIM."""

    patch_size: PatchSize
    block_out_channels: tuple[Positive, ...] = Field(
        min_length=1, description="Channels per resolution, finest first; the finest has image_size / patch_size."
    )
    layers_per_block: Positive = 1
    norm_num_groups: Positive
    latent_channels: Annotated[int, Field(ge=1, le=64)]
    kl_weight: Annotated[float, Field(ge=0)] = Field(description="Of the divergence, nats a number of the latent.")
    contrastive_weight: Annotated[float, Field(ge=0)] = Field(description="Of NT-Xent, nats.")
    temperature: Annotated[float, Field(gt=0, le=10)] = Field(description="Of NT-Xent.")
    pool_size: Annotated[int, Field(ge=1, le=16)] = Field(
        description="Cells a side that latents are averaged to before they are contrasted."
    )
    projection_size: Positive = Field(description="Numbers that are contrasted.")
    augmentation: AugmentationConfig
    prior: UNetPriorConfig

    @property
    def reduction(self) -> int:
        """Image size divided by the latents'."""
        return int(self.patch_size * 2 ** (len(self.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """What the image size must be a multiple of, pixels: the prior halves latents, too."""
        return int(self.reduction * 2 ** (len(self.prior.architecture.block_out_channels) - 1))

    @model_validator(mode="after")
    def _groups_divide(self) -> "D2CConfig":
        _require_divided(self.block_out_channels, self.norm_num_groups)
        return self


class LatentScaleConfig(Section):
    """Latents of one resolution."""

    channels: Annotated[int, Field(ge=1, le=256)] = Field(description="Of each group.")
    groups: Annotated[int, Field(ge=1, le=30)] = Field(1, description="One after another, each given those before.")
    free_nats: Annotated[float, Field(ge=0)] = Field(
        description="Free bits, in nats an image: a divergence below it costs as much as this."
    )


class HierarchicalVAEConfig(Section):
    """A ladder of latents, coarse to fine, in NVAE's style."""

    patch_size: PatchSize
    block_out_channels: tuple[Positive, ...] = Field(
        min_length=1, description="Channels per resolution, finest first; the finest has image_size / patch_size."
    )
    cells_per_level: Positive = Field(description="Residual cells of each resolution, in encoder and decoder.")
    norm_num_groups: Positive
    latents: tuple[LatentScaleConfig, ...] = Field(
        min_length=1, description="Coarsest first, beginning at the coarsest resolution: that scale is classified."
    )
    kl_weight: Annotated[float, Field(gt=0)] = Field(
        description="Of the divergence. 1: the evidence bound; more: posteriors nearer to the prior, better samples."
    )
    kl_warmup: Fraction = Field(description="Fraction of training in which the divergence's weight grows from 0.")
    temperature: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Of samples: the standard deviations of all priors are multiplied by it."
    )

    @property
    def multiple(self) -> int:
        """What the image size must be a multiple of, pixels: one cell of the coarsest resolution."""
        return int(self.patch_size * 2 ** (len(self.block_out_channels) - 1))

    def latent_sizes(self, image_size: int) -> list[list[int]]:
        """Return the numbers that each group's latent has, scale by scale, coarsest first."""
        sides = [image_size // self.multiple * 2**level for level in range(len(self.latents))]
        return [[scale.channels * side**2] * scale.groups for scale, side in zip(self.latents, sides, strict=True)]

    @model_validator(mode="after")
    def _levels_fit(self) -> "HierarchicalVAEConfig":
        _require_divided(self.block_out_channels, self.norm_num_groups)
        levels = len(self.block_out_channels)
        if len(self.latents) > levels:
            raise ValueError(f"latents: found {len(self.latents)} scales, expected 1 to {levels}: one a resolution")
        return self


def _require_divided(widths: tuple[int, ...], groups: int) -> None:
    if odd := [width for width in widths if width % groups]:
        raise ValueError(f"block_out_channels: found {odd}, expected multiples of norm_num_groups ({groups})")


class BaselinesConfig(Section):
    """Generative baselines; one is made if the ``methods`` of attributes or of masks name it."""

    source: Source = Field(description="Of their weights. train: on the spot; store: the stored ones (`make restore`).")
    training: BaselineTrainingConfig = Field(description="Of what makes images from latents: the same for all.")
    candidate_units: Positive | None = Field(
        None,
        description="Work units of latents that classifiers choose from; null: as many as the unguided pool has.",
    )
    diffae: DiffAEConfig | None = None
    d2c: D2CConfig | None = None
    hierarchical_vae: HierarchicalVAEConfig | None = None

    @model_validator(mode="after")
    def _something_to_contrast(self) -> "BaselinesConfig":
        if self.d2c and self.training.batch_size < 2:
            raise ValueError("training.batch_size: found 1, expected 2 or more: d2c contrasts the images of a batch")
        return self

    def recipe(self, baseline: str) -> Any:
        """Return a baseline's own section. A stage that is trained on latents has a section of its name in it."""
        return getattr(self, baseline)

    def only(self, baseline: str) -> "BaselinesConfig":
        """Return the section without the others' recipes, and without what weights do not depend on."""
        others = dict.fromkeys(set(get_args(Baseline)) - {baseline})
        return self.model_copy(update={**others, "source": "train", "candidate_units": None})


class BaselineRecipeConfig(Section):
    """All that the weights of one baseline depend on beside their images."""

    baseline: Baseline
    section: BaselinesConfig
    schedule: ScheduleConfig

    @property
    def recipe(self) -> Any:
        """The baseline's own section."""
        return self.section.recipe(self.baseline)
