# Data: from the configured source to images and attributes of each split, and the few-shot shots.
# in:  nothing (avatars are drawn) or a local folder (real faces)
# out: results/{data}/images/{split}.safetensors + .parquet, results/{data}/shots/{attribute}.csv


rule make_split:
    input:
        source_files(),
    output:
        images="results/{data}/images/{split}.safetensors",
        records="results/{data}/images/{split}.parquet",
    log:
        "logs/{data}/make_split/{split}.log",
    benchmark:
        "benchmarks/{data}/make_split/{split}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=CONFIG.data.model_dump_json(exclude={"splits"}),
        positions=positions,
        code=code("make_split.py", env="data"),
    shell:
        "python workflow/scripts/make_split.py --settings {params.settings:q} --positions {params.positions:q}"
        " --images {output.images:q} --records {output.records:q} --code {params.code:q} 2> {log:q}"


rule draw_shots:
    input:
        pool="results/{data}/images/shots.safetensors",
        records="results/{data}/images/shots.parquet",
    output:
        "results/{data}/shots/{attribute}.csv",
    log:
        "logs/{data}/draw_shots/{attribute}.log",
    benchmark:
        "benchmarks/{data}/draw_shots/{attribute}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        settings=settings("head"),
        code=code("draw_shots.py", env="data"),
    shell:
        "python workflow/scripts/draw_shots.py --settings {params.settings:q} --attribute {wildcards.attribute:q}"
        " --pool {input.pool:q} --output {output:q} --code {params.code:q} 2> {log:q}"
