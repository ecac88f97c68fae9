"""The whole configuration: one frozen model, validated when the Snakefile is parsed.

The YAML files under ``config/`` are instances of ``Config``; ``config/schema.json`` and
``config/README.md`` are generated from it.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from ..errors import ConfigError
from .attributes import AttributesConfig
from .base import Section, at_home, inherited, paths_in
from .baselines import Baseline, BaselineRecipeConfig, BaselinesConfig
from .checks import dotted, problems_of
from .classes import ClassesConfig
from .compute import ComputeConfig
from .data import DataConfig
from .denoiser import DenoiserConfig
from .downloads import DownloadsConfig
from .evaluation import EvaluationConfig, ReportConfig
from .masks import MasksConfig
from .moved import MOVED
from .own import OwnConfig
from .sampling import SamplingConfig
from .splits import SHARES, SharesConfig
from .supervised import SupervisedConfig

SPLIT_ORDER = (
    "train", "shots", "judge", "tuning_judge", "controls", "reference", "pairs", "class_train", "class_test",
)  # fmt: skip
"""Splits lie one behind the other in this order, which the stored results are made with."""

RunName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]*$", max_length=32)]
"""Rules' names begin with it."""

_EXPERIMENT = "Experiment {}; null leaves it out, and the splits behind its own move up."


