"""Distances and intervals against closed forms, pytorch-fid's formula and naive loops."""

import math
from itertools import permutations

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
from fewshot_diffusion.metrics.intervals import bootstrap_interval, difference_interval, wilson_interval
from fewshot_diffusion.metrics.moments import FeatureStatistics, StreamingStatistics
from fewshot_diffusion.seeds import generator

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


def reference_root() -> ReferenceRoot:
    return ReferenceRoot.from_statistics(statistics(correlated(500, 24, 20)))


# --- the Frechet distance ---


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


def test_frechet_equals_pytorch_fid_at_full_rank_and_is_symmetric() -> None:
    generated, reference = statistics(correlated(400, 96, 1, 0.2)), statistics(correlated(500, 96, 2))
    found = frechet_distance(generated, reference)
    assert found == pytest.approx(reference_formula(generated, reference), rel=1e-8)
    assert found == pytest.approx(frechet_distance(reference, generated), rel=1e-10)


@pytest.mark.parametrize("n", [2, 20, 64, 65, 200])
@pytest.mark.parametrize("reference_n", [30, 300])
def test_gram_form_equals_full_form(n: int, reference_n: int) -> None:
    features, reference = correlated(n, 64, 3, 0.3), statistics(correlated(reference_n, 64, 4))
    expected = frechet_distance(statistics(features), reference)
    found = frechet_to_reference(features, ReferenceRoot.from_statistics(reference))
    assert found == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("n", [10, 300])
def test_identical_sets_have_distance_zero(n: int) -> None:
    features = correlated(n, 64, 8, 5.0)
    same = statistics(features)
    scale = float(same.sigma.trace())
    assert abs(frechet_distance(same, same)) < 1e-7 * scale
    assert abs(frechet_to_reference(features, ReferenceRoot.from_statistics(same))) < 1e-7 * scale


# --- the kernel distance ---


def kernel(x: Tensor, y: Tensor) -> float:
    return (float(x @ y) / len(x) + 1) ** 3


def mean_within(features: Tensor, drawn: list[int]) -> float:
    """Mean kernel over pairs of draws, without those of an image with itself or its copy."""
    pairs = [(i, j) for i, j in permutations(drawn, 2) if i != j]
    return sum(kernel(features[i], features[j]) for i, j in pairs) / len(pairs)


def naive_kernel_distance(a: Tensor, b: Tensor, drawn: list[int]) -> float:
    across = sum(kernel(a[i], y) for i in drawn for y in b) / (len(drawn) * len(b))
    return mean_within(a, drawn) + mean_within(b, list(range(len(b)))) - 2 * across


def test_kernel_distance_equals_a_double_loop() -> None:
    a, b = normal(7, 5, 18), normal(9, 5, 19) + 0.4
    assert kernel_distance(a, b) == pytest.approx(naive_kernel_distance(a, b, list(range(7))), rel=1e-10)


# --- the bootstrap ---


def draws(n: int, replicates: int, seed: int) -> list[list[int]]:
    """The resampled images, as documented: their own stream for every seed."""
    stream = generator("bootstrap", seed)
    return [torch.randint(n, (n,), generator=stream).tolist() for _ in range(replicates)]


def test_frechet_replicates_are_distances_of_the_resampled_images() -> None:
    """Multiplicities stand for repeated rows: the slow way gives the same spread."""
    features, root = correlated(16, 24, 22, 0.3), reference_root()
    slow = [frechet_to_reference(features[drawn], root) for drawn in draws(16, 25, 3)]
    interval = bootstrap_frechet(features, root, 25, 3)
    assert interval.high - interval.value == pytest.approx(1.96 * float(np.std(slow, ddof=1)), rel=1e-5)


def test_kernel_replicates_leave_out_an_image_with_its_copy() -> None:
    features, reference = correlated(12, 8, 24, 0.3), correlated(9, 8, 25)
    slow = [naive_kernel_distance(features, reference, drawn) for drawn in draws(12, 20, 5)]
    interval = bootstrap_kernel(features, reference, 20, 5)
    assert interval.value == pytest.approx(kernel_distance(features, reference), rel=1e-12)
    assert interval.high - interval.value == pytest.approx(1.96 * float(np.std(slow, ddof=1)), rel=1e-8)
    assert interval.value - interval.low == pytest.approx(interval.high - interval.value)


@pytest.mark.parametrize("n", [16, 60])  # the n x n and the D x D form
def test_frechet_interval_contains_the_value_and_is_reproducible(n: int) -> None:
    features, root = correlated(n, 24, 21, 0.3), reference_root()
    interval = bootstrap_frechet(features, root, 40, 0)
    assert interval.value == pytest.approx(frechet_to_reference(features, root), rel=1e-12)
    assert interval.low < interval.value < interval.high
    assert interval == bootstrap_frechet(features, root, 40, 0)
    assert interval != bootstrap_frechet(features, root, 40, 1)


def test_intervals_shrink_with_more_images_and_match_the_spread_of_fresh_samples() -> None:
    root, reference = reference_root(), correlated(100, 24, 20)
    for distance, bootstrap in [
        (lambda x: frechet_to_reference(x, root), lambda x, seed: bootstrap_frechet(x, root, 60, seed)),
        (lambda x: kernel_distance(x, reference), lambda x, seed: bootstrap_kernel(x, reference, 60, seed)),
    ]:
        small, large = (bootstrap(correlated(n, 24, 23, 1.0), 0) for n in (40, 640))
        assert 2 < (small.high - small.low) / (large.high - large.low) < 8  # 4 = sqrt(640 / 40)
        fresh = np.std([distance(correlated(100, 24, 1000 + s, 1.0)) for s in range(150)])
        intervals = [bootstrap(correlated(100, 24, 2000 + s, 1.0), s) for s in range(10)]
        assert 0.7 < np.mean([(interval.high - interval.value) / 1.96 for interval in intervals]) / fresh < 1.5


