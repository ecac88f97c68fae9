# Classifiers: the judges. Each has a labelled split of its own and a role; the one that tunes never reports.
# in:  results/{data}/images/{judge}.*
# out: results/{data}/judges/{judge}/


rule train_judge:
    input:
        images="results/{data}/images/{judge}.safetensors",
        records="results/{data}/images/{judge}.parquet",
    output:
        weights("results/{data}/judges/{judge}"),
    log:
        "logs/{data}/train_judge/{judge}.log",
    benchmark:
        "benchmarks/{data}/train_judge/{judge}.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("judge"),
        folder="results/{data}/judges/{judge}",
        code=code("train_judge.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_judge.py --settings {params.settings:q} --role {wildcards.judge:q}"
        " --images {input.images:q} --output {params.folder:q} --code {params.code:q} 2> {log:q}"
