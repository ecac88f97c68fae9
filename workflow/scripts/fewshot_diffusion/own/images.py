"""Labelled images and masks as they come, read once for all jobs, at the size of the model's images."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.own import OwnSourceConfig
from ..data.contents import Checksums
from ..data.image_set import ImageSet, save_image_set
from ..data.index import Row
from ..data.loading import Changes, Pixels, load_image, load_mask, log_changes, read_shape
from ..data.mask_set import MaskSet, check_classes, save_masks
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from .labels import list_labels, list_masks


def read_own_images(settings: OwnSourceConfig, image_size: int, contents: str, output: Path) -> None:
    """Read the labelled images.

    Args:
        settings: Section own.source, JSON.
        image_size: Height and width of the model's images, pixels; others are cut to their middle square and resized.
        contents: Digest of images and labels, as the run was planned.
        output: Images and attributes to write, parquet.

    Raises:
        DataError: If an image cannot be read, or they are others than planned.
    """
    labels = list_labels(settings)
    _require_planned(settings.images, labels.contents(Checksums()), contents)
    having = {name: [row.name in labels.index.attributes[name] for row in labels.rows] for name in labels.titles}
    pixels = _pixels(settings.images, labels.rows, image_size)
    save_image_set(ImageSet(pixels, _ids(labels.rows), pd.DataFrame(having)), output, {"contents": contents})


def read_own_masks(settings: OwnSourceConfig, image_size: int, contents: str, images: Path, masks: Path) -> None:
    """Read the images that have masks, and these.

    Args:
        settings: Section own.source, JSON.
        image_size: Height and width of the model's images, pixels.
        contents: Digest of images and masks, as the run was planned.
        images: Images to write, parquet.
        masks: Masks to write, parquet.

    Raises:
        DataError: If one cannot be read, a mask has not the shape of its image, or holds an id that names no class, or
            they are others than planned.
    """
    found = list_masks(settings)
    _require_planned(settings.images, found.contents(Checksums()), contents)
    pixels, ids = _pixels(settings.images, found.images, image_size), _ids(found.images)
    both = zip(found.images, Progress(found.masks, desc="reading masks", unit="mask"), strict=True)
    ids_of_pixels = [_mask(image, mask, image_size, settings.classes) for image, mask in both]
    about = {"contents": contents}
    save_image_set(ImageSet(pixels, ids, pd.DataFrame(index=range(len(ids)))), images, about)
    save_masks(MaskSet(stack_pixels(ids_of_pixels), ids, settings.classes), masks, about)


def _require_planned(path: Path, found: str, planned: str) -> None:
    if found != planned:
        raise DataError(f"{path}: images or labels changed since the run was planned. Run the same command again.")


def _pixels(path: Path, rows: Sequence[Row], image_size: int) -> Tensor:
    changes = Changes()
    found = [
        load_image(row.members.read(row.file), row.members.where(row.file), image_size, changes=changes)
        for row in Progress(rows, desc="reading images", unit="image")
    ]
    log_changes(path, changes)
    return stack_pixels(found)


def _mask(image: Row, mask: Row, image_size: int, classes: list[str]) -> Pixels:
    where = mask.members.where(mask.file)
    shape = read_shape(image.members.read(image.file), image.members.where(image.file))
    found = load_mask(mask.members.read(mask.file), where, image_size, image=shape)
    check_classes(found, classes, where)
    return found


def _ids(rows: Sequence[Row]) -> Tensor:
    return torch.tensor([row.id for row in rows], dtype=torch.int64)
