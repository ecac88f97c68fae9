# The comparison of filters by where they read the denoiser: `snakemake classes_filters`. No sample is drawn for it.
# in:  <results>/denoiser/, <results>/images/{class_train,<held out>}.parquet, <results>/classes/{generated,judge}/
# out: <results>/classes/filters/, <results>/tables/classes_filters.csv, <results>/figures/classes_filters.{png,pdf}


wildcard_constraints:
    candidate=r"[\w.-]+",


use rule extract_class_features as extract_class_features_candidate with:
    output:
        "<results>/classes/filters/features/{candidate}.safetensors",
    log:
        "<logs>/extract_class_features/filters/{candidate}.log",
    benchmark:
        "<benchmarks>/extract_class_features/filters/{candidate}.tsv"
    params:
        settings=candidate_settings,
        per_class=CLASSES.train_per_class,
        denoiser=subpath(input.denoiser, parent=True),
        code=code("extract_class_features.py", env="diffusion"),


use rule train_class_filter as train_class_filter_candidate with:
    input:
        "<results>/classes/filters/features/{candidate}.safetensors",
    output:
        config="<results>/classes/filters/heads/{candidate}/config.json",
        weights="<results>/classes/filters/heads/{candidate}/<weights>",
    log:
        "<logs>/train_class_filter/filters/{candidate}.log",
    benchmark:
        "<benchmarks>/train_class_filter/filters/{candidate}.tsv"
    params:
        settings=candidate_settings,
        folder=subpath(output.weights, parent=True),
        code=code("train_class_filter.py", env="diffusion"),


rule measure_class_filter:
    """Measure how often a filter is right on real images, and what it would keep of every sample that was drawn."""
    input:
        generated=GENERATED,
        held_out=f"<results>/images/{CONFIG.filters_split}.parquet",
        denoiser="<results>/denoiser/<weights>",
        filter="<results>/classes/filters/heads/{candidate}/<weights>",
        judge="<results>/classes/judge/<weights>",
    output:
        "<results>/classes/filters/{candidate}.csv",
    log:
        "<logs>/measure_class_filter/{candidate}.log",
    benchmark:
        "<benchmarks>/measure_class_filter/{candidate}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        data_set=DATA,
        split=CONFIG.filters_split,
        thresholds=CLASSES.filters.thresholds,
        denoiser=subpath(input.denoiser, parent=True),
        filter=subpath(input.filter, parent=True),
        judge=subpath(input.judge, parent=True),
        code=code("measure_class_filter.py", env="evaluation"),
    shell:
        "python workflow/scripts/measure_class_filter.py --data-set {params.data_set:q} --split {params.split:q}"
        " --thresholds {params.thresholds:q} --generated {input.generated:q} --held-out {input.held_out:q}"
        " --denoiser {params.denoiser:q} --filter {params.filter:q} --judge {params.judge:q} --output {output:q}"
        " 2> {log:q}"


rule make_classes_filters_table:
    """Join the rows of all filters."""
    input:
        [f"<results>/classes/filters/{candidate.name}.csv" for candidate in CLASSES.filters.candidates],
        filters_are_possible,
    output:
        report(
            "<results>/tables/classes_filters.csv",
            caption="../../report/classes_filters.rst",
            category="Classes",
            labels={"what": "filters by where they read", "kind": "table"},
        ),
    log:
        "<logs>/make_classes_filters_table.log",
    benchmark:
        "<benchmarks>/make_classes_filters_table.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    params:
        code=code("join_csv.py", env="evaluation"),
    shell:
        "python workflow/scripts/join_csv.py --parts {input:q} --output {output:q} 2> {log:q}"


rule draw_classes_filters_figure:
    """Draw how often each filter is right, and the judge's word on what it keeps, by its threshold."""
    input:
        rules.make_classes_filters_table.output,
    output:
        report(
            "<results>/figures/classes_filters.png",
            caption="../../report/classes_filters.rst",
            category="Classes",
            labels={"what": "filters by where they read", "kind": "figure"},
        ),
        "<results>/figures/classes_filters.pdf",
    log:
        "<logs>/draw_classes_filters_figure.log",
    benchmark:
        "<benchmarks>/draw_classes_filters_figure.tsv"
    conda:
        "../../../envs/figures.yaml"
    params:
        code=code("draw_classes_filters_figure.py", env="figures"),
    shell:
        "python workflow/scripts/draw_classes_filters_figure.py --table {input:q} --output {output:q} 2> {log:q}"


rule classes_filters:
    """Filters compared by where they read the denoiser, and by their threshold."""
    input:
        rules.make_classes_filters_table.output,
        rules.draw_classes_filters_figure.output,
