"""The common product of every data set: images, ids, binary attributes and perhaps classes of one split."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..errors import DataError
from ..images import decode_images, encode_images
from ..storage.files import About
from ..storage.records import iter_records, read_beside, stream_records, write_records
from ..storage.rows import Rows, gather_rows, in_memory, select_rows
from .class_set import ClassSet

BATCH = 256  # images in memory at a time; a multiple of what networks take at a time, so that features stay the same
GROUP_ROWS, GROUP_BYTES = 2**14, 2**26  # of coded images: a part of a file ends with the batch that reaches one of them

_ATTRIBUTE = "attribute: "  # marks the columns that the data set names


@dataclass(frozen=True)
class ImageSet:
    """Images with attributes.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255; of a large split, in a file.
        ids: Identity of each image within its data set, int64 [N].
        attributes: One boolean column per attribute, N rows.
        labels: Positions in ``classes``, int64 [N]; None if the data set has no classes.
        classes: Names of the K classes; empty if it has none.
    """

    images: Rows
    ids: Tensor
    attributes: pd.DataFrame
    labels: Tensor | None = None
    classes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def pixels(self) -> Tensor:
        """The images in memory: of a few, or of a batch."""
        return in_memory(self.images)

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
        return ImageSet(select_rows(self.images, positions), self.ids[positions], rows, labels, self.classes)

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
    write_records(path, _frame(image_set), _about(image_set, about))


def save_batches(batches: Iterable[ImageSet], path: Path, about: About) -> None:
    """Write a split as ``save_image_set`` does, of any number of images in little memory.

    Up to ``GROUP_ROWS`` images the bytes are the same; more lie in several row groups.

    Args:
        batches: At least one, of one source; none is kept.
        path: File to write, parquet.
        about: What the file says of itself.
    """
    found = iter(batches)
    first = next(found)
    stream_records(path, _groups(_frame(batch) for batch in chain([first], found)), _about(first, about))


def _groups(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    parts: list[pd.DataFrame] = []
    coded = 0
    for frame in frames:
        parts.append(frame)
        coded += sum(map(len, frame["image"]))
        if sum(map(len, parts)) >= GROUP_ROWS or coded >= GROUP_BYTES:
            yield pd.concat(parts, ignore_index=True)
            parts, coded = [], 0
    if parts:
        yield pd.concat(parts, ignore_index=True)


def _frame(image_set: ImageSet) -> pd.DataFrame:
    frame = pd.DataFrame({"id": image_set.ids.numpy(), "image": encode_images(image_set.pixels)})
    if image_set.labels is not None:
        frame["label"] = image_set.labels.numpy()
    return pd.concat([frame, image_set.attributes.add_prefix(_ATTRIBUTE)], axis=1)


def _about(image_set: ImageSet, about: About) -> About:
    return {**about, "classes": image_set.classes, "size": list(image_set.images.shape[-2:])}


def load_image_set(path: Path) -> ImageSet:
    """Read a split that ``save_image_set`` wrote; images of a large one stay beside it, in a file without a name.

    Raises:
        CorruptFileError: If the file is damaged, or of another kind.
    """
    classes: list[str] = []

    def pixels() -> Iterator[Tensor]:
        for part in iter_image_set(path):
            classes[:] = part.classes
            yield part.pixels

    images = gather_rows(pixels(), path.parent)
    return _of_frame(read_beside(path, "image"), images, classes)


def iter_image_set(path: Path) -> Iterator[ImageSet]:
    """Yield a split in batches of up to ``BATCH`` images; of none at all, an empty one.

    Raises:
        CorruptFileError: As ``load_image_set``; that all is whole is known after the last batch.
    """
    for frame, about in iter_records(path, "id", "image"):
        for start in range(0, max(len(frame), 1), BATCH):
            yield _image_set(frame[start : start + BATCH].reset_index(drop=True), about)


def _image_set(frame: pd.DataFrame, about: dict[str, Any]) -> ImageSet:
    return _of_frame(frame, decode_images(frame["image"], tuple(about["size"])), list(about["classes"]))


def _of_frame(frame: pd.DataFrame, images: Rows, classes: list[str]) -> ImageSet:
    labels = torch.from_numpy(frame["label"].to_numpy(copy=True)) if "label" in frame else None
    ids = torch.from_numpy(frame["id"].to_numpy(copy=True))
    return ImageSet(images, ids, _attributes(frame), labels, classes)


def load_attributes(path: Path) -> pd.DataFrame:
    """Read the attributes of a split alone, without decoding an image.

    Returns:
        One boolean column per attribute; the index, called id, holds the images' ids in the split's order.

    Raises:
        CorruptFileError: If the file is damaged, or of another kind.
    """
    for _ in iter_records(path, "id", "image"):
        pass  # all of it is whole
    frame = read_beside(path, "image")
    return _attributes(frame).set_index(pd.Index(frame["id"], name="id"))


def _attributes(frame: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in frame.columns if name.startswith(_ATTRIBUTE)]
    return frame[names].rename(columns=lambda name: name.removeprefix(_ATTRIBUTE)).astype(bool)
