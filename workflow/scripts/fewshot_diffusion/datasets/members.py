"""Files of a data set, in a folder or in a zip: listed once, read as images with errors that name the file."""

import io
import zipfile
from pathlib import Path

from PIL import Image

from ..errors import DataError


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

    def names(self) -> list[str]:
        """Return the paths of all files, sorted, with forward slashes."""
        if self._archive is not None:
            return sorted(name for name in self._archive.namelist() if not name.endswith("/"))
        return sorted(file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file())

    def folders(self, parent: str) -> list[str]:
        """Return the names of the folders in ``parent``, sorted, empty ones included."""
        if self._archive is None:
            inside = self.path / parent
            return sorted(path.name for path in inside.iterdir() if path.is_dir()) if inside.is_dir() else []
        parts = [name.removeprefix(f"{parent}/").split("/") for name in self._archive.namelist()
                 if name.startswith(f"{parent}/")]  # fmt: skip
        return sorted({found[0] for found in parts if len(found) > 1})

    def read(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            DataError: If it is missing or damaged.
        """
        try:
            return (self.path / name).read_bytes() if self._archive is None else self._archive.read(name)
        except (OSError, KeyError, zipfile.BadZipFile) as error:
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
