"""Settings of the sampler."""

from typing import Annotated, Literal

from pydantic import Field

from .base import Compile, Count, Fraction, MicroBatch, Positive, Precision, Section, Timestep


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
    first_seed: Count = Field(0, description="Seed of the first sample that is reported.")
    precision: Precision = "auto"
    cpu_threads: Positive = Field(1, description="Threads of one job; part of the bits of a sample.")
    micro_batch: MicroBatch = None
    compile: Compile = False
