# The figures of experiment 2, drawn from stored samples and the table alone.
# in:  <results>/masks/samples/ of the figure's preset, masks and images of the split controls, <results>/tables/masks.csv
# out: <results>/figures/{masks,masks_shots}.{png,pdf}

DRAWN = [method for method in CONFIG.masks.methods if method != "unguided"]


rule draw_masks_figure:
    """Draw wanted masks, their real images, and what each method makes of them."""
    input:
        masks="<results>/images/controls_masks.parquet",
        table="<results>/tables/masks.csv",
        real="<results>/images/controls.parquet" if CONFIG.report.show_real else [],
        samples=expand(
            "<results>/masks/samples/{method}/{preset}/{shots}.parquet",
            method=DRAWN,
            preset=CONFIG.masks.preset,
            shots=CONFIG.masks.shots,
        ),
    output:
        report(
            "<results>/figures/masks.png",
            caption="../../report/masks_figure.rst",
            category="Masks",
            labels={"what": "masks and samples", "kind": "figure"},
        ),
        "<results>/figures/masks.pdf",
    log:
        "<logs>/draw_masks_figure.log",
    benchmark:
        "<benchmarks>/draw_masks_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        real=lambda wildcards, input: ["--real", input.real] if input.real else [],
        methods=DRAWN,
        preset=CONFIG.masks.preset,
        shots=CONFIG.masks.shots,
        wanted=CONFIG.masks.masks,
        code=code("draw_masks_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_masks_figure.py --methods {params.methods:q} --preset {params.preset:q}"
        " --shots {params.shots:q} --wanted {params.wanted:q} --masks {input.masks:q} --samples {input.samples:q}"
        " --table {input.table:q} {params.real:q} --output {output:q} 2> {log:q}"


rule draw_masks_shots_figure:
    """Draw mIoU against the number of image-mask pairs."""
    input:
        "<results>/tables/masks.csv",
    output:
        report(
            "<results>/figures/masks_shots.png",
            caption="../../report/masks_shots.rst",
            category="Masks",
            labels={"what": "agreement by pairs", "kind": "figure"},
        ),
        "<results>/figures/masks_shots.pdf",
    log:
        "<logs>/draw_masks_shots_figure.log",
    benchmark:
        "<benchmarks>/draw_masks_shots_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        preset=CONFIG.masks.preset,
        code=code("draw_masks_shots_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_masks_shots_figure.py --table {input:q} --preset {params.preset:q}"
        " --output {output:q} 2> {log:q}"


rule masks:
    """Experiment 2: the table of samples that follow masks, and its figures."""
    input:
        rules.make_masks_table.output,
        rules.draw_masks_figure.output,
        rules.draw_masks_shots_figure.output,
        rules.make_masks_noise_table.output,
        rules.draw_masks_noise_figure.output,
