"""How jobs compute, whatever they compute."""

from pydantic import Field

from .base import Positive, Section


class ComputeConfig(Section):
    """What a machine's memory and speed ask for; it changes the rounding of results alone."""

    feature_batch: Positive | None = Field(
        default=None,
        description="Images per pass where frozen networks read many: head inputs, filter, extractors. null: 20 to 64, "
        "as each is used to on a CPU; hundreds on a GPU.",
    )
