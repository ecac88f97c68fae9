"""Say how much of the last run's time was not the library's own work: Snakemake's, and each job's start-up.

    snakemake --cores 2 --forceall && python tests/overhead.py --cores 2

Snakemake's own: seconds in which no job ran, from its records of every job's start and end. Start-up: what each job's
script takes to say --help, which imports everything, measured here and now and summed over the jobs.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def jobs_of(metadata: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """Return (script, command) -> start and end, in seconds, of every job that has a record."""
    jobs = {}
    for path in metadata.rglob("*"):
        if path.is_file():
            record = json.loads(path.read_text())
            script = re.search(r"workflow/scripts/\w+\.py", record["shellcmd"] or "")
            if script and record["starttime"]:
                jobs[script[0], record["shellcmd"]] = (record["starttime"], record["endtime"])
    return jobs


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return how many seconds lie in at least one span."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def start_up(script: str) -> float:
    """Return the seconds that a script takes to import everything and say --help; the better of two."""
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        subprocess.run([sys.executable, script, "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - started)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metadata", type=Path, default=ROOT / ".snakemake" / "metadata")
    parser.add_argument("--cores", type=int, required=True, help="jobs that ran at the same time")
    args = parser.parse_args()
    jobs = jobs_of(args.metadata)
    wall = max(end for _, end in jobs.values()) - min(start for start, _ in jobs.values())
    waiting = wall - covered(jobs.values())
    costs = {script: start_up(script) for script in sorted({script for script, _ in jobs})}
    starting = sum(costs[script] for script, _ in jobs) / args.cores
    print(f"{len(jobs)} jobs in {wall:.0f} s: no job ran in {waiting:.1f} s ({waiting / wall:.1%});")
    print(f"start-up {starting:.0f} s ({starting / wall:.1%}); together {(waiting + starting) / wall:.1%}")


if __name__ == "__main__":
    main()
