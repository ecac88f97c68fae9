"""Which Python runs the jobs: that of Snakemake itself, activated or not, or that of a rule's conda environment.

The standard library alone: this is asked before anything else is imported.
"""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

from ..errors import FewshotError

ALWAYS = ("pydantic",)
JOBS = ("torch", "diffusers", "safetensors", "pandas", "pyarrow", "tyro")
"""Packages without which no job runs; with conda, the environments have them."""


class InterpreterError(FewshotError):
    """Snakemake runs in an environment in which the jobs cannot."""


def job_python(conda: bool, base: Path) -> str:
    """Return the Python that jobs call, as a shell writes it.

    Args:
        conda: Whether rules run in their conda environments, which are active by then.
        base: Folder of the workflow, for the way out.

    Raises:
        InterpreterError: If this Python cannot run the workflow.
    """
    if missing := [name for name in (ALWAYS if conda else ALWAYS + JOBS) if find_spec(name) is None]:
        raise InterpreterError(f"{sys.executable}, which runs Snakemake, has no {', '.join(missing)}. {_way_out(base)}")
    # Not the first `python` on PATH: conda puts an environment where the active one was, which may be further back.
    return '"$CONDA_PREFIX"/bin/python' if conda else shlex.quote(sys.executable)


def _way_out(base: Path) -> str:
    own = base.resolve() / ".venv/bin/snakemake"
    setup = "" if own.exists() else f"Run `make -C {shlex.quote(str(base.resolve()))} setup`, then "
    return f"{setup or 'Type '}`{own}` instead of `snakemake`."
