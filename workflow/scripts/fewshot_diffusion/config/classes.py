"""Settings of experiment 3: classifiers on real and generated images (Table 2)."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from .base import Compile, Count, FeatureBatch, Fraction, MicroBatch, Positive, Precision, Section, Source, Timestep
from .denoiser import DenoiserTrainingConfig
from .supervised import SupervisedConfig

Architecture = Literal["resnet18", "wide_resnet50_2", "resnext50_32x4d"]


class FinetuningConfig(DenoiserTrainingConfig):
    """How the unconditional denoiser is fine-tuned as class-conditional."""

    label_dropout: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="Share of images that are shown with the null label, for classifier-free guidance."
    )
    label_rate: Annotated[float, Field(gt=0)] = Field(
        description="Learning rate of the label embedding, which starts at zero, and of the layers that read it, in "
        "units of learning_rate."
    )


class FilterConfig(SupervisedConfig):
    """The filter: a head on the unconditional denoiser's activations of clean images."""

    tap: str = Field(description="Module whose output is read.")
    timesteps: list[Timestep] = Field(min_length=1, description="Timestep labels of the clean image, concatenated.")
    hidden_channels: Annotated[int, Field(gt=0, multiple_of=32)] = Field(description="Channels of the head.")
    dropout: Annotated[float, Field(ge=0, lt=1)]
    threshold: Fraction = Field(description="A sample is kept if its class has at least this probability.")
    max_attempts: Positive = Field(description="Samples drawn of a class, at most, for each one that is wanted.")
    feature_batch: FeatureBatch = None


class FilterCandidateConfig(Section):
    """Where a filter reads the denoiser."""

    tap: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]+$")] = Field(
        description="Module whose output is read."
    )
    timesteps: list[Timestep] = Field(min_length=1, description="Timestep labels of the clean image, concatenated.")

    @property
    def name(self) -> str:
        """Its name in paths: ``up_blocks.1-100-300``."""
        return "-".join([self.tap, *map(str, self.timesteps)])


class FilterComparisonConfig(Section):
    """Filters that read the denoiser elsewhere, for `snakemake classes_filters`; all else is as classes.filter says."""

    candidates: list[FilterCandidateConfig] = Field(min_length=1, description="Where each of them reads.")
    thresholds: list[Fraction] = Field(
        min_length=1, description="Of p(class), ascending from 0, which keeps every sample."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "FilterComparisonConfig":
        names = [candidate.name for candidate in self.candidates]
        if len(set(names)) != len(names):
            raise ValueError(f"candidates: found {names}, expected each once")
        if self.thresholds[0] != 0 or self.thresholds != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds: found {self.thresholds}, expected 0, then each once, ascending")
        return self


class ClassSamplingConfig(Section):
    """DDIM with classifier-free guidance."""

    num_inference_steps: Annotated[int, Field(ge=1, le=1000)]
    classifier_free_scale: Annotated[float, Field(ge=0)] = Field(
        description="w in null + w (conditional - null); 1 is the conditional model alone."
    )
    unit_size: Positive = Field(description="Samples of one class per work unit; part of the identity of a sample.")
    shards: Positive = Field(description="Jobs that share the classes; changes no byte of a sample.")
    precision: Precision = "auto"
    cpu_threads: Positive = 1
    micro_batch: MicroBatch = None
    feature_batch: FeatureBatch = None
    compile: Compile = False


class ArchitectureRecipe(Section):
    """A classifier, how long and how often it is trained."""

    name: Architecture
    epochs: Positive | None = Field(
        None, description="Of every cell; more images at the same number of epochs are more updates."
    )
    updates: Positive | None = Field(
        None,
        exclude_if=lambda updates: updates is None,
        description="Of every cell, however many images it has, instead of epochs. The last epoch is completed: ask "
        "for as many as ten epochs of the largest cell have, or more.",
    )
    seeds: list[Count] = Field(min_length=1)
    controls: bool = Field(description="Whether it is also trained on the controls that the paper lacks.")

    @model_validator(mode="after")
    def _one_length(self) -> "ArchitectureRecipe":
        if (self.epochs is None) == (self.updates is None):
            found = "neither" if self.epochs is None else "both"
            raise ValueError(f"epochs, updates: found {found}, expected one of them, the other null")
        return self


class ClassSplitsConfig(Section):
    """Images of this experiment alone."""

    class_train: Positive = Field(description="Pool from which the few labelled images of each class are drawn.")
    class_test: Positive = Field(description="Labelled images that the classifiers are tested on.")


class ClassesConfig(Section):
    """Classifiers on real + {0, 1, 2, 3} x generated images (Table 2)."""

    source: Source = Field(
        description="Of the class-conditional denoiser. train: on the spot; store: the stored weights (`make restore`)."
    )
    splits: ClassSplitsConfig
    train_per_class: Positive = Field(description="Real labelled images of each class.")
    conditional: FinetuningConfig
    filter: FilterConfig
    filters: FilterComparisonConfig | None = Field(None, description="Null leaves this comparison out.")
    sampling: ClassSamplingConfig
    judge: SupervisedConfig = Field(description="Independent ResNet-18 on the judge's split; it filters nothing.")
    generated_ratios: list[Count] = Field(min_length=1, description="Generated images per real one.")
    image_size: Positive = Field(description="Size at which the classifiers see images, pixels.")
    architectures: list[ArchitectureRecipe] = Field(min_length=1)
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    mixup_alpha: Annotated[float, Field(gt=0)] = Field(description="Beta parameter of Mixup; CutMix uses 1.")
    precision: Precision = "auto"

    def recipe(self, architecture: str) -> ArchitectureRecipe:
        """Return the recipe of an architecture."""
        return next(recipe for recipe in self.architectures if recipe.name == architecture)

    def candidate(self, name: str) -> FilterConfig:
        """Return the settings of a filter of the comparison, by its name in paths."""
        assert self.filters
        reads = next(candidate for candidate in self.filters.candidates if candidate.name == name)
        return self.filter.model_copy(update=dict(reads))

    @property
    def max_ratio(self) -> int:
        """Generated images per real one, at most."""
        return max(self.generated_ratios)

    @model_validator(mode="after")
    def _distinct(self) -> "ClassesConfig":
        names = [recipe.name for recipe in self.architectures]
        for key, found in (("architectures", names), ("generated_ratios", self.generated_ratios)):
            if len(set(found)) != len(found):
                raise ValueError(f"{key}: found {found}, expected each once")
        if 0 not in self.generated_ratios or self.max_ratio < 1:
            raise ValueError(f"generated_ratios: found {self.generated_ratios}, expected 0 and at least one more")
        cap = self.train_per_class * self.max_ratio * self.filter.max_attempts
        if cap < self.sampling.unit_size:
            raise ValueError(
                f"filter.max_attempts: allows {cap} samples of a class, expected at least sampling.unit_size "
                f"({self.sampling.unit_size})"
            )
        return self
