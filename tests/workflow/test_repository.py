"""The repository keeps its own rules: pinned environments, safe calls, quoted shell commands."""

import ast
import importlib.metadata
import re
import string
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
SOURCES = sorted((ROOT / "workflow").rglob("*.py"))
RULE_FILES = [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]
# Values that come from file names, wildcards or the config, and so must be quoted.
QUOTED = {"input", "output", "params", "wildcards", "log", "benchmark", "config"}


# --- environments ---------------------------------------------------------------------------------------------------


def pins(lines: list[str]) -> dict[str, str]:
    """Return distribution -> version; every line must be an exact pin."""
    found = {}
    for line in lines:
        name, _, version = line.partition("==")
        assert re.fullmatch(r"[\w.+!]+", version), f"{line!r} is not an exact pin"
        found[canonicalize_name(name)] = version
    return found


def lock_pins() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


def env_pins(path: Path) -> dict[str, str]:
    nested = [item["pip"] for item in yaml.safe_load(path.read_text())["dependencies"] if isinstance(item, dict)]
    return pins([line for lines in nested for line in lines])


def test_lock_satisfies_the_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = lock_pins()
    for requirement in map(Requirement, project["dependencies"] + project["optional-dependencies"]["test"]):
        version = lock.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), f"{requirement} but locked {version}"


def test_lock_leaves_cuda_to_torch() -> None:
    assert not [name for name in lock_pins() if re.match(r"nvidia-|cuda-|triton$", name)]


def test_every_kind_of_work_has_an_env() -> None:
    assert {path.stem for path in ENVS} == {"data", "diffusion", "evaluation", "classifiers", "figures"}


@pytest.mark.parametrize("path", ENVS, ids=lambda path: path.stem)
def test_env_agrees_with_the_lock(path: Path) -> None:
    env = yaml.safe_load(path.read_text())
    assert env["channels"] == ["conda-forge", "nodefaults"]
    assert env["dependencies"][:2] == ["python=3.11.*", "pip"]
    lock = lock_pins()
    differing = {name: version for name, version in env_pins(path).items() if lock.get(name) != version}
    assert not differing, f"pins that requirements.lock does not have: {differing}"


# --- rules ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One rule as text: each directive's unparsed lines."""

    name: str
    directives: dict[str, str]
    base: str | None = None

    def text(self, directive: str) -> str:
        """Return the string that a directive's literals make, or an empty one."""
        source = self.directives.get(directive, "").strip()
        value = ast.literal_eval(f"({source}\n)") if source else ""
        assert isinstance(value, str), f"rule {self.name}: {directive} is not one string"
        return value

    @property
    def scripts(self) -> list[str]:
        return re.findall(r"workflow/scripts/(\w+\.py)", self.text("shell"))

    @property
    def env(self) -> Path:
        relative = self.text("conda")
        assert relative, f"rule {self.name} has no conda env"
        return (ROOT / "workflow" / "rules" / relative).resolve()


@cache
def all_rules() -> list[Rule]:
    rules = {rule.name: rule for path in RULE_FILES for rule in read_rules(path.read_text())}
    return [with_base(rule, rules) for rule in rules.values()]


