"""Labels and masks that people have of their images, listed without opening one. Torch-free: plans are made of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from ..config.attributes import attribute_name
from ..config.data import FolderConfig
from ..config.own import OwnSourceConfig
from ..data.contents import Checksums, contents, manifest
from ..data.files import Members, is_image
from ..data.index import Row, SourceIndex, some
from ..data.lists import TRUTH, read_columns, read_truth
from ..data.photos import Finder, require_once
from ..errors import DataError
from ..storage.files import fingerprint

LEAST_LABELS = 4
"""Images of each kind: with fewer, cross-validation leaves a head next to nothing to learn from."""

CLASS_COLUMN = "label"
TAKEN = {"masks", "unguided", "wanted"}
"""Names of other heads and sample sets."""


@dataclass(frozen=True)
class Labels:
    """Labelled images.

    Attributes:
        index: The images that have labels, in the order of their hashed names, and attribute -> those that have it.
        titles: Attribute, as it stands in names of files -> as the CSV has it.
    """

    index: SourceIndex
    titles: Mapping[str, str]

    @property
    def rows(self) -> list[Row]:
        """The images."""
        return self.index.rows

    def numbers(self, attribute: str) -> tuple[int, int]:
        """Return how many images have an attribute, and how many have it not."""
        having = len(self.index.attributes[attribute])
        return having, len(self.rows) - having

    def contents(self, checksums: Checksums) -> str:
        """Return the digest of images and labels."""
        return contents(manifest(self.index, self.rows, self.titles, checksums), self.rows, checksums)


@dataclass(frozen=True)
class MaskedImages:
    """Images and their masks, in the order of their hashed names.

    Attributes:
        images: The images.
        masks: Row i: the mask of image i.
    """

    images: list[Row]
    masks: list[Row]

    def contents(self, checksums: Checksums) -> str:
        """Return the digest of both."""
        return fingerprint([checksums.of(row.members, row.file) for row in (*self.images, *self.masks)])


def list_labels(settings: OwnSourceConfig) -> Labels:
    """List the images that a CSV labels.

    Raises:
        DataError: If a file is missing or malformed, a row names no image, or an attribute lacks images of a kind.
    """
    assert settings.labels
    members, names = _images_of(settings.images)
    table = read_columns(settings.labels, "file")
    found = _found(settings, members, names, table["file"])
    holders = {
        title: frozenset(name for name, has in zip(found, having, strict=True) if has)
        for title, having in _columns(settings.labels, table.drop(columns="file")).items()
    }
    titles = {attribute_name(title): title for title in holders}
    if len(titles) < len(holders) or TAKEN & set(titles):
        said = f"two of which are one name of files, or one is {' or '.join(sorted(TAKEN))}"
        raise DataError(f"{settings.labels}: found the columns {', '.join(holders)}, {said}; rename one.")
    rows = sorted((Row(name, members, name) for name in found), key=lambda row: row.id)
    attributes = {attribute: holders[title] for attribute, title in titles.items()}
    labels = Labels(SourceIndex(settings.images, rows, attributes=attributes), titles)
    for attribute, title in titles.items():
        _require_both(settings.labels, title, labels.numbers(attribute))
    return labels


def list_masks(settings: OwnSourceConfig) -> MaskedImages:
    """List the images that have a mask of their stem.

    Raises:
        DataError: If a file is missing, two have one stem, a mask has no image, or there are too few.
    """
    assert settings.masks
    (images, names), masks = _images_of(settings.images), Members(settings.masks)
    of_images = _by_stem(images, names)
    of_masks = _by_stem(masks, [name for name in masks.names() if is_image(name) or name.endswith(".npy")])
    if alone := sorted(set(of_masks) - set(of_images)):
        raise DataError(
            f"{settings.masks}: {some(of_masks[stem] for stem in alone)} are masks of no image: expected one of the "
            f"same stem in {settings.images}, such as {alone[0]}.jpg."
        )
    if len(of_masks) < LEAST_LABELS:
        raise DataError(f"{settings.masks}: found {len(of_masks)} masks, expected at least {LEAST_LABELS}; 20 serve.")
    rows = sorted((Row(stem, images, of_images[stem]) for stem in of_masks), key=lambda row: row.id)
    return MaskedImages(rows, [Row(row.name, masks, of_masks[row.name]) for row in rows])


def _images_of(path: Path) -> tuple[Members, list[str]]:
    # As of a folder of photos: it is named on purpose, and a folder in it stays part of the names.
    members = Members(path, unwrap=path.is_file())
    return members, [name for name in members.names() if is_image(name)]


def _found(settings: OwnSourceConfig, members: Members, names: list[str], files: "pd.Series[str]") -> list[str]:
    """Return the image of every row."""
    assert settings.labels
    finder = Finder(FolderConfig(images=settings.images, labels=settings.labels, fit="crop"), members, names)
    found = [finder.find(file) for file in files]
    both = zip(files.items(), found, strict=True)
    if absent := [f"line {line} ({file})" for (line, file), name in both if not name]:
        raise DataError(
            f"{settings.labels}: no image, or several, of {some(absent)}; expected a file of {settings.images}, where "
            f"there are {some(names) or 'no images'}. Write it as it is there, or remove the line."
        )
    require_once(settings.labels, files, found)
    return [name for name in found if name]


def _columns(path: Path, table: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """Return attribute -> whether each row has it; of one column of classes, an attribute for each."""
    if table.empty:
        raise DataError(f"{path}: found the column file alone, expected {CLASS_COLUMN}, or one for each attribute.")
    classes = table[CLASS_COLUMN] if list(table) == [CLASS_COLUMN] else None
    if classes is None or classes.str.lower().isin(list(TRUTH)).all():
        return {str(title): read_truth(path, table[title]) for title in table}
    if unnamed := list(classes.index[classes == ""]):
        raise DataError(f"{path}, line {unnamed[0]}, column {CLASS_COLUMN!r}: found no value, expected a class.")
    return {str(title): classes == title for title in sorted(set(classes))}


def _require_both(path: Path, title: str, numbers: tuple[int, int]) -> None:
    if min(numbers) < LEAST_LABELS:
        raise DataError(
            f"{path}: {title!r} has {numbers[0]} images with it and {numbers[1]} without, expected at least "
            f"{LEAST_LABELS} of each, and better some dozens."
        )


def _by_stem(members: Members, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if (other := found.setdefault(stem, name)) != name:
            raise DataError(f"{members.path}: {other} and {name} have one stem; expected one file each.")
    return found
