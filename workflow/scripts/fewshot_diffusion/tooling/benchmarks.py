"""What jobs cost: Snakemake's benchmarks gathered into one table, and from it how long a plan will take."""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import DataError

COLUMNS = ["data_set", "step", "jobs", "seconds_mean", "seconds_total", "cpu_seconds_total", "max_rss_mb"]


def gather_benchmarks(benchmarks: Path) -> pd.DataFrame:
    """Return one row per data set and step, a step being a rule and its first wildcard: ``sample_attributes/exact``.

    A job that continued or repeated an earlier one has only its own seconds.

    Args:
        benchmarks: Folder of ``<data set>/<rule>/...tsv``.

    Raises:
        DataError: If there is no benchmark.
    """
    rows = [_row(path, path.relative_to(benchmarks)) for path in sorted(benchmarks.rglob("*.tsv"))]
    if not rows:
        raise DataError(f"{benchmarks}: found no benchmark. Run a target first, e.g. `snakemake --cores all`.")
    table = (
        pd.DataFrame(rows)
        .groupby(["data_set", "step"], sort=True)
        .agg(
            jobs=("seconds", "size"),
            seconds_mean=("seconds", "mean"),
            seconds_total=("seconds", "sum"),
            cpu_seconds_total=("cpu_seconds", "sum"),
            max_rss_mb=("max_rss_mb", "max"),
        )
    )
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


def _row(path: Path, inside: Path) -> dict[str, object]:
    try:
        measured = pd.read_csv(path, sep="\t").iloc[0][["s", "max_rss", "cpu_time"]]
    except (ValueError, LookupError) as error:
        raise DataError(f"{path}: not a benchmark of Snakemake's ({error}). Delete it.") from error
    # Jobs under a second have neither time nor memory.
    cpu_seconds, memory = (pd.to_numeric(measured[name], errors="coerce") for name in ("cpu_time", "max_rss"))
    return {
        "data_set": inside.parts[0],
        "step": step_of(inside),
        "seconds": measured["s"],
        "cpu_seconds": cpu_seconds,
        "max_rss_mb": memory,
    }


def _mean(sums: pd.DataFrame) -> dict[str, float]:
    return dict((sums["seconds_total"] / sums["jobs"]).items())  # type: ignore[arg-type]
