"""Settings of supervised networks: the judges and DDIM-I's classifier."""

from typing import Annotated

from pydantic import Field

from .base import Count, Positive, Precision, Section


class SupervisedConfig(Section):
    """How a network is trained on labelled images: AdamW with a one-cycle learning rate."""

    epochs: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Count = 0
    precision: Precision = "auto"
