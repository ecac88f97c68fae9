"""Interruptions of the real workflow, two instances in one folder, and names with shell characters in real jobs.

The sweep with more than a hundred moments is `make robustness`.
"""

import fcntl
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from PIL import Image

import robustness
from fewshot_diffusion.tooling.instances import BusyError, _started, answer_in_a_thread, claim, clear_dead_locks

BIN = Path(sys.executable).parent


def environment() -> dict[str, str]:
    return robustness.plain_environment(BIN)


def snakemake(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "snakemake"), *words]
    return subprocess.run(command, cwd=tree, env=environment(), capture_output=True, text=True, timeout=300)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    robustness.copy_workflow(folder)
    return folder


# --- locks ----------------------------------------------------------------------------------------------------------


def leave_locks(folder: Path) -> None:
    (folder / "locks").mkdir(parents=True, exist_ok=True)
    (folder / "locks" / "0.output.lock").write_text("results/a.csv\n")


@contextmanager
def parsed(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has read the Snakefile and not yet claimed the folder."""
    code = (
        "import pathlib, signal, sys; from fewshot_diffusion.tooling.instances import clear_dead_locks\n"
        "clear_dead_locks(pathlib.Path(sys.argv[1])); print(flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    variables = environment() | {"PYTHONPATH": str(robustness.ROOT / "workflow" / "scripts")}
    with subprocess.Popen(command, env=variables, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "\n"
        yield process
        process.kill()


def test_locks_of_a_dead_run_are_cleared(tmp_path: Path) -> None:
    assert not clear_dead_locks(tmp_path), "there are none yet"
    with parsed(tmp_path):
        leave_locks(tmp_path)
    assert clear_dead_locks(tmp_path)
    assert not (tmp_path / "locks").exists()


def test_locks_of_a_run_that_makes_its_environments_are_left(tmp_path: Path) -> None:
    """Snakemake locks, then creates envs for minutes, then runs `onstart`, where the folder is claimed."""
    with parsed(tmp_path) as run:
        leave_locks(tmp_path)
        with parsed(tmp_path):  # another reads the Snakefile meanwhile, and ends before it
            assert not clear_dead_locks(tmp_path)
        assert not clear_dead_locks(tmp_path)
        assert (tmp_path / "locks").exists()
        run.kill()
        robustness.wait_until(lambda: _started(run.pid) == "never")  # dead, though nobody has waited for it
        assert clear_dead_locks(tmp_path)


@pytest.mark.parametrize("runs", ["host elsewhere, process 1, started 5\n", ""])
def test_locks_of_another_machine_or_of_nobody_known_are_left(tmp_path: Path, runs: str) -> None:
    leave_locks(tmp_path)
    (tmp_path / "runs.txt").write_text(runs)
    assert not clear_dead_locks(tmp_path)
    assert (tmp_path / "locks" / "0.output.lock").exists()
    # Once somebody has removed them, what was elsewhere is forgotten.
    shutil.rmtree(tmp_path / "locks")
    clear_dead_locks(tmp_path)
    assert "elsewhere" not in (tmp_path / "runs.txt").read_text()


def test_a_number_that_another_process_uses_again_keeps_no_locks(tmp_path: Path) -> None:
    leave_locks(tmp_path)
    clear_dead_locks(tmp_path)
    line = (tmp_path / "runs.txt").read_text()
    assert f"process {os.getpid()}, started {_started(os.getpid())} " in line
    (tmp_path / "runs.txt").write_text(line.replace(_started(os.getpid()), "7"))
    assert clear_dead_locks(tmp_path)


def test_a_second_run_is_refused(tmp_path: Path) -> None:
    assert claim(tmp_path / "own")
    (tmp_path / "running.lock").write_text("host here, process 5, started 6\n")
    with (tmp_path / "running.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match=r"another snakemake works here \(host here, process 5\)\."):
            claim(tmp_path)
    assert claim(tmp_path)


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


@pytest.mark.slow
def test_two_instances_in_one_folder(tree: Path) -> None:
    """On other targets, Snakemake's own locks would let both run, and the first to end would remove the other's."""
    smoke = ("--configfile", "config/smoke.yaml")
    first, second = (f"results/smoke/class_images/{split}.safetensors" for split in ("class_train", "class_test"))
    command = [str(BIN / "snakemake"), "--cores", "1", first, *smoke]
    with (tree / "first.log").open("w") as output:
        running = subprocess.Popen(command, cwd=tree, env=environment(), stdout=output, stderr=output)
    try:
        log = tree / "logs" / "smoke" / "make_class_split" / "class_train.log"
        robustness.wait_until(lambda: log.exists() or running.poll() is not None)
        os.kill(running.pid, signal.SIGSTOP)  # it holds its locks for as long as this takes
        for target in (first, second):
            refused = snakemake(tree, "--cores", "1", target, *smoke)
            assert refused.returncode != 0
            said = "cannot be locked" if target == first else "another snakemake works here"
            assert said in refused.stderr, refused.stderr
            assert "Traceback" not in refused.stderr
        assert snakemake(tree, "-n", second, *smoke).returncode == 0, "a dry run disturbs nobody"
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
            for number in range(6):
                archive.writestr(f"train/{label}/{number}.jpg", buffer.getvalue())
    config = {
        "data": {
            "name": "hostile",
            "kind": "image_folder",
            "image_folder": {"path": str(folder / "set.zip"), "attributes": {"Bad": evil}},
            "splits": dict.fromkeys(["train", "shots", "judge", "tuning_judge", "controls", "reference"], 1)
            | {"pairs": 0, "class_train": 4, "class_test": 2},
        },
        "targets": [{"name": "Bad", "attribute": "Bad", "value": True, "label": evil[:40],
            "guidance_scale": {"exact": 1, "readout": 1}}],
    }  # fmt: skip
    (tree / "hostile.yaml").write_text(yaml.safe_dump(config))
    target = "results/hostile/images/train.safetensors"
    words = (target, "--configfile", "config/smoke.yaml", "hostile.yaml")
    assert snakemake(tree, "-n", *words).returncode == 0
    done = snakemake(tree, "--cores", "1", *words)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tree / target).exists()
    assert not [path for path in tree.rglob("*") if path.name.startswith("canary")]


@pytest.mark.parametrize("key", ["name", "attribute"])
@pytest.mark.parametrize("value", ["$(touch canary)", "a\nb", "../x", "a b", "-rf", "{x}", "a;b", "x\n"])
def test_names_that_become_paths_are_plain(key: str, value: str) -> None:
    from fewshot_diffusion.config.model import load_config
    from fewshot_diffusion.errors import ConfigError

    raw = yaml.safe_load((robustness.ROOT / "config" / "config.yaml").read_text())
    raw["targets"][0][key] = value
    with pytest.raises(ConfigError, match=rf"targets\.0\.{key}"):
        load_config(raw)
