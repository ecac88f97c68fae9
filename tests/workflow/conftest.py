"""One run of the smoke configuration for all tests of the workflow."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support import SMOKE, copy_tree, snakemake


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that returns a copy of the tree in which the smoke configuration has run: one for all processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def run() -> Path:
        tree, done = shared / "smoke" / "tree", shared / "smoke.done"
        with (shared / "smoke.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(tree, ignore_errors=True)
                finished = snakemake(copy_tree(tree), "--cores", "2", *SMOKE)
                assert finished.status == 0, finished.text
                done.touch()
        return tree

    return run
