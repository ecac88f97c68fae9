"""Splits of a source whose images are there: read, with their attributes, classes and masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from ..config.data import AvatarsConfig, DatasetConfig, MaskFolderConfig, Source
from ..config.splits import SharesConfig
from ..errors import DataError
from ..images import stack_pixels
from ..progress import Progress
from ..storage.tables import write_csv
from .contents import Checksums, contents, manifest
from .files import log_left_out
from .image_set import BATCH, ImageSet, save_batches
from .index import Row, SourceIndex
from .listings import list_source
from .loading import IGNORED, Changes, Pixels, image_pixels, load_mask, log_changes, open_image, read_shape
from .mask_set import MaskSet, check_classes, save_mask_batches
from .part_masks import merge_parts
from .splits import share_out


@dataclass(frozen=True)
class ListedSplit:
    """One split of a source.

    Attributes:
        name: Of the split.
        shares: How the images are shared out (CONFIG.shares), JSON.
        attributes: Attributes whose labels are kept.
        contents: Digest of its images, as the run was planned.
        promised: Whether that was before they were there, so that it is not of them.
    """

    name: str
    shares: SharesConfig
    contents: str
    attributes: list[str]
    promised: bool = False

    def rows(self, settings: DatasetConfig) -> tuple[SourceIndex, list[Row], pd.DataFrame]:
        """Return the source, the images of the split, and their manifest.

        Raises:
            DataError: If they are others than when the run was planned.
        """
        index, checksums = list_source(settings.source, self.attributes), Checksums()
        rows = share_out(index, self.shares)[self.name]
        frame = manifest(index, rows, self.attributes, checksums)
        if not self.promised and contents(frame, rows, checksums) != self.contents:
            raise DataError(
                f"{index.path}: images of the split {self.name} changed since the run was planned. "
                "Run the same command again."
            )
        return index, rows, frame


def read_images(settings: DatasetConfig, split: ListedSplit, output: Path, listed: Path) -> None:
    """Read one split of a source: images, attributes and classes.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        split: Which images.
        output: Split to write, parquet.
        listed: Manifest to write, CSV: name, id, file, bytes and checksum of every image, and what is known of it.

    Raises:
        DataError: If a file is missing or malformed, or not as it was planned.
    """
    index, rows, frame = split.rows(settings)
    log_left_out({id(row.members): row.members for row in rows}.values())
    about = {"data_set": settings.name, "split": split.name, "contents": split.contents}
    save_batches(iter_rows(settings, index, rows, split.attributes), output, about)
    write_csv(listed, frame)


def iter_rows(
    settings: DatasetConfig, index: SourceIndex, rows: Sequence[Row], attributes: Sequence[str]
) -> Iterator[ImageSet]:
    """Read the images of some rows, and yield them in batches; an empty one if there are none.

    Raises:
        DataError: If one is no readable image, and is not to be left out.
    """
    changes = Changes()
    for place in {id(row.members): row.members for row in rows}.values():
        place.prepare([row.file for row in rows if row.members is place])
    with Progress(total=len(rows), desc="reading images", unit="image") as bar:
        for start in range(0, max(len(rows), 1), BATCH):
            batch = rows[start : start + BATCH]
            read = [(row, pixels) for row in batch if (pixels := _read(settings, row, changes)) is not None]
            yield _image_set(settings, index, read, attributes)
            bar.update(len(batch))
    log_changes(index.path, changes)


def _image_set(
    settings: DatasetConfig, index: SourceIndex, read: Sequence[tuple[Row, Pixels]], attributes: Sequence[str]
) -> ImageSet:
    columns = {name: [row.name in index.attributes[name] for row, _ in read] for name in attributes}
    labels = [index.classes.index(row.label) for row, _ in read] if index.classes else []
    return ImageSet(
        stack_pixels([pixels for _, pixels in read], 3, settings.image_size, settings.image_size),
        torch.tensor([row.id for row, _ in read], dtype=torch.int64),
        pd.DataFrame(columns, index=range(len(read)), dtype=bool),
        torch.tensor(labels, dtype=torch.int64) if index.classes else None,
        index.classes,
    )


def read_masks(settings: DatasetConfig, split: ListedSplit, output: Path) -> None:
    """Read the masks of one split of a source.

    Args:
        settings: Section data without splits (CONFIG.data.dataset), JSON.
        split: Of which images.
        output: Masks to write, parquet; their ids are those of the images.

    Raises:
        DataError: If a mask is missing or malformed, or not as it was planned.
    """
    index, rows, _ = split.rows(settings)
    about = {"data_set": settings.name, "split": split.name, "contents": split.contents}
    save_mask_batches(iter_row_masks(settings, index, rows), output, about)


def iter_row_masks(settings: DatasetConfig, index: SourceIndex, rows: Sequence[Row]) -> Iterator[MaskSet]:
    """Read the masks of some rows, and yield them in batches; an empty one if there are none.

    Raises:
        DataError: If one is no readable mask of its image, or holds an id that names no class.
    """
    size, changes = settings.image_size, Changes()
    with Progress(total=len(rows), desc="reading masks", unit="mask") as bar:
        for start in range(0, max(len(rows), 1), BATCH):
            batch = rows[start : start + BATCH]
            masks = stack_pixels([_mask(settings, row, changes) for row in batch], size, size)
            ids = torch.tensor([row.id for row in batch], dtype=torch.int64)
            yield MaskSet(masks, ids, settings.source.mask_classes)
            bar.update(len(batch))
    log_changes(index.path, changes)


def _read(settings: DatasetConfig, row: Row, changes: Changes) -> Pixels | None:
    source, where = settings.source, row.members.where(row.file)
    if isinstance(source, AvatarsConfig):
        raise DataError("data.kind: avatars are drawn, not read.")
    try:
        image = open_image(row.members.read(row.file), where)
    except DataError:
        if getattr(source, "unreadable", "refuse") == "refuse":
            raise
        changes["left out, since they are unreadable"] += 1
        return None
    if getattr(source, "grey", "convert") == "refuse" and image.mode != "RGB":
        raise DataError(f"{where}: found mode {image.mode}, expected RGB (data.{source.kind}.grey).")
    return image_pixels(_cropped(image, source, where), where, settings.image_size, source.fit, changes)


def _cropped(image: Image.Image, source: Source, where: str) -> Image.Image:
    crop = getattr(source, "crop", None)
    if crop is None:
        return image
    left, top, right, bottom = crop.box
    if right > image.width or bottom > image.height:
        raise DataError(
            f"{where}: found {image.height} rows and {image.width} columns, expected at least {bottom} and {right} "
            f"(data.{source.kind}.crop)."
        )
    return image.crop((left, top, right, bottom))


def _mask(settings: DatasetConfig, row: Row, changes: Changes) -> Pixels:
    source, place, where = settings.source, row.members, row.members.where(row.mask)
    if row.masks:
        return merge_parts(row, settings.image_size)
    if not isinstance(source, MaskFolderConfig):
        raise DataError(f"data.kind: {source.kind!r} has no masks.")
    shape = read_shape(place.read(row.file), place.where(row.file))
    ids = load_mask(place.read(row.mask), where, settings.image_size, ignore=source.ignore, fit=source.fit, image=shape)
    if source.ignore is not None and (ids == IGNORED).any():
        label = source.ignore_as or source.classes[0]
        changes[f"with pixels of value {source.ignore}, which became {label!r}"] += 1
        ids = np.where(ids == IGNORED, np.uint8(source.classes.index(label)), ids)
    _require_known(ids, source, where)
    return ids


def _require_known(ids: Pixels, source: MaskFolderConfig, where: str) -> None:
    try:
        check_classes(ids, source.classes, where)
    except DataError as error:
        most = int(ids.max())
        raise DataError(f"{error} If {most} is what has no class, set data.mask_folder.ignore: {most}.") from error
