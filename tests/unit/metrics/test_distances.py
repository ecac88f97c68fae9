"""Distances against closed forms, pytorch-fid's formula and naive loops."""

import math

import numpy as np
import pytest
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from scipy import linalg
from torch import Tensor

from fewshot_diffusion.errors import MetricError
from fewshot_diffusion.metrics.distances import (
    ReferenceRoot,
    bootstrap_frechet,
    bootstrap_kernel,
    frechet_distance,
    frechet_to_reference,
    kernel_distance,
)
from fewshot_diffusion.metrics.intervals import wilson_interval
from fewshot_diffusion.metrics.moments import FeatureStatistics, StreamingStatistics

torch.set_num_threads(1)
MANY = 10**6  # as if infinitely many images were behind the statistics


def normal(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(n: int, dim: int, seed: int, shift: float = 0.0) -> Tensor:
    """Features whose covariance has a decaying spectrum, as real features have."""
    scales = (1 + torch.arange(dim, dtype=torch.float64)).rsqrt()
    return (normal(n, dim, seed) * scales) @ torch.linalg.qr(normal(dim, dim, 99)).Q + shift


def statistics(features: Tensor) -> FeatureStatistics:
    streaming = StreamingStatistics(features.shape[1])
    streaming.update(features)
    return streaming.result()


def reference_formula(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """pytorch-fid's own function where it works; SciPy 1.18 removed the argument that it passes."""
    moments = (a.mu.numpy(), a.sigma.numpy(), b.mu.numpy(), b.sigma.numpy())
    try:
        return float(calculate_frechet_distance(*moments))
    except TypeError:
        mu1, sigma1, mu2, sigma2 = moments
        root = linalg.sqrtm(sigma1.dot(sigma2)).real
        return float((mu1 - mu2) @ (mu1 - mu2) + np.trace(sigma1) + np.trace(sigma2) - 2 * np.trace(root))


def test_frechet_of_commuting_gaussians_in_closed_form() -> None:
    basis = torch.linalg.qr(normal(4, 4, 0)).Q
    a, b = torch.tensor([1.0, 4.0, 9.0, 0.0]).double(), torch.tensor([4.0, 4.0, 1.0, 2.0]).double()
    mu = torch.tensor([3.0, 0.0, -4.0, 0.0]).double()
    first = FeatureStatistics(mu, basis @ a.diag() @ basis.T, MANY)
    second = FeatureStatistics(0 * mu, basis @ b.diag() @ basis.T, MANY)
    expected = 25 + float((a.sqrt() - b.sqrt()).square().sum())
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-7)


def test_frechet_of_two_non_commuting_gaussians_in_closed_form() -> None:
    """For 2 x 2 matrices tr (S1 S2)^(1/2) = sqrt(tr S1 S2 + 2 sqrt(det S1 S2))."""
    s1 = torch.tensor([[2.0, 1.0], [1.0, 3.0]]).double()
    s2 = torch.tensor([[5.0, -2.0], [-2.0, 1.0]]).double()
    product = s1 @ s2
    overlap = math.sqrt(float(product.trace()) + 2 * math.sqrt(float(torch.linalg.det(product))))
    zero = torch.zeros(2, dtype=torch.float64)
    found = frechet_distance(FeatureStatistics(zero, s1, MANY), FeatureStatistics(zero, s2, MANY))
    assert found == pytest.approx(5 + 6 - 2 * overlap, rel=1e-12)


def test_frechet_equals_pytorch_fid_at_full_rank() -> None:
    generated, reference = statistics(correlated(400, 96, 1, 0.2)), statistics(correlated(500, 96, 2))
    expected = reference_formula(generated, reference)
    assert frechet_distance(generated, reference) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n", [2, 20, 64, 65, 200])
@pytest.mark.parametrize("reference_n", [30, 300])
def test_gram_form_equals_full_form(n: int, reference_n: int) -> None:
    features, reference = correlated(n, 64, 3, 0.3), statistics(correlated(reference_n, 64, 4))
    expected = frechet_distance(statistics(features), reference)
    found = frechet_to_reference(features, ReferenceRoot.from_statistics(reference))
    assert found == pytest.approx(expected, rel=1e-8)


def test_rank_deficient_covariances_equal_their_low_dimensional_selves() -> None:
    """Features embedded in a larger space by an isometry keep their distance."""
    a, b = normal(12, 5, 5), 2 * normal(15, 5, 6) + 1
    isometry = torch.linalg.qr(normal(40, 5, 7)).Q.T
    expected = frechet_distance(statistics(a), statistics(b))
    embedded = frechet_distance(statistics(a @ isometry), statistics(b @ isometry))
    assert embedded == pytest.approx(expected, rel=1e-5)  # rounding noise enters through a square root


@pytest.mark.parametrize("n", [10, 300])
def test_identical_sets_have_distance_zero(n: int) -> None:
    features = correlated(n, 64, 8, 5.0)
    same = statistics(features)
    scale = float(same.sigma.trace())
    assert abs(frechet_distance(same, same)) < 1e-7 * scale
    assert abs(frechet_to_reference(features, ReferenceRoot.from_statistics(same))) < 1e-7 * scale


def test_frechet_is_symmetric() -> None:
    a, b = statistics(correlated(200, 32, 9)), statistics(correlated(300, 32, 10, 0.5))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)


