"""Sources whose images are there: where each kind is listed.

A new kind is a section in ``config/data.py``, a module here, a line in the table below, and an overlay.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..config.data import Source
from .celeba import list_faces
from .celebamask import list_masked_faces
from .image_folder import list_class_images
from .index import SourceIndex
from .mask_folder import list_pairs
from .mirrors import list_mirror
from .photos import list_photos

LISTINGS: dict[str, Callable[[Any, Sequence[str]], SourceIndex]] = {
    "celebahq": list_faces,
    "celebamask": list_masked_faces,
    "mask_folder": list_pairs,
    "parquet": list_mirror,
    "image_folder": list_class_images,
    "folder": list_photos,
}
"""Kind of source -> (its section, attributes that are needed) -> what is there."""


def list_source(settings: Source, attributes: Sequence[str]) -> SourceIndex:
    """List the images of a source, without opening any.

    Args:
        settings: Section of its kind.
        attributes: Attributes whose labels are needed.

    Raises:
        DataError: If a file is missing or malformed.
    """
    return LISTINGS[settings.kind](settings, attributes)
