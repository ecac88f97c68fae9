"""What the maintainer stores, and what a fresh clone makes of it, by the commands that users type.

The smoke configuration takes the default's place in a repository of its own.
"""

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from support import BIN, ROOT, command, copy_products, copy_tree, once, planned_jobs, snakemake

TABLE = "results/tables/smoke_fid.csv"
FIGURE = "results/figures/smoke_attributes.png"
SHARD = "results/smoke/samples/exact/Blond/1-of-1.safetensors"
NOTHING = "Nothing to be done"
# Jobs that run the denoiser: minutes in the demo.
COSTLY = {"train_denoiser", "install_denoiser", "extract_shot_features", "sample_unguided", "sample_guided"}
NAMES = ("TABLE=" + TABLE, "ACCURACY=results/tables/smoke_accuracy.csv", "FIGURE=" + FIGURE.removesuffix(".png"))

pytestmark = pytest.mark.slow


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    return succeed(folder, "git", *identity, *words)


def dvc(folder: Path, *words: str, **variables: str) -> str:
    return succeed(folder, str(BIN / "dvc"), *words, **variables)


def make(folder: Path, target: str) -> str:
    # This environment is set up already.
    return succeed(folder, "make", "-o", ".venv/.installed", target, *NAMES)


def succeed(folder: Path, *words: str, **variables: str) -> str:
    done = command(folder, *words, **variables)
    assert done.status == 0, f"{words}: {done.text}"
    return done.text


def make_smoke_the_default(tree: Path) -> None:
    path = tree / "config" / "config.yaml"
    merged = yaml.safe_load(path.read_text())
    update_config(merged, yaml.safe_load((tree / "config" / "smoke.yaml").read_text()))
    path.write_text(yaml.safe_dump(merged, sort_keys=False))
    ignored = tree / ".gitignore"
    lines = ignored.read_text().splitlines(keepends=True)
    ignored.write_text("".join(line for line in lines if "smoke" not in line))


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
    return once(tmp_path_factory, "origin", lambda tree: store(smoke_run(), tree))


def store(run: Path, tree: Path) -> None:
    """Make a copy of the tree and of a run in it, store the run, and commit."""
    copy_tree(tree)
    copy_products(run, tree)
    make_smoke_the_default(tree)
    shutil.rmtree(tree / "weights")
    shutil.copytree(tree / "results/smoke/denoiser", tree / "weights/smoke")
    lend_environment(tree)
    git(tree, "init", "--quiet")
    git(tree, "add", "--all", ":!weights")
    git(tree, "commit", "--quiet", "--message", "A finished run")
    print(make(tree, "store"))
    git(tree, "commit", "--quiet", "--message", "Stored")


def clone_of(origin: Path, folder: Path) -> Path:
    git(origin, "clone", "--quiet", str(origin), str(folder))
    lend_environment(folder)
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    return clone_of(origin, tmp_path / "clone")


def assert_is_complete(clone: Path) -> None:
    assert NOTHING in snakemake(clone, "--cores", "2", TABLE).text
    assert not git(clone, "status", "--porcelain")


def test_the_maintainers_folder_is_clean_and_storing_again_changes_nothing(origin: Path) -> None:
    assert not git(origin, "status", "--porcelain")
    make(origin, "store")
    assert not git(origin, "status", "--porcelain")
    assert not list((origin / "dvc-remote").rglob("*.tmp"))


def test_a_fresh_clone_needs_one_pull(clone: Path) -> None:
    assert not (clone / SHARD).exists()
    dvc(clone, "pull")
    assert (clone / SHARD).is_file()
    assert (clone / "weights/smoke/diffusion_pytorch_model.safetensors").is_file()
    assert not (clone / "results/smoke/images/reference.safetensors").exists(), "large and quickly drawn again"
    assert_is_complete(clone)
    assert NOTHING in snakemake(clone, "--cores", "2").text, "the default target"

    figure = clone / FIGURE
    before = figure.read_bytes()
    figure.unlink()
    done = snakemake(clone, "--cores", "2", FIGURE)
    assert planned_jobs(done.text) == {"draw_attributes_figure": 1}, done.text
    assert figure.read_bytes() == before
    # What was done here leaves nothing to commit, and is in nobody's way.
    assert not git(clone, "status", "--porcelain")
    assert "Everything is up to date" in dvc(clone, "pull")


def test_all_that_follows_from_the_samples_is_made_without_the_denoiser(clone: Path) -> None:
    dvc(clone, "pull")
    for name in ("descriptions", "rejection", "evaluation"):
        shutil.rmtree(clone / "results/smoke" / name)
    for name in ("tables", "figures"):
        shutil.rmtree(clone / "results" / name)
    jobs = planned_jobs(snakemake(clone, "-n").text)
    assert {"describe_guided", "describe_split", "reject", "evaluate", "make_tables"} <= jobs.keys()
    assert not jobs.keys() & COSTLY
    dvc(clone, "pull")
    git(clone, "checkout", "results")
    assert NOTHING in snakemake(clone, "-n").text
    # An edit of the code behind some of them makes these stale.
    with (clone / "workflow/scripts/fewshot_diffusion/figures.py").open("a") as file:
        file.write("\n# a comment\n")
    drawing = {"all": 1, "draw_attributes_figure": 1, "draw_unguided_sheet": 1, "draw_guided_sheet": 2}
    assert planned_jobs(snakemake(clone, "-n").text) == drawing


