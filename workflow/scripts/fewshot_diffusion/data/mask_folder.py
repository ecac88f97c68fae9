"""Image-mask pairs from a local folder or zip: ``images/<name>.jpg`` and ``masks/<name>.png`` (pixel = class id)."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config.data import MaskFolderConfig
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from .celeba import ids_of_files, select_attributes
from .files import Members, is_image, log_left_out
from .image_set import ImageSet
from .lists import read_attribute_list, read_columns
from .loading import IGNORED, Changes, Pixels, load_image, load_mask, log_changes, read_shape
from .mask_set import MaskSet, check_classes
from .order import fixed_order


class PairFiles:
    """The files of a folder or of a zip, by name: the stem that an image and its mask share."""

    def __init__(self, settings: MaskFolderConfig) -> None:
        """List the pairs.

        Raises:
            DataError: If the path is missing or unreadable, or an image or a mask has no partner.
        """
        self.path = settings.path
        self.changes = Changes()
        self._settings = settings
        self._members = Members(self.path)
        self._images = _by_stem(self._members, "images")
        self._masks = _by_stem(self._members, "masks")
        self._require_partners()
        log_left_out([self._members])

    @property
    def names(self) -> list[str]:
        """Names of the pairs, sorted."""
        return sorted(self._images)

    def image(self, name: str, image_size: int) -> Pixels:
        """Read an image, uint8 [3, H, W], reduced by Lanczos."""
        file = self._images[name]
        data, where = self._members.read(file), self._members.where(file)
        return load_image(data, where, image_size, self._settings.fit, self.changes)

    def mask(self, name: str, image_size: int) -> Pixels:
        """Read a mask, uint8 [H, W]: reduced by the nearest pixel, so that no class id is invented.

        Raises:
            DataError: If its pixels are not ids of classes, or its shape is not that of its image.
        """
        file, settings = self._masks[name], self._settings
        shape = read_shape(self._members.read(self._images[name]), self._members.where(self._images[name]))
        data, where = self._members.read(file), self._members.where(file)
        ids = load_mask(data, where, image_size, ignore=settings.ignore, fit=settings.fit, image=shape)
        if settings.ignore is not None and (ids == IGNORED).any():
            label = settings.ignore_as or settings.classes[0]
            self.changes[f"with pixels of value {settings.ignore}, which became {label!r}"] += 1
            ids = np.where(ids == IGNORED, np.uint8(settings.classes.index(label)), ids)
        check_classes(ids, settings.classes, where)
        return ids

    def _require_partners(self) -> None:
        for ours, theirs, what, suffix in (
            (self._images, self._masks, "mask", ".png"), (self._masks, self._images, "image", ".jpg or another suffix"),
        ):  # fmt: skip
            alone = sorted(set(ours) - set(theirs))
            if alone:
                raise DataError(
                    f"{self.path}, {ours[alone[0]]}: has no {what}; expected {what}s/{alone[0]}{suffix} "
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
    log_changes(settings.path, files.changes)
    return ImageSet(stack_pixels(pixels, 3, image_size, image_size), ids, _attributes(settings, ids))


def read_folder_masks(settings: MaskFolderConfig, image_size: int, positions: range) -> MaskSet:
    """Read the masks at these positions; see ``read_folder_images``.

    Raises:
        DataError: As there, and if a mask holds an id that names no class.
    """
    files, names, ids = _select(settings, positions)
    pixels = [files.mask(name, image_size) for name in Progress(names, desc="reading masks", unit="mask")]
    log_changes(settings.path, files.changes)
    return MaskSet(stack_pixels(pixels, image_size, image_size), ids, settings.classes)


def join_ids(path: Path, names: list[str]) -> Tensor:
    """Return the id of each name, int64 [N], from a CSV with the columns name and celebahq_file.

    Raises:
        DataError: If the file is malformed, a name is not in it, or two names have one id.
    """
    table = read_columns(path, "name", "celebahq_file")
    ids = pd.Series(ids_of_files(path, table["celebahq_file"]), index=table["name"])
    missing = sorted(set(names) - set(ids.index))
    if missing:
        raise DataError(f"{path}: {missing[0]} is not in it ({len(missing)} names are missing).")
    if ids.index.has_duplicates:
        raise DataError(f"{path}: a name stands in it twice, expected each once.")
    return torch.from_numpy(ids.loc[names].to_numpy(copy=True))


def _select(settings: MaskFolderConfig, positions: range) -> tuple[PairFiles, list[str], Tensor]:
    files = PairFiles(settings)
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
    path = settings.attribute_file
    table = read_attribute_list(path)
    return select_attributes(path, table.set_axis(ids_of_files(path, table.index)), ids, settings.attributes)


def _by_stem(members: Members, folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in filter(is_image, members.names()):
        inside = PurePosixPath(member)
        if inside.parent.as_posix() == folder and found.setdefault(inside.stem, member) != member:
            raise DataError(f"{members.path}: {found[inside.stem]} and {member} have one name; expected one file each.")
    return found