def read_rules(text: str) -> Iterator[Rule]:
    """Split a Snakefile formatted by snakefmt into rules and directives; a rule may stand inside an if."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        header = re.match(r"(\s*)(?:(?:rule|checkpoint)\s+|use rule (\w+) as )(\w+)(?: with)?\s*:", line)
        if header:
            inner = header[1] + "    "
            body = "\n".join(
                takewhile(lambda line, inner=inner: not line or line.startswith(inner), lines[start + 1 :])
            )
            parts = re.split(rf"^{inner}(\w+):", body, flags=re.MULTILINE)
            yield Rule(header[3], dict(zip(parts[1::2], parts[2::2], strict=True)), base=header[2])


def with_base(rule: Rule, rules: Mapping[str, Rule]) -> Rule:
    """Fill what a rule made by `use rule` takes over from its base."""
    if rule.base is None:
        return rule
    return Rule(rule.name, with_base(rules[rule.base], rules).directives | rule.directives)


def script_rules() -> list[tuple[Rule, str]]:
    return [(rule, script) for rule in all_rules() for script in rule.scripts]


def test_the_reader_sees_every_rule() -> None:
    header = re.compile(r"^\s*(?:use )?(?:rule|checkpoint)\s", re.MULTILINE)
    declared = sum(len(header.findall(path.read_text())) for path in RULE_FILES)
    assert len(all_rules()) == declared
    assert len({script for _, script in script_rules()}) >= 5


def test_every_job_has_an_env_and_a_digest_of_what_it_runs() -> None:
    """A rule that names another script or env to `code` would miss the edits that make its results stale."""
    jobs = [rule for rule in all_rules() if "shell" in rule.directives]
    assert jobs == [rule for rule in all_rules() if "output" in rule.directives]
    digested = {rule.name: re.findall(r'code\("(.+?)", env="(.+?)"\)', rule.directives["params"]) for rule in jobs}
    assert digested == {rule.name: [(script, rule.env.stem) for script in rule.scripts] for rule in jobs}
    assert {len(rule.scripts) for rule in jobs} == {1}
    assert {rule.env for rule in jobs} == set(ENVS), "an env that no rule uses, or a rule without one"


def test_every_job_has_a_log_and_a_benchmark_of_the_same_name() -> None:
    jobs = [rule for rule in all_rules() if "shell" in rule.directives]
    logs, benchmarks = ([rule.directives[name].strip(" \n,") for rule in jobs] for name in ("log", "benchmark"))
    expected = [re.sub(r'"logs/(.+)\.log"', r'"benchmarks/\1.tsv"', log) for log in logs]
    assert benchmarks == expected


def test_jobs_are_shell_commands() -> None:
    assert not [rule.name for rule in all_rules() if {"run", "script", "notebook", "wrapper"} & set(rule.directives)]


def test_placeholders_in_shell_commands_are_quoted() -> None:
    bare = [
        f"{rule.name}: {{{field}}}"
        for rule in all_rules()
        for _, field, spec, _ in string.Formatter().parse(rule.text("shell"))
        if field and re.split(r"[.\[]", field)[0] in QUOTED and spec != "q"
    ]
    assert not bare


# --- imports --------------------------------------------------------------------------------------------------------


def imported_names(path: Path) -> set[str]:
    """Return the absolute dotted names that a module imports anywhere, lazily and as package data too."""
    package = path.relative_to(SCRIPTS).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            # The imported name may be a module itself.
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
            "importlib.import_module",
            "import_module",
            "resources.files",
        }:
            target = node.args[0]
            assert isinstance(target, ast.Constant), f"{path.name}:{node.lineno}: imports a name that cannot be read"
            names.add(str(target.value))
    return names


def own_modules(name: str) -> set[Path]:
    """Return the files in workflow/scripts that importing ``name`` executes: the module and its packages."""
    parts = name.split(".")
    bases = [SCRIPTS.joinpath(*parts[:end]) for end in range(1, len(parts) + 1)]
    return {path for base in bases for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()}


def third_party(script: Path) -> set[str]:
    """Return the distributions that a script and every module behind it import."""
    pending, seen, distributions = {script}, set(), set()
    while pending:
        path = pending.pop()
        seen.add(path)
        for name in imported_names(path):
            own = own_modules(name)
            pending |= own - seen
            if not own and name.split(".")[0] not in sys.stdlib_module_names:
                distributions.add(distribution_of(name.split(".")[0]))
    return distributions


@cache
def distributions_of_packages() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@cache
def distribution_of(package: str) -> str:
    # A package of data alone is in no mapping of imports: its distribution has its own name.
    names = distributions_of_packages().get(package) or [importlib.metadata.metadata(package)["Name"]]
    return canonicalize_name(names[0])


def test_env_files_cover_the_imports_of_their_scripts() -> None:
    assert len(script_rules()) >= 5
    missing = {
        f"{rule.name} ({script}, {rule.env.name})": sorted(lacking)
        for rule, script in script_rules()
        if (lacking := third_party(SCRIPTS / script) - set(env_pins(rule.env)))
    }
    assert not missing


# --- safety ---------------------------------------------------------------------------------------------------------

# Dotted origins of what can execute what it reads; each stands for everything below it, too.
UNSAFE_NAMES = {
    "pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve", "code",
    "codeop", "ctypes", "cffi", "pty", "runpy", "zipimport",
    "importlib.import_module", "importlib.machinery", "importlib.util",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__", "builtins.__builtins__", "pandas.eval",
    "os.system", "os.popen", "os.exec[lv]*", "os.spawn*", "os.posix_spawn*",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "sys.executable",
    "yaml.load*", "yaml.full_load*", "yaml.unsafe_load*", "yaml.*Loader",
    "torch.load", "torch.hub", "torch.jit", "torch.package", "torch.serialization", "torch.ops.load_library",
    "torch.utils.cpp_extension",
}  # fmt: skip
SAFE_NAMES = {"pickle.UnpicklingError", "yaml.SafeLoader"}  # the first is an error to catch, not a way to load
# Of any object. Of archives: members are read one at a time, never unpacked.
UNSAFE_METHODS = {"extractall", "unpack_archive", "read_pickle", "to_pickle"}
UNSAFE_OPTIONS = {"allow_pickle", "shell", "trust_remote_code"}
# A module that starts programs may name none that runs what it is told.
STARTERS = {"subprocess", "asyncio"}
INTERPRETER = re.compile(r"(\S*/)?((ba|da|z|k|c|fi)?sh|env|xargs|python[\d.]*|perl|node)(\s|$)")
UNSAFE_TEXT = re.compile(
    r"\bpickle\b|allow_pickle\s*=\s*True|torch\.load\(|(?<![\w.])(?:eval|exec)\(|shell\s*=\s*True|yaml\.load\("
)


def bindings(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield line, dotted origin and local name of everything that is imported anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = f"{'.' * node.level}{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                yield node.lineno, base + alias.name, alias.asname or alias.name


def origins(node: ast.AST, bound: Mapping[str, set[str]]) -> set[str]:
    """Return the dotted names that an expression may stand for, as far as they can be read."""
    match node:
        case ast.Name(name):
            return bound.get(name, {f"builtins.{name}"})
        case ast.Attribute(owner, name) | ast.Call(ast.Name("getattr"), [owner, ast.Constant(name), *_]):
            return {f"{found}.{name}" for found in origins(owner, bound) or {""}}
    return set()


def is_unsafe(name: str) -> bool:
    parts = name.split(".")
    owners = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    named = any(fnmatchcase(owner, pattern) for owner in owners for pattern in UNSAFE_NAMES)
    return (named and name not in SAFE_NAMES) or parts[-1] in UNSAFE_METHODS or parts[-1] == "*"


def unsafe_nodes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and reason of everything that could execute what it reads: a name is enough, called or not."""
    bound: dict[str, set[str]] = defaultdict(set)
    for line, origin, local in bindings(tree):
        package, dot, _ = local.partition(".")
        bound[package].add(package if dot else origin)
        if is_unsafe(origin):
            yield line, f"imports {origin}"
    weights_only = {
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "weights_only=True" in map(ast.unparse, node.keywords)
    }
    starts_programs = any(origin.split(".")[0] in STARTERS for found in bound.values() for origin in found)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name | ast.Call):
            names = origins(node, bound) - ({"torch.load"} if node in weights_only else set())
            yield from ((node.lineno, name) for name in names if is_unsafe(name))
        elif isinstance(node, ast.keyword) and node.arg in UNSAFE_OPTIONS and ast.unparse(node.value) != "False":
            yield node.lineno, ast.unparse(node)
        elif starts_programs and isinstance(node, ast.Constant) and INTERPRETER.match(str(node.value)):
            yield node.lineno, f"starts {node.value}"


