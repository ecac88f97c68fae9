# Shared by all rule files. The validated configuration, and functions that make parameters of it.
# `settings(section)` passes one section as JSON; `code(script, env)` passes a digest of everything that the
# job runs. Both are parameters, so an edit of either makes exactly the rules stale that depend on it.

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow" / "scripts"))

from fewshot_diffusion.config.model import load_config
from fewshot_diffusion.errors import ConfigError
from fewshot_diffusion.tooling.instances import BusyError, answer_in_a_thread, claim, clear_dead_locks
from fewshot_diffusion.tooling.orphans import OrphanError, cancel_orphans
from fewshot_diffusion.tooling.provenance import code_digest
from fewshot_diffusion.tooling.records import StoreError, adopt

try:
    CONFIG = load_config(config)
    adopt()  # Snakemake's records of what `dvc pull` has restored
except (ConfigError, StoreError) as error:
    raise WorkflowError(str(error))

# SIGTERM goes to a job's shell, too: it waits for the program, which then has time to write its state.
shell.prefix("set -euo pipefail; trap : TERM; ")
# A killed run leaves Snakemake's lock behind: the same command, run again, goes on without --unlock.
if workflow.is_main_process and clear_dead_locks(Path(".snakemake")):
    logger.info("Removed the lock of a run that was killed.")


onstart:
    answer_in_a_thread(signal.SIGTERM)
    try:
        alone = workflow.execution_settings.lock and claim(Path(".snakemake"))
        if alone and workflow.executor_plugin.name == "slurm":
            if orphans := cancel_orphans(workflow.scheduler._executor.run_uuid, Path(".snakemake")):
                logger.info(f"Cancelled jobs of a run that was killed: {', '.join(orphans)}.")
    except (BusyError, OrphanError) as error:
        raise WorkflowError(str(error))


DATA = CONFIG.data.name
if CONFIG.denoiser.source == "dvc" and not Path("weights", DATA, "config.json").is_file():
    # With committed tables in place, Snakemake would say that nothing is to be done.
    raise WorkflowError(
        f"denoiser.source: dvc, but weights/{DATA}/diffusion_pytorch_model.safetensors and its config.json were never"
        f" stored for data.name {DATA}. Set denoiser.source to train or folder, or run `make weights`."
    )
TARGETS = [target.name for target in CONFIG.targets]
ATTRIBUTES = sorted({target.attribute for target in CONFIG.targets})
MODES = ["exact", "readout"]
SCALES = [f"{scale:g}" for scale in CONFIG.tuning.guidance_scales]
WEIGHTS = ["config.json", "diffusion_pytorch_model.safetensors", "provenance.json"]


wildcard_constraints:
    data=DATA,
    target="|".join(TARGETS),
    attribute="|".join(ATTRIBUTES),
    mode="|".join(MODES),
    scale="|".join(SCALES),
    split="|".join(type(CONFIG.data.splits).model_fields),
    judge="judge|tuning_judge",


scattergather:
    guided=CONFIG.sampling.shards_per_target,
    unguided=CONFIG.sampling.shards_unguided,


def settings(section):
    return getattr(CONFIG, section).model_dump_json()


def positions(wildcards):
    found = CONFIG.data.split_range(wildcards.split)
    return f"{found.start}:{found.stop}"


def source_files():
    # Local files that images are read from: replacing one makes every split stale. Absent ones are named by the job.
    source = CONFIG.data.source
    paths = [getattr(source, name, None) for name in ("path", "ids_file", "attribute_file", "held_out_ids")]
    if folder := getattr(source, "folder", None):
        paths[2] = folder / source.attribute_file
        paths += folder.glob("images-*.zip")
    return sorted(str(path) for path in paths if path is not None and Path(path).is_file())


def target_json(wildcards):
    return CONFIG.target(wildcards.target).model_dump_json()


def target_attribute(wildcards):
    return CONFIG.target(wildcards.target).attribute


def target_value(wildcards):
    return str(CONFIG.target(wildcards.target).value).lower()


def guidance_scale(wildcards):
    return getattr(CONFIG.target(wildcards.target).guidance_scale, wildcards.mode)


def code(script, env):
    base = Path(workflow.basedir)
    return code_digest(base / "workflow" / "scripts" / script, base / "envs" / f"{env}.yaml")


def weights(folder):
    return [f"{folder}/{name}" for name in WEIGHTS]


def folder_of(name):
    return lambda wildcards, input: str(Path(getattr(input, name)[0]).parent)


def option_of(name):
    # For inputs that a rule derived by `use rule` may leave out.
    def option(wildcards, input):
        found = getattr(input, name, None)
        return [f"--{name}", str(Path(found[0]).parent)] if found else []

    return option
