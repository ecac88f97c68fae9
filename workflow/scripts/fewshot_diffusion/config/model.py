"""The whole configuration: one frozen model, validated when the Snakefile is parsed.

The YAML files under ``config/`` are instances of ``Config``; ``config/schema.json`` and
``config/README.md`` are generated from it.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from ..errors import ConfigError
from .attributes import HeadConfig, TargetConfig, TuningConfig
from .base import Section
from .classification import ClassificationConfig
from .classifiers import ImageClassifierConfig, JudgeConfig
from .data import DataConfig
from .denoiser import DenoiserConfig
from .evaluation import EvaluationConfig, OutputsConfig
from .sampling import SamplingConfig
from .segmentation import SegmentationConfig


class Config(Section):
    """Everything that can be set."""

    data: DataConfig
    targets: list[TargetConfig] = Field(min_length=1, description="Rows of the table.")
    denoiser: DenoiserConfig
    head: HeadConfig
    sampling: SamplingConfig
    tuning: TuningConfig
    image_classifier: ImageClassifierConfig
    judge: JudgeConfig
    evaluation: EvaluationConfig
    segmentation: SegmentationConfig
    classification: ClassificationConfig
    outputs: OutputsConfig

    def target(self, name: str) -> TargetConfig:
        """Return the row of this name."""
        return next(target for target in self.targets if target.name == name)

    def mask_sampling(self, preset: str, tuning: bool = False) -> SamplingConfig:
        """Return the sampling of masks: as the preset says, in work units that hold one sample of each mask."""
        masks = self.segmentation.tuning_masks if tuning else self.segmentation.masks
        chosen = self.segmentation.presets[preset]
        update = {name: getattr(chosen, name) for name in ("eta", "timestep_spacing", "guidance_interval")}
        return self.sampling.model_copy(update={**update, "unit_size": masks})

    @property
    def mask_sweep_first_seed(self) -> int:
        """Return the first seed behind ``tuning.first_seed`` whose sample shows the first mask."""
        masks = self.segmentation.tuning_masks
        return -(-self.tuning.first_seed // masks) * masks

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        _require_targets(self)
        _require_disjoint_seeds(self)
        _require_masks(self)
        _require_classes(self)
        drawn = self.sampling.units_per_target * self.sampling.unit_size
        if self.evaluation.samples > drawn:
            raise ValueError(
                f"evaluation.samples: {self.evaluation.samples} images are judged but sampling draws {drawn}; "
                "raise sampling.units_per_target"
            )
        return self


def _require_targets(config: Config) -> None:
    names = [target.name for target in config.targets]
    if len(set(names)) != len(names):
        raise ValueError(f"targets: found the names {names}, expected each once")
    for target in config.targets:
        if target.attribute not in config.data.attributes:
            raise ValueError(
                f"targets.{target.name}.attribute: {target.attribute!r} is not an attribute of the data set; "
                f"expected one of {', '.join(config.data.attributes)}"
            )


def _require_masks(config: Config) -> None:
    wanted, splits = config.segmentation, config.data.splits
    if not config.data.mask_classes:
        return
    pairs = max([wanted.shots, *wanted.shots_curve, *wanted.controlnet_curve])
    for key, number, split in (
        ("masks", wanted.masks, "controls"),
        ("tuning_masks", wanted.tuning_masks, "reference"),
        ("shots", pairs, "pairs"),
    ):
        if number > getattr(splits, split):
            raise ValueError(
                f"segmentation.{key}: {number} are asked for, data.splits.{split} has {getattr(splits, split)} images"
            )
    seed, masks = config.sampling.first_seed, wanted.masks
    if seed % masks:
        raise ValueError(
            f"sampling.first_seed: {seed} shows mask {seed % masks} first; expected a multiple of segmentation.masks "
            f"({masks})"
        )
    highest = max((class_id for pair in wanted.head.flip_pairs for class_id in pair), default=0)
    if highest >= len(config.data.mask_classes):
        raise ValueError(
            f"segmentation.head.flip_pairs: found class id {highest}, expected 0..{len(config.data.mask_classes) - 1}"
        )


def _require_classes(config: Config) -> None:
    for split in ("class_train", "class_test"):
        if config.data.has_classes and not getattr(config.data.splits, split):
            raise ValueError(f"data.splits.{split}: found 0, expected images: the data set has classes")


def _require_disjoint_seeds(config: Config) -> None:
    sampling = config.sampling
    drawn = sampling.unit_size * max(sampling.units_per_target, sampling.units_unguided)
    reported = sampling.first_seed + max(drawn, config.segmentation.masks * config.segmentation.seeds_per_mask)
    if config.tuning.first_seed < reported:
        raise ValueError(
            f"tuning.first_seed: {config.tuning.first_seed} overlaps the reported seeds; expected at least {reported}"
        )


def load_config(raw: Mapping[str, Any]) -> Config:
    """Validate a raw configuration.

    Raises:
        ConfigError: Names every offending key, what was found and what is allowed.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [f"  {_where(item['loc'])}{item['msg']}{_found(item)}" for item in error.errors()]
        raise ConfigError("The configuration is not valid:\n" + "\n".join(problems)) from error


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) + ": " if location else ""


def _found(item: Any) -> str:
    return "" if isinstance(item["input"], dict) else f" (found {item['input']!r})"
