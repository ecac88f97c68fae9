"""Rows of the tables: distances of each method to the wanted class, and the judge's shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ..config.attributes import TargetConfig
from ..config.evaluation import EvaluationConfig
from ..diffusion.samples import seed_range
from ..errors import DataError
from ..metrics.descriptions import Description, load_description
from ..metrics.distances import ReferenceRoot, bootstrap_frechet, bootstrap_kernel, frechet_name, kernel_name
from ..metrics.intervals import Interval, wilson_interval
from ..metrics.moments import StreamingStatistics
from ..progress import Progress
from ..seeds import generator
from ..storage.files import read_sealed_json
from ..storage.records import read_records
from .baselines.ddim_i import accepted_seeds

TABLE_COLUMNS = [
    "data_set", "attribute", "method", "metric", "value", "ci_low", "ci_high", "floor", "n", "seeds",
    "judge_accuracy", "forwards_per_sample", "seconds_per_sample", "published", "kind",
]  # fmt: skip


ACCURACY_COLUMNS = [
    "data_set", "attribute", "method", "judge_accuracy", "ci_low", "ci_high", "n", "seeds", "acceptance_rate", "kind",
]  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """Images that stand for the wanted class by one method.

    Attributes:
        method: ``naive``, ``unguided``, ``ddim_i``, ``ours_exact`` or ``ours_readout``.
        description: Their features and judgements.
        seconds_per_sample: Wall time of drawing one, one CPU thread or one GPU; NaN for real images.
        acceptance_rate: Share of the drawn images that were kept.
    """

    method: str
    description: Description
    seconds_per_sample: float = float("nan")
    acceptance_rate: float = 1.0


@dataclass(frozen=True)
class RealClass:
    """Real images of the wanted class.

    Attributes:
        reference: What distances are measured to.
        held_out: Images of other ids: the floor of every distance, and the judge's own accuracy.
    """

    reference: Description
    held_out: Description


def distance_rows(
    data_set: str, target: TargetConfig, candidates: Sequence[Candidate], real: RealClass, settings: EvaluationConfig
) -> pd.DataFrame:
    """Return Frechet and kernel distances of every candidate to the class, under every extractor.

    Every distance takes ``settings.samples`` images, or all where a filter left fewer: then ``n`` says so.
    ``floor`` is the distance of as many held-out real images of the class.

    Raises:
        DataError: If there are fewer held-out real images of the class than that.
    """
    rows = []
    for extractor, reference in real.reference.features.items():
        metrics = _Metrics(extractor, reference, settings)
        floors: dict[int, dict[str, float]] = {}
        for candidate in Progress(candidates, desc=extractor, unit="method"):
            chosen = candidate.description.first(settings.samples)
            n = len(chosen.ids)
            if n not in floors:
                floors[n] = metrics.values(held_out(real, target, n).features[extractor])
            shared = _shared_columns(data_set, target, candidate, chosen)
            for metric, value in metrics.intervals(chosen.features[extractor]).items():
                rows.append({**shared, "metric": metric, **value, "floor": floors[n][metric]})
    return pd.DataFrame(rows).reindex(columns=TABLE_COLUMNS)


def held_out(real: RealClass, target: TargetConfig, n: int) -> Description:
    """Return ``n`` held-out real images of the class.

    Raises:
        DataError: If there are fewer.
    """
    if len(real.held_out.ids) < n:
        raise DataError(
            f"{target.label}: the floor takes {n} held-out real images of the class, the controls have "
            f"{len(real.held_out.ids)}. Raise data.splits.controls or lower evaluation.samples."
        )
    return real.held_out.first(n)


def accuracy_rows(
    data_set: str, target: TargetConfig, candidates: Sequence[Candidate], real: RealClass, settings: EvaluationConfig
) -> pd.DataFrame:
    """Return the judge's share of the wanted class: of every candidate, and of held-out real images (``real``)."""
    rows = []
    for candidate in [Candidate("real", real.held_out), *candidates]:
        chosen = candidate.description
        if candidate.method != "real":
            chosen = chosen.first(settings.samples)
        hits = int(chosen.judged(target.attribute, target.value).sum())
        interval = wilson_interval(hits, len(chosen.ids)) if len(chosen.ids) else Interval(nan, nan, nan)
        rows.append(
            {
                "data_set": data_set,
                "attribute": target.label,
                "method": candidate.method,
                "judge_accuracy": interval.value,
                "ci_low": interval.low,
                "ci_high": interval.high,
                "n": len(chosen.ids),
                "seeds": _seeds_of(candidate, chosen),
                "acceptance_rate": candidate.acceptance_rate,
            }
        )
    return pd.DataFrame(rows).reindex(columns=ACCURACY_COLUMNS)


