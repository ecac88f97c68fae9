"""Image-mask pairs from a local folder or zip: ``images/<name>.jpg`` and ``masks/<name>.png`` (pixel = class id)."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ..config.data import MaskFolderConfig
from ..errors import DataError
from .files import Members, is_image
from .index import Row, SourceIndex, known_columns, some
from .lists import read_attribute_list, read_columns

ARRAY = ".npy"
TESTS = {"train": ("train", "pairs"), "test": ("judge", "tuning_judge", "controls", "reference")}
"""Folder of DatasetDDPM -> the splits that may hold its pairs: those that heads learn from, and all others."""


def list_pairs(settings: MaskFolderConfig, attributes: Sequence[str]) -> SourceIndex:
    """List the pairs: an image and a mask of one stem, which is their name, or is joined to that of another set.

    Args:
        settings: Folder or zip, and the lists that names and attributes are joined from.
        attributes: Those of ``settings.attributes`` that are needed.

    Raises:
        DataError: If a list is malformed or lacks a name, or an image or a mask has no partner.
    """
    members = Members(settings.path)
    if any(name.endswith(ARRAY) for name in members.names()):
        return _with_arrays(settings, members, attributes)
    images, masks = (_by_stem(members, folder) for folder in ("images", "masks"))
    _require_partners(settings.path, images, masks)
    names = join_ids(settings.ids_file, list(images)) if settings.ids_file else {stem: stem for stem in images}
    rows = [Row(names[stem], members, file, mask=masks[stem]) for stem, file in images.items()]
    return SourceIndex(settings.path, rows, attributes=_attributes(settings, attributes, [row.name for row in rows]))


def _with_arrays(settings: MaskFolderConfig, members: Members, attributes: Sequence[str]) -> SourceIndex:
    """List the pairs of DatasetDDPM: ``<stem>.npy`` beside each image, perhaps in folders train and test."""
    images = {str(PurePosixPath(name).with_suffix("")): name for name in members.names() if is_image(name)}
    masks = {name.removesuffix(ARRAY): name for name in members.names() if name.endswith(ARRAY)}
    if alone := set(images) ^ set(masks):
        raise DataError(f"{settings.path}: {some(alone)} is an image without its {ARRAY}, or one without its image.")
    rows = [
        Row(stem, members, file, mask=masks[stem], splits=TESTS.get(PurePosixPath(stem).parent.name, ()))
        for stem, file in images.items()
    ]
    return SourceIndex(settings.path, rows, attributes=_attributes(settings, attributes, [row.name for row in rows]))


def join_ids(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """Return the name that each stem has in another set, from a CSV with the columns name and celebahq_file.

    Raises:
        DataError: If the file is malformed, a stem is not in it, or stands in it twice.
    """
    table = read_columns(path, "name", "celebahq_file")
    if len(twice := table["name"][table["name"].duplicated()]):
        raise DataError(f"{path}: {some(set(twice))} stands in it twice, expected once.")
    joined = dict(zip(table["name"], table["celebahq_file"], strict=True))
    missing = set(stems) - set(joined)
    if missing:
        raise DataError(f"{path}: {some(missing)} of the images are not in it.")
    return {stem: joined[stem] for stem in stems}


def _attributes(settings: MaskFolderConfig, wanted: Sequence[str], names: list[str]) -> dict[str, frozenset[str]]:
    if settings.attribute_file is None or not wanted:
        return {}
    table = read_attribute_list(settings.attribute_file)
    known_columns(settings.attribute_file, table.columns, [settings.attributes[ours] for ours in wanted])
    unknown = set(names) - set(table.index)
    if unknown:
        raise DataError(f"{settings.attribute_file}: {some(unknown)} of the images are not in it.")
    return {ours: frozenset(table.index[table[settings.attributes[ours]]]) for ours in wanted}


def _by_stem(members: Members, folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for member in members.names():
        inside = PurePosixPath(member)
        if inside.parent.as_posix() == folder and is_image(member):
            if inside.stem in found:
                raise DataError(
                    f"{members.path}: {found[inside.stem]} and {member} have one name; expected one file each."
                )
            found[inside.stem] = member
    return found


def _require_partners(path: Path, images: dict[str, str], masks: dict[str, str]) -> None:
    for ours, theirs, what, suffix in (
        (images, masks, "mask", ".png"), (masks, images, "image", ".jpg or another suffix"),
    ):  # fmt: skip
        alone = sorted(set(ours) - set(theirs))
        if alone:
            raise DataError(
                f"{path}, {ours[alone[0]]}: has no {what}; expected {what}s/{alone[0]}{suffix} "
                f"({len(alone)} files without a partner)."
            )
    if not images:
        raise DataError(f"{path}: found no pairs, expected images/<name>.jpg and masks/<name>.png.")
