# The curve of labels: heads of fewer and more labelled images, of several draws, steer by the row's guidance_scale.
# `snakemake attributes_labels` makes table and figure. {number} images have the attribute, as many have not.
# in:  <results>/denoiser/, <results>/images/shots.parquet, the judge
# out: <results>/attributes/labels/, <results>/tables/attributes_labels.csv, <results>/figures/attributes_labels.*

CURVE = CONFIG.attributes.labels


wildcard_constraints:
    number=r"\d+",
    draw=r"\d+",


use rule draw_attribute_shots as draw_attribute_shots_labels with:
    output:
        "<results>/attributes/labels/shots/{attribute}/{number}/{draw}.csv",
    log:
        "<logs>/draw_attribute_shots/labels/{attribute}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/draw_attribute_shots/labels/{attribute}/{number}/{draw}.tsv"
    params:
        settings=curve_head,
        own=lambda wildcards, input: ["--own", input.own] if input.own else [],
        code=code("draw_attribute_shots.py", env="data"),


use rule extract_attribute_features as extract_attribute_features_labels with:
    input:
        denoiser="<results>/denoiser/<weights>",
        shots="<results>/attributes/labels/shots/{attribute}/{number}/{draw}.csv",
        pool=images_of("shots"),
    output:
        "<results>/attributes/labels/features/{mode}/{attribute}/{number}/{draw}.safetensors",
    log:
        "<logs>/extract_attribute_features/labels/{mode}/{attribute}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/extract_attribute_features/labels/{mode}/{attribute}/{number}/{draw}.tsv"
    params:
        settings=curve_head,
        own_labels=has_own_shots,
        denoiser=subpath(input.denoiser, parent=True),
        code=code("extract_attribute_features.py", env="diffusion"),


use rule train_attribute_head as train_attribute_head_labels with:
    input:
        "<results>/attributes/labels/features/{mode}/{attribute}/{number}/{draw}.safetensors",
    output:
        config="<results>/attributes/labels/heads/{mode}/{attribute}/{number}/{draw}/config.json",
        weights="<results>/attributes/labels/heads/{mode}/{attribute}/{number}/{draw}/<weights>",
    log:
        "<logs>/train_attribute_head/labels/{mode}/{attribute}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/train_attribute_head/labels/{mode}/{attribute}/{number}/{draw}.tsv"
    params:
        settings=curve_head,
        folder=subpath(output.weights, parent=True),
        code=code("train_attribute_head.py", env="diffusion"),


use rule sample_attributes as sample_attributes_labels with:
    input:
        denoiser="<results>/denoiser/<weights>",
        head=curve_weights,
    output:
        samples="<results>/attributes/labels/samples/{mode}/{target}/{number}/{draw}.parquet",
        timing="<results>/attributes/labels/samples/{mode}/{target}/{number}/{draw}.timing.json",
    log:
        "<logs>/sample_attributes/labels/{mode}/{target}/{number}/{draw}.log",
    benchmark:
        "<benchmarks>/sample_attributes/labels/{mode}/{target}/{number}/{draw}.tsv"
    params:
        settings=settings("sampling"),
        denoiser=subpath(input.denoiser, parent=True),
        head=subpath(input.head, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        guidance_scale=guidance_scale,
        first_seed=CONFIG.sampling.first_seed,
        units=CURVE.units,
        shard="1-of-1",
        code=code("sample_attributes.py", env="diffusion"),


rule judge_label_curve:
    """Write the judge's share of every number of labels and draw, of one row and method."""
    input:
        samples=[
            f"<results>/attributes/labels/samples/{{mode}}/{{target}}/{number}/{draw}.parquet"
            for number in CURVE.numbers
            for draw in range(CURVE.draws)
        ],
        heads=curve_heads,
        judge=judge_of("judge"),
    output:
        "<results>/attributes/labels/{mode}/{target}.csv",
    log:
        "<logs>/judge_label_curve/{mode}/{target}.log",
    benchmark:
        "<benchmarks>/judge_label_curve/{mode}/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.labels"),
        target=lambda wildcards: target_of(wildcards).model_dump_json(),
        data_set=DATA,
        judge=subpath(input.judge, parent=True),
        code=code("judge_label_curve.py", env="evaluation"),
    shell:
        "python workflow/scripts/judge_label_curve.py --settings {params.settings:q} --target {params.target:q}"
        " --data-set {params.data_set:q} --mode {wildcards.mode:q} --samples {input.samples:q} --heads {input.heads:q}"
        " --judge {params.judge:q} --output {output:q} 2> {log:q}"


use rule make_attributes_sweep_table as make_attributes_labels_table with:
    input:
        [
            f"<results>/attributes/labels/{mode}/{target.name}.csv"
            for mode in CURVE.methods
            for target in CONFIG.attributes.wanting
        ],
    output:
        report(
            "<results>/tables/attributes_labels.csv",
            caption="../../report/attributes_labels.rst",
            category="Attributes",
            labels={"what": "share by number of labels", "kind": "table"},
        ),
    log:
        "<logs>/make_attributes_labels_table.log",
    benchmark:
        "<benchmarks>/make_attributes_labels_table.tsv"


rule draw_attributes_labels_figure:
    """Draw the judge's share against the number of labels."""
    input:
        rules.make_attributes_labels_table.output,
    output:
        report(
            "<results>/figures/attributes_labels.png",
            caption="../../report/attributes_labels.rst",
            category="Attributes",
            labels={"what": "share by number of labels", "kind": "figure"},
        ),
        "<results>/figures/attributes_labels.pdf",
    log:
        "<logs>/draw_attributes_labels_figure.log",
    benchmark:
        "<benchmarks>/draw_attributes_labels_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        code=code("draw_attributes_labels_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_attributes_labels_figure.py --table {input:q} --output {output:q} 2> {log:q}"


rule attributes_labels:
    """The curve of the judge's share against the number of labels."""
    input:
        rules.make_attributes_labels_table.output,
        rules.draw_attributes_labels_figure.output,
