"""What the images of a split are, as one digest: Snakemake compares it, so that other content makes a split stale.

Files of folders are read once: their checksums are kept, with what the file system says of each, and found again until
that changes. A touched file is read again, and makes nothing stale.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..storage.files import fingerprint, write_text
from .files import Place
from .index import Row, SourceIndex


class Checksums:
    """Checksums of files, remembered in a file of one's own."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what is remembered; without a path, nothing is."""
        self._path = path
        self._known: dict[str, list[str]] = _remembered(path) if path else {}
        self._seen: dict[str, list[str]] = {}

    def of(self, members: Place, file: str) -> str:
        """Return a file's checksum.

        Raises:
            DataError: If the file is missing or cannot be read.
        """
        key, stamp = f"{members.path}\t{file}", members.stamp(file)
        known = self._known.get(key)
        found = known if known and known[0] == stamp else [stamp, members.checksum(file)]
        self._seen[key] = found
        return found[1]

    def remember(self) -> None:
        """Write those that were asked for, if there are new ones."""
        if self._path and any(self._known.get(key) != found for key, found in self._seen.items()):
            write_text(self._path, json.dumps(self._known | self._seen))


def manifest(index: SourceIndex, rows: Sequence[Row], attributes: Iterable[str], checksums: Checksums) -> pd.DataFrame:
    """Return what is read of a source: name, id, file, bytes and checksum of every image, its class, its attributes.

    Raises:
        DataError: If a file is missing.
    """
    frame = pd.DataFrame(
        {
            "name": [row.name for row in rows],
            "id": pd.Series([row.id for row in rows], dtype="int64"),
            "file": [row.file for row in rows],
            "bytes": pd.Series([row.members.size(row.file) for row in rows], dtype="int64"),
            "checksum": [checksums.of(row.members, row.file) for row in rows],
            "class": [row.label for row in rows],
        }
    )
    for attribute in attributes:
        frame[attribute] = [row.name in index.attributes[attribute] for row in rows]
    return frame


def contents(frame: pd.DataFrame, rows: Sequence[Row], checksums: Checksums) -> str:
    """Return the digest of a manifest without the places of the files, and of the masks."""
    masks = [checksums.of(row.members, row.mask) for row in rows if row.mask]
    masks += [checksums.of(row.members, file) for row in rows for _, file in row.masks]
    return fingerprint(frame.drop(columns="file").to_csv(index=False), masks)


def _remembered(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text())
        return {key: [str(stamp), str(checksum)] for key, (stamp, checksum) in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # they are read again
