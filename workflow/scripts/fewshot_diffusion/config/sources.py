"""What every source of images says of itself, and those that are read as others published them."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from .base import Fit, Name, Section
from .splits import SHARES


class SourceConfig(Section):
    """What a source says of itself; a new kind derives from it."""

    @property
    def files(self) -> dict[str, Path]:
        """Local files and folders that it is read from, by the key that names each."""
        return {}

    @property
    def has_classes(self) -> bool:
        """Whether its images have one class each."""
        return False

    @property
    def mask_classes(self) -> list[str]:
        """Names of the class ids 0, 1, ... of its masks; empty if it has none."""
        return []


class FilesConfig(SourceConfig):
    """A source that is read from image files."""

    fit: Fit = Field("crop", description="Images that are not square: keep the middle, squash them, or stop.")


PARTS = {
    "skin": "skin", "nose": "nose", "eye_g": "eye_glasses", "l_eye": "left_eye", "r_eye": "right_eye",
    "l_brow": "left_brow", "r_brow": "right_brow", "l_ear": "left_ear", "r_ear": "right_ear", "mouth": "mouth",
    "u_lip": "upper_lip", "l_lip": "lower_lip", "hair": "hair", "hat": "hat", "ear_r": "earring", "neck_l": "necklace",
    "neck": "neck", "cloth": "cloth",
}  # fmt: skip
"""CelebAMask-HQ's part -> its name here: class ids 1, 2, ... in the published order, in which later ones cover."""


class CelebAMaskConfig(FilesConfig):
    """CelebAMask-HQ as it is published: the zip or what it holds, a file for every part of a face."""

    kind: Literal["celebamask"] = "celebamask"
    path: Path = Field(description="CelebAMask-HQ.zip, or the folder that holds CelebA-HQ-img/.")
    attributes: dict[Name, str] = Field(
        default_factory=dict, description="Our attribute name -> that in CelebAMask-HQ-attribute-anno.txt."
    )

    @property
    def files(self) -> dict[str, Path]:
        """The zip or folder."""
        return {"path": self.path}

    @property
    def mask_classes(self) -> list[str]:
        """The background and the parts, in the published order."""
        return ["background", *PARTS.values()]


class ParquetConfig(FilesConfig):
    """Images in parquet files, as on the Hugging Face hub: ``<part>-00000-of-00002.parquet``, in folders or not."""

    kind: Literal["parquet"] = "parquet"
    path: Path = Field(description="Folder that holds the files (in it, or in folders of it), or one file.")
    image: str = Field("image", description="Column of the images: bytes, or bytes and path.")
    label: str | None = Field(None, description="Column of the class of each image; null: the data set has none.")
    names: Literal["position", "path"] = Field(
        "position", description="What an image is known by: its part and position, or its path."
    )
    attributes: dict[Name, str] = Field(
        default_factory=dict, description="Our attribute name -> a column of truth values, 0 / 1 or -1 / 1."
    )
    parts: dict[str, list[str]] = Field(
        default_factory=dict,
        description="Part of the data set, as the files are called (train, valid) -> the splits that may hold its "
        "images. Those of other parts may be in any other split.",
    )

    @property
    def files(self) -> dict[str, Path]:
        """The folder or file."""
        return {"path": self.path}

    @property
    def has_classes(self) -> bool:
        """Whether a column is named."""
        return self.label is not None

    @model_validator(mode="after")
    def _known(self) -> "ParquetConfig":
        if unknown := {split for splits in self.parts.values() for split in splits} - set(SHARES):
            raise ValueError(f"parts: found the split {min(unknown)!r}, expected some of {', '.join(SHARES)}")
        return self


PublishedConfig = CelebAMaskConfig | ParquetConfig
"""Data sets that are read as others publish them."""
