"""Image-mask pairs from a local folder or zip: ``images/<name>.jpg`` and ``masks/<name>.png`` (pixel = class id)."""

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from ..config.data import MaskFolderConfig
from ..errors import DataError
from ..images import rgb_pixels, stack_pixels
from ..progress import Progress
from .archive import Members
from .celeba import ids_of_files, read_attributes, select_attributes
from .image_set import ImageSet
from .mask_set import MaskSet, check_classes
from .order import fixed_order

Pixels = np.ndarray[Any, Any]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class PairFiles:
    """The files of a folder or of a zip, by name: the stem that an image and its mask share."""

    def __init__(self, path: Path) -> None:
        """List the pairs.

        Raises:
            DataError: If the path is missing or unreadable, or an image or a mask has no partner.
        """
        self.path = path
        self._members = Members(path)
        members = self._members.names()
        self._images = _by_stem(path, members, "images", IMAGE_SUFFIXES)
        self._masks = _by_stem(path, members, "masks", (".png",))
        self._require_partners()

    @property
    def names(self) -> list[str]:
        """Names of the pairs, sorted."""
        return sorted(self._images)

    def image(self, name: str, image_size: int) -> Pixels:
        """Read an image, uint8 [3, H, W], reduced by Lanczos."""
        return rgb_pixels(self._members.image(self._images[name]), image_size)

    def mask(self, name: str, image_size: int) -> Pixels:
        """Read a mask, uint8 [H, W]: reduced by the nearest pixel, so that no class id is invented.

        Raises:
            DataError: If its pixels are not class ids, or its shape is not that of its image.
        """
        mask = self._members.image(self._masks[name])
        where = f"{self.path}, {self._masks[name]}"
        if mask.mode not in ("L", "P"):
            raise DataError(f"{where}: found mode {mask.mode}, expected one channel of class ids (L or P).")
        width, height = self._members.image(self._images[name]).size
        if mask.width * height != mask.height * width:
            raise DataError(
                f"{where}: found {mask.width} x {mask.height} pixels, expected the shape of its image, "
                f"{width} x {height}."
            )
        return np.asarray(mask.resize((image_size, image_size), Image.Resampling.NEAREST))

    def _require_partners(self) -> None:
        for ours, theirs, what in ((self._images, self._masks, "mask"), (self._masks, self._images, "image")):
            alone = sorted(set(ours) - set(theirs))
            if alone:
                raise DataError(
                    f"{self.path}, {ours[alone[0]]}: has no {what}; expected {what}s/{alone[0]}.* "
                    f"({len(alone)} files without a partner)."
                )
        if not self._images:
            raise DataError(f"{self.path}: found no pairs, expected images/<name>.jpg and masks/<name>.png.")


def read_folder_images(settings: MaskFolderConfig, image_size: int, positions: range) -> ImageSet:
    """Read the images at these positions of a fixed random order.

    Args:
        settings: Folder or zip, and the lists that ids and attributes are joined from.
        image_size: Height and width in pixels.
        positions: Positions within the order; disjoint ranges give disjoint splits.

    Raises:
        DataError: If a file is missing or malformed, or there are too few images.
    """
    files, names, ids = _select(settings, positions)
    pixels = [files.image(name, image_size) for name in Progress(names, desc="reading images", unit="image")]
    return ImageSet(stack_pixels(pixels, 3, image_size, image_size), ids, _attributes(settings, ids))


def read_folder_masks(settings: MaskFolderConfig, image_size: int, positions: range) -> MaskSet:
    """Read the masks at these positions; see ``read_folder_images``.

    Raises:
        DataError: As there, and if a mask holds an id that names no class.
    """
    files, names, ids = _select(settings, positions)
    pixels = []
    for name in Progress(names, desc="reading masks", unit="mask"):
        pixels.append(files.mask(name, image_size))
        check_classes(pixels[-1], settings.classes, f"{settings.path}, masks/{name}.png")
    return MaskSet(stack_pixels(pixels, image_size, image_size), ids, settings.classes)


def join_ids(path: Path, names: list[str]) -> Tensor:
    """Return the id of each name, int64 [N], from a CSV with the columns name and celebahq_file.

    Raises:
        DataError: If the file is malformed, a name is not in it, or two names have one id.
    """
    try:
        table = ids_of_files(pd.read_csv(path).set_index("name")["celebahq_file"])
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: expected a CSV with columns name and celebahq_file (<id>.jpg); {error}.") from error
    missing = sorted(set(names) - set(table.index))
    if missing:
        raise DataError(f"{path}: {missing[0]} is not in it ({len(missing)} names are missing).")
    ids = table.loc[names]
    if len(ids) != len(names) or ids.duplicated().any():
        raise DataError(f"{path}: a name or an id stands in it twice, expected each once.")
    return torch.from_numpy(ids.to_numpy(copy=True))


def _select(settings: MaskFolderConfig, positions: range) -> tuple[PairFiles, list[str], Tensor]:
    files = PairFiles(settings.path)
    names = files.names
    if positions.stop > len(names):
        raise DataError(
            f"{settings.path}: the splits ask for {positions.stop} images, found {len(names)}. Lower data.splits."
        )
    order = fixed_order(np.arange(len(names)), set())[positions.start : positions.stop]
    chosen = [names[position] for position in order]
    ids = torch.from_numpy(order.copy()) if settings.ids_file is None else join_ids(settings.ids_file, chosen)
    return files, chosen, ids


def _attributes(settings: MaskFolderConfig, ids: Tensor) -> pd.DataFrame:
    if settings.attribute_file is None:
        return pd.DataFrame(index=range(len(ids)))
    table = read_attributes(settings.attribute_file)
    return select_attributes(settings.attribute_file, table, ids, settings.attributes)


def _by_stem(path: Path, members: list[str], folder: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in members:
        inside = PurePosixPath(member)
        if inside.parent.as_posix() == folder and inside.suffix.lower() in suffixes:
            if inside.stem in found:
                raise DataError(f"{path}: {found[inside.stem]} and {member} have one name; expected one file each.")
            found[inside.stem] = member
    return found
