"""Masks whose parts have a file each: merged into class ids."""

import numpy as np
from PIL import Image

from ..errors import DataError
from .index import Row
from .loading import Pixels, open_image, read_shape


def merge_parts(row: Row, image_size: int) -> Pixels:
    """Return a face's mask, uint8 [image_size, image_size]: 0 where there is no part, of several the last one's id.

    A part is where its file is not black; each pixel is the nearest one, so that no id is invented.

    Raises:
        DataError: If a file is missing or damaged, or of another size than the others, or the image is not square.
    """
    place = row.members
    width, height = read_shape(place.read(row.file), place.where(row.file)).size
    if width != height:
        raise DataError(f"{place.where(row.file)}: found {width} x {height} pixels, expected a square.")
    ids: Pixels | None = None
    for label, file in row.masks:
        part = np.asarray(open_image(place.read(file), place.where(file)).convert("L"))
        side = len(part) if ids is None else len(ids)
        if part.shape != (side, side):
            found = f"{part.shape[1]} x {part.shape[0]}"
            raise DataError(f"{place.where(file)}: found {found} pixels, expected {side} x {side}, as of its sisters.")
        ids = np.zeros_like(part) if ids is None else ids
        ids[part > 0] = label
    merged = np.zeros((1, 1), dtype=np.uint8) if ids is None else ids
    return np.asarray(Image.fromarray(merged).resize((image_size, image_size), Image.Resampling.NEAREST))
