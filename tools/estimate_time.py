"""Say how long the jobs of a plan (standard input: `snakemake --dry-run`) took before; it works during a run, too."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.benchmarks import Estimate, estimate, planned_steps


def estimate_time(table: Path, cores: int) -> None:
    """Print how many jobs are left, for how long, and what that is inferred from.

    Args:
        table: CSV of benchmarks.
        cores: Jobs at a time.
    """
    steps = planned_steps(sys.stdin.read())
    found = estimate(steps, read_csv(table, "data_set", "step", "jobs", "seconds_total"))
    if not steps:
        print("Nothing that takes long is left to do.")
    elif len(steps) == sum(found.unknown.values()):
        print(f"{len(steps)} jobs, none of which was ever timed: how long they take is not known.")
    else:
        print(f"{len(steps)} jobs, about {found.seconds / cores / 60:.0f} min on {cores} cores.")
        print(*_basis(found), sep="\n")


def _basis(found: Estimate) -> list[str]:
    """Say which rules were timed elsewhere alone, and which nowhere."""
    places: dict[str, list[str]] = {}
    for rule, data_sets in found.borrowed.items():
        places.setdefault(", ".join(data_sets), []).append(rule)
    said = [
        f"As measured on {place}, whatever its size: {', '.join(sorted(rules))}." for place, rules in places.items()
    ]
    if found.unknown:
        jobs = ", ".join(f"{rule} ({number})" for rule, number in sorted(found.unknown.items()))
        said.append(f"At least that: never timed, so not counted, are {jobs}.")
    return said


if __name__ == "__main__":
    cli.run(estimate_time)
