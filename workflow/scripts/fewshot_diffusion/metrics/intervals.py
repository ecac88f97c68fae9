"""95 % intervals: Wilson's for shares, bootstrap for distances."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import MetricError
from ..seeds import generator

Z95 = 1.96  # 95 % of a normal distribution lies within this many standard deviations


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def wilson_interval(successes: int, n: int) -> Interval:
    """Return a share with its 95 % Wilson score interval, which stays within [0, 1].

    Raises:
        MetricError: Unless 0 <= successes <= n and n > 0.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if n < 1 or not 0 <= successes <= n:
        raise MetricError(f"Share: found {successes} of {n}, expected 0 <= successes <= n and n > 0.")
    share, shrink = successes / n, 1 + Z95**2 / n
    centre = (share + Z95**2 / (2 * n)) / shrink
    half = Z95 * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2)) / shrink
    # At 0 and n successes a bound equals the share up to rounding, which must not push it outside.
    return Interval(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def bootstrap_interval(distance: Callable[[Tensor], float], n: int, replicates: int, seed: int) -> Interval:
    """Return a distance with value +- 1.96 bootstrap standard deviations.

    Args:
        distance: How often each image counts, float64 [n] with sum n -> the distance; NaN if that has none.
        n: Images.
        replicates: Resamples with replacement, at least 2.
        seed: Seed of the resampling.

    Raises:
        MetricError: If fewer than 2 replicates are asked for, or have a distance.
    """
    if replicates < 2:
        raise MetricError(f"Bootstrap: found {replicates} replicates, expected at least 2.")
    value = distance(torch.ones(n, dtype=torch.float64))
    stream = generator("bootstrap", seed)
    draws = [torch.randint(n, (n,), generator=stream) for _ in range(replicates)]
    counts = [torch.bincount(draw, minlength=n).to(torch.float64) for draw in draws]
    half = Z95 * _standard_deviation([distance(count) for count in counts])
    return Interval(value, value - half, value + half)


def _standard_deviation(values: list[float]) -> float:
    # A resample that repeats a single image has no distance; it happens for a handful of images only.
    usable = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    if len(usable) < 2:
        raise MetricError(f"Bootstrap: found {len(usable)} usable replicates, expected at least 2; draw more images.")
    return float(usable.std())
