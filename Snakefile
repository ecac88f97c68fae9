# Few-shot conditional generation from unconditional diffusion models.
# Rules wire, scripts unpack, the library (workflow/scripts/fewshot_diffusion) computes.


configfile: os.path.relpath(os.path.join(workflow.basedir, "config", "config.yaml"))
configfile: os.path.relpath(os.path.join(workflow.basedir, "config", "artefacts.yaml"))


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/recovery.smk"
include: "workflow/rules/splits.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/denoiser.smk"


if CONFIG.downloads.wanted:

    include: "workflow/rules/downloads.smk"


# Each experiment ends in a rule of its name, which asks for its table and its figures.
if CONFIG.attributes:

    include: "workflow/rules/attributes/common.smk"
    include: "workflow/rules/judges.smk"
    include: "workflow/rules/attributes/heads.smk"
    include: "workflow/rules/attributes/sample.smk"
    include: "workflow/rules/attributes/baselines.smk"
    include: "workflow/rules/attributes/evaluate.smk"
    include: "workflow/rules/attributes/sweep.smk"
    include: "workflow/rules/attributes/figures.smk"


if CONFIG.masks:

    include: "workflow/rules/masks/common.smk"
    include: "workflow/rules/masks/guides.smk"
    include: "workflow/rules/masks/sample.smk"
    include: "workflow/rules/masks/evaluate.smk"
    include: "workflow/rules/masks/figures.smk"


if CONFIG.classes:

    include: "workflow/rules/classes/common.smk"
    include: "workflow/rules/classes/generator.smk"
    include: "workflow/rules/classes/filter.smk"
    include: "workflow/rules/classes/cells.smk"
    include: "workflow/rules/classes/figures.smk"


# The README's picture shows what two of them make.
STRIP = bool(CONFIG.attributes and CONFIG.attributes.modes and CONFIG.masks and CONFIG.masks.guided)

if STRIP:

    include: "workflow/rules/figures.smk"


rule all:
    """Every table and figure of the configured experiments."""
    default_target: True
    input:
        [getattr(rules, name).input for name in CONFIG.experiments],
        rules.draw_strip.output if STRIP else [],
