"""Settings of the splits that the experiments share."""

from typing import Any

from pydantic import Field, model_validator

from .base import Count, Section

SHARES = {
    "train": 0.3, "shots": 0.2, "judge": 0.15, "tuning_judge": 0.1, "controls": 0.15, "reference": 0.1,
    "pairs": 0.1, "class_train": 0.3, "class_test": 0.2,
}  # fmt: skip
"""What each split gets of a data set if ``data.splits`` is ``auto``, in proportion to the others that are needed.

Chosen for a few hundred images: of 500, of which 30 % have the attribute, about 30 such images are for the shots and
22 for the controls, which bound how many samples a distance can take.
"""


class SharesConfig(Section):
    """How the images that are there are shared out among the splits."""

    shares: dict[str, float] = Field(description="Split -> its share, in proportion to the others.")
    whole: list[str] = Field(default_factory=list, description="Splits of all labelled images, beside the others.")
    most: dict[str, int] = Field(default_factory=dict, description="Split -> images that it holds at most.")


class SplitsConfig(Section):
    """Images that the experiments share; each has some of its own (``<experiment>.splits``).

    Of images that are there, a split gets a part in proportion to its number, and at most its number.
    """

    auto: bool = Field(False, description="Fixed shares of the images that are there, whatever the numbers are.")
    train: Count = Field(0, description="Unlabelled images that train the denoiser.")
    judge: Count = Field(0, description="Labelled images of the judges that are reported.")
    tuning_judge: Count = Field(0, description="Labelled images of the judges that tune guidance_scale.")
    controls: Count = Field(0, description="Real images for naive rows, floors, wanted masks and judge accuracy.")
    reference: Count = Field(0, description="Real images of the reference statistics.")
    reference_of_all: bool = Field(
        False,
        description="The reference is all labelled images that are there, those of other splits, too, as in the paper; "
        "it is only described, and nothing learns from it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _word(cls, value: Any) -> Any:
        return {"auto": True} if value == "auto" else value

    @property
    def numbers(self) -> dict[str, int]:
        """Split -> images."""
        return self.model_dump(exclude={"auto", "reference_of_all"})
