# Few-shot conditional generation from unconditional diffusion models.
# Rules wire, scripts unpack, the library (workflow/scripts/fewshot_diffusion) computes.


configfile: os.path.relpath(os.path.join(workflow.basedir, "config", "config.yaml"))
configfile: os.path.relpath(os.path.join(workflow.basedir, "config", "artefacts.yaml"))


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/recovery.smk"


if RUNS:

    include: "workflow/rules/runs.smk"

elif CONFIG.own:

    include: "workflow/rules/own/common.smk"
    include: "workflow/rules/own/heads.smk"
    include: "workflow/rules/own/samples.smk"
    include: "workflow/rules/own/tables.smk"

else:

    include: "workflow/rules/experiments.smk"


if CONFIG.downloads.wanted:

    include: "workflow/rules/downloads.smk"


rule all:
    """Every table and figure of the configured experiments."""
    default_target: True
    input:
        EVERYTHING,
