"""`snakemake --sdm conda` creates every env and runs a small workflow in them, through a stand-in for conda.

Proven: Snakemake's own conda deployment works with these env files; each file's conda part is solvable and its pins
hold together (`pip check`); every module that a rule imports is there in its rule's env, where nothing else can be
imported; the smoke workflow runs there.

Not proven: that conda-forge serves the interpreter and pip, or that a package registry serves the pinned versions. The
stand-in's channel is local, its interpreter is the one that runs the tests, and the packages of the `pip:` sections are
linked from the test environment, after a comparison of versions: each env gets its pins and what they require,
recursively, and nothing else. `CONDA_STANDIN_PIP=install` lets each env's own pip install from the configured registry
instead: about 6 GB and some minutes per env.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster import HAS_CONDA, PIP, Tree
from conda.channel import TOO_NEW, build_channel
from conda.standin import write_base
from fewshot_diffusion.tooling.code_digest import imported_modules
from support import ROOT, Finished, overlay

SCRIPTS = ROOT / "workflow" / "scripts"
# Those of no smoke run aside.
ENVS = sorted({path.stem for path in (ROOT / "envs").glob("*.yaml")} - {"crate", "download", "latent", "own"})
# Packages that the test environment has, and the envs that may import them.
IMPORTABLE = {
    "diffusers": set(ENVS) - {"data", "figures"},
    "dicebear": {"data"},
    "resvg_py": {"data"},
    "pytorch_fid": {"evaluation", "figures"},
    "efficientnet_lite_pytorch": {"evaluation", "figures"},
    "matplotlib": {"figures"},
    "fewshot_diffusion": set(),
    "snakemake": set(),
    "pytest": set(),
    "rattler": set(),
    "dvc": set(),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not HAS_CONDA, reason="the env files ask for Python 3.11, and the channel has only this one"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in's base prefix."""
    folder = tmp_path_factory.mktemp("conda")
    build_channel(folder / "channel")
    write_base(folder / "base", folder / "channel", pip=PIP)
    return folder / "base"


def conda(base: Path, *arguments: str) -> Finished:
    done = subprocess.run(
        [str(base / "bin" / "conda"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Finished(done.returncode, done.stdout)


def create(base: Path, folder: Path, *requirements: str, python: str = "3.11.*") -> Finished:
    """Create an env in ``folder``/env, as Snakemake would."""
    content = yaml.safe_load((ROOT / "envs" / "data.yaml").read_text())
    content["dependencies"] = [f"python={python}", "pip", {"pip": list(requirements)}]
    overlay(folder, "env.yaml", **content)
    paths = ("--file", str(folder / "env.yaml"), "--prefix", str(folder / "env"))
    return conda(base, "env", "create", "--quiet", "--no-default-packages", *paths)


def run_python(prefix: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(prefix / "bin" / "python"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def pins(env: str) -> dict[str, str]:
    content = yaml.safe_load((ROOT / "envs" / f"{env}.yaml").read_text())
    return dict(line.split("==") for line in content["dependencies"][-1]["pip"])


def test_an_env_holds_what_its_file_asks_for_and_nothing_else(base: Path, tmp_path: Path) -> None:
    done = create(base, tmp_path, f"tqdm=={pins('diffusion')['tqdm']}")
    assert done.status == 0, done.text
    listed = conda(base, "list", "--explicit", "--prefix", str(tmp_path / "env")).text
    assert re.findall(r"/(\w+)-3\.11\.\d+-0\.tar\.bz2", listed) == ["python"], "not the newest, but the asked for"
    assert TOO_NEW not in listed
    frozen = run_python(tmp_path / "env", "-m", "pip", "list", "--format", "freeze")
    assert {line.split("==")[0] for line in frozen.split()} == {"pip", "tqdm"}


@pytest.mark.parametrize(
    ("requirement", "python", "said"),
    [("tqdm==0.0.1", "3.11.*", "tqdm"), ("absent-package==1", "3.11.*", "absent-package"), ("", "3.10.*", "python")],
)
def test_what_cannot_be_met_is_named(base: Path, tmp_path: Path, requirement: str, python: str, said: str) -> None:
    done = create(base, tmp_path, *filter(None, [requirement]), python=python)
    assert done.status != 0
    assert said in done.text


def prefixes_of(tree: Tree) -> dict[str, Path]:
    """Return env -> prefix; Snakemake keeps the file that it created an env from beside it."""
    content = {(tree.folder / "envs" / f"{name}.yaml").read_text(): name for name in ENVS}
    created = sorted((tree.folder / ".snakemake" / "conda").glob("*.yaml"))
    return {content[path.read_text()]: path.with_suffix("") for path in created if path.read_text() in content}


def check_env(env: str, prefix: Path) -> None:
    """Every import of every rule is there, and other packages of the test environment are not."""
    rules = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").rglob("*.smk"))
    scripts = set(re.findall(rf'code\("(\w+\.py)", env="{env}"\)', rules))
    needed = sorted(set().union(*(imported_modules(SCRIPTS / script) for script in scripts)))
    code = (
        "import importlib, importlib.util as util, sys\n"
        f"print([name for name in {sorted(IMPORTABLE)} if util.find_spec(name)])\n"
        f"print([name for name in {needed} if util.find_spec(name) is None])\n"
        f"sys.path.insert(0, {str(SCRIPTS)!r})\n"
        f"for name in {sorted(script.removesuffix('.py') for script in scripts)}: importlib.import_module(name)\n"
        "print(sys.prefix)"
    )
    found, missing, where = run_python(prefix, "-W", "ignore", "-c", code).splitlines()[-3:]
    assert found == str([name for name in sorted(IMPORTABLE) if env in IMPORTABLE[name]]), env
    assert missing == "[]", env
    assert Path(where) == prefix
    assert "No broken requirements" in run_python(prefix, "-m", "pip", "check")


def check_a_package_that_an_env_lacks_stops_its_jobs(tree: Tree) -> None:
    """Though the environment that runs Snakemake has it."""
    path = tree.folder / "envs" / "data.yaml"
    path.write_text(re.sub(r".*resvg.py.*\n", "", path.read_text()))
    done = tree.run("--cores", "1", targets=("results/smoke/images/pairs.parquet",))
    assert done.status != 0
    assert "No module named 'resvg_py'" in (tree.folder / "logs/smoke/make_images/pairs.log").read_text()


def test_the_workflow_ran_in_envs_of_conda(cluster_tree: Tree) -> None:
    """One test of many steps: they share the envs."""
    tree, story = cluster_tree, cluster_tree.story
    assert "Nothing to be done" in story.again
    prefixes = prefixes_of(tree)
    assert set(prefixes) == set(ENVS)
    told = [story.text, *(path.read_text() for path in (tree.folder / "logs" / "slurm").rglob("*.log"))]
    activated = set(re.findall(r"Activating conda environment: (\S+)", "".join(told)))
    assert activated == {str(prefix.relative_to(tree.folder)) for prefix in prefixes.values()}
    for env, prefix in prefixes.items():
        check_env(env, prefix)
    check_a_package_that_an_env_lacks_stops_its_jobs(tree)