def test_make_demo_redraws_the_same_bytes(clone: Path) -> None:
    said = make(clone, "demo")
    assert planned_jobs(said) == {"draw_attributes_figure": 1, "make_tables": 1}, said
    assert "fd_efficientnet_lite0, distance to the class" in said
    assert not git(clone, "status", "--porcelain")


def test_restoring_never_discards_in_silence(clone: Path) -> None:
    make(clone, "restore")
    (clone / "results/smoke/shots/Blond.csv").write_text("id,label\n")
    done = command(clone, "make", "-o", ".venv/.installed", "restore", *NAMES)
    assert done.status != 0
    assert "dvc pull --force" in done.text
    assert (clone / "results/smoke/shots/Blond.csv").read_text() == "id,label\n"
    dvc(clone, "pull", "--force")
    assert_is_complete(clone)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)


def test_verify_names_every_damaged_file(clone: Path) -> None:
    dvc(clone, "pull")
    assert NOTHING in snakemake(clone, "-n").text
    verify = (str(BIN / "python"), "workflow/scripts/verify.py")
    print(succeed(clone, *verify))
    damaged = [
        SHARD,
        SHARD.replace(".safetensors", ".timing.json"),
        "results/smoke/descriptions/reference.safetensors",
        "results/smoke/evaluation/Blond.distances.csv",
        "results/smoke/rejection/Blond.parquet",
        "results/smoke/shots/Beard.csv",
        "results/smoke/shot_features/exact/Beard.safetensors",
        "results/smoke/judges/judge/diffusion_pytorch_model.safetensors",
        FIGURE,
        TABLE,
        str(next((clone / "dvc-remote").rglob("[0-9a-f]" * 30)).relative_to(clone)),
    ]
    for name in damaged:
        flip_a_bit(clone / name)
    done = command(clone, *verify)
    assert done.status != 0
    assert not [name for name in damaged if f"{name}: " not in done.text], done.text


# --- remotes --------------------------------------------------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        """Print nothing."""


@pytest.fixture
def web_server(origin: Path) -> Iterator[str]:
    """The URL of a plain HTTP server of the stored content."""
    handler = functools.partial(Quiet, directory=origin / "dvc-remote")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an S3 server with one bucket, `weights`."""
    boto3, moto = pytest.importorskip("boto3"), pytest.importorskip("moto.server")
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="weights")
    yield f"http://{host}:{port}"
    server.stop()


def without_its_own_remote(clone: Path) -> Path:
    shutil.rmtree(clone / "dvc-remote")
    git(clone, "rm", "-r", "--cached", "--quiet", "dvc-remote")
    git(clone, "commit", "--quiet", "--message", "No content")
    return clone


def test_pull_from_a_web_server(clone: Path, web_server: str) -> None:
    without_its_own_remote(clone)
    dvc(clone, "remote", "add", "--local", "--default", "web", web_server)
    dvc(clone, "pull")
    assert_is_complete(clone)


def test_push_to_s3_and_pull_from_it(origin: Path, clone: Path, s3_server: str, tmp_path: Path) -> None:
    dvc(clone, "pull")
    for folder in (clone, without_its_own_remote(clone_of(origin, tmp_path / "another"))):
        dvc(folder, "remote", "add", "--local", "--default", "s3", "s3://weights/demo")
        dvc(folder, "remote", "modify", "--local", "s3", "endpointurl", s3_server)
    print(dvc(clone, "push"))
    dvc(tmp_path / "another", "pull")
    assert_is_complete(tmp_path / "another")


# --- the repository itself ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (ROOT / "dvc.yaml").exists(), reason="the demo's products are not stored yet: `make store`")
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive cannot be cloned")
def test_a_fresh_clone_of_this_repository_needs_one_pull(tmp_path: Path) -> None:
    """Of the last commit: edits since then may have made its products stale, which is theirs to say."""
    clone = tmp_path / "clone"
    git(ROOT, "clone", "--quiet", str(ROOT), str(clone))
    dvc(clone, "pull")
    for targets in (["results/tables/celeba_fid.csv"], []):
        assert NOTHING in (text := snakemake(clone, "-n", *targets).text), text
    figure = clone / "results/figures/attributes.png"
    before = figure.read_bytes()
    figure.unlink()
    done = snakemake(clone, "--cores", "2", "results/figures/attributes.png")
    assert planned_jobs(done.text) == {"draw_attributes_figure": 1}, done.text
    assert figure.read_bytes() == before
    assert not git(clone, "status", "--porcelain")
