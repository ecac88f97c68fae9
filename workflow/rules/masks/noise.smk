# What the guides find in noisy images: how robust each is to inaccurate estimates, without drawing a sample.
# in:  <results>/denoiser/, <results>/masks/guides/, <results>/masks/segmenters/judge/, images and masks of controls
# out: <results>/masks/noise/{reader}/{preset}.csv, <results>/tables/masks_noise.csv, <results>/figures/masks_noise.*

LOOKING = {**GUIDES, "judge": "<results>/masks/segmenters/judge/<weights>"}


rule evaluate_mask_noise:
    """Measure what one guide finds in real images with and without noise."""
    input:
        denoiser="<results>/denoiser/<weights>",
        guide=lambda wildcards: LOOKING[wildcards.reader].format(preset=wildcards.preset, shots=CONFIG.masks.shots),
        images="<results>/images/controls.parquet",
        masks="<results>/images/controls_masks.parquet",
    output:
        "<results>/masks/noise/{reader}/{preset}.csv",
    log:
        "<logs>/evaluate_mask_noise/{reader}/{preset}.log",
    benchmark:
        "<benchmarks>/evaluate_mask_noise/{reader}/{preset}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("masks.noise"),
        shots=lambda wildcards: 0 if wildcards.reader == "judge" else CONFIG.masks.shots,  # it has a split of its own
        replicates=CONFIG.evaluation.bootstrap,
        denoiser=subpath(input.denoiser, parent=True),
        guide=subpath(input.guide, parent=True),
        code=code("evaluate_mask_noise.py", env="diffusion"),
    shell:
        "python workflow/scripts/evaluate_mask_noise.py --settings {params.settings:q} --method {wildcards.reader:q}"
        " --preset {wildcards.preset:q} --shots {params.shots:q} --replicates {params.replicates:q}"
        " --denoiser {params.denoiser:q} --guide {params.guide:q} --images {input.images:q} --masks {input.masks:q}"
        " --output {output:q} 2> {log:q}"


use rule make_masks_table as make_masks_noise_table with:
    input:
        [f"<results>/masks/noise/{reader}/{preset}.csv" for reader, preset in CONFIG.masks.noise_rows],
    output:
        report(
            "<results>/tables/masks_noise.csv",
            caption="../../report/masks_noise.rst",
            category="Masks",
            labels={"what": "masks found in noisy images", "kind": "table"},
        ),
    log:
        "<logs>/make_masks_noise_table.log",
    benchmark:
        "<benchmarks>/make_masks_noise_table.tsv"


rule draw_masks_noise_figure:
    """Draw the mIoU that each guide reaches in noisy images, by noise level."""
    input:
        rules.make_masks_noise_table.output,
    output:
        report(
            "<results>/figures/masks_noise.png",
            caption="../../report/masks_noise.rst",
            category="Masks",
            labels={"what": "masks found in noisy images", "kind": "figure"},
        ),
        "<results>/figures/masks_noise.pdf",
    log:
        "<logs>/draw_masks_noise_figure.log",
    benchmark:
        "<benchmarks>/draw_masks_noise_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        code=code("draw_masks_noise_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_masks_noise_figure.py --table {input:q} --output {output:q} 2> {log:q}"
