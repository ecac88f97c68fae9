# Heads: p(attribute | activations) from the cached features of 50 + 50 images.
# in:  results/{data}/shot_features/{mode}/{attribute}.safetensors
# out: results/{data}/heads/{mode}/{attribute}/


rule train_head:
    input:
        "results/{data}/shot_features/{mode}/{attribute}.safetensors",
    output:
        weights("results/{data}/heads/{mode}/{attribute}"),
    log:
        "logs/{data}/train_head/{mode}/{attribute}.log",
    benchmark:
        "benchmarks/{data}/train_head/{mode}/{attribute}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    params:
        settings=settings("head"),
        folder="results/{data}/heads/{mode}/{attribute}",
        code=code("train_head.py", env="diffusion"),
    shell:
        "python workflow/scripts/train_head.py --settings {params.settings:q} --attribute {wildcards.attribute:q}"
        " --features {input:q} --output {params.folder:q} --code {params.code:q} 2> {log:q}"
# Features: denoiser activations of the labelled shots, computed once.
# in:  the denoiser, results/{data}/shots/{attribute}.csv, the pool of the shots
# out: results/{data}/shot_features/{mode}/{attribute}.safetensors


rule extract_shot_features:
    input:
        denoiser=weights("results/{data}/denoiser"),
        shots="results/{data}/shots/{attribute}.csv",
        pool="results/{data}/images/shots.safetensors",
        records="results/{data}/images/shots.parquet",
    output:
        "results/{data}/shot_features/{mode}/{attribute}.safetensors",
    log:
        "logs/{data}/extract_shot_features/{mode}/{attribute}.log",
    benchmark:
        "benchmarks/{data}/extract_shot_features/{mode}/{attribute}.tsv"
    conda:
        "../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("head"),
        denoiser=folder_of("denoiser"),
        code=code("extract_shot_features.py", env="diffusion"),
    shell:
        "python workflow/scripts/extract_shot_features.py --settings {params.settings:q} --mode {wildcards.mode:q}"
        " --shots {input.shots:q} --pool {input.pool:q} --denoiser {params.denoiser:q} --output {output:q}"
        " --code {params.code:q} 2> {log:q}"
