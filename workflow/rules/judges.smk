# Judges: classifiers of attributes. Each has a labelled split of its own and a role; the one that tunes never reports.
# in:  <results>/images/{judge}.parquet
# out: <results>/judges/{judge}/


rule train_judge:
    """Train a judge of every attribute on a split of its own."""
    input:
        "<results>/images/{judge}.parquet",
    output:
        config="<results>/judges/{judge}/config.json",
        weights="<results>/judges/{judge}/<weights>",
    log:
        "<logs>/train_judge/{judge}.log",
    benchmark:
        "<benchmarks>/train_judge/{judge}.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.judge"),
        folder=subpath(output.weights, parent=True),
        code=code("train_judge.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_judge.py --settings {params.settings:q} --role {wildcards.judge:q}"
        " --images {input:q} --output {params.folder:q} 2> {log:q}"
