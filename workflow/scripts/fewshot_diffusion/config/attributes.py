"""Settings of guidance towards attributes: rows of the table, heads, and the sweep of lambda."""

from typing import Annotated

from pydantic import Field, StringConstraints

from .base import Count, Fraction, Name, Positive, Precision, Scales, Section, Timestep


class GuidanceConfig(Section):
    """lambda of each mode, on the summed log-likelihood of each sample."""

    exact: Annotated[float, Field(ge=0)]
    readout: Annotated[float, Field(ge=0)]


class TargetConfig(Section):
    """One row of the table: the class that is generated."""

    name: Name = Field(description="Folder of the row's files.")
    attribute: Name = Field(description="Attribute of the data set.")
    value: bool = Field(description="Wanted value of the attribute.")
    label: Annotated[str, StringConstraints(min_length=1, max_length=40)] = Field(
        description="Name in tables and figures."
    )
    guidance_scale: GuidanceConfig


class HeadConfig(Section):
    """Few-shot attribute head on pooled denoiser activations."""

    positive_shots: Positive = Field(description="Labelled images with the attribute.")
    negative_shots: Positive = Field(description="Labelled images without it.")
    shots_seed: Count = Field(0, description="Which images are drawn from the pool.")
    taps: list[str] = Field(min_length=1, description="Modules of the denoiser whose outputs are used.")
    pool_size: Annotated[int, Field(ge=1, le=8)] = Field(
        description="Activations are pooled to this many cells a side."
    )
    feature_timestep: Timestep = Field(description="Timestep label of the clean image (exact).")
    readout_timesteps: list[Timestep] = Field(min_length=1, description="Noise levels the readout head is trained at.")
    readout_draws: Positive = Field(description="Noise draws per shot and noise level (readout).")
    flip: bool = Field(description="Add the mirrored image of every shot.")
    l2: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="Candidate penalties; cross-validated on the shots alone."
    )
    folds: Annotated[int, Field(ge=2)] = Field(5, description="Cross-validation folds, grouped by image.")
    max_iterations: Positive = Field(200, description="L-BFGS iterations of the logistic fit.")
    precision: Precision = "auto"


class TuningConfig(Section):
    """The sweep that guidance_scale is chosen by: own seeds, own judge."""

    guidance_scales: Scales = Field(min_length=1)
    units: Positive = Field(description="Work units for each candidate.")
    first_seed: Count = Field(description="Must lie behind every seed that is reported.")
    tolerance: Fraction = Field(description="The smallest scale whose judge share is within this of the best wins.")