def test_no_unsafe_calls() -> None:
    assert SOURCES
    found = [
        f"{path.name}:{line}: {what}" for path in SOURCES for line, what in unsafe_nodes(ast.parse(path.read_text()))
    ]
    found += [f"{path.name}: {hit[0]}" for path in RULE_FILES for hit in UNSAFE_TEXT.finditer(path.read_text())]
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "from os import *",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=allowed)",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "import torch as t; t.load(path)",
        "import torch.nn; torch.load(path)",
        "import torch; read = torch.load; read(path)",
        "from torch import load",
        "from torch import load as read\nread(path)",
        "from torch import hub\nhub.load(path)",
        "import torch; torch.hub.load(repository, name)",
        "import torch.hub as models",
        "import torch; torch.serialization.load(path)",
        "import torch; torch.jit.load(path)",
        "eval(text)",
        "list(map(eval, texts))",
        "__import__(name)",
        "import builtins; builtins.eval(text)",
        "import builtins as b; b.exec(text)",
        "from builtins import eval as literal",
        "import importlib; importlib.import_module(name)",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.load_all(text, yaml.Loader)",
        "import yaml; yaml.Loader(text).get_data()",
        "from yaml import unsafe_load",
        "from yaml import unsafe_load as load\nload(text)",
        "from os import system",
        "from os import system as start\nstart(text)",
        "import os; os.execvp(program, words)",
        "import os; getattr(os, 'system')(text)",
        "import runpy; runpy.run_path(path)",
        "def f():\n    from runpy import run_path as run\n    run(path)",
        "import subprocess; subprocess.run(text, shell=True)",
        "import subprocess; subprocess.run(['bash', '-c', text])",
        "import subprocess; words = ['/bin/sh', '-c', text]; subprocess.run(words)",
        "from subprocess import Popen as start\nstart(f'bash -c {text}'.split())",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', text])",
        "import subprocess; subprocess.getoutput(text)",
        "import pandas as pd; pd.read_pickle(path)",
        "archive.extractall(folder)",
        "open_zip(path).extractall(folder)",
        "import shutil; shutil.unpack_archive(path)",
    ],
)
def test_unsafe_calls_are_recognised(code: str) -> None:
    assert list(unsafe_nodes(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "model.eval()",
        "import torch; torch.load(path, map_location='cpu', weights_only=True)",
        "import torch; torch.compile(model)",
        "import re; re.compile(text)",
        "import ast; ast.literal_eval(text)",
        "import json; json.load(file)",
        "from json import load\nload(file)",
        "from .io import load\nload(path)",
        "import safetensors.torch; safetensors.torch.load_file(path)",
        "import numpy as np; np.load(path); np.load(path, allow_pickle=False)",
        "import yaml; yaml.safe_load(text); yaml.safe_load_all(text)",
        "import os; os.path.join(folder, name); os.get_exec_path()",
        "import subprocess; subprocess.run(['squeue', '--me']); said = 'Finish the job.'",
        "from pickle import UnpicklingError",
        "shell = 'bash'",
        "code = load(path); code.digest",
    ],
)
def test_harmless_look_alikes_pass(code: str) -> None:
    assert not list(unsafe_nodes(ast.parse(code)))


# --- papers ---------------------------------------------------------------------------------------------------------


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert re.match(r"\s*Apache License\s+Version 2\.0, January 2004", text)
    assert "END OF TERMS AND CONDITIONS" in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"


def test_readme_exists() -> None:
    assert (ROOT / "README.md").read_text().startswith("# ")


def test_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2306.01900"
