"""The fixed random order in which a data set is dealt out to its splits."""

from typing import Any

import numpy as np
import torch

from ..seeds import generator


def fixed_order(ids: np.ndarray[Any, Any], last: set[int]) -> np.ndarray[Any, Any]:
    """Return ids in a fixed random order, in which the splits lie one behind the other.

    The order depends on which ids there are, not on the order they come in, and is the same on every machine: a split
    holds the same images wherever it is read. ``last`` moves some behind all others, without changing the order of
    these: held-out images are in no split that ends before them.

    Args:
        ids: Identities of the images, or their positions in a sorted list, int64 [N].
        last: Those that come last, in the order that they would have had.
    """
    # The stream keeps the name of the data set that it was made for: another name is another order.
    shuffled = np.sort(ids)[torch.randperm(len(ids), generator=generator("celebahq order", 0)).numpy()]
    behind = np.isin(shuffled, list(last))
    return np.concatenate([shuffled[~behind], shuffled[behind]])
