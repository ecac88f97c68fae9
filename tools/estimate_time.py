"""Say how long the jobs of a plan (standard input: `snakemake --dry-run`) took before; it works during a run, too."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.benchmarks import estimate_seconds, planned_steps


def estimate_time(table: Path, cores: int) -> None:
    """Print how many jobs are left, and for how long.

    Args:
        table: CSV of benchmarks.
        cores: Jobs at a time.
    """
    steps = planned_steps(sys.stdin.read())
    seconds, unknown = estimate_seconds(steps, read_csv(table, "step", "jobs", "seconds_total"))
    if not steps:
        print("Nothing that takes long is left to do.")
    elif len(steps) < 2 * unknown:
        print(f"{len(steps)} jobs, {unknown} of which were never timed: how long they take is not known.")
    else:
        least = f"; at least that: {unknown} of them were never timed" if unknown else ""
        print(f"{len(steps)} jobs, about {seconds / cores / 60:.0f} min on {cores} cores{least}")


if __name__ == "__main__":
    cli.run(estimate_time)
