# Generative baselines with labels: a linear classifier of latents, from the same shots as the heads, keeps those of the
# prior with p > .5 and u < p.
# in:  <results>/baselines/, <results>/attributes/latents/, the shots
# out: <results>/attributes/latents/{baseline}/{attribute}.safetensors and classifiers/{attribute}/, of the shots
#      <results>/attributes/latents/{baseline}/decisions/{target}.parquet


rule extract_baseline_latents:
    """Cache what the classifier of one attribute reads: latents of its shots."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        shots="<results>/attributes/shots/{attribute}.csv",
        pool=images_of("shots"),
    output:
        "<results>/attributes/latents/{baseline}/{attribute}.safetensors",
    log:
        "<logs>/extract_baseline_latents/{baseline}/{attribute}.log",
    benchmark:
        "<benchmarks>/extract_baseline_latents/{baseline}/{attribute}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.head"),
        own_labels=has_own_shots,
        weights=subpath(input.weights, parent=True),
        code=code("extract_baseline_latents.py", env="baselines"),
    shell:
        "python workflow/scripts/extract_baseline_latents.py --settings {params.settings:q}"
        " --baseline {wildcards.baseline:q} --weights {params.weights:q} --attribute {wildcards.attribute:q}"
        " --shots {input.shots:q} --own-labels {params.own_labels:q} --pool {input.pool:q} --output {output:q}"
        " 2> {log:q}"


rule train_baseline_classifier:
    """Fit the linear classifier of one attribute on cached latents."""
    input:
        "<results>/attributes/latents/{baseline}/{attribute}.safetensors",
    output:
        config="<results>/attributes/latents/{baseline}/classifiers/{attribute}/config.json",
        weights="<results>/attributes/latents/{baseline}/classifiers/{attribute}/<weights>",
    log:
        "<logs>/train_baseline_classifier/{baseline}/{attribute}.log",
    benchmark:
        "<benchmarks>/train_baseline_classifier/{baseline}/{attribute}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    params:
        settings=settings("attributes.head"),
        folder=subpath(output.weights, parent=True),
        code=code("train_baseline_classifier.py", env="baselines"),
    shell:
        "python workflow/scripts/train_baseline_classifier.py --settings {params.settings:q}"
        " --baseline {wildcards.baseline:q} --attribute {wildcards.attribute:q} --features {input:q}"
        " --output {params.folder:q} 2> {log:q}"


rule reject_latents:
    """Decide which latents of the prior the classifier keeps for one class."""
    input:
        classifier=latents_classifier,
        latents="<results>/attributes/latents/{baseline}.safetensors",
    output:
        "<results>/attributes/latents/{baseline}/decisions/{target}.parquet",
    log:
        "<logs>/reject_latents/{baseline}/{target}.log",
    benchmark:
        "<benchmarks>/reject_latents/{baseline}/{target}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    params:
        classifier=subpath(input.classifier, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        code=code("reject_latents.py", env="baselines"),
    shell:
        "python workflow/scripts/reject_latents.py --classifier {params.classifier:q}"
        " --baseline {wildcards.baseline:q} --attribute {params.attribute:q} --value {params.value:q}"
        " --latents {input.latents:q} --output {output:q} 2> {log:q}"
