"""Files of a data set, in a folder or in a zip: listed once, read as images with errors that name the file."""

import io
import stat
import struct
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path, PurePosixPath

from PIL import Image

from ..errors import DataError

MAX_BYTES = 2**26  # of one file: an archive may unpack to a thousand times its size
MAX_PIXELS = 2**26  # of one image: likewise
FORMATS = ("JPEG", "PNG")

# What Pillow's decoders raise on damaged files.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, OverflowError, IndexError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip

PARTS = {"train", "val", "test", "images", "masks"}  # folders that mean something; any other alone is a wrapper


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        DataError: If it is missing or not readable, or a member's name leads out of it, is a link or stands twice.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable archive ({error}). Fetch it again, or correct the path.") from error
    repeated = {name for name, times in Counter(archive.namelist()).items() if times > 1}
    for member in archive.infolist():
        reason = "stands in it twice" if member.filename in repeated else _objection(member)
        if reason:
            raise DataError(f"{path}, {member.filename!r}: {reason}. Pack the images anew, as plain files.")
    return archive


def _objection(member: zipfile.ZipInfo) -> str | None:
    """Return why a member is not taken: nothing is unpacked, yet such an archive was not made of plain images."""
    inside = PurePosixPath(member.filename)
    if inside.is_absolute() or ".." in inside.parts or "\\" in member.filename:
        return "leads out of the archive"
    if not member.filename.isprintable():
        return "has a control character in its name"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    return None


class Members:
    """The files of a folder or of a zip, by their path inside it."""

    def __init__(self, path: Path) -> None:
        """List the files; a path that is no folder must be a zip."""
        self.path = path
        self._archive = None if path.is_dir() else open_zip(path)
        self._listed = [] if self._archive is None else self._archive.namelist()
        # Many archives hold one folder, named like themselves, that holds the rest.
        tops = {name.split("/", 1)[0] for name in self._listed if "/" in name}
        alone = len(tops) == 1 and all("/" in name for name in self._listed) and not tops & PARTS
        self._top = f"{tops.pop()}/" if alone else ""
        self._listed = [name.removeprefix(self._top) for name in self._listed]

    def names(self) -> list[str]:
        """Return the paths of all files, sorted, with forward slashes."""
        if self._archive is not None:
            return sorted(name for name in self._listed if name and not name.endswith("/"))
        return sorted(file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file())

    def folders(self, parent: str) -> list[str]:
        """Return the names of the folders in ``parent``, sorted, empty ones included."""
        if self._archive is None:
            inside = self.path / parent
            return sorted(path.name for path in inside.iterdir() if path.is_dir()) if inside.is_dir() else []
        inside_it = [name for name in self._listed if name.startswith(f"{parent}/")]
        parts = [name.removeprefix(f"{parent}/").split("/") for name in inside_it]
        return sorted({found[0] for found in parts if len(found) > 1})

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            DataError: If it is missing, damaged or too large.
        """
        try:
            size = self._size(name)
            if size > MAX_BYTES:
                raise DataError(f"{self.path}, {name}: found {size} bytes, expected at most {MAX_BYTES}.")
            return (self.path / name).read_bytes() if self._archive is None else self._archive.read(self._top + name)
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
            raise DataError(f"{self.path}, {name}: cannot be read ({error}).") from error

    def image(self, name: str) -> Image.Image:
        """Return a decoded image.

        Raises:
            DataError: If it is truncated, too large or no image.
        """
        data = self.read(name)
        try:
            with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
                image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise OSError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS}")
            image.load()
        except _UNREADABLE as error:
            raise DataError(f"{self.path}, {name}: not a readable image ({error}).") from error
        return image

    def _size(self, name: str) -> int:
        # No more than an archive declares is ever unpacked.
        if self._archive is None:
            if ".." in PurePosixPath(name).parts or not (self.path / name).is_file():
                raise FileNotFoundError("there is no such file in it")
            return (self.path / name).stat().st_size
        return self._archive.getinfo(self._top + name).file_size
