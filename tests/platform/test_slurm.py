"""The profile for Slurm, and a run through a real Slurm of one node, killed and typed again."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml

from cluster import BATCH, CHECKPOINT, CONFIG, STEPS, Story, Tree, jobs_of, rule_of
from determinism import products
from support import ROOT, SMOKE, copy_tree, planned_jobs, snakemake
from warm import warm_run

# --- the profile, without a cluster ---------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


def requested(tree: Path, **variables: str) -> dict[str, dict[str, str]]:
    """Return rule -> resource -> amount of its first attempt, from a dry run of everything."""
    done = snakemake(tree, "-n", "--profile", "slurm", *SMOKE, **variables)
    assert done.status == 0, done.text
    plans = re.findall(r"^rule (\w+):\n(?: .*\n)*?    resources: (.*)$", done.text, re.MULTILINE)
    return {rule: dict(amount.split("=", 1) for amount in amounts.split(", ")) for rule, amounts in plans}


@pytest.mark.slow
def test_gpus_go_to_the_rules_that_can_use_them(tree: Path) -> None:
    rules = requested(tree)
    can = {rule for rule, asked in rules.items() if asked["gpu"] == "1"}
    assert {"train_denoiser", "train_judge", "extract_attribute_features", "sample_attributes", "train_cell"} <= can
    assert not can & {"make_images", "make_masks", "evaluate_attributes", "make_attributes_table", "draw_sheet"}
    assert all(asked["gpu"] in ("0", "1") and "gpu_model" not in asked for asked in rules.values())
    assert not any("slurm_partition" in asked or "slurm_account" in asked for asked in rules.values())


@pytest.mark.slow
def test_a_cluster_s_own_words_come_from_the_environment(tree: Path) -> None:
    # Names that are Python's, or look like numbers, stay names.
    rules = requested(tree, SBATCH_PARTITION="max", SBATCH_ACCOUNT="042", FEWSHOT_GPU="a100")
    assert rules["train_denoiser"]["gpu"] == "1"
    for asked in rules.values():
        assert (asked["slurm_partition"], asked["slurm_account"], asked["gpu_model"]) == ("max", "042", "a100")
    assert all(asked["gpu"] == "0" for asked in requested(tree, FEWSHOT_GPU="none").values())


@pytest.mark.slow
def test_the_profile_names_rules_that_exist() -> None:
    profile, default = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()) for name in ("slurm", "default")
    )
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").rglob("*.smk"))
    assert set(profile["set-resources"]) <= set(re.findall(r"^\s*(?:use )?rule (?:\w+ as )?(\w+)", rules, re.MULTILINE))
    assert not set(default) & set(profile), "what profiles/default has, it would override in silence"


# --- a cluster ------------------------------------------------------------------------------------------------------


@pytest.fixture
def story(cluster_tree: Tree) -> Story:
    if why := cluster_tree.story.without_slurm:
        pytest.skip(why)
    return cluster_tree.story


def submitted(text: str) -> list[str]:
    return re.findall(r"has been submitted with SLURM jobid (\d+)", text)


@pytest.mark.slow
def test_a_run_survives_a_cancelled_job_and_a_killed_snakemake(
    cluster_tree: Tree, story: Story, tmp_path: Path
) -> None:
    known, (before, after) = story.jobs, story.said
    print(f"{len(known)} jobs through Slurm in {story.seconds:.0f} s")

    # Every job was Slurm's, and ended well, but those that were cancelled: by us, and what the killed Snakemake had
    # left in the queue, by the next one.
    [left] = re.findall(r"Cancelled jobs of a run that was killed: (.*)\.$", after, re.MULTILINE)
    orphaned = left.split(", ")
    assert set(jobs_of("sample_attributes", known)) & set(orphaned)
    assert {*submitted(before), *submitted(after)} == set(known)
    unfinished = {job for job, about in known.items() if about["state"] != "COMPLETED"}
    assert story.cancelled in unfinished
    assert unfinished <= {story.cancelled, *orphaned}, known
    # The next one planned nothing that the first had finished, and submitted just what it planned.
    whole, rest = (Counter(planned_jobs(text)) for text in (before, after))
    assert whole.total() > 28
    assert rest <= whole - Counter(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", before))
    assert Counter(rule_of(known[job]) for job in submitted(after)) + Counter(["attributes"]) == rest

    # What each rule asks for; the second attempt of the training got more memory.
    first, second = jobs_of("train_denoiser", known)
    assert first == story.cancelled
    assert [known[job]["memory"] for job in (first, second)] == ["16000M", "32000M"]
    asked = {rule_of(about): about["gpus"] for about in known.values()}
    assert asked["train_denoiser"] == asked["sample_attributes"] == "gres:gpu:fake:1"
    assert asked["make_images"] == asked["evaluate_attributes"] == "gres:gpu:fake:0"

    # SIGTERM came before the kill: the state of that step was written, and the second job went on from there.
    [step] = set(re.findall(rf"told to stop \(SIGTERM\) after step (\d+) of {STEPS};", story.text))
    checkpoints = {*range(CHECKPOINT, STEPS + 1, CHECKPOINT), int(step)}
    assert story.seen_images == [step * BATCH for step in sorted(checkpoints)]

    assert "Nothing to be done" in story.again, story.again

    # The same bytes as without Slurm.
    local = copy_tree(tmp_path / "local")
    shutil.copy(cluster_tree.folder / "cluster.yaml", local)
    with warm_run(local, ["--cores", "2", "attributes", *CONFIG], tmp_path / "local.txt") as status:
        assert status() == 0, (tmp_path / "local.txt").read_text()
    assert story.products == dict(products(local))
