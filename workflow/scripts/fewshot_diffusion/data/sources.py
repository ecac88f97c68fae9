"""From the configured source to images, attributes and masks: where each kind of data set is chosen.

A new kind is a section in ``config/data.py``, a module here, a line in each table below that it serves, and an overlay.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config.data import DatasetConfig
from ..errors import DataError
from .avatar_masks import draw_masks
from .avatars import draw_avatars
from .celeba import read_faces
from .image_folder import read_class_images
from .image_set import ImageSet, save_image_set
from .mask_folder import read_folder_images, read_folder_masks
from .mask_set import MaskSet, save_masks

IMAGES: dict[str, Callable[[Any, int, range], ImageSet]] = {
    "avatars": draw_avatars,
    "celebahq": read_faces,
    "mask_folder": read_folder_images,
    "image_folder": read_class_images,
}
"""Kind of source -> (its section, image size, positions) -> images; disjoint positions give disjoint ids."""

MASKS: dict[str, Callable[[Any, int, range], MaskSet]] = {
    "avatars": draw_masks,
    "mask_folder": read_folder_masks,
}
"""The same for the masks of the images at these positions."""


def make_images(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Draw or read one split of the data set: images, attributes and classes.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        positions: Start and stop within the data set.
        output: Split to write, parquet.

    Raises:
        DataError: If a source file is missing or malformed, or has too few images.
    """
    read = IMAGES[settings.source.kind]
    image_set = read(settings.source, settings.image_size, range(*positions))
    save_image_set(image_set, output, {"data_set": settings.name, "positions": list(positions)})


def make_masks(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Draw or read the part masks of one split of the data set.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        positions: Start and stop within the data set.
        output: Masks to write, parquet; their ids are those of the images.

    Raises:
        DataError: If the data set has no masks, or they are missing or malformed.
    """
    if settings.source.kind not in MASKS:
        raise DataError(f"data.kind: {settings.source.kind!r} has no masks; expected one of {', '.join(MASKS)}.")
    read = MASKS[settings.source.kind]
    mask_set = read(settings.source, settings.image_size, range(*positions))
    save_masks(mask_set, output, {"data_set": settings.name, "positions": list(positions)})
