"""One run of the smoke configuration for all tests of the workflow."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support import SMOKE, copy_tree, once, snakemake


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A function that returns a copy of the tree in which the smoke configuration has run: one for all processes."""

    def run(tree: Path) -> None:
        finished = snakemake(copy_tree(tree), "--cores", "2", *SMOKE)
        assert finished.status == 0, finished.text

    return lambda: once(tmp_path_factory, "smoke", run)
