"""The files of a data set, in a folder or in a zip: listed once and by the same rules, read with errors that name them.

Needs neither Pillow nor torch, so that a plan can be made of it.
"""

import hashlib
import logging
import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from unicodedata import category, normalize

from ..errors import DataError

MAX_BYTES = 2**26  # of one file: an archive may unpack to a thousand times its size
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
PARTS = {"train", "val", "test", "images", "masks"}  # folders that mean something; any other alone is a wrapper
CLUTTER = {
    "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db",
    "desktop.ini", "icon\r",
}  # fmt: skip
"""What systems leave beside files, in lower case; names that begin with a dot are hidden, too."""

# What zipfile and its decompressors raise on damaged archives; RuntimeError: encrypted, or an unknown compression.
_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, IndexError, OverflowError, RuntimeError, zipfile.BadZipFile, struct.error,
    zlib.error, lzma.LZMAError,
)  # fmt: skip

log = logging.getLogger(__name__)

Found = Path | zipfile.ZipInfo


class Place(Protocol):
    """What holds the images of a source, each by a name; see ``Members``.

    Attributes:
        path: Where people find it.
        left_out: Number of files that are not listed.
    """

    path: Path
    left_out: int

    def prepare(self, names: Iterable[str]) -> None:
        """Make ready what will be read, where that is faster at once."""

    def where(self, name: str) -> str:
        """Return what errors call a file."""

    def read(self, name: str) -> bytes:
        """Return a file's content."""

    def size(self, name: str) -> int:
        """Return a file's length in bytes."""

    def checksum(self, name: str) -> str:
        """Return what changes with a file's content."""

    def stamp(self, name: str) -> str:
        """Return what changes when a file is replaced."""


class Members:
    """The files of a folder or of a zip, by their path inside it.

    Clutter is left out, links of folders are followed, and a folder that holds all others can be taken off the names.

    Attributes:
        path: The folder or zip.
        left_out: Number of hidden files and other clutter that are not listed.
    """

    def __init__(self, path: Path, unwrap: bool = True) -> None:
        """List the files; ``unwrap`` takes a folder that holds all others off their names.

        Raises:
            DataError: If the path is missing or unreadable, or a name leads out of an archive, is that of a link in
                it, has control characters, or stands twice.
        """
        self.path = path
        self.left_out = 0
        self._archive, listed = _listed(path)
        visible = {name: found for name, found in listed if self._is_taken(name)}
        self._top = _wrapper(visible) if unwrap else ""
        self._files: dict[str, Found] = {}
        self._folders = {""}
        for name, found in sorted(listed, key=lambda item: not item[0].startswith(self._top)):
            if name in visible:
                self._add(name, found)

    def _is_taken(self, name: str) -> bool:
        clutter = _is_clutter(name)
        self.left_out += clutter and not name.endswith("/")
        return not clutter

    def _add(self, name: str, found: Found) -> None:
        if not name.isprintable() and any(category(character) in ("Cc", "Cs") for character in name):
            raise _refusal(self.path, name, "has a control character in its name, or one that is not UTF-8")
        inside = name.removeprefix(self._top)
        self._add_folder(inside.rpartition("/")[0])
        if inside in self._files and name.startswith(self._top):
            raise _refusal(self.path, name, "stands in it twice")
        if inside and not inside.endswith("/"):
            self._files.setdefault(inside, found)  # a stray README gives way to the one of the data set

    def _add_folder(self, inside: str) -> None:
        while inside not in self._folders:
            self._folders.add(inside)
            inside = inside.rpartition("/")[0]

    def names(self) -> list[str]:
        """Return the paths of all files, sorted, with forward slashes, in Unicode's composed form (NFC)."""
        return sorted(self._files)

    def folders(self, parent: str) -> list[str]:
        """Return the names of the folders in ``parent`` ("": the top), sorted, empty ones included."""
        inside = _plain(parent)
        return sorted(path.rpartition("/")[2] for path in self._folders if path and path.rpartition("/")[0] == inside)

    def find(self, name: str) -> str | None:
        r"""Return a file's name in ``names()``, given it as lists write it.

        That is decomposed, with ``./`` or the wrapping folder before it, or with ``\``; None if there is no such file.
        """
        plain = _plain(name)
        tried = (plain, plain.removeprefix(self._top), _plain(name.replace("\\", "/")).removeprefix(self._top))
        return next((candidate for candidate in tried if candidate in self._files), None)

    def prepare(self, _names: Iterable[str]) -> None:
        """Do nothing: files are read one by one as fast as at once."""

    def where(self, name: str) -> str:
        """Return what errors call a file."""
        return f"{self.path}, {name}"

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            DataError: If it is missing, damaged or too large.
        """
        # No more than an archive declares is ever unpacked.
        if (size := self.size(name)) > MAX_BYTES:
            raise DataError(f"{self.where(name)}: found {size} bytes, expected at most {MAX_BYTES}.")
        found = self._found(name)
        try:
            return found.read_bytes() if isinstance(found, Path) else self._unpacked(found)
        except _UNREADABLE as error:
            raise self._unreadable(name, error) from error

    def size(self, name: str) -> int:
        """Return a file's length in bytes; raise ``DataError`` if it is missing."""
        found = self._found(name)
        try:
            return found.stat().st_size if isinstance(found, Path) else found.file_size
        except OSError as error:
            raise self._unreadable(name, error) from error

    def checksum(self, name: str) -> str:
        """Return what changes with a file's content, in hexadecimal: SHA-256, or CRC-32 as a zip's directory has it.

        Raises:
            DataError: If the file is missing or cannot be read.
        """
        found = self._found(name)
        if not isinstance(found, Path):
            return f"{found.CRC:08x}"
        try:
            with found.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise self._unreadable(name, error) from error

    def stamp(self, name: str) -> str:
        """Return what changes when a file is replaced, without reading it; raise ``DataError`` if it is missing."""
        found = self._found(name)
        if not isinstance(found, Path):
            return f"{found.CRC:08x}"
        try:
            status = found.stat()
        except OSError as error:
            raise self._unreadable(name, error) from error
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"

    def _found(self, name: str) -> Found:
        listed = self.find(name)
        if listed is None:
            raise self._unreadable(name, "there is no such file in it")
        return self._files[listed]

    def _unpacked(self, member: zipfile.ZipInfo) -> bytes:
        assert self._archive is not None
        return self._archive.read(member)

    def _unreadable(self, name: str, why: object) -> DataError:
        return DataError(f"{self.where(name)}: cannot be read ({why}).")


