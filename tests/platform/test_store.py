"""What the maintainer stores, and what a fresh clone makes of it, by the commands that users type.

The smoke configuration takes the default's place in a repository of its own.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from support import BIN, ROOT, Finished, command, copy_products, copy_tree, once, planned_jobs, snakemake

RESULTS = "results/smoke"
HEAD = f"{RESULTS}/attributes/heads/exact/Blond/diffusion_pytorch_model.safetensors"
NOTHING = "Nothing to be done"
# Jobs that train: what they make is stored.
COSTLY = {"train_denoiser", "train_judge", "train_attribute_head", "extract_attribute_features"}

pytestmark = pytest.mark.slow


def succeed(folder: Path, *words: str) -> str:
    done = command(folder, *words)
    assert done.status == 0, f"{words}: {done.text}"
    return done.text


def git(folder: Path, *words: str) -> str:
    return succeed(folder, "git", "-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", *words)


def dvc(folder: Path, *words: str) -> str:
    return succeed(folder, str(BIN / "dvc"), *words)


def make(folder: Path, target: str) -> Finished:
    # This environment is set up already.
    return command(folder, "make", "-o", ".venv/.installed", target, "DATA=smoke")


def make_smoke_the_default(tree: Path) -> None:
    path = tree / "config" / "config.yaml"
    merged = yaml.safe_load(path.read_text())
    update_config(merged, yaml.safe_load((tree / "config" / "smoke.yaml").read_text()))
    path.write_text(yaml.safe_dump(merged, sort_keys=False))
    ignored = tree / ".gitignore"
    kept = "".join(line for line in ignored.read_text().splitlines(True) if "smoke" not in line)
    ignored.write_text(kept.replace("avatars64", "smoke"))


def lend_environment(tree: Path) -> None:
    """Make BIN the folder's .venv, with a folder of its own for the Makefile's marks."""
    (tree / ".venv").mkdir()
    for path in BIN.parent.iterdir():
        if not path.name.startswith("."):
            (tree / ".venv" / path.name).symlink_to(path)


@pytest.fixture(scope="session")
def origin(smoke_run: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose products were stored by `make store` and committed."""
    if shutil.which("make") is None or sys.prefix == sys.base_prefix:
        pytest.skip("needs make, and a virtual environment to lend")

    def store(tree: Path) -> None:
        copy_tree(tree)
        copy_products(smoke_run(), tree)
        make_smoke_the_default(tree)
        lend_environment(tree)
        git(tree, "init", "--quiet")
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "--message", "A finished run")
        stored = make(tree, "store")
        assert stored.status == 0, stored.text
        git(tree, "commit", "--quiet", "--message", "Stored")

    return once(tmp_path_factory, "origin", store)


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    git(origin, "clone", "--quiet", str(origin), str(tmp_path / "clone"))
    lend_environment(tmp_path / "clone")
    return tmp_path / "clone"


def assert_is_complete(clone: Path) -> None:
    assert NOTHING in (text := snakemake(clone, "--cores", "2").text), text
    assert not git(clone, "status", "--porcelain")


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)


def test_the_maintainers_folder_is_clean_and_storing_again_changes_nothing(origin: Path) -> None:
    assert not git(origin, "status", "--porcelain")
    assert make(origin, "store").status == 0
    assert not git(origin, "status", "--porcelain")


def test_a_fresh_clone_needs_one_pull(clone: Path) -> None:
    assert not (clone / HEAD).exists()
    dvc(clone, "pull")
    assert (clone / HEAD).is_file()
    assert not (clone / RESULTS / "images/reference.parquet").exists(), "large and quickly drawn again"
    assert_is_complete(clone)
    assert "Everything is up to date" in dvc(clone, "pull")
    # All that follows from what is stored is made without training.
    for name in ("tables", "figures"):
        shutil.rmtree(clone / RESULTS / name)
    jobs = planned_jobs(snakemake(clone, "-n", "attributes").text)
    assert {"evaluate_attributes", "make_attributes_table", "draw_attributes_figure"} <= jobs.keys()
    assert not jobs.keys() & COSTLY


def test_a_damaged_product_is_named_and_what_follows_is_made_again(clone: Path) -> None:
    dvc(clone, "pull")
    damage(clone / HEAD)
    jobs = planned_jobs(snakemake(clone, "-n").text)
    assert "evaluate_attributes" in jobs
    assert jobs.get("train_attribute_head", 0) <= 1, "the damaged one, if it is older than its features"
    assert not jobs.keys() & COSTLY - {"train_attribute_head", "extract_attribute_features"}
    with (clone / RESULTS / "tables/attributes.csv").open("a") as table:
        table.write("a line\n")
    said = make(clone, "verify").text
    assert f"{RESULTS}/attributes/heads" in said
    assert f"M {RESULTS}/tables/attributes.csv" in said


def test_restoring_never_discards_in_silence(clone: Path) -> None:
    assert make(clone, "restore").status == 0
    damage(clone / HEAD)
    before = (clone / HEAD).read_bytes()
    refused = make(clone, "restore")
    assert refused.status != 0
    assert "dvc pull --force" in refused.text
    assert (clone / HEAD).read_bytes() == before
    dvc(clone, "pull", "--force")
    assert_is_complete(clone)


@pytest.mark.skipif(not (ROOT / "results/records.json").exists(), reason="nothing is stored yet: `make store`")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive cannot be cloned")
def test_a_fresh_clone_of_this_repository_needs_one_pull(tmp_path: Path) -> None:
    """Of the last commit: edits since then may have made its products stale, which is theirs to say."""
    git(ROOT, "clone", "--quiet", str(ROOT), str(tmp_path / "clone"))
    dvc(tmp_path / "clone", "pull")
    for target in ("results/tables/celeba_fid.csv", "attributes"):
        assert NOTHING in (text := snakemake(tmp_path / "clone", "-n", target).text), text
