"""The fixed random order in which a data set is dealt out to its splits."""

import numpy as np
import torch

from ..seeds import generator


def fixed_order(ids: np.ndarray, last: set[int]) -> np.ndarray:
    """Return ``ids`` in a fixed random order, those in ``last`` at its end."""
    shuffled = np.sort(ids)[torch.randperm(len(ids), generator=generator("celebahq order", 0)).numpy()]
    behind = np.isin(shuffled, list(last))
    return np.concatenate([shuffled[~behind], shuffled[behind]])
