# Generative baselines in the table: only the latents that are kept for a class are decoded.
# in:  <results>/baselines/, <results>/attributes/latents/
# out: <results>/attributes/samples/{baseline}/{target}/{scatteritem}.parquet, and beside each .timing.json
#      <results>/attributes/descriptions/{baseline}/{target}.safetensors: from here on a method like any other


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
        "../../../envs/evaluation.yaml"
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
        code=code("sample_baseline.py", env="evaluation"),
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
        extractors=EXTRACTORS,
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
