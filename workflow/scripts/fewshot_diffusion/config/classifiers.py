"""Settings of supervised networks: DDIM-I's classifier and the judges."""

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


class ImageClassifierConfig(SupervisedConfig):
    """DDIM-I's image-space classifier, trained on the same shots; accepts iff p > .5 and u < p."""


class JudgeConfig(SupervisedConfig):
    """The classifier that tells which attributes an image has; it never guides."""
