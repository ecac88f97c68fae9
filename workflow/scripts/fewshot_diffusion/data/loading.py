"""Images and masks from files of any kind that cameras and tools write: one loader for every reader."""

import io
import logging
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from ..config.base import Fit
from ..errors import DataError

MAX_PIXELS = 2**26  # of one image: a file may unpack to a thousand times its size
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
IGNORED = 255
"""The id in a loaded mask of pixels that have no class."""
Pixels = np.ndarray[Any, Any]
Changes = Counter[str]
"""What was done to how many images, in words."""

# What Pillow's decoders raise on damaged files.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError, OverflowError, IndexError, AttributeError,
    ZeroDivisionError, RuntimeError, MemoryError, NotImplementedError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF's orientation -> what shows the image as it was seen."""

_PACKED = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies the values of grey images of few bits with, but not the one that is transparent."""

log = logging.getLogger(__name__)


def load_image(data: bytes, where: str, image_size: int, fit: Fit = "crop", changes: Changes | None = None) -> Pixels:
    """Decode an image as viewers show it: turned, opaque, in colour; an animated one by its first frame.

    Args:
        data: Content of a file: JPEG, PNG, WebP, BMP, GIF or TIFF.
        where: What errors call it.
        image_size: Height and width to return; resized by Lanczos.
        fit: What is done to images that are not square: keep their middle, change their shape, or refuse them.
        changes: Counts what was done to the image beyond resizing it.

    Returns:
        RGB, uint8 [3, image_size, image_size], 0..255.

    Raises:
        DataError: If it is truncated, too large, no image, or not square with ``fit`` "refuse".
    """
    return image_pixels(open_image(data, where), where, image_size, fit, changes)


def open_image(data: bytes, where: str) -> Image.Image:
    """Decode the (first) image of a file as it is stored.

    Raises:
        DataError: If it is truncated, too large or no image.
    """
    return _opened(data, where)[0]


def _opened(data: bytes, where: str) -> tuple[Image.Image, str]:
    """Return a decoded image, and how its pixels are packed in the file, in Pillow's words ("" if it does not say)."""
    with _decoding(where):
        if data[4:8] == b"ftyp":
            raise OSError("HEIC and AVIF are not read: convert it to JPEG or PNG")
        image = _identified(data)
        if image.width * image.height > MAX_PIXELS:
            raise OSError(f"{image.width} x {image.height} pixels, expected at most {MAX_PIXELS}")
        packing: Any = image.tile[0].args if image.tile else ""
        image.load()
    first = packing[0] if isinstance(packing, tuple) and packing else packing
    if first in _PACKED and isinstance(key := image.info.get("transparency"), int):
        image.info["transparency"] = key * _PACKED[first]
    return image, first if isinstance(first, str) else ""


def _identified(data: bytes) -> ImageFile.ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:  # its message tells of an object in memory
        found = f"it begins with {data[:12]!r}" if data else "it is empty"
        raise OSError(f"{found}; expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}") from None


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Name the file in Pillow's errors; its warnings are of what few people could mend."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except _UNREADABLE as error:
        raise DataError(f"{where}: not a readable image ({error}).") from error


def image_pixels(
    image: Image.Image, where: str, image_size: int, fit: Fit = "crop", changes: Changes | None = None
) -> Pixels:
    """Return an opened image as ``load_image`` does."""
    done: Changes = Counter()
    with _decoding(where):
        colour = _coloured(_turned(image, orientation(image), done), done)
    square = _square(colour, where, fit, done)
    if changes is not None:
        changes.update(done)
    return np.asarray(square.resize((image_size, image_size), Image.Resampling.LANCZOS)).transpose(2, 0, 1)


def log_changes(path: Path, changes: Changes) -> None:
    """Say once what was done to the images of a data set."""
    if changes:
        log.info("%s: %s", path, "; ".join(f"{number} images {what}" for what, number in sorted(changes.items())))


def orientation(image: Image.Image) -> int:
    """Return how EXIF says that an image was held, 1..8; 1: as it is stored."""
    try:
        found = image.getexif().get(0x0112, 1)
    except _UNREADABLE:  # damaged: viewers show the image as it is stored
        return 1
    return found if found in _TURNS else 1


def _turned(image: Image.Image, found: int, done: Changes) -> Image.Image:
    if found == 1:
        return image
    done["turned as EXIF says"] += 1
    return image.transpose(_TURNS[found])


