"""Labelled images in the layout of Tiny-ImageNet: a folder per class, stock (with ``images/``) or plain."""

import logging
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..config.data import ImageFolderConfig
from ..errors import DataError
from ..images import rgb_pixels, stack_pixels
from ..progress import Progress
from .archive import Members
from .image_set import ImageSet
from .order import fixed_order

SUFFIXES = (".jpg", ".jpeg", ".png")
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
    pixels, kept, converted = [], [], 0
    for position in Progress(positions, desc="reading images", unit="image"):
        image = _read(members, files[position][0], settings)
        if image is not None:
            pixels.append(rgb_pixels(image, image_size))
            kept.append(position)
            converted += image.mode != "RGB"
    _log_faults(settings.path, converted, len(positions) - len(kept))
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


def _log_faults(path: Path, converted: int, left_out: int) -> None:
    if converted:
        log.info("%s: converted %d images to RGB", path, converted)
    if left_out:
        log.warning("%s: left out %d unreadable images", path, left_out)


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
    images = [name for name in members.names() if PurePosixPath(name).suffix.lower() in SUFFIXES]
    parts = [(name, PurePosixPath(name).parts) for name in images]
    train = {name: found[1] for name, found in parts if found[0] == "train" and len(found) in (3, 4)}
    classes = members.folders("train")
    if not classes:
        raise DataError(f"{members.path}: found no classes, expected train/<class>/images/* or train/<class>/*.")
    counts = Counter(train.values())
    empty = [name for name in classes if not counts[name]]
    if empty:
        raise DataError(f"{members.path}, train/{empty[0]}: the class has no images ({len(empty)} such classes).")
    validation = _annotated(members) if ANNOTATIONS in members.names() else {
        name: found[1] for name, found in parts if found[0] == "val" and len(found) == 3 and found[1] != "images"
    }  # fmt: skip
    unknown = sorted(set(validation.values()) - set(classes))
    if unknown:
        raise DataError(f"{members.path}, val/: found class {unknown[0]}, which train/ does not have.")
    return classes, _labelled(train, classes), _labelled(validation, classes)


def _labelled(files: dict[str, str], classes: list[str]) -> Labelled:
    return [(name, classes.index(found)) for name, found in sorted(files.items())]


def _annotated(members: Members) -> dict[str, str]:
    found = {}
    for number, line in enumerate(members.read(ANNOTATIONS).decode(errors="replace").splitlines(), start=1):
        cells = line.split("\t")
        if len(cells) < 2:
            raise DataError(f"{members.path}, {ANNOTATIONS}, line {number}: expected <file>, tab, <class>, ...")
        found[f"val/images/{cells[0]}"] = cells[1]
    return found


def _shuffled(files: Labelled) -> Labelled:
    return [files[position] for position in fixed_order(np.arange(len(files)), set())]


def _read(members: Members, name: str, settings: ImageFolderConfig) -> Image.Image | None:
    try:
        image = members.image(name)
    except DataError:
        if settings.unreadable == "skip":
            return None
        raise
    if image.mode != "RGB" and settings.grey == "refuse":
        raise DataError(f"{members.path}, {name}: found mode {image.mode}, expected RGB (data.image_folder.grey).")
    return image
