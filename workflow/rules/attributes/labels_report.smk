# What the curve of labels shows: `snakemake attributes_labels` makes its table and figure.
# in:  <results>/attributes/labels/{heads,samples}/, the judge
# out: <results>/attributes/labels/{mode}/{target}.csv, <results>/tables/attributes_labels.csv,
#      <results>/figures/attributes_labels.*


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
            for target in CONFIG.attributes.curve_targets
        ],
        curve_is_possible,
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
