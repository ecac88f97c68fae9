"""Settings of experiment 1: samples with a wanted attribute."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from unicodedata import normalize
from zlib import crc32

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from .base import (
    Count,
    FeatureBatch,
    Fraction,
    Mode,
    Name,
    OptionalScale,
    Positive,
    Precision,
    Scales,
    Section,
    SweepConfig,
    Timestep,
    require_scales,
)
from .baselines import Baseline
from .supervised import SupervisedConfig

AttributeMethod = Literal[
    "naive", "unguided", "ddim_i", Baseline,
    "exact", "readout", "direct", "clean_image", "clean_image_direct", "steering",
]  # fmt: skip
"""Rows of the table; a new one is a name here, a module, a script and a rule."""

DISTRIBUTION = "distribution"
"""What the samples are called of which a share is wanted: a method of a table of its own."""


class AttributeScalesConfig(Section):
    """How strong each mode steers: lambda on the log-likelihood of each sample where nothing else is said."""

    exact: Annotated[float, Field(ge=0)]
    readout: Annotated[float, Field(ge=0)]
    direct: OptionalScale = None
    clean_image: OptionalScale = None
    clean_image_direct: OptionalScale = None
    steering: Annotated[float, Field(ge=0)] = Field(3.0, description="In distances between the classes' means.")
    distribution: Annotated[float, Field(ge=0)] = Field(
        10.0,
        description="Of a row with a `share`: lambda on the log-likelihood of the value that each sample is assigned.",
    )


def attribute_name(text: str) -> str:
    """Return a text as it stands in names of files: of plain letters and digits; what has none becomes a number."""
    plain = normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", plain).strip("-_")[:48]
    lost = sum(character.isalnum() for character in normalize("NFKD", text)) - sum(map(str.isalnum, name))
    return name if name and not lost else f"{name}-{crc32(text.encode()):08x}".strip("-")


def _as_name(text: Any) -> Any:
    return attribute_name(text) if isinstance(text, str) and text else text


class TargetConfig(Section):
    """One row of the table: the class that is generated."""

    name: Name = Field(description="Folder of the row's files.")
    attribute: Annotated[Name, BeforeValidator(_as_name)] = Field(
        description="Attribute of the data set; of a folder, a column of its labels."
    )
    value: bool = Field(description="Wanted value of the attribute.")
    label: Annotated[str, StringConstraints(min_length=1, max_length=40)] = Field(
        description="Name in tables and figures."
    )
    share: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        exclude_if=lambda share: share is None,
        description="Share of every work unit that shall be of this class, between 0 and 1; null: in no such table.",
    )
    guidance_scale: AttributeScalesConfig

    def wanted(self, method: str) -> bool | float:
        """Return what a method's samples are steered towards: the value, or of a distribution the share that has it."""
        return self.share if method == DISTRIBUTION and self.share is not None else self.value

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, str) or not value.strip():
            return value
        scales = dict.fromkeys(("exact", "readout", "direct", "clean_image", "clean_image_direct"), 10)
        name = attribute_name(value)
        return {"name": name, "attribute": name, "value": True, "label": value.strip()[:40], "guidance_scale": scales}


class AttributeSplitsConfig(Section):
    """Images of this experiment alone."""

    shots: Positive = Field(description="Pool from which the labelled shots are drawn.")


class AttributeHeadConfig(Section):
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
    feature_batch: FeatureBatch = None


class AttributeSetsConfig(Section):
    """How many samples are drawn, in work units of ``sampling.unit_size``, and how jobs share them."""

    units_per_target: Positive | None = Field(
        None, description="Work units for each row and guided method; null: as many as evaluation.samples takes."
    )
    units_unguided: Positive | None = Field(
        None, description="Work units of the one unguided pool; null: six times those of a row, for DDIM-I to choose."
    )
    shards_per_target: Positive = Field(description="Jobs that share a guided set's units; changes no byte.")
    shards_unguided: Positive = Field(description="Jobs that share the pool's units; changes no byte.")


class SteeringConfig(Section):
    """The direction that ``steering`` adds, learned from the shots of the heads at their noise levels."""

    tap: str | None = Field(None, description="Module whose output it is added to; null: the last of head.taps.")


class DistributionConfig(Section):
    """Samples of which a share is wanted, of targets that have a ``share``."""

    head: Mode = Field(description="Whose probabilities make the share that a work unit has.")


class AttributeSweepConfig(SweepConfig):
    """The sweep that guidance_scale is chosen by: own seeds, own judge."""

    steering_scales: Scales = Field(min_length=1, description="Candidates of `steering`.")
    distribution_scales: Scales = Field(min_length=1, description="Candidates of `distribution`.")
    units: Positive = Field(description="Work units for each candidate.")
    first_seed: Count = Field(description="Must lie behind every seed that is reported.")
    tolerance: Fraction = Field(description="The smallest scale whose judge share is within this of the best wins.")

    def scales_of(self, mode: str) -> dict[str, float]:
        """Return each candidate of a mode by its name in paths."""
        own = {"steering": self.steering_scales, DISTRIBUTION: self.distribution_scales}
        return {f"{scale:g}": scale for scale in own.get(mode, self.guidance_scales)}


