"""The metrics of the tables as records: evaluation, tables and README take them from here.

A new metric is one function and one line in ``FAMILIES``.
"""

from collections.abc import Callable, Iterable, Sequence
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
from .neighbours import LIMITS, jackknife_neighbours

REFERENCE_PART = 2**12  # images of a reference in memory at a time, in float64

Measure = Callable[[Tensor], Sequence[Bootstrapped]]
"""Features of generated images, [n, D], n >= 2 -> each metric of a family with its 95 % interval."""


@dataclass(frozen=True)
class Metric:
    """A distance or share between feature sets.

    Attributes:
        name: Short name; the column's name adds the extractor.
        inception_name: What it is called when its features are the FID Inception's.
        direction: Whether lower or higher is better.
        digits: Decimals in tables that people read.
    """

    name: str
    inception_name: str
    direction: Literal["lower", "higher"]
    digits: int

    def column(self, extractor: str) -> str:
        """Return the metric's name with an extractor's features: ``fid`` for Inception alone."""
        return self.inception_name if extractor == "inception" else f"{self.name}_{extractor}"


@dataclass(frozen=True)
class Family:
    """Metrics that are computed together.

    Attributes:
        metrics: The metrics, in the order of the measure's numbers.
        prepare: (reference features [m, D], settings) -> the measure, with what is computed once; None: not asked for.
    """

    metrics: tuple[Metric, ...]
    prepare: Callable[[Rows, EvaluationConfig], Measure | None]


def frechet_measure(reference: Rows, settings: EvaluationConfig) -> Measure:
    """Return the Frechet distance to a reference, of which the moments are kept, and their root."""
    statistics = StreamingStatistics(reference.shape[1])
    for part in reference.split(REFERENCE_PART):
        statistics.update(part)
    root = ReferenceRoot.from_statistics(statistics.result())
    return lambda features: [bootstrap_frechet(features, root, settings.bootstrap, settings.seed)]


def kernel_measure(reference: Rows, settings: EvaluationConfig) -> Measure:
    """Return the kernel distance to ``settings.kernel_subset`` images of a reference."""
    subset = kernel_subset(reference, settings)
    return lambda features: [bootstrap_kernel(features, subset, settings.bootstrap, settings.seed)]


def neighbour_measure(reference: Rows, settings: EvaluationConfig) -> Measure | None:
    """Return precision, recall, density and coverage beside the images that the kernel distance is to."""
    if (nearest_k := settings.nearest_k) is None:
        return None
    subset = kernel_subset(reference, settings)
    return lambda features: list(jackknife_neighbours(features, subset, nearest_k).values())


def kernel_subset(reference: Rows, settings: EvaluationConfig) -> Tensor:
    """Return ``settings.kernel_subset`` images of a reference, drawn without replacement; all, if it has no more."""
    order = torch.randperm(len(reference), generator=generator("kernel subset", settings.seed))
    return reference[order[: settings.kernel_subset]]


DISTANCES = (Metric("fd", "fid", "lower", 1), Metric("kd", "kid", "lower", 3))

NEIGHBOURS = tuple(Metric(name, f"{name}_inception", "higher", 2) for name in LIMITS)

FAMILIES = (
    Family(DISTANCES[:1], frechet_measure),
    Family(DISTANCES[1:], kernel_measure),
    Family(NEIGHBOURS, neighbour_measure),
)


def prepare_measures(
    reference: Rows, extractor: str, settings: EvaluationConfig
) -> Callable[[Rows], dict[str, Bootstrapped]]:
    """Return what measures images by every metric that is asked for.

    Args:
        reference: Features of the real images, [m, D].
        extractor: What made the features.
        settings: Which metrics, and of how many images.

    Returns:
        Features of generated images, [n, D], in memory or not -> column -> the metric; NaN for fewer than two images:
        a filter that keeps nothing is a result.
    """
    prepared = [(family, measure) for family in FAMILIES if (measure := family.prepare(reference, settings))]

    def measured(features: Rows) -> dict[str, Bootstrapped]:
        images = in_memory(features)
        found: dict[str, Bootstrapped] = {}
        for family, measure in prepared:
            columns = [metric.column(extractor) for metric in family.metrics]
            numbers = measure(images) if len(images) >= 2 else [Bootstrapped(nan, nan, nan)] * len(columns)
            found |= zip(columns, numbers, strict=True)
        return found

    return measured


def metric_of(column: str) -> Metric:
    """Return the metric whose column this is.

    Raises:
        KeyError: If there is none.
    """
    for metric in (metric for family in FAMILIES for metric in family.metrics):
        if column == metric.inception_name or column.startswith(f"{metric.name}_"):
            return metric
    raise KeyError(column)


def main_metrics(columns: Iterable[str], wanted: Sequence[Metric] = DISTANCES) -> list[str]:
    """Return each of some metrics once, with the features that come first: those of the first extractor of a table."""
    found: dict[str, str] = {}
    for column in columns:
        if (metric := metric_of(column)) in wanted:
            found.setdefault(metric.name, column)
    return list(found.values())
