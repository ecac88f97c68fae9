"""The repository keeps its own rules: sizes, pinned environments, documented and quoted rules, plain papers."""

import ast
import importlib.metadata
import json
import re
import statistics
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fewshot_diffusion.tooling.code_digest import imported_modules
from fewshot_diffusion.tooling.metadata import metadata_texts
from support import ROOT, SMOKE, snakemake

SCRIPTS = ROOT / "workflow" / "scripts"
LIBRARY = SCRIPTS / "fewshot_diffusion"
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").rglob("*.smk"))]
BY_DIGEST = {"download"}
"""Rules whose product is known by its own digest: other code that fetches it makes nothing stale."""

RULE = re.compile(r"^( *)(?:use rule \w+ as|rule) (\w+)(?: with)?:\n((?:(?:\1 {4}.*)?\n)*)", re.MULTILINE)

# --- sizes ----------------------------------------------------------------------------------------------------------


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@cache
def functions() -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return file and name -> definition, of every function of the library and the tools."""
    return {
        f"{path.relative_to(ROOT)}: {node.name}": node
        for path in [*LIBRARY.rglob("*.py"), *(ROOT / "tools").glob("*.py")]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines from the first statement, a docstring aside, to the last."""
    body = function.body[ast.get_docstring(function) is not None :]
    return function.end_lineno - body[0].lineno + 1 if body and function.end_lineno else 0


def test_rooms_are_small() -> None:
    assert len([path for path in LIBRARY.glob("*.py") if path.name != "__init__.py"]) <= 10
    assert not {path.name: n for path in LIBRARY.rglob("*.py") if (n := lines(path)) > 300}
    assert not {path.name: n for path in RULE_FILES if (n := lines(path)) > 150}
    assert lines(ROOT / "workflow" / "rules" / "common.smk") <= 60
    assert sum(map(lines, (LIBRARY / "storage").glob("*.py"))) + lines(LIBRARY / "tooling" / "store.py") <= 1120
    assert lines(ROOT / "README.md") <= 130
    assert sum(map(lines, (ROOT / "tests").rglob("*.py"))) <= 24000


def test_functions_are_short_and_take_few_parameters() -> None:
    sizes = sorted(map(body_lines, functions().values()))
    assert statistics.median(sizes) <= 8
    assert sizes[len(sizes) * 9 // 10] <= 20
    assert not {name: body_lines(node) for name, node in functions().items() if body_lines(node) > 45}
    every = {name: node.args.posonlyargs + node.args.args + node.args.kwonlyargs for name, node in functions().items()}
    counts = {name: len([one for one in arguments if one.arg != "self"]) for name, arguments in every.items()}
    many = {name: count for name, count in counts.items() if count > 6}
    assert len(many) <= 5, many


@cache
def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in filter(None, done.stdout.split("\0")) if (path := ROOT / name).is_file()]


in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive does not say what Git tracks")


@in_git
def test_what_git_tracks_fits_in_a_pocket() -> None:
    assert sum(path.stat().st_size for path in tracked()) <= 71e6
    records = ROOT / "results" / "records.json"
    assert not records.exists() or records.stat().st_size <= 90_000


@in_git
def test_texts_name_no_machine_and_nothing_unfinished() -> None:
    forbidden = re.compile(r"/(?:work|root)/|/home/\w\w|\b(?:TODO|FIXME|XXX)\b|\bissues? #?\d")
    texts = [
        path for path in tracked() if path.suffix in {".py", ".smk", ".md", ".yaml", ".toml", ".rst", ".sh", ".csv"}
    ]
    found = [
        f"{path.relative_to(ROOT)}: {hit[0]}"
        for path in texts
        if path != Path(__file__)
        for hit in forbidden.finditer(path.read_text())
    ]
    assert not found


@in_git
def test_one_experiment_has_one_name() -> None:
    old = re.compile(r"segmentation|classification|augmentation|table2|tiny_imagenet|rejection")
    named = [str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] != "dvc-remote"]
    assert not [name for name in named if old.search(name)]


# --- rules ----------------------------------------------------------------------------------------------------------


@cache
def read_rules() -> list[tuple[str, str]]:
    """Return name and text of every rule."""
    return [(name, body) for path in RULE_FILES for _, name, body in RULE.findall(path.read_text())]


@cache
def rules() -> dict[str, str]:
    """Return rule -> its text, of every rule that runs a script."""
    return {name: body for name, body in read_rules() if "workflow/scripts/" in body}


def command(body: str) -> str:
    return body.partition("shell:")[2]


def test_the_reader_sees_every_rule() -> None:
    texts = "\n".join(path.read_text() for path in RULE_FILES)
    assert len(read_rules()) == len(re.findall(r"^\s*(?:use )?(?:rule|checkpoint) \w+", texts, re.MULTILINE))
    assert len(rules()) > 20


def test_jobs_are_quoted_commands() -> None:
    texts = {path.name: path.read_text() for path in RULE_FILES}
    assert not {name for name, text in texts.items() if re.search(r"^\s+(run|script|notebook|wrapper):", text, re.M)}
    bare = {name: re.findall(r"\{[^{}]+(?<!:q)\}", command(body)) for name, body in read_rules()}
    assert not {name: found for name, found in bare.items() if found}


