"""A run as on a cluster, which several tests look at."""

import pytest

import cluster
from support import once


@pytest.fixture(scope="session")
def cluster_tree(tmp_path_factory: pytest.TempPathFactory) -> cluster.Tree:
    """A tree in which the smoke workflow ran through Slurm and in envs of conda: one for all processes."""
    folder = once(tmp_path_factory, "cluster", lambda folder: cluster.run(folder / "a tree"))
    return cluster.Tree(folder / "a tree")
