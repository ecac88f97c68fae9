"""From the configured source to images, attributes and masks: where each kind of data set is chosen.

A new kind is a section in ``config/data.py``, a module here, and a line in each of the two tables below.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.data import AvatarsConfig, CelebAHQConfig, DatasetConfig, ImageFolderConfig, MaskFolderConfig
from ..errors import DataError
from .avatar_masks import draw_masks
from .avatars import draw_avatars
from .celeba import read_faces
from .image_folder import read_class_images
from .image_set import ImageSet, save_image_set
from .mask_folder import read_folder_images, read_folder_masks
from .mask_set import MaskSet, save_masks

IMAGES: dict[type, Callable[[Any, int, range], ImageSet]] = {
    AvatarsConfig: draw_avatars,
    CelebAHQConfig: read_faces,
    MaskFolderConfig: read_folder_images,
    ImageFolderConfig: read_class_images,
}
"""Section of the source -> (section, image size, positions) -> images; disjoint positions give disjoint ids."""

MASKS: dict[type, Callable[[Any, int, range], MaskSet]] = {
    AvatarsConfig: draw_masks,
    MaskFolderConfig: read_folder_masks,
}
"""The same for the masks of the images at these positions."""


def make_images(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Draw or read one split of the data set: images, attributes and classes.

    Args:
        settings: Section data without splits, JSON.
        positions: Start and stop within the data set.
        output: Split to write, parquet.

    Raises:
        DataError: If a source file is missing or malformed, or has too few images.
    """
    image_set = IMAGES[type(settings.source)](settings.source, settings.image_size, range(*positions))
    save_image_set(image_set, output, {"data_set": settings.name, "positions": list(positions)})


def make_masks(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Draw or read the part masks of one split of the data set.

    Args:
        settings: Section data without splits, JSON.
        positions: Start and stop within the data set.
        output: Masks to write, parquet; their ids are those of the images.

    Raises:
        DataError: If the data set has no masks, or they are missing or malformed.
    """
    read = MASKS.get(type(settings.source))
    if read is None:
        raise DataError(f"data.kind: {settings.kind!r} has no masks; expected avatars or mask_folder.")
    mask_set = read(settings.source, settings.image_size, range(*positions))
    save_masks(mask_set, output, {"data_set": settings.name, "positions": list(positions)})