class Config(Section):
    """Everything that can be set: what is shared, then the experiments, each of which may be null."""

    data: DataConfig
    denoiser: DenoiserConfig
    sampling: SamplingConfig
    evaluation: EvaluationConfig
    semantic: SupervisedConfig = Field(
        description="The network of the extractor `semantic`: it learns to name every option of the avatars."
    )
    report: ReportConfig
    downloads: DownloadsConfig
    compute: ComputeConfig
    attributes: AttributesConfig | None = Field(None, description=_EXPERIMENT.format(1))
    baselines: BaselinesConfig | None = Field(
        None, description="Generative baselines, for those that `attributes.methods` or `masks.methods` names."
    )
    masks: MasksConfig | None = Field(None, description=_EXPERIMENT.format(2))
    classes: ClassesConfig | None = Field(None, description=_EXPERIMENT.format(3))
    own: OwnConfig | None = Field(
        None, description="A model and labels of your own, for the target `own`; it leaves the experiments out."
    )
    runs: dict[RunName, list[Path]] = Field(
        default_factory=dict,
        description="Run -> overlays. Each run is the rest of this configuration with its overlays, and has rules "
        "`<run>_...` and the target `<run>_all`; of the rest alone there is then no run.",
    )

    @property
    def experiments(self) -> list[str]:
        """Names of the configured experiments, in order."""
        return [name for name in ("attributes", "masks", "classes") if getattr(self, name) is not None]

    @property
    def splits(self) -> dict[str, float]:
        """Split -> images, or its share if ``data.splits`` is auto; shared ones and those of configured experiments."""
        sections = [self.data.splits.numbers, *(getattr(self, name).splits.model_dump() for name in self.experiments)]
        sizes = {name: size for section in sections for name, size in section.items()}
        if self.data.splits.auto:
            sizes = {name: SHARES[name] for name in sizes}
        return {name: sizes[name] for name in SPLIT_ORDER if sizes.get(name)}

    @property
    def shares(self) -> SharesConfig:
        """How images that are there are shared out."""
        whole = ["reference"] if self.data.splits.reference_of_all else []
        shares = {name: size for name, size in self.splits.items() if name not in whole}
        most = {} if self.data.splits.auto else {name: int(size) for name, size in shares.items()}
        return SharesConfig(shares=shares, most=most, whole=whole)

    def split_range(self, split: str) -> range:
        """Return the positions of a split of drawn images: disjoint ranges, one behind the other."""
        start = 0
        for name, size in self.splits.items():
            if name == split:
                return range(start, start + int(size))
            start += int(size)
        raise ConfigError(f"data.splits: there is no split {split!r}; there are {', '.join(self.splits)}.")

    @property
    def filters_split(self) -> str:
        """Split on whose real images filters of classes are compared.

        None of them has seen it. It is that of the judges that tune guidance_scale; without any, that of the class
        judge, which learned from these images, and whose word the other columns are.
        """
        return "tuning_judge" if self.splits.get("tuning_judge") else "judge"

    @property
    def wanted_attributes(self) -> list[str]:
        """Attributes of the rows of the table, in the order of the rows."""
        return list(dict.fromkeys(target.attribute for target in self.attributes.targets)) if self.attributes else []

    @property
    def judged_together(self) -> list[str]:
        """Attributes that share a judge, in the order of the data set."""
        known = self.wanted_attributes if self.data.attributes is None else self.data.attributes
        return [name for name in known if name in self.data.judged_together]

    @property
    def judged_alone(self) -> list[str]:
        """Attributes of the table that have labels and judges of their own: one more changes nothing of the others."""
        return [name for name in self.wanted_attributes if name not in self.judged_together]

    @property
    def extractor_files(self) -> list[str]:
        """Files of feature extractors that the rules of downloads make."""
        made = (self.downloads.product_of(one.weights) for one in self.evaluation.extractors if one.weights)
        return [file for file in made if file]

    @property
    def semantic_folder(self) -> Path:
        """Where the rules put the network of the extractor ``semantic``."""
        return Path("results", self.data.name, "judges", "semantic")

    @property
    def reads_semantic(self) -> bool:
        """Whether any extractor is of that kind."""
        return any(one.kind == "semantic" for one in self.evaluation.extractors)

    @property
    def promised_files(self) -> list[str]:
        """Files of the data set that the rules of downloads make; empty if its images are there, or drawn."""
        made = (self.downloads.product_of(path) for path in self.data.files.values())
        return list(dict.fromkeys(file for file in made if file))

    @property
    def units_per_target(self) -> int:
        """Work units of each row and guided method."""
        given = self.attributes.sets.units_per_target if self.attributes else None
        return given or -(-self.evaluation.samples // self.sampling.unit_size)

    @property
    def units_unguided(self) -> int:
        """Work units of the unguided pool."""
        given = self.attributes.sets.units_unguided if self.attributes else None
        return given or 6 * self.units_per_target

    def training_images(self, method: str) -> int:
        """Return how many images the generative model behind an attributes' method saw; 0: none, or nobody knows."""
        if method == "naive":
            return 0
        if self.baselines and method in get_args(Baseline):
            return self.baselines.training.num_images
        return 0 if self.denoiser.source in ("folder", "checkpoint") else self.denoiser.images_seen

    @property
    def generative_baselines(self) -> list[str]:
        """Generative baselines that any experiment names."""
        sections = [section for section in (self.attributes, self.masks) if section]
        return list(dict.fromkeys(name for section in sections for name in section.baselines))

    def baseline_recipe(self, baseline: Baseline) -> BaselineRecipeConfig:
        """Return what one baseline's weights depend on: the others' recipes make nothing of it stale."""
        assert self.baselines
        section = self.baselines.only(baseline)
        return BaselineRecipeConfig(baseline=baseline, section=section, schedule=self.denoiser.schedule)

    @property
    def candidate_units(self) -> int:
        """Work units of latents that a generative baseline's classifier chooses from."""
        given = self.baselines.candidate_units if self.baselines else None
        return given or self.units_unguided

    def mask_sampling(self, preset: str, sweep: bool = False) -> SamplingConfig:
        """Return the sampling of masks: as the preset says, in work units that hold one sample of each mask.

        That of the sweep shows masks of its own, by seeds of its own.
        """
        if self.masks is None:
            raise ConfigError("masks: found null, expected a section: its samples are asked for.")
        update = self.masks.presets[preset].sampling
        own = {"unit_size": self.masks.sweep.masks, "first_seed": self.masks.sweep.first_seed}
        return self.sampling.model_copy(update={**update, **(own if sweep else {"unit_size": self.masks.masks})})

    @model_validator(mode="before")
    @classmethod
    def _own_alone(cls, raw: Any) -> Any:
        """An overlay of a few keys, on the default: what that says of experiments is not meant."""
        alone = isinstance(raw, Mapping) and raw.get("own")
        return {**raw, "attributes": None, "masks": None, "classes": None} if alone else raw

    @field_validator("*")
    @classmethod
    def _at_home(cls, section: Any) -> Any:
        return at_home(section)

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if problems := list(problems_of(self)):
            raise ValueError("\n".join(problems))
        return self


def load_config(raw: Mapping[str, Any], base: Path = Path()) -> Config:
    """Validate a raw configuration.

    Args:
        raw: What YAML files say. Relative paths in it mean the working directory.
        base: Folder of the workflow, which ships a file that the default names.

    Raises:
        ConfigError: Names every offending key, what was found and what is allowed.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        problems = [f"  {problem}" for item in error.errors() for problem in _problems(item)]
        raise ConfigError("The configuration is not valid:\n" + "\n".join(problems)) from error
    found: dict[str, Section] = {
        "report": config.report.found_from(base),
        "downloads": config.downloads.naming(paths_in(config)),
        "evaluation": config.evaluation.with_semantic(config.semantic_folder),
    }
    config, batch = config.model_copy(update=found), config.compute.feature_batch
    return config if batch is None else inherited(config, "feature_batch", batch)


def _problems(item: Any) -> list[str]:
    where = dotted(item["loc"])
    if item["type"] == "extra_forbidden" and where in MOVED:
        return [f"{where}: moved to {MOVED[where]}"]
    if item["type"] == "extra_forbidden":
        return [f"{where}: there is no such key{_alike(str(item['loc'][-1]))}{_found(item)}"]
    if item["type"] != "value_error":
        said = [f"{where}: {item['msg']}" if where else item["msg"]]
    else:  # a validator of ours
        said = [_located(where, problem) for problem in str(item["ctx"]["error"]).split("\n")]
    return [problem + _found(item) for problem in said]


def _alike(key: str) -> str:
    schema = Config.model_json_schema()
    keys = {name for section in [schema, *schema["$defs"].values()] for name in section.get("properties", {})}
    alike = get_close_matches(key, sorted(keys), 1, cutoff=0.8)
    return f"; did you mean {alike[0]}?" if alike and alike[0] != key else ", config/README.md lists all"


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
