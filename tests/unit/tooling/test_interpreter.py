"""The Python of the jobs: Snakemake's own or a conda environment's, and what to type where neither can work."""

import sys
from pathlib import Path

import pytest

from fewshot_diffusion.tooling import interpreter
from fewshot_diffusion.tooling.interpreter import InterpreterError, job_python


def test_jobs_run_with_snakemakes_python_or_the_environments() -> None:
    assert job_python(conda=False, base=Path()) == sys.executable
    assert job_python(conda=True, base=Path()) == '"$CONDA_PREFIX"/bin/python'


@pytest.mark.parametrize("conda", [False, True])
def test_an_environment_without_the_packages_is_told_which_has_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, conda: bool
) -> None:
    monkeypatch.setattr(interpreter, "ALWAYS", ("nowhere_to_be_found",))
    own = tmp_path / ".venv/bin/snakemake"
    with pytest.raises(InterpreterError, match=f"has no nowhere_to_be_found. Run `make -C {tmp_path} setup`, then"):
        job_python(conda, tmp_path)
    own.parent.mkdir(parents=True)
    own.touch()
    with pytest.raises(InterpreterError, match=f"Type `{own}` instead of `snakemake`"):
        job_python(conda, tmp_path)
