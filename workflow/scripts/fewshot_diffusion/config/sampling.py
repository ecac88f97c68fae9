"""Settings of the sampler."""

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Count, Fraction, Positive, Precision, Section, Timestep


class SamplingConfig(Section):
    """DDIM and the fixed work units that samples are drawn in."""

    num_inference_steps: Annotated[int, Field(ge=1, le=1000)]
    eta: Fraction = Field(description="0: deterministic DDIM; 1: the posterior variance of the subsequence.")
    timestep_spacing: Literal["trailing", "leading"] = Field(
        description="trailing starts at the last timestep, where x_T is pure noise; leading up to a stride before."
    )
    clip_sample: bool = Field(description="Clip the clean estimate of every step to [-1, 1].")
    guidance_interval: tuple[Timestep, Timestep] = Field(
        description="First and last timestep at which samples are guided."
    )
    unit_size: Positive = Field(description="Samples per work unit: its batch size, part of the identity of a sample.")
    units_per_target: Positive = Field(description="Work units for each row and guided method.")
    units_unguided: Positive = Field(description="Work units of the one unguided pool.")
    shards_per_target: Positive = Field(description="Jobs that share a guided set's units; changes no byte.")
    shards_unguided: Positive = Field(description="Jobs that share the pool's units; changes no byte.")
    first_seed: Count = 0
    precision: Precision = "auto"
    cpu_threads: Positive = Field(1, description="Threads of one job; part of the bits of a sample.")

    def identity(self) -> dict[str, Any]:
        """Return the settings that a sample depends on: not how many there are, nor how jobs share them."""
        return self.model_dump(
            exclude={"units_per_target", "units_unguided", "shards_per_target", "shards_unguided", "first_seed"}
        )
