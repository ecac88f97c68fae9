"""Files of a data set, in a folder or in a zip: listed once, read as images with errors that name the file."""

import io
import zipfile
import zlib
from pathlib import Path

from PIL import Image

from ..errors import DataError

PARTS = {"train", "val", "test", "images", "masks"}  # folders that mean something; any other alone is a wrapper


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive.

    Raises:
        DataError: If it is missing or not readable.
    """
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable archive ({error}). Fetch it again, or correct the path.") from error


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
            DataError: If it is missing or damaged.
        """
        try:
            return (self.path / name).read_bytes() if self._archive is None else self._archive.read(self._top + name)
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # RuntimeError: encrypted
            raise DataError(f"{self.path}, {name}: cannot be read ({error}).") from error

    def image(self, name: str) -> Image.Image:
        """Return a decoded image.

        Raises:
            DataError: If it is truncated or no image.
        """
        try:
            image = Image.open(io.BytesIO(self.read(name)))
            image.load()
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{self.path}, {name}: not a readable image ({error}).") from error
        return image
