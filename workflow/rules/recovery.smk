# What killed runs leave behind, and how living ones keep out of each other's way. The contract:
# (a) The same command, typed again, goes on: a dead run's lock is removed. A living run's stays, also while it still
#     makes its conda environments, and whatever is asked meanwhile (`snakemake -n`, `--summary`). Where it cannot be
#     known which it is (the run was on another machine, the file system has no locks), it stays, too, and Snakemake
#     says what to type: `snakemake --unlock`.
# (b) Of two workflows in one folder, the second stops before its first job, with one message: Snakemake's where both
#     would make the same files, ours where its own locks would let both run, and each remove the other's at its end.
# (c) SIGTERM ends Snakemake, always, and lets its jobs write their state.
# (d) On Slurm, jobs that a killed run left are cancelled, and have ended, before the next run submits its first.
# With --nolock, (a) and (c) are kept; with --no-hooks, (a) alone.

import signal

from fewshot_diffusion.tooling.recovery import (
    RecoveryError,
    answer_in_a_thread,
    cancel_orphans,
    claim,
    clear_dead_locks,
)

STATE = Path(".snakemake")

# SIGTERM goes to a job's shell, too: it waits for the program, which then has time to write its state.
# `python workflow/scripts/x.py` means the Python that has the packages, whether or not its environment was activated,
# and the script in the workflow's folder, wherever the job runs.
shell.prefix('set -euo pipefail; trap : TERM; python() {{ {PYTHON} {BASE:q}/"$@"; }}; ')

if workflow.is_main_process and clear_dead_locks(STATE):
    logger.info("Removed the lock of a run that was killed.")


onstart:
    answer_in_a_thread(signal.SIGTERM)
    try:
        alone = workflow.execution_settings.lock and claim(STATE)
        if alone and workflow.executor_plugin.name == "slurm":
            left = cancel_orphans(workflow.executor_settings.jobname_prefix, Path(workflow.workdir_init))
            if left:
                logger.info(f"Cancelled jobs of a run that was killed: {', '.join(left)}.")
    except RecoveryError as error:
        # At its end, Snakemake would remove all locks, the living run's, too. Ours go with them when that one ends.
        workflow.persistence.unlock = workflow.persistence.noop
        raise WorkflowError(str(error))
