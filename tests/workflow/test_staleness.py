"""What an edit makes stale, on copies of the real scripts: nothing, if it computes nothing, or just what it reaches."""

import re
import shutil
from pathlib import Path

import pytest

from fewshot_diffusion.tooling.code_digest import code_digest
from support import ROOT

EVALUATING = {"evaluate_attributes.py"}


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "workflow" / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "scripts"


def digests(scripts: Path) -> dict[str, str]:
    env = ROOT / "envs" / "diffusion.yaml"
    return {path.name: code_digest(path, env) for path in sorted(scripts.glob("*.py"))}


def stale(scripts: Path, module: str, pattern: str, replacement: str) -> set[str]:
    """Return the scripts whose digest an edit of a module changes."""
    before, path = digests(scripts), scripts / "fewshot_diffusion" / module
    text, edits = re.subn(pattern, replacement, path.read_text(), count=1)
    assert edits == 1
    path.write_text(text)
    after = digests(scripts)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.slow
def test_a_comment_makes_nothing_stale(scripts: Path) -> None:
    assert len(digests(scripts)) > 20
    assert not stale(scripts, "errors.py", r"\Z", "\n# A comment.\n")


@pytest.mark.slow
def test_a_constant_of_the_frechet_distance_makes_the_evaluation_stale(scripts: Path) -> None:
    assert stale(scripts, "metrics/distances.py", r"(_reference\.trace) - 2 \*", r"\1 - 2.1 *") == EVALUATING
