"""Settings of a latent diffusion with a prompt, in Stable Diffusion's layout."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Fraction, Positive, Section
from .supervised import SupervisedConfig


class CaptionsConfig(Section):
    """Sentences that an avatar's options make: the words of each, of which some are left out."""

    opening: str = Field(description="How each begins.")
    phrases: dict[str, dict[str, str]] = Field(
        description="Generator option -> its value -> words; value `none`: what belongs to it is not drawn."
    )
    kept: Fraction = Field(
        description="Share of the phrases that an image's caption has: short prompts are known, too."
    )


class AutoencoderConfig(SupervisedConfig):
    """A diffusers ``AutoencoderKL``, and how it is trained."""

    block_out_channels: tuple[Positive, ...] = Field(min_length=2, description="Channels per resolution, finest first.")
    layers_per_block: Positive = 1
    norm_num_groups: Positive = 8
    latent_channels: Positive = 4
    kl_weight: Annotated[float, Field(ge=0)] = Field(description="Of the divergence, nats a latent, beside the error.")

    @property
    def reduction(self) -> int:
        """Image size divided by the latents'."""
        return int(2 ** (len(self.block_out_channels) - 1))


class TextEncoderConfig(Section):
    """A transformers ``CLIPTextModel``; it is trained with the denoiser."""

    hidden_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    max_tokens: Annotated[int, Field(ge=4, le=77)] = Field(description="Length of a prompt, with both its ends.")


class ConditionalUNetConfig(Section):
    """A diffusers ``UNet2DConditionModel`` with cross-attention on all resolutions but the coarsest."""

    block_out_channels: tuple[Positive, ...] = Field(min_length=2, description="Channels per resolution, finest first.")
    layers_per_block: Positive = 1
    norm_num_groups: Positive = 16
    attention_heads: Positive = 4


class LatentModelConfig(Section):
    """What is trained from scratch; the U-Net by ``denoiser.training``, on ``denoiser.schedule``."""

    captions: CaptionsConfig
    autoencoder: AutoencoderConfig
    text_encoder: TextEncoderConfig
    unet: ConditionalUNetConfig
    caption_dropout: Fraction = Field(description="Share of the captions that are empty, for classifier-free guidance.")


class PromptConfig(Section):
    """What a denoiser of latents is held at."""

    prompt: str = Field(description="What all samples are of.")
    negative_prompt: str = ""
    classifier_free_scale: Annotated[float, Field(ge=1)] = Field(
        description="Weight of classifier-free guidance, which diffusers calls guidance_scale; at 1 there is none."
    )


class LatentConfig(PromptConfig):
    """A denoiser of latents, held at one prompt: ``denoiser.source`` is then latent."""

    source: Literal["train", "store", "folder", "hub"] = Field(
        description="Of the pipeline. train: from scratch; store: the stored one (`make restore`); folder: your own; "
        "hub: a repository."
    )
    folder: Path | None = Field(None, description="Folder of a StableDiffusionPipeline, for source folder.")
    repository: str | None = Field(None, description="owner/name on the hub, for source hub.")
    revision: str | None = Field(None, description="Commit, branch or tag of the repository.")
    model: LatentModelConfig | None = Field(None, description="What source train trains.")

    @property
    def held_at(self) -> PromptConfig:
        """The part that a denoiser depends on, wherever its pipeline comes from."""
        return PromptConfig.model_validate(self.model_dump(include=set(PromptConfig.model_fields)))

    @model_validator(mode="after")
    def _source_given(self) -> "LatentConfig":
        needed = {"train": "model", "folder": "folder", "hub": "repository"}.get(self.source)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"{needed}: found null, expected a value, since source is {self.source!r}")
        return self
