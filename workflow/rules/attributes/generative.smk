# Generative baselines in the table: a linear classifier of latents, from the same shots as the heads, keeps those of the
# prior with p > .5 and u < p; only kept ones are decoded.
# in:  <results>/baselines/, <results>/attributes/latents/, the shots
# out: <results>/attributes/latents/{baseline}/{attribute}.safetensors and classifiers/{attribute}/, of the shots
#      <results>/attributes/latents/{baseline}/decisions/{target}.parquet
#      <results>/attributes/samples/{baseline}/{target}/{scatteritem}.parquet, and beside each .timing.json
#      <results>/attributes/descriptions/{baseline}/{target}.safetensors: from here on a method like any other


def latents_classifier(wildcards):
    return f"<results>/attributes/latents/{wildcards.baseline}/classifiers/{wanted_attribute(wildcards)}/<weights>"


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
        "../../../envs/diffusion.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("attributes.head"),
        own_labels=has_own_shots,
        weights=subpath(input.weights, parent=True),
        code=code("extract_baseline_latents.py", env="diffusion"),
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
        "../../../envs/diffusion.yaml"
    params:
        settings=settings("attributes.head"),
        folder=subpath(output.weights, parent=True),
        code=code("train_baseline_classifier.py", env="diffusion"),
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
        "../../../envs/diffusion.yaml"
    params:
        classifier=subpath(input.classifier, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        code=code("reject_latents.py", env="diffusion"),
    shell:
        "python workflow/scripts/reject_latents.py --classifier {params.classifier:q}"
        " --baseline {wildcards.baseline:q} --attribute {params.attribute:q} --value {params.value:q}"
        " --latents {input.latents:q} --output {output:q} 2> {log:q}"


rule sample_baseline:
    """Decode one shard of the latents that are kept for one class."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        denoiser="<results>/denoiser/<weights>",
        latents="<results>/attributes/latents/{baseline}.safetensors",
        decisions="<results>/attributes/latents/{baseline}/decisions/{target}.parquet",
    output:
        samples="<results>/attributes/samples/{baseline}/{target}/{scatteritem}.parquet",
        timing="<results>/attributes/samples/{baseline}/{target}/{scatteritem}.timing.json",
    log:
        "<logs>/sample_baseline/{baseline}/{target}/{scatteritem}.log",
    benchmark:
        "<benchmarks>/sample_baseline/{baseline}/{target}/{scatteritem}.tsv"
    conda:
        "../../../envs/diffusion.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        weights=subpath(input.weights, parent=True),
        denoiser=subpath(input.denoiser, parent=True),
        attribute=wanted_attribute,
        value=wanted_value,
        number=CONFIG.evaluation.samples,
        code=code("sample_baseline.py", env="diffusion"),
    shell:
        "python workflow/scripts/sample_baseline.py --settings {params.settings:q} --baseline {wildcards.baseline:q}"
        " --attribute {params.attribute:q} --value {params.value:q} --weights {params.weights:q}"
        " --denoiser {params.denoiser:q} --latents {input.latents:q} --decisions {input.decisions:q}"
        " --number {params.number:q} --shard {wildcards.scatteritem:q}"
        " --checkpoints checkpoints/attributes/{params.code:q} --output {output.samples:q} 2> {log:q}"


rule describe_baseline:
    """Describe a baseline's samples of one class: features, the judge's opinion, and what they cost."""
    input:
        latents="<results>/attributes/latents/{baseline}.safetensors",
        drawing="<results>/attributes/latents/{baseline}.timing.json",
        decisions="<results>/attributes/latents/{baseline}/decisions/{target}.parquet",
        samples=gather.guided("<results>/attributes/samples/{{baseline}}/{{target}}/{scatteritem}.parquet"),
        timings=gather.guided("<results>/attributes/samples/{{baseline}}/{{target}}/{scatteritem}.timing.json"),
        judge=judge_of("judge"),
        extractors=CONFIG.extractor_files,
    output:
        "<results>/attributes/descriptions/{baseline}/{target}.safetensors",
    log:
        "<logs>/describe_baseline/{baseline}/{target}.log",
    benchmark:
        "<benchmarks>/describe_baseline/{baseline}/{target}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        attribute=wanted_attribute,
        value=wanted_value,
        image_size=CONFIG.data.image_size,
        number=CONFIG.evaluation.samples,
        judge=subpath(input.judge, parent=True),
        code=code("describe_baseline.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_baseline.py --settings {params.settings:q} --baseline {wildcards.baseline:q}"
        " --attribute {params.attribute:q} --value {params.value:q} --latents {input.latents:q}"
        " --decisions {input.decisions:q} --number {params.number:q} --samples {input.samples:q}"
        " --judge {params.judge:q} --image-size {params.image_size:q} --output {output:q} 2> {log:q}"
