"""What jobs cost: Snakemake's benchmarks gathered into one table, and from it how long a plan will take."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Step:
    """What a planned job is: its data set, its rule and the rule's first wildcard."""

    data_set: str
    name: str

    @property
    def rule(self) -> str:
        """Name of the rule's benchmarks."""
        return self.name.split("/")[0]


@dataclass(frozen=True)
class Estimate:
    """How long jobs take, one after another, and what that is inferred from.

    Attributes:
        seconds: Of the jobs whose rule was timed anywhere.
        borrowed: Rules timed on other data sets alone -> those data sets.
        unknown: Rules that were never timed -> how many jobs each has.
    """

    seconds: float
    borrowed: dict[str, list[str]]
    unknown: dict[str, int]


def planned_steps(plan: str) -> list[Step]:
    """Return the step of every job in the output of ``snakemake --dry-run`` that has a benchmark."""
    paths = [Path(path).relative_to("benchmarks") for path in re.findall(r"benchmark: (\S+)", plan)]
    return [Step(path.parts[0], step_of(path)) for path in paths]


def estimate(steps: Sequence[Step], table: pd.DataFrame) -> Estimate:
    """Estimate jobs by what such jobs took: of the same data set, step and rule as far as they were timed.

    A step that was not timed counts as the mean of its rule, whatever the wildcard; a rule that was not timed on this
    data set as the mean of the others.
    """
    timed = table.assign(rule=table["step"].str.split("/").str[0])
    seconds, borrowed, unknown = 0.0, dict[str, list[str]](), Counter[str]()
    for step in steps:
        of_rule = timed[timed["rule"] == step.rule]
        here = of_rule[of_rule["data_set"] == step.data_set]
        of_step = [rows[rows["step"] == step.name] for rows in (here, of_rule)]
        used = next((rows for rows in (of_step[0], here, of_step[1], of_rule) if len(rows)), None)
        if used is None:
            unknown[step.rule] += 1
            continue
        seconds += float(used["seconds_total"].sum() / used["jobs"].sum())
        if here.empty:
            borrowed[step.rule] = sorted(of_rule["data_set"].unique())
    return Estimate(seconds, borrowed, dict(unknown))


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
