"""Archives, unpacked whole or not at all: hostile ones are refused, and nothing is written outside the folder.

tarfile's own filter ("data") strips leading slashes, follows links within, and has been got round; the archives of data
sets need none of that. So each member is checked and written here: plain files alone, under plain names.
"""

import csv
import gzip
import hashlib
import io
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ..config.downloads import ExtractConfig
from ..errors import DataError
from ..progress import Progress
from ..storage.files import require_file, write_text

CHUNK = 2**20
HEADER = 2**22  # bytes; what tarfile reads at once is a header or a name, however long the archive says that it is

_DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, RuntimeError,
    NotImplementedError, OverflowError,
)  # fmt: skip


class _RefusedError(Exception):
    """Why an archive is not unpacked."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    problem: str | None
    read: Callable[[], IO[bytes]]


Row = tuple[str, int, str]
"""Name, bytes and SHA-256 of one file."""


def extract_archive(settings: ExtractConfig, archive: Path, listing: Path) -> None:
    """Unpack a verified archive into the folder beside its list of files.

    Args:
        settings: How (CONFIG.downloads.artefacts.<name>.extract), JSON.
        archive: A zip, or a tar, plain or compressed.
        listing: Table of names, bytes and SHA-256 of all files, sorted; the folder has its name without the suffix.

    Raises:
        DataError: If the archive is damaged, or holds what archives of data do not hold; then nothing is unpacked.
    """
    require_file(archive)
    folder = listing.with_suffix("")
    temporary = listing.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)  # of a killed job
    temporary.mkdir(parents=True)
    try:
        rows = _unpack(archive, temporary, settings)
        listing.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_text(listing, _table(rows))


def _table(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("name", "bytes", "sha256"), *sorted(rows)])
    return text.getvalue()


def _unpack(archive: Path, folder: Path, settings: ExtractConfig) -> list[Row]:
    kind = _zip_members if archive.suffix == ".zip" else _tar_members
    target = _Target(folder, settings)
    place = str(archive)
    try:
        for member in Progress(kind(archive, settings.max_bytes), desc=archive.name, unit="file"):
            place = f"{archive}, {member.name!r}"
            target.add(member)
    except _RefusedError as error:
        raise DataError(f"{place}: {error}. Nothing was unpacked.") from error
    except _DAMAGED as error:
        raise DataError(f"{place}: {_damage(error)}") from error
    if not target.rows:
        raise DataError(f"{archive}: found no file in it, expected some.")
    return target.rows


def _damage(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"cannot be written ({error.strerror}). Nothing was unpacked."
    return (
        f"the archive is damaged or no archive ({error or type(error).__name__}). Nothing was unpacked. To fetch it "
        "anew, delete it, what is kept of it in checkpoints/downloads/, and its record in config/downloads/, if any."
    )


class _Target:
    """The folder that an archive is unpacked into, member by member."""

    def __init__(self, folder: Path, settings: ExtractConfig) -> None:
        self._folder, self._settings = folder, settings
        self._bytes = 0
        self.rows: list[Row] = []

    def add(self, member: _Member) -> None:
        """Write a member, if it is what archives of data hold."""
        if problem := member.problem or _name_problem(member.name) or self._size_problem(member.size):
            raise _RefusedError(problem)
        path, is_folder = self._folder / member.name, member.name.endswith("/")
        if any((self._folder / parent).is_file() for parent in PurePosixPath(member.name).parents):
            raise _RefusedError("lies below a file")
        if path.exists() and not (path.is_dir() and is_folder):
            raise _RefusedError("stands in the archive twice")
        if is_folder:
            path.mkdir(parents=True, exist_ok=True)
        else:
            self.rows.append(_write(member, path))

    def _size_problem(self, size: int) -> str | None:
        self._bytes += size
        if self._bytes > (most := self._settings.max_bytes):
            return f"unpacks to {self._bytes} bytes or more, expected at most {most} (extract.max_bytes)"
        if len(self.rows) >= (most := self._settings.max_files):
            return f"found more files than the {most} of extract.max_files"
        return None


def _name_problem(name: str) -> str | None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        return "leads out of the archive"
    if not path.parts and name != "./":
        return "has no name"
    if not name.isprintable():
        return "has a control character in its name"
    if any(len(os.fsencode(part)) > 255 for part in path.parts):
        return "has a name of more than 255 bytes"
    return None


def _write(member: _Member, target: Path) -> Row:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with member.read() as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
        if file.tell() != member.size:
            raise _RefusedError(f"unpacks to {file.tell()} bytes, where {member.size} are declared")
    return member.name, member.size, digest.hexdigest()


def _zip_members(path: Path, most: int) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = info.external_attr >> 28  # of Unix's modes
            problem = "is encrypted" if info.flag_bits & 1 else "is a link" if kind == 0o12 else None
            if kind not in (0, 0o4, 0o10, 0o12):
                problem = "is a device or a pipe"
            yield _Member(info.filename, info.file_size, problem, partial(archive.open, info))


def _tar_members(path: Path, most: int) -> Iterator[_Member]:
    with _decompressed(path) as stream:
        metered = _Metered(stream, most)
        with tarfile.open(fileobj=metered, mode="r:") as archive:
            yield from map(partial(_tar_member, archive), archive)
        if metered.last.strip(b"\0") or not metered.last:  # tarfile does not mind
            raise tarfile.ReadError("it ends without the mark of a tar's end")
        while metered.read(HEADER):  # to the checksum of the compression
            pass


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    problem = None if info.isreg() or info.isdir() else "is a device or a pipe"
    if info.issym() or info.islnk():
        problem = "is a link"
    name = info.name.removeprefix("./") + ("/" if info.isdir() else "")
    return _Member(name, info.size, problem, partial(_opened, archive, info))


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    return cast(IO[bytes], archive.extractfile(info))


def _decompressed(path: Path) -> IO[bytes]:
    """Open a tar by what it is compressed with, told by its first bytes."""
    with path.open("rb") as file:
        start = file.read(6)
    ways: dict[bytes, Callable[[Path], object]] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ\0": lzma.open}
    way = next((way for magic, way in ways.items() if start.startswith(magic)), lambda path: path.open("rb"))
    return cast(IO[bytes], way(path))


class _Metered(io.RawIOBase):
    """A stream of which no more is read than was agreed, at once or in all: a bomb ends here."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._left = stream, most + HEADER + most // 8  # headers and padding, too
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > HEADER:
            raise _RefusedError(f"has a header of {size} bytes, expected at most {HEADER}")
        data = self._stream.read(size)
        self._left, self.last = self._left - len(data), data
        if self._left < 0:
            raise _RefusedError("unpacks to more bytes than extract.max_bytes allows")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()
