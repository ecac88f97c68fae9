"""Types that every section of the configuration shares."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Timestep = Annotated[int, Field(ge=0, lt=1000)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "float32", "bfloat16"]
Mode = Literal["exact", "readout"]
Source = Literal["train", "store"]


def _distinct_names(scales: list[float]) -> list[float]:
    names = [f"{scale:g}" for scale in scales]  # as in the names of the files
    if len(set(names)) != len(names):
        raise ValueError(f"found {names} in six digits, expected each once")
    return scales


Scales = Annotated[list[Annotated[float, Field(ge=0)]], AfterValidator(_distinct_names)]


class Section(BaseModel):
    """A group of settings: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
