# The tables of experiment 2: one row for each method, preset and number of pairs, and one for each candidate scale.
# in:  <results>/masks/{samples,sweep}/, images and masks of the splits judge, tuning_judge and controls
# out: <results>/masks/{segmenters,evaluation}/, <results>/tables/{masks,masks_sweep}.csv
# Segmenters are trained if masks.source is train; from the store they are there already (`make restore`).

if CONFIG.masks.source == "train":

    rule train_segmenter:
        """Train an independent segmenter on a split of its own: one measures, one tunes."""
        input:
            images="<results>/images/{judge}.parquet",
            masks="<results>/images/{judge}_masks.parquet",
        output:
            config="<results>/masks/segmenters/{judge}/config.json",
            weights="<results>/masks/segmenters/{judge}/<weights>",
        log:
            "<logs>/train_segmenter/{judge}.log",
        benchmark:
            "<benchmarks>/train_segmenter/{judge}.tsv"
        conda:
            "../../../envs/classifiers.yaml"
        resources:
            gpu=1,
        params:
            settings=settings("masks.segmenter"),
            flip_pairs=FLIP_PAIRS,
            folder=subpath(output.weights, parent=True),
            code=code("train_segmenter.py", env="classifiers"),
        shell:
            "python workflow/scripts/train_segmenter.py --settings {params.settings:q} --role {wildcards.judge:q}"
            " --images {input.images:q} --masks {input.masks:q} {params.flip_pairs:q} --output {params.folder:q}"
            " 2> {log:q}"


rule describe_masks_controls:
    """Describe the real images that the kernel distance is to."""
    input:
        images="<results>/images/controls.parquet",
        extractors=EXTRACTORS,
    output:
        "<results>/masks/evaluation/real.safetensors",
    log:
        "<logs>/describe_masks_controls.log",
    benchmark:
        "<benchmarks>/describe_masks_controls.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        code=code("describe_images.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_images.py --settings {params.settings:q} --images {input.images:q}"
        " --output {output:q} 2> {log:q}"


rule evaluate_masks:
    """Measure one sample set against its wanted masks."""
    input:
        samples="<results>/masks/samples/{method}/{preset}/{shots}.parquet",
        masks="<results>/images/controls_masks.parquet",
        real="<results>/images/controls.parquet",
        segmenter="<results>/masks/segmenters/judge/<weights>",
        reference="<results>/masks/evaluation/real.safetensors",
        extractors=EXTRACTORS,
    output:
        "<results>/masks/evaluation/{method}/{preset}/{shots}.csv",
    log:
        "<logs>/evaluate_masks/{method}/{preset}/{shots}.log",
    benchmark:
        "<benchmarks>/evaluate_masks/{method}/{preset}/{shots}.tsv"
    wildcard_constraints:
        method="|".join(CONFIG.masks.methods),
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        guidance_scale=lambda wildcards: CONFIG.masks.presets[wildcards.preset].scale_of(wildcards.method),
        shape=[CONFIG.masks.seeds_per_mask, CONFIG.masks.masks],
        segmenter=subpath(input.segmenter, parent=True),
        code=code("evaluate_masks.py", env="evaluation"),
    shell:
        "python workflow/scripts/evaluate_masks.py --settings {params.settings:q} --method {wildcards.method:q}"
        " --preset {wildcards.preset:q} --shots {wildcards.shots:q} --guidance-scale {params.guidance_scale:q}"
        " --samples {input.samples:q} --masks {input.masks:q} --real {input.real:q} --segmenter {params.segmenter:q}"
        " --reference {input.reference:q} --shape {params.shape:q} --output {output:q} 2> {log:q}"


rule make_masks_table:
    """Join the rows of every method, preset and number of pairs."""
    input:
        [f"<results>/masks/evaluation/{method}/{preset}/{shots}.csv" for method, preset, shots in CONFIG.masks.rows],
    output:
        report(
            "<results>/tables/masks.csv",
            caption="../../report/masks.rst",
            category="Masks",
            labels={"what": "agreement with masks", "kind": "table"},
        ),
    log:
        "<logs>/make_masks_table.log",
    benchmark:
        "<benchmarks>/make_masks_table.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        data_set=DATA,
        code=code("make_masks_table.py", env="evaluation"),
    shell:
        "python workflow/scripts/make_masks_table.py --data-set {params.data_set:q} --parts {input:q}"
        " --output {output:q} 2> {log:q}"


use rule make_masks_table as make_masks_sweep_table with:
    input:
        expand("<results>/masks/sweep/{method}/{preset}.csv", method=CONFIG.masks.guided, preset=CONFIG.masks.preset),
    output:
        report(
            "<results>/tables/masks_sweep.csv",
            caption="../../report/masks_sweep.rst",
            category="Masks",
            labels={"what": "choice of guidance_scale", "kind": "table"},
        ),
    log:
        "<logs>/make_masks_sweep_table.log",
    benchmark:
        "<benchmarks>/make_masks_sweep_table.tsv"


rule masks_sweep:
    """The sweep over guidance_scale of every method that follows a mask."""
    input:
        rules.make_masks_sweep_table.output,
