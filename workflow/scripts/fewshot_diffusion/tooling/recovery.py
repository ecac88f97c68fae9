"""A killed run leaves no locks and no jobs of Slurm to the next one, a living run is left alone, SIGTERM ends any.

Snakemake's own locks are files: they stay when it is killed, and a second instance on other targets removes them. Two
files beside them are locked by the operating system, which unlocks them when their process ends: ``alive.lock``,
together, by all processes that may make locks of Snakemake's; ``running.lock`` by the one workflow that runs jobs.
"""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

from ..errors import FewshotError


class RecoveryError(FewshotError):
    """Another workflow is at work, or Slurm does not end what a killed one left."""


def clear_dead_locks(folder: Path) -> bool:
    """Remove Snakemake's locks in its ``folder`` if all that may have made them died; return whether that was so.

    From here on, this process is one that may make some. Locks stay where one of those lives, where nobody is known,
    and where one ran on another machine: some file systems do not tell one machine what another one locks.
    """
    file, locks, host = _open(folder / "alive.lock"), folder / "locks", socket.gethostname()
    alone = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    found = any(locks.glob("*"))
    dead = bool(alone and found and _lines(file) == {host})
    if dead:
        shutil.rmtree(locks)
    if alone and not found:
        os.ftruncate(file, 0)  # who was here no longer matters
    _lock(file, fcntl.LOCK_SH)
    if host not in _lines(file) and not (alone and found):  # whose locks these are stays unknown
        os.write(file, f"{host}\n".encode())
    return dead


def claim(folder: Path) -> bool:
    """Keep other workflows out of Snakemake's ``folder`` until this process ends; raise an error if one runs there.

    Returns:
        Whether that is sure; where the file system has no locks, another one may run there.
    """
    file = _open(folder / "running.lock")
    free = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if free is False:
        owner = ", ".join(_lines(file))
        raise RecoveryError(
            f"{folder.absolute()}: another snakemake works here ({owner}). Wait for it, or use another clone."
        )
    os.ftruncate(file, 0)
    os.write(file, f"host {socket.gethostname()}, process {os.getpid()}\n".encode())
    return bool(free)


def answer_in_a_thread(number: signal.Signals) -> None:
    """Let a thread do what this process does at a signal: it may then wait for locks that the main thread holds.

    Snakemake's scheduler takes a lock at SIGTERM, which waits for ever if the signal comes while the scheduler itself
    holds it: in the moment in which it records a finished job.
    """
    answer = signal.getsignal(number)
    if callable(answer):
        signal.signal(number, lambda *about: threading.Thread(target=answer, args=about, daemon=True).start())


def cancel_orphans(prefix: str | None, place: Path, patience: float = 300.0) -> list[str]:
    """Cancel the jobs of runs in ``place`` whose names start with ``prefix``, wait for their end, and return their ids.

    A job of Snakemake's deletes its outputs before it starts: one that a killed run left would do so while jobs of the
    next run read them. Call it when no run is alive, before the first job is submitted.
    """
    if not prefix:
        raise RecoveryError(
            "Slurm: jobs without a name prefix could not be told from your others if this run were killed. "
            "Run `snakemake --profile slurm`, or add `--slurm-jobname-prefix fewshot`."
        )
    orphans = _queued(prefix, place)
    if orphans:
        subprocess.run(["scancel", "--quiet", *orphans])  # what has ended meanwhile is no error
        _wait_for_the_end(prefix, place, patience)
    return orphans


def _wait_for_the_end(prefix: str, place: Path, patience: float) -> None:
    deadline = time.monotonic() + patience  # Slurm kills half a minute after SIGTERM, unless it is configured otherwise
    while left := _queued(prefix, place):
        if time.monotonic() > deadline:
            raise RecoveryError(
                f"Slurm: jobs {' '.join(left)} of a killed run have not ended {patience:.0f} s after scancel. "
                "Look at `squeue --me`, and run the same command again when they are gone."
            )
        time.sleep(1.0)


def _queued(prefix: str, place: Path) -> list[str]:
    words = ["squeue", "--me", "--noheader", "--format=%i %j %Z"]  # id, name, working directory
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        raise RecoveryError(f"Slurm: `{' '.join(words)}` failed: {done.stderr.strip()}. Try again when it answers.")
    jobs = (line.partition(" ") for line in done.stdout.splitlines())
    return [job for job, _, about in jobs if about.startswith(f"{prefix}_") and about.endswith(f" {place}")]


def _open(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)  # never closed: so it stays locked


def _lines(file: int) -> set[str]:
    return set(os.pread(file, 1 << 16, 0).decode().splitlines())


def _lock(file: int, how: int) -> bool | None:
    """Return whether the lock was free; None where the file system has no locks."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
