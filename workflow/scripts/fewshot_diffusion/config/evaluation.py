"""Settings of metrics and reports."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from .base import Count, FeatureBatch, Name, Section


class ExtractorConfig(Section):
    """A feature extractor of the distances and of what nearest neighbours say."""

    kind: Literal["inception", "efficientnet_lite0", "mobilenet_v2", "semantic"]
    weights: Path | None = Field(None, description="Inception: pt_inception-2015-12-05-6726825d.pth.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Expected SHA-256 of the weights file."
    )
    lowpass: Annotated[float, Field(gt=0, le=20)] | None = Field(
        None,
        exclude_if=lambda sigma: sigma is None,
        description="Standard deviation, pixels, of a Gaussian that all images pass first, real ones too: "
        "grain counts less. The name of the extractor says so.",
    )

    @property
    def name(self) -> str:
        """Name of the features; part of the metrics' names."""
        return self.kind if self.lowpass is None else f"{self.kind}_lowpass{self.lowpass:g}"

    @model_validator(mode="after")
    def _inception_has_a_file(self) -> "ExtractorConfig":
        if self.kind == "inception" and (self.weights is None or self.sha256 is None):
            raise ValueError("weights, sha256: the inception extractor needs both; found none")
        return self


class EvaluationConfig(Section):
    """Metrics and their intervals."""

    extractors: list[ExtractorConfig] = Field(min_length=1)
    samples: Annotated[int, Field(ge=2)] = Field(description="Images per row and method in every distance.")
    bootstrap: Annotated[int, Field(ge=20)] = Field(description="Bootstrap replicates of the 95 % intervals.")
    kernel_subset: Annotated[int, Field(ge=2)] = Field(
        description="Reference images of the kernel distance, and of what nearest neighbours say."
    )
    nearest_k: Annotated[int, Field(ge=1, le=10)] | None = Field(
        None,
        exclude_if=lambda nearest_k: nearest_k is None,
        description="Neighbour that bounds the balls of precision, recall, density and coverage (5: Naeem et al. 2020; "
        "3: Kynkaanniemi et al. 2019); null: they are not computed.",
    )
    seed: Count = 0
    feature_batch: FeatureBatch = None

    def with_semantic(self, folder: Path) -> "EvaluationConfig":
        """Return the section in which extractors of kind semantic have their weights in a folder."""
        found = [
            one.model_copy(update={"weights": folder}) if one.kind == "semantic" else one for one in self.extractors
        ]
        return self.model_copy(update={"extractors": found})

    @field_validator("extractors")
    @classmethod
    def _distinct(cls, extractors: list[ExtractorConfig]) -> list[ExtractorConfig]:
        names = [extractor.name for extractor in extractors]
        if len(set(names)) != len(names):
            raise ValueError(f"found {', '.join(names)}, expected each once")
        return extractors

    @model_validator(mode="after")
    def _neighbours_are_there(self) -> "EvaluationConfig":
        for key, spare in (("samples", 3), ("kernel_subset", 2)):
            if self.nearest_k is not None and getattr(self, key) < self.nearest_k + spare:
                raise ValueError(
                    f"{key}: found {getattr(self, key)}, expected at least {self.nearest_k + spare}, "
                    f"{spare} more than nearest_k; lower that, or set it to null"
                )
        return self


class ReportConfig(Section):
    """What tables and figures say and show beside our numbers."""

    show_real: bool = Field(description="Whether the data set's licence lets figures show its images.")
    published: Path | None = Field(
        Path("config/published.csv"), description="The paper's numbers; null leaves them out."
    )
    stands_for: dict[Name, list[str]] = Field(
        default_factory=dict,
        description="`data.name` -> the paper's data sets that it stands for: its tables have their rows, of "
        "kind `published`, and no others.",
    )
    kind: Literal["reproduced", "scaled-down"] = Field(
        "scaled-down", description="What our rows are; a reproduced one has the paper's number beside its own."
    )

    def found_from(self, base: Path) -> "ReportConfig":
        """Return the section with the shipped table named from here: elsewhere it is found in the workflow's folder."""
        shipped = base / self.published if self.published else base
        if self.published is None or self.published.exists() or not shipped.exists():
            return self
        return self.model_copy(update={"published": shipped})

    def paper_data_sets(self, data_set: str) -> list[str]:
        """Return the paper's data sets whose rows stand in the tables of one of ours."""
        return self.stands_for.get(data_set, [])
