"""Metrics for any features: chunking, order, invariance, intervals."""

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from fewshot_diffusion.metrics.distances import (
    ReferenceRoot,
    frechet_distance,
    frechet_to_reference,
)
from fewshot_diffusion.metrics.moments import StreamingStatistics

quick = settings(max_examples=40, deadline=None, derandomize=True)

DIM = 4
VALUES = st.floats(-1e3, 1e3, allow_nan=False, width=32)


def feature_sets(least: int = 2) -> st.SearchStrategy[Tensor]:
    shapes = st.tuples(st.integers(least, 12), st.just(DIM))
    return shapes.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=VALUES)).map(torch.from_numpy)


def gathered(chunks: list[Tensor]) -> StreamingStatistics:
    streaming = StreamingStatistics(DIM)
    for chunk in chunks:
        streaming.update(chunk)
    return streaming


def assert_same(a: StreamingStatistics, b: StreamingStatistics) -> None:
    first, second = a.result(), b.result()
    assert first.n == second.n
    torch.testing.assert_close(first.mu, second.mu, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(first.sigma, second.sigma, rtol=1e-9, atol=1e-7)


@quick
@given(feature_sets(), st.lists(st.integers(0, 12), max_size=5))
def test_chunking_does_not_change_statistics(features: Tensor, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(features)) for cut in cuts), len(features)]  # chunks may be empty
    chunks = [features[start:stop] for start, stop in pairwise(bounds)]
    assert_same(gathered(chunks), gathered([features]))
    np.testing.assert_allclose(gathered(chunks).result().sigma, np.cov(features.numpy().T), rtol=1e-9, atol=1e-7)


@quick
@given(st.lists(feature_sets(0), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_merge_order_does_not_change_statistics(chunks: list[Tensor], order: object) -> None:
    chunks = [torch.eye(DIM, dtype=torch.float64), *chunks]
    parts = [gathered([chunk]) for chunk in chunks]
    order.shuffle(parts)  # type: ignore[attr-defined]
    merged = StreamingStatistics(DIM)
    for part in parts:
        merged.merge(part)
    assert_same(merged, gathered([torch.cat(chunks)]))


@quick
@given(feature_sets(), feature_sets())
def test_frechet_distance_is_not_negative_and_both_forms_agree(a: Tensor, b: Tensor) -> None:
    generated, reference = gathered([a]).result(), gathered([b]).result()
    full = frechet_distance(generated, reference)
    scale = 1e-6 * (1 + float(generated.sigma.trace() + reference.sigma.trace()))
    assert full > -scale
    assert abs(frechet_to_reference(a, ReferenceRoot.from_statistics(reference)) - full) < scale
