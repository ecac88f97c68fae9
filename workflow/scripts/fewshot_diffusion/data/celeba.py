"""Real faces: zips of JPEGs named ``<id>.jpg`` and CelebA's attribute list (values -1 / 1)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..config.data import CelebAHQConfig
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from .files import Members, log_left_out
from .image_set import ImageSet
from .lists import read_attribute_list, read_id_list
from .loading import Changes, load_image, log_changes
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
    table = read_attribute_list(path)
    names = dict(zip(ids_of_files(path, table.index), table.index, strict=True))
    order = fixed_order(np.array(list(names)), held_out(settings))
    if positions.stop > len(order):
        raise DataError(
            f"{settings.folder}: the splits ask for {positions.stop} images, found {len(order)}. Lower data.splits."
        )
    ids = torch.from_numpy(order[positions.start : positions.stop].copy())
    attributes = select_attributes(path, table.set_axis(list(names)), ids, settings.attributes)
    return ImageSet(_read_images(settings, [names[id_] for id_ in ids.tolist()], image_size), ids, attributes)


def select_attributes(path: Path, table: pd.DataFrame, ids: Tensor, names: Mapping[str, str]) -> pd.DataFrame:
    """Return attributes of the images with these ids: one boolean column for each of our names, N rows.

    Args:
        path: Where ``table`` was read from.
        table: What ``read_attribute_list`` returned, indexed by id.
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
    return pd.DataFrame({ours: rows[theirs].to_numpy() for ours, theirs in names.items()}, index=range(len(ids)))


def ids_of_files(path: Path, files: Iterable[str]) -> list[int]:
    """Return the ids in names like ``<id>.jpg``.

    Raises:
        DataError: If a list, read from ``path``, has another name, or two of one id.
    """
    ids: dict[int, str] = {}
    for file in files:
        stem = PurePosixPath(file).stem
        if not (stem.isascii() and stem.isdecimal() and len(stem) < 19):
            raise DataError(f"{path}: found the name {file!r}, expected <id>.jpg, whose id is a number.")
        if (id_ := int(stem)) in ids:
            raise DataError(f"{path}: {ids[id_]} and {file} have one id, expected each once.")
        ids[id_] = file
    return list(ids)


def held_out(settings: CelebAHQConfig) -> set[int]:
    """Return the ids that no denoiser may see (their masks are evaluated elsewhere)."""
    path = settings.held_out_ids
    return set() if path is None else set(ids_of_files(path, read_id_list(path, "celebahq_file")))


def _read_images(settings: CelebAHQConfig, names: Sequence[str], image_size: int) -> Tensor:
    archives = [Members(path) for path in sorted(settings.folder.glob("images-*.zip"))]
    if not archives:
        raise DataError(f"{settings.folder}: no images-*.zip found. Set data.celebahq.folder to the data set's folder.")
    log_left_out(archives)
    pixels, changes = [], Changes()
    for name in Progress(names, desc="reading faces", unit="image"):
        found = next((archive for archive in archives if archive.find(name)), None)
        if found is None:
            raise DataError(f"{settings.folder}: {name} is in the attribute list but in none of the archives.")
        pixels.append(load_image(found.read(name), found.where(name), image_size, settings.fit, changes))
    log_changes(settings.folder, changes)
    return stack_pixels(pixels, 3, image_size, image_size)
