# Judges: classifiers of attributes. Each has a labelled split of its own and a role; the one that tunes never reports.
# in:  <results>/images/{judge}{own}.parquet
# out: <results>/judges/{judge}{own}/


rule train_judge:
    """Train a judge of the attributes that are judged together, or of one alone, on a split of its own."""
    input:
        "<results>/images/{judge}{own}.parquet",
    output:
        config="<results>/judges/{judge}{own}/config.json",
        weights="<results>/judges/{judge}{own}/<weights>",
    log:
        "<logs>/train_judge/{judge}{own}.log",
    benchmark:
        "<benchmarks>/train_judge/{judge}{own}.tsv"
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