def test_statistics_equal_numpy() -> None:
    features = correlated(50, 8, 11, 1e4)  # a large mean, at which a plain sum of squares cancels
    found = statistics(features)
    np.testing.assert_allclose(found.mu, features.mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.sigma, np.cov(features.numpy().T), rtol=1e-9, atol=1e-12)
    assert found.n == 50


def test_statistics_of_float32_features_are_computed_in_float64() -> None:
    features = (normal(1000, 3, 12) + 1000).float()
    found = statistics(features)
    assert found.sigma.dtype == torch.float64
    np.testing.assert_allclose(found.sigma, np.cov(features.double().numpy().T), rtol=1e-10)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features, good = normal(5, 3, 13), normal(5, 3, 14)
    root = ReferenceRoot.from_statistics(statistics(good))
    features[2, 1] = bad
    streaming = StreamingStatistics(3)
    for attempt in (
        lambda: streaming.update(features),
        lambda: frechet_to_reference(features, root),
        lambda: kernel_distance(features, good),
        lambda: kernel_distance(good, features),
    ):
        with pytest.raises(MetricError, match="1 of 15 values"):
            attempt()
    assert streaming.n == 0
    with pytest.raises(MetricError, match="1 of 3 values"):
        FeatureStatistics(features[2], torch.eye(3), 5)


def test_one_image_is_refused() -> None:
    one, good = normal(1, 3, 15), normal(5, 3, 16)
    streaming, root = StreamingStatistics(3), ReferenceRoot.from_statistics(statistics(good))
    streaming.update(one)
    for attempt in (
        streaming.result,
        lambda: frechet_to_reference(one, root),
        lambda: kernel_distance(one, good),
        lambda: kernel_distance(good, one),
        lambda: bootstrap_frechet(one, root, 20, 0),
    ):
        with pytest.raises(MetricError, match=r"found 1 image\(s\), expected at least 2"):
            attempt()


def test_wrong_dimension_is_refused() -> None:
    root = ReferenceRoot.from_statistics(statistics(normal(9, 4, 17)))
    three = normal(9, 3, 17)
    streaming = StreamingStatistics(4)
    for attempt in (
        lambda: streaming.update(three),
        lambda: streaming.update(three[0]),
        lambda: streaming.merge(StreamingStatistics(3)),
        lambda: frechet_to_reference(three, root),
        lambda: frechet_distance(statistics(three), statistics(normal(9, 4, 17))),
        lambda: kernel_distance(three, normal(9, 4, 17)),
    ):
        with pytest.raises(MetricError, match="found"):
            attempt()


