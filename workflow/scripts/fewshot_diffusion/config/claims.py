"""What the paper claims, and which cells of our tables speak for or against it: config/claims.yaml."""

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from ..errors import ConfigError
from .base import Name, Section

Cell = str | int | float | bool
Where = dict[str, Cell]
"""Column -> what stands in it."""


class PublishedConfig(Section):
    """What the paper says of a claim."""

    said: str = Field(description="Words; {} stands for the range of the numbers below.")
    rows: Where = Field(
        default_factory=dict, description="Which rows of the paper's numbers; {} at the beginning: any."
    )


class NotAttemptedConfig(Section):
    """A claim that nothing here speaks for or against."""

    name: Name
    claim: str
    published: PublishedConfig
    command: str = Field(description="What would measure it.")
    note: str = Field(description="Why it was not.")


class ClaimConfig(Section):
    """A claim, and the cells that decide it: a row of `claims.csv` for each data set and each of `each`."""

    name: Name
    claim: str = Field(description="The claim, in a sentence.")
    published: PublishedConfig
    data_sets: list[Name] = Field(min_length=1, description="Data sets whose tables are asked.")
    table: str = Field(pattern=r"^\w+\.csv$", description="File below results/<data set>/tables/.")
    rows: Where = Field(description="Which rows of the table are ours.")
    each: list[str] = Field(min_length=1, description="Columns that tell these rows apart.")
    value: str = "value"
    low: str = Field(default="ci_low", description="Lower bound of the value; not used with a deviation.")
    high: str = "ci_high"
    deviation: str | None = Field(default=None, description="Standard deviation: bounds are value -+ it.")
    beside: Where | None = Field(
        default=None, description="How the row compared with differs from ours; null: the value stands beside `bound`."
    )
    bound: float = Field(default=0.0, description="What it is compared with, if with no row: 0 for a difference.")
    over: str | None = Field(
        default=None, description="Column of repeats: the value is their mean, its bounds 95 % by Student's t."
    )
    expected: Literal["above", "below"]
    judge: str = Field(description="Judge or extractor.")
    draws: int = Field(default=1, ge=1, description="Draws of the labels behind the value; not used with `over`.")
    command: str = Field(description="What makes the table; `--configfile` of a data set's overlay is added.")

    @model_validator(mode="after")
    def _beside_differs(self) -> Self:
        if self.beside is not None and all(self.rows.get(column) == cell for column, cell in self.beside.items()):
            raise ValueError("beside: names the same rows as `rows`, expected others")
        if self.beside is not None and (self.over or self.bound):
            raise ValueError("beside: found with `over` or `bound`, expected none of them: it names one row")
        return self


class ClaimsConfig(Section):
    """All claims."""

    overlays: dict[Name, str] = Field(
        default_factory=dict, description="Data set -> the overlay that its tables are made with; of others, none."
    )
    claims: list[ClaimConfig]
    not_attempted: list[NotAttemptedConfig] = Field(default_factory=list)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [*(claim.name for claim in self.claims), *(other.name for other in self.not_attempted)]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"name: found {', '.join(repeated)} more than once")
        return self


def load_claims(path: Path) -> ClaimsConfig:
    """Read the file of claims.

    Raises:
        ConfigError: Names every offending key.
    """
    try:
        return ClaimsConfig.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is no YAML ({error}).") from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(problems)}.") from error
