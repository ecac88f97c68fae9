"""One running workflow at a time in a folder; the locks of a killed one do not outlive it; SIGTERM always ends it.

Snakemake's own locks are files: they stay when it is killed, and a second instance on other targets removes them. The
operating system's lock, which ends with its process, tells whether those files still mean something.
"""

import fcntl
import os
import shutil
import signal
import socket
import threading
from pathlib import Path
from typing import IO

from .errors import FewshotError

_CLAIM = "running.lock"
_held: list[IO[str]] = []  # open until this process ends


class BusyError(FewshotError):
    """Another workflow runs in the same folder."""


def claim(folder: Path) -> None:
    """Keep other workflows out of Snakemake's ``folder`` until this process ends.

    Raises:
        BusyError: If another one runs there.
    """
    file = _open(folder)
    if _lock(file) is False:
        with file:
            owner = _owner(file)
        raise BusyError(
            f"{folder.absolute()}: another snakemake works here ({owner}). Wait for it, or use another clone."
        )
    _record(file)
    _held.append(file)


def clear_dead_locks(folder: Path) -> bool:
    """Remove Snakemake's locks in ``folder`` if the workflow that made them was killed; return whether that was so.

    Locks made on another machine are left: whether that one still runs cannot be seen everywhere.
    """
    with _open(folder) as file:
        locks = folder / "locks"
        found = any(locks.glob("*"))
        if not _lock(file) or (found and not _owner(file).startswith(f"host {_host()},")):
            return False
        if found:
            shutil.rmtree(locks)
        _record(file)  # now: a run may be killed between Snakemake's lock and its claim
        return found


def answer_in_a_thread(number: signal.Signals) -> None:
    """Let a thread do what this process does at a signal: it may then wait for locks that the main thread holds.

    Snakemake's scheduler takes a lock at SIGTERM, which waits for ever if the signal comes while the scheduler itself
    holds it: in the moment in which it records a finished job.
    """
    answer = signal.getsignal(number)
    if callable(answer):
        signal.signal(number, lambda *about: threading.Thread(target=answer, args=about, daemon=True).start())


def _open(folder: Path) -> IO[str]:
    folder.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(folder / _CLAIM, os.O_RDWR | os.O_CREAT, 0o666), "r+")


def _lock(file: IO[str]) -> bool | None:
    """Return whether the lock was free; None where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _owner(file: IO[str]) -> str:
    file.seek(0)
    return file.read().strip()


def _record(file: IO[str]) -> None:
    file.seek(0)
    file.write(f"host {_host()}, process {os.getpid():<10}\n")  # one length: a full disk does not empty the record
    file.flush()


def _host() -> str:
    return socket.gethostname()
