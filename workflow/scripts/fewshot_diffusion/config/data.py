"""Settings of the data set and its splits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, Name, Positive, Section
from .sources import CelebAMaskConfig, FilesConfig, ParquetConfig, PublishedConfig, SourceConfig
from .splits import SplitsConfig


class AvatarsConfig(SourceConfig):
    """Cartoon portraits drawn from a generator's options."""

    kind: Literal["avatars"] = "avatars"
    style: Literal["toon-head"] = Field("toon-head", description="DiceBear style; ToonHead by Johan Melin, CC BY 4.0.")
    options: dict[str, Any] = Field(default_factory=dict, description="Generator options and their allowed ranges.")
    classes: list[str] = Field(
        default_factory=list, description="Options whose joint values are the classes of experiment 3."
    )
    attributes: dict[Name, dict[str, list[Annotated[str, Field(coerce_numbers_to_str=True)]]]] = Field(
        description="Attribute -> generator option -> values that make the attribute true."
    )
    parts: dict[Name, list[str]] = Field(
        default_factory=dict, description="Part -> the style's components that draw it; class ids 1, 2, ... in order."
    )

    @property
    def has_classes(self) -> bool:
        """Whether any are configured."""
        return bool(self.classes)

    @property
    def mask_classes(self) -> list[str]:
        """The background and the configured parts."""
        return ["background", *self.parts] if self.parts else []


class CropConfig(Section):
    """A rectangle of pixels: first and behind the last, as D2C's rows 57-185 and columns 25-153 of aligned CelebA."""

    rows: tuple[Count, Positive]
    columns: tuple[Count, Positive]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, pixels."""
        return (self.columns[0], self.rows[0], self.columns[1], self.rows[1])

    @model_validator(mode="after")
    def _has_pixels(self) -> "CropConfig":
        for key, (first, end) in {"rows": self.rows, "columns": self.columns}.items():
            if first >= end:
                raise ValueError(f"{key}: found {first} to {end}, expected a range that holds pixels")
        return self


class CelebAHQConfig(FilesConfig):
    """Real faces from a local folder: zips of images, or a folder or zip of them, and CelebA's attribute list."""

    kind: Literal["celebahq"] = "celebahq"
    folder: Path = Field(description="Folder with the images (in it, in one below it, or in zips), or their zip.")
    attribute_file: Path = Field(
        Path("list_attr_celebahq.txt"), description="CelebA's list: its name in `folder`, or a path with a slash."
    )
    partition_file: Path | None = Field(
        None, description="CelebA's list of partitions, a path: 0 trains and teaches, 1 judges, 2 is measured with."
    )
    crop: CropConfig | None = Field(None, description="What of every image is kept, before it is resized.")
    held_out_ids: Path | None = Field(None, description="CSV whose ids (column celebahq_file) no denoiser may see.")
    attributes: dict[Name, str] = Field(description="Our attribute name -> the data set's.")

    @property
    def attribute_path(self) -> Path:
        """Where the attribute list lies."""
        return self.folder / self.attribute_file if len(self.attribute_file.parts) == 1 else self.attribute_file

    @property
    def files(self) -> dict[str, Path]:
        """Local files that images and labels are read from."""
        lists = {"partition_file": self.partition_file, "held_out_ids": self.held_out_ids}
        given = {key: path for key, path in lists.items() if path}
        return {"folder": self.folder, "attribute_file": self.attribute_path, **given}


class MaskFolderConfig(FilesConfig):
    """Images with masks from a local folder or zip: ``images/<name>.jpg`` (or ``.png``) and ``masks/<name>.png``."""

    kind: Literal["mask_folder"] = "mask_folder"
    path: Path = Field(description="Folder or .zip that holds images/ and masks/, one mask for each image.")
    classes: list[Name] = Field(min_length=2, description="Names of the class ids 0, 1, ... of the masks.")
    ignore: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="Value of pixels without a class (often 255); they become ``ignore_as``, counted in the log."
    )
    ignore_as: Name | None = Field(None, description="Class of the pixels that hold ``ignore``; null: the first.")
    ids_file: Path | None = Field(
        None, description="CSV that joins names (column name) to ids of another set (column celebahq_file: <id>.jpg)."
    )
    attribute_file: Path | None = Field(None, description="CelebA's attribute list of those ids; needed by attributes.")
    attributes: dict[Name, str] = Field(default_factory=dict, description="Our attribute name -> the list's.")

    @property
    def files(self) -> dict[str, Path]:
        """Local files that images, masks and labels are read from."""
        found = {"path": self.path, "ids_file": self.ids_file, "attribute_file": self.attribute_file}
        return {key: path for key, path in found.items() if path}

    @property
    def mask_classes(self) -> list[str]:
        """The configured names."""
        return self.classes

    @model_validator(mode="after")
    def _known(self) -> "MaskFolderConfig":
        if self.ignore_as is not None and self.ignore_as not in self.classes:
            raise ValueError(f"ignore_as: found {self.ignore_as!r}, expected one of {', '.join(self.classes)}")
        return self

    @model_validator(mode="after")
    def _joined(self) -> "MaskFolderConfig":
        if self.attributes and (self.ids_file is None or self.attribute_file is None):
            raise ValueError("attributes: found some, expected ids_file and attribute_file, which they are joined from")
        return self


