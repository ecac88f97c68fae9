"""The workflow through a real Slurm of one node: `snakemake --profile slurm`, a job that is cancelled, and the end."""

import fcntl
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from support import BIN, ROOT, copy_tree, overlay, snakemake, start

CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
CANNOT_RUN = 3  # its exit status where Slurm cannot run at all
PROFILE = ("--profile", "slurm")
CONFIG = ("--configfile", "config/smoke.yaml", "slurm_test.yaml")
TARGET = "results/smoke/sweep/readout/Blond.csv"
STEPS, CHECKPOINT, BATCH = 200, 25, 16  # of the training: long enough to be caught
TRAINING = {"num_images": STEPS * BATCH, "batch_size": BATCH, "checkpoint_images": CHECKPOINT * BATCH}
PATIENCE = 1500  # seconds


# --- the profile, without a cluster ---------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = copy_tree(tmp_path / "tree")
    overlay(tree, "slurm_test.yaml", denoiser={"training": TRAINING})
    return tree


def requested(tree: Path, **variables: str) -> dict[str, dict[str, str]]:
    """Return rule -> resource -> amount of its first attempt, from a dry run."""
    done = snakemake(tree, "-n", *PROFILE, *CONFIG, "--", TARGET, **variables)
    assert done.status == 0, done.text
    plans = re.findall(r"^rule (\w+):\n(?: .*\n)*?    resources: (.*)$", done.text, re.MULTILINE)
    return {rule: dict(amount.split("=", 1) for amount in amounts.split(", ")) for rule, amounts in plans}


def test_gpus_go_to_the_rules_that_can_use_them(tree: Path) -> None:
    rules = requested(tree)
    assert {rule for rule, asked in rules.items() if asked["gpu"] == "1"} == {
        "train_denoiser",
        "train_judge",
        "extract_shot_features",
        "sample_sweep",
    }
    assert all(asked["gpu"] in ("0", "1") and "gpu_model" not in asked for asked in rules.values())
    assert not any("slurm_partition" in asked or "slurm_account" in asked for asked in rules.values())


def test_a_cluster_s_own_words_come_from_the_environment(tree: Path) -> None:
    # Names that are Python's, or look like numbers, stay names.
    rules = requested(tree, SBATCH_PARTITION="max", SBATCH_ACCOUNT="042", FEWSHOT_GPU="a100")
    assert rules["train_denoiser"]["gpu"] == "1"
    for asked in rules.values():
        assert (asked["slurm_partition"], asked["slurm_account"], asked["gpu_model"]) == ("max", "042", "a100")
    assert all(asked["gpu"] == "0" for asked in requested(tree, FEWSHOT_GPU="none").values())


def test_the_profile_names_rules_that_exist() -> None:
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    declared = set(re.findall(r"^\s*rule (\w+):", rules, re.MULTILINE))
    declared |= set(re.findall(r"^\s*use rule \w+ as (\w+) with:", rules, re.MULTILINE))
    assert len(profile["set-resources"]) > 10
    assert set(profile["set-resources"]) <= declared
    # What profiles/default has, it would override in silence.
    default = yaml.safe_load((ROOT / "profiles" / "default" / "config.yaml").read_text())
    assert not set(default) & set(profile)


# --- a cluster ------------------------------------------------------------------------------------------------------


