"""The digest of the code behind a result: it follows imports, and nothing but imports."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"


def provenance_of(scripts: Path) -> ModuleType:
    """Import ``provenance`` of another tree."""
    spec = importlib.util.spec_from_file_location("copied_provenance", scripts / "fewshot_diffusion" / "provenance.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the scripts, their env file beside them."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "env.yaml").write_text("dependencies: []\n")
    return tmp_path


Digest = Callable[[str], str]


@pytest.fixture
def digest(tree: Path) -> Digest:
    return lambda script: provenance_of(tree / "scripts").code_digest(tree / "scripts" / script, tree / "env.yaml")


def append(path: Path, text: str = "\n# a comment\n") -> None:
    path.write_text(path.read_text() + text)


def test_the_digest_is_of_content_not_of_place_or_time(tree: Path, digest: Digest, tmp_path: Path) -> None:
    first = digest("sample.py")
    shutil.copytree(tree, tmp_path / "elsewhere with space")
    elsewhere = tmp_path / "elsewhere with space"
    for path in elsewhere.rglob("*.py"):
        path.touch()
    module = provenance_of(elsewhere / "scripts")
    assert module.code_digest(elsewhere / "scripts" / "sample.py", elsewhere / "env.yaml") == first
    assert len(first) == 16
    assert digest("train_head.py") != first


@pytest.mark.parametrize(
    "edited",
    [
        "sample.py",
        "fewshot_diffusion/__init__.py",
        "fewshot_diffusion/sampling.py",
        "fewshot_diffusion/guidance.py",
        "fewshot_diffusion/seeds.py",
        "fewshot_diffusion/io.py",
        "fewshot_diffusion/errors.py",
        "../env.yaml",
    ],
)
def test_an_edit_of_anything_that_runs_is_seen(tree: Path, digest: Digest, edited: str) -> None:
    before = digest("sample.py")
    append(tree / "scripts" / edited)
    assert digest("sample.py") != before


@pytest.mark.parametrize("edited", ["figures", "tables", "sweep", "evaluation", "classifiers", "datasets/celebahq"])
def test_an_edit_of_anything_else_is_not(tree: Path, digest: Digest, edited: str) -> None:
    before = digest("sample.py")
    append(tree / "scripts" / "fewshot_diffusion" / f"{edited}.py")
    assert digest("sample.py") == before


def test_every_module_counts_for_some_script(tree: Path) -> None:
    module = provenance_of(tree / "scripts")
    reached = set().union(*(module.closure(script) for script in (tree / "scripts").glob("*.py")))
    modules = set((tree / "scripts" / "fewshot_diffusion").rglob("*.py"))
    # These run when the Snakefile is parsed, in no job.
    assert {path.name for path in modules - reached} <= {"provenance.py", "instances.py", "orphans.py"}


def closure(tmp_path: Path, script: str, **modules: str) -> set[str]:
    """Write a small tree and return what ``script.py`` reaches."""
    package = tmp_path / "scripts" / "fewshot_diffusion"
    for name, text in {"__init__": "", **modules}.items():
        path = package / f"{name.replace('__in__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(SCRIPTS / "fewshot_diffusion" / "provenance.py", package / "provenance.py")
    (tmp_path / "scripts" / "script.py").write_text(script)
    found = provenance_of(tmp_path / "scripts").closure(tmp_path / "scripts" / "script.py")
    return {str(path.relative_to(package)) for path in found if path.is_relative_to(package)}


@pytest.mark.parametrize(
    "script",
    [
        "from fewshot_diffusion.a import x",
        "from fewshot_diffusion import a",
        "import fewshot_diffusion.a",
        "import fewshot_diffusion.a as b",
        "import os, fewshot_diffusion.a",
        "def f():\n    from fewshot_diffusion.a import x\n",
        "if False:\n    import fewshot_diffusion.a\n",
        "class C:\n    def f(self):\n        from fewshot_diffusion import a\n",
        "try:\n    from fewshot_diffusion import a\nexcept ImportError:\n    pass\n",
    ],
)
def test_every_way_to_import_counts(tmp_path: Path, script: str) -> None:
    assert closure(tmp_path, script, a="x = 1", b="") == {"__init__.py", "a.py"}


def test_imports_are_followed_through_modules_and_circles(tmp_path: Path) -> None:
    found = closure(
        tmp_path,
        "from fewshot_diffusion import a",
        a="from .b import x",
        b="def f():\n    from . import c",
        c="from .a import f",
        d="",
    )
    assert found == {"__init__.py", "a.py", "b.py", "c.py"}


def test_relative_imports_out_of_a_folder(tmp_path: Path) -> None:
    modules = {
        "sub__in____init__": "from .inner import x",
        "sub__in__inner": "from ..a import y\nfrom .. import b",
        "sub__in__other": "",
        "a": "",
        "b": "",
        "c": "",
    }
    found = closure(tmp_path, "from fewshot_diffusion.sub import x", **modules)
    assert found == {"__init__.py", "sub/__init__.py", "sub/inner.py", "a.py", "b.py"}


def test_other_packages_are_not_followed(tmp_path: Path) -> None:
    assert closure(tmp_path, "import torch, json.decoder\nfrom numpy import linalg", a="") == set()
