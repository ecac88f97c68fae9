"""Sources whose images are there, read as a whole."""

from fewshot_diffusion.config.data import DatasetConfig
from fewshot_diffusion.config.sources import FilesConfig
from fewshot_diffusion.data.image_set import ImageSet
from fewshot_diffusion.data.index import Row, SourceIndex
from fewshot_diffusion.data.listed import iter_row_masks, iter_rows
from fewshot_diffusion.data.listings import list_source
from fewshot_diffusion.data.mask_set import MaskSet


def listed(source: FilesConfig, part: str = "") -> tuple[SourceIndex, list[Row], list[str]]:
    """List a source: its images in the order of a split, of one part if it has some, and its attributes."""
    attributes = list(getattr(source, "attributes", None) or {})
    index = list_source(source, attributes)
    return index, sorted((row for row in index.rows if part in ("", row.part)), key=lambda row: row.id), attributes


def all_images(source: FilesConfig, image_size: int = 8, part: str = "") -> ImageSet:
    """Read all images of a source."""
    index, rows, attributes = listed(source, part)
    (found,) = iter_rows(dataset(source, image_size), index, rows, attributes)
    return found


def all_masks(source: FilesConfig, image_size: int = 8) -> MaskSet:
    """Read all masks of a source."""
    index, rows, _ = listed(source)
    (found,) = iter_row_masks(dataset(source, image_size), index, rows)
    return found


def dataset(source: FilesConfig, image_size: int) -> DatasetConfig:
    """Return what a job is passed."""
    return DatasetConfig(name="own", image_size=image_size, source=source)