def test_every_job_has_an_env_and_a_digest_of_what_it_runs() -> None:
    """A rule that names another script or env to `code` would miss the edits that make its results stale."""
    for name, body in rules().items():
        digested = re.findall(r'code\("(\w+\.py)", env="(\w+)"\)', body)
        run = re.findall(r"workflow/scripts/(\w+\.py)", command(body))
        expected = list(zip(run, re.findall(r"envs/(\w+)\.yaml", body), strict=True))
        assert digested == ([] if name in BY_DIGEST else expected), name
        assert len(run) == 1, name
    used = {env for body in rules().values() for env in re.findall(r"envs/(\w+)\.yaml", body)}
    assert used == {path.stem for path in ENVS}
    scripts = {script for body in rules().values() for script in re.findall(r"workflow/scripts/(\w+\.py)", body)}
    assert scripts == {path.name for path in SCRIPTS.glob("*.py")}, "a script that no rule runs belongs into tools/"


def test_every_job_has_a_log_and_a_benchmark_of_the_same_name() -> None:
    for name, body in rules().items():
        names = re.search(r'log:\n\s+"<logs>/(.+)\.log",\n\s+benchmark:\n\s+"<benchmarks>/(.+)\.tsv"', body)
        assert names, name
        assert names[1] == names[2], name


def test_every_rule_says_what_it_does() -> None:
    texts = "\n".join(path.read_text() for path in RULE_FILES)
    said = re.findall(r'^ *rule (\w+):\n(\s+"""[A-Z].*\.(?:"""|\n))?', texts, re.MULTILINE)
    assert not [name for name, docstring in said if not docstring]


@pytest.mark.slow
def test_targets_are_listed_with_what_they_make() -> None:
    said = snakemake(ROOT, "--list", *SMOKE).text
    for target in (
        "all",
        "attributes",
        "attributes_sweep",
        "masks",
        "masks_sweep",
        "classes",
        "explorer",
        "explorer_sweep",
        "crate",
    ):
        assert re.search(rf"^{target} \([A-Z]", said, re.MULTILINE), target


# --- environments ---------------------------------------------------------------------------------------------------


def pins(requirements: list[str]) -> dict[str, str]:
    """Return distribution -> version; every line must be an exact pin."""
    found = {}
    for line in requirements:
        name, _, version = line.partition("==")
        assert re.fullmatch(r"[\w.+!]+", version), f"{line!r} is not an exact pin"
        found[canonicalize_name(name)] = version
    return found


def lock_pins() -> dict[str, str]:
    found = (ROOT / "requirements.lock").read_text().splitlines()
    return pins([line for line in found if line and not line.startswith("#")])


def env_pins(path: Path) -> dict[str, str]:
    nested = [item["pip"] for item in yaml.safe_load(path.read_text())["dependencies"] if isinstance(item, dict)]
    return pins([line for requirements in nested for line in requirements])


def test_lock_satisfies_the_declared_dependencies_and_leaves_cuda_to_torch() -> None:
    lock, declared = lock_pins(), tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in map(Requirement, declared["dependencies"] + declared["optional-dependencies"]["test"]):
        version = lock.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement} but locked {version}"
    assert not [name for name in lock if re.match(r"nvidia-|cuda-|triton$", name)]


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_env_agrees_with_the_lock(path: Path) -> None:
    env = yaml.safe_load(path.read_text())
    assert env["channels"] == ["conda-forge", "nodefaults"]
    assert env["dependencies"][:2] == ["python=3.11.*", "pip"]
    assert env_pins(path).items() <= lock_pins().items()


@cache
def distributions() -> dict[str, str]:
    """Return package that can be imported -> the distribution that has it; slow to find out."""
    return {package: names[0] for package, names in importlib.metadata.packages_distributions().items()}


def distribution_of(package: str) -> str:
    # A package of data alone is in no mapping of imports: its distribution has its own name.
    return canonicalize_name(distributions().get(package) or importlib.metadata.metadata(package)["Name"])


@pytest.mark.slow
def test_env_files_cover_the_imports_of_their_scripts() -> None:
    for name, body in rules().items():
        [script] = re.findall(r"workflow/scripts/(\w+\.py)", command(body))
        [env] = re.findall(r"envs/(\w+)\.yaml", body)
        needed = {distribution_of(package) for package in imported_modules(SCRIPTS / script)}
        assert needed <= set(env_pins(ROOT / "envs" / f"{env}.yaml")), f"{name}: {script} in {env}"


# --- papers ---------------------------------------------------------------------------------------------------------


def test_licence_readme_and_citation_agree_with_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.match(r"\s*Apache License\s+Version 2\.0, January 2004", (ROOT / "LICENSE").read_text())
    assert (ROOT / "README.md").read_text().startswith("# ")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (declared["version"], declared["license"])
    assert declared["license"] == "Apache-2.0"
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2306.01900"


def test_archives_are_told_what_the_citation_and_the_project_say() -> None:
    for name, text in metadata_texts(ROOT).items():
        assert (ROOT / name).read_text() == text, f"{name}: run `make docs`"
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    codemeta, zenodo = (json.loads((ROOT / name).read_text()) for name in ("codemeta.json", ".zenodo.json"))
    assert codemeta["version"] == zenodo["version"] == declared["version"]
    assert codemeta["softwareRequirements"] == declared["dependencies"]
    assert codemeta["referencePublication"]["author"][0]["familyName"] == "Graikos"
    assert zenodo["related_identifiers"][0]["identifier"] == "arXiv:2306.01900"
