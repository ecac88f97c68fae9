"""From the configured source to images, attributes and masks: where each kind of data set is chosen."""

import torch

from ..config.data import AvatarsConfig, DatasetConfig, FolderConfig, ImageFolderConfig
from ..errors import DataError
from .avatar_masks import draw_masks
from .avatars import draw_avatars, draw_class_avatars
from .celeba import read_faces
from .class_set import ClassSet
from .image_folder import read_class_images, read_unlabelled
from .image_set import ImageSet
from .mask_folder import read_folder_images, read_folder_masks
from .mask_set import MaskSet


def make_images(settings: DatasetConfig, positions: range) -> ImageSet:
    """Draw or read the images at these positions of the data set; disjoint positions give disjoint ids.

    Raises:
        DataError: If a source file is missing or malformed, or has too few images.
    """
    source = settings.source
    if isinstance(source, AvatarsConfig):
        return draw_avatars(source, settings.image_size, positions)
    if isinstance(source, FolderConfig):
        return read_folder_images(source, settings.image_size, positions)
    if isinstance(source, ImageFolderConfig):
        return read_unlabelled(source, settings.image_size, positions)
    return read_faces(source, settings.image_size, positions)


def make_masks(settings: DatasetConfig, positions: range) -> MaskSet:
    """Draw or read the masks at these positions; their ids are those of the images there.

    Raises:
        DataError: If the data set has no masks, or they are missing or malformed.
    """
    source = settings.source
    if isinstance(source, AvatarsConfig):
        masks = draw_masks(source, settings.image_size, positions)
        return MaskSet(masks, torch.tensor(list(positions)), settings.mask_classes)
    if isinstance(source, FolderConfig):
        return read_folder_masks(source, settings.image_size, positions)
    raise DataError(f"data.kind: {settings.kind!r} has no masks; expected avatars or folder.")


def make_classes(settings: DatasetConfig, positions: range) -> ClassSet:
    """Draw or read the images at these positions with the class of each.

    Raises:
        DataError: If the data set has no classes, or a file is missing or malformed.
    """
    source = settings.source
    if isinstance(source, AvatarsConfig) and source.classes:
        return draw_class_avatars(source, settings.image_size, positions)
    if isinstance(source, ImageFolderConfig):
        return read_class_images(source, settings.image_size, positions)
    raise DataError(f"data.kind: {settings.kind!r} has no classes; expected image_folder, or avatars with classes.")
