"""What the maintainer stores, and what a fresh clone makes of it, by the commands that users type.

The smoke configuration takes the default's place in a repository of its own.
"""

import functools
import http.server
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from fewshot_diffusion.storage.weights import WEIGHTS_FILES
from support import BIN, ROOT, command, copy_products, copy_tree, once, planned_jobs, snakemake

TABLE = "results/tables/smoke_fid.csv"
FIGURE = "results/figures/smoke_attributes.png"
SHARD = "results/smoke/samples/exact/Blond/1-of-1.safetensors"
NOTHING = "Nothing to be done"
# Jobs that run the denoiser: minutes in the demo.
COSTLY = {"train_denoiser", "install_denoiser", "extract_shot_features", "sample_unguided", "sample_guided"}
NAMES = ("TABLE=" + TABLE, "ACCURACY=results/tables/smoke_accuracy.csv", "FIGURE=" + FIGURE.removesuffix(".png"))
VERIFY = (str(BIN / "python"), "workflow/scripts/verify.py")

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


def assert_figure_is_redrawn(clone: Path, name: str = FIGURE) -> None:
    """Delete the figure and draw it again: one job, the same bytes, nothing to commit."""
    figure = clone / name
    before = figure.read_bytes()
    figure.unlink()
    done = snakemake(clone, "--cores", "2", name)
    assert planned_jobs(done.text) == {"draw_attributes_figure": 1}, done.text
    assert figure.read_bytes() == before
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
    assert_figure_is_redrawn(clone)
    # What was done here is in nobody's way.
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


def assert_all_are_named(folder: Path, damaged: Sequence[str]) -> None:
    done = command(folder, *VERIFY)
    assert done.status != 0
    assert not [name for name in damaged if f"{name}: " not in done.text], done.text
    assert f"error: {len(damaged)} files do not match" in done.text


def test_verify_names_every_damaged_file(clone: Path) -> None:
    dvc(clone, "pull")
    assert NOTHING in snakemake(clone, "-n").text
    print(succeed(clone, *VERIFY))
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
    assert_all_are_named(clone, damaged)


def exchange(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Put whole files, valid in themselves, in each other's place; return those that are not as they were."""
    changed = []
    for one, other in pairs:
        contents = [(folder / name).read_bytes() for name in (one, other)]
        if contents[0] == contents[1]:
            continue
        for name, content in zip((other, one), contents, strict=True):
            (folder / name).unlink()  # DVC links
            (folder / name).write_bytes(content)
            changed.append(name)
    return changed


def weights(one: str, other: str) -> list[tuple[str, str]]:
    return [(f"{one}/{name}", f"{other}/{name}") for name in WEIGHTS_FILES]


# Of every kind that jobs read, two files of one layout.
EXCHANGED = [
    (f"results/smoke/{one}", f"results/smoke/{other}")
    for one, other in [
        ("samples/exact/Blond/1-of-1.safetensors", "samples/exact/No-beard/1-of-1.safetensors"),
        ("samples/exact/Blond/1-of-1.timing.json", "samples/readout/Blond/1-of-1.timing.json"),
        ("samples/unguided/all/1-of-2.safetensors", "samples/unguided/all/2-of-2.safetensors"),
        *weights("heads/exact/Blond", "heads/exact/Beard"),
        ("shot_features/exact/Blond.safetensors", "shot_features/readout/Blond.safetensors"),
        ("descriptions/samples/exact/Blond.safetensors", "descriptions/samples/exact/No-beard.safetensors"),
        ("descriptions/reference.safetensors", "descriptions/controls.safetensors"),
        ("rejection/Blond.parquet", "rejection/No-beard.parquet"),
        ("evaluation/Blond.distances.csv", "evaluation/No-beard.distances.csv"),
        ("evaluation/Blond.accuracy.csv", "evaluation/No-beard.accuracy.csv"),
        ("shots/Blond.csv", "shots/Beard.csv"),
        ("images/shots.parquet", "images/reference.parquet"),
    ]
]


def test_verify_names_every_exchanged_file(clone: Path) -> None:
    dvc(clone, "pull")
    assert NOTHING in snakemake(clone, "-n").text
    last = [
        (TABLE, "results/tables/smoke_accuracy.csv"),
        ("results/figures/smoke_sheet_exact.png", "results/figures/smoke_sheet_readout.png"),
    ]
    changed = exchange(clone, [*EXCHANGED, *last])
    assert len(changed) > 2 * len(last) + 24
    assert_all_are_named(clone, changed)


def test_verify_names_every_exchanged_file_of_a_run_of_ones_own(smoke_run: Callable[[], Path], tmp_path: Path) -> None:
    """Nothing of it is stored; what jobs read is compared with what Snakemake recorded then."""
    copy_products(smoke_run(), copy_tree(tmp_path))
    shutil.rmtree(tmp_path / "weights")  # of other data, and perhaps not restored
    shutil.copytree(smoke_run() / "checkpoints", tmp_path / "checkpoints")
    print(succeed(tmp_path, *VERIFY))
    left_out = [
        ("results/smoke/images/controls.safetensors", "results/smoke/images/reference.safetensors"),
        *weights("results/smoke/image_classifier/Blond", "results/smoke/image_classifier/Beard"),
    ]
    [one, other, *_] = sorted(min((tmp_path / "checkpoints/samples").iterdir()).glob("unit-*.safetensors"))
    units = [(str(one.relative_to(tmp_path)), str(other.relative_to(tmp_path)))]
    changed = exchange(tmp_path, [*EXCHANGED, *left_out, *units])
    assert len(changed) > 30
    assert_all_are_named(tmp_path, changed)


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
    assert_figure_is_redrawn(clone)


def test_push_to_s3_and_pull_from_it(origin: Path, clone: Path, s3_server: str, tmp_path: Path) -> None:
    dvc(clone, "pull")
    for folder in (clone, without_its_own_remote(clone_of(origin, tmp_path / "another"))):
        dvc(folder, "remote", "add", "--local", "--default", "s3", "s3://weights/demo")
        dvc(folder, "remote", "modify", "--local", "s3", "endpointurl", s3_server)
    print(dvc(clone, "push"))
    dvc(tmp_path / "another", "pull")
    assert_is_complete(tmp_path / "another")
    assert_figure_is_redrawn(tmp_path / "another")


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
    assert_figure_is_redrawn(clone, "results/figures/attributes.png")
