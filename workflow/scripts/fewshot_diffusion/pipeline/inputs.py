"""Images, labels and masks in whatever form people have them, as the tensors that heads learn from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data.files import is_image
from ..data.loading import image_pixels, load_image
from ..data.mask_set import check_classes
from ..errors import DataError
from ..images import stack_pixels

Images = Any
"""Tensor [N, 3, H, W] or array [N, H, W, 3], uint8; a list of PIL images, paths or arrays; a folder."""


def as_images(images: Images, image_size: int) -> Tensor:
    """Return images, uint8 [N, 3, image_size, image_size], 0..255.

    Files and PIL images are cut to their middle square and resized, as those of data sets are; tensors and arrays must
    have the size. A folder's files come in the order of their names.

    Raises:
        DataError: If there is none, one cannot be read, or has another size or type.
    """
    if isinstance(images, str | Path):
        images = image_files(Path(images))
    found = _as_tensor(images) if isinstance(images, Tensor | np.ndarray) else _stacked(images, image_size)
    if found.dtype != torch.uint8 or found.dim() != 4 or tuple(found.shape[1:]) != (3, image_size, image_size):
        raise DataError(
            f"images: found {found.dtype} {list(found.shape)}, expected uint8 [N, 3, {image_size}, {image_size}] (of "
            f"arrays [N, {image_size}, {image_size}, 3]), 0..255. PIL images and files are resized."
        )
    return found


def image_files(folder: Path) -> list[Path]:
    """Return the images of a folder, in the order of their names.

    Raises:
        DataError: If there are none.
    """
    found = sorted(path for path in folder.glob("*") if is_image(path.name))
    if not found:
        raise DataError(f"{folder}: found no images, expected a folder of files such as .png or .jpg.")
    return found


def as_labelled(images: Images, labels: Any, image_size: int) -> tuple[Tensor, Tensor]:
    """Return images, uint8 [N, 3, H, W], and their labels, bool [N].

    Args:
        images: As for ``as_images``.
        labels: One for each, true or false, 1 or 0; of a folder also a mapping of names of files, the only ones used.
        image_size: Height and width of the images.

    Raises:
        DataError: Unless every image has a label and both labels occur.
    """
    if isinstance(labels, Mapping):
        if not isinstance(images, str | Path):
            raise DataError("labels: found a mapping, which names files; expected images to be their folder.")
        images, labels = [Path(images, name) for name in labels], list(labels.values())
    found, wanted = as_images(images, image_size), _as_labels(labels)
    if len(found) != len(wanted):
        raise DataError(f"labels: found {len(wanted)} of {len(found)} images, expected one for each.")
    if wanted.all() or not wanted.any():
        raise DataError(f"labels: found {int(wanted.sum())} true of {len(wanted)}, expected both, some dozens of each.")
    return found, wanted


def as_masks(masks: Any, image_size: int, classes: Sequence[str]) -> Tensor:
    """Return masks, class ids uint8 [N, image_size, image_size], of a tensor, an array, or a list of PIL images.

    Raises:
        DataError: If they have another size, or an id that names no class.
    """
    if not isinstance(masks, Tensor | np.ndarray):
        masks = np.stack([np.asarray(mask) for mask in masks])
    found = torch.as_tensor(masks)
    whole = not found.is_floating_point() and not found.is_complex()
    if not whole or tuple(found.shape[1:]) != (image_size, image_size) or not len(found):
        raise DataError(
            f"masks: found {found.dtype} {list(found.shape)}, expected class ids, whole numbers [N, {image_size}, "
            f"{image_size}]. Resize them by nearest neighbours, which invents no id."
        )
    if found.min() < 0:
        raise DataError(f"masks: found class id {int(found.min())}, expected 0..{len(classes) - 1}.")
    check_classes(found, list(classes), "masks")
    return found.to(torch.uint8).cpu()


def _as_tensor(images: Tensor | np.ndarray[Any, Any]) -> Tensor:
    if isinstance(images, Tensor):
        return images.cpu()
    found = torch.as_tensor(images)
    return found.permute(0, 3, 1, 2).contiguous() if found.dim() == 4 else found


def _stacked(images: Iterable[Any], image_size: int) -> Tensor:
    found = [_pixels(image, f"images[{i}]", image_size) for i, image in enumerate(images)]
    if not found:
        raise DataError("images: found none, expected some dozens.")
    return stack_pixels(found)


def _pixels(image: Any, where: str, image_size: int) -> np.ndarray[Any, Any]:
    if isinstance(image, str | Path):
        try:
            return load_image(Path(image).read_bytes(), str(image), image_size)
        except OSError as error:
            raise DataError(f"{image}: cannot be read ({error}).") from error
    if isinstance(image, Tensor | np.ndarray):
        (found,) = as_images(image[None], image_size)
        return np.asarray(found)
    if not isinstance(image, Image.Image):
        raise DataError(f"{where}: found a {type(image).__name__}, expected a PIL image, a path or an array.")
    return image_pixels(image, where, image_size)


def _as_labels(labels: Any) -> Tensor:
    values = np.asarray(labels.cpu() if isinstance(labels, Tensor) else list(labels))
    if values.ndim != 1 or values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        raise DataError(f"labels: found {values.dtype} {list(values.shape)}, expected [N], each true or false, 1 or 0.")
    return torch.from_numpy(values.astype(bool))
