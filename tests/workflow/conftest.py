"""Runs of the smoke configuration that tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from robustness import warm_run
from support import SMOKE, copy_tree, once


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that returns a copy of the tree in which the smoke configuration has run: one for all processes.

    Its jobs share their imports. Jobs that start from nothing run through Slurm and in envs of conda.
    """

    def run(tree: Path) -> None:
        log = tree.with_suffix(".txt")
        with warm_run(copy_tree(tree), ["--cores", "2", *SMOKE], log) as status:
            assert status() == 0, log.read_text()

    return lambda: once(tmp_path_factory, "smoke", run)
