"""The common product of every data set: images, ids, binary attributes and perhaps classes of one split."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError
from ..images import decode_images, encode_images
from ..storage.files import About
from ..storage.records import read_records, write_records
from .class_set import ClassSet

_ATTRIBUTE = "attribute: "  # marks the columns that the data set names


@dataclass(frozen=True)
class ImageSet:
    """Images with attributes.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255.
        ids: Identity of each image within its data set, int64 [N].
        attributes: One boolean column per attribute, N rows.
        labels: Positions in ``classes``, int64 [N]; None if the data set has no classes.
        classes: Names of the K classes; empty if it has none.
    """

    images: Tensor
    ids: Tensor
    attributes: pd.DataFrame
    labels: Tensor | None = None
    classes: list[str] = field(default_factory=list)

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
        rows = self.attributes.iloc[positions.numpy()].reset_index(drop=True)
        labels = None if self.labels is None else self.labels[positions]
        return ImageSet(self.images[positions], self.ids[positions], rows, labels, self.classes)

    def by_ids(self, ids: Sequence[int]) -> "ImageSet":
        """Return the images with these ids, in this order.

        Raises:
            DataError: If an id is not in the set.
        """
        position = {int(id_): i for i, id_ in enumerate(self.ids)}
        missing = [id_ for id_ in ids if id_ not in position]
        if missing:
            raise DataError(f"Image ids {missing[:5]} are not in this split ({len(self)} images).")
        return self.select(torch.tensor([position[id_] for id_ in ids], dtype=torch.int64))

    def class_set(self) -> ClassSet:
        """Return the images with their classes alone.

        Raises:
            DataError: If the data set has no classes.
        """
        if self.labels is None:
            raise DataError("The images have no classes; expected a data set with classes (data.kind).")
        return ClassSet(self.images, self.labels, self.ids, self.classes)


def save_image_set(image_set: ImageSet, path: Path, about: About) -> None:
    """Write a split as one parquet file: id, image (lossless), label where there are classes, and the attributes."""
    frame = pd.DataFrame({"id": image_set.ids.numpy(), "image": encode_images(image_set.images)})
    if image_set.labels is not None:
        frame["label"] = image_set.labels.numpy()
    frame = pd.concat([frame, image_set.attributes.add_prefix(_ATTRIBUTE)], axis=1)
    size = list(image_set.images.shape[-2:])
    write_records(path, frame, {**about, "classes": image_set.classes, "size": size})


def load_image_set(path: Path) -> ImageSet:
    """Read a split that ``save_image_set`` wrote.

    Raises:
        CorruptFileError: If the file is damaged, or of another kind.
    """
    frame, about = read_records(path, "id", "image")
    labels = torch.from_numpy(frame["label"].to_numpy(copy=True)) if "label" in frame else None
    ids = torch.from_numpy(frame["id"].to_numpy(copy=True))
    images = decode_images(frame["image"], tuple(about["size"]))
    return ImageSet(images, ids, _attributes(frame), labels, list(about["classes"]))


def load_attributes(path: Path) -> pd.DataFrame:
    """Read the attributes of a split alone, without decoding an image.

    Returns:
        One boolean column per attribute; the index, called id, holds the images' ids in the split's order.

    Raises:
        CorruptFileError: If the file is damaged, or of another kind.
    """
    frame, _ = read_records(path, "id", "image")
    return _attributes(frame).set_index(pd.Index(frame["id"], name="id"))


def _attributes(frame: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in frame.columns if name.startswith(_ATTRIBUTE)]
    return frame[names].rename(columns=lambda name: name.removeprefix(_ATTRIBUTE)).astype(bool)
