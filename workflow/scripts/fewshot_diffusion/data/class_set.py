"""The common product of every data set with classes: labelled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..storage.tensors import read_tensors, write_tensors


@dataclass(frozen=True)
class ClassSet:
    """Images of one class each.

    Attributes:
        images: RGB, uint8 [N, 3, H, W], 0..255.
        labels: Positions in ``classes``, int64 [N].
        ids: Identity of each image within its data set, int64 [N].
        classes: Names of the K classes.
    """

    images: Tensor
    labels: Tensor
    ids: Tensor
    classes: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor) -> "ClassSet":
        """Return the images at ``index`` (bool [N] or int64 positions)."""
        return ClassSet(self.images[index], self.labels[index], self.ids[index], self.classes)

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
                    "Raise data.splits.class_train or lower classification.train_per_class."
                )
            parts.append(found[:number])
        return self.select(torch.cat(parts))


def check_labels(labels: Tensor, classes: Sequence[str], where: str) -> None:
    """Raise ``DataError`` unless all labels lie in 0..K-1."""
    wrong = labels[(labels < 0) | (labels >= len(classes))]
    if len(wrong):
        raise DataError(f"{where}: found label {int(wrong[0])}, expected 0..{len(classes) - 1}.")


def save_classes(class_set: ClassSet, path: Path, provenance: dict[str, object]) -> None:
    """Write labelled images (safetensors); the class names stand in the header."""
    check_labels(class_set.labels, class_set.classes, str(path))
    tensors = {"images": class_set.images, "labels": class_set.labels, "ids": class_set.ids}
    write_tensors(path, tensors, {**provenance, "classes": class_set.classes})


def load_classes(path: Path) -> ClassSet:
    """Read labelled images written by ``save_classes``.

    Raises:
        CorruptFileError: If the file is damaged.
        DataError: If a label is unknown.
    """
    tensors, provenance = read_tensors(path, "images", "labels", "ids")
    check_labels(tensors["labels"], provenance["classes"], str(path))
    return ClassSet(tensors["images"], tensors["labels"], tensors["ids"], list(provenance["classes"]))
