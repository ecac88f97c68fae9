"""What jobs cost: Snakemake's benchmarks gathered into one table, and from it how long a plan will take."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import DataError
from ..storage.tensors import read_tensors

COLUMNS = [
    "data_set", "step", "jobs", "seconds_mean", "seconds_total", "cpu_seconds_total", "max_rss_mb", "forward_passes",
]  # fmt: skip


# Folder of benchmarks -> folder of the shards that its jobs wrote.
SHARDS = {"sample": "samples", "sweep": "sweep", "sample_masks": "mask_samples", "mask_sweep": "mask_sweep"}


def gather_benchmarks(benchmarks: Path, results: Path) -> pd.DataFrame:
    """Return one row per data set and step, a step being a rule and its first wildcard, such as ``sample/exact``.

    ``forward_passes`` counts those of the sets whose shards say what a sample cost, and is empty elsewhere. A job that
    continued or repeated an earlier one has only its own seconds.

    Args:
        benchmarks: Folder of ``<data set>/<step>/...tsv``.
        results: Folder of ``<data set>/samples`` and of the other sample sets.

    Raises:
        DataError: If there is no benchmark.
    """
    rows = [_row(path, path.relative_to(benchmarks), results) for path in sorted(benchmarks.rglob("*.tsv"))]
    if not rows:
        raise DataError(f"{benchmarks}: found no benchmark. Run a target first, e.g. `snakemake --cores all`.")
    groups = pd.DataFrame(rows).groupby(["data_set", "step"], sort=True)
    table = groups.agg(
        jobs=("seconds", "size"),
        seconds_mean=("seconds", "mean"),
        seconds_total=("seconds", "sum"),
        cpu_seconds_total=("cpu_seconds", "sum"),
        max_rss_mb=("max_rss_mb", "max"),
    )
    table["forward_passes"] = groups["forward_passes"].sum(min_count=1)
    return table.round(1).reset_index().reindex(columns=COLUMNS)


def planned_steps(plan: str) -> list[str]:
    """Return the step of every job in the output of ``snakemake --dry-run`` that has a benchmark."""
    return [step_of(Path(path).relative_to("benchmarks")) for path in re.findall(r"benchmark: (\S+)", plan)]


def estimate_seconds(steps: Sequence[str], table: pd.DataFrame) -> tuple[float, int]:
    """Return how long jobs took before, one after another, and how many of them are of no known step.

    A step that is not in the table counts as the mean of its rule, whatever the wildcard.
    """
    jobs = table.groupby("step")[["seconds_total", "jobs"]].sum()
    rules = jobs.groupby(jobs.index.str.split("/").str[0]).sum()
    means = {**_mean(rules), **_mean(jobs)}
    found = [means.get(step, means.get(step.split("/")[0])) for step in steps]
    known = [seconds for seconds in found if seconds is not None]
    return float(sum(known)), len(found) - len(known)


def step_of(benchmark: Path) -> str:
    """Return the step of ``<data set>/<rule>/<wildcard>/...tsv``; a file right below the rule is the rule's."""
    return "/".join(benchmark.with_suffix("").parts[1:-1][:2]) or benchmark.stem


def _row(path: Path, inside: Path, results: Path) -> dict[str, object]:
    try:
        measured = pd.read_csv(path, sep="\t").iloc[0][["s", "max_rss", "cpu_time"]]
    except (ValueError, LookupError) as error:
        raise DataError(f"{path}: not a benchmark of Snakemake's ({error}). Delete it.") from error
    return {
        "data_set": inside.parts[0],
        "step": step_of(inside),
        "seconds": measured["s"],
        "cpu_seconds": pd.to_numeric(measured["cpu_time"], errors="coerce"),  # jobs under a second have none
        "max_rss_mb": pd.to_numeric(measured["max_rss"], errors="coerce"),
        "forward_passes": _forward_passes(inside, results),
    }


def _forward_passes(inside: Path, results: Path) -> float:
    folder = SHARDS.get(inside.parts[1])
    shard = results / inside.parts[0] / str(folder) / Path(*inside.parts[2:]).with_suffix(".safetensors")
    if folder is None or not shard.is_file():
        return float("nan")
    tensors, provenance = read_tensors(shard, "seeds")
    return float(provenance["forwards_per_sample"]) * len(tensors["seeds"])


def _mean(sums: pd.DataFrame) -> dict[str, float]:
    return dict((sums["seconds_total"] / sums["jobs"]).items())  # type: ignore[arg-type]
