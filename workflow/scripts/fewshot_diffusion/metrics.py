"""Frechet and kernel distances between feature sets, and 95 % intervals.

Everything is float64 on the CPU: a distance is a small difference of large traces.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import MetricError
from .seeds import generator

Z95 = 1.96  # 95 % of a normal distribution lies within this many standard deviations


@dataclass(frozen=True)
class FeatureStatistics:
    """First two moments of a feature set.

    Attributes:
        mu: Mean, float64 [D].
        sigma: Unbiased covariance, float64 [D, D].
        n: Images behind them, at least 2; bounds the rank of ``sigma``.

    Raises:
        MetricError: If n < 2, the shapes disagree or an entry is not finite.
    """

    mu: Tensor
    sigma: Tensor
    n: int

    def __post_init__(self) -> None:
        _require_two(self.n)
        if self.mu.ndim != 1 or self.sigma.shape != (len(self.mu), len(self.mu)):
            raise MetricError(
                f"Statistics: found mu {list(self.mu.shape)} and sigma {list(self.sigma.shape)}, "
                "expected [D] and [D, D]."
            )
        _require_finite(self.mu)
        _require_finite(self.sigma)


class StreamingStatistics:
    """Mean and covariance of features that arrive in batches; order and batch size change rounding only.

    Sums of centred products are merged pairwise, because a plain sum of squares cancels
    when the mean is large against the spread.

    Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm".
    """

    def __init__(self, dim: int) -> None:
        self.n = 0
        self._mu = torch.zeros(dim, dtype=torch.float64)
        self._scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Add a batch, [B, D]; B may be 0.

        Raises:
            MetricError: If the dimension is not D or a feature is not finite; nothing is added then.
        """
        rows = _checked(features, len(self._mu))
        if len(rows):
            mu = rows.mean(0)
            centred = rows - mu
            self._add(len(rows), mu, centred.T @ centred)

    def merge(self, other: "StreamingStatistics") -> None:
        """Add everything that ``other`` has seen.

        Raises:
            MetricError: If ``other`` has another dimension.
        """
        if len(other._mu) != len(self._mu):
            raise MetricError(f"Statistics: found dimension {len(other._mu)}, expected {len(self._mu)}.")
        if other.n:
            self._add(other.n, other._mu, other._scatter)

    def result(self) -> FeatureStatistics:
        """Return the statistics so far.

        Raises:
            MetricError: If fewer than two images were seen.
        """
        _require_two(self.n)
        sigma = (self._scatter + self._scatter.T) / (2 * (self.n - 1))
        return FeatureStatistics(self._mu.clone(), sigma, self.n)

    def _add(self, n: int, mu: Tensor, scatter: Tensor) -> None:
        total = self.n + n
        delta = mu - self._mu
        self._scatter = self._scatter + scatter + torch.outer(delta, delta) * (self.n * n / total)
        self._mu = self._mu + delta * (n / total)
        self.n = total


@dataclass(frozen=True)
class ReferenceRoot:
    """What a Frechet distance needs of the reference, computed once.

    Attributes:
        mu: Mean, float64 [D].
        trace: Trace of the covariance.
        root: Symmetric square root R of the covariance, float64 [D, D].
        rank: Upper bound of R's rank.
    """

    mu: Tensor
    trace: float
    root: Tensor
    rank: int

    @classmethod
    def from_statistics(cls, statistics: FeatureStatistics) -> "ReferenceRoot":
        """Decompose the reference covariance; costs about 10 D^3 operations."""
        rank = min(len(statistics.mu), statistics.n - 1)
        values, vectors = torch.linalg.eigh(_float64(statistics.sigma))
        # Eigenvalues beyond the rank are rounding, and a square root would magnify them.
        values, vectors = values[-rank:].clamp(min=0), vectors[:, -rank:]
        root = (vectors * values.sqrt()) @ vectors.T
        return cls(_float64(statistics.mu), float(statistics.sigma.trace()), root, rank)


