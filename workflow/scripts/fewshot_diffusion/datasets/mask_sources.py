"""From the configured source to the masks of one split: where each kind of data set is chosen."""

import torch

from ..config import AvatarsConfig, DataConfig
from ..errors import DataError
from .avatar_masks import draw_masks
from .masks import MaskSet


def make_masks(settings: DataConfig, split: str) -> MaskSet:
    """Draw the masks of one split; their ids are those of the split's images.

    Raises:
        DataError: If the data set has no masks, or its parts are not those of the style.
    """
    source = settings.source
    if not isinstance(source, AvatarsConfig):
        raise DataError(f"data.kind: {settings.kind!r} has no masks; expected avatars.")
    ids = settings.split_range(split)
    masks = draw_masks(source, settings.image_size, ids)
    return MaskSet(masks, torch.tensor(list(ids)), ["background", *source.parts])