def log_left_out(listed: Iterable[Place]) -> None:
    """Say once how many files of a data set are not looked at."""
    for members in listed:
        if members.left_out:
            log.info("%s: left out %d hidden files", members.path, members.left_out)


def is_image(name: str) -> bool:
    """Whether a file's name ends as those of images do."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def _listed(path: Path) -> tuple[zipfile.ZipFile | None, list[tuple[str, Found]]]:
    """Return everything in a folder or zip, and the zip; names of folders end in a slash."""
    try:
        if path.is_dir():
            return None, list(_walk(path, "", ()))
        if path.exists():
            archive = zipfile.ZipFile(path)
            return archive, [(_name_in_zip(path, member), member) for member in archive.infolist()]
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a readable archive ({error}). Expected a folder or a .zip.") from error
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error}).") from error
    place = "" if path.is_absolute() else f" in {Path.cwd()}"
    raise DataError(f"{path}: there is no such file or folder{place}. Correct the path.")


def _walk(folder: Path, inside: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, Found]]:
    """Yield all below a folder, links followed; not again below itself, where a link leads back."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in os.scandir(folder):
        path, name = folder / entry.name, inside + normalize("NFC", entry.name)
        is_link = entry.is_symlink()
        if path.is_dir() if is_link else entry.is_dir():
            yield f"{name}/", path
            yield from _walk(path, f"{name}/", (*above, here))
        elif is_link or entry.is_file():  # a link to nothing is listed, too: reading it says so
            yield name, path


def _name_in_zip(path: Path, member: zipfile.ZipInfo) -> str:
    name = member.filename
    if not (name.isascii() or member.flag_bits & 0x800):  # not marked as UTF-8, which some systems write nevertheless
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    name = name.replace("\\", "/")
    if re.match("/|[A-Za-z]:/", name) or ".." in name.split("/"):
        raise _refusal(path, name, "leads out of the archive")
    inside = _plain(name)
    if member.flag_bits & 1:
        raise _refusal(path, name, "is encrypted")
    if stat.S_ISLNK(member.external_attr >> 16) and not _is_clutter(inside):
        raise _refusal(path, name, "is a link")
    return inside + "/" * name.endswith("/")


def _plain(name: str) -> str:
    """Return a path without ``.`` and empty parts, in Unicode's composed form."""
    return normalize("NFC", "/".join(part for part in name.split("/") if part not in ("", ".")))


def _is_clutter(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in CLUTTER for part in name.split("/"))


def _wrapper(names: Iterable[str]) -> str:
    """Return the path of the folder that holds everything but stray texts, as many archives have one."""
    top = ""
    while True:
        below = [name.removeprefix(top) for name in names if name.startswith(top) and name != top]
        folders = {name.split("/", 1)[0] for name in below if "/" in name}
        if len(folders) != 1 or folders & PARTS or any("/" not in name and is_image(name) for name in below):
            return top
        top += f"{folders.pop()}/"


def _refusal(path: Path, name: str, why: str) -> DataError:
    return DataError(f"{path}, {name!r}: {why}. Rename it, or pack the images anew, as plain files.")