def naive_kernel_distance(a: Tensor, b: Tensor) -> float:
    def k(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / len(x) + 1) ** 3

    def within(s: Tensor) -> float:
        n = len(s)
        return sum(k(s[i], s[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    return within(a) + within(b) - 2 * sum(k(x, y) for x in a for y in b) / (len(a) * len(b))


def test_kernel_distance_equals_a_double_loop() -> None:
    a, b = normal(7, 5, 18), normal(9, 5, 19) + 0.4
    assert kernel_distance(a, b) == pytest.approx(naive_kernel_distance(a, b), rel=1e-10)


def test_kernel_distance_of_one_distribution_has_mean_zero() -> None:
    draws = [kernel_distance(normal(20, 6, 2 * s), normal(30, 6, 2 * s + 1)) for s in range(400)]
    mean, error = float(np.mean(draws)), float(np.std(draws)) / math.sqrt(len(draws))
    assert abs(mean) < 3.5 * error
    assert min(draws) < 0  # unbiased, so not a non-negative number


def reference_root() -> ReferenceRoot:
    return ReferenceRoot.from_statistics(statistics(correlated(500, 24, 20)))


@pytest.mark.parametrize("n", [16, 60])  # the n x n and the D x D form
def test_frechet_interval_contains_the_value_and_is_reproducible(n: int) -> None:
    features, root = correlated(n, 24, 21, 0.3), reference_root()
    interval = bootstrap_frechet(features, root, 40, 0)
    assert interval.value == pytest.approx(frechet_to_reference(features, root), rel=1e-12)
    assert interval.low < interval.value < interval.high
    assert interval == bootstrap_frechet(features, root, 40, 0)
    assert interval != bootstrap_frechet(features, root, 40, 1)


def test_frechet_replicates_are_distances_of_the_resampled_images() -> None:
    """Multiplicities stand for repeated rows: the slow way gives the same spread."""
    from fewshot_diffusion.seeds import generator

    features, root = correlated(16, 24, 22, 0.3), reference_root()
    stream = generator("bootstrap", 3)
    slow = [frechet_to_reference(features[torch.randint(16, (16,), generator=stream)], root) for _ in range(25)]
    interval = bootstrap_frechet(features, root, 25, 3)
    assert interval.high - interval.value == pytest.approx(1.96 * float(np.std(slow, ddof=1)), rel=1e-5)


def test_intervals_shrink_with_more_images() -> None:
    root, reference = reference_root(), correlated(300, 24, 20)
    frechet = [bootstrap_frechet(correlated(n, 24, 23, 1.0), root, 60, 0) for n in (40, 640)]
    kernel = [bootstrap_kernel(correlated(n, 24, 23, 1.0), reference, 60, 0) for n in (40, 640)]
    for small, large in (frechet, kernel):
        ratio = (small.high - small.low) / (large.high - large.low)
        assert 2 < ratio < 8  # 4 = sqrt(640 / 40)


def test_frechet_interval_matches_the_spread_of_fresh_samples() -> None:
    root = reference_root()
    fresh = np.std([frechet_to_reference(correlated(100, 24, 1000 + s, 1.0), root) for s in range(150)])
    intervals = [bootstrap_frechet(correlated(100, 24, 2000 + s, 1.0), root, 60, s) for s in range(10)]
    estimated = np.mean([(interval.high - interval.value) / 1.96 for interval in intervals])
    assert 0.7 < estimated / fresh < 1.5


def test_kernel_interval_matches_the_spread_of_fresh_samples() -> None:
    reference = correlated(100, 24, 20)
    fresh = np.std([kernel_distance(correlated(100, 24, 1000 + s, 1.0), reference) for s in range(150)])
    intervals = [bootstrap_kernel(correlated(100, 24, 2000 + s, 1.0), reference, 60, s) for s in range(10)]
    estimated = np.mean([(interval.high - interval.value) / 1.96 for interval in intervals])
    assert 0.7 < estimated / fresh < 1.5


def test_kernel_interval_contains_the_value() -> None:
    features, reference = correlated(30, 24, 24, 0.3), correlated(50, 24, 25)
    interval = bootstrap_kernel(features, reference, 40, 0)
    assert interval.value == pytest.approx(kernel_distance(features, reference), rel=1e-12)
    assert interval.low < interval.value < interval.high


def test_bootstrap_of_two_images_ignores_resamples_of_a_single_one() -> None:
    interval = bootstrap_frechet(normal(2, 24, 26), reference_root(), 60, 0)
    assert math.isfinite(interval.low) and math.isfinite(interval.high)


def test_one_replicate_is_refused() -> None:
    with pytest.raises(MetricError, match="found 1 replicates, expected at least 2"):
        bootstrap_kernel(normal(9, 3, 27), normal(9, 3, 28), 1, 0)


def test_wilson_interval_of_known_shares() -> None:
    """Bounds solve |p - share| = 1.96 sqrt(p (1 - p) / n)."""
    interval = wilson_interval(7, 20)
    for bound in (interval.low, interval.high):
        assert abs(bound - 0.35) == pytest.approx(1.96 * math.sqrt(bound * (1 - bound) / 20), rel=1e-10)
    assert interval.low < 0.35 < interval.high
    assert wilson_interval(0, 10).low == 0.0
    assert wilson_interval(10, 10).high == 1.0


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_shares_are_refused(successes: int, n: int) -> None:
    with pytest.raises(MetricError, match=f"found {successes} of {n}"):
        wilson_interval(successes, n)
