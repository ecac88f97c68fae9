"""Settings of the data set and its splits."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, Name, Section


class AvatarsConfig(Section):
    """Cartoon portraits drawn from a generator's options."""

    style: Literal["toon-head"] = Field("toon-head", description="DiceBear style; ToonHead by Johan Melin, CC BY 4.0.")
    options: dict[str, Any] = Field(default_factory=dict, description="Generator options and their allowed ranges.")
    classes: list[str] = Field(
        default_factory=list, description="Options whose joint values are the classes of experiment 3."
    )
    attributes: dict[Name, dict[str, list[str]]] = Field(
        description="Attribute -> generator option -> values that make the attribute true."
    )
    parts: dict[Name, list[str]] = Field(
        default_factory=dict, description="Part -> the style's components that draw it; class ids 1, 2, ... in order."
    )

    @property
    def files(self) -> list[Path]:
        """No local files: avatars are drawn."""
        return []


class CelebAHQConfig(Section):
    """Real faces from a local folder: zips of JPEGs and CelebA's attribute list."""

    folder: Path = Field(description="Folder with images-*.zip and the attribute list.")
    attribute_file: str = "list_attr_celebahq.txt"
    held_out_ids: Path | None = Field(None, description="CSV whose ids (column celebahq_file) no denoiser may see.")
    attributes: dict[Name, str] = Field(description="Our attribute name -> the data set's.")

    @property
    def files(self) -> list[Path]:
        """Local files that images and labels are read from."""
        held_out = [self.held_out_ids] if self.held_out_ids else []
        return [self.folder / self.attribute_file, *held_out, *self.folder.glob("images-*.zip")]


class MaskFolderConfig(Section):
    """Images with masks from a local folder or zip: ``images/<name>.jpg`` (or ``.png``) and ``masks/<name>.png``."""

    path: Path = Field(description="Folder or .zip that holds images/ and masks/, one mask for each image.")
    classes: list[Name] = Field(min_length=2, description="Names of the class ids 0, 1, ... of the masks.")
    ids_file: Path | None = Field(
        None, description="CSV that joins names (column name) to ids of another set (column celebahq_file: <id>.jpg)."
    )
    attribute_file: Path | None = Field(None, description="CelebA's attribute list of those ids; needed by attributes.")
    attributes: dict[Name, str] = Field(default_factory=dict, description="Our attribute name -> the list's.")

    @property
    def files(self) -> list[Path]:
        """Local files that images, masks and labels are read from."""
        return [path for path in (self.path, self.ids_file, self.attribute_file) if path]

    @model_validator(mode="after")
    def _joined(self) -> "MaskFolderConfig":
        if self.attributes and (self.ids_file is None or self.attribute_file is None):
            raise ValueError("attributes: found some, expected ids_file and attribute_file, which they are joined from")
        return self


class ImageFolderConfig(Section):
    """Labelled images in the layout of Tiny-ImageNet, in a local folder or zip.

    ``train/<class>/images/*`` or ``train/<class>/*``, and ``val/val_annotations.txt`` with ``val/images/*`` or
    ``val/<class>/*``.
    """

    path: Path = Field(description="Folder or .zip that holds train/ and val/.")
    grey: Literal["convert", "refuse"] = Field(
        "convert", description="Grey, palette and RGBA images: convert to RGB, counted in the log; or stop."
    )
    unreadable: Literal["skip", "refuse"] = Field(
        "refuse", description="Truncated images: stop, or leave them out, counted in the log."
    )
    attributes: dict[Name, str] = Field(
        default_factory=dict, description="Our attribute name -> the class that has it."
    )

    @property
    def files(self) -> list[Path]:
        """Local files that images are read from."""
        return [self.path]


Source = AvatarsConfig | CelebAHQConfig | MaskFolderConfig | ImageFolderConfig


class SplitsConfig(Section):
    """Images that the experiments share; each has some of its own (``<experiment>.splits``)."""

    train: Count = Field(0, description="Unlabelled images that train the denoiser.")
    judge: Count = Field(0, description="Labelled images of the judges that are reported.")
    tuning_judge: Count = Field(0, description="Labelled images of the judges that tune guidance_scale.")
    controls: Count = Field(0, description="Real images for naive rows, floors, wanted masks and judge accuracy.")
    reference: Count = Field(0, description="Real images of the reference statistics.")


class DatasetConfig(Section):
    """The data set, without its splits: what one image depends on."""

    name: Name = Field(description="Folder under results/, and the data_set column.")
    kind: Literal["avatars", "celebahq", "mask_folder", "image_folder"] = Field(
        description="Which of the sections below is read."
    )
    image_size: Annotated[int, Field(ge=8, le=1024, multiple_of=8)] = Field(description="Height and width, pixels.")
    avatars: AvatarsConfig | None = None
    celebahq: CelebAHQConfig | None = None
    mask_folder: MaskFolderConfig | None = None
    image_folder: ImageFolderConfig | None = None

    @property
    def source(self) -> Source:
        """The section that ``kind`` names."""
        source: Source | None = getattr(self, self.kind)
        assert source is not None
        return source

    @property
    def files(self) -> list[str]:
        """Local files that images are read from: replacing one makes every split stale; absent ones a job names."""
        return sorted(str(path) for path in self.source.files if path.is_file())

    @property
    def attributes(self) -> list[str]:
        """The data set's attributes, in order."""
        return list(self.source.attributes)

    @property
    def has_classes(self) -> bool:
        """Whether its images have one class each."""
        source = self.source
        return isinstance(source, ImageFolderConfig) or (isinstance(source, AvatarsConfig) and bool(source.classes))

    @property
    def mask_classes(self) -> list[str]:
        """Names of the class ids of its masks, in order; empty if it has none."""
        source = self.source
        if isinstance(source, AvatarsConfig):
            return ["background", *source.parts]
        return source.classes if isinstance(source, MaskFolderConfig) else []

    @model_validator(mode="after")
    def _source_given(self) -> "DatasetConfig":
        if getattr(self, self.kind) is None:
            raise ValueError(f"kind is {self.kind!r}, expected a section data.{self.kind}; found none")
        return self


class DataConfig(DatasetConfig):
    """The data set and the splits that the experiments share."""

    splits: SplitsConfig
