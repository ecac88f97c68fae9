"""The whole configuration: one frozen model, validated when the Snakefile is parsed.

The YAML files under ``config/`` are instances of ``Config``; ``config/schema.json`` and
``config/README.md`` are generated from it.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from ..errors import ConfigError
from .attributes import HeadConfig, TargetConfig, TuningConfig
from .base import Section
from .checks import dotted, problems_of
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
        if problems := list(problems_of(self)):
            raise ValueError("\n".join(problems))
        return self


def load_config(raw: Mapping[str, Any]) -> Config:
    """Validate a raw configuration.

    Raises:
        ConfigError: Names every offending key, what was found and what is allowed.
    """
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        problems = [f"  {problem}" for item in error.errors() for problem in _problems(item)]
        raise ConfigError("The configuration is not valid:\n" + "\n".join(problems)) from error


def _problems(item: Any) -> list[str]:
    where = dotted(item["loc"])
    if item["type"] != "value_error":
        said = [f"{where}: {item['msg']}" if where else item["msg"]]
    else:  # a validator of ours
        said = [_located(where, problem) for problem in str(item["ctx"]["error"]).split("\n")]
    return [problem + _found(item) for problem in said]


def _located(where: str, problem: str) -> str:
    """Put a section's key before the keys that a problem begins with, if it does."""
    if not where:
        return problem
    keys, colon, rest = problem.partition(": ")
    if not (colon and re.fullmatch(r"[\w.]+(, [\w.]+)*", keys)):
        return f"{where}: {problem}"
    return ", ".join(f"{where}.{key}" for key in keys.split(", ")) + f": {rest}"


def _found(item: Any) -> str:
    return "" if isinstance(item["input"], dict) else f" (found {item['input']!r})"
