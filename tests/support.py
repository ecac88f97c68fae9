"""What tests share: the smoke configuration, and workflows in copies."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
import torch
import yaml
from diffusers import UNet2DModel
from snakemake.utils import update_config
from torch import Tensor

from fewshot_diffusion.config.model import Config, load_config

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SMOKE = ("--configfile", "config/smoke.yaml")
TARGETS = ("all", "attributes_labels", "classes_filters")  # of the run that tests share, and of its report
PATIENCE = 1500  # seconds


def default() -> dict[str, Any]:
    """Return the default configuration as it is written."""
    return dict(yaml.safe_load((ROOT / "config" / "config.yaml").read_text()))


def smoke_config() -> Config:
    """Return the default with the smoke overlay, as Snakemake merges them."""
    merged = default()
    update_config(merged, yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text()))
    return load_config(merged)


def one_class() -> dict[str, object]:
    """Return an overlay that leaves the first of the smoke configuration's two classes."""
    smoke = yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text())
    return {"attributes": {"targets": smoke["attributes"]["targets"][:1]}}


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit status and everything that it printed."""

    status: int
    text: str


def snakemake(folder: Path, *arguments: str, **variables: str) -> Finished:
    """Run Snakemake in a copy of the tree."""
    return command(folder, str(BIN / "snakemake"), *arguments, **variables)


def command(folder: Path, *words: str, **variables: str) -> Finished:
    """Run a program in a folder; its environment is not activated."""
    process = start(folder, *words, **variables)
    try:
        text, _ = process.communicate(timeout=PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its jobs, too
    return Finished(process.returncode, text)


def start(
    folder: Path, *words: str, output: IO[str] | int = subprocess.PIPE, **variables: str
) -> subprocess.Popen[str]:
    """Start a program in a folder."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SNAKEMAKE"))}
    path = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder).resolve() != BIN.resolve()]
    environment |= {"PATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    )


def copy_tree(folder: Path) -> Path:
    """Copy what Git tracks or would track, without results and tests."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, folder / name
        if not source.exists() or name.startswith(("dvc-remote/", "results/", "tests/")):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    return folder


def copy_products(run: Path, tree: Path) -> None:
    """Copy what the configured run left; another test may be adding a sweep to it."""

    def copy(source: str, target: str) -> str:
        return shutil.copy2(source, target) if Path(source).exists() else target

    ignored = shutil.ignore_patterns(".[!s]*", "sweep", "tuning_judge*")
    for name in ("results", ".snakemake/metadata"):
        shutil.copytree(run / name, tree / name, ignore=ignored, copy_function=copy)


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that one of the processes that share the tests makes, for all of them."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    tree, done = shared / name / "tree", shared / f"{name}.done"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(tree, ignore_errors=True)
            make(tree)
            done.touch()
    return tree


def overlay(folder: Path, name: str, **values: object) -> str:
    """Write another configuration file and return its name."""
    (folder / name).write_text(yaml.safe_dump(values))
    return name


def outputs(unet: UNet2DModel) -> Tensor:
    """Return what a denoiser of 16 pixels makes of the same noise."""
    x_t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return unet(x_t, 321).sample


def planned_jobs(text: str) -> dict[str, int]:
    """Return rule -> number of jobs, from the statistics that a dry run prints first."""
    if "Job stats:" not in text:
        return {}
    lines = text.split("Job stats:", 1)[1].strip().splitlines()[2:]
    found = {}
    for line in lines:
        words = line.split()
        if len(words) != 2 or words[0] == "total":
            break
        found[words[0]] = int(words[1])
    return found
