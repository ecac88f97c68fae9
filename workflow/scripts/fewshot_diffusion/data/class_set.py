"""Labelled images: what the classes of a data set come to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DataError
from ..storage.rows import Rows, select_rows


@dataclass(frozen=True)
class ClassSet:
    """Images of one class each.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255; of a large split, in a file.
        labels: Positions in ``classes``, int64 [N].
        ids: Identity of each image within its data set, int64 [N].
        classes: Names of the K classes.

    Raises:
        DataError: If a label lies outside 0..K-1.
    """

    images: Rows
    labels: Tensor
    ids: Tensor
    classes: list[str]

    def __post_init__(self) -> None:
        check_labels(self.labels, self.classes)

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "ClassSet":
        """Return the images at ``index`` (bool [N] or int64 positions)."""
        return ClassSet(select_rows(self.images, index), self.labels[index], self.ids[index], self.classes)

    def first_of_each(self, number: int) -> "ClassSet":
        """Return the first images of every class, class by class.

        Raises:
            DataError: If a class has fewer; names it.
        """
        parts = []
        for label, name in enumerate(self.classes):
            found = (self.labels == label).nonzero().flatten()
            if len(found) < number:
                raise DataError(
                    f"class {name!r}: found {len(found)} images, expected {number}. "
                    "Raise classes.splits.class_train or lower classes.train_per_class."
                )
            parts.append(found[:number])
        return self.select(torch.cat(parts))


def check_labels(labels: Tensor, classes: Sequence[str]) -> None:
    """Raise ``DataError`` unless all labels lie in 0..K-1."""
    wrong = labels[(labels < 0) | (labels >= len(classes))]
    if len(wrong):
        raise DataError(f"Labels: found {int(wrong[0])}, expected 0..{len(classes) - 1}.")
