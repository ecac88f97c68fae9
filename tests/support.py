"""What tests share: the smoke configuration, and scripts that run without another interpreter's start."""

import runpy
import sys
from pathlib import Path

import yaml
from snakemake.utils import update_config

from fewshot_diffusion.config.model import Config, load_config

ROOT = Path(__file__).resolve().parents[1]


def smoke_config() -> Config:
    """Return the default with the smoke overlay, as Snakemake merges them."""
    merged = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    update_config(merged, yaml.safe_load((ROOT / "config" / "smoke.yaml").read_text()))
    return load_config(merged)


def run(script: str, *words: object) -> None:
    """Run a script as `python script.py words` would."""
    before = sys.argv
    sys.argv = [f"{script}.py", *map(str, words), "--device", "cpu"]
    try:
        runpy.run_path(str(ROOT / "workflow" / "scripts" / f"{script}.py"), run_name="__main__")
    finally:
        sys.argv = before
