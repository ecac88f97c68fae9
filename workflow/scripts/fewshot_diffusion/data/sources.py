"""Splits of the source that is drawn: from the configuration to images, attributes, masks and options."""

from pathlib import Path

from ..config.data import AvatarsConfig, DatasetConfig
from ..errors import DataError
from .avatar_masks import draw_masks
from .avatars import draw_avatars, pick_options
from .image_set import save_image_set
from .mask_set import save_masks
from .option_set import save_options


def make_images(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Draw one split of the data set: images, attributes and classes.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        positions: Start and stop within the data set; disjoint ones give disjoint images.
        output: Split to write, parquet.

    Raises:
        DataError: If the generator's options are not what it can draw.
    """
    image_set = draw_avatars(_drawn(settings), settings.image_size, range(*positions))
    save_image_set(image_set, output, {"data_set": settings.name, "positions": list(positions)})


def make_masks(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Draw the part masks of one split of the data set.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        positions: Start and stop within the data set.
        output: Masks to write, parquet; their ids are those of the images.

    Raises:
        DataError: If the parts are not those of the style.
    """
    mask_set = draw_masks(_drawn(settings), settings.image_size, range(*positions))
    save_masks(mask_set, output, {"data_set": settings.name, "positions": list(positions)})


def make_options(settings: DatasetConfig, positions: tuple[int, int], output: Path) -> None:
    """Write what the generator picks for one split of the data set.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        positions: Start and stop within the data set.
        output: Options to write, parquet; their ids are those of the images.
    """
    options = pick_options(_drawn(settings), settings.image_size, range(*positions))
    save_options(options, output, {"data_set": settings.name, "positions": list(positions)})


def _drawn(settings: DatasetConfig) -> AvatarsConfig:
    if not isinstance(settings.source, AvatarsConfig):
        raise DataError(f"data.kind: images of kind {settings.source.kind!r} are read, not drawn.")
    return settings.source
