"""Real faces: zips of JPEGs named ``<id>.jpg`` and CelebA's attribute list (values -1 / 1)."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..config.data import CelebAHQConfig
from ..errors import DataError
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
    table = read_attributes(settings.folder / settings.attribute_file)
    order = fixed_order(table.index.to_numpy(), held_out(settings))
    if positions.stop > len(order):
        raise DataError(
            f"{settings.folder}: the splits ask for {positions.stop} images, found {len(order)}. Lower data.splits."
        )
    ids = order[positions.start : positions.stop]
    missing = [name for name in settings.attributes.values() if name not in table]
    if missing:
        raise DataError(f"{settings.attribute_file} has no attribute {missing}; it has: {', '.join(table.columns)}.")
    attributes = pd.DataFrame({ours: table.loc[ids, theirs] == 1 for ours, theirs in settings.attributes.items()})
    images = _read_images(settings.folder, ids, image_size)
    return ImageSet(images, torch.from_numpy(ids.copy()), attributes.reset_index(drop=True))


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
        ids = table["file"].str.removesuffix(".jpg").astype("int64")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a list of <id>.jpg and one value per attribute ({error}).") from error
    if not count.isdigit() or int(count) != len(table):
        raise DataError(f"{path}: line 1 announces {count!r} images, found {len(table)} lines.")
    if not table[names].isin((-1, 1)).all(axis=None):
        raise DataError(f"{path}: attribute values other than -1 and 1.")
    table.index = pd.Index(ids, name="id")
    return table.drop(columns="file")


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
        files = pd.read_csv(path)["celebahq_file"]
        return set(files.str.removesuffix(".jpg").astype("int64"))
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}: expected a CSV with a column 'celebahq_file' (<id>.jpg); {error}.") from error


def _read_images(folder: Path, ids: np.ndarray, image_size: int) -> torch.Tensor:
    archives = [Members(path) for path in sorted(folder.glob("images-*.zip"))]
    members = {name: archive for archive in archives for name in archive.names()}
    if not members:
        raise DataError(f"{folder}: no images-*.zip found. Set data.celebahq.folder to the data set's folder.")
    pixels = np.empty((len(ids), 3, image_size, image_size), dtype=np.uint8)
    for row, id_ in enumerate(Progress(ids, desc="reading faces", unit="image")):
        name = f"{id_}.jpg"
        if name not in members:
            raise DataError(f"{folder}: {name} is in the attribute list but in none of the archives.")
        image = members[name].image(name).convert("RGB")
        pixels[row] = np.asarray(image.resize((image_size, image_size), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    return torch.from_numpy(pixels)