class ImageFolderConfig(FilesConfig):
    """Labelled images in the layout of Tiny-ImageNet, in a local folder or zip.

    ``train/<class>/images/*`` or ``train/<class>/*``, and ``val/val_annotations.txt`` with ``val/images/*`` or
    ``val/<class>/*``.
    """

    kind: Literal["image_folder"] = "image_folder"
    path: Path = Field(description="Folder or .zip that holds train/ and val/.")
    grey: Literal["convert", "refuse"] = Field(
        "convert", description="Grey, palette and RGBA images: convert to RGB, counted in the log; or stop."
    )
    unreadable: Literal["skip", "refuse"] = Field(
        "refuse", description="Truncated images: stop, or leave them out, counted in the log."
    )
    judge_from: Literal["train", "val"] = Field(
        "train",
        exclude_if=lambda part: part == "train",
        description="Which part the judge's images are of; val: `class_train` gets all of train/, as in the paper.",
    )
    attributes: dict[Name, str] = Field(
        default_factory=dict, description="Our attribute name -> the class that has it."
    )

    @property
    def files(self) -> dict[str, Path]:
        """Local files that images are read from."""
        return {"path": self.path}

    @property
    def has_classes(self) -> bool:
        """Its folders are the classes."""
        return True


class FolderConfig(FilesConfig):
    """Images of any names in a local folder or zip, and a CSV that says what they show.

    Its column `file` names the images, every other is an attribute: 0 / 1, true / false, yes / no or -1 / 1.
    """

    kind: Literal["folder"] = "folder"
    images: Path = Field(description="Folder or .zip, with or without folders inside.")
    labels: Path = Field(description="CSV: the image's file, then a column for every attribute.")

    @property
    def files(self) -> dict[str, Path]:
        """Local files that images and labels are read from."""
        return {"images": self.images, "labels": self.labels}

    @property
    def attributes(self) -> None:
        """The columns of the CSV, which is read when a run is planned."""
        return


Source = Annotated[
    AvatarsConfig | CelebAHQConfig | MaskFolderConfig | PublishedConfig | ImageFolderConfig | FolderConfig,
    Field(discriminator="kind"),
]
"""Any kind of data set."""

ImageSize = Annotated[int, Field(ge=8, le=1024, multiple_of=8)]


class DatasetConfig(Section):
    """What one image depends on: what a job is passed."""

    name: Name
    image_size: ImageSize
    source: Source


def _or_auto(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"$ref": schema.pop("$ref")}, {"const": "auto"}]


class DataConfig(Section):
    """The data set and the splits that the experiments share."""

    # Overlays are merged key by key: were there one section for the source, an overlay of another kind would inherit
    # the keys of the default's. So each kind has a section of its own, and ``kind`` says which one is read.
    name: Name = Field(description="Folder under results/, and the data_set column.")
    kind: Literal["avatars", "celebahq", "celebamask", "mask_folder", "parquet", "image_folder", "folder"] = Field(
        description="Which of the sections below is read."
    )
    image_size: ImageSize = Field(description="Height and width, pixels.")
    judged_together: list[Name] = Field(
        default_factory=list,
        description="Attributes that one judge learns together; any other has labels and judges of its own.",
    )
    avatars: AvatarsConfig | None = None
    celebahq: CelebAHQConfig | None = None
    celebamask: CelebAMaskConfig | None = None
    mask_folder: MaskFolderConfig | None = None
    parquet: ParquetConfig | None = None
    image_folder: ImageFolderConfig | None = None
    folder: FolderConfig | None = None
    splits: SplitsConfig = Field(
        description="Numbers of images, or `auto`: fixed shares of the images that are there.",
        json_schema_extra=_or_auto,
    )

    @property
    def source(self) -> Source:
        """The section that ``kind`` names."""
        source: Source = getattr(self, self.kind)
        return source

    @property
    def is_drawn(self) -> bool:
        """Whether there are as many images as one likes."""
        return self.kind == "avatars"

    @property
    def files(self) -> dict[str, Path]:
        """Local files and folders that images and labels are read from, by the key that names each."""
        return {f"data.{self.kind}.{key}": path for key, path in self.source.files.items()}

    @property
    def attributes(self) -> list[str] | None:
        """The data set's attributes, in order; None if they are known only when its lists are read."""
        return None if self.source.attributes is None else list(self.source.attributes)

    @property
    def has_classes(self) -> bool:
        """Whether its images have one class each."""
        return self.source.has_classes

    @property
    def mask_classes(self) -> list[str]:
        """Names of the class ids of its masks, in order; empty if it has none."""
        return self.source.mask_classes

    def dataset(self, attributes: Sequence[str]) -> DatasetConfig:
        """Return what one image depends on: neither splits, nor other kinds' sections, nor other attributes' rules."""
        rules = self.source.attributes
        kept = {"attributes": {name: rules[name] for name in attributes if name in rules}} if rules else {}
        source = self.source.model_copy(update=kept)
        return DatasetConfig(name=self.name, image_size=self.image_size, source=source)

    @model_validator(mode="after")
    def _source_given(self) -> "DataConfig":
        if getattr(self, self.kind) is None:
            raise ValueError(f"kind: found {self.kind!r}, expected a section data.{self.kind}, which is not there")
        if self.is_drawn and self.splits.reference_of_all:
            raise ValueError("splits.reference_of_all: found true, expected false: avatars have no end")
        if self.is_drawn and self.splits.auto:
            raise ValueError("splits: found auto, expected numbers: of avatars there are as many as one likes")
        return self
