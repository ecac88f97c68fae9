# Shared by all files of rules: the validated configuration, names that stand in paths (<results>, <logs>, <benchmarks>:
# folders of this data set), and parameters: `settings(key)` passes a section as JSON, `code(script, env)` a digest of
# all definitions that a job runs, so that edits make stale what sees them. BASE is the workflow's folder, from here.

import sys
from operator import attrgetter
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

BASE = Path(os.path.relpath(workflow.basedir))
sys.path.insert(0, os.path.abspath(BASE / "workflow" / "scripts"))

from fewshot_diffusion.errors import FewshotError
from fewshot_diffusion.tooling.failures import JobMessages
from fewshot_diffusion.tooling.interpreter import job_python

try:
    logger.addFilter(JobMessages())
    # Before the rest, which imports what not every Python has.
    PYTHON = job_python(DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method, BASE)
    from fewshot_diffusion.config.runs import load_runs
    from fewshot_diffusion.data.feasibility import require_files
    from fewshot_diffusion.tooling.code_digest import code_digest
    from fewshot_diffusion.tooling.denoiser_plan import plan_denoiser
    from fewshot_diffusion.tooling.ownership import require_own_name, require_shipped_splits, require_weights
    from fewshot_diffusion.tooling.store import adopt_records

    CONFIG, RUNS = load_runs(config, BASE)
    if not (RUNS or CONFIG.own):
        require_weights(CONFIG, Path("results", CONFIG.data.name), BASE)
        require_own_name(CONFIG.data, BASE / "config")
        require_shipped_splits(CONFIG, BASE / "config" / "config.yaml")
        DENOISER = plan_denoiser(CONFIG, Path("results", CONFIG.data.name))
        require_files(CONFIG)
    adopt_records()
except FewshotError as error:
    raise WorkflowError(str(error))

DATA = CONFIG.data.name


pathvars:
    results=f"results/{DATA}",
    logs=f"logs/{DATA}",
    benchmarks=f"benchmarks/{DATA}",
    weights="diffusion_pytorch_model.safetensors",


wildcard_constraints:
    split="|".join(CONFIG.splits),
    judge="judge|tuning_judge",


def settings(key):
    return attrgetter(key)(CONFIG).model_dump_json()


def code(script, env):
    return code_digest(BASE / "workflow" / "scripts" / script, BASE / "envs" / f"{env}.yaml")