class _Metrics:
    """Both distances to one reference, with what can be computed once."""

    def __init__(self, extractor: str, reference: Tensor, settings: EvaluationConfig) -> None:
        self._names = frechet_name(extractor), kernel_name(extractor)
        statistics = StreamingStatistics(reference.shape[1])
        statistics.update(reference)
        self._root = ReferenceRoot.from_statistics(statistics.result())
        order = torch.randperm(len(reference), generator=generator("kernel subset", settings.seed))
        self._subset = reference[order[: settings.kernel_subset]]
        self._settings = settings

    def intervals(self, features: Tensor) -> dict[str, dict[str, float]]:
        if len(features) < 2:  # a filter that keeps nothing is a result, not a failure
            return {name: {"value": nan, "ci_low": nan, "ci_high": nan} for name in self._names}
        frechet = bootstrap_frechet(features, self._root, self._settings.bootstrap, self._settings.seed)
        kernel = bootstrap_kernel(features, self._subset, self._settings.bootstrap, self._settings.seed)
        return {
            name: {"value": found.value, "ci_low": found.low, "ci_high": found.high}
            for name, found in zip(self._names, (frechet, kernel), strict=True)
        }

    def values(self, features: Tensor) -> dict[str, float]:
        return {name: found["value"] for name, found in self.intervals(features).items()}


def _shared_columns(
    data_set: str, target: TargetConfig, candidate: Candidate, chosen: Description
) -> dict[str, object]:
    kept = candidate.acceptance_rate or nan
    return {
        "data_set": data_set,
        "attribute": target.label,
        "method": candidate.method,
        "n": len(chosen.ids),
        "seeds": _seeds_of(candidate, chosen),
        "judge_accuracy": float(chosen.judged(target.attribute, target.value).float().mean()),
        "forwards_per_sample": chosen.forwards_per_sample / kept,
        "seconds_per_sample": candidate.seconds_per_sample / kept,
    }


def _seeds_of(candidate: Candidate, chosen: Description) -> str:
    return "" if candidate.method in ("real", "naive") else seed_range(chosen.ids)


def gather_candidates(
    paths: Mapping[str, Path], timings: Mapping[str, Sequence[Path]], rejection: Path
) -> list[Candidate]:
    """Load the images that stand for a class by each method.

    Args:
        paths: Descriptions: ``controls`` (real), ``unguided`` (the pool), ``exact``, ``readout``.
        timings: Timing files of the shards of each sample set.
        rejection: DDIM-I's decisions on the pool.
    """
    described = {name: load_description(path) for name, path in paths.items()}
    seconds = {name: _seconds_per_sample(files) for name, files in timings.items()}
    kept, acceptance_rate = accepted_seeds(rejection)
    pool = described["unguided"]
    accepted = pool.select(torch.isin(pool.ids, kept))
    return [
        Candidate("naive", described["controls"]),
        Candidate("unguided", pool, seconds["unguided"]),
        Candidate("ddim_i", accepted, seconds["unguided"], acceptance_rate),
        Candidate("ours_exact", described["exact"], seconds["exact"]),
        Candidate("ours_readout", described["readout"], seconds["readout"]),
    ]


def gather_real(reference: tuple[Path, Path], controls: tuple[Path, Path], target: TargetConfig) -> RealClass:
    """Load the real images of a class from (description, records) of the reference and of the controls."""
    return RealClass(_of_class(*reference, target), _of_class(*controls, target))


def _of_class(description: Path, records: Path, target: TargetConfig) -> Description:
    frame, _ = read_records(records)
    wanted = torch.from_numpy((frame[target.attribute] == target.value).to_numpy(copy=True))
    return load_description(description).select(wanted)


def _seconds_per_sample(files: Sequence[Path]) -> float:
    timings = [read_sealed_json(path) for path in files]
    return float(sum(t["seconds"] for t in timings) / sum(t["samples"] for t in timings))