def cluster(command: str) -> None:
    done = subprocess.run([str(CLUSTER), command], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode == CANNOT_RUN:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.fixture
def slurm() -> Iterator[None]:
    """A Slurm of one node; one at a time on this machine."""
    with (Path(tempfile.gettempdir()) / "fewshot-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster("install")
        cluster("start")
        try:
            yield
        finally:
            cluster("stop")


def jobs() -> dict[str, dict[str, str]]:
    """Return job id -> what Slurm remembers of it: its state, its rule, its memory and its GPUs."""
    names = ("state", "memory", "gpus", "rule")
    fields = "JobID:|,State:|,MinMemory:|,tres-per-job:|,Comment:|"
    done = subprocess.run(
        ["squeue", "--noheader", "--states=all", f"--Format={fields}"], capture_output=True, text=True, check=True
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {row[0]: dict(zip(names, row[1:5], strict=True)) for row in rows}


def jobs_of(rule: str) -> list[str]:
    return sorted((job for job, about in jobs().items() if about["rule"].startswith(f"rule_{rule}_")), key=int)


def seen_images(tree: Path) -> list[int]:
    """Return how many images each line of the training's log has seen."""
    lines = [path.read_text().splitlines() for path in tree.glob("checkpoints/denoiser/*/log.jsonl")]
    return [json.loads(line)["images"] for line in lines[0]] if lines else []


@contextmanager
def running(tree: Path, *arguments: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run Snakemake in the background, what it says going to a file."""
    said = tree.with_suffix(".txt")
    with said.open("w") as file:
        process = start(tree, str(BIN / "snakemake"), *arguments, output=file, **variables)
        try:
            yield process, said
        finally:
            process.kill()
            process.wait()


def wait_until(process: subprocess.Popen[str], said: Path, reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(said.read_text())
        time.sleep(0.05)


def products(tree: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (tree / "results").rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_run_through_slurm_with_a_cancelled_job(slurm: None, tree: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    local = copy_tree(tmp_path / "local")
    shutil.copy(tree / "slurm_test.yaml", local)
    command = (*PROFILE, "--slurm-init-seconds-before-status-checks", "1", *CONFIG, "--", TARGET)
    with (
        running(tree, *command, SBATCH_PARTITION="tests", FEWSHOT_GPU="fake") as (process, said),
        running(local, "--cores", "1", *CONFIG, "--", TARGET) as (without_slurm, said_without),
    ):
        # A training is cancelled between two of its own checkpoints.
        wait_until(process, said, lambda: seen_images(tree))
        [cancelled] = jobs_of("train_denoiser")
        subprocess.run(["scancel", cancelled], check=True)
        assert process.wait(PATIENCE) == 0, said.read_text()
        assert without_slurm.wait(PATIENCE) == 0, said_without.read_text()
    print(f"{time.monotonic() - started:.0f} s through Slurm, and beside it without")
    text = said.read_text()

    # Every job was Slurm's; the cancelled one was submitted anew, with more memory.
    known = jobs()
    assert set(re.findall(r"has been submitted with SLURM jobid (\d+)", text)) == set(known)
    assert len(known) == 12, "eleven jobs, one of them twice"
    assert {job: about["state"] for job, about in known.items() if about["state"] != "COMPLETED"} == {
        cancelled: "CANCELLED"
    }
    first, second = jobs_of("train_denoiser")
    assert first == cancelled
    assert [known[job]["memory"] for job in (first, second)] == ["16000M", "32000M"]
    asked = {about["rule"].split("_wildcards")[0]: about["gpus"] for about in known.values()}
    assert asked["rule_train_denoiser"] == asked["rule_sample_sweep"] == "gres:gpu:fake:1"
    assert asked["rule_make_split"] == asked["rule_score_sweep"] == "gres:gpu:fake:0"

    # SIGTERM came before the kill: the state of that step was written, and the second job went on from there.
    [step] = re.findall(rf"told to stop \(SIGTERM\) after step (\d+) of {STEPS};", text)
    checkpoints = {*range(CHECKPOINT, STEPS + 1, CHECKPOINT), int(step)}
    assert seen_images(tree) == [step * BATCH for step in sorted(checkpoints)]

    # Nothing is left to do, and nothing is done.
    before = products(tree)
    again = snakemake(tree, *command)
    assert again.status == 0
    assert "Nothing to be done" in again.text, again.text
    assert products(tree) == before
    assert jobs().keys() == known.keys()

    # The same bytes as without Slurm.
    for name in (TARGET, "results/smoke/denoiser/diffusion_pytorch_model.safetensors"):
        assert (tree / name).read_bytes() == (local / name).read_bytes(), name
