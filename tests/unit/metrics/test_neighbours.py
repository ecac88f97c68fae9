"""Precision, recall, density and coverage against their definitions, and their intervals."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from fewshot_diffusion.errors import MetricError
from fewshot_diffusion.metrics.intervals import jackknife_interval
from fewshot_diffusion.metrics.neighbours import LIMITS, jackknife_neighbours, neighbour_metrics


def normal(n: int, seed: int, shift: float = 0.0, dim: int = 3) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def by_definition(generated: Tensor, real: Tensor, k: int) -> dict[str, float]:
    """As the papers define them, point by point."""

    def radius(i: int, points: list[list[float]]) -> float:
        return sorted(math.dist(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    a, r = generated.tolist(), real.tolist()
    n, m = len(a), len(r)
    of_real, of_generated = ([radius(i, points) for i in range(len(points))] for points in (r, a))
    pairs = list(product(range(m), range(n)))
    in_real = {(i, j) for i, j in pairs if math.dist(r[i], a[j]) < of_real[i]}
    in_generated = {(i, j) for i, j in pairs if math.dist(r[i], a[j]) < of_generated[j]}
    return {
        "precision": len({j for _, j in in_real}) / n,
        "recall": len({i for i, _ in in_generated}) / m,
        "density": len(in_real) / (k * n),
        "coverage": len({i for i, _ in in_real}) / m,
    }


@pytest.mark.parametrize(("n", "m", "k", "shift"), [(9, 14, 1, 0.3), (14, 9, 3, 0.5), (7, 7, 5, 1.5), (8, 12, 2, 90)])
def test_numbers_are_those_of_the_definitions(
    n: int, m: int, k: int, shift: float, capsys: pytest.CaptureFixture[str]
) -> None:
    generated, real = normal(n, 1, shift), normal(m, 2)
    assert neighbour_metrics(generated, real, k) == pytest.approx(by_definition(generated, real, k))
    assert capsys.readouterr().out == "", "the package prints"


def test_the_interval_of_a_mean_is_that_of_its_standard_error_and_every_group_is_left_out() -> None:
    """With the reference fixed, precision is a mean over images: of up to 20, a group is one of them."""
    generated, real = normal(16, 3, 1.5), normal(40, 4)
    found = jackknife_neighbours(generated, real, 2)
    p = found["precision"].value
    assert 0 < p < 1
    assert found["precision"].high - p == pytest.approx(1.96 * math.sqrt(p * (1 - p) / 15))
    many = normal(50, 5, 1.0)
    expected = [by_definition(many[torch.arange(50) % 20 != g], real, 2)["recall"] for g in range(20)]
    value = by_definition(many, real, 2)["recall"]
    assert jackknife_neighbours(many, real, 2)["recall"] == jackknife_interval(value, expected, 1.0)
    half = 1.96 * math.sqrt(19 / 20 * np.square(np.subtract(expected, np.mean(expected))).sum())
    interval = jackknife_interval(value, expected)
    assert (interval.high - value, np.std(interval.replicates, ddof=1)) == pytest.approx((half, half / 1.96))
    bounded = jackknife_interval(0.9, [0.2, 1.0], 1.0)
    assert (bounded.low, bounded.high) == (pytest.approx(0.9 - 1.96 * 0.4), 1.0)


def test_intervals_are_about_as_wide_as_fresh_samples_are_apart() -> None:
    """Those of recall are wider, as the docstring says."""
    real = normal(200, 6, dim=16)
    drawn = [normal(100, 100 + s, 0.2, dim=16) for s in range(60)]
    fresh, intervals = (
        [neighbour_metrics(x, real, 5) for x in drawn],
        [jackknife_neighbours(x, real, 5) for x in drawn[:8]],
    )
    for name in LIMITS:
        widths = [np.std(one[name].replicates, ddof=1) for one in intervals]
        ratio = np.mean(widths) / np.std([one[name] for one in fresh])
        assert 0.7 < ratio < (2 if name == "recall" else 1.6), name


def test_too_few_images_are_nan_where_generated_and_refused_where_real() -> None:
    real = normal(30, 7)
    assert math.isnan(jackknife_neighbours(normal(5, 8), real, 3)["coverage"].value), "one less, and there are four"
    assert math.isfinite(jackknife_neighbours(normal(6, 8), real, 3)["coverage"].value)
    assert math.isnan(jackknife_neighbours(normal(0, 8), real, 3)["density"].high)
    with pytest.raises(MetricError, match=r"found 4 reference image\(s\), expected at least 5, two more"):
        jackknife_neighbours(normal(9, 8), real[:4], 3)
    with pytest.raises(MetricError, match="expected at least 2"):
        jackknife_interval(0.5, [0.5])
