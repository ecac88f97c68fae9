"""One running workflow at a time in a folder; the locks of a killed one do not outlive it; SIGTERM always ends it.

Snakemake's own locks are files: they stay when it is killed, and a second instance on other targets removes them. Two
files beside them tell what they still mean: one names every process that may have made some, the other is locked by
the operating system, which unlocks it when its process ends.
"""

import fcntl
import os
import shutil
import signal
import socket
import threading
from pathlib import Path
from typing import IO

from ..errors import FewshotError

_CLAIM = "running.lock"


_RUNS = "runs.txt"


_WIDTH = 120  # of a line that names a process: with one length, a full disk does not empty a record


_held: list[IO[str]] = []  # open until this process ends


class BusyError(FewshotError):
    """Another workflow runs in the same folder."""


def claim(folder: Path) -> bool:
    """Keep other workflows out of Snakemake's ``folder`` until this process ends.

    Returns:
        Whether that is sure; where the file system has no locks, another one may run there.

    Raises:
        BusyError: If another one runs there.
    """
    file = _open(folder / _CLAIM)
    locked = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if locked is False:
        with file:
            owner = "".join(_read(file)[:1]).partition(", started")[0]
        raise BusyError(
            f"{folder.absolute()}: another snakemake works here ({owner}). Wait for it, or use another clone."
        )
    _write(file, [_this_process()])
    _held.append(file)
    return bool(locked)


def clear_dead_locks(folder: Path) -> bool:
    """Remove Snakemake's locks in ``folder`` if all that may have made them have died; return whether that was so.

    From here on, this process is one that may make some. Locks stay where one of those processes lives, where one ran
    on another machine, since whether it still does cannot be seen everywhere, and where nobody is known.
    """
    locks = folder / "locks"
    with _open(folder / _RUNS) as file:
        _lock(file, fcntl.LOCK_EX)
        found = any(locks.glob("*"))
        runs, own = _read(file), _this_process()
        living = [run for run in runs if run != own and (_lives(run) if run.startswith(_here()) else found)]
        dead = found and bool(runs) and not living
        if dead:
            shutil.rmtree(locks)
        _write(file, [*living, own])
    return dead


def answer_in_a_thread(number: signal.Signals) -> None:
    """Let a thread do what this process does at a signal: it may then wait for locks that the main thread holds.

    Snakemake's scheduler takes a lock at SIGTERM, which waits for ever if the signal comes while the scheduler itself
    holds it: in the moment in which it records a finished job.
    """
    answer = signal.getsignal(number)
    if callable(answer):
        signal.signal(number, lambda *about: threading.Thread(target=answer, args=about, daemon=True).start())


def _open(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")


def _lock(file: IO[str], how: int) -> bool | None:
    """Return whether the lock was free; None where the file system has no locks."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _read(file: IO[str]) -> list[str]:
    file.seek(0)
    return [line.rstrip() for line in file if line.strip()]


def _write(file: IO[str], lines: list[str]) -> None:
    file.seek(0)
    file.write("".join(f"{line:<{_WIDTH}}\n" for line in lines))
    file.truncate()
    file.flush()


def _here() -> str:
    return f"host {socket.gethostname()}, "


def _this_process() -> str:
    process = os.getpid()
    return f"{_here()}process {process}, started {_started(process)}"


def _lives(run: str) -> bool:
    process = run.removeprefix(_here()).removeprefix("process ").partition(",")[0]
    return run == f"{_here()}process {process}, started {_started(process)}"


def _started(process: int | str) -> str:
    """Return when a process started, in the kernel's ticks, so that a number that is used again is told apart."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "never"
    return "never" if words[0] in "ZX" else words[19]  # dead, though nobody has asked for its exit status
