"""Interruptions of the real workflow, two instances in one folder, and names with shell characters in real jobs.

The sweep with more than a hundred moments is `make robustness`.
"""

import io
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

import robustness
from warm import plain_environment, wait_until

BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    return plain_environment(BIN)


def snakemake(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "snakemake"), *words]
    return subprocess.run(command, cwd=tree, env=environment(), capture_output=True, text=True, timeout=300)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    robustness.copy_workflow(folder)
    return folder


# --- two instances --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_instances_in_one_folder(tree: Path) -> None:
    """On other targets, Snakemake's own locks would let both run, and the first to end would remove the other's."""
    smoke = ("--configfile", "config/smoke.yaml")
    first, second = (f"results/smoke/images/{split}.parquet" for split in ("class_train", "class_test"))
    command = [str(BIN / "snakemake"), "--cores", "1", first, *smoke]
    with (tree / "first.log").open("w") as output:
        running = subprocess.Popen(command, cwd=tree, env=environment(), stdout=output, stderr=output)
    try:
        log = tree / "logs" / "smoke" / "make_images" / "class_train.log"
        wait_until(lambda: log.exists() or running.poll() is not None)
        os.kill(running.pid, signal.SIGSTOP)  # it holds its locks for as long as this takes
        for target in (first, second):
            refused = snakemake(tree, "--cores", "1", target, *smoke)
            assert refused.returncode != 0
            said = "cannot be locked" if target == first else "another snakemake works here"
            assert said in refused.stderr, refused.stderr
            assert "Traceback" not in refused.stderr
        assert snakemake(tree, "-n", second, *smoke).returncode == 0, "a dry run disturbs nobody"
        assert list((tree / ".snakemake" / "locks").iterdir()), "nobody took the living run's locks"
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert running.wait(timeout=300) == 0, (tree / "first.log").read_text()
    assert (tree / first).exists()
    assert not (tree / second).exists()


# --- interruptions --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_eight_interruptions_of_the_workflow(capsys: pytest.CaptureFixture[str]) -> None:
    found = robustness.sweep(moments=8, per_round=8, seed=5)
    table = found.table()
    with capsys.disabled():
        print(f"\n{table.to_string(index=False)}")
    assert table["moments"].sum() == 8
    assert (table["resumed"] == table["moments"]).all()
    assert (table["equal_bytes"] == table["moments"]).all()
    assert (table["units_redone"] == 0).all()


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_shell_characters_in_paths_classes_and_labels_run_nothing(tree: Path) -> None:
    evil = "$(touch canary)`touch canary`;touch canary'\"&"
    folder = tree / f"a b\n{evil}"
    folder.mkdir()
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 10, 10)).save(buffer, "JPEG")
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for label in ("first", evil):
            for number in range(150):
                archive.writestr(f"train/{label}/{number}.jpg", buffer.getvalue())
    config = {
        "data": {
            "name": "hostile",
            "kind": "image_folder",
            "image_folder": {"path": str(folder / "set.zip"), "attributes": {"Bad": evil}},
            "splits": dict.fromkeys(["train", "judge", "tuning_judge", "controls", "reference"], 40),
        },
        "attributes": {
            "splits": {"shots": 40},
            "targets": [{"name": "Bad", "attribute": "Bad", "value": True, "label": evil[:40],
                "guidance_scale": {"exact": 1, "readout": 1}}],
        },
        "masks": None,
        "classes": {"splits": {"class_train": 40, "class_test": 40}},
    }  # fmt: skip
    (tree / "hostile.yaml").write_text(yaml.safe_dump(config))
    target = "results/hostile/images/train.parquet"
    words = (target, "--configfile", "config/smoke.yaml", "hostile.yaml")
    assert snakemake(tree, "-n", *words).returncode == 0
    done = snakemake(tree, "--cores", "1", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tree / target).exists()
    assert not [path for path in tree.rglob("*") if path.name.startswith("canary")]
