"""The common product of every data set: images, ids and binary attributes of one split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError
from ..storage.records import read_records, write_records
from ..storage.tensors import read_tensors, write_tensors


@dataclass(frozen=True)
class ImageSet:
    """Images with attributes.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255.
        ids: Identity of each image within its data set, int64 [N].
        attributes: One boolean column per attribute, N rows.
    """

    images: Tensor
    ids: Tensor
    attributes: pd.DataFrame

    def __len__(self) -> int:
        return len(self.ids)

    def mask(self, attribute: str, value: bool) -> Tensor:
        """Return which images have ``attribute`` equal to ``value``, bool [N].

        Raises:
            DataError: If the data set has no such attribute.
        """
        if attribute not in self.attributes:
            known = ", ".join(self.attributes.columns)
            raise DataError(f"Attribute {attribute!r} is not in the data set. It has: {known}.")
        return torch.from_numpy((self.attributes[attribute] == value).to_numpy(copy=True))

    def select(self, index: Tensor) -> "ImageSet":
        """Return the images at ``index`` (bool [N] or int64 positions)."""
        positions = index.nonzero().flatten() if index.dtype == torch.bool else index
        rows = self.attributes.iloc[positions.numpy()]
        return ImageSet(self.images[index], self.ids[index], rows.reset_index(drop=True))

    def by_ids(self, ids: list[int]) -> "ImageSet":
        """Return the images with these ids, in this order.

        Raises:
            DataError: If an id is not in the set.
        """
        position = {int(id_): i for i, id_ in enumerate(self.ids)}
        missing = [id_ for id_ in ids if id_ not in position]
        if missing:
            raise DataError(f"Image ids {missing[:5]} are not in this split ({len(self)} images).")
        return self.select(torch.tensor([position[id_] for id_ in ids], dtype=torch.int64))


def save_image_set(image_set: ImageSet, images: Path, records: Path, provenance: dict[str, object]) -> None:
    """Write images (safetensors) and attributes (parquet)."""
    frame = image_set.attributes.copy()
    frame.insert(0, "id", image_set.ids.numpy())
    write_tensors(images, {"images": image_set.images, "ids": image_set.ids}, provenance)
    write_records(records, frame, provenance)


def load_image_set(images: Path) -> ImageSet:
    """Read a split written by ``save_image_set``; the records lie beside the images as ``.parquet``.

    Raises:
        CorruptFileError: If either file is damaged.
        DataError: If the two files are not of the same images.
    """
    tensors, _ = read_tensors(images, "images", "ids")
    records, _ = read_records(images.with_suffix(".parquet"), "id")
    if not np.array_equal(records["id"].to_numpy(), tensors["ids"].numpy()):
        raise DataError(f"{images} and its .parquet hold different images. Delete both and run again.")
    return ImageSet(tensors["images"], tensors["ids"], records.drop(columns="id"))
