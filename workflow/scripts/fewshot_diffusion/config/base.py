"""Types that every section of the configuration shares."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Timestep = Count  # below denoiser.schedule.num_train_timesteps: config/checks.py
Fraction = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "float32", "bfloat16"]
Mode = Literal["exact", "readout"]
Source = Literal["train", "store"]
Fit = Literal["crop", "squash", "refuse"]

LEARNED_AS = {"direct": "exact", "clean_image_direct": "clean_image"}
"""Method that learns nothing of its own -> the method whose weights it uses."""


def learned_as(method: str) -> str:
    """Return the method whose weights a method uses: its own but for those of ``LEARNED_AS``."""
    return LEARNED_AS.get(method, method)


# Not written where they are not set: earlier products keep the identity that they were made with.
OptionalScale = Annotated[
    Annotated[float, Field(ge=0)] | None,
    Field(exclude_if=lambda scale: scale is None, description="Needed where the methods of the section list it."),
]
FeatureBatch = Annotated[
    Positive | None,
    Field(exclude_if=lambda batch: batch is None, description="Images per pass; null: as compute.feature_batch says."),
]
MicroBatch = Annotated[
    Positive | None,
    Field(
        exclude_if=lambda batch: batch is None,
        description="Samples of a work unit that are in memory at a time; null: all. It changes their rounding alone.",
    ),
]
Compile = Annotated[
    bool,
    Field(
        exclude_if=lambda wanted: not wanted,
        description="Compile the network (torch.compile); part of the bits. Passes that read features are never.",
    ),
]


def _distinct_names(scales: list[float]) -> list[float]:
    names = [f"{scale:g}" for scale in scales]  # as in the names of the files
    if len(set(names)) != len(names):
        raise ValueError(f"found {names} in six digits, expected each once")
    return scales


Scales = Annotated[list[Annotated[float, Field(ge=0)]], AfterValidator(_distinct_names)]


class Section(BaseModel):
    """A group of settings: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def require_scales(key: str, scales: Section, methods: Iterable[str], experiment: str) -> None:
    """Raise ``ValueError`` unless every method that is listed has a scale.

    Args:
        key: Of the scales.
        scales: A number or null for each method.
        methods: Those that are listed.
        experiment: Whose sweep chooses a scale.
    """
    for method in methods:
        if getattr(scales, method) is None:
            raise ValueError(
                f"{key}.{method}: found null, expected a number, since methods lists {method}; any serves "
                f"`snakemake {experiment}_sweep`, which chooses it"
            )


AnySection = TypeVar("AnySection", bound=Section)


def inherited(section: AnySection, key: str, value: Any) -> AnySection:
    """Return a section in which all sections below it that know a key, and have null for it, have ``value``."""
    below = {name: inherited(item, key, value) for name, item in section if isinstance(item, Section)}
    own = {key: value} if key in type(section).model_fields and getattr(section, key) is None else {}
    return section.model_copy(update={**below, **own})


Found = TypeVar("Found", bound=Section)


def at_home(value: Any) -> Any:
    """Return a section, mapping, list or path in which ~ at the beginning of a path is the home folder.

    Raises:
        ValueError: If a path begins with ~ and a user who has none.
    """
    if isinstance(value, Section):
        changed = {name: new for name, old in value if (new := at_home(old)) is not old}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict) and any(isinstance(item, Path) for item in value.values()):
        return {key: at_home(item) for key, item in value.items()}
    if isinstance(value, list):
        found = [at_home(item) for item in value]
        return found if any(new is not old for new, old in zip(found, value, strict=True)) else value
    return _expanded(value) if isinstance(value, Path) and str(value).startswith("~") else value


def paths_in(value: Any) -> Iterator[Path]:
    """Yield every path of a section, mapping or list, in order."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Section | dict):
        for _, item in value if isinstance(value, Section) else value.items():
            yield from paths_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from paths_in(item)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"found {path}, whose home folder is unknown") from error


class SweepConfig(Section):
    """What every sweep over guidance_scale has."""

    guidance_scales: Scales = Field(min_length=1)

    @property
    def scales(self) -> dict[str, float]:
        """Return each scale by its name in paths."""
        return {f"{scale:g}": scale for scale in self.guidance_scales}
