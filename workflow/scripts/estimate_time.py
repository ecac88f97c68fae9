"""Say how long the jobs of a plan (standard input: `snakemake --dry-run`) took before; it works during a run, too."""

import sys
from pathlib import Path

from fewshot_diffusion import cli
from fewshot_diffusion.storage.tables import read_csv
from fewshot_diffusion.tooling.benchmarks import estimate_seconds, planned_steps


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True, help="benchmarks, CSV")
    parser.add_argument("--cores", type=int, required=True, help="jobs at a time")
    args = parser.parse_args()
    steps = planned_steps(sys.stdin.read())
    seconds, unknown = estimate_seconds(steps, read_csv(args.table, "step", "jobs", "seconds_total"))
    timed = len(steps) - unknown
    if not steps:
        print("Nothing that takes long is left to do.")
    elif timed < unknown:
        print(f"{len(steps)} jobs, {unknown} of which were never timed: how long they take is not known.")
    else:
        least = f"; at least that: {unknown} of them were never timed" if unknown else ""
        print(f"{len(steps)} jobs, about {seconds / args.cores / 60:.0f} min on {args.cores} cores{least}")


if __name__ == "__main__":
    cli.run(main)
