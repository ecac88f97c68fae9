"""`snakemake --sdm conda` creates every env and runs a small workflow in them, through a stand-in for conda.

Proven: Snakemake's own conda deployment works with these env files; each file's conda part is solvable and its pins
hold together (`pip check`); every module behind every rule imports in its rule's env, where nothing else can be
imported; the smoke workflow, with rules of every env, runs there; edits of an env file reach exactly its rules.

Not proven: that conda-forge serves the interpreter and pip, or that a package registry serves the pinned versions. The
stand-in's channel is local, its interpreter is the one that runs the tests, and the packages of the `pip:` sections are
linked from the test environment, after a comparison of versions: each env gets its pins and what they require,
recursively, and nothing else. What the pins themselves require has the versions of requirements.lock here; pip would
take the newest that fit. `CONDA_STANDIN_PIP=install` lets each env's own pip install from the configured registry
instead: about 6 GB and some minutes per env.
"""

import os
import re
import resource
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from cluster import HAS_CONDA, PIP, Tree
from conda.channel import TOO_NEW, build_channel
from conda.standin import write_base
from support import Finished, overlay, planned_jobs
from workflow.test_repository import all_rules, distributions_of_packages, env_pins, imported_names, own_modules

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
ENVS = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))
RULE_ENV = {rule.name: rule.env.stem for rule in all_rules() if "shell" in rule.directives}
# Packages that the test environment has, and the envs that may import them.
IMPORTABLE = {
    "diffusers": set(ENVS),
    "dicebear": {"data"},
    "resvg_py": {"data"},
    "scipy": {"evaluation"},
    "pytorch_fid": {"evaluation"},
    "efficientnet_lite_pytorch": {"evaluation"},
    "torchvision": {"evaluation", "classifiers"},
    "matplotlib": {"figures"},
    "fewshot_diffusion": set(),
    "snakemake": set(),
    "pytest": set(),
    "rattler": set(),
    "dvc": set(),
}

pytestmark = pytest.mark.skipif(
    not HAS_CONDA, reason="the env files ask for Python 3.11, and the local channel has only this one"
)


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


def create(base: Path, folder: Path, *requirements: str) -> Finished:
    """Create an env in ``folder``/env, as Snakemake would."""
    content = yaml.safe_load((ROOT / "envs" / "data.yaml").read_text())
    content["dependencies"][-1] = {"pip": list(requirements)}
    overlay(folder, "env.yaml", **content)
    paths = ("--file", str(folder / "env.yaml"), "--prefix", str(folder / "env"))
    return conda(base, "env", "create", "--quiet", "--no-default-packages", *paths)