def test_resamples_without_a_distance_are_left_out_until_none_is_left() -> None:
    interval = bootstrap_frechet(normal(2, 24, 26), reference_root(), 60, 0)
    assert math.isfinite(interval.low) and math.isfinite(interval.high)
    found = iter([1.0, 2.0, math.nan, math.nan])
    with pytest.raises(MetricError, match="found 1 usable replicates, expected at least 2; draw more images"):
        bootstrap_interval(lambda _: next(found), 5, 3, 0)
    with pytest.raises(MetricError, match="found 1 replicates, expected at least 2"):
        bootstrap_kernel(normal(9, 3, 27), normal(9, 3, 28), 1, 0)


def test_differences_of_pairs_are_resampled_together_and_others_add_their_variances() -> None:
    generator = np.random.default_rng(3)
    shared, own = generator.normal(size=50), generator.normal(scale=0.1, size=50)
    first, second = (
        bootstrap_interval(lambda counts, x=x: float(counts @ torch.from_numpy(x) / counts.sum()), 50, 200, 0)
        for x in (shared + own, shared)
    )
    pairs, apart = (difference_interval(first, second, paired) for paired in (True, False))
    assert pairs.value == apart.value == pytest.approx(own.mean())
    spread = own.std() / math.sqrt(50)
    assert (pairs.high - pairs.value) / 1.96 == pytest.approx(spread, rel=0.15)
    assert apart.high - apart.value == pytest.approx(math.hypot(first.high - first.value, second.high - second.value))
    assert pairs.value - pairs.low == pytest.approx(pairs.high - pairs.value)
    with pytest.raises(MetricError, match="found 200 and 40 replicates"):
        difference_interval(first, bootstrap_frechet(normal(9, 24, 1), reference_root(), 40, 0), True)


# --- shares ---


def test_wilson_interval_of_known_shares() -> None:
    """Bounds solve |p - share| = 1.96 sqrt(p (1 - p) / n)."""
    interval = wilson_interval(7, 20)
    for bound in (interval.low, interval.high):
        assert abs(bound - 0.35) == pytest.approx(1.96 * math.sqrt(bound * (1 - bound) / 20), rel=1e-10)
    assert interval.low < 0.35 < interval.high
    assert wilson_interval(0, 10).low == 0.0
    assert wilson_interval(10, 10).high == wilson_interval(1, 1).high == 1.0
    for successes, n in [(0, 0), (-1, 5), (6, 5)]:
        with pytest.raises(MetricError, match=f"found {successes} of {n}"):
            wilson_interval(successes, n)


# --- moments, and what is refused ---


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_everything_is_computed_in_float64(dtype: torch.dtype) -> None:
    """A large mean, at which a plain sum of squares cancels; rough features are upcast before they are summed."""
    features, reference = correlated(60, 8, 11, 1e3).to(dtype), correlated(60, 8, 12, 1e3).to(dtype)
    found, exact = statistics(features), features.double()
    assert found.sigma.dtype == found.mu.dtype == torch.float64 and found.n == 60
    np.testing.assert_allclose(found.mu, exact.mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.sigma, np.cov(exact.numpy().T), rtol=1e-9, atol=1e-12)
    root = ReferenceRoot.from_statistics(statistics(reference))
    assert bootstrap_frechet(features, root, 5, 0) == bootstrap_frechet(exact, root, 5, 0)
    assert bootstrap_kernel(features, reference, 5, 0) == bootstrap_kernel(exact, reference.double(), 5, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features, good = normal(5, 3, 13), normal(5, 3, 14)
    root, streaming = ReferenceRoot.from_statistics(statistics(good)), StreamingStatistics(3)
    features[2, 1] = bad
    for attempt in (
        lambda: streaming.update(features),
        lambda: bootstrap_frechet(features, root, 5, 0),
        lambda: frechet_to_reference(features, root),
        lambda: kernel_distance(features, good),
        lambda: kernel_distance(good, features),
    ):
        with pytest.raises(MetricError, match="1 of 15 values"):
            attempt()
    assert streaming.n == 0
    for mu, sigma in [(features[2], torch.eye(3)), (good[0], torch.diag(features[2]))]:
        with pytest.raises(MetricError, match=r"1 of \d values"):
            FeatureStatistics(mu, sigma, 5)


def test_one_image_is_refused() -> None:
    one, good = normal(1, 3, 15), normal(5, 3, 16)
    streaming, root = StreamingStatistics(3), ReferenceRoot.from_statistics(statistics(good))
    streaming.update(one)
    for attempt in (
        streaming.result,
        lambda: FeatureStatistics(one[0], torch.eye(3), 1),
        lambda: frechet_to_reference(one, root),
        lambda: kernel_distance(one, good),
        lambda: kernel_distance(good, one),
        lambda: bootstrap_frechet(one, root, 20, 0),
    ):
        with pytest.raises(MetricError, match=r"found 1 image\(s\), expected at least 2"):
            attempt()


def test_wrong_dimension_is_refused() -> None:
    root, three, four = reference_root(), normal(9, 3, 17), normal(9, 4, 17)
    streaming = StreamingStatistics(4)
    for attempt in (
        lambda: streaming.update(three),
        lambda: streaming.update(three[0]),
        lambda: streaming.merge(StreamingStatistics(3)),
        lambda: frechet_to_reference(three, root),
        lambda: frechet_distance(statistics(three), statistics(four)),
        lambda: kernel_distance(three, four),
        lambda: FeatureStatistics(three[0], torch.eye(4), 9),
    ):
        with pytest.raises(MetricError, match="found"):
            attempt()
