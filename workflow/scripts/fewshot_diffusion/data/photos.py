"""Images of any names, and a CSV that says what they show."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..config.attributes import attribute_name
from ..config.data import FolderConfig
from ..errors import DataError
from .files import Members, is_image
from .index import Row, SourceIndex, known_columns, some
from .lists import read_columns, read_truth


def list_photos(settings: FolderConfig, attributes: Sequence[str]) -> SourceIndex:
    """List the images; those without a row of labels may train the denoiser alone.

    Args:
        settings: Where images and labels are.
        attributes: Columns of the CSV that are needed, as ``attribute_name`` writes them.

    Raises:
        DataError: If a file is missing or malformed, a column is not there, or no row names an image.
    """
    # A folder is named on purpose: were another taken off the names, a further image beside it would move all splits.
    members = Members(settings.images, unwrap=settings.images.is_file())
    names = [name for name in members.names() if is_image(name)]
    table = read_columns(settings.labels, "file")
    columns = _columns(settings.labels, [name for name in table.columns if name != "file"], attributes)
    files = Finder(settings, members, names)
    found = [files.find(file) for file in table["file"]]
    if not any(found):
        raise DataError(
            f"{settings.labels}: its first row names {next(iter(table['file']), 'nothing')!r}, and no row a file of "
            f"{settings.images}, where there are {some(names) or 'no images'}. Write them as they are there."
        )
    labelled = set(filter(None, found))
    require_once(settings.labels, table["file"], found)
    holders = {}
    for attribute in attributes:
        labels = read_truth(settings.labels, table[columns[attribute]])
        holders[attribute] = frozenset(name for name, has in zip(found, labels, strict=True) if name and has)
    rows = [Row(name, members, name, labelled=name in labelled) for name in names]
    remarks = _remarks(settings, [file for file, name in zip(table["file"], found, strict=True) if not name])
    if unlabelled := set(names) - labelled:
        remarks.append(f"{settings.images}: no labels of {some(unlabelled)}; these may train the denoiser alone")
    return SourceIndex(settings.images, rows, attributes=holders, remarks=remarks)


def _columns(path: Path, names: Sequence[str], attributes: Sequence[str]) -> dict[str, str]:
    """Return attribute -> column."""
    known_columns(path, [attribute_name(name) for name in names], attributes)
    found: dict[str, str] = {}
    for name in names:
        if (other := found.setdefault(attribute_name(name), name)) != name and attribute_name(name) in attributes:
            raise DataError(f"{path}: the columns {other!r} and {name!r} are both {attribute_name(name)}; rename one.")
    return found


def require_once(path: Path, files: "pd.Series[str]", found: list[str | None]) -> None:
    """Raise ``DataError`` if two rows of a list name one image."""
    lines: dict[str, object] = {}
    for line, name in zip(files.index, found, strict=True):
        if name and lines.setdefault(name, line) is not line:
            raise DataError(f"{path}: {name} stands twice, in lines {lines[name]} and {line}; expected each file once.")


def _remarks(settings: FolderConfig, absent: list[str]) -> list[str]:
    return [f"{settings.labels}: no image, or several, of the rows {some(absent)}: left out"] if absent else []


class Finder:
    """Finds a file by its path in the folder, by an end of it that no other has, or as seen from where the CSV lies."""

    def __init__(self, settings: FolderConfig, members: Members, names: Sequence[str]) -> None:
        """Take the folder, its files, and those of them that are images."""
        self._settings, self._members, self._names = settings, members, set(names)
        times = Counter(tail for name in names for tail in _tails(name))
        self._alone = {tail: name for name in names for tail in _tails(name) if times[tail] == 1}

    def find(self, file: str) -> str | None:
        """Return the image that a row names, if there is one, and one alone."""
        file = file.replace("\\", "/") if self._members.find(file) is None else file
        name = self._members.find(file) or self._alone.get(file) or self._members.find(self._seen_from_list(file))
        return name if name in self._names else None

    def _seen_from_list(self, file: str) -> str:
        return os.path.relpath(self._settings.labels.parent / file, self._settings.images)


def _tails(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[start:]) for start in range(len(parts))]
