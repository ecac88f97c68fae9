"""Few-shot splits: the labelled images of an experiment, small enough to read and to diff."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from ..errors import DataError
from ..seeds import generator
from .class_set import ClassSet
from .image_set import ImageSet, load_image_set
from .lists import read_columns, read_numbers, read_truth
from .mask_set import MaskSet


def draw_shots(pool: ImageSet, attribute: str, positive_shots: int, negative_shots: int, seed: int) -> pd.DataFrame:
    """Draw the labelled shots of one attribute.

    Returns:
        Columns ``id`` and ``label`` (bool), positives first.

    Raises:
        DataError: If the pool has no such attribute or too few images of a class.
    """
    stream = generator(f"shots {attribute}", seed)
    parts = []
    for label, wanted in ((True, positive_shots), (False, negative_shots)):
        ids = pool.ids[pool.mask(attribute, label)]
        if len(ids) < wanted:
            raise DataError(
                f"{attribute}={label}: {wanted} shots are asked for, the pool of {len(pool)} images has {len(ids)}. "
                "Lower attributes.head.positive_shots / negative_shots (of the curve: attributes.labels.numbers), or "
                "raise attributes.splits.shots."
            )
        chosen = ids[torch.randperm(len(ids), generator=stream)[:wanted]]
        parts.append(pd.DataFrame({"id": chosen.sort().values.numpy(), "label": label}))
    return pd.concat(parts, ignore_index=True)


def read_shots(path: Path, pool: ImageSet) -> tuple[ImageSet, torch.Tensor]:
    """Return the images of a shots file and their labels, bool [N].

    Raises:
        DataError: If it lacks the columns id and label, a label or an id is none, or an image is not in the pool.
    """
    table = read_columns(path, "id", "label")
    with _named(path):
        images = pool.by_ids(read_numbers(path, table["id"]))
    return images, torch.tensor(read_truth(path, table["label"]).tolist())


def draw_pairs(pool: MaskSet, shots: int, seed: int) -> list[int]:
    """Draw ids of image-mask pairs; fewer shots are a prefix of more.

    Raises:
        DataError: If the pool has too few.
    """
    if shots > len(pool):
        raise DataError(f"masks.shots: {shots} pairs are asked for, the pool has {len(pool)} masks.")
    order = torch.randperm(len(pool), generator=generator("pairs", seed))
    return [int(id_) for id_ in pool.ids[order[:shots]]]


def read_pairs(path: Path, images: ImageSet, masks: MaskSet) -> tuple[ImageSet, MaskSet]:
    """Return the images and masks of a pairs file, in its order.

    Raises:
        DataError: If it lacks the column id, or an id is none, or has no image or no mask.
    """
    ids = read_numbers(path, read_columns(path, "id")["id"])
    with _named(path):
        return images.by_ids(ids), masks.by_ids(ids)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors of its content."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def join_pairs(images: ImageSet, masks: MaskSet) -> tuple[ImageSet, MaskSet]:
    """Return the images that have a mask, and their masks, in the order of the masks."""
    return images.by_ids(masks.ids.tolist()), masks


@dataclass(frozen=True)
class ClassShots:
    """The few labelled images of every class that an experiment learns from.

    Attributes:
        images: Split that they are the first of, parquet.
        per_class: Images of each class.
    """

    images: Path
    per_class: int

    def read(self) -> ClassSet:
        """Return them, class by class.

        Raises:
            DataError: If the data set has no classes, or a class has too few images.
        """
        with _named(self.images):
            return load_image_set(self.images).class_set().first_of_each(self.per_class)
