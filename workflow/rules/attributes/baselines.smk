# Rejection: DDIM-I (in D2C's sense): an image-space classifier of the same shots keeps samples of the one pool.
# in:  results/{data}/shots/{attribute}.csv, the unguided pool
# out: results/{data}/image_classifier/{attribute}/, results/{data}/rejection/{target}.parquet


rule train_image_classifier:
    input:
        shots="results/{data}/shots/{attribute}.csv",
        pool="results/{data}/images/shots.safetensors",
        records="results/{data}/images/shots.parquet",
    output:
        weights("results/{data}/image_classifier/{attribute}"),
    log:
        "logs/{data}/train_image_classifier/{attribute}.log",
    benchmark:
        "benchmarks/{data}/train_image_classifier/{attribute}.tsv"
    conda:
        "../../envs/classifiers.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("image_classifier"),
        folder="results/{data}/image_classifier/{attribute}",
        code=code("train_image_classifier.py", env="classifiers"),
    shell:
        "python workflow/scripts/train_image_classifier.py --settings {params.settings:q}"
        " --attribute {wildcards.attribute:q} --shots {input.shots:q} --pool {input.pool:q}"
        " --output {params.folder:q} --code {params.code:q} 2> {log:q}"


rule reject:
    input:
        classifier=lambda wildcards: weights(f"results/{DATA}/image_classifier/{target_attribute(wildcards)}"),
        samples=gather.unguided("results/{{data}}/samples/unguided/all/{scatteritem}.safetensors"),
    output:
        "results/{data}/rejection/{target}.parquet",
    log:
        "logs/{data}/reject/{target}.log",
    benchmark:
        "benchmarks/{data}/reject/{target}.tsv"
    conda:
        "../../envs/classifiers.yaml"
    params:
        attribute=target_attribute,
        value=target_value,
        classifier=folder_of("classifier"),
        code=code("reject.py", env="classifiers"),
    shell:
        "python workflow/scripts/reject.py --classifier {params.classifier:q} --attribute {params.attribute:q}"
        " --value {params.value:q} --samples {input.samples:q} --output {output:q} --code {params.code:q} 2> {log:q}"
