# Few-shot conditional generation from unconditional diffusion models.
# Rules wire, scripts unpack, the library (workflow/scripts/fewshot_diffusion) computes.


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/common_masks.smk"
include: "workflow/rules/common_classes.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/denoiser.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/heads.smk"
include: "workflow/rules/sampling.smk"
include: "workflow/rules/rejection.smk"
include: "workflow/rules/classifiers.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/segmentation.smk"
include: "workflow/rules/augmentation.smk"


rule all:
    default_target: True
    input:
        f"results/tables/{CONFIG.outputs.fid_table}.csv",
        f"results/figures/{CONFIG.outputs.attributes_figure}.png",
        expand(
            "results/figures/{prefix}_{method}.png",
            prefix=CONFIG.outputs.sheet_prefix,
            method=["unguided", *MODES],
        ),


rule table1:
    input:
        f"results/tables/{CONFIG.outputs.fid_table}.csv",
        f"results/figures/{CONFIG.outputs.attributes_figure}.png",


rule sweep:
    input:
        f"results/tables/{CONFIG.outputs.sweep_table}.csv",


rule segmentation:
    input:
        f"results/tables/{CONFIG.outputs.segmentation_table}.csv",
        f"results/figures/{CONFIG.outputs.segmentation_figure}.png",
        f"results/figures/{CONFIG.outputs.segmentation_figure}_shots.png",


rule mask_sweep:
    input:
        f"results/tables/{CONFIG.outputs.segmentation_sweep_table}.csv",


rule table2:
    input:
        f"results/tables/{CONFIG.outputs.augmentation_table}.csv",
        f"results/figures/{CONFIG.outputs.augmentation_figure}.png",


rule table2_first_architecture:
    input:
        f"results/{DATA}/{CONFIG.classification.architectures[0].name}_accuracy.csv",
