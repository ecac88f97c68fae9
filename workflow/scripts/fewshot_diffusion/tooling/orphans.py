"""Jobs that a killed run left in Slurm's queue: beside those of the next run, they would delete and rewrite its files.

A job of Snakemake's deletes its outputs before it starts. An orphan that waited in the queue would do so while jobs of
the next run read them. It is therefore cancelled as `scancel` would: what is resumable continues in the next run.
"""

import subprocess
import time
from pathlib import Path

from ..errors import FewshotError

_RUN = "slurm_run.txt"


class OrphanError(FewshotError):
    """Slurm cannot say what is left of a killed run, or does not end it."""


def cancel_orphans(run: str, folder: Path, patience: float = 300.0) -> list[str]:
    """Cancel the jobs of the last run in Snakemake's ``folder``, wait for their end, and record the new run.

    Call it when no other run is alive there.

    Args:
        run: Id of the run that starts: the name of all its jobs in Slurm.
        folder: Where the id is kept for the next one.
        patience: Seconds to wait; Slurm kills a job half a minute after SIGTERM, unless it is configured otherwise.

    Returns:
        The ids of the cancelled jobs.

    Raises:
        OrphanError: If Slurm does not answer, or jobs are left after ``patience`` seconds.
    """
    record = folder / _RUN
    last = record.read_text().strip() if record.exists() else ""
    found = _queued(last) if last else []
    if found:
        subprocess.run(["scancel", "--quiet", *found])  # what has ended meanwhile is no error
        _wait_for_the_end(last, patience)
    temporary = record.with_suffix(".tmp")
    temporary.write_text(f"{run}\n")
    temporary.replace(record)
    return found


def _wait_for_the_end(run: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while left := _queued(run):
        if time.monotonic() > deadline:
            raise OrphanError(
                f"Slurm: jobs {' '.join(left)} of a killed run have not ended {patience:.0f} s after scancel. "
                "Look at `squeue --me`, and run the same command again when they are gone."
            )
        time.sleep(1.0)


def _queued(run: str) -> list[str]:
    words = ["squeue", "--me", "--noheader", "--format=%i", f"--name={run}"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise OrphanError(f"Slurm: `{' '.join(words)}` failed: {done.stderr.strip()}. Try again when it answers.")
    return done.stdout.split()
