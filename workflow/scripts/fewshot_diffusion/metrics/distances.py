"""Frechet and kernel distances between feature sets, in float64 on the CPU: small differences of large traces."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import MetricError
from .checks import checked_features, require_two, to_float64
from .intervals import Bootstrapped, bootstrap_interval
from .moments import FeatureStatistics


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
        values, vectors = torch.linalg.eigh(to_float64(statistics.sigma))
        # Eigenvalues beyond the rank are rounding, and a square root would magnify them.
        values, vectors = values[-rank:].clamp(min=0), vectors[:, -rank:]
        root = (vectors * values.sqrt()) @ vectors.T
        return cls(to_float64(statistics.mu), float(statistics.sigma.trace()), root, rank)


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
    sigma = to_float64(generated.sigma)
    overlap = _root_trace(root.root @ sigma @ root.root, min(root.rank, generated.n - 1))
    shift = (to_float64(generated.mu) - root.mu).square().sum()
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


def bootstrap_frechet(features: Tensor, root: ReferenceRoot, replicates: int, seed: int) -> Bootstrapped:
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
    return bootstrap_interval(_ResampledFrechet(features, root).distance, len(features), replicates, seed)


def bootstrap_kernel(features: Tensor, reference: Tensor, replicates: int, seed: int) -> Bootstrapped:
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
    return bootstrap_interval(_ResampledKernel(features, reference).distance, len(features), replicates, seed)


class _ResampledFrechet:
    """Frechet distance as a function of how often each image counts; X R is projected once."""

    def __init__(self, features: Tensor, root: ReferenceRoot) -> None:
        rows = checked_features(features, len(root.mu))
        require_two(len(rows))
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
        a, b = checked_features(features), checked_features(reference)
        checked_features(b, a.shape[1])
        require_two(len(a))
        require_two(len(b))
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


def _smaller_gram(rows: Tensor) -> Tensor:
    return rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows


def _root_trace(matrix: Tensor, rank: int) -> Tensor:
    """Return tr M^(1/2) of a symmetric M >= 0 of at most this rank; the other eigenvalues are rounding."""
    symmetric = (matrix + matrix.T) / 2
    values: Tensor = torch.linalg.eigvalsh(symmetric)[-rank:]
    return values.clamp(min=0).sqrt().sum()


def _polynomial_kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3