def _coloured(image: Image.Image, done: Changes) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            done["transparent, composited on white"] += 1
            image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    if image.mode != "RGB":
        done["converted to RGB"] += 1
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return grey of up to 65535, or of fractions, in 0..255, and what is transparent of it."""
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    top = 65535.0 if image.mode != "F" else 1.0 if high <= 1 else 255.0
    if not (low >= 0 and high <= top):
        raise ValueError(f"found grey values {low:g} to {high:g}, expected 0 to {top:g}")
    grey = Image.fromarray((values * (255 / top)).round().astype(np.uint8))
    if isinstance(key := image.info.get("transparency"), int):
        grey.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return grey


def _square(image: Image.Image, where: str, fit: Fit, done: Changes) -> Image.Image:
    width, height = image.size
    if width == height:
        return image
    if fit == "refuse":
        raise DataError(f"{where}: found {width} x {height} pixels, expected a square, since fit is refuse.")
    done["cut to the square in their middle" if fit == "crop" else "squashed to a square"] += 1
    if fit == "squash":
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


@dataclass(frozen=True)
class Shape:
    """How an image is stored and held: what its mask must fit.

    Attributes:
        size: Width and height as stored.
        orientation: As EXIF says, 1..8.
    """

    size: tuple[int, int]
    orientation: int


def read_shape(data: bytes, where: str) -> Shape:
    """Return the shape of an image.

    Raises:
        DataError: As ``open_image``.
    """
    image = open_image(data, where)
    with _decoding(where):
        return Shape(image.size, orientation(image))


def load_mask(
    data: bytes, where: str, image_size: int, *, ignore: int | None = None, fit: Fit = "crop",
    image: Shape | None = None,
) -> Pixels:  # fmt: skip
    """Decode a mask: the class ids as they were written, whatever the number of bits.

    Args:
        data: Content of a file without loss and with one channel: PNG, BMP or TIFF, or an array [H, W] as .npy.
        where: What errors call it.
        image_size: Height and width to return; each pixel is the nearest one, so that no id is invented.
        ignore: Value of pixels that have no class; None if all have one.
        fit: As for its image.
        image: Of what image it is the mask. It is turned with it if it fits it only so.

    Returns:
        Class ids, uint8 [image_size, image_size], 0..254; ``IGNORED`` where the file has ``ignore``.

    Raises:
        DataError: If it is no mask, its ids exceed a byte, or its shape is not that of its image.
    """
    ids = (_from_array if data.startswith(b"\x93NUMPY") else _from_image)(data, where, ignore)
    square = _square(ids if image is None else _fitted(ids, image, where), where, fit, Counter())
    return np.asarray(square.resize((image_size, image_size), Image.Resampling.NEAREST))


def _from_image(data: bytes, where: str, ignore: int | None) -> Image.Image:
    stored, packing = _opened(data, where)
    ids = Image.fromarray(_ids(_written(stored, packing, where), where, ignore))
    with _decoding(where):
        return _turned(ids, orientation(stored), Counter())


def _from_array(data: bytes, where: str, ignore: int | None) -> Image.Image:
    """Return the ids of a .npy file; one that is pickled is refused, not opened."""
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except _UNREADABLE as error:
        raise DataError(f"{where}: not a readable array ({error}). Save it by numpy.save.") from error
    if values.ndim != 2 or values.dtype.kind not in "biu" or not values.size:
        raise DataError(
            f"{where}: found {values.dtype} {list(values.shape)}, expected whole numbers [H, W]: class ids."
        )
    return Image.fromarray(_ids(values.astype(np.int64), where, ignore))


def _ids(values: Pixels, where: str, ignore: int | None) -> Pixels:
    named = values[values != ignore]
    most = IGNORED if ignore is None else IGNORED - 1
    if named.size and not 0 <= named.min() <= named.max() <= most:
        found = named.max() if named.min() >= 0 else named.min()
        raise DataError(f"{where}: found the value {found}, expected class ids of 0..{most}.")
    return np.where(values == ignore, IGNORED, values).astype(np.uint8)


def _written(mask: Image.Image, packing: str, where: str) -> Pixels:
    """Return the values of the one channel of a mask, int64, as the file has them."""
    values = np.asarray(mask).astype(np.int64)
    what, channels = "", mask.getbands()
    if mask.format not in ("PNG", "BMP", "TIFF"):
        what = f"{mask.format} changes or reorders ids"
    elif ";16" in packing and len(channels) > 1:
        what = "Pillow halves its 16 bits a channel"
    elif "I" in packing.partition(";")[2]:
        what = "white is stored as 0"
    elif channels[-1] == "A" and values[..., -1].min() < 255:
        what = "it has transparent pixels"
    elif mask.mode in ("RGB", "RGBA") and (values[..., 1:3] != values[..., :1]).any():
        what = "it is in colour"
    elif mask.mode not in ("1", "L", "P", "LA", "RGB", "RGBA", "I") and not mask.mode.startswith("I;"):
        what = f"found mode {mask.mode}"
    if what:
        raise DataError(f"{where}: is not a mask ({what}); expected a grey or palette PNG, whose pixels are class ids.")
    return (values if values.ndim == 2 else values[..., 0]) // _PACKED.get(packing, 1)


def _fitted(mask: Image.Image, image: Shape, where: str) -> Image.Image:
    """Return a mask as its image is shown, whether it was drawn so or as the image is stored."""
    turned = image.orientation >= 5
    shown = image.size[::-1] if turned else image.size
    if _alike(mask.size, shown):
        return mask
    if turned and _alike(mask.size, image.size):
        return mask.transpose(_TURNS[image.orientation])
    raise DataError(
        f"{where}: found {mask.width} x {mask.height} pixels, expected the shape of its image, {shown[0]} x {shown[1]}."
    )


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes have one shape, up to the rounding of a reduced one."""
    return 2 * abs(one[0] * other[1] - one[1] * other[0]) <= max(*one, *other)
