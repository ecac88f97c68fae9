"""Labelled images in the layout of Tiny-ImageNet: a folder per class, stock (with ``images/``) or plain."""

import logging
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch

from ..config.data import ImageFolderConfig
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from .files import Members, is_image, log_left_out
from .image_set import ImageSet
from .lists import decode_text, read_annotations
from .loading import Changes, Pixels, image_pixels, log_changes, open_image
from .order import fixed_order

ANNOTATIONS = "val/val_annotations.txt"

Labelled = list[tuple[str, int]]
"""File names with the positions of their classes."""

log = logging.getLogger(__name__)


def read_class_images(settings: ImageFolderConfig, image_size: int, positions: range) -> ImageSet:
    """Read the images at these positions: those of train/ in a fixed random order, then those of val/ in theirs.

    An attribute is membership of a class.

    Args:
        settings: Folder or zip, and what to do with grey or truncated images.
        image_size: Height and width in pixels; images are reduced by Lanczos.
        positions: Positions within the order; disjoint ranges give disjoint splits.

    Raises:
        DataError: If there are no classes, a class has no images, the positions mix train/ and val/, or a file is
            malformed.
    """
    members = Members(settings.path)
    classes, train, validation = list_classes(members)
    _require_positions(settings.path, positions, len(train), len(validation))
    files = [*_shuffled(train), *_shuffled(validation)]
    log_left_out([members])
    pixels, kept, changes = [], [], Changes()
    for position in Progress(positions, desc="reading images", unit="image"):
        found = _read(members, files[position][0], settings, image_size, changes)
        if found is not None:
            pixels.append(found)
            kept.append(position)
    log_changes(settings.path, changes)
    if len(kept) < len(positions):
        log.warning("%s: left out %d unreadable images", settings.path, len(positions) - len(kept))
    labels = torch.tensor([files[position][1] for position in kept], dtype=torch.int64)
    images, ids = stack_pixels(pixels, 3, image_size, image_size), torch.tensor(kept, dtype=torch.int64)
    return ImageSet(images, ids, _memberships(settings, labels, classes), labels, classes)


def _require_positions(path: Path, positions: range, train: int, validation: int) -> None:
    if positions.start < train < positions.stop:
        raise DataError(
            f"{path}: a split asks for images {positions.start} to {positions.stop}, of which the first {train} are of "
            f"train/ and the rest of val/. Let it end at {train}, or begin there."
        )
    if positions.stop > train + validation:
        raise DataError(
            f"{path}: the splits ask for {positions.stop} images, found {train} in train/ and {validation} in val/. "
            "Lower data.splits."
        )


def _memberships(settings: ImageFolderConfig, labels: torch.Tensor, classes: list[str]) -> pd.DataFrame:
    unknown = sorted(set(settings.attributes.values()) - set(classes))
    if unknown:
        raise DataError(f"{settings.path}: found no class {unknown[0]}, expected one of {', '.join(classes)}.")
    names = np.array(classes)[labels.numpy()]
    columns = {ours: names == theirs for ours, theirs in settings.attributes.items()}
    return pd.DataFrame(columns, index=range(len(labels)))


def list_classes(members: Members) -> tuple[list[str], Labelled, Labelled]:
    """Return the class names, and the files of train/ and val/ with their labels.

    Raises:
        DataError: If there are no classes, a class has no images, or val/ names an unknown one.
    """
    parts = {name: PurePosixPath(name).parts for name in members.names() if is_image(name)}
    train = {name: found[1] for name, found in parts.items() if found[0] == "train" and len(found) in (3, 4)}
    classes = members.folders("train")
    if not classes:
        raise DataError(f"{members.path}: found no classes, expected train/<class>/images/* or train/<class>/*.")
    counts = Counter(train.values())
    empty = [name for name in classes if not counts[name]]
    if empty:
        raise DataError(f"{members.path}, train/{empty[0]}: the class has no images ({len(empty)} such classes).")
    inside = {name: found for name, found in parts.items() if found[0] == "val" and len(found) in (3, 4)}
    mixed = [name for name, found in inside.items() if found[1] == "images" and "images" not in classes]
    validation = _annotated(members, mixed) | {n: found[1] for n, found in inside.items() if n not in mixed}
    unknown = sorted(set(validation.values()) - set(classes))
    if unknown:
        raise DataError(f"{members.path}, val/: found class {unknown[0]}, which train/ does not have.")
    return classes, _labelled(train, classes), _labelled(validation, classes)


def _labelled(files: dict[str, str], classes: list[str]) -> Labelled:
    return [(name, classes.index(found)) for name, found in sorted(files.items())]


def _annotated(members: Members, images: list[str]) -> dict[str, str]:
    """Return the classes of the images of val/images/; where there are none, a list is left from before sorting."""
    if not images or ANNOTATIONS not in members.names():
        return {}
    where = members.where(ANNOTATIONS)
    listed = read_annotations(decode_text(members.read(ANNOTATIONS), where), where)
    found = {f"val/images/{file}": label for file, label in listed.items()}
    for names, others, fault in ((images, found, "has no line in it"), (found, images, "is not in val/images/")):
        if missing := sorted(set(names) - set(others)):
            raise DataError(f"{where}: {missing[0]} {fault} ({len(missing)} such images).")
    return found


def _shuffled(files: Labelled) -> Labelled:
    return [files[position] for position in fixed_order(np.arange(len(files)), set())]


def _read(members: Members, name: str, settings: ImageFolderConfig, image_size: int, changes: Changes) -> Pixels | None:
    where = members.where(name)
    try:
        image = open_image(members.read(name), where)
    except DataError:
        if settings.unreadable == "skip":
            return None
        raise
    if image.mode != "RGB" and settings.grey == "refuse":
        raise DataError(f"{where}: found mode {image.mode}, expected RGB (data.image_folder.grey).")
    return image_pixels(image, where, image_size, settings.fit, changes)
