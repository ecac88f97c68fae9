"""Settings of a run on a model of one's own: a folder of weights, images, some dozens of labels or masks."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Mode, Name, Positive, Section
from .supervised import SupervisedConfig


class OwnSourceConfig(Section):
    """Images, and what people say of them."""

    images: Path = Field(description="Folder or .zip of images, with or without folders inside.")
    labels: Path | None = Field(
        None,
        description="CSV: a column `file`, then a column of yes / no (0 / 1, ...) for each attribute; or one column "
        "`label` with names of classes, each of which becomes an attribute.",
    )
    masks: Path | None = Field(
        None, description="Folder or .zip of masks, `<stem of the image>.png`, pixel = class id, of the image's shape."
    )
    classes: list[Name] = Field(default_factory=list, description="Names of the class ids 0, 1, ... of the masks.")


class OwnLearningConfig(Section):
    """What is learned from the labels."""

    mode: Mode = Field("exact", description="exact: the paper's; readout: about half its cost.")
    taps: list[str] | Literal["auto"] = Field(
        "auto", description="Modules that heads read; auto: what predicts the labels best, cross-validated on them."
    )
    shots: Positive = Field(
        100,
        description="Labels of each kind, or pairs, that a head learns from, at most; those beyond are held out, for a "
        "judge.",
    )
    flip: bool = Field(True, description="Add the mirror image of every labelled one; false where sides matter.")


class OwnDrawingConfig(Section):
    """How samples are drawn."""

    guidance_scale: Annotated[float, Field(ge=0)] | None = Field(
        None, description="lambda; null: 10, of masks 400 (on the mean over pixels)."
    )
    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] = Field(50, description="DDIM steps.")
    batch_size: Positive = Field(16, description="Samples that are drawn together.")


class OwnJudgeConfig(SupervisedConfig):
    """The classifier of one attribute, or the segmenter, from a few hundred images."""

    epochs: Positive = 40
    batch_size: Positive = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.05


class OwnTableConfig(Section):
    """The measured tables: of attributes that have labels to spare, and of masks that have pairs to spare."""

    held_out: Annotated[int, Field(ge=10)] = Field(
        150,
        description="Labels of each kind, or pairs, beyond the shots, from which on a judge is trained: four fifths "
        "train it, the rest say how far to trust it; of masks, samples follow the rest.",
    )
    samples: Positive = Field(100, description="Samples that the judge sees of each row.")
    judge: OwnJudgeConfig = Field(
        default_factory=OwnJudgeConfig, description="Its training; no head has learned from its images."
    )


class OwnConfig(OwnDrawingConfig, OwnLearningConfig, OwnSourceConfig):
    """A model of one's own and some dozens of labels: `snakemake own`; the experiments are left out."""

    model: Path = Field(description="Folder that diffusers wrote: a DDPMPipeline, a DDIMPipeline, or a network alone.")
    samples: Positive = Field(16, description="Samples on the sheet, of each attribute.")
    table: OwnTableConfig = Field(
        default_factory=lambda: OwnTableConfig.model_validate({}),
        description="Where an attribute has labels, or masks have pairs, to spare.",
    )

    @property
    def source(self) -> OwnSourceConfig:
        """Images and labels alone: they do not change with how samples are drawn."""
        return OwnSourceConfig.model_validate(self.model_dump(include=set(OwnSourceConfig.model_fields)))

    @property
    def learning(self) -> OwnLearningConfig:
        """What heads depend on."""
        return OwnLearningConfig.model_validate(self.model_dump(include=set(OwnLearningConfig.model_fields)))

    @property
    def drawing(self) -> OwnDrawingConfig:
        """What samples depend on, beside a head."""
        return OwnDrawingConfig.model_validate(self.model_dump(include=set(OwnDrawingConfig.model_fields)))

    @model_validator(mode="after")
    def _something_is_said(self) -> "OwnConfig":
        if self.labels is None and self.masks is None:
            raise ValueError("labels, masks: found neither, expected the path of at least one")
        if (self.masks is None) != (len(self.classes) < 2):
            raise ValueError(
                f"classes: found {len(self.classes)}, expected the names of all class ids of masks, and none without"
            )
        return self
