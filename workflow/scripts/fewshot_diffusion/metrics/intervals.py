"""95 % intervals: Wilson's for shares, bootstrap for distances, jackknife for what repeated images would distort."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Bootstrapped(Interval):
    """A number with its 95 % interval, and what resamples of the images make of it.

    Attributes:
        replicates: The number of each resample, and their standard deviation is that of the number; those of the same
            n, replicates and seed count the same images.
    """

    replicates: tuple[float, ...] = field(default=(), repr=False)


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


def bootstrap_interval(distance: Callable[[Tensor], float], n: int, replicates: int, seed: int) -> Bootstrapped:
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
    found = tuple(distance(count) for count in counts)
    half = Z95 * _standard_deviation(found)
    return Bootstrapped(value, value - half, value + half, found)


def jackknife_interval(value: float, left_out: Sequence[float], most: float = math.inf) -> Bootstrapped:
    """Return a number with value +- 1.96 jackknife standard errors, within [0, most].

    s^2 = (G - 1) / G sum_g (theta_g - mean)^2 of G groups. The replicates are value + (G - 1) / sqrt(G)
    (theta_g - mean): so far apart that their standard deviation is s, as that of a bootstrap's replicates is. For 20
    groups, Student's t would make the interval 7 % wider.

    Args:
        value: The number of all images, 0..most.
        left_out: theta_g: the number without group g, for each group, at least 2.
        most: The largest value that the number can have.

    Raises:
        MetricError: If there are fewer than 2 groups.

    Source: Efron & Tibshirani 1993, chapter 11.
    """
    groups = torch.tensor(left_out, dtype=torch.float64)
    scale = (len(left_out) - 1) / math.sqrt(max(1, len(left_out)))
    replicates = tuple((value + scale * (groups - groups.mean())).tolist())
    half = Z95 * _standard_deviation(replicates)
    return Bootstrapped(value, max(0.0, value - half), min(most, value + half), replicates)


def difference_interval(first: Bootstrapped, second: Bootstrapped, paired: bool) -> Interval:
    """Return by how much one resampled number exceeds another, with value +- 1.96 standard deviations.

    Paired numbers are resampled together, so that what both have in common cancels; of others the variances add:
    s^2 = s^2(first - second), or s^2(first) + s^2(second).

    Args:
        first: The number that the other is subtracted from.
        second: The other.
        paired: Whether image i of one belongs to image i of the other, as samples of one seed do.

    Raises:
        MetricError: If numbers are paired, and their resamples are not as many.

    Source: Efron & Tibshirani 1993, section 12.5 (standard normal interval).
    """
    value = first.value - second.value
    if paired:
        if len(first.replicates) != len(second.replicates):
            raise MetricError(f"Bootstrap: found {len(first.replicates)} and {len(second.replicates)} replicates.")
        both = zip(first.replicates, second.replicates, strict=True)
        half = Z95 * _standard_deviation([one - other for one, other in both])
    else:
        half = Z95 * math.hypot(*(_standard_deviation(one.replicates) for one in (first, second)))
    return Interval(value, value - half, value + half)


def _standard_deviation(values: Sequence[float]) -> float:
    # A resample that repeats a single image has no distance; it happens for a handful of images only.
    usable = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    if len(usable) < 2:
        raise MetricError(f"Bootstrap: found {len(usable)} usable replicates, expected at least 2; draw more images.")
    return float(usable.std())