def python(prefix: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(prefix / "bin" / "python"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


# --- the stand-in itself --------------------------------------------------------------------------------------------


def test_an_env_holds_what_its_file_asks_for_and_nothing_else(base: Path, tmp_path: Path) -> None:
    done = create(base, tmp_path, f"tqdm=={env_pins(ROOT / 'envs' / 'data.yaml')['tqdm']}")
    assert done.status == 0, done.text
    listed = conda(base, "list", "--explicit", "--prefix", str(tmp_path / "env")).text
    assert re.findall(r"/(\w+)-3\.11\.\d+-0\.tar\.bz2", listed) == ["python"], "not the newest, but the asked for"
    assert TOO_NEW not in listed
    frozen = python(tmp_path / "env", "-m", "pip", "list", "--format", "freeze")
    assert {line.split("==")[0] for line in frozen.split()} == {"pip", "tqdm"}
    assert conda(base, "clean", "-y", "--tarballs", "--packages").status == 0
    assert not (base / "pkgs").exists()


@pytest.mark.skipif(PIP != "link", reason="pip words it otherwise")
@pytest.mark.parametrize(("requirement", "said"), [("tqdm==0.0.1", "but"), ("absent-package==1", "does not have")])
def test_a_pin_that_cannot_be_met_is_named(base: Path, tmp_path: Path, requirement: str, said: str) -> None:
    done = create(base, tmp_path, requirement)
    assert done.status == 1
    assert f"requires {requirement}" in done.text
    assert said in done.text


def test_an_interpreter_that_the_channel_lacks_is_refused(base: Path, tmp_path: Path) -> None:
    content = {"channels": ["conda-forge", "nodefaults"], "dependencies": ["python=3.10.*", "pip"]}
    path = tmp_path / overlay(tmp_path, "env.yaml", **content)
    done = conda(base, "env", "create", "--file", str(path), "--prefix", str(tmp_path / "env"))
    assert done.status != 0
    assert "python" in done.text


# --- the workflow ---------------------------------------------------------------------------------------------------


def prefixes_of(tree: Tree) -> dict[str, Path]:
    """Return env -> prefix; Snakemake keeps the file that it created an env from beside it."""
    content = {(tree.folder / "envs" / f"{name}.yaml").read_text(): name for name in ENVS}
    created = sorted((tree.folder / ".snakemake" / "conda").glob("*.yaml"))
    return {content[path.read_text()]: path.with_suffix("") for path in created if path.read_text() in content}


def append(tree: Tree, env: str, text: str) -> None:
    with (tree.folder / "envs" / f"{env}.yaml").open("a") as file:
        file.write(text)


def finished_rules(text: str) -> set[str]:
    return set(re.findall(r"Finished jobid: \d+ \(Rule: (\w+)\)", text)) - {"all"}


def modules_of(env: str) -> tuple[set[str], set[str]]:
    """Return the own and the other modules that an env's scripts import, themselves included, directly or not."""
    waiting = {SCRIPTS / script for rule in all_rules() for script in rule.scripts if rule.env.stem == env}
    files: set[Path] = set()
    others: set[str] = set()
    while waiting:
        path = waiting.pop()
        files.add(path)
        for name in imported_names(path):
            own = own_modules(name)
            waiting |= own - files
            others |= set() if own else {name.split(".")[0]}
    relative = [path.relative_to(SCRIPTS).with_suffix("") for path in files]
    return {".".join(path.parts).removesuffix(".__init__") for path in relative}, others


def check_env(env: str, prefix: Path) -> None:
    """Every import of every rule works, lazy ones too, and other packages of the test environment are not there."""
    own, others = modules_of(env)
    assert len(own) > 5
    code = (
        "import importlib, importlib.util as util, sys\n"
        f"found = [name for name in {sorted(IMPORTABLE)} if util.find_spec(name)]\n"
        f"sys.path.insert(0, {str(SCRIPTS)!r})\n"
        f"missing = [name for name in {sorted(others)} if util.find_spec(name) is None]\n"
        f"for name in {sorted(own)}: importlib.import_module(name)\n"
        "print(found, missing, sys.prefix, sep='\\n')"
    )
    found, missing, where = python(prefix, "-W", "ignore", "-c", code).splitlines()[-3:]
    assert missing == "[]", env
    assert found == str([name for name in sorted(IMPORTABLE) if env in IMPORTABLE[name]]), env
    assert Path(where) == prefix
    frozen = set(python(prefix, "-m", "pip", "list", "--format", "freeze").split())
    versions = {line.lower().replace("_", "-") for line in frozen}
    assert {f"{name}=={version}" for name, version in env_pins(ROOT / "envs" / f"{env}.yaml").items()} <= versions
    assert "No broken requirements" in python(prefix, "-m", "pip", "check")


def test_packages_that_envs_must_not_have_are_here() -> None:
    assert set(IMPORTABLE) - {"fewshot_diffusion"} <= set(distributions_of_packages())


def successors(text: str) -> dict[str, set[str]]:
    """Return rule -> the rules that read its output, from a graph in DOT."""
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', text))
    edges: dict[str, set[str]] = {name: set() for name in names.values()}
    for source, target in re.findall(r"(\d+) -> (\d+)", text):
        edges[names[source]].add(names[target])
    return edges


def reached(start: set[str], edges: dict[str, set[str]]) -> set[str]:
    found, waiting = set(), set(start)
    while waiting:
        rule = waiting.pop()
        found.add(rule)
        waiting |= edges[rule] - found
    return found


def check_an_edit_makes_exactly_its_rules_stale(tree: Tree, env: str, edges: dict[str, set[str]]) -> None:
    path = tree.folder / "envs" / f"{env}.yaml"
    before = path.read_text()
    append(tree, env, "# a comment\n")
    plan = tree.run("-n")
    path.write_text(before)
    own = {rule for rule in edges if RULE_ENV.get(rule) == env}
    assert own
    assert set(planned_jobs(plan.text)) == reached(own, edges), env
    blamed = re.findall(r"^rule (\w+):(?:\n    .*)*?\n    reason: Params have changed", plan.text, re.MULTILINE)
    assert set(blamed) <= own, env
    assert blamed, env
    assert f"envs/{env}.yaml will be created" in plan.text


def check_only_the_figures_are_drawn_again_in_a_new_env(tree: Tree) -> None:
    figures = sorted((tree.folder / "results" / "figures").glob("smoke_*.png"))
    before = [path.read_bytes() for path in figures]
    others = {env: prefix for env, prefix in prefixes_of(tree).items() if env != "figures"}
    append(tree, "figures", "# a comment\n")
    done = tree.run("--cores", "2", targets=("results/figures/smoke_sheet_unguided.png",))
    assert done.status == 0, done.text
    assert finished_rules(done.text) == {"draw_unguided_sheet"}
    assert re.findall(r"Creating conda environment .*envs/(\w+)\.yaml", done.text) == ["figures"]
    assert {env: prefix for env, prefix in prefixes_of(tree).items() if env != "figures"} == others
    assert [path.read_bytes() for path in figures] == before


def check_a_package_that_an_env_lacks_stops_its_jobs(tree: Tree) -> None:
    """Though the environment that runs Snakemake has it."""
    path = tree.folder / "envs" / "data.yaml"
    path.write_text(re.sub(r".*resvg-py.*\n", "", path.read_text()))
    done = tree.run("--cores", "1", targets=("results/smoke/images/pairs.safetensors",))
    assert done.status != 0
    assert "No module named 'resvg_py'" in (tree.folder / "logs/smoke/make_split/pairs.log").read_text()


@pytest.mark.slow
def test_the_workflow_ran_in_envs_of_conda(cluster_tree: Tree) -> None:
    """One test of many steps: they share the envs."""
    started, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)

    def tell(what: str) -> None:
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        print(f"{what}: {time.monotonic() - started:.0f} s, {cpu:.0f} CPU s so far")

    tree, story = cluster_tree, cluster_tree.story
    assert "Nothing to be done" in story.again
    prefixes = prefixes_of(tree)
    assert set(prefixes) == set(ENVS)
    told = [story.text, *(path.read_text() for path in (tree.folder / "logs" / "slurm").rglob("*.log"))]
    activated = set(re.findall(r"Activating conda environment: (\S+)", "".join(told)))
    assert activated == {str(prefix.relative_to(tree.folder)) for prefix in prefixes.values()}
    assert {RULE_ENV[rule] for rule in finished_rules(story.text)} == set(ENVS)
    tell(f"{len(finished_rules(story.text))} rules ran in {len(prefixes)} envs")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check_env, *zip(*prefixes.items(), strict=True)))
    tell("every import in every env")
    edges = successors(tree.run("--rulegraph").text)
    for env in ("diffusion", "evaluation"):
        check_an_edit_makes_exactly_its_rules_stale(tree, env, edges)
    tell("edits of two env files")
    check_only_the_figures_are_drawn_again_in_a_new_env(tree)
    check_a_package_that_an_env_lacks_stops_its_jobs(tree)
    tell("figures drawn again, and a job without a package")