class LabelCurveConfig(Section):
    """How well few labels steer: the judge's share against their number, over several draws of the labelled images."""

    methods: list[Literal["exact", "readout", "direct"]] = Field(
        min_length=1, description="By the guidance_scale of the row."
    )
    numbers: list[Positive] = Field(
        min_length=1, description="Labelled images with the attribute, and as many without; head.folds or more."
    )
    draws: Positive = Field(description="Draws of these images from their pool, by head.shots_seed and the next seeds.")
    units: Positive = Field(description="Work units for each method, row, number and draw.")
    absence: bool = Field(
        False,
        exclude_if=lambda found: not found,
        description="Also of the rows that want an attribute's absence, which most images show anyway.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> "LabelCurveConfig":
        for key, found in (("numbers", self.numbers), ("methods", self.methods)):
            if len(set(found)) != len(found):
                raise ValueError(f"{key}: found {found}, expected each once")
        return self


def _or_names(schema: dict[str, Any]) -> None:
    schema["items"] = {"anyOf": [schema["items"], {"type": "string", "minLength": 1}]}


class AttributesConfig(Section):
    """Samples with a wanted attribute, from 50 + 50 labelled images (Table 1)."""

    splits: AttributeSplitsConfig
    targets: list[TargetConfig] = Field(
        min_length=1,
        description="Rows of the table; the name of an attribute stands for the images that have it.",
        json_schema_extra=_or_names,
    )
    methods: list[AttributeMethod] = Field(min_length=1, description="Methods of the table, in its order.")
    head: AttributeHeadConfig
    shots_file: dict[Name, Path] = Field(
        default_factory=dict,
        description="Attribute -> your own CSV of shots, columns `id` and `label`: images of the pool, labelled as you "
        "like, in place of drawn ones.",
    )
    steering: SteeringConfig
    distribution: DistributionConfig
    labels: LabelCurveConfig
    sets: AttributeSetsConfig
    sweep: AttributeSweepConfig
    ddim_i: SupervisedConfig = Field(
        description="DDIM-I's image-space classifier; keeps iff p > .5 and u < p. It guides `clean_image`, too."
    )
    judge: SupervisedConfig = Field(description="The classifier that tells which attributes an image has.")

    def target(self, name: str) -> TargetConfig:
        """Return the row of this name."""
        return next(target for target in self.targets if target.name == name)

    @property
    def modes(self) -> list[str]:
        """Methods that steer by what the shots teach, in the table's order."""
        return [method for method in self.methods if method in AttributeScalesConfig.model_fields]

    @property
    def baselines(self) -> list[str]:
        """Generative baselines, in the table's order."""
        return [method for method in self.methods if method in get_args(Baseline)]

    @property
    def with_share(self) -> list[TargetConfig]:
        """Rows of which a share is wanted, too: those of the table of distributions."""
        return [target for target in self.targets if target.share is not None]

    @property
    def curve_targets(self) -> list[TargetConfig]:
        """Rows of the curve of labels: of attributes whose labels are drawn; all, or those that want the attribute."""
        drawn = [target for target in self.targets if target.attribute not in self.shots_file]
        return [target for target in drawn if target.value or self.labels.absence]

    @property
    def curve_problem(self) -> str:
        """Why there is no curve of labels, if there is none."""
        curve = self.labels
        if not self.curve_targets:
            wanted = "" if curve.absence else " with value true"
            return f"attributes.targets: found no row{wanted} whose labels are drawn, expected one for the curve"
        if (fewest := min(curve.numbers)) < self.head.folds:
            return (
                f"attributes.labels.numbers: found {fewest}, expected at least head.folds ({self.head.folds}): "
                "penalties are cross-validated on the shots"
            )
        lacking = [
            (target.name, method)
            for target in self.curve_targets
            for method in curve.methods
            if getattr(target.guidance_scale, method) is None
        ]
        if lacking:
            name, method = lacking[0]
            return (
                f"attributes.targets, {name}: guidance_scale.{method} is missing, since labels.methods lists {method}"
            )
        return ""

    @property
    def steering_tap(self) -> str:
        """The module whose output the direction is added to."""
        return self.steering.tap or self.head.taps[-1]

    def head_of(self, number: int, draw: int) -> AttributeHeadConfig:
        """Return the settings of a head that learns from ``number`` labelled images of each kind, of a draw from 0."""
        changes = {"positive_shots": number, "negative_shots": number, "shots_seed": self.head.shots_seed + draw}
        return self.head.model_copy(update=changes)

    @model_validator(mode="after")
    def _own_shots_are_used(self) -> "AttributesConfig":
        known = sorted({target.attribute for target in self.targets})
        if unknown := sorted(set(self.shots_file) - set(known)):
            raise ValueError(f"shots_file: found {unknown[0]}, expected an attribute of targets: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _scaled(self) -> "AttributesConfig":
        for position, target in enumerate(self.targets):
            require_scales(f"targets.{position}.guidance_scale", target.guidance_scale, self.modes, "attributes")
        return self

    @model_validator(mode="after")
    def _distinct(self) -> "AttributesConfig":
        for key, found in (("targets", [target.name for target in self.targets]), ("methods", self.methods)):
            if len(set(found)) != len(found):
                raise ValueError(f"{key}: found {found}, expected each name once")
        return self
