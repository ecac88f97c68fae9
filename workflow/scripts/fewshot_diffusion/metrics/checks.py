"""What every metric demands of features, before it computes in float64."""

import torch
from torch import Tensor

from ..errors import MetricError


def checked_features(features: Tensor, dim: int | None = None) -> Tensor:
    """Return features as float64 [N, D] on the CPU.

    Args:
        features: [N, D], any float type.
        dim: The D that is expected; None takes any.

    Raises:
        MetricError: If the shape is another or a feature is not finite.
    """
    if features.ndim != 2 or (dim is not None and features.shape[1] != dim):
        expected = "D" if dim is None else dim
        raise MetricError(f"Features: found shape {list(features.shape)}, expected [N, {expected}].")
    require_finite(features)
    return to_float64(features)


def to_float64(tensor: Tensor) -> Tensor:
    """Return a tensor in float64 on the CPU: a distance is a small difference of large traces."""
    return tensor.detach().to("cpu", torch.float64)


def require_finite(values: Tensor) -> None:
    """Raise ``MetricError`` if a value is NaN or infinite."""
    bad = int((~values.isfinite()).sum())
    if bad:
        raise MetricError(
            f"Features: found {bad} of {values.numel()} values that are NaN or infinite, expected none. "
            "Look at the generated images: a sampler that diverged produces them."
        )


def require_two(n: int) -> None:
    """Raise ``MetricError`` unless there are two images or more."""
    if n < 2:
        raise MetricError(f"Features: found {n} image(s), expected at least 2; raise evaluation.samples.")