def frechet_distance(generated: FeatureStatistics, reference: FeatureStatistics) -> float:
    """Return the Frechet distance of two Gaussians.

    |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^(1/2), the last trace being the sum of the
    square roots of the eigenvalues of R S_1 R with R = S_2^(1/2): symmetric, so never imaginary.

    Args:
        generated: Statistics of the generated images, dimension D.
        reference: Statistics of the real images, dimension D.

    Raises:
        MetricError: If the dimensions differ.

    Source: Heusel et al. 2017, equation 6.
    """
    if len(generated.mu) != len(reference.mu):
        raise MetricError(f"Statistics: found dimension {len(generated.mu)}, expected {len(reference.mu)}.")
    root = ReferenceRoot.from_statistics(reference)
    sigma = _float64(generated.sigma)
    overlap = _root_trace(root.root @ sigma @ root.root, min(root.rank, generated.n - 1))
    shift = (_float64(generated.mu) - root.mu).square().sum()
    return float(shift + sigma.trace() + root.trace - 2 * overlap)


def frechet_to_reference(features: Tensor, root: ReferenceRoot) -> float:
    """Return the Frechet distance of a feature set to a prepared reference.

    The eigenvalues come from (X_c R)(X_c R)^T / (n - 1), n x n, where n <= D, else from the D x D
    form: the nonzero ones are the same, at a fraction of the cost.

    Args:
        features: Features of the generated images, [n, D].
        root: The prepared reference.

    Raises:
        MetricError: If n < 2, the dimension is not D or a feature is not finite.

    Source: Heusel et al. 2017, equation 6.
    """
    return _ResampledFrechet(features, root).distance(torch.ones(len(features), dtype=torch.float64))


def kernel_distance(features_a: Tensor, features_b: Tensor) -> float:
    """Return the unbiased squared maximum mean discrepancy; it may be slightly negative.

    mean_{i != j} k(a_i, a_j) + mean_{i != j} k(b_i, b_j) - 2 mean_{i, j} k(a_i, b_j),
    k(x, y) = (x . y / D + 1)^3

    Args:
        features_a: Features of one set, [n, D].
        features_b: Features of the other set, [m, D].

    Raises:
        MetricError: If a set has fewer than 2 images, the dimensions differ or a feature is not finite.

    Source: Binkowski et al. 2018, "Demystifying MMD GANs", section 4.
    """
    return _ResampledKernel(features_a, features_b).distance(torch.ones(len(features_a), dtype=torch.float64))


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap_frechet(features: Tensor, root: ReferenceRoot, replicates: int, seed: int) -> Interval:
    """Return the Frechet distance with a 95 % interval over the generated images.

    value +- 1.96 bootstrap standard deviations, the reference held fixed. Not percentiles: resampling
    with replacement repeats images, which lowers the rank of the covariance and shifts every replicate
    upward, so that percentiles need not contain the value. The interval is rather too wide than too
    narrow where the distance is small against that shift, that is for few images of a close match.

    Args:
        features: Features of the generated images, [n, D].
        root: The prepared reference.
        replicates: Bootstrap resamples, at least 2.
        seed: Seed of the resampling.

    Raises:
        MetricError: If n < 2, replicates < 2, the dimension is not D or a feature is not finite.

    Source: Efron & Tibshirani 1993, section 12.5 (standard normal interval).
    """
    return _bootstrap(_ResampledFrechet(features, root).distance, len(features), replicates, seed)


def bootstrap_kernel(features: Tensor, reference: Tensor, replicates: int, seed: int) -> Interval:
    """Return the kernel distance with a 95 % interval over the generated images.

    value +- 1.96 bootstrap standard deviations, the reference held fixed. Pairs of an image with its own
    copy are left out of a replicate: k(x, x) is larger than k(x, y), and would shift replicates upward.

    Args:
        features: Features of the generated images, [n, D].
        reference: Features of the real images, [m, D].
        replicates: Bootstrap resamples, at least 2.
        seed: Seed of the resampling.

    Raises:
        MetricError: If n, m or replicates < 2, the dimensions differ or a feature is not finite.

    Source: Efron & Tibshirani 1993, section 12.5 (standard normal interval).
    """
    return _bootstrap(_ResampledKernel(features, reference).distance, len(features), replicates, seed)


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


