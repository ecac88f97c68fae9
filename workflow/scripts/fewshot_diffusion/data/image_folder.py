"""Labelled images in the layout of Tiny-ImageNet: a folder per class, stock (with ``images/``) or plain."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from ..config.data import ImageFolderConfig
from ..config.splits import SHARES
from ..errors import DataError
from .files import Members, is_image
from .index import Row, SourceIndex, known_columns, some
from .lists import decode_text, read_annotations

ANNOTATIONS = "val/val_annotations.txt"

_TAUGHT = tuple(split for split in SHARES if split not in ("judge", "class_test"))
JUDGED_BY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "train": ((), ()),
    "val": (_TAUGHT, ("judge", "class_test")),
}
"""Part that the judge learns from -> the splits that may hold images of train/ and of val/, where that is no matter of
course."""


def list_class_images(settings: ImageFolderConfig, attributes: Sequence[str]) -> SourceIndex:
    """List the images of train/ and val/ with their classes; an attribute is membership of a class.

    Args:
        settings: Folder or zip, and the classes that are attributes.
        attributes: Those of ``settings.attributes`` that are needed.

    Raises:
        DataError: If there are no classes, a class has no images, or val/ names an unknown one.
    """
    members = Members(settings.path)
    classes = members.folders("train")
    if not classes:
        found = some(members.folders("")) or "none"
        raise DataError(
            f"{members.path}: found no classes, expected train/<class>/images/* or train/<class>/*; found {found}."
        )
    train, validation = _of_part(members, "train"), _validation(members, classes)
    empty = set(classes) - set(train.values())
    if empty:
        raise DataError(f"{members.path}, train/: no images in the class {some(empty)}.")
    unknown = set(validation.values()) - set(classes)
    if unknown:
        raise DataError(f"{members.path}, val/: found class {some(unknown)}, which train/ does not have.")
    known_columns(settings.path, classes, [settings.attributes[ours] for ours in attributes], "class")
    teach, test = JUDGED_BY[settings.judge_from]
    rows = [Row(name, members, name, label=label, part="train", splits=teach) for name, label in train.items()]
    rows += [Row(name, members, name, label=label, part="val", splits=test) for name, label in validation.items()]
    holders = {
        ours: frozenset(row.name for row in rows if row.label == settings.attributes[ours]) for ours in attributes
    }
    return SourceIndex(settings.path, rows, classes, holders, _remarks(members, rows))


def _remarks(members: Members, rows: Sequence[Row]) -> list[str]:
    """Say which images are in no place of the layout; it has one for images without labels, test/images/."""
    taken = {row.file for row in rows}
    others = [name for name in members.names() if is_image(name) and name not in taken]
    strays = [name for name in others if not name.startswith("test/images/")]
    where = "train/<class>/, val/<class>/ or, with a list, val/images/"
    return [f"{members.path}: left out {some(strays)}, which lie in none of {where}"] if strays else []


def _of_part(members: Members, part: str) -> dict[str, str]:
    """Return the images in folders of a part, and the name of the folder: of a class, or ``images``."""
    places = {name: PurePosixPath(name).parts for name in filter(is_image, members.names())}
    return {
        name: place[1]
        for name, place in places.items()
        if place[0] == part and (len(place) == 3 or (len(place) == 4 and place[2].lower() == "images"))
    }


def _validation(members: Members, classes: Sequence[str]) -> dict[str, str]:
    """Return the images of val/ and their classes: their folders, or what a list says of those in val/images/."""
    found = _of_part(members, "val")
    unsorted = {name for name, folder in found.items() if folder == "images" and "images" not in classes}
    return {name: folder for name, folder in found.items() if name not in unsorted} | _annotated(members, unsorted)


def _annotated(members: Members, images: set[str]) -> dict[str, str]:
    """Return the classes of the images of val/images/; where there are none, a list is left from before sorting."""
    if not images or ANNOTATIONS not in members.names():
        return {}
    where = members.where(ANNOTATIONS)
    listed = read_annotations(decode_text(members.read(ANNOTATIONS), where), where)
    found = {f"val/images/{file}": label for file, label in listed.items()}
    for names, others, fault in ((images, found, "has no line in it"), (found, images, "is not in val/images/")):
        if missing := set(names) - set(others):
            raise DataError(f"{where}: {some(missing)} {fault}.")
    return found
