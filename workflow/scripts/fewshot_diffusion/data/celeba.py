"""Real faces: images in zips or a folder, and CelebA's attribute list (values -1 / 1)."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..config.data import CelebAHQConfig
from ..errors import DataError
from .files import Members, is_image
from .index import Row, SourceIndex, known_columns, some
from .lists import read_annotations, read_attribute_list, read_id_list, read_text

PARTITIONS = {
    "0": ("train", "shots", "pairs", "class_train"),
    "1": ("judge", "tuning_judge"),
    "2": ("controls", "reference", "class_test"),
}
"""CelebA's partition (train, validation, test) -> the splits that may hold its images."""


def list_faces(settings: CelebAHQConfig, attributes: Sequence[str]) -> SourceIndex:
    """List the faces: those of the attribute list, and others without labels.

    Args:
        settings: Folder, and the attributes to keep.
        attributes: Those of ``settings.attributes`` that are needed.

    Raises:
        DataError: If a list is malformed, or an image of it is missing.
    """
    table = read_attribute_list(settings.attribute_path)
    theirs = {ours: settings.attributes[ours] for ours in attributes}
    known_columns(settings.attribute_path, table.columns, theirs.values())
    found = {file.rpartition("/")[2]: (members, file) for members, file in _images(settings.folder)}
    missing = set(table.index) - set(found)
    if missing:
        raise DataError(
            f"{settings.attribute_path}: {some(missing)} are in no images-*.zip of {settings.folder}, nor in a folder."
        )
    labelled = set(table.index)
    held_out = set(read_id_list(settings.held_out_ids, "celebahq_file")) if settings.held_out_ids else set()
    splits = _splits(settings.partition_file, found) if settings.partition_file else {}
    rows = [
        Row(name, members, file, labelled=name in labelled, held_out=name in held_out, splits=splits.get(name, ()))
        for name, (members, file) in found.items()
    ]
    holders = {ours: frozenset(table.index[table[name]]) for ours, name in theirs.items()}
    return SourceIndex(settings.folder, rows, attributes=holders)


def _splits(path: Path, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the splits that each image may be in, by CelebA's list of partitions."""
    partitions = read_annotations(read_text(path), str(path))
    if unknown := set(partitions.values()) - set(PARTITIONS):
        raise DataError(f"{path}: found the partition {some(unknown)}, expected {', '.join(PARTITIONS)}.")
    if missing := set(names) - set(partitions):
        raise DataError(f"{path}: {some(missing)} of the images are not in it.")
    return {name: PARTITIONS[partition] for name, partition in partitions.items()}


def _images(folder: Path) -> list[tuple[Members, str]]:
    zips = sorted(folder.glob("images-*.zip")) or sorted(folder.glob("*.zip"))
    found = [
        (members, name) for members in map(Members, zips or [folder]) for name in members.names() if is_image(name)
    ]
    if not found:
        raise DataError(f"{folder}: found no images, expected images-*.zip, or a folder or zip of images.")
    return found
