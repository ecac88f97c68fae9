"""Images that are rows of parquet files: read in the files' order, whatever the order in which they are wanted."""

import hashlib
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import DataError
from .files import MAX_BYTES

ROWS = 64  # that are in memory at a time


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a parquet file.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
            yield file
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path}: cannot be read as a parquet file ({error}). Fetch it again.") from error


class ParquetImages:
    """A folder of parquet files; an image's name is ``<file>/<row>``.

    What is prepared lies, still coded, in a file without a name in the folder of temporary files ($TMPDIR).

    Attributes:
        path: The folder.
        left_out: 0.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path, self.left_out = path, 0
        self._column = column
        self._copies: IO[bytes] | None = None
        self._spans: dict[str, tuple[int, int]] = {}
        self._digest = cache(_digest)

    def __del__(self) -> None:
        if self._copies:
            self._copies.close()

    def prepare(self, names: Iterable[str]) -> None:
        """Copy images out of their files, each file in one pass.

        Raises:
            DataError: If a file is damaged, or an image is missing or too large.
        """
        wanted: dict[str, set[int]] = defaultdict(set)
        for name in names:
            if name not in self._spans:
                file, _, row = name.rpartition("/")
                wanted[file].add(int(row))
        for file, rows in wanted.items():
            for position, data in self._images(file, rows):
                self._keep(f"{file}/{position}", data)

    def where(self, name: str) -> str:
        """Return what errors call an image."""
        file, _, row = name.rpartition("/")
        return f"{self.path}, {file}, row {row}"

    def read(self, name: str) -> bytes:
        """Return the content of an image's file.

        Raises:
            DataError: As ``prepare``.
        """
        self.prepare([name])
        start, length = self._spans[name]
        assert self._copies is not None
        self._copies.seek(start)
        return self._copies.read(length)

    def size(self, name: str) -> int:
        """Return the bytes of the parquet file: those of a row are not known unless it is read."""
        return self._file(name).stat().st_size

    def checksum(self, name: str) -> str:
        """Return the row, and the SHA-256 of its parquet file: of another file, all images are others."""
        return f"{self._digest(self._file(name))}:{name.rpartition('/')[2]}"

    def stamp(self, name: str) -> str:
        """Return what changes when the parquet file is replaced, without reading it."""
        status = self._file(name).stat()
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"

    def _file(self, name: str) -> Path:
        return self.path / name.rpartition("/")[0]

    def _images(self, file: str, rows: set[int]) -> Iterator[tuple[int, bytes | None]]:
        with opened(self.path / file) as parquet:
            kind = parquet.schema_arrow.field(self._column).type
            column = f"{self._column}.bytes" if pa.types.is_struct(kind) else self._column
            first = 0
            for group in range(parquet.num_row_groups):
                end = first + parquet.metadata.row_group(group).num_rows
                if any(first <= row < end for row in rows):
                    for batch in parquet.iter_batches(ROWS, row_groups=[group], columns=[column]):
                        yield from _chosen(batch.column(0), first, rows)
                        first += batch.num_rows
                first = end

    def _keep(self, name: str, data: bytes | None) -> None:
        if data is None:
            raise DataError(f"{self.where(name)}: holds no image, perhaps only its path. Fetch a mirror with images.")
        if len(data) > MAX_BYTES:
            raise DataError(f"{self.where(name)}: found {len(data)} bytes, expected at most {MAX_BYTES}.")
        self._copies = self._copies or tempfile.TemporaryFile()  # noqa: SIM115 - open while images are read
        start = self._copies.seek(0, 2)
        self._copies.write(data)
        self._spans[name] = (start, len(data))


def _chosen(column: pa.Array, first: int, rows: set[int]) -> Iterator[tuple[int, bytes | None]]:
    for position in range(len(column)):
        if first + position in rows:
            value = column[position].as_py()
            yield first + position, value["bytes"] if isinstance(value, dict) else value


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
