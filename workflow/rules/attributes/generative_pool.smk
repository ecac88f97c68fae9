# Samples of generative baselines as they come, and the latents that samples of all classes are chosen from.
# in:  <results>/baselines/
# out: <results>/attributes/latents/{baseline}.safetensors: of the prior, which classifiers choose from
#      <results>/attributes/samples/{baseline}/pool/{scatteritem}.parquet: the first of them, whatever they show
#      <results>/attributes/descriptions/{baseline}.safetensors


rule draw_baseline_latents:
    """Draw the latents that samples of all classes are chosen from; nothing is decoded."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        denoiser="<results>/denoiser/<weights>",
    output:
        latents="<results>/attributes/latents/{baseline}.safetensors",
        timing="<results>/attributes/latents/{baseline}.timing.json",
    log:
        "<logs>/draw_baseline_latents/{baseline}.log",
    benchmark:
        "<benchmarks>/draw_baseline_latents/{baseline}.tsv"
    conda:
        "../../../envs/baselines.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        weights=subpath(input.weights, parent=True),
        denoiser=subpath(input.denoiser, parent=True),
        units=CONFIG.candidate_units,
        code=code("draw_baseline_latents.py", env="baselines"),
    shell:
        "python workflow/scripts/draw_baseline_latents.py --settings {params.settings:q}"
        " --baseline {wildcards.baseline:q} --weights {params.weights:q} --denoiser {params.denoiser:q}"
        " --units {params.units:q} --output {output.latents:q} 2> {log:q}"


rule sample_baseline_pool:
    """Decode one shard of a baseline's first latents, whatever they show."""
    input:
        weights="<results>/baselines/{baseline}/<weights>",
        denoiser="<results>/denoiser/<weights>",
        latents="<results>/attributes/latents/{baseline}.safetensors",
    output:
        samples="<results>/attributes/samples/{baseline}/pool/{scatteritem}.parquet",
        timing="<results>/attributes/samples/{baseline}/pool/{scatteritem}.timing.json",
    log:
        "<logs>/sample_baseline/{baseline}/pool/{scatteritem}.log",
    benchmark:
        "<benchmarks>/sample_baseline/{baseline}/pool/{scatteritem}.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    threads: CONFIG.sampling.cpu_threads
    resources:
        gpu=1,
    params:
        settings=settings("sampling"),
        weights=subpath(input.weights, parent=True),
        denoiser=subpath(input.denoiser, parent=True),
        number=CONFIG.evaluation.samples,
        code=code("sample_baseline.py", env="evaluation"),
    shell:
        "python workflow/scripts/sample_baseline.py --settings {params.settings:q} --baseline {wildcards.baseline:q}"
        " --weights {params.weights:q} --denoiser {params.denoiser:q} --latents {input.latents:q}"
        " --number {params.number:q} --shard {wildcards.scatteritem:q}"
        " --checkpoints checkpoints/attributes/{params.code:q} --output {output.samples:q} 2> {log:q}"


rule describe_baseline_pool:
    """Describe a baseline's samples as they come: features, and what they cost."""
    input:
        latents="<results>/attributes/latents/{baseline}.safetensors",
        drawing="<results>/attributes/latents/{baseline}.timing.json",
        samples=gather.guided("<results>/attributes/samples/{{baseline}}/pool/{scatteritem}.parquet"),
        timings=gather.guided("<results>/attributes/samples/{{baseline}}/pool/{scatteritem}.timing.json"),
        extractors=EXTRACTORS,
    output:
        "<results>/attributes/descriptions/{baseline}.safetensors",
    log:
        "<logs>/describe_baseline/{baseline}/pool.log",
    benchmark:
        "<benchmarks>/describe_baseline/{baseline}/pool.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    resources:
        gpu=1,
    params:
        settings=settings("evaluation"),
        image_size=CONFIG.data.image_size,
        number=CONFIG.evaluation.samples,
        code=code("describe_baseline.py", env="evaluation"),
    shell:
        "python workflow/scripts/describe_baseline.py --settings {params.settings:q}"
        " --baseline {wildcards.baseline:q} --latents {input.latents:q} --number {params.number:q}"
        " --samples {input.samples:q} --image-size {params.image_size:q} --output {output:q} 2> {log:q}"
