"""Which labelled images a head learns from, which are held out, and how well it tells them."""

import torch
from torch import Tensor

from ..data.image_set import ImageSet

JUDGED_WITH = 5
"""One image in so many of those held out says how far to trust the judge; the others train it."""


def shots_of(ids: Tensor, having: Tensor, most: int) -> Tensor:
    """Return which images a head learns from: the first of each kind in the order of their hashed names, bool [N].

    Args:
        ids: Hashed names, int64 [N].
        having: Whether each image has the attribute, bool [N].
        most: Images of each kind, at most.
    """
    chosen = torch.zeros(len(ids), dtype=torch.bool)
    for kind in (having, ~having):
        positions = kind.nonzero().flatten()
        chosen[positions[ids[positions].argsort()][:most]] = True
    return chosen


def held_out_of(labelled: ImageSet, attribute: str, most: int) -> ImageSet:
    """Return the images of an attribute from which its head has learned nothing, in the order of their hashed names."""
    held_out = labelled.select(~shots_of(labelled.ids, labelled.mask(attribute, True), most))
    return held_out.select(held_out.ids.argsort())


def balanced(right: Tensor, having: Tensor) -> float:
    """Return the mean of the accuracies on images with and without an attribute, 0..1.

    Args:
        right: Whether each image is told right, or how often, [N].
        having: Whether it has the attribute, bool [N].
    """
    return float((right[having].double().mean() + right[~having].double().mean()) / 2)
