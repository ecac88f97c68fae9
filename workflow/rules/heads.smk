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
