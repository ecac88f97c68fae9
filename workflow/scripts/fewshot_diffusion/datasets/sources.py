"""From the configured source to one split: where each kind of data set is chosen."""

from ..config import AvatarsConfig, DataConfig
from .avatars import draw_avatars
from .base import ImageSet
from .celebahq import read_faces


def make_split(settings: DataConfig, split: str) -> ImageSet:
    """Render or read one split of the configured data set; splits are disjoint by id.

    Raises:
        DataError: If a source file is missing or malformed, or has too few images.
    """
    source = settings.source
    if isinstance(source, AvatarsConfig):
        return draw_avatars(source, settings.image_size, settings.split_range(split))
    return read_faces(source, settings.image_size, settings.split_range(split))
