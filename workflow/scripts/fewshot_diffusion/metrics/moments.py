"""Mean and covariance of features, accumulated in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import MetricError
from .checks import checked_features, require_finite, require_two


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
        require_two(self.n)
        if self.mu.ndim != 1 or self.sigma.shape != (len(self.mu), len(self.mu)):
            raise MetricError(
                f"Statistics: found mu {list(self.mu.shape)} and sigma {list(self.sigma.shape)}, "
                "expected [D] and [D, D]."
            )
        require_finite(self.mu)
        require_finite(self.sigma)


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
        rows = checked_features(features, len(self._mu))
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
        require_two(self.n)
        sigma = (self._scatter + self._scatter.T) / (2 * (self.n - 1))
        return FeatureStatistics(self._mu.clone(), sigma, self.n)

    def _add(self, n: int, mu: Tensor, scatter: Tensor) -> None:
        total = self.n + n
        delta = mu - self._mu
        self._scatter = self._scatter + scatter + torch.outer(delta, delta) * (self.n * n / total)
        self._mu = self._mu + delta * (n / total)
        self.n = total