class _ResampledFrechet:
    """Frechet distance as a function of how often each image counts; X R is projected once."""

    def __init__(self, features: Tensor, root: ReferenceRoot) -> None:
        rows = _checked(features, len(root.mu))
        _require_two(len(rows))
        mu = rows.mean(0)
        self._reference = root
        self._shift = mu - root.mu
        self._centred = rows - mu
        self._projected = self._centred @ root.root

    def distance(self, weights: Tensor) -> float:
        """Return the distance of the images counted ``weights`` times, float64 [n], with sum n."""
        drawn = weights.nonzero().flatten()
        if len(drawn) < 2:
            return float("nan")
        scale, n = weights[drawn, None], float(weights.sum())
        move = weights @ self._centred / n
        spread = (scale * (self._centred[drawn] - move).square()).sum() / (n - 1)
        rows = (scale / (n - 1)).sqrt() * (self._projected[drawn] - weights @ self._projected / n)
        overlap = _root_trace(_smaller_gram(rows), min(self._reference.rank, len(drawn) - 1))
        return float((self._shift + move).square().sum() + spread + self._reference.trace - 2 * overlap)


class _ResampledKernel:
    """Unbiased MMD^2 as a function of how often each image counts; kernels are computed once."""

    def __init__(self, features: Tensor, reference: Tensor) -> None:
        a, b = _checked(features, None), _checked(reference, None)
        _checked(b, a.shape[1])
        _require_two(len(a))
        _require_two(len(b))
        self._within = _polynomial_kernel(a, a).fill_diagonal_(0)
        self._across = _polynomial_kernel(a, b).mean(1)
        self._reference = _polynomial_kernel(b, b).fill_diagonal_(0).sum() / (len(b) * (len(b) - 1))

    def distance(self, weights: Tensor) -> float:
        """Return the distance of the images counted ``weights`` times, float64 [n]."""
        n = weights.sum()
        pairs = n.square() - weights.square().sum()
        if pairs == 0:
            return float("nan")
        within = weights @ self._within @ weights / pairs
        return float(within + self._reference - 2 * (weights @ self._across) / n)


def _bootstrap(distance: Callable[[Tensor], float], n: int, replicates: int, seed: int) -> Interval:
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


def _smaller_gram(rows: Tensor) -> Tensor:
    return rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows


def _root_trace(matrix: Tensor, rank: int) -> Tensor:
    """Return tr M^(1/2) of a symmetric M >= 0 of at most this rank; the other eigenvalues are rounding."""
    symmetric = (matrix + matrix.T) / 2
    values: Tensor = torch.linalg.eigvalsh(symmetric)[-rank:]
    return values.clamp(min=0).sqrt().sum()


def _polynomial_kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _checked(features: Tensor, dim: int | None) -> Tensor:
    """Return features as float64 [B, D] on the CPU after checking them; ``dim`` None takes any D."""
    if features.ndim != 2 or (dim is not None and features.shape[1] != dim):
        expected = "D" if dim is None else dim
        raise MetricError(f"Features: found shape {list(features.shape)}, expected [N, {expected}].")
    _require_finite(features)
    return _float64(features)


def _float64(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float64)


def _require_finite(values: Tensor) -> None:
    bad = int((~values.isfinite()).sum())
    if bad:
        raise MetricError(
            f"Features: found {bad} of {values.numel()} values that are NaN or infinite, expected none. "
            "Look at the generated images: a sampler that diverged produces them."
        )


def _require_two(n: int) -> None:
    if n < 2:
        raise MetricError(f"Features: found {n} image(s), expected at least 2; raise evaluation.samples.")


def frechet_name(extractor: str) -> str:
    """Return the column name of the Frechet distance: ``fid`` for Inception alone."""
    return "fid" if extractor == "inception" else f"fd_{extractor}"


def kernel_name(extractor: str) -> str:
    """Return the column name of the kernel distance: ``kid`` for Inception alone."""
    return "kid" if extractor == "inception" else f"kd_{extractor}"
