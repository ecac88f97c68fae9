"""What decides whether a lock is a dead run's, whether another workflow runs, and what Slurm's queue still holds."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fewshot_diffusion.tooling.recovery import (
    RecoveryError,
    answer_in_a_thread,
    cancel_orphans,
    claim,
    clear_dead_locks,
)
from support import ROOT

# --- locks ----------------------------------------------------------------------------------------------------------


def leave_locks(folder: Path) -> None:
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    (folder / "locks" / "0.output.lock").write_text("results/a.csv\n")


@contextmanager
def process(function: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has called a function, told its result, started a job, and lives; its job survives it."""
    code = (
        f"import pathlib, signal, subprocess, sys; from fewshot_diffusion.tooling.recovery import {function}\n"
        f"result = {function}(pathlib.Path(sys.argv[1])); job = subprocess.Popen(['sleep', '60'])\n"
        "print(result, flush=True); signal.pause()"
    )
    variables = os.environ | {"PYTHONPATH": str(ROOT / "workflow" / "scripts")}
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE, process_group=0) as started:
        try:
            yield started
        finally:
            os.killpg(started.pid, signal.SIGKILL)


def said(started: subprocess.Popen[str]) -> bool:
    assert started.stdout is not None
    return {"True\n": True, "False\n": False}[started.stdout.readline()]


def removed(folder: Path) -> bool:
    """Whether one that reads the Snakefile, and then ends, removes the locks in a folder."""
    with process("clear_dead_locks", folder) as another:
        found = said(another)
    assert (folder / "locks").exists() != found
    return found


def test_locks_of_a_dead_run_are_removed(tmp_path: Path) -> None:
    with process("clear_dead_locks", tmp_path) as run:
        assert not said(run), "there are none yet"
        leave_locks(tmp_path)
    assert removed(tmp_path)


def test_a_job_that_outlives_its_run_keeps_no_locks(tmp_path: Path) -> None:
    with process("clear_dead_locks", tmp_path) as run:
        assert not said(run)
        leave_locks(tmp_path)
        run.kill()
        run.wait()
        assert removed(tmp_path)


def test_locks_of_a_run_that_makes_its_environments_are_left(tmp_path: Path) -> None:
    """Snakemake locks, then creates envs for minutes, then runs `onstart`, where the folder is claimed."""
    with process("clear_dead_locks", tmp_path) as run:
        assert not said(run)
        leave_locks(tmp_path)
        assert not removed(tmp_path)
        assert not removed(tmp_path), "though the one before has ended"
    assert removed(tmp_path)


@pytest.mark.parametrize("hosts", ["elsewhere\n", f"elsewhere\n{socket.gethostname()}\n", ""])
def test_locks_of_another_machine_or_of_nobody_known_are_left(tmp_path: Path, hosts: str) -> None:
    leave_locks(tmp_path)
    (tmp_path / "alive.lock").write_text(hosts)
    assert not removed(tmp_path)
    assert not removed(tmp_path), "though we were here since"


def test_another_machine_is_forgotten_with_its_locks(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "alive.lock").write_text("elsewhere\n")
    assert not removed(tmp_path)
    leave_locks(tmp_path)
    assert removed(tmp_path)


def test_a_second_workflow_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with process("claim", tmp_path) as run:
        assert said(run)
        who = rf"another snakemake works here \(host {socket.gethostname()}, process {run.pid}\)\. Wait"
        with pytest.raises(RecoveryError, match=who):
            claim(tmp_path)
        assert claim(tmp_path / "elsewhere")
        run.kill()
        run.wait()
        assert claim(tmp_path), "a job that outlives it claims nothing"


def test_without_locks_of_the_file_system_nothing_is_removed_or_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not clear_dead_locks(tmp_path)
    leave_locks(tmp_path)
    assert not clear_dead_locks(tmp_path)
    assert not claim(tmp_path)
    assert (tmp_path / "locks" / "0.output.lock").exists()


# --- SIGTERM --------------------------------------------------------------------------------------------------------


def test_a_signal_s_answer_may_wait_for_what_the_main_thread_holds() -> None:
    held, answered = threading.Lock(), threading.Event()

    def answer(*about: object) -> None:
        if held.acquire(timeout=10):
            answered.set()

    before = signal.signal(signal.SIGTERM, answer)
    try:
        answer_in_a_thread(signal.SIGTERM)
        with held:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)  # handlers run between two instructions of this thread
            assert not answered.is_set()
        assert answered.wait(10)
    finally:
        signal.signal(signal.SIGTERM, before)


# --- Slurm ----------------------------------------------------------------------------------------------------------

PLACE = Path("/home/a user/clone")
OURS = "1 run_3f0c /home/a user/clone\n2_[1-4] run_77aa /home/a user/clone\n"
OTHERS = "3 run_3f0c /home/a user/clone 2\n4 running_3f0c /home/a user/clone\n5 bash /home/a user/clone\n6 run_ /\n"


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what squeue prints, and with what scancel was told to end: `jobs`, `cancelled`."""
    program(tmp_path, "squeue", 'cat "$queue/jobs"')
    program(tmp_path, "scancel", 'echo "$@" > "$queue/cancelled"; cp "$queue/others" "$queue/jobs"')
    (tmp_path / "jobs").write_text(OURS + OTHERS)
    (tmp_path / "others").write_text(OTHERS)
    monkeypatch.setenv("queue", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_jobs_of_a_killed_run_are_cancelled_and_no_others(queue: Path) -> None:
    assert cancel_orphans("run", PLACE, patience=5) == ["1", "2_[1-4]"]
    assert (queue / "cancelled").read_text() == "--quiet 1 2_[1-4]\n"
    (queue / "cancelled").unlink()
    assert cancel_orphans("run", PLACE, patience=5) == []
    assert not (queue / "cancelled").exists()


def test_the_next_run_waits_until_they_have_ended(queue: Path) -> None:
    program(queue, "scancel", '(sleep 0.3; cp "$queue/others" "$queue/jobs") > /dev/null 2>&1 &')
    assert cancel_orphans("run", PLACE, patience=5) == ["1", "2_[1-4]"]
    assert (queue / "jobs").read_text() == OTHERS


def test_jobs_that_do_not_end_are_named_and_not_forgotten(queue: Path) -> None:
    program(queue, "scancel", "true")
    for _ in range(2):
        with pytest.raises(RecoveryError, match=r"jobs 1 2_\[1-4\] of a killed run have not ended"):
            cancel_orphans("run", PLACE, patience=0)


def test_a_slurm_that_does_not_answer_is_named(queue: Path) -> None:
    program(queue, "squeue", "echo 'Unable to contact controller' >&2; exit 1")
    with pytest.raises(RecoveryError, match="Unable to contact controller"):
        cancel_orphans("run", PLACE)


@pytest.mark.parametrize("prefix", ["", None])
def test_without_a_prefix_nothing_is_cancelled_but_said(queue: Path, prefix: str | None) -> None:
    with pytest.raises(RecoveryError, match="snakemake --profile slurm"):
        cancel_orphans(prefix, PLACE)
    assert not (queue / "cancelled").exists()
