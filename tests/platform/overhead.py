"""Say how much of the last run's time was not the library's own work: Snakemake's, and each job's start-up.

    make reproduce && python tests/overhead.py --cores 2 --output results/overhead.csv

Snakemake's own: seconds in which no job ran, from its records of every job's start and end. Start-up: what each job's
script takes to say --help, which imports everything, measured here and now and summed over the jobs. Beside them, what
a plan of everything takes.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from fewshot_diffusion.storage.tables import write_csv  # noqa: E402


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


def fastest(*words: str, tries: int = 2) -> float:
    """Return the seconds that a command takes, the best of some tries."""
    seconds = []
    for _ in range(tries):
        started = time.monotonic()
        subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.monotonic() - started)
    return min(seconds)


def measure(jobs: dict[tuple[str, str], tuple[float, float]], cores: int) -> pd.DataFrame:
    """Return what was measured, in seconds and as a share of the run: ``what``, ``jobs``, ``seconds``, ``share``."""
    wall = max(end for _, end in jobs.values()) - min(start for start, _ in jobs.values())
    waiting = wall - covered(jobs.values())
    scripts = [script for script, _ in jobs]
    costs = {script: fastest(sys.executable, script, "--help") for script in sorted(set(scripts))}
    starting = sum(costs[script] for script in scripts) / cores
    rows = {
        f"the run, {cores} jobs at a time": wall,
        "no job ran": waiting,
        "start-up of jobs": starting,
        "both: orchestration": waiting + starting,
        "snakemake -n": fastest(str(Path(sys.executable).with_name("snakemake")), "-n", tries=3),
    }
    table = pd.DataFrame({"what": rows.keys(), "jobs": len(jobs), "seconds": rows.values()})
    share = (table["seconds"] / wall).where(table["what"] != "snakemake -n")  # no part of the run
    return table.assign(seconds=table["seconds"].round(1), share=share.round(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metadata", type=Path, default=ROOT / ".snakemake" / "metadata")
    parser.add_argument("--cores", type=int, required=True, help="jobs that ran at the same time")
    parser.add_argument("--output", type=Path, help="CSV to write")
    args = parser.parse_args()
    table = measure(jobs_of(args.metadata), args.cores)
    print(table.to_string(index=False))
    if args.output:
        write_csv(args.output, table)


if __name__ == "__main__":
    main()
