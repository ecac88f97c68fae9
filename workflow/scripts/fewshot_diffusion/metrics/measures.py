"""The metrics of the tables as records: evaluation, tables and README take them from here.

A new metric is one function and one line in ``METRICS``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import nan
from typing import Literal

import torch
from torch import Tensor

from ..config.evaluation import EvaluationConfig
from ..seeds import generator
from ..storage.rows import Rows, in_memory
from .distances import ReferenceRoot, bootstrap_frechet, bootstrap_kernel
from .intervals import Bootstrapped
from .moments import StreamingStatistics

REFERENCE_PART = 2**12  # images of a reference in memory at a time, in float64

Measure = Callable[[Tensor], Bootstrapped]
"""Features of generated images, [n, D] -> the metric with its 95 % interval."""


@dataclass(frozen=True)
class Metric:
    """A distance or share between feature sets.

    Attributes:
        name: Short name; the column's name adds the extractor.
        inception_name: What it is called when its features are the FID Inception's.
        direction: Whether lower or higher is better.
        digits: Decimals in tables that people read.
        prepare: (reference features [m, D], settings) -> the measure, with what is computed once.
    """

    name: str
    inception_name: str
    direction: Literal["lower", "higher"]
    digits: int
    prepare: Callable[[Rows, EvaluationConfig], Measure]

    def column(self, extractor: str) -> str:
        """Return the metric's name with an extractor's features: ``fid`` for Inception alone."""
        return self.inception_name if extractor == "inception" else f"{self.name}_{extractor}"


def frechet_measure(reference: Rows, settings: EvaluationConfig) -> Measure:
    """Return the Frechet distance to a reference, of which the moments are kept, and their root."""
    statistics = StreamingStatistics(reference.shape[1])
    for part in reference.split(REFERENCE_PART):
        statistics.update(part)
    root = ReferenceRoot.from_statistics(statistics.result())
    return lambda features: bootstrap_frechet(features, root, settings.bootstrap, settings.seed)


def kernel_measure(reference: Rows, settings: EvaluationConfig) -> Measure:
    """Return the kernel distance to ``settings.kernel_subset`` images of a reference."""
    order = torch.randperm(len(reference), generator=generator("kernel subset", settings.seed))
    subset = reference[order[: settings.kernel_subset]]
    return lambda features: bootstrap_kernel(features, subset, settings.bootstrap, settings.seed)


METRICS = (
    Metric("fd", "fid", "lower", 1, frechet_measure),
    Metric("kd", "kid", "lower", 3, kernel_measure),
)


def measured(measure: Measure, features: Rows) -> Bootstrapped:
    """Return a metric of features, [n, D], in memory or not; NaN for fewer than two images.

    A filter that keeps nothing is a result.
    """
    return measure(in_memory(features)) if len(features) >= 2 else Bootstrapped(nan, nan, nan)


def metric_of(column: str) -> Metric:
    """Return the metric whose column this is.

    Raises:
        KeyError: If there is none.
    """
    for metric in METRICS:
        if column == metric.inception_name or column.startswith(f"{metric.name}_"):
            return metric
    raise KeyError(column)


def main_metrics(columns: Iterable[str]) -> list[str]:
    """Return each metric once, with the features that come first: those of the first extractor of a table."""
    found: dict[str, str] = {}
    for column in columns:
        found.setdefault(metric_of(column).name, column)
    return list(found.values())
