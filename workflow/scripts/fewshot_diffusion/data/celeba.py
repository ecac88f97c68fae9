"""Real faces: zips of JPEGs named ``<id>.jpg`` and CelebA's attribute list (values -1 / 1)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.data import CelebAHQConfig
from ..errors import DataError
from ..images import rgb_pixels, stack_pixels
from ..progress import Progress
from .archive import Members
from .image_set import ImageSet
from .order import fixed_order


def read_faces(settings: CelebAHQConfig, image_size: int, positions: range) -> ImageSet:
    """Read the faces at these positions of a fixed random order of the ids.

    The ids of ``settings.held_out_ids`` come last in that order, so that the first split (the
    denoiser's) never sees them.

    Args:
        settings: Folder, file names and the attributes to keep.
        image_size: Height and width in pixels; images are reduced by Lanczos.
        positions: Positions within the order; disjoint ranges give disjoint splits.

    Raises:
        DataError: If a file is missing or malformed, or the set has too few images.
    """
    path = settings.folder / settings.attribute_file
    table = read_attributes(path)
    order = fixed_order(table.index.to_numpy(), held_out(settings))
    if positions.stop > len(order):
        raise DataError(
            f"{settings.folder}: the splits ask for {positions.stop} images, found {len(order)}. Lower data.splits."
        )
    ids = torch.from_numpy(order[positions.start : positions.stop].copy())
    attributes = select_attributes(path, table, ids, settings.attributes)
    return ImageSet(_read_images(settings.folder, ids.tolist(), image_size), ids, attributes)


def read_attributes(path: Path) -> pd.DataFrame:
    """Read CelebA's list: line 1 the count, line 2 the names, then ``<id>.jpg`` and -1 / 1 values.

    Raises:
        DataError: If the file is missing, or its count or values are not as announced.
    """
    if not path.is_file():
        raise DataError(f"{path}: the attribute list is missing. Set data.celebahq.folder to the data set's folder.")
    try:
        with path.open() as file:
            count = file.readline().strip()
            names = file.readline().split()
            table = pd.read_csv(file, sep=r"\s+", names=["file", *names])
        ids = ids_of_files(table["file"])
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a list of <id>.jpg and one value per attribute ({error}).") from error
    if not count.isdigit() or int(count) != len(table):
        raise DataError(f"{path}: line 1 announces {count!r} images, found {len(table)} lines.")
    if not table[names].isin((-1, 1)).all(axis=None):
        raise DataError(f"{path}: attribute values other than -1 and 1.")
    table.index = pd.Index(ids, name="id")
    return table.drop(columns="file")


def select_attributes(path: Path, table: pd.DataFrame, ids: Tensor, names: Mapping[str, str]) -> pd.DataFrame:
    """Return attributes of the images with these ids: one boolean column for each of our names, N rows.

    Args:
        path: Where ``table`` was read from.
        table: What ``read_attributes`` returned.
        ids: int64 [N].
        names: Our name of each attribute -> the list's.

    Raises:
        DataError: If the list has no such attribute, or lacks an image.
    """
    missing = [name for name in names.values() if name not in table]
    if missing:
        raise DataError(f"{path} has no attribute {missing}; it has: {', '.join(table.columns)}.")
    unknown = sorted(set(ids.tolist()) - set(table.index))
    if unknown:
        raise DataError(f"{path}: image {unknown[0]} is not in it ({len(unknown)} are missing).")
    rows = table.loc[ids.tolist()]
    return pd.DataFrame({ours: rows[theirs].to_numpy() == 1 for ours, theirs in names.items()}, index=range(len(ids)))


def ids_of_files(files: "pd.Series[str]") -> "pd.Series[int]":
    """Return the ids in names like ``<id>.jpg``; raise ``ValueError`` or ``AttributeError`` if there are others."""
    return files.str.removesuffix(".jpg").astype("int64")


def held_out(settings: CelebAHQConfig) -> set[int]:
    """Return the ids that no denoiser may see (their masks are evaluated elsewhere)."""
    if settings.held_out_ids is None:
        return set()
    path = settings.held_out_ids
    if not path.is_file():
        raise DataError(
            f"{path}: the list of held-out ids is missing. Set data.celebahq.held_out_ids or leave it null."
        )
    try:
        return set(ids_of_files(pd.read_csv(path)["celebahq_file"]))
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: expected a CSV with a column 'celebahq_file' (<id>.jpg); {error}.") from error


def _read_images(folder: Path, ids: Sequence[int], image_size: int) -> Tensor:
    archives = [Members(path) for path in sorted(folder.glob("images-*.zip"))]
    members = {name: archive for archive in archives for name in archive.names()}
    if not members:
        raise DataError(f"{folder}: no images-*.zip found. Set data.celebahq.folder to the data set's folder.")
    pixels = []
    for name in (f"{id_}.jpg" for id_ in Progress(ids, desc="reading faces", unit="image")):
        if name not in members:
            raise DataError(f"{folder}: {name} is in the attribute list but in none of the archives.")
        pixels.append(rgb_pixels(members[name].image(name), image_size))
    return stack_pixels(pixels, 3, image_size, image_size)
