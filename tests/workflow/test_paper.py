"""config/paper.yaml: planned without a connection, and every rule of it run, from download to table, on miniatures.

Weights are random, images are noise: that the numbers mean nothing is part of the design.
"""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from miniatures import overlays, publish
from support import copy_tree, overlay, planned_jobs, snakemake

PAPER = ("--configfile", "config/paper.yaml")
AUDIT = """import sys
def note(event, arguments):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        open("connections.txt", "a").write(f"{event} {arguments}\\n")
sys.addaudithook(note)
"""
TABLES = {
    "celeba64": ("attributes", "attributes_judge"),
    "ffhq256": ("masks",),
    "tinyimagenet": ("classes", "classes_acceptance", "classes_calibration"),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which this machine serves it."""
    folder = tmp_path / "site"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("profile", [(), ("--profile", "slurm")], ids=["here", "slurm"])
def test_the_paper_is_planned_without_a_connection(tmp_path: Path, profile: tuple[str, ...]) -> None:
    tree = copy_tree(tmp_path / "tree")
    (tmp_path / "sitecustomize.py").write_text(AUDIT)
    done = snakemake(tree, "-n", *profile, *PAPER, PYTHONPATH=str(tmp_path))
    jobs = planned_jobs(done.text)
    assert done.status == 0, done.text
    assert not (tree / "connections.txt").exists(), (tree / "connections.txt").read_text()
    assert jobs["tinyimagenet_train_cell"] == 3 * 2 * 4
    assert {f"{run}_convert_denoiser" for run in TABLES} <= set(jobs)
    if profile:
        asked = done.text.split("rule tinyimagenet_train_generator:")[1].split("\n\n")[0]
        assert "runtime=480" in asked, "a rule of a run asks for what its rule does"


@pytest.mark.slow
def test_from_download_to_table(tmp_path: Path, site: tuple[Path, str]) -> None:
    tree, artefacts = copy_tree(tmp_path / "tree"), publish(*site)
    runs = {
        run: [f"config/paper/{run}.yaml", overlay(tree, f"{run}.yaml", **values)]
        for run, values in overlays(artefacts["inception"]["sha256"]).items()
    }
    names = [*PAPER, overlay(tree, "mini.yaml", runs=runs, downloads={"artefacts": artefacts})]
    planned = planned_jobs(snakemake(tree, "-n", *PAPER).text)

    done = snakemake(tree, "--cores", "2", *names, no_proxy="*")
    assert done.status == 0, done.text
    assert set(planned_jobs(done.text)) == set(planned)
    for run, tables in TABLES.items():
        for table in tables:
            assert len(pd.read_csv(tree / f"results/{run}/tables/{table}.csv")) > 1, table
    metrics = set(pd.read_csv(tree / "results/celeba64/tables/attributes.csv")["metric"])
    assert {"fid", "kid"} <= metrics
    again = snakemake(tree, "-n", *names)
    assert "Nothing to be done" in again.text, again.text
